//! The controllers by themselves, and the pacer against a clock that sleeps too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Congestion, NewReno, Pacer};
use crate::packet::{Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, Rtt, epoch};

const DATAGRAM: u64 = 1200;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rtt(millis: u64) -> Rtt {
    Rtt { latest: ms(millis), smoothed: ms(millis), variation: ms(0), min: ms(millis) }
}

fn acked(now: Instant, newest_sent: Instant, bytes: u64) -> Acked {
    Acked {
        now,
        bytes,
        late_bytes: 0,
        lost_bytes: 0,
        newest_sent,
        in_flight: bytes,
        app_limited: false,
        rtt: rtt(40),
    }
}

fn lost(now: Instant, sent: Instant) -> CongestionEvent {
    CongestionEvent { now, sent, lost_bytes: DATAGRAM, ecn: false }
}

#[test]
fn the_window_never_falls_below_two_datagrams() {
    let mut now = epoch();
    let mut reno = NewReno::new(1200, None);
    for _ in 0..20 {
        now += ms(40);
        reno.on_congestion_event(&lost(now, now));
    }
    assert_eq!(reno.window(), 2 * DATAGRAM);
    reno.on_max_datagram_size(1452);
    assert_eq!(reno.window(), 2 * 1452);
}

#[test]
fn slow_start_ends_at_the_threshold() {
    let now = epoch();
    let mut reno = NewReno::new(1200, Some(40 * DATAGRAM));
    reno.on_congestion_event(&lost(now, now));
    reno.on_persistent_congestion(now);
    assert_eq!(reno.window(), 2 * DATAGRAM);
    reno.on_ack(&acked(now, now + ms(1), 30 * DATAGRAM));
    assert_eq!(reno.window(), 20 * DATAGRAM, "half of forty, and the rest counts towards the next step");
    reno.on_ack(&acked(now, now + ms(1), 8 * DATAGRAM));
    assert_eq!(reno.window(), 21 * DATAGRAM);
}

// covers: R9002-7.3.2-02
#[test]
fn packets_from_before_the_reduction_do_not_let_it_grow() {
    let now = epoch();
    let mut reno = NewReno::new(1200, None);
    reno.on_congestion_event(&lost(now, now - ms(40)));
    for _ in 0..10 {
        reno.on_ack(&acked(now, now - ms(1), 6000));
    }
    assert_eq!(reno.window(), 6000);
    reno.on_ack(&acked(now, now + ms(1), 6000));
    assert_eq!(reno.window(), 7200);
}

#[test]
fn a_reduction_for_nothing_is_taken_back_once() {
    let now = epoch();
    let mut reno = NewReno::new(1200, None);
    reno.on_congestion_event(&lost(now, now));
    assert_eq!(reno.window(), 6000);
    reno.on_spurious_congestion(now);
    assert_eq!(reno.window(), 12_000);
    reno.on_ack(&acked(now, now - ms(10), 1200));
    assert_eq!(reno.window(), 13_200, "slow start goes on, with what was sent before as well");
    reno.on_spurious_congestion(now);
    reno.on_congestion_event(&lost(now + ms(40), now + ms(40)));
    reno.on_persistent_congestion(now + ms(40));
    reno.on_spurious_congestion(now + ms(40));
    assert_eq!(reno.window(), 2 * DATAGRAM);
}

#[derive(Debug)]
struct Fixed(u64);

impl Controller for Fixed {
    fn on_ack(&mut self, acked: &Acked) {
        self.0 += acked.bytes;
    }
    fn on_congestion_event(&mut self, _event: &CongestionEvent) {}
    fn on_persistent_congestion(&mut self, _now: Instant) {}
    fn on_max_datagram_size(&mut self, _max_datagram_size: u16) {}
    fn window(&self) -> u64 {
        self.0
    }
    fn pacing_rate(&self) -> Option<u64> {
        Some(77)
    }
}

#[derive(Debug)]
struct FixedFactory;

impl ControllerFactory for FixedFactory {
    fn new_controller(&self, _now: Instant, max_datagram_size: u16) -> Box<dyn Controller> {
        Box::new(Fixed(u64::from(max_datagram_size)))
    }
}

