//! The state machine (draft-ietf-ccwg-bbr-06 §5.3 and §5.4): Startup, Drain, the four states of ProbeBW, ProbeRTT.

use std::time::{Duration, Instant};

use super::{Ack, Bbr, UNBOUNDED, percent};

/// Percent of the rate at which Startup paces: the least that lets the rate double each round.
const STARTUP_PACING_GAIN: u64 = 277;
const DRAIN_PACING_GAIN: u64 = 50;
const DEFAULT_WINDOW_GAIN: u64 = 200;
const PROBE_RTT_WINDOW_GAIN: u64 = 50;
/// Percent of `inflight_longterm` that are left to others while it is not probed.
const HEADROOM: u64 = 15;
/// The pipe is full when the rate has not grown by a quarter in so many rounds.
const FULL_BW_ROUNDS: u32 = 3;
/// Rounds after which Drain ends in any case.
const MAX_DRAIN_ROUNDS: u64 = 3;
/// Rounds between two probes at most: Reno and CUBIC get their share on paths with a small window.
const MAX_RENO_ROUNDS: u64 = 63;
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Doubles the rate each round.
    Startup,
    /// Lets the queue drain that Startup made.
    Drain,
    /// ProbeBW: slower than the path delivers.
    Down,
    /// ProbeBW: as fast as the path delivers.
    Cruise,
    /// ProbeBW: fills the pipe for a round.
    Refill,
    /// ProbeBW: faster, to see whether there is more.
    Up,
    /// Little in flight, to see the round-trip time without a queue.
    ProbeRtt,
}

impl State {
    pub(super) fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// Percent.
    pub(super) fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => STARTUP_PACING_GAIN,
            Self::Drain => DRAIN_PACING_GAIN,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// Percent.
    pub(super) fn window_gain(self) -> u64 {
        match self {
            Self::Up => 225,
            Self::ProbeRtt => PROBE_RTT_WINDOW_GAIN,
            _ => DEFAULT_WINDOW_GAIN,
        }
    }
}

/// What acknowledgments say about the last probe for more.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

impl Bbr {
    // Startup and Drain.

    pub(super) fn reset_full_bw(&mut self) {
        self.full_bw = 0;
        self.full_bw_count = 0;
        self.full_bw_now = false;
    }

    pub(super) fn check_full_bw_reached(&mut self, ack: &Ack) {
        if self.full_bw_now || !self.round_start || ack.rate.app_limited {
            return;
        }
        if ack.rate.rate >= percent(self.full_bw, 125) {
            self.reset_full_bw();
            self.full_bw = ack.rate.rate;
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_now = self.full_bw_count >= FULL_BW_ROUNDS;
        self.full_bw_reached |= self.full_bw_now;
    }

    pub(super) fn check_startup_done(&mut self, ack: &Ack) {
        self.check_startup_high_loss(ack);
        if self.state == State::Startup && self.full_bw_reached {
            self.enter_drain();
        }
    }

    pub(super) fn enter_drain(&mut self) {
        self.state = State::Drain;
        self.drain_start_round = self.round_count;
    }

    pub(super) fn check_drain_done(&mut self, ack: &Ack) {
        if self.state == State::Drain
            && (ack.in_flight <= self.inflight(self.bw, 100)
                || self.round_count > self.drain_start_round + MAX_DRAIN_ROUNDS)
        {
            self.start_down(ack.now);
        }
    }

    // ProbeBW.

    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_congestion_signals();
        self.probe_up_acked_per_inc = UNBOUNDED;
        self.pick_probe_wait();
        self.cycle_stamp = now;
        self.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::Down;
    }

