//! CUBIC (RFC 9438) with HyStart++ for its first slow start.

use std::time::{Duration, Instant};

use super::hystart::HyStart;
use crate::packet::{Acked, CongestionEvent, Controller};

/// How steep the cubic is, segments per second cubed.
const C: f64 = 0.4;
/// What a reduction leaves of the window.
const BETA: f64 = 0.7;
/// Segments per round trip by which the window of a Reno that reduces to β grows.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// The window aims for at most this multiple of itself within a round trip.
const MAX_GROWTH: f64 = 1.5;

/// After a loss the window grows along a cubic through the place of that loss: fast far away from it, slowly near it.
#[derive(Debug, Clone)]
pub struct Cubic {
    /// Bytes.
    window: f64,
    /// The slow start threshold, bytes.
    ssthresh: f64,
    /// While no loss has happened yet.
    hystart: Option<HyStart>,
    /// When the last reduction happened: what was sent before that causes no other, and does not let the window grow.
    recovery_start: Option<Instant>,
    /// The window at the last reduction, or a little less if others need room: segments. 0: there is none.
    w_max: f64,
    /// The window at the last reduction, segments.
    cwnd_prior: f64,
    epoch: Option<Epoch>,
    /// When the last ACK frame was taken into account.
    last_ack: Option<Instant>,
    max_datagram_size: f64,
    /// The window is still the initial one of RFC 9002.
    untouched: bool,
    /// What was before the last reduction.
    undo: Option<Box<Undo>>,
}

/// What a reduction changed (RFC 9438 §4.9.2).
#[derive(Debug, Clone)]
struct Undo {
    window: f64,
    ssthresh: f64,
    hystart: Option<HyStart>,
    w_max: f64,
    cwnd_prior: f64,
    epoch: Option<Epoch>,
    max_datagram_size: f64,
}

/// A stage of congestion avoidance.
#[derive(Debug, Clone)]
struct Epoch {
    /// When it began; later by all the time in which the window was not used.
    start: Instant,
    /// Seconds until the cubic reaches the plateau.
    k: f64,
    /// Where the plateau is, segments.
    w_max: f64,
    /// The window that Reno would have, segments.
    w_est: f64,
}

impl Epoch {
    fn new(now: Instant, cwnd: f64, w_max: f64) -> Self {
        let w_max = w_max.max(cwnd);
        Self { start: now, k: ((w_max - cwnd) / C).cbrt(), w_max, w_est: cwnd }
    }

    /// The cubic, `ahead` from now.
    fn w_cubic(&self, now: Instant, ahead: Duration) -> f64 {
        let t = (now.saturating_duration_since(self.start) + ahead).as_secs_f64();
        C * (t - self.k).powi(3) + self.w_max
    }
}

impl Cubic {
    /// A controller in slow start.
    #[must_use]
    pub fn new(max_datagram_size: u16, window: Option<u64>) -> Self {
        let initial = window.unwrap_or(super::initial_window(max_datagram_size.into()));
        let max_datagram_size = f64::from(max_datagram_size);
        Self {
            window: bytes(initial).max(2.0 * max_datagram_size),
            ssthresh: f64::INFINITY,
            hystart: Some(HyStart::default()),
            recovery_start: None,
            w_max: 0.0,
            cwnd_prior: 0.0,
            epoch: None,
            last_ack: None,
            max_datagram_size,
            untouched: window.is_none(),
            undo: None,
        }
    }

    fn minimum_window(&self) -> f64 {
        2.0 * self.max_datagram_size
    }

