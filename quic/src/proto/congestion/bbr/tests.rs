//! BBR on an ideal path: a link with a rate, a queue and a delay, a millisecond at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::state::State;
use super::{Bbr, UNBOUNDED, bytes_in};
use crate::packet::{Acked, CongestionEvent, Controller, LostPacket, Rtt, epoch};

const SIZE: u64 = 1200;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Packet {
    sent: Instant,
    /// `None`: it gets lost.
    acked: Option<Instant>,
}

struct Path {
    bbr: Bbr,
    now: Instant,
    /// Bytes per second.
    rate: u64,
    rtt: Duration,
    /// Bytes that may wait.
    queue: u64,
    /// One packet in so many is lost.
    loss: Option<u64>,
    /// The application has something to send.
    busy: bool,
    packets: VecDeque<Packet>,
    in_flight: u64,
    sent: u64,
    delivered: u64,
    lost: u64,
    free_at: Instant,
    credit: u64,
    smoothed: Duration,
    min: Duration,
}

impl Path {
    /// 20 Mbit/s and 40 ms, a queue of two round trips.
    fn new() -> Self {
        let now = epoch();
        Self {
            bbr: Bbr::new(now, 1200, None, 1),
            now,
            rate: 2_500_000,
            rtt: ms(40),
            queue: 200_000,
            loss: None,
            busy: true,
            packets: VecDeque::new(),
            in_flight: 0,
            sent: 0,
            delivered: 0,
            lost: 0,
            free_at: now,
            credit: 0,
            smoothed: ms(333),
            min: ms(10_000),
        }
    }

    fn bdp(&self) -> u64 {
        bytes_in(self.rtt, self.rate)
    }

    fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// True if that came true.
    fn run_until(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + time;
        while self.now < end {
            if done(self) {
                return true;
            }
            self.now += ms(1);
            self.receive();
            self.send();
        }
        false
    }

    /// Bytes per second that arrive in a time.
    fn throughput(&mut self, time: Duration) -> u64 {
        let before = self.delivered;
        self.run(time);
        super::bytes_per_second(self.delivered - before, time)
    }

    fn send(&mut self) {
        let rate = self.bbr.pacing_rate().unwrap_or(u64::MAX / 2_000);
        self.credit = (self.credit + rate / 1000).min(rate / 500 + SIZE);
        while self.busy && self.in_flight + SIZE <= self.bbr.window() && self.credit >= SIZE {
            self.credit -= SIZE;
            self.sent += 1;
            self.in_flight += SIZE;
            self.bbr.on_sent(self.now, SIZE, self.in_flight);
            let by_chance = self.loss.is_some_and(|loss| self.sent.is_multiple_of(loss));
            let waiting = bytes_in(self.free_at.saturating_duration_since(self.now), self.rate);
            let acked = (!by_chance && waiting < self.queue).then(|| {
                let wire = Duration::from_nanos(SIZE * 1_000_000_000 / self.rate);
                self.free_at = self.free_at.max(self.now) + wire;
                self.free_at + self.rtt
            });
            self.packets.push_back(Packet { sent: self.now, acked });
        }
        if !self.busy {
            self.bbr.on_app_limited(self.now, self.in_flight);
        }
    }

