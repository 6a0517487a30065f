//! BBR version 3 (draft-ietf-ccwg-bbr-06): models the path by the rate at which data arrive and by the shortest
//! round-trip time, sends at that rate, and probes now and then whether the path has become better or worse.
//!
//! | file | holds |
//! |---|---|
//! | `rate` | delivery rate samples (§4.1) |
//! | `filter` | windowed maxima |
//! | `state` | Startup, Drain, ProbeBW and ProbeRTT: when one becomes the next (§5.3, §5.4) |
//! | `model` | what is believed of the path: rounds, rate, round-trip time, aggregation (§5.5.1 to §5.5.9) |
//! | `loss` | what losses, marks and losses that were none do to that (§5.5.10, §5.5.11) |
//! | `control` | from the model to pacing rate and window (§5.6) |
//!
//! Names are the draft's where they say what they mean; the name in the draft stands beside where they do not. The
//! decision page `bbr.md` says where the draft leaves a choice and what was chosen.

mod control;
mod filter;
mod loss;
mod model;
mod rate;
mod state;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::packet::{Acked, CongestionEvent, Controller, LostPacket};
use filter::{MaxOfRounds, MaxRate};
use loss::Undo;
use rate::{RateSample, Sampler};
use state::{AckPhase, State};

/// A bound that is not set: Infinity in the draft.
const UNBOUNDED: u64 = u64::MAX;

/// BBR of one path. Bytes, and bytes per second.
#[derive(Debug)]
pub struct Bbr {
    max_datagram_size: u64,
    initial_window: u64,
    /// The window is still the initial one of RFC 9002.
    untouched: bool,
    random: Random,

    // What it decides.
    window: u64,
    /// `None` until the first round-trip time is known.
    pacing_rate: Option<u64>,
    /// The last good window before a loss or ProbeRTT cut it.
    prior_window: u64,

    // Input.
    sampler: Sampler,
    /// The window was used up in this round, in the last one.
    window_limited: [bool; 2],
    /// In recovery until a packet is acknowledged that was sent after this time.
    recovery: Option<Instant>,

    // State.
    state: State,
    round_count: u64,
    round_start: bool,
    /// The round ends when so many bytes had been delivered at the departure of a packet that is acknowledged.
    next_round_delivered: u64,
    idle_restart: bool,
    drain_start_round: u64,

    // The long-term model.
    max_rate: MaxRate,
    min_rtt: Option<Duration>,
    min_rtt_stamp: Instant,
    inflight_longterm: u64,

    // The short-term model.
    bw_shortterm: u64,
    inflight_shortterm: u64,
    bw_latest: u64,
    inflight_latest: u64,
    loss_round_delivered: u64,
    loss_round_start: bool,
    loss_in_round: bool,
    /// Gaps that losses of this round left.
    gaps_in_round: u32,
    /// Rounds with losses in a row.
    lossy_rounds: u32,
    mark_in_round: bool,
    /// min(max_bw, bw_shortterm).
    bw: u64,

    // Aggregation.
    extra_acked: MaxOfRounds,
    extra_acked_start: Instant,
    extra_acked_delivered: u64,

    // Has the pipe been filled?
    full_bw: u64,
    full_bw_count: u32,
    full_bw_now: bool,
    full_bw_reached: bool,

    // ProbeBW.
    ack_phase: AckPhase,
    is_bw_probe_sample: bool,
    bw_probe_up_acked: u64,
    probe_up_acked_per_inc: u64,
    bw_probe_up_rounds: u32,
    rounds_since_probe_up: u64,
    bw_probe_wait: Duration,
    cycle_stamp: Instant,
    prev_probe_too_high: bool,
    prev_probe_precautionary: bool,

    // ProbeRTT.
    probe_rtt_min_delay: Option<Duration>,
    probe_rtt_min_stamp: Instant,
    probe_rtt_expired: bool,
    probe_rtt_done_stamp: Option<Instant>,
    probe_rtt_round_done: bool,
    /// Before this round what arrives was held back by ProbeRTT: no measure of what the path delivers.
    measures_from_round: u64,

    undo: Undo,
}