#[test]
fn a_controller_of_the_users_own_decides() {
    let now = epoch();
    let mut congestion =
        Congestion::new(now, &CongestionControl::Custom(Arc::new(FixedFactory)), None, 1452, || 0);
    congestion.on_ack(&acked(now, now, 48));
    congestion.on_congestion_event(&lost(now, now));
    assert_eq!((congestion.window(), congestion.pacing_rate(rtt(40))), (1500, 77));
    let reno = Congestion::new(now, &CongestionControl::NewReno, Some(40_000), 1200, || 0);
    assert_eq!(reno.pacing_rate(rtt(40)), 1_250_000, "5/4 of a window a round trip");
}

/// Sends as much as the pacer lets through for two seconds. Sleeps end on the next millisecond and then one later, as
/// timers do. Returns bytes per second after the first burst, and the largest number of bytes within one instant.
fn pace(rate: u64) -> (u64, u64) {
    let start = epoch();
    let mut pacer = Pacer::new(start);
    let (mut now, mut sent, mut first, mut largest) = (start, 0, None, 0);
    while now < start + ms(2000) {
        let mut burst = 0;
        let wake = loop {
            match pacer.allowance(now, rate, ms(40), DATAGRAM) {
                Ok(bytes) => {
                    assert!(bytes >= DATAGRAM);
                    let bytes = bytes / DATAGRAM * DATAGRAM;
                    pacer.on_sent(now, bytes, DATAGRAM, || rate);
                    burst += bytes;
                }
                Err(at) => break at,
            }
        };
        assert!(wake >= now + ms(1), "no sleep shorter than a millisecond");
        sent += burst;
        first.get_or_insert(burst);
        largest = largest.max(burst);
        let elapsed = (wake - start).as_millis() as u64 + 2;
        now = start + ms(elapsed);
    }
    ((sent - first.unwrap_or(0)) / 2, largest)
}

// covers: R9002-7.7-01 R9002-7.7-02 R9002-7.7-03
#[test]
fn the_rate_is_kept_at_any_speed_and_bursts_are_bounded() {
    for rate in [200_000, 1_250_000, 12_500_000, 60_000_000] {
        let (per_second, largest) = pace(rate);
        assert!(per_second > rate * 93 / 100 && per_second <= rate, "{per_second} instead of {rate}");
        let bucket = (rate / 500).clamp(10 * DATAGRAM, 256 * 1024);
        assert!(largest <= bucket + rate / 1000 + DATAGRAM, "{largest} at once, at {rate}");
    }
    // What a timer that is late can make up for is bounded by the bucket.
    let (per_second, largest) = pace(1_250_000_000);
    assert!(largest <= 256 * 1024 + 1_250_000 + DATAGRAM);
    assert!((500_000_000..=1_250_000_000).contains(&per_second), "{per_second}");
}

#[test]
fn a_queue_of_25_packets_survives_the_first_window() {
    let now = epoch();
    let mut pacer = Pacer::new(now);
    let rate = 10 * DATAGRAM * 25;
    let mut sent = 0;
    while let Ok(bytes) = pacer.allowance(now, rate, ms(50), DATAGRAM) {
        let bytes = bytes / DATAGRAM * DATAGRAM;
        pacer.on_sent(now, bytes, DATAGRAM, || rate);
        sent += bytes;
    }
    assert_eq!(sent, 10 * DATAGRAM);
}

#[test]
fn under_a_millisecond_of_round_trip_nothing_is_paced() {
    let now = epoch();
    let mut pacer = Pacer::new(now);
    for _ in 0..1000 {
        assert_eq!(pacer.allowance(now, 1000, Duration::from_micros(999), DATAGRAM), Ok(u64::MAX));
        pacer.on_sent(now, 65_000, DATAGRAM, || 1000);
    }
    // When the path gets longer, that is not held against it.
    let wait = pacer.allowance(now, 12_000_000, ms(20), DATAGRAM).unwrap_err() - now;
    assert!(wait <= ms(1000));
    assert!(pacer.allowance(now + ms(1000), 12_000_000, ms(20), DATAGRAM).is_ok());
}

#[test]
fn a_rate_of_nothing_does_not_stop_time() {
    let now = epoch();
    let mut pacer = Pacer::new(now);
    pacer.on_sent(now, 20 * DATAGRAM, DATAGRAM, || 0);
    assert_eq!(pacer.allowance(now, 0, ms(20), DATAGRAM), Err(now + ms(1000)));
}