    fn receive(&mut self) {
        let arrived = |packet: &Packet| packet.acked.is_some_and(|at| at <= self.now);
        let Some(newest) = self.packets.iter().rposition(arrived) else { return };
        let (mut bytes, mut lost, mut newest_sent) = (0, 0, None);
        let (mut newest_lost, mut in_gap) = (None, false);
        for packet in self.packets.drain(..=newest) {
            if packet.acked.is_some() {
                (bytes, newest_sent, in_gap) = (bytes + SIZE, Some(packet.sent), false);
                continue;
            }
            lost += SIZE;
            let begins_gap = !std::mem::replace(&mut in_gap, true);
            self.bbr.on_lost(&LostPacket { now: self.now, sent: packet.sent, bytes: SIZE, begins_gap });
            newest_lost = Some(packet.sent);
        }
        if let Some(sent) = newest_lost {
            let event = CongestionEvent { now: self.now, sent, lost_bytes: lost, ecn: false };
            self.bbr.on_congestion_event(&event);
        }
        let newest_sent = newest_sent.unwrap();
        let latest = self.now - newest_sent;
        self.smoothed = if self.delivered == 0 { latest } else { (7 * self.smoothed + latest) / 8 };
        self.min = self.min.min(latest);
        self.bbr.on_ack(&Acked {
            now: self.now,
            bytes,
            late_bytes: 0,
            lost_bytes: lost,
            newest_sent,
            in_flight: self.in_flight,
            app_limited: false,
            rtt: Rtt { latest, smoothed: self.smoothed, variation: ms(1), min: self.min },
        });
        self.in_flight -= bytes + lost;
        self.delivered += bytes;
        self.lost += lost;
    }

    fn mark(&mut self) {
        let event = CongestionEvent { now: self.now, sent: self.now, lost_bytes: 0, ecn: true };
        self.bbr.on_congestion_event(&event);
    }
}

#[test]
fn startup_finds_the_rate_drains_its_queue_and_cruises() {
    let mut path = Path::new();
    assert!(path.run_until(ms(1000), |path| path.bbr.state == State::Drain));
    assert!(path.in_flight > path.bdp() * 3 / 2, "a queue stands: {}", path.in_flight);
    assert!(path.run_until(ms(300), |path| path.bbr.state == State::Cruise));
    let bw = path.bbr.bw;
    assert!((path.rate * 98 / 100..=path.rate * 103 / 100).contains(&bw), "{bw}");
    let min_rtt = path.bbr.min_rtt.unwrap();
    assert!(min_rtt <= ms(43), "{min_rtt:?}");
    path.run(ms(200));
    assert!(path.in_flight <= path.bdp() * 12 / 10, "no queue: {} of {}", path.in_flight, path.bdp());
    assert_eq!(path.lost, 0);
}

#[test]
fn the_path_stays_full_through_probes_for_bandwidth_and_round_trip_time() {
    let mut path = Path::new();
    path.run(ms(2000));
    let mut states = Vec::new();
    let before = path.delivered;
    path.run_until(ms(12_000), |path| {
        if states.last() != Some(&path.bbr.state) {
            states.push(path.bbr.state);
        }
        false
    });
    for state in [State::Cruise, State::Refill, State::Up, State::Down, State::ProbeRtt] {
        assert!(states.contains(&state), "{state:?} in {states:?}");
    }
    let probes = states.windows(3).filter(|next| *next == [State::Refill, State::Up, State::Down]).count();
    assert!((4..=12).contains(&probes), "each 63 rounds or 2 to 3 seconds: {states:?}");
    let rate = (path.delivered - before) / 12;
    assert!(rate > path.rate * 94 / 100, "{rate} of {}", path.rate);
    assert_eq!(path.lost, 0);
}

#[test]
fn probe_rtt_empties_the_path_each_five_seconds_without_a_shorter_round_trip() {
    let mut path = Path::new();
    path.run(ms(1000));
    assert!(path.run_until(ms(5500), |path| path.bbr.state == State::ProbeRtt));
    let entered = path.now;
    path.run(ms(150));
    assert!(path.in_flight <= path.bdp() / 2 + 5 * SIZE, "{} of {}", path.in_flight, path.bdp());
    assert!(path.run_until(ms(400), |path| path.bbr.state != State::ProbeRtt));
    let lasted = path.now - entered;
    assert!((ms(200)..ms(400)).contains(&lasted), "{lasted:?}");
    assert!(path.bbr.window() > path.bdp(), "the window is what it was");
    // A longer path is believed once the old minimum has expired.
    path.rtt = ms(80);
    path.run(ms(16_000));
    assert!(path.bbr.min_rtt.unwrap() >= ms(80));
}

