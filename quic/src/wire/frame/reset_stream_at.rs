//! RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10 §4).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::packet::StreamId;
use crate::wire::{VarInt, draft, varint};

/// The sender abandons a stream, but for its beginning.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct ResetStreamAt {
    /// Which stream.
    pub id: StreamId,
    /// Why, in the application's terms.
    pub error_code: VarInt,
    /// How many bytes of the stream count against flow control.
    pub final_size: u64,
    /// How many bytes of the stream are delivered all the same; at most `final_size`.
    pub reliable_size: u64,
}

impl ResetStreamAt {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        let id = StreamId::from_u64(read::varint(input)?);
        let error_code = read::code(input)?;
        let (final_size, reliable_size) = (read::varint(input)?, read::varint(input)?);
        if reliable_size > final_size {
            return Err("the reliable size is above the final size");
        }
        Ok(Self { id, error_code, final_size, reliable_size })
    }
}

impl EncodeFrame for ResetStreamAt {
    fn frame_type(&self) -> u64 {
        draft::RESET_STREAM_AT.into()
    }

    fn size(&self) -> usize {
        1 + varint::size(self.id.as_u64())
            + self.error_code.size()
            + varint::size(self.final_size)
            + varint::size(self.reliable_size)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(draft::RESET_STREAM_AT);
        varint::encode(self.id.as_u64(), out);
        self.error_code.encode(out);
        varint::encode(self.final_size, out);
        varint::encode(self.reliable_size, out);
    }
}
