//! What a sent packet carried, in the words of those who must hear about its fate.
//!
//! The packet builder notes one token per frame that somebody may have to send again or forget. When the packet is
//! acknowledged or lost, the connection runs one `match` over its tokens for each of the two fates and calls the
//! components. A token names what was sent, never holds its content: content that is still wanted is read again
//! from its owner. Frames without a token are not repaired: PADDING, DATAGRAM, CONNECTION_CLOSE, and PATH_CHALLENGE and
//! PATH_RESPONSE, which path validation repeats by itself (RFC 9000 §13.3).

use smallvec::SmallVec;

use crate::packet::{Dir, PacketNumber, StreamId};

/// One frame of a sent packet, as recovery hands it back.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Token {
    /// An ACK frame; once it is acknowledged, ranges up to `largest` need not be reported again.
    Ack {
        /// The largest packet number that the frame acknowledged.
        largest: PacketNumber,
    },
    /// A piece of the handshake; its level is that of the packet's space.
    Crypto {
        /// Position of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u32,
    },
    /// PING.
    Ping,
    /// HANDSHAKE_DONE.
    HandshakeDone,
    /// NEW_TOKEN; in place of a lost one another is made.
    ForNextConnection,
    /// A piece of a stream.
    Stream {
        /// Which stream.
        id: StreamId,
        /// Position of the first byte.
        offset: u64,
        /// Number of bytes; 0 for a frame that only carries FIN.
        len: u32,
        /// Whether the frame ended the stream.
        fin: bool,
    },
    /// RESET_STREAM.
    ResetStream(StreamId),
    /// RESET_STREAM_AT.
    ResetStreamAt {
        /// Which stream.
        id: StreamId,
        /// What it promised.
        reliable_size: u64,
    },
    /// STOP_SENDING.
    StopSending(StreamId),
    /// MAX_DATA.
    MaxData,
    /// MAX_STREAM_DATA.
    MaxStreamData(StreamId),
    /// MAX_STREAMS.
    MaxStreams(Dir),
    /// DATA_BLOCKED.
    DataBlocked,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked(StreamId),
    /// STREAMS_BLOCKED.
    StreamsBlocked(Dir),
    /// NEW_CONNECTION_ID with this sequence number.
    NewConnectionId(u64),
    /// RETIRE_CONNECTION_ID with this sequence number.
    RetireConnectionId(u64),
    /// DATAGRAM whose fate is to be told, under this number; others leave no token.
    Datagram(u64),
    /// ACK_FREQUENCY with this sequence number.
    AckFrequency(u64),
}

/// The tokens of the packet under construction; the memory is used again for the next one.
pub type Tokens = SmallVec<[Token; 4]>;

// The log of sent tokens is walked for each acknowledgment: three words each.
const _: () = assert!(size_of::<Token>() <= 24);
