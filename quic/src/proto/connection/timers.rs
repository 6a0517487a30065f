//! The one deadline of a connection, and what happens when it passes.

use std::time::Instant;

use super::Connection;
use super::key_ring::OneRtt;
use super::lifecycle::Lifecycle;
use crate::error::ConnectionError;
use crate::packet::{Side, SpaceId};
use crate::proto::recovery::{PtoContext, TimeoutOutcome};
use crate::proto::space::Token;

impl Connection {
    /// When something happens by itself, if nothing happens before. What only waits to be sent does not count while
    /// nothing can be sent.
    pub(super) fn timeout(&mut self, now: Instant, can_send: bool) -> Option<Instant> {
        if let Lifecycle::Ended { .. } = self.lifecycle {
            return None;
        }
        // Where the peer must be heard before anything may be sent, no timer helps.
        let can_send = can_send && !self.is_amplification_limited();
        let handshake = (!self.handshake.is_complete()).then_some(self.handshake.deadline);
        [
            handshake,
            self.idle.deadline(self.pto()),
            self.keep_alive_at(),
            self.reminder_at(),
            self.recovery.deadline(&self.spaces, &self.paths.active.cc, self.pto_context()),
            self.local_cids.deadline(),
            self.keys.one_rtt.as_ref().and_then(OneRtt::previous_until),
            self.paths.deadline(),
            self.handshake.early.keys_until,
            self.datagrams.deadline(),
            self.ack_deadline().filter(|_| can_send),
            self.pacing_deadline(now).filter(|_| can_send),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When application data must be acknowledged, if it may.
    fn ack_deadline(&self) -> Option<Instant> {
        let space = &self.spaces.data;
        space.received.ack_deadline().filter(|_| !space.sent.is_full() && !self.is_amplification_limited())
    }

    /// When a sender that flow control stopped reminds the peer of it, lest that take it for idle (RFC 9000 §4.1).
    fn reminder_at(&self) -> Option<Instant> {
        let space = &self.spaces.data;
        let stuck = self.streams.is_flow_blocked()
            && !self.streams.wants_to_send()
            && !space.sent.has_ack_eliciting_in_flight();
        if stuck { self.idle.half_time() } else { None }
    }

    /// When a PING breaks the silence. Where one is under way already, the probe timeout sees to what follows it.
    fn keep_alive_at(&self) -> Option<Instant> {
        let under_way = self.pending.ping || self.spaces.data.sent.has_ack_eliciting_in_flight();
        if self.handshake.is_complete() && !under_way { self.idle.keep_alive_at() } else { None }
    }

    /// What loss detection needs to know of the rest of the connection.
    pub(in crate::proto) fn pto_context(&self) -> PtoContext {
        PtoContext {
            handshake_confirmed: self.handshake.is_confirmed(),
            has_handshake_keys: self.keys.handshake.is_some(),
            peer_completed_address_validation: self.side == Side::Server || self.handshake.peer_validated_us,
            amplification_limited: self.is_amplification_limited(),
            crypto_waits: [SpaceId::Initial, SpaceId::Handshake]
                .map(|space| self.handshake.wants_to_send(space)),
            max_ack_delay: self.recovery.ack_requests.max_ack_delay(),
        }
    }

    /// When the pacer lets out what waits for it.
    fn pacing_deadline(&self, now: Instant) -> Option<Instant> {
        let at = self.paths.active.cc.paced_until(now)?;
        self.wants_to_send_eliciting().then_some(at)
    }

    /// Time has passed; call it when the moment of [`Output::Timeout`](crate::proto::Output::Timeout) is reached.
    ///
    /// Calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.lifecycle.is_open() {
            return;
        }
        if !self.handshake.is_complete() && now >= self.handshake.deadline {
            return self.give_up(now, ConnectionError::HandshakeTimeout);
        }
        if self.idle.deadline(self.pto()).is_some_and(|at| now >= at) {
            return self.give_up(now, ConnectionError::TimedOut);
        }
        if self.keep_alive_at().is_some_and(|at| now >= at) {
            self.pending.ping = true;
        }
        if self.reminder_at().is_some_and(|at| now >= at) {
            self.streams.repeat_blocked();
        }
        self.expire_early_keys(now);
        self.datagrams.on_timeout(now);
        self.local_cids.on_timeout(now, &mut self.outbox.routes);
        if let Some(keys) = &mut self.keys.one_rtt {
            keys.on_timeout(now);
        }
        self.on_path_timeout(now);
        if self.lifecycle.is_open() {
            self.on_recovery_timeout(now);
        }
    }

    /// Silence: the peer is not told, it is not there (RFC 9000 §10.1).
    fn give_up(&mut self, now: Instant, error: ConnectionError) {
        self.vanish(now, error);
    }

    fn on_recovery_timeout(&mut self, now: Instant) {
        let context = self.pto_context();
        let outcome = self.recovery.on_timeout(
            now,
            &mut self.spaces,
            &mut self.paths.active.cc,
            context,
            &mut self.fates,
        );
        match outcome {
            TimeoutOutcome::Nothing => {}
            TimeoutOutcome::Lost { space } => {
                self.review_ack_frequency(now);
                self.run_fates(space);
                self.learn_sizes(now);
            }
            TimeoutOutcome::Probe { space, datagrams } => self.probe(space, datagrams),
        }
    }

    /// Sends the oldest unacknowledged content again, since something ack-eliciting has to be sent (RFC 9002 §6.2.4).
    /// What a handshake has under way in the other space goes along: it is as old.
    fn probe(&mut self, space: SpaceId, datagrams: u8) {
        self.pending.set_probes(space, datagrams);
        self.resend_oldest(space, datagrams);
        let company = match space {
            SpaceId::Initial => SpaceId::Handshake,
            SpaceId::Handshake => SpaceId::Initial,
            SpaceId::Data => return,
        };
        if self.sends_early() && self.spaces.data.sent.has_ack_eliciting_in_flight() {
            // It has no timer of its own before the handshake.
            self.pending.set_probes(SpaceId::Data, datagrams);
            self.resend_oldest(SpaceId::Data, datagrams);
        }
        if self.spaces.get(company).is_some_and(|space| space.sent.has_ack_eliciting_in_flight()) {
            self.pending.set_probes(company, datagrams);
            self.resend_oldest(company, datagrams);
        }
    }

    /// A client that still asks for something in Initials lacks our flights. If they had a round trip's time to arrive,
    /// they go out again before their own timer, which backs off, has it (RFC 9002 §6.2.3).
    pub(in crate::proto) fn resend_flights(&mut self, now: Instant) {
        let Some(space) = self.spaces.get(SpaceId::Initial) else { return };
        let overdue = space.sent.has_ack_eliciting_in_flight()
            && space.last_ack_eliciting.is_some_and(|at| now >= at + self.paths.active.cc.rtt.smoothed());
        if self.side.is_server() && overdue && self.handshake.may_hurry() {
            self.resend_oldest(SpaceId::Initial, 2);
            self.resend_oldest(SpaceId::Handshake, 2);
        }
    }

    fn resend_oldest(&mut self, space: SpaceId, packets: u8) {
        let Some(state) = self.spaces.get(space) else { return };
        for index in 0..usize::from(packets) {
            state.sent.probe_tokens(index, &mut self.fates.lost);
        }
        // These are not sent again, and not lost either.
        self.fates.lost.retain(|token| !matches!(token, Token::Datagram(_)));
        self.run_fates(space);
    }
}
