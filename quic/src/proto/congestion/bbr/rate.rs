//! Delivery rate samples (draft-ietf-ccwg-bbr-06 §4.1): how fast data arrived while one packet was under way.
//!
//! All packets of a batch leave at one time and see the same state, so that state is kept once for each such time and
//! found again by it; the record of a sent packet knows nothing of it, and other controllers do not pay for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::bytes_per_second;
use crate::packet::Acked;

/// So many departure times are remembered; packets that leave while there are more give no sample.
const MAX_DEPARTURES: usize = 1 << 15;

/// What was known when packets left.
#[derive(Debug, Copy, Clone)]
pub(super) struct Departure {
    pub(super) sent: Instant,
    /// Bytes delivered until then.
    pub(super) delivered: u64,
    /// When that count last changed.
    delivered_time: Instant,
    /// When the packet was sent that was delivered last.
    first_sent: Instant,
    /// Bytes lost until then.
    pub(super) lost: u64,
    /// Bytes in flight with all packets that left at this time.
    pub(super) in_flight: u64,
    pub(super) app_limited: bool,
    /// They left more slowly than the path delivers, on purpose.
    slowed: bool,
}

/// What an ACK frame says about the newest packet that it acknowledges (RS).
#[derive(Debug, Copy, Clone)]
pub(super) struct RateSample {
    /// Bytes per second; 0 if the interval was too short to tell.
    pub(super) rate: u64,
    /// Bytes delivered since that packet left.
    pub(super) delivered: u64,
    /// Bytes that had been delivered when it left.
    pub(super) prior_delivered: u64,
    /// Bytes declared lost since it left.
    pub(super) lost: u64,
    /// Bytes in flight when it left.
    pub(super) in_flight: u64,
    pub(super) app_limited: bool,
    pub(super) slowed: bool,
    pub(super) rtt: Duration,
}

