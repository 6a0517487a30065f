//! Frames (RFC 9000 §19, RFC 9221, draft-ietf-quic-ack-frequency-12).
//!
//! I Initial, H Handshake, 0 0-RTT, 1 1-RTT (§12.4). N not ack-eliciting, C not congestion controlled, P probing.
//!
//! | type | frame | in | marks | file |
//! |---|---|---|---|---|
//! | 0x00 | PADDING | IH01 | NP | `signal` |
//! | 0x01 | PING | IH01 | | `signal` |
//! | 0x02-0x03 | ACK (0x03: with ECN counts) | IH_1 | NC | `ack` |
//! | 0x04 | RESET_STREAM | 01 | | `stream` |
//! | 0x05 | STOP_SENDING | 01 | | `stream` |
//! | 0x06 | CRYPTO | IH_1 | | `crypto` |
//! | 0x07 | NEW_TOKEN | 1, from servers | | `crypto` |
//! | 0x08-0x0f | STREAM (0x04 offset, 0x02 length, 0x01 fin) | 01 | | `stream` |
//! | 0x10 | MAX_DATA | 01 | | `flow` |
//! | 0x11 | MAX_STREAM_DATA | 01 | | `flow` |
//! | 0x12-0x13 | MAX_STREAMS (bidirectional, unidirectional) | 01 | | `flow` |
//! | 0x14 | DATA_BLOCKED | 01 | | `flow` |
//! | 0x15 | STREAM_DATA_BLOCKED | 01 | | `flow` |
//! | 0x16-0x17 | STREAMS_BLOCKED (bidirectional, unidirectional) | 01 | | `flow` |
//! | 0x18 | NEW_CONNECTION_ID | 01 | P | `connection_id` |
//! | 0x19 | RETIRE_CONNECTION_ID | 1 | | `connection_id` |
//! | 0x1a | PATH_CHALLENGE | 01 | P | `path` |
//! | 0x1b | PATH_RESPONSE | 1 | P | `path` |
//! | 0x1c-0x1d | CONNECTION_CLOSE (transport IH01, application 01) | | N | `close` |
//! | 0x1e | HANDSHAKE_DONE | 1, from servers | | `signal` |
//! | 0x24 | RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10) | 01 | | `reset_stream_at` |
//! | 0x1f | IMMEDIATE_ACK | 1 | | `ack_frequency` |
//! | 0x30-0x31 | DATAGRAM (0x31: with length) | 01 | | `datagram` |
//! | 0xaf | ACK_FREQUENCY | 1 | | `ack_frequency` |

mod ack;
mod ack_frequency;
mod close;
mod connection_id;
mod crypto;
mod datagram;
mod flow;
mod path;
mod read;
mod reset_stream_at;
mod signal;
mod stream;

pub use ack::{Ack, encode_ack};
pub use ack_frequency::{AckFrequency, ImmediateAck};
pub use close::{CloseError, ConnectionClose};
pub use connection_id::{NewConnectionId, RetireConnectionId};
pub use crypto::{Crypto, CryptoHeader, NewToken};
pub use datagram::{Datagram, DatagramHeader};
pub use flow::{DataBlocked, MaxData, MaxStreamData, MaxStreams, StreamDataBlocked, StreamsBlocked};
pub use path::{PathChallenge, PathResponse};
pub use reset_stream_at::ResetStreamAt;
pub use signal::{HandshakeDone, Padding, Ping};
pub use stream::{ResetStream, StopSending, Stream, StreamHeader};

pub use crate::packet::EcnCounts;

use bytes::{Buf, Bytes};

use self::read::{Malformed, TRUNCATED};
use super::{draft, varint};
use crate::packet::{Level, Side, TransportError, TransportErrorCode};

