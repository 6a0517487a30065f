//! What losses and ECN marks do to the model, and how that is taken back (draft-ietf-ccwg-bbr-06 §5.3.1.3, §5.5.10 and
//! §5.5.11).

use std::time::Instant;

use super::rate::Departure;
use super::state::State;
use super::{Ack, Bbr, UNBOUNDED, percent};
use crate::packet::{CongestionEvent, LostPacket};

/// Percent of what is in flight that may get lost in a round trip of probing.
const LOSS_THRESH: u64 = 2;
/// Percent of the short-term bounds that a round with losses leaves at least.
const BETA: u64 = 70;
/// Startup ends if losses of a round left so many gaps, and were too many.
const STARTUP_FULL_LOSS_COUNT: u32 = 6;
/// And if it is not the first round with losses: recovery has lasted for a full one.
const STARTUP_LOSSY_ROUNDS: u32 = 2;

/// What was believed before a loss.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// When the episode began: losses of what was sent before belong to it.
    start: Option<Instant>,
    /// The state that the loss ended.
    state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

impl Bbr {
    /// Whether more was lost than the rate that is tolerated brings with it. Of few packets that rate takes more now and
    /// then by chance: its standard deviation is allowed for.
    pub(super) fn is_inflight_too_high(&self, lost: u64, in_flight: u64) -> bool {
        let tolerated = percent(in_flight, LOSS_THRESH);
        lost > tolerated + tolerated.saturating_mul(self.max_datagram_size).isqrt()
    }

    // Each lost packet.

    fn note_loss(&mut self, now: Instant, sent: Instant) {
        if !self.loss_in_round {
            // The ACK frame that revealed the loss is not counted yet: what it acknowledges was sent before.
            self.loss_round_delivered = self.sampler.delivered + 1;
        }
        self.loss_in_round = true;
        if self.undo.start.is_none_or(|start| sent > start) {
            self.save_state_upon_loss(now);
        }
    }

    pub(super) fn handle_lost_packet(&mut self, packet: &LostPacket) {
        self.sampler.lost += packet.bytes;
        self.note_loss(packet.now, packet.sent);
        self.gaps_in_round += u32::from(packet.begins_gap);
        if !self.is_bw_probe_sample {
            return;
        }
        let Some(departure) = self.sampler.departure(packet.sent).copied() else { return };
        let lost = self.sampler.lost - departure.lost;
        if self.is_inflight_too_high(lost, departure.in_flight) {
            let at_loss = inflight_at_loss(&departure, packet.bytes, lost);
            self.handle_inflight_too_high(packet.now, at_loss, departure.app_limited);
        }
    }

    fn handle_inflight_too_high(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        self.prev_probe_too_high = true;
        // Only once for each probe.
        self.is_bw_probe_sample = false;
        if !app_limited {
            self.inflight_longterm = in_flight.max(percent(self.target_inflight(), BETA));
        }
        if self.state == State::Up {
            self.undo.state = Some(State::Up);
            self.start_down(now);
            self.next_round_delivered += 1;
        }
    }

    /// Packets of this path were marked CE. The draft leaves the answer open, but asks for one (§3.7): a mark counts as
    /// a loss rate that is too high, whatever the rate of marks.
    pub(super) fn handle_mark(&mut self, event: &CongestionEvent) {
        self.note_loss(event.now, event.sent);
        self.mark_in_round = true;
        if self.state == State::Startup {
            self.leave_startup();
        } else if self.is_bw_probe_sample
            && let Some(departure) = self.sampler.departure(event.sent).copied()
        {
            self.handle_inflight_too_high(event.now, departure.in_flight, departure.app_limited);
        }
    }

    // Each round.

    pub(super) fn update_congestion_signals(&mut self, ack: &Ack) {
        self.update_max_bw(ack);
        if !self.loss_round_start {
            return;
        }
        let measured = self.state != State::ProbeRtt && self.round_count >= self.measures_from_round;
        if self.loss_in_round && measured && !self.is_probing_bw() {
            self.lower_bounds();
        }
        self.loss_in_round = false;
        self.mark_in_round = false;
    }

    /// Toward what was delivered in the last round.
    fn lower_bounds(&mut self) {
        if self.bw_shortterm == UNBOUNDED {
            self.bw_shortterm = self.max_rate.get();
        }
        if self.inflight_shortterm == UNBOUNDED {
            self.inflight_shortterm = self.window;
        }
        self.bw_shortterm = self.bw_latest.max(percent(self.bw_shortterm, BETA));
        // A marked packet is delivered: what arrived is no measure of what the queue can take.
        let delivered = if self.mark_in_round { 0 } else { self.inflight_latest };
        self.inflight_shortterm = delivered.max(percent(self.inflight_shortterm, BETA));
    }

    pub(super) fn reset_congestion_signals(&mut self) {
        self.loss_in_round = false;
        self.mark_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    // Startup.

    /// CheckStartupHighLoss.
    pub(super) fn check_startup_high_loss(&mut self, ack: &Ack) {
        if !self.round_start {
            return;
        }
        let gaps = std::mem::take(&mut self.gaps_in_round);
        self.lossy_rounds = if gaps > 0 { self.lossy_rounds + 1 } else { 0 };
        if self.state == State::Startup
            && self.lossy_rounds >= STARTUP_LOSSY_ROUNDS
            && gaps >= STARTUP_FULL_LOSS_COUNT
            && self.is_inflight_too_high(ack.rate.lost, ack.rate.in_flight)
        {
            self.leave_startup();
        }
    }

    fn leave_startup(&mut self) {
        self.undo.state = Some(State::Startup);
        self.full_bw_reached = true;
        self.inflight_longterm = self.bdp(self.bw, 100).max(self.inflight_latest);
        self.enter_drain();
    }

    // Losses that were none.

    fn save_state_upon_loss(&mut self, now: Instant) {
        self.save_window();
        self.undo = Undo {
            start: Some(now),
            state: None,
            bw_shortterm: self.bw_shortterm,
            inflight_shortterm: self.inflight_shortterm,
            inflight_longterm: self.inflight_longterm,
        };
    }

    pub(super) fn handle_spurious_loss(&mut self) {
        self.recovery = None;
        self.restore_window();
        self.loss_in_round = false;
        self.mark_in_round = false;
        self.reset_full_bw();
        self.bw_shortterm = self.bw_shortterm.max(self.undo.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(self.undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(self.undo.inflight_longterm);
        match self.undo.state.take() {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_bw_reached = false;
                if self.state != State::ProbeRtt {
                    self.state = State::Startup;
                }
            }
            Some(State::Up) if !matches!(self.state, State::Up | State::ProbeRtt) => self.start_refill(),
            _ => {}
        }
    }
}

/// How much was in flight when losses became too many, which may have been within a batch.
fn inflight_at_loss(departure: &Departure, bytes: u64, lost: u64) -> u64 {
    let inflight_prev = departure.in_flight.saturating_sub(bytes);
    let lost_prev = lost.saturating_sub(bytes);
    let prefix = percent(inflight_prev, LOSS_THRESH).saturating_sub(lost_prev);
    inflight_prev + prefix * 100 / (100 - LOSS_THRESH)
}
