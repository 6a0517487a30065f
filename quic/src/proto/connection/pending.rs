//! What must be told to the peer once and has no other owner.

use super::new_tokens::TokenIssue;
use crate::packet::{PacketNumber, SpaceId};

/// Frames that wait for the next 1-RTT packet, and probes.
#[derive(Debug, Default)]
pub struct Pending {
    /// HANDSHAKE_DONE, once and again if lost (servers).
    pub handshake_done: bool,
    /// Tokens for the client's next connections (servers).
    pub new_tokens: TokenIssue,
    /// A PING, for keep-alive.
    pub ping: bool,
    /// The 1-RTT packet number that is left out next; 0 before it is drawn.
    pub skip_at: PacketNumber,
    /// Ack-eliciting packets that a probe timeout asks for, per packet number space.
    probes: [u8; 3],
}

impl Pending {
    /// A probe timeout asks for so many ack-eliciting packets in a space; 0 takes that back.
    pub fn set_probes(&mut self, space: SpaceId, packets: u8) {
        if let Some(probes) = self.probes.get_mut(space.index()) {
            *probes = packets;
        }
    }

    /// An ack-eliciting packet was sent in a space.
    pub fn probe_sent(&mut self, space: SpaceId) {
        self.set_probes(space, self.probes(space).saturating_sub(1));
    }

    /// How many probes a space owes.
    pub fn probes(&self, space: SpaceId) -> u8 {
        self.probes.get(space.index()).copied().unwrap_or_default()
    }

    /// True if any space owes a probe.
    pub fn any_probes(&self) -> bool {
        self.probes != [0; 3]
    }
}
