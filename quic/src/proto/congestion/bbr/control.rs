//! From the model to pacing rate and window (draft-ietf-ccwg-bbr-06 §5.6).

use std::time::Duration;

use super::state::State;
use super::{Bbr, bytes_in, bytes_per_second, percent};

/// Percent of the rate that pacing stays below, so that queues shrink by themselves.
pub(super) const PACING_MARGIN: u64 = 1;
/// A batch holds what the pacing rate yields in this time.
const QUANTUM: Duration = Duration::from_millis(1);
const MAX_QUANTUM: u64 = 64 << 10;
/// Datagrams that are always allowed in flight.
const MIN_PIPE_DATAGRAMS: u64 = 4;

impl Bbr {
    // Pacing rate.

    /// With the first round-trip time: Startup's gain over the initial window.
    pub(super) fn init_pacing_rate(&mut self, smoothed: Duration) {
        let nominal = bytes_per_second(self.initial_window, smoothed);
        self.pacing_rate = Some(percent(nominal, State::Startup.pacing_gain()));
    }

    /// `gain` in percent. Until the pipe has been full once, the rate only grows.
    pub(super) fn set_pacing_rate(&mut self, gain: u64) {
        if self.bw == 0 {
            return;
        }
        let rate = percent(percent(self.bw, gain), 100 - PACING_MARGIN);
        if self.full_bw_reached || self.pacing_rate.is_none_or(|before| rate > before) {
            self.pacing_rate = Some(rate);
        }
    }

    // Window.

    pub(super) fn min_pipe_window(&self) -> u64 {
        MIN_PIPE_DATAGRAMS * self.max_datagram_size
    }

    /// What the path holds at this rate, times `gain` percent (BDPMultiple).
    pub(super) fn bdp(&self, rate: u64, gain: u64) -> u64 {
        match self.min_rtt {
            Some(min_rtt) => percent(bytes_in(min_rtt, rate), gain),
            None => self.initial_window,
        }
    }

    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp(self.bw, 100).min(self.window)
    }

    /// What has to be in flight for this rate, batches included (Inflight).
    pub(super) fn inflight(&self, rate: u64, gain: u64) -> u64 {
        self.with_quantization_budget(self.bdp(rate, gain))
    }

    fn with_quantization_budget(&self, cap: u64) -> u64 {
        let quantum = bytes_in(QUANTUM, self.pacing_rate.unwrap_or(0));
        let offload_budget = quantum.min(MAX_QUANTUM).max(2 * self.max_datagram_size);
        let cap = cap.max(offload_budget).max(self.min_pipe_window());
        if self.state == State::Up { cap.saturating_add(2 * self.max_datagram_size) } else { cap }
    }

    /// SetCwnd, after an ACK frame for so many bytes.
    pub(super) fn set_window(&mut self, acked: u64) {
        let cap = self.bdp(self.bw, self.state.window_gain()).saturating_add(self.extra_acked.get());
        let max_inflight = self.with_quantization_budget(cap);
        if self.full_bw_reached {
            self.window = (self.window + acked).min(max_inflight);
        } else if self.window < max_inflight || self.sampler.delivered < self.initial_window {
            self.window += acked;
        }
        self.window = self.window.max(self.min_pipe_window());
        if self.state == State::ProbeRtt {
            self.window = self.window.min(self.probe_rtt_window());
        }
        self.bound_window_for_model();
    }

    fn bound_window_for_model(&mut self) {
        let cap = match self.state {
            State::Down | State::Refill | State::Up => self.inflight_longterm,
            State::ProbeRtt | State::Cruise => self.inflight_with_headroom(),
            State::Startup | State::Drain => super::UNBOUNDED,
        };
        let cap = cap.min(self.inflight_shortterm).max(self.min_pipe_window());
        self.window = self.window.min(cap);
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.bdp(self.bw, State::ProbeRtt.window_gain()).max(self.min_pipe_window())
    }

    /// The window before losses or ProbeRTT cut it.
    pub(super) fn save_window(&mut self) {
        self.prior_window = if self.recovery.is_none() && self.state != State::ProbeRtt {
            self.window
        } else {
            self.prior_window.max(self.window)
        };
    }

    pub(super) fn restore_window(&mut self) {
        self.window = self.window.max(self.prior_window);
    }
}