    fn in_recovery(&self, sent: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent <= start)
    }

    fn slow_start(&mut self, acked: &Acked) {
        let Some(hystart) = &mut self.hystart else {
            self.window += bytes(acked.bytes).min(self.ssthresh - self.window);
            return;
        };
        match hystart.on_ack(acked) {
            Some(growth) => self.window += bytes(growth),
            None => {
                self.ssthresh = self.window;
                self.hystart = None;
            }
        }
    }

    fn avoid_congestion(&mut self, acked: &Acked) {
        let cwnd = self.window / self.max_datagram_size;
        let segments = bytes(acked.bytes) / self.max_datagram_size;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(acked.now, cwnd, self.w_max));
        let alpha = if epoch.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * segments / cwnd;
        let grown = if epoch.w_cubic(acked.now, Duration::ZERO) < epoch.w_est {
            epoch.w_est.max(cwnd)
        } else {
            let target = epoch.w_cubic(acked.now, acked.rtt.smoothed).clamp(cwnd, MAX_GROWTH * cwnd);
            cwnd + (target - cwnd) / cwnd * segments
        };
        self.window = grown * self.max_datagram_size;
    }

    /// Time in which the window was not used does not count for its growth.
    fn skip_time(&mut self, now: Instant) {
        if let (Some(epoch), Some(last)) = (&mut self.epoch, self.last_ack) {
            epoch.start += now.saturating_duration_since(last.max(epoch.start));
        }
        self.last_ack = Some(now);
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        if bytes == in_flight {
            // The first after a pause.
            self.skip_time(now);
        }
    }

    fn on_ack(&mut self, acked: &Acked) {
        if acked.bytes == 0 {
            return;
        }
        if acked.app_limited || self.in_recovery(acked.newest_sent) {
            return self.skip_time(acked.now);
        }
        self.untouched = false;
        if self.window < self.ssthresh {
            self.slow_start(acked);
        } else {
            self.avoid_congestion(acked);
        }
        self.last_ack = Some(acked.now);
    }

    fn on_congestion_event(&mut self, event: &CongestionEvent) {
        if self.in_recovery(event.sent) {
            return;
        }
        self.untouched = false;
        self.recovery_start = Some(event.now);
        self.undo = Some(Box::new(Undo {
            window: self.window,
            ssthresh: self.ssthresh,
            hystart: self.hystart.take(),
            w_max: self.w_max,
            cwnd_prior: self.cwnd_prior,
            epoch: self.epoch.take(),
            max_datagram_size: self.max_datagram_size,
        }));
        let cwnd = self.window / self.max_datagram_size;
        // Below the last plateau: somebody else came, and gets room (fast convergence).
        self.w_max = if cwnd < self.w_max { cwnd * (1.0 + BETA) / 2.0 } else { cwnd };
        self.cwnd_prior = cwnd;
        self.window = (self.window * BETA).max(self.minimum_window());
        self.ssthresh = self.window;
    }

    fn on_spurious_congestion(&mut self, _now: Instant) {
        let undone = self.undo.take();
        let Some(undo) = undone
            .filter(|undo| self.window < undo.window && self.max_datagram_size == undo.max_datagram_size)
        else {
            return;
        };
        self.window = undo.window;
        self.ssthresh = undo.ssthresh;
        self.hystart = undo.hystart;
        self.w_max = undo.w_max;
        self.cwnd_prior = undo.cwnd_prior;
        self.epoch = undo.epoch;
        self.recovery_start = None;
    }

    fn on_persistent_congestion(&mut self, _now: Instant) {
        self.undo = None;
        self.window = self.minimum_window();
        self.recovery_start = None;
        self.hystart = None;
        self.epoch = None;
        // The plateau is wherever slow start ends.
        self.w_max = 0.0;
    }

    fn on_max_datagram_size(&mut self, max_datagram_size: u16) {
        self.max_datagram_size = f64::from(max_datagram_size);
        if self.untouched {
            // Larger datagrams are no reason to send more bytes (RFC 8899 §3, item 7).
            self.window = self.window.min(bytes(super::initial_window(max_datagram_size.into())));
        }
        self.window = self.window.max(self.minimum_window());
        // Plateaus are counted in segments of another size.
        self.epoch = None;
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and far below 2^53"
    )]
    fn window(&self) -> u64 {
        self.window as u64
    }
}

