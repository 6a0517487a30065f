//! What may be sent now, decided before anything is written.

use std::time::Instant;

use crate::packet::{Level, SpaceId};
use crate::proto::connection::Connection;
use crate::proto::recovery::{Allowance, PathCc};

/// The kind of datagram that may leave now.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum SendProfile {
    /// Acknowledgments, and nothing that asks for one: the congestion window is full, or the pacer waits.
    AckOnly,
    /// Ack-eliciting packets for a probe timeout, whatever the congestion window says (RFC 9002 §7.5).
    Probe,
    /// Everything there is.
    Normal,
}

impl SendProfile {
    pub(super) fn allows_ack_eliciting(self) -> bool {
        self != Self::AckOnly
    }
}

/// What the congestion window and the pacer leave for a batch; they are asked once, when it is needed.
#[derive(Debug)]
pub(super) struct Allowed {
    left: Option<u64>,
    kept_free: u64,
    used_up: bool,
}

impl Allowed {
    /// Keeps so many bytes of the window free.
    pub(super) fn keeping_free(kept_free: u64) -> Self {
        Self { left: None, kept_free, used_up: false }
    }

    /// A datagram was written.
    pub(super) fn use_up(&mut self, len: usize) {
        self.left = self.left.map(|left| left.saturating_sub(len as u64));
    }

    /// True if it was too little for a datagram that waited.
    pub(super) fn is_used_up(&self) -> bool {
        self.used_up
    }

    fn allows(&mut self, now: Instant, cc: &PathCc, size: usize) -> bool {
        let left = *self.left.get_or_insert_with(|| match cc.allowance(now) {
            Allowance::Bytes(bytes) if self.kept_free > 0 => {
                bytes.min(cc.room().saturating_sub(self.kept_free))
            }
            Allowance::Bytes(bytes) => bytes,
            Allowance::Window | Allowance::Paced(_) => 0,
        });
        self.used_up = left < size as u64;
        !self.used_up
    }
}

impl Connection {
    /// What the next datagram, of at most `size` bytes, may hold; `None` if there is nothing to send or nothing allowed.
    pub(super) fn send_profile(
        &self,
        now: Instant,
        size: usize,
        allowed: &mut Allowed,
    ) -> Option<SendProfile> {
        if self.is_amplification_limited() {
            return None;
        }
        if self.pending.any_probes() {
            return Some(SendProfile::Probe);
        }
        if self.wants_to_send_eliciting() && allowed.allows(now, &self.paths.active.cc, size) {
            return Some(SendProfile::Normal);
        }
        self.ack_is_due(now).then_some(SendProfile::AckOnly)
    }

    /// True if a space whose keys exist has an acknowledgment that waits no longer.
    fn ack_is_due(&self, now: Instant) -> bool {
        SpaceId::ALL.into_iter().any(|id| {
            self.keys.local(self.level_of(id)).is_some() && self.may_send(id) && self.must_ack(id, now)
        })
    }

    /// True if an acknowledgment of a space waits no longer for other frames. A peer that never acknowledges ours gets
    /// them only with what it must acknowledge: all packets under way are remembered.
    pub(super) fn must_ack(&self, id: SpaceId, now: Instant) -> bool {
        self.spaces.get(id).is_some_and(|space| space.received.must_ack(now) && !space.sent.is_full())
    }

    /// True if there is something ack-eliciting to send.
    pub(in crate::proto) fn wants_to_send_eliciting(&self) -> bool {
        SpaceId::ALL.into_iter().any(|space| self.space_wants_to_send(space))
    }

    /// True if a space has something ack-eliciting to send, and the keys for it.
    pub(super) fn space_wants_to_send(&self, space: SpaceId) -> bool {
        if self.keys.local(self.level_of(space)).is_none() || !self.may_send(space) {
            return false;
        }
        self.pending.probes(space) > 0
            || self.handshake.wants_to_send(space)
            || (space == SpaceId::Data && self.data_wants_to_send())
    }

    fn data_wants_to_send(&self) -> bool {
        self.streams.wants_to_send()
            || self.datagrams.wants_to_send()
            || self.pending.handshake_done
            || self.pending.new_tokens.is_due()
            || self.pending.ping
            || self.recovery.ack_requests.is_due()
            || !self.paths.active.responses.is_empty()
            || self.remote_cids.next_to_retire().is_some()
            || (self.handshake.is_complete() && self.local_cids.wants_to_announce())
    }

    /// A client sends 1-RTT packets once its handshake is complete; a server's keys exist when it may. Before that, 0-RTT
    /// keys serve.
    pub(super) fn may_send(&self, space: SpaceId) -> bool {
        space != SpaceId::Data || self.side.is_server() || self.handshake.is_complete() || self.sends_early()
    }

    /// The level at which we send in a space.
    pub(super) fn level_of(&self, space: SpaceId) -> Level {
        match space {
            SpaceId::Initial => Level::Initial,
            SpaceId::Handshake => Level::Handshake,
            SpaceId::Data if self.sends_early() => Level::ZeroRtt,
            SpaceId::Data => Level::OneRtt,
        }
    }

    /// True while a server must hear more from the client before it may send (RFC 9000 §8.1).
    pub(in crate::proto) fn is_amplification_limited(&self) -> bool {
        self.paths.active.is_data_limited(!self.handshake.is_complete())
    }
}
