//! CONNECTION_CLOSE (RFC 9000 §19.19).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::packet::{TransportError, TransportErrorCode};
use crate::wire::{VarInt, varint};

/// The sender has closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionClose {
    /// Why.
    pub error: CloseError,
    /// For people; UTF-8, if the sender follows the RFC.
    pub reason: Bytes,
}

/// Who closed a connection, the transport or the application, and why.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum CloseError {
    /// Type 0x1c.
    Transport {
        /// The code.
        code: TransportErrorCode,
        /// The frame that provoked it, where one is known.
        frame_type: Option<u64>,
    },
    /// Type 0x1d.
    Application {
        /// The application's code.
        code: VarInt,
    },
}

impl ConnectionClose {
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let error = if first == 0x1c {
            let code = TransportErrorCode::from_u64(read::varint(input)?);
            // 0 is PADDING, which provokes nothing: it stands for "unknown".
            let frame_type = Some(read::varint(input)?).filter(|frame_type| *frame_type != 0);
            CloseError::Transport { code, frame_type }
        } else {
            CloseError::Application { code: read::code(input)? }
        };
        let len = read::varint(input)?;
        Ok(Self { error, reason: read::bytes(input, len)? })
    }

    /// True for the application's close, type 0x1d.
    #[must_use]
    pub fn is_application(&self) -> bool {
        matches!(self.error, CloseError::Application { .. })
    }

    /// Shortens the reason, at the end of a character, so that the frame takes at most `max_size` bytes.
    ///
    /// A frame without a reason takes up to 18 bytes whatever `max_size` is.
    pub fn truncate(&mut self, max_size: usize) {
        let head = self.head_size();
        // The length field takes what its final value needs; with the larger one a byte may stay unused.
        let room = max_size.saturating_sub(head + varint::size(self.reason.len() as u64));
        if room < self.reason.len() {
            let is_boundary =
                |at: &usize| self.reason.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
            // A character has at most four bytes; what is not UTF-8 is cut anywhere.
            let end = (room.saturating_sub(3)..=room).rev().find(is_boundary).unwrap_or(room);
            self.reason.truncate(end);
        }
    }

    fn head_size(&self) -> usize {
        1 + match self.error {
            CloseError::Transport { code, frame_type } => {
                varint::size(code.as_u64()) + varint::size(frame_type.unwrap_or(0))
            }
            CloseError::Application { code } => code.size(),
        }
    }
}

impl From<&TransportError> for ConnectionClose {
    fn from(error: &TransportError) -> Self {
        Self {
            error: CloseError::Transport { code: error.code, frame_type: error.frame_type },
            reason: Bytes::copy_from_slice(error.reason.as_bytes()),
        }
    }
}

impl EncodeFrame for ConnectionClose {
    fn frame_type(&self) -> u64 {
        if self.is_application() { 0x1d } else { 0x1c }
    }

    fn size(&self) -> usize {
        self.head_size() + varint::size(self.reason.len() as u64) + self.reason.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self.error {
            CloseError::Transport { code, frame_type } => {
                out.push(0x1c);
                varint::encode(code.as_u64(), out);
                varint::encode(frame_type.unwrap_or(0), out);
            }
            CloseError::Application { code } => {
                out.push(0x1d);
                code.encode(out);
            }
        }
        varint::encode(self.reason.len() as u64, out);
        out.extend_from_slice(&self.reason);
    }
}