/// A frame, or the head of one, that can be written.
pub trait EncodeFrame {
    /// The type on the wire.
    fn frame_type(&self) -> u64;
    /// Exactly how many bytes [`EncodeFrame::encode`] appends.
    fn size(&self) -> usize;
    /// Appends the frame.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Lists the frames that have content once: the enum, the conversions, and the hand-over to each frame's own code.
macro_rules! frames {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A frame as it was received; data are slices of the packet.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Frame {
            /// A run of this many PADDING frames.
            Padding(usize),
            /// PING.
            Ping,
            /// HANDSHAKE_DONE.
            HandshakeDone,
            /// IMMEDIATE_ACK.
            ImmediateAck,
            $($(#[$doc])* $name($name),)*
        }

        $(impl From<$name> for Frame {
            fn from(frame: $name) -> Self {
                Self::$name(frame)
            }
        })*

        impl EncodeFrame for Frame {
            fn frame_type(&self) -> u64 {
                match self {
                    Self::Padding(run) => Padding(*run).frame_type(),
                    Self::Ping => Ping.frame_type(),
                    Self::HandshakeDone => HandshakeDone.frame_type(),
                    Self::ImmediateAck => ImmediateAck.frame_type(),
                    $(Self::$name(frame) => frame.frame_type(),)*
                }
            }

            fn size(&self) -> usize {
                match self {
                    Self::Padding(run) => Padding(*run).size(),
                    Self::Ping => Ping.size(),
                    Self::HandshakeDone => HandshakeDone.size(),
                    Self::ImmediateAck => ImmediateAck.size(),
                    $(Self::$name(frame) => frame.size(),)*
                }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    Self::Padding(run) => Padding(*run).encode(out),
                    Self::Ping => Ping.encode(out),
                    Self::HandshakeDone => HandshakeDone.encode(out),
                    Self::ImmediateAck => ImmediateAck.encode(out),
                    $(Self::$name(frame) => frame.encode(out),)*
                }
            }
        }
    };
}

frames! {
    /// ACK.
    Ack,
    /// RESET_STREAM.
    ResetStream,
    /// STOP_SENDING.
    StopSending,
    /// CRYPTO.
    Crypto,
    /// NEW_TOKEN.
    NewToken,
    /// STREAM.
    Stream,
    /// MAX_DATA.
    MaxData,
    /// MAX_STREAM_DATA.
    MaxStreamData,
    /// MAX_STREAMS.
    MaxStreams,
    /// DATA_BLOCKED.
    DataBlocked,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked,
    /// STREAMS_BLOCKED.
    StreamsBlocked,
    /// NEW_CONNECTION_ID.
    NewConnectionId,
    /// RETIRE_CONNECTION_ID.
    RetireConnectionId,
    /// PATH_CHALLENGE.
    PathChallenge,
    /// PATH_RESPONSE.
    PathResponse,
    /// CONNECTION_CLOSE.
    ConnectionClose,
    /// DATAGRAM.
    Datagram,
    /// RESET_STREAM_AT.
    ResetStreamAt,
    /// ACK_FREQUENCY.
    AckFrequency,
}

impl Frame {
    /// Whether the packet that carries it asks for an acknowledgment (RFC 9000 §13.2).
    #[must_use]
    pub fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding(_) | Self::Ack(_) | Self::ConnectionClose(_))
    }

    /// Whether it leaves the path of its packet a mere attempt: a packet with any other frame says that its sender uses
    /// the path (RFC 9000 §9.1).
    #[must_use]
    pub fn is_probing(&self) -> bool {
        matches!(
            self,
            Self::Padding(_) | Self::PathChallenge(_) | Self::PathResponse(_) | Self::NewConnectionId(_)
        )
    }

    /// Whether packets of this level may carry it; if not, it is a PROTOCOL_VIOLATION (RFC 9000 §12.4).
    #[must_use]
    pub fn allowed_in(&self, level: Level) -> bool {
        match self {
            Self::Padding(_) | Self::Ping => true,
            Self::ConnectionClose(close) if !close.is_application() => true,
            Self::Ack(_) | Self::Crypto(_) => level != Level::ZeroRtt,
            Self::NewToken(_)
            | Self::PathResponse(_)
            | Self::RetireConnectionId(_)
            | Self::HandshakeDone
            | Self::ImmediateAck
            | Self::AckFrequency(_) => level == Level::OneRtt,
            _ => matches!(level, Level::ZeroRtt | Level::OneRtt),
        }
    }

    /// Whether this end of a connection may send it; if not, it is a PROTOCOL_VIOLATION (RFC 9000 §19.7, §19.20).
    #[must_use]
    pub fn allowed_from(&self, sender: Side) -> bool {
        sender.is_server() || !matches!(self, Self::NewToken(_) | Self::HandshakeDone)
    }

    /// Takes the frame whose one-byte type was `first` from the front of `input`; `None` for unknown types.
    #[inline]
    fn parse(first: u8, input: &mut Bytes) -> Option<Result<Self, Malformed>> {
        Some(match first {
            0x08..=0x0f => Stream::parse(first, input).map(Self::Stream),
            0x02 | 0x03 => Ack::parse(first, input).map(Self::Ack),
            _ => return Self::parse_rare(first, input),
        })
    }

    #[inline(never)]
    fn parse_rare(first: u8, input: &mut Bytes) -> Option<Result<Self, Malformed>> {
        Some(match first {
            0x00 => Ok(Self::Padding(Padding::parse(input).0)),
            0x01 => Ok(Self::Ping),
            0x04 => ResetStream::parse(input).map(Self::ResetStream),
            0x05 => StopSending::parse(input).map(Self::StopSending),
            0x06 => Crypto::parse(input).map(Self::Crypto),
            0x07 => NewToken::parse(input).map(Self::NewToken),
            0x10 => MaxData::parse(input).map(Self::MaxData),
            0x11 => MaxStreamData::parse(input).map(Self::MaxStreamData),
            0x12 | 0x13 => MaxStreams::parse(first, input).map(Self::MaxStreams),
            0x14 => DataBlocked::parse(input).map(Self::DataBlocked),
            0x15 => StreamDataBlocked::parse(input).map(Self::StreamDataBlocked),
            0x16 | 0x17 => StreamsBlocked::parse(first, input).map(Self::StreamsBlocked),
            0x18 => NewConnectionId::parse(input).map(Self::NewConnectionId),
            0x19 => RetireConnectionId::parse(input).map(Self::RetireConnectionId),
            0x1a => PathChallenge::parse(input).map(Self::PathChallenge),
            0x1b => PathResponse::parse(input).map(Self::PathResponse),
            0x1c | 0x1d => ConnectionClose::parse(first, input).map(Self::ConnectionClose),
            0x1e => Ok(Self::HandshakeDone),
            draft::RESET_STREAM_AT => ResetStreamAt::parse(input).map(Self::ResetStreamAt),
            0x1f => Ok(Self::ImmediateAck),
            0x30 | 0x31 => Datagram::parse(first, input).map(Self::Datagram),
            _ => return None,
        })
    }
}