#[expect(clippy::cast_precision_loss, reason = "windows are far below 2^53 bytes")]
fn bytes(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Rtt, epoch};

    const MSS: u64 = 1200;

    struct Path {
        cubic: Cubic,
        now: Instant,
        rtt: Duration,
    }

    impl Path {
        /// In congestion avoidance after a loss at this window.
        fn after_loss_at(segments: u64, rtt: u64) -> Self {
            let (now, rtt) = (epoch(), Duration::from_millis(rtt));
            let mut path = Self { cubic: Cubic::new(1200, Some(segments * MSS)), now, rtt };
            path.lose();
            path
        }

        fn lose(&mut self) {
            let (now, sent) = (self.now, self.now);
            self.cubic.on_congestion_event(&CongestionEvent { now, sent, lost_bytes: MSS, ecn: false });
        }

        /// Acknowledges a window per round trip, a datagram at a time.
        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                let datagrams = (self.cubic.window() / MSS).max(1);
                let sent = self.now;
                for n in 1..=datagrams {
                    let part = self.rtt * u32::try_from(n).unwrap() / u32::try_from(datagrams).unwrap();
                    self.ack(sent + part, sent + Duration::from_nanos(n), false);
                }
                self.now += self.rtt;
            }
        }

        fn ack(&mut self, now: Instant, newest_sent: Instant, app_limited: bool) {
            let rtt = Rtt { latest: self.rtt, smoothed: self.rtt, variation: Duration::ZERO, min: self.rtt };
            let in_flight = self.cubic.window();
            self.cubic.on_ack(&Acked {
                now,
                bytes: MSS,
                late_bytes: 0,
                lost_bytes: 0,
                newest_sent,
                in_flight,
                app_limited,
                rtt,
            });
        }

        fn segments(&self) -> u64 {
            self.cubic.window() / MSS
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_window_returns_to_the_place_of_the_loss_in_k_seconds_and_lingers_there() {
        // 1000 segments at 100 ms: far from the Reno-friendly region. K = cbrt(300 / 0.4).
        let mut path = Path::after_loss_at(1000, 100);
        assert_eq!(path.segments(), 700);
        let k = (300.0_f64 / 0.4).cbrt();
        path.run(seconds(k / 2.0));
        let half = 1000.0 - 0.4 * (k / 2.0).powi(3);
        assert!((path.segments() as f64 - half).abs() < 12.0, "{} and not {half}", path.segments());
        path.run(seconds(k / 2.0));
        assert!((990..=1003).contains(&path.segments()), "{}", path.segments());
        path.run(seconds(2.0));
        assert!((1000..=1010).contains(&path.segments()), "{}", path.segments());
        path.run(seconds(k));
        assert!(path.segments() > 1250, "then it looks for more: {}", path.segments());
    }

    #[test]
    fn where_reno_is_faster_it_grows_like_reno() {
        // 20 segments at 10 ms: the cubic alone would take cbrt(6 / 0.4) = 2.5 s.
        let mut path = Path::after_loss_at(20, 10);
        path.run(seconds(0.25));
        // 25 round trips at 0.53 segments each, until the window of the loss is reached, then one segment each.
        assert!((22..=32).contains(&path.segments()), "{}", path.segments());
    }

    #[test]
    fn a_second_loss_below_the_first_makes_room_for_others() {
        let mut path = Path::after_loss_at(1000, 100);
        path.now += path.rtt;
        path.lose();
        assert_eq!(path.segments(), 490);
        assert!((path.cubic.w_max - 595.0).abs() < 1.0);
        let before = path.segments();
        path.cubic.on_congestion_event(&CongestionEvent {
            now: path.now + path.rtt,
            sent: path.now,
            lost_bytes: MSS,
            ecn: false,
        });
        assert_eq!(path.segments(), before, "the same episode");
    }

    #[test]
    fn time_in_which_the_window_is_not_used_does_not_count() {
        let mut path = Path::after_loss_at(1000, 100);
        path.run(seconds(1.0));
        let before = path.segments();
        for _ in 0..600 {
            path.now += path.rtt;
            path.ack(path.now, path.now, true);
        }
        assert_eq!(path.segments(), before);
        path.run(seconds(0.1));
        assert!(path.segments() < before + 40, "{} after {before}", path.segments());
        // Nor does a silence.
        let before = path.segments();
        path.now += seconds(600.0);
        path.cubic.on_sent(path.now, MSS, MSS);
        path.run(seconds(0.1));
        assert!(path.segments() < before + 40, "{} after {before}", path.segments());
    }

    #[test]
    fn persistent_congestion_starts_over_below_the_threshold() {
        let mut path = Path::after_loss_at(1000, 100);
        path.cubic.on_persistent_congestion(path.now);
        assert_eq!(path.segments(), 2);
        path.run(seconds(0.9));
        assert!(path.segments() >= 699, "slow start up to it: {}", path.segments());
        path.run(seconds(1.0));
        assert!(path.segments() < 720, "and then a cubic that begins there: {}", path.segments());
    }

    #[test]
    fn a_reduction_for_nothing_is_taken_back_with_the_shape_of_the_growth() {
        let mut path = Path::after_loss_at(1000, 100);
        path.run(seconds(3.0));
        let mut other = Path::after_loss_at(1000, 100);
        other.run(seconds(3.0));
        let (before, w_max) = (path.segments(), path.cubic.w_max);
        path.lose();
        assert!(path.segments() < before);
        path.cubic.on_spurious_congestion(path.now);
        assert_eq!((path.segments(), path.cubic.w_max), (before, w_max));
        path.run(seconds(3.0));
        other.run(seconds(3.0));
        assert_eq!(path.segments(), other.segments(), "as if nothing had been");
        // Once only, and not if the window is larger by now.
        path.lose();
        path.run(seconds(20.0));
        let grown = path.segments();
        path.cubic.on_spurious_congestion(path.now);
        assert_eq!(path.segments(), grown);
        path.lose();
        path.cubic.on_persistent_congestion(path.now);
        path.cubic.on_spurious_congestion(path.now);
        assert_eq!(path.segments(), 2);
    }

    #[test]
    fn slow_start_goes_on_if_what_ended_it_was_nothing() {
        let mut path = Path { cubic: Cubic::new(1200, None), now: epoch(), rtt: Duration::from_millis(100) };
        path.lose();
        assert!(path.cubic.hystart.is_none());
        path.cubic.on_spurious_congestion(path.now);
        assert!(path.cubic.hystart.is_some());
        let before = path.segments();
        path.run(seconds(0.1));
        assert_eq!(path.segments(), 2 * before);
    }

    #[test]
    fn the_window_never_falls_below_two_datagrams() {
        let mut path = Path::after_loss_at(2, 100);
        for _ in 0..10 {
            path.now += path.rtt;
            path.lose();
        }
        assert_eq!(path.cubic.window(), 2 * MSS);
        path.cubic.on_max_datagram_size(1452);
        assert_eq!(path.cubic.window(), 2904);
    }

    #[test]
    fn an_untouched_window_shrinks_with_the_size_of_datagrams_and_does_not_grow() {
        let mut cubic = Cubic::new(1452, None);
        assert_eq!(cubic.window(), 14_520);
        cubic.on_max_datagram_size(1200);
        assert_eq!(cubic.window(), 12_000);
        cubic.on_max_datagram_size(1452);
        assert_eq!(cubic.window(), 12_000);
    }
}
