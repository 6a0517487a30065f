//! How often peers acknowledge what we send.

use std::time::Duration;

/// What peers are asked about their acknowledgments, if they take requests (draft-ietf-quic-ack-frequency-12).
///
/// Unasked, a peer acknowledges every second packet, a single one after its own max_ack_delay, and whatever arrives out of
/// order at once (RFC 9000 §13.2). Acknowledgments cost both ends, and the network, something: a fast sender can do with
/// fewer.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AckFrequency {
    /// Nothing.
    Unasked,
    /// What fits the path. While the congestion window holds fewer than 64 packets, nothing; beyond that, 32
    /// acknowledgments for each window, at least one for what the pacer lets out at once (what the path carries in two
    /// milliseconds, at least 10 packets), and one for 64 packets at the least; a quarter of the round-trip time as the
    /// longest delay, if that is shorter than the peer's own; and none on reordering that does not look like loss yet.
    #[default]
    Adaptive,
    /// The same at all times.
    Fixed {
        /// One acknowledgment for at most so many ack-eliciting packets; 0 counts as 1. While half of the congestion window
        /// is less, for half of the window, but no less than 2: nobody should wait for more than can be under way.
        packets: u32,
        /// The longest that an acknowledgment may wait, below 2^14 ms; `None` for the peer's own max_ack_delay. Peers are
        /// not asked for less than they say they can.
        max_ack_delay: Option<Duration>,
    },
}