/// The frames of a packet, one after the other.
///
/// An empty payload gives no frame; that a packet without frames is a PROTOCOL_VIOLATION is for the caller to say.
#[derive(Debug, Clone)]
pub struct Frames {
    rest: Bytes,
}

impl Frames {
    /// The frames of a decrypted payload.
    #[must_use]
    pub fn new(payload: Bytes) -> Self {
        Self { rest: payload }
    }

    /// The next frame, or `None` at the end. After an error nothing follows.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR for frames that are malformed or unknown, PROTOCOL_VIOLATION for a type that is encoded
    /// longer than necessary (RFC 9000 §12.4).
    #[inline]
    pub fn next(&mut self) -> Result<Option<Frame>, TransportError> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        if first >= 0x40 {
            return self.long_type();
        }
        self.rest.advance(1);
        match Frame::parse(first, &mut self.rest) {
            Some(Ok(frame)) => Ok(Some(frame)),
            Some(Err(reason)) => Err(self.fail(first.into(), reason)),
            None => Err(self.fail(first.into(), "unknown frame type")),
        }
    }

    #[cold]
    fn fail(&mut self, frame_type: u64, reason: Malformed) -> TransportError {
        self.rest.clear();
        TransportError::new(TransportErrorCode::FRAME_ENCODING_ERROR, reason).in_frame(frame_type)
    }

    /// The frame whose type takes more than one byte: there is one such.
    #[cold]
    fn long_type(&mut self) -> Result<Option<Frame>, TransportError> {
        let Some((frame_type, len)) = varint::peek(&self.rest) else {
            self.rest.clear();
            return Err(TransportError::new(TransportErrorCode::FRAME_ENCODING_ERROR, TRUNCATED));
        };
        if varint::size(frame_type) < len {
            self.rest.clear();
            let reason = "frame type is encoded longer than necessary";
            return Err(
                TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason).in_frame(frame_type)
            );
        }
        self.rest.advance(len);
        match frame_type {
            draft::ACK_FREQUENCY => match AckFrequency::parse(&mut self.rest) {
                Ok(frame) => Ok(Some(frame.into())),
                Err(reason) => Err(self.fail(frame_type, reason)),
            },
            _ => Err(self.fail(frame_type, "unknown frame type")),
        }
    }
}

#[cfg(test)]
mod tests;