#[test]
fn a_faster_path_is_found_by_probing_and_a_slower_one_by_what_arrives() {
    let mut path = Path::new();
    path.run(ms(3000));
    path.rate *= 4;
    path.queue *= 4;
    path.run(ms(12_000));
    assert!(path.bbr.bw > path.rate * 9 / 10, "{} of {}", path.bbr.bw, path.rate);
    path.rate /= 8;
    path.queue = 60_000;
    path.run(ms(8_000));
    assert!(path.bbr.bw < path.rate * 12 / 10, "{} of {}", path.bbr.bw, path.rate);
    let rate = path.throughput(ms(5000));
    assert!(rate > path.rate * 85 / 100, "{rate} of {}", path.rate);
}

#[test]
fn one_percent_of_loss_does_not_slow_it_down_much() {
    let mut path = Path::new();
    path.loss = Some(100);
    path.run(ms(2000));
    let rate = path.throughput(ms(20_000));
    assert!(rate > path.rate * 85 / 100, "{rate} of {}", path.rate);
}

/// What ProbeRTT holds back does not arrive, which is no news of the path.
#[test]
fn a_loss_while_little_is_in_flight_on_purpose_does_not_lower_the_rate() {
    let mut path = Path::new();
    path.loss = Some(30);
    for _ in 0..4 {
        assert!(path.run_until(ms(20_000), |path| path.bbr.state == State::ProbeRtt));
        assert!(path.run_until(ms(2_000), |path| path.bbr.state != State::ProbeRtt));
        for _ in 0..5 {
            path.run(path.rtt);
            assert!(path.bbr.bw > path.bbr.max_rate.get() * 8 / 10, "{:?}", path.bbr);
        }
    }
}

/// Two in a hundred are tolerated, and what chance adds to that: more where packets are few.
#[test]
fn a_rate_of_losses_is_judged_with_an_eye_on_chance() {
    let bbr = Bbr::new(epoch(), 1200, None, 1);
    for (in_flight, tolerated) in [(10, 0), (30, 1), (100, 3), (250, 7), (1_000, 24), (10_000, 214)] {
        let too_high = |lost: u64| bbr.is_inflight_too_high(lost * SIZE, in_flight * SIZE);
        assert!(!too_high(tolerated) && too_high(tolerated + 1), "{in_flight}");
    }
}

#[test]
fn a_shallow_queue_bounds_what_is_in_flight() {
    let mut path = Path::new();
    path.queue = 10_000;
    path.run(ms(5000));
    assert!(path.bbr.inflight_longterm < 2 * path.bdp(), "{}", path.bbr.inflight_longterm);
    let lost = path.lost;
    let rate = path.throughput(ms(20_000));
    assert!(rate > path.rate * 80 / 100, "{rate} of {}", path.rate);
    let share = (path.lost - lost) as f64 / (20 * rate) as f64;
    assert!(share < 0.02, "{share} lost");
}

#[test]
fn startup_ends_when_losses_of_a_round_are_too_many() {
    let mut path = Path::new();
    // Every tenth is lost while the rate still doubles.
    path.loss = Some(10);
    path.rate = 1 << 30;
    path.queue = 1 << 30;
    assert!(path.run_until(ms(3000), |path| path.bbr.full_bw_reached));
    assert_ne!(path.bbr.inflight_longterm, UNBOUNDED);
}

#[test]
fn a_mark_ends_startup_and_lowers_what_is_in_flight_later() {
    let mut path = Path::new();
    path.run(ms(150));
    assert_eq!(path.bbr.state, State::Startup);
    path.mark();
    assert_eq!(path.bbr.state, State::Drain);
    assert!(path.run_until(ms(1000), |path| path.bbr.state == State::Cruise));
    path.run(ms(100));
    let window = path.bbr.window();
    path.mark();
    path.run(ms(100));
    assert!(path.bbr.window() < window * 8 / 10, "{} of {window}", path.bbr.window());
}

