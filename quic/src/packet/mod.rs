//! Leaf types that every layer shares. Nothing here imports another module of the crate.

mod buffer;
mod burst;
mod congestion;
mod connection_id;
mod datagram;
mod error;
mod ids;
mod priority;
mod rng;
mod tx_batch;
mod version;

pub use buffer::{Buffer, BufferPool};
pub use burst::Burst;
pub use congestion::{
    Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, LostPacket, Rtt,
};
pub use connection_id::{ConnectionId, ConnectionIdTooLong, ResetToken};
pub(crate) use datagram::datagram_weight;
pub use datagram::{DatagramFate, DatagramPolicy};
pub use error::{TransportError, TransportErrorCode};
pub use ids::{
    Dir, Ecn, EcnCounts, FourTuple, Level, LocalPath, PacketNumber, PreferredAddress, Side, SocketId,
    SpaceId, StreamId,
};
pub use priority::Priority;
pub use rng::Rng;
pub use tx_batch::{TxBatch, TxMeta};
pub use version::{VERSION_1, VERSION_2, Version, reserved_version};

/// No connection ID is longer in the versions we speak (RFC 9000 §17.2).
pub const MAX_CID_LEN: usize = 20;

/// Length of a stateless reset token, bytes (RFC 9000 §10.3).
pub const RESET_TOKEN_LEN: usize = 16;

/// The smallest datagram that may carry an Initial, and the size every path must carry (RFC 9000 §14).
pub const MIN_DATAGRAM_SIZE: usize = 1200;

/// A moment for tests, which take time as an argument like the core.
#[cfg(any(test, fuzzing))]
pub(crate) fn epoch() -> std::time::Instant {
    use std::sync::OnceLock;
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "an `Instant` has no other constructor; only differences count"
    )]
    *EPOCH.get_or_init(std::time::Instant::now)
}
