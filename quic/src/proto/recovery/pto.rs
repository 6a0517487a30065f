//! The loss detection timer: when it is due and what it does (RFC 9002 §6.2, §A.8 and §A.9).

use std::time::{Duration, Instant};

use super::{Fates, PathCc, Recovery};
use crate::packet::SpaceId;
use crate::proto::space::Spaces;

/// The backoff stops growing here; the idle timeout ends the connection long before.
const MAX_BACKOFF_EXPONENT: u32 = 16;

/// What the timer depends on beside packets and time. The connection puts it together for each call.
#[derive(Debug, Copy, Clone)]
pub struct PtoContext {
    /// The handshake is confirmed (RFC 9001 §4.1.2).
    pub handshake_confirmed: bool,
    /// Keys for Handshake packets exist.
    pub has_handshake_keys: bool,
    /// True at a server; at a client once an ACK of a Handshake packet arrived or the handshake is confirmed.
    pub peer_completed_address_validation: bool,
    /// This is a server that may send nothing before it hears from the client again (RFC 9000 §8.1).
    pub amplification_limited: bool,
    /// CRYPTO data of Initial and Handshake packets waits to be sent.
    pub crypto_waits: [bool; 2],
    /// The peer's max_ack_delay; until its transport parameters are known, their default.
    pub max_ack_delay: Duration,
}

impl PtoContext {
    /// Something of the handshake waits in this space.
    fn crypto_waits(&self, space: SpaceId) -> bool {
        self.crypto_waits.get(space.index()).is_some_and(|waits| *waits)
    }

    /// The part of an ACK frame's delay that counts (RFC 9002 §5.3).
    pub(super) fn limit_ack_delay(&self, space: SpaceId, delay: Duration) -> Duration {
        match space {
            // The peer acknowledges these at once.
            SpaceId::Initial => Duration::ZERO,
            _ if self.handshake_confirmed => delay.min(self.max_ack_delay),
            _ => delay,
        }
    }
}

/// What [`Recovery::on_timeout`] wants.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum TimeoutOutcome {
    /// It was not due.
    Nothing,
    /// Packets were declared lost; see [`Fates`].
    Lost {
        /// The space they were sent in.
        space: SpaceId,
    },
    /// Ack-eliciting packets must be sent in this space, whatever the congestion window and the pacer say; in an
    /// Initial, the datagram is padded (RFC 9002 §6.2.4).
    Probe {
        /// Where; packets of other spaces may come along.
        space: SpaceId,
        /// How many datagrams may be sent; the first is due, more make sense if there is something to put in.
        datagrams: u8,
    },
}

impl Recovery {
    /// When [`Recovery::on_timeout`] is due (SetLossDetectionTimer).
    #[must_use]
    pub fn deadline(&self, spaces: &Spaces, path: &PathCc, context: PtoContext) -> Option<Instant> {
        if let Some((loss_time, _)) = earliest_loss_time(spaces) {
            return Some(loss_time);
        }
        self.pto_time_and_space(spaces, path, context).map(|(at, _)| at)
    }

    /// GetPtoTimeAndSpace.
    fn pto_time_and_space(
        &self,
        spaces: &Spaces,
        path: &PathCc,
        context: PtoContext,
    ) -> Option<(Instant, SpaceId)> {
        if context.amplification_limited {
            return None;
        }
        let backoff = 1 << self.pto_count.min(MAX_BACKOFF_EXPONENT);
        let duration = path.rtt.pto() * backoff;
        let armed = spaces.iter().filter_map(|(id, space)| {
            // Lost CRYPTO data may have to wait behind application data that fill the window, and that the peer cannot
            // even read without them: then nothing is in flight here, and only a probe gets past the window.
            let last = match space.sent.has_ack_eliciting_in_flight() {
                true => space.last_ack_eliciting?,
                false if context.crypto_waits(id) => self.timer_base?,
                false => return None,
            };
            match id {
                SpaceId::Initial | SpaceId::Handshake => Some((last + duration, id)),
                SpaceId::Data if !context.handshake_confirmed => None,
                SpaceId::Data => Some((last + duration + context.max_ack_delay * backoff, id)),
            }
        });
        // A client keeps the server's amplification budget from running dry even if nothing of its own is in flight,
        // or only packets whose timer must not run yet (RFC 9002 §6.2.2.1).
        let anti_deadlock = || {
            let base = self.timer_base.filter(|_| !context.peer_completed_address_validation)?;
            let id = if context.has_handshake_keys { SpaceId::Handshake } else { SpaceId::Initial };
            Some((base + duration, id))
        };
        armed.min_by_key(|(at, _)| *at).or_else(anti_deadlock)
    }

    /// OnLossDetectionTimeout: call it when the deadline has passed. Appends to `fates`.
    pub fn on_timeout(
        &mut self,
        now: Instant,
        spaces: &mut Spaces,
        path: &mut PathCc,
        context: PtoContext,
        fates: &mut Fates,
    ) -> TimeoutOutcome {
        if let Some((loss_time, id)) = earliest_loss_time(spaces) {
            if now < loss_time {
                return TimeoutOutcome::Nothing;
            }
            self.timer_base = Some(now);
            self.detect_lost(now, id, spaces, path, context, fates);
            return TimeoutOutcome::Lost { space: id };
        }
        let Some((_, space)) = self.pto_time_and_space(spaces, path, context).filter(|(at, _)| *at <= now)
        else {
            return TimeoutOutcome::Nothing;
        };
        self.pto_count += 1;
        self.timer_base = Some(now);
        self.stats.probe_timeouts += 1;
        let in_flight = spaces.get(space).is_some_and(|space| space.sent.has_ack_eliciting_in_flight());
        let two = in_flight || context.crypto_waits(space);
        TimeoutOutcome::Probe { space, datagrams: if two { 2 } else { 1 } }
    }

    /// How often a probe timeout expired in a row.
    #[must_use]
    pub fn pto_count(&self) -> u32 {
        self.pto_count
    }
}

/// GetLossTimeAndSpace.
fn earliest_loss_time(spaces: &Spaces) -> Option<(Instant, SpaceId)> {
    spaces.iter().filter_map(|(id, space)| Some((space.loss_time?, id))).min_by_key(|(at, _)| *at)
}