    pub(super) fn start_refill(&mut self) {
        self.reset_short_term_model();
        self.bw_probe_up_rounds = 0;
        self.bw_probe_up_acked = 0;
        self.prev_probe_precautionary = false;
        self.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    fn start_up(&mut self, ack: &Ack) {
        self.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.reset_full_bw();
        self.full_bw = ack.rate.rate;
        self.state = State::Up;
        self.raise_inflight_longterm_slope();
    }

    pub(super) fn update_probe_bw_cycle_phase(&mut self, ack: &Ack) {
        if !self.full_bw_reached || self.adapt_long_term_model(ack) {
            return;
        }
        let state = self.state;
        if matches!(state, State::Down | State::Cruise) && self.is_time_to_probe_bw(ack.now) {
            return;
        }
        if state == State::Down && self.is_time_to_cruise(ack) {
            self.state = State::Cruise;
        } else if state == State::Refill && self.round_start {
            self.is_bw_probe_sample = true;
            self.start_up(ack);
        } else if state == State::Up && self.is_time_to_go_down(ack) {
            self.prev_probe_too_high = false;
            self.start_down(ack.now);
        }
    }

    /// True, and in Refill, if it is time for that.
    fn is_time_to_probe_bw(&mut self, now: Instant) -> bool {
        let due = now > self.cycle_stamp + self.bw_probe_wait || self.is_reno_coexistence_probe_time();
        if due {
            self.start_refill();
        }
        due
    }

    fn is_reno_coexistence_probe_time(&self) -> bool {
        let reno_rounds = self.target_inflight() / self.max_datagram_size.max(1);
        self.rounds_since_probe_up >= reno_rounds.min(MAX_RENO_ROUNDS)
    }

    fn pick_probe_wait(&mut self) {
        self.rounds_since_probe_up = self.random.below(2);
        self.bw_probe_wait = Duration::from_secs(2) + Duration::from_millis(self.random.below(1000));
    }

    fn is_time_to_cruise(&self, ack: &Ack) -> bool {
        ack.in_flight <= self.inflight_with_headroom()
            && ack.in_flight <= self.inflight(self.max_rate.get(), 100)
    }

    fn is_time_to_go_down(&mut self, ack: &Ack) -> bool {
        if self.prev_probe_too_high && ack.in_flight >= self.inflight_longterm {
            self.prev_probe_precautionary = true;
            return true;
        }
        if self.is_window_limited() && self.window >= self.inflight_longterm {
            // The bound, not the path, holds the rate back.
            self.reset_full_bw();
            self.full_bw = ack.rate.rate;
            return false;
        }
        self.full_bw_now
    }

    pub(super) fn is_window_limited(&self) -> bool {
        self.window_limited.contains(&true)
    }

    /// While Refill or Up send what is acknowledged later, losses say how much is too much.
    pub(super) fn is_probing_bw(&self) -> bool {
        matches!(self.state, State::Startup | State::Refill | State::Up)
    }

    pub(super) fn inflight_with_headroom(&self) -> u64 {
        if self.inflight_longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = percent(self.inflight_longterm, HEADROOM).max(self.max_datagram_size);
        self.inflight_longterm.saturating_sub(headroom).max(self.min_pipe_window())
    }

    fn raise_inflight_longterm_slope(&mut self) {
        let growth_this_round = 1 << self.bw_probe_up_rounds;
        self.bw_probe_up_rounds = (self.bw_probe_up_rounds + 1).min(30);
        self.probe_up_acked_per_inc = (self.window / growth_this_round).max(self.max_datagram_size);
    }

    fn probe_inflight_longterm_upward(&mut self, ack: &Ack) {
        if !self.is_window_limited() || self.window < self.inflight_longterm {
            return;
        }
        self.bw_probe_up_acked += ack.bytes;
        let steps = self.bw_probe_up_acked / self.probe_up_acked_per_inc.max(1);
        self.bw_probe_up_acked -= steps * self.probe_up_acked_per_inc;
        self.inflight_longterm = self.inflight_longterm.saturating_add(steps * self.max_datagram_size);
        if self.round_start {
            self.raise_inflight_longterm_slope();
        }
    }

    /// True if that decided which state comes next.
    fn adapt_long_term_model(&mut self, ack: &Ack) -> bool {
        if self.ack_phase == AckPhase::ProbeStarting && self.round_start {
            self.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.ack_phase == AckPhase::ProbeStopping && self.round_start {
            self.is_bw_probe_sample = false;
            self.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() {
                if !ack.rate.app_limited {
                    self.max_rate.advance();
                }
                if self.prev_probe_precautionary && !self.prev_probe_too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        if self.is_inflight_too_high(ack.rate.lost, ack.rate.in_flight) || self.inflight_longterm == UNBOUNDED
        {
            return false;
        }
        self.inflight_longterm = self.inflight_longterm.max(ack.rate.in_flight);
        if self.state == State::Up {
            self.probe_inflight_longterm_upward(ack);
        }
        false
    }

    // ProbeRTT.

    pub(super) fn check_probe_rtt(&mut self, ack: &Ack) {
        if self.state != State::ProbeRtt && self.probe_rtt_expired && !self.idle_restart {
            self.save_window();
            self.state = State::ProbeRtt;
            self.probe_rtt_done_stamp = None;
            self.ack_phase = AckPhase::ProbeStopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(ack);
        }
        if ack.rate.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn handle_probe_rtt(&mut self, ack: &Ack) {
        // The rates of now are low on purpose.
        self.sampler.mark_app_limited(ack.in_flight);
        if self.probe_rtt_done_stamp.is_none() {
            if ack.in_flight <= self.probe_rtt_window() {
                self.probe_rtt_done_stamp = Some(ack.now + PROBE_RTT_DURATION);
                self.probe_rtt_round_done = false;
                self.start_round();
            }
            return;
        }
        self.probe_rtt_round_done |= self.round_start;
        if self.probe_rtt_round_done {
            self.check_probe_rtt_done(ack.now);
        }
    }

    fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.probe_rtt_done_stamp.is_some_and(|done| now > done) {
            self.probe_rtt_min_stamp = now;
            self.restore_window();
            self.exit_probe_rtt(now);
        }
    }

    fn exit_probe_rtt(&mut self, now: Instant) {
        self.reset_short_term_model();
        // The first round ends with a packet that is sent now, and what is acknowledged in it was sent before; in the
        // second one the path fills again.
        self.measures_from_round = self.round_count + 2;
        if self.full_bw_reached {
            self.start_down(now);
            self.state = State::Cruise;
        } else {
            self.state = State::Startup;
        }
    }

    // Restart from idle.

    pub(super) fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        self.extra_acked_start = now;
        if self.state.is_probe_bw() {
            self.set_pacing_rate(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }
}
