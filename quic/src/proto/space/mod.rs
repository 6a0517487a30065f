//! Packet number spaces: what was received, what was sent, and the tokens that recovery hands back.

mod received;
mod sent;
mod spaces;
mod token;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use received::{AckPolicy, Received};
pub use sent::{LossBounds, SentPacket, SentPackets};
pub use spaces::Spaces;
pub use token::{Token, Tokens};

use super::recovery::EcnReports;
use crate::packet::{PacketNumber, SpaceId};

/// One packet number space (RFC 9000 §12.3).
#[derive(Debug)]
pub struct Space {
    /// What was sent.
    pub sent: SentPackets,
    /// What was received.
    pub received: Received,
    /// `largest_acked_packet` of RFC 9002 §A.3.
    pub largest_acked: Option<PacketNumber>,
    /// When the newest of the packets that were acknowledged was sent.
    pub largest_acked_sent: Option<Instant>,
    /// `time_of_last_ack_eliciting_packet` of RFC 9002 §A.3.
    pub last_ack_eliciting: Option<Instant>,
    /// `loss_time` of RFC 9002 §A.3.
    pub loss_time: Option<Instant>,
    /// Marks sent and reported.
    pub ecn: EcnReports,
}

impl Space {
    /// A space that nothing was sent or received in. `max_ack_delay` is what we promise the peer.
    #[must_use]
    pub fn new(id: SpaceId, max_ack_delay: Duration) -> Self {
        Self {
            sent: SentPackets::default(),
            received: Received::new(id, max_ack_delay),
            largest_acked: None,
            largest_acked_sent: None,
            last_ack_eliciting: None,
            loss_time: None,
            ecn: EcnReports::default(),
        }
    }
}
