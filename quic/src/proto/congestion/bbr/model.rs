//! What is believed of the path (draft-ietf-ccwg-bbr-06 §5.5.1 to §5.5.9).

use std::time::Duration;

use super::control::PACING_MARGIN;
use super::rate::RateSample;
use super::state::State;
use super::{Ack, Bbr, UNBOUNDED, bytes_in, percent};

/// For so long a shortest round-trip time is believed.
const MIN_RTT_FILTER_LEN: Duration = Duration::from_secs(10);
/// After so long without a shorter or equal one, little is put in flight for a moment (§5.3.4).
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// Rounds for which the degree of aggregation is remembered, once Startup is over.
const EXTRA_ACKED_FILTER_LEN: u64 = 10;

impl Bbr {
    // Rounds.

    pub(super) fn update_round(&mut self, ack: &Ack) {
        self.round_start = ack.rate.prior_delivered >= self.next_round_delivered;
        if self.round_start {
            self.next_round_delivered = self.sampler.delivered;
            self.round_count += 1;
            self.rounds_since_probe_up += 1;
            self.window_limited = [false, self.window_limited[0]];
        }
    }

    /// The present round ends with a packet that is sent from now on. Losses are told before the acknowledgment that
    /// revealed them, whose bytes are not counted yet.
    pub(super) fn start_round(&mut self) {
        self.next_round_delivered = self.sampler.delivered;
    }

    // Rate.

    pub(super) fn update_max_bw(&mut self, ack: &Ack) {
        let rate = &ack.rate;
        if rate.rate > 0 && (rate.rate >= self.max_rate.get() || !rate.app_limited) {
            self.max_rate.update(rate.rate);
        }
    }

    pub(super) fn bound_bw(&mut self) {
        self.bw = self.max_rate.get().min(self.bw_shortterm);
    }

    pub(super) fn update_latest_delivery_signals(&mut self, ack: &Ack) {
        let (rate, delivered) = self.latest_delivery(&ack.rate);
        self.loss_round_start = false;
        self.bw_latest = self.bw_latest.max(rate);
        self.inflight_latest = self.inflight_latest.max(delivered);
        if ack.rate.prior_delivered >= self.loss_round_delivered {
            self.loss_round_delivered = self.sampler.delivered;
            self.loss_round_start = true;
        }
    }

    pub(super) fn advance_latest_delivery_signals(&mut self, ack: &Ack) {
        if self.loss_round_start {
            (self.bw_latest, self.inflight_latest) = self.latest_delivery(&ack.rate);
        }
    }

    /// What a sample says of how much the path delivers at present, as rate and as volume. We send a little less than
    /// that on purpose, in ProbeBW_DOWN much less: that less arrives is then no sign that the path delivers less.
    fn latest_delivery(&self, sample: &RateSample) -> (u64, u64) {
        let gain = if sample.slowed { State::Down.pacing_gain() } else { 100 };
        let sent = percent(gain, 100 - PACING_MARGIN);
        let full = |value: u64| value.saturating_mul(100) / sent;
        (full(sample.rate).min(self.max_rate.get().max(sample.rate)), full(sample.delivered))
    }

    pub(super) fn reset_short_term_model(&mut self) {
        self.bw_shortterm = UNBOUNDED;
        self.inflight_shortterm = UNBOUNDED;
    }

    // Round-trip time.

    pub(super) fn update_min_rtt(&mut self, ack: &Ack) {
        self.probe_rtt_expired = ack.now > self.probe_rtt_min_stamp + PROBE_RTT_INTERVAL;
        let sample = ack.rate.rtt;
        if self.probe_rtt_min_delay.is_none_or(|min| sample < min) || self.probe_rtt_expired {
            self.probe_rtt_min_delay = Some(sample);
            self.probe_rtt_min_stamp = ack.now;
        }
        let expired = ack.now > self.min_rtt_stamp + MIN_RTT_FILTER_LEN;
        if expired || self.min_rtt.is_none_or(|min| self.probe_rtt_min_delay.is_some_and(|delay| delay < min))
        {
            self.min_rtt = self.probe_rtt_min_delay;
            self.min_rtt_stamp = self.probe_rtt_min_stamp;
        }
    }

    // Aggregation.

    pub(super) fn update_ack_aggregation(&mut self, ack: &Ack) {
        let interval = ack.now.saturating_duration_since(self.extra_acked_start);
        let mut expected = bytes_in(interval, self.bw);
        if self.extra_acked_delivered <= expected {
            self.extra_acked_delivered = 0;
            self.extra_acked_start = ack.now;
            expected = 0;
        }
        self.extra_acked_delivered += ack.bytes;
        let extra = self.extra_acked_delivered.saturating_sub(expected).min(self.window);
        let rounds = if self.full_bw_reached { EXTRA_ACKED_FILTER_LEN } else { 1 };
        self.extra_acked.update(self.round_count, extra, rounds);
    }
}