impl Bbr {
    /// A controller in Startup. `seed` mixes the times at which flows probe.
    #[must_use]
    pub fn new(now: Instant, max_datagram_size: u16, window: Option<u64>, seed: u64) -> Self {
        let max_datagram_size = u64::from(max_datagram_size);
        let initial_window =
            window.unwrap_or(super::initial_window(max_datagram_size)).max(2 * max_datagram_size);
        Self {
            max_datagram_size,
            initial_window,
            untouched: window.is_none(),
            random: Random(seed),
            window: initial_window,
            pacing_rate: None,
            prior_window: 0,
            sampler: Sampler::new(now),
            window_limited: [false; 2],
            recovery: None,
            state: State::Startup,
            round_count: 0,
            round_start: false,
            next_round_delivered: 0,
            idle_restart: false,
            drain_start_round: 0,
            max_rate: MaxRate::default(),
            min_rtt: None,
            min_rtt_stamp: now,
            inflight_longterm: UNBOUNDED,
            bw_shortterm: UNBOUNDED,
            inflight_shortterm: UNBOUNDED,
            bw_latest: 0,
            inflight_latest: 0,
            loss_round_delivered: 0,
            loss_round_start: false,
            loss_in_round: false,
            gaps_in_round: 0,
            lossy_rounds: 0,
            mark_in_round: false,
            bw: 0,
            extra_acked: MaxOfRounds::default(),
            extra_acked_start: now,
            extra_acked_delivered: 0,
            full_bw: 0,
            full_bw_count: 0,
            full_bw_now: false,
            full_bw_reached: false,
            ack_phase: AckPhase::Init,
            is_bw_probe_sample: false,
            bw_probe_up_acked: 0,
            probe_up_acked_per_inc: UNBOUNDED,
            bw_probe_up_rounds: 0,
            rounds_since_probe_up: 0,
            bw_probe_wait: Duration::ZERO,
            cycle_stamp: now,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
            probe_rtt_min_delay: None,
            probe_rtt_min_stamp: now,
            probe_rtt_expired: false,
            probe_rtt_done_stamp: None,
            probe_rtt_round_done: false,
            measures_from_round: 0,
            undo: Undo::default(),
        }
    }

    /// UpdateModelAndState.
    fn update_model(&mut self, ack: &Ack) {
        self.update_round(ack);
        self.update_latest_delivery_signals(ack);
        self.update_congestion_signals(ack);
        self.update_ack_aggregation(ack);
        self.check_full_bw_reached(ack);
        self.check_startup_done(ack);
        self.check_drain_done(ack);
        self.update_probe_bw_cycle_phase(ack);
        self.update_min_rtt(ack);
        self.check_probe_rtt(ack);
        self.advance_latest_delivery_signals(ack);
        self.bound_bw();
    }
}

/// An ACK frame with its sample.
#[derive(Debug, Copy, Clone)]
struct Ack {
    now: Instant,
    /// Bytes newly acknowledged.
    bytes: u64,
    /// Bytes in flight after it.
    in_flight: u64,
    rate: RateSample,
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        if in_flight <= bytes && self.sampler.is_app_limited() {
            self.restart_from_idle(now);
        }
        self.sampler.on_sent(now, bytes, in_flight, self.state == State::Down);
        if in_flight + self.max_datagram_size > self.window {
            self.window_limited[0] = true;
        }
    }

    fn on_app_limited(&mut self, _now: Instant, in_flight: u64) {
        self.sampler.mark_app_limited(in_flight);
    }

    fn on_ack(&mut self, acked: &Acked) {
        self.untouched = false;
        if self.recovery.is_some_and(|start| acked.newest_sent > start) {
            self.recovery = None;
        }
        let sample = self.sampler.on_ack(acked);
        if self.pacing_rate.is_none() {
            self.init_pacing_rate(acked.rtt.smoothed);
        }
        if let Some(rate) = sample {
            let in_flight = acked.in_flight.saturating_sub(acked.bytes + acked.lost_bytes);
            let ack = Ack { now: acked.now, bytes: acked.bytes, in_flight, rate };
            self.update_model(&ack);
            self.set_pacing_rate(self.state.pacing_gain());
        }
        self.set_window(acked.bytes);
    }

    fn on_lost(&mut self, packet: &LostPacket) {
        self.handle_lost_packet(packet);
    }

    fn on_congestion_event(&mut self, event: &CongestionEvent) {
        self.untouched = false;
        if self.recovery.is_none_or(|start| event.sent > start) {
            self.recovery = Some(event.now);
        }
        if event.ecn {
            self.handle_mark(event);
        }
    }

    fn on_spurious_congestion(&mut self, _now: Instant) {
        self.handle_spurious_loss();
    }

    fn on_persistent_congestion(&mut self, _now: Instant) {
        self.window = 2 * self.max_datagram_size;
    }

    fn on_max_datagram_size(&mut self, max_datagram_size: u16) {
        self.max_datagram_size = u64::from(max_datagram_size);
        if self.untouched {
            // Larger datagrams are no reason to send more bytes (RFC 8899 §3, item 7).
            self.window = self.window.min(super::initial_window(self.max_datagram_size));
        }
        self.window = self.window.max(2 * self.max_datagram_size);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.pacing_rate
    }
}

/// Spreads the times at which flows probe: SplitMix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

fn percent(value: u64, percent: u64) -> u64 {
    saturated(u128::from(value) * u128::from(percent) / 100)
}

fn bytes_per_second(bytes: u64, time: Duration) -> u64 {
    saturated(u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1))
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    saturated(u128::from(rate) * time.as_nanos() / 1_000_000_000)
}

fn saturated(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
