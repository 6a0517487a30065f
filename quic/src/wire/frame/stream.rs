//! STREAM, RESET_STREAM, STOP_SENDING (RFC 9000 §19.8, §19.4, §19.5).

use std::mem;

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::packet::StreamId;
use crate::wire::{VarInt, varint};

const FIN: u64 = 0x01;
const LEN: u64 = 0x02;
const OFF: u64 = 0x04;

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Which stream.
    pub id: StreamId,
    /// Position of the first byte.
    pub offset: u64,
    /// Whether the stream ends after these bytes.
    pub fin: bool,
    /// The bytes; `offset` and their number do not sum up to more than 2^62 - 1.
    pub data: Bytes,
}

impl Stream {
    #[inline]
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let bits = u64::from(first);
        let id = StreamId::from_u64(read::varint(input)?);
        let offset = if bits & OFF == 0 { 0 } else { read::varint(input)? };
        let data = if bits & LEN == 0 {
            mem::take(input)
        } else {
            let len = read::varint(input)?;
            read::bytes(input, len)?
        };
        if offset + data.len() as u64 > VarInt::MAX.into_inner() {
            return Err("stream data ends beyond 2^62 - 1");
        }
        Ok(Self { id, offset, fin: bits & FIN != 0, data })
    }

    fn header(&self) -> StreamHeader {
        StreamHeader { id: self.id, offset: self.offset, fin: self.fin, len: Some(self.data.len() as u64) }
    }
}

impl EncodeFrame for Stream {
    fn frame_type(&self) -> u64 {
        self.header().frame_type()
    }

    fn size(&self) -> usize {
        self.header().size() + self.data.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.header().encode(out);
        out.extend_from_slice(&self.data);
    }
}

/// The head of a STREAM frame; whoever writes it appends the data.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// Which stream.
    pub id: StreamId,
    /// Position of the first byte.
    pub offset: u64,
    /// Whether the stream ends after the data.
    pub fin: bool,
    /// How many bytes follow; `None` if they run to the end of the packet.
    pub len: Option<u64>,
}

impl EncodeFrame for StreamHeader {
    fn frame_type(&self) -> u64 {
        let off = if self.offset == 0 { 0 } else { OFF };
        let len = if self.len.is_some() { LEN } else { 0 };
        0x08 | off | len | u64::from(self.fin)
    }

    fn size(&self) -> usize {
        let offset = if self.offset == 0 { 0 } else { varint::size(self.offset) };
        1 + varint::size(self.id.as_u64()) + offset + self.len.map_or(0, varint::size)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::encode(self.frame_type(), out);
        varint::encode(self.id.as_u64(), out);
        if self.offset != 0 {
            varint::encode(self.offset, out);
        }
        if let Some(len) = self.len {
            varint::encode(len, out);
        }
    }
}

/// The sender abandons a stream.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct ResetStream {
    /// Which stream.
    pub id: StreamId,
    /// Why, in the application's terms.
    pub error_code: VarInt,
    /// How many bytes of the stream count against flow control.
    pub final_size: u64,
}

impl ResetStream {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        let id = StreamId::from_u64(read::varint(input)?);
        let error_code = read::code(input)?;
        Ok(Self { id, error_code, final_size: read::varint(input)? })
    }
}

impl EncodeFrame for ResetStream {
    fn frame_type(&self) -> u64 {
        0x04
    }

    fn size(&self) -> usize {
        1 + varint::size(self.id.as_u64()) + self.error_code.size() + varint::size(self.final_size)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x04);
        varint::encode(self.id.as_u64(), out);
        self.error_code.encode(out);
        varint::encode(self.final_size, out);
    }
}

/// The receiver asks the sender to abandon a stream.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct StopSending {
    /// Which stream.
    pub id: StreamId,
    /// Why, in the application's terms.
    pub error_code: VarInt,
}

impl StopSending {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId::from_u64(read::varint(input)?), error_code: read::code(input)? })
    }
}

impl EncodeFrame for StopSending {
    fn frame_type(&self) -> u64 {
        0x05
    }

    fn size(&self) -> usize {
        1 + varint::size(self.id.as_u64()) + self.error_code.size()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x05);
        varint::encode(self.id.as_u64(), out);
        self.error_code.encode(out);
    }
}
