//! The round-trip time of a path (RFC 9002 §5).

use std::time::{Duration, Instant};

use crate::packet::Rtt;

/// Timer granularity, kGranularity (RFC 9002 §6.1.2).
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);

/// Estimates the round-trip time of one path.
#[derive(Debug, Clone)]
pub struct RttEstimator {
    rtt: Rtt,
    first_sample: Option<Instant>,
}

impl RttEstimator {
    /// An estimator without samples, which assumes `initial` (kInitialRtt, RFC 9002 §6.2.2).
    #[must_use]
    pub fn new(initial: Duration) -> Self {
        let rtt = Rtt { latest: initial, smoothed: initial, variation: initial / 2, min: initial };
        Self { rtt, first_sample: None }
    }

    /// The estimate.
    #[must_use]
    pub fn get(&self) -> Rtt {
        self.rtt
    }

    /// The moving average.
    #[must_use]
    pub fn smoothed(&self) -> Duration {
        self.rtt.smoothed
    }

    /// When the first sample came in.
    #[must_use]
    pub fn first_sample(&self) -> Option<Instant> {
        self.first_sample
    }

    /// Before the first sample: what another measurement makes likely (RFC 9002 §6.2.2).
    pub fn assume(&mut self, rtt: Duration) {
        if self.first_sample.is_none() {
            *self = Self::new(rtt.max(GRANULARITY));
        }
    }

    /// UpdateRtt of RFC 9002 §A.7. `ack_delay` is already limited to what the peer may delay.
    pub fn update(&mut self, now: Instant, latest: Duration, ack_delay: Duration) {
        let rtt = &mut self.rtt;
        rtt.latest = latest;
        if self.first_sample.is_none() {
            *rtt = Rtt { latest, smoothed: latest, variation: latest / 2, min: latest };
            self.first_sample = Some(now);
            return;
        }
        rtt.min = rtt.min.min(latest);
        let adjusted = if latest >= rtt.min + ack_delay { latest - ack_delay } else { latest };
        rtt.variation = (3 * rtt.variation + rtt.smoothed.abs_diff(adjusted)) / 4;
        rtt.smoothed = (7 * rtt.smoothed + adjusted) / 8;
    }

    /// After persistent congestion the old minimum says nothing about the path any more (RFC 9002 §5.2).
    pub fn on_persistent_congestion(&mut self) {
        self.rtt.min = self.rtt.latest;
    }

    /// The probe timeout without acknowledgment delay and backoff (RFC 9002 §6.2.1).
    #[must_use]
    pub fn pto(&self) -> Duration {
        self.rtt.smoothed + (4 * self.rtt.variation).max(GRANULARITY)
    }
}