/// Counts what is delivered and lost on a path (C).
#[derive(Debug)]
pub(super) struct Sampler {
    pub(super) delivered: u64,
    delivered_time: Instant,
    first_sent: Instant,
    pub(super) lost: u64,
    /// When so many bytes are delivered, all that was sent for lack of more is; 0: there was no lack.
    app_limited: u64,
    /// Ascending by time.
    departures: VecDeque<Departure>,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_time: now,
            first_sent: now,
            lost: 0,
            app_limited: 0,
            departures: VecDeque::new(),
        }
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited != 0
    }

    /// MarkConnectionAppLimited.
    pub(super) fn mark_app_limited(&mut self, in_flight: u64) {
        self.app_limited = (self.delivered + in_flight).max(1);
    }

    /// OnPacketSent; `in_flight` includes the packet.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64, slowed: bool) {
        if in_flight <= bytes {
            self.first_sent = now;
            self.delivered_time = now;
            self.departures.clear();
        }
        if let Some(last) = self.departures.back_mut()
            && last.sent >= now
        {
            last.in_flight = in_flight;
            return;
        }
        if self.departures.len() < MAX_DEPARTURES {
            self.departures.push_back(Departure {
                sent: now,
                delivered: self.delivered,
                delivered_time: self.delivered_time,
                first_sent: self.first_sent,
                lost: self.lost,
                in_flight,
                app_limited: self.is_app_limited(),
                slowed,
            });
        }
    }

    /// What was known when a packet left that is settled only now.
    pub(super) fn departure(&self, sent: Instant) -> Option<&Departure> {
        let index = self.departures.binary_search_by(|departure| departure.sent.cmp(&sent)).ok()?;
        self.departures.get(index)
    }

    /// UpdateRateSample and GenerateRateSample; `None` if the newest packet gives no sample.
    pub(super) fn on_ack(&mut self, acked: &Acked) -> Option<RateSample> {
        self.delivered += acked.bytes + acked.late_bytes;
        self.delivered_time = acked.now;
        if self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        // Also where there is no sample: full of old departures it would take no new ones, and give none ever again.
        self.forget(acked);
        let departure = *self.departure(acked.newest_sent)?;
        self.first_sent = departure.sent;
        let send_elapsed = departure.sent.saturating_duration_since(departure.first_sent);
        let ack_elapsed = acked.now.saturating_duration_since(departure.delivered_time);
        let interval = send_elapsed.max(ack_elapsed);
        let delivered = self.delivered - departure.delivered;
        let rate = if interval < acked.rtt.min { 0 } else { bytes_per_second(delivered, interval) };
        Some(RateSample {
            rate,
            delivered,
            prior_delivered: departure.delivered,
            lost: self.lost - departure.lost,
            in_flight: departure.in_flight,
            app_limited: departure.app_limited,
            slowed: departure.slowed,
            rtt: acked.now.saturating_duration_since(departure.sent),
        })
    }

    /// Packets that were sent so long before this one arrived or were declared lost: the time threshold is two round
    /// trips at most.
    fn forget(&mut self, acked: &Acked) {
        let span = 3 * acked.rtt.smoothed.max(acked.rtt.latest);
        while let Some(oldest) = self.departures.front()
            && oldest.sent + span < acked.newest_sent
        {
            self.departures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Rtt, epoch};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn acked(now: Instant, newest_sent: Instant, bytes: u64) -> Acked {
        let rtt = Rtt { latest: ms(100), smoothed: ms(100), variation: ms(0), min: ms(100) };
        Acked {
            now,
            bytes,
            late_bytes: 0,
            lost_bytes: 0,
            newest_sent,
            in_flight: bytes,
            app_limited: false,
            rtt,
        }
    }

    #[test]
    fn the_rate_is_what_arrived_over_the_longer_of_two_times() {
        let start = epoch();
        let mut sampler = Sampler::new(start);
        // Two packets each 10 ms, for 100 ms; the path gives one back each 10 ms.
        for n in 0..10 {
            sampler.on_sent(start + ms(10 * n), 1000, 2000 * n + 1000, false);
            sampler.on_sent(start + ms(10 * n), 1000, 2000 * n + 2000, false);
        }
        let first = sampler.on_ack(&acked(start + ms(100), start, 1000)).unwrap();
        assert_eq!((first.rate, first.delivered, first.in_flight), (10_000, 1000, 2000));
        let mut last = first;
        for n in 1..10 {
            last = sampler.on_ack(&acked(start + ms(100 + 10 * n), start + ms(10 * n), 1000)).unwrap();
        }
        // Ten packets in 190 ms since the first was sent: the path was empty then.
        assert_eq!((last.delivered, last.rate, last.prior_delivered), (10_000, 52_631, 0));
        sampler.on_sent(start + ms(190), 1000, 11_000, false);
        sampler.on_sent(start + ms(200), 1000, 12_000, false);
        let full = sampler.on_ack(&acked(start + ms(290), start + ms(190), 10_000)).unwrap();
        assert_eq!(
            (full.delivered, full.rate),
            (10_000, 100_000),
            "since the last acknowledgment before it left"
        );
        let compressed = sampler.on_ack(&acked(start + ms(291), start + ms(200), 1000)).unwrap();
        assert_eq!(compressed.rate, 100_000, "they left in 110 ms, however close their acknowledgments are");
    }

    #[test]
    fn an_interval_below_a_round_trip_tells_nothing() {
        let start = epoch();
        let mut sampler = Sampler::new(start);
        sampler.on_sent(start, 1000, 1000, false);
        assert_eq!(sampler.on_ack(&acked(start + ms(60), start, 1000)).unwrap().rate, 0);
        assert!(sampler.on_ack(&acked(start + ms(70), start + ms(5), 1000)).is_none(), "nothing left then");
    }

    #[test]
    fn a_lack_of_data_marks_samples_until_all_that_was_sent_meanwhile_has_arrived() {
        let start = epoch();
        let mut sampler = Sampler::new(start);
        sampler.on_sent(start, 1000, 1000, false);
        sampler.mark_app_limited(1000);
        sampler.on_sent(start + ms(10), 1000, 2000, false);
        assert!(!sampler.on_ack(&acked(start + ms(100), start, 1000)).unwrap().app_limited);
        assert!(sampler.is_app_limited());
        assert!(sampler.on_ack(&acked(start + ms(110), start + ms(10), 1000)).unwrap().app_limited);
        assert!(!sampler.is_app_limited());
    }

    /// More departures in three round trips than are remembered: there are samples again once the old ones are settled.
    #[test]
    fn after_too_many_departures_there_are_samples_again() {
        let start = epoch();
        let at = |n: u64| start + Duration::from_micros(n);
        let mut sampler = Sampler::new(start);
        let count = MAX_DEPARTURES as u64 + 1000;
        for n in 0..count {
            sampler.on_sent(at(n), 1000, 1_000_000, false);
        }
        assert_eq!(sampler.departures.len(), MAX_DEPARTURES);
        let later = start + ms(1000);
        assert!(sampler.on_ack(&acked(later, at(count - 1), 1000)).is_none(), "it was not remembered");
        sampler.on_sent(later, 1000, 1_000_000, false);
        assert!(sampler.on_ack(&acked(later + ms(100), later, 1000)).is_none(), "full");
        sampler.on_sent(later + ms(100), 1000, 1_000_000, false);
        assert!(sampler.on_ack(&acked(later + ms(200), later + ms(100), 1000)).is_some());
    }

    #[test]
    fn departures_are_forgotten() {
        let start = epoch();
        let mut sampler = Sampler::new(start);
        for n in 0..10_000 {
            sampler.on_sent(start + ms(n), 1000, 100_000, false);
            if n >= 100 {
                sampler.on_ack(&acked(start + ms(n), start + ms(n - 100), 1000));
            }
        }
        assert!(sampler.departures.len() <= 402, "{}", sampler.departures.len());
    }
}