#[test]
fn a_mark_ends_a_probe_for_bandwidth() {
    let mut path = Path::new();
    path.run(ms(1000));
    assert!(path.run_until(ms(6000), |path| path.bbr.state == State::Up));
    path.mark();
    assert_eq!(path.bbr.state, State::Down);
    assert_ne!(path.bbr.inflight_longterm, UNBOUNDED);
    // The next probe is careful, and the one after that is not.
    assert!(path.run_until(ms(9000), |path| path.bbr.state == State::Up));
    assert!(path.bbr.prev_probe_too_high || path.bbr.prev_probe_precautionary);
}

#[test]
fn losses_that_were_none_are_taken_back() {
    let mut path = Path::new();
    path.run(ms(1000));
    assert!(path.run_until(ms(6000), |path| path.bbr.state == State::Up));
    path.run_until(ms(100), |path| path.bbr.is_bw_probe_sample && path.in_flight > path.bdp() * 11 / 10);
    let window = path.bbr.window();
    let sent = path.packets.front().unwrap().sent;
    for _ in 0..40 {
        let lost = LostPacket { now: path.now, sent, bytes: SIZE, begins_gap: false };
        path.bbr.on_lost(&lost);
    }
    let event = CongestionEvent { now: path.now, sent, lost_bytes: 40 * SIZE, ecn: false };
    path.bbr.on_congestion_event(&event);
    assert_eq!(path.bbr.state, State::Down);
    assert_ne!(path.bbr.inflight_longterm, UNBOUNDED);
    path.run(ms(50));
    path.bbr.on_spurious_congestion(path.now);
    assert_eq!((path.bbr.state, path.bbr.inflight_longterm), (State::Refill, UNBOUNDED));
    assert!(path.bbr.window() >= window);
}

#[test]
fn startup_goes_on_if_the_losses_that_ended_it_were_none() {
    let mut path = Path::new();
    path.run(ms(150));
    let sent = path.packets.front().unwrap().sent;
    path.bbr.on_lost(&LostPacket { now: path.now, sent, bytes: SIZE, begins_gap: true });
    path.mark();
    assert_eq!(path.bbr.state, State::Drain);
    path.bbr.on_spurious_congestion(path.now);
    assert_eq!((path.bbr.state, path.bbr.full_bw_reached), (State::Startup, false));
}

#[test]
fn an_application_that_sends_little_does_not_lower_the_rate() {
    let mut path = Path::new();
    path.run(ms(2000));
    let bw = path.bbr.bw;
    for _ in 0..40 {
        path.busy = true;
        path.run(ms(2));
        path.busy = false;
        path.run(ms(98));
    }
    assert!(path.bbr.bw >= bw * 98 / 100, "{} of {bw}", path.bbr.bw);
    // And no silence sends it into ProbeRTT: that was one.
    path.run(ms(10_000));
    path.busy = true;
    path.run(ms(2));
    assert_eq!(path.bbr.pacing_rate(), Some(path.bbr.bw * 99 / 100), "at the rate of before");
    assert!(!path.run_until(ms(100), |path| path.bbr.state == State::ProbeRtt));
}

#[test]
fn persistent_congestion_leaves_the_least_window() {
    let mut path = Path::new();
    path.run(ms(2000));
    path.bbr.on_persistent_congestion(path.now);
    assert_eq!(path.bbr.window(), 2 * SIZE);
    path.run(ms(1000));
    assert!(path.bbr.window() > path.bdp());
}

#[test]
fn the_first_window_is_that_of_rfc_9002_and_follows_the_size_of_datagrams_down() {
    let now = epoch();
    let mut bbr = Bbr::new(now, 1452, None, 1);
    assert_eq!((bbr.window(), bbr.pacing_rate()), (14_520, None));
    bbr.on_max_datagram_size(1200);
    assert_eq!(bbr.window(), 12_000);
    bbr.on_max_datagram_size(1452);
    assert_eq!(bbr.window(), 12_000);
    assert_eq!(Bbr::new(now, 1200, Some(50_000), 1).window(), 50_000);
}
