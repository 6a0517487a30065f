//! Flow control and stream limits: MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS, DATA_BLOCKED, STREAM_DATA_BLOCKED,
//! STREAMS_BLOCKED (RFC 9000 §19.9 to §19.14).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::packet::{Dir, StreamId};
use crate::wire::varint;

/// No stream ID can be larger than 2^62 - 1, so nobody can open more than 2^60 streams of a kind.
const MAX_STREAM_COUNT: u64 = 1 << 60;

fn stream_count(input: &mut Bytes) -> Result<u64, Malformed> {
    match read::varint(input)? {
        count @ 0..=MAX_STREAM_COUNT => Ok(count),
        _ => Err("stream limit above 2^60"),
    }
}

/// The direction that the last bit of a frame type stands for.
fn dir(first: u8) -> Dir {
    if first & 1 == 0 { Dir::Bi } else { Dir::Uni }
}

/// How many bytes the peer accepts on all streams together.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct MaxData {
    /// Bytes, from the beginning of the connection.
    pub maximum: u64,
}

impl MaxData {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { maximum: read::varint(input)? })
    }
}

impl EncodeFrame for MaxData {
    fn frame_type(&self) -> u64 {
        0x10
    }

    fn size(&self) -> usize {
        1 + varint::size(self.maximum)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x10);
        varint::encode(self.maximum, out);
    }
}

/// How many bytes the peer accepts on a stream.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct MaxStreamData {
    /// Which stream.
    pub id: StreamId,
    /// Bytes, from the beginning of the stream.
    pub maximum: u64,
}

impl MaxStreamData {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId::from_u64(read::varint(input)?), maximum: read::varint(input)? })
    }
}

impl EncodeFrame for MaxStreamData {
    fn frame_type(&self) -> u64 {
        0x11
    }

    fn size(&self) -> usize {
        1 + varint::size(self.id.as_u64()) + varint::size(self.maximum)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x11);
        varint::encode(self.id.as_u64(), out);
        varint::encode(self.maximum, out);
    }
}

/// How many streams of a kind the receiver of the frame may open.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct MaxStreams {
    /// Which kind.
    pub dir: Dir,
    /// Streams, from the beginning of the connection; at most 2^60.
    pub maximum: u64,
}

impl MaxStreams {
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { dir: dir(first), maximum: stream_count(input)? })
    }
}

impl EncodeFrame for MaxStreams {
    fn frame_type(&self) -> u64 {
        0x12 | self.dir as u64
    }

    fn size(&self) -> usize {
        1 + varint::size(self.maximum)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x12 | self.dir as u8);
        varint::encode(self.maximum, out);
    }
}

/// The sender has data that the connection's limit holds back.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct DataBlocked {
    /// The limit.
    pub limit: u64,
}

impl DataBlocked {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { limit: read::varint(input)? })
    }
}

impl EncodeFrame for DataBlocked {
    fn frame_type(&self) -> u64 {
        0x14
    }

    fn size(&self) -> usize {
        1 + varint::size(self.limit)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x14);
        varint::encode(self.limit, out);
    }
}

/// The sender has data that the stream's limit holds back.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct StreamDataBlocked {
    /// Which stream.
    pub id: StreamId,
    /// The limit.
    pub limit: u64,
}

impl StreamDataBlocked {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId::from_u64(read::varint(input)?), limit: read::varint(input)? })
    }
}

impl EncodeFrame for StreamDataBlocked {
    fn frame_type(&self) -> u64 {
        0x15
    }

    fn size(&self) -> usize {
        1 + varint::size(self.id.as_u64()) + varint::size(self.limit)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x15);
        varint::encode(self.id.as_u64(), out);
        varint::encode(self.limit, out);
    }
}

/// The sender wants to open a stream that the limit does not permit.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct StreamsBlocked {
    /// Which kind.
    pub dir: Dir,
    /// The limit; at most 2^60.
    pub limit: u64,
}

impl StreamsBlocked {
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { dir: dir(first), limit: stream_count(input)? })
    }
}

impl EncodeFrame for StreamsBlocked {
    fn frame_type(&self) -> u64 {
        0x16 | self.dir as u64
    }

    fn size(&self) -> usize {
        1 + varint::size(self.limit)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x16 | self.dir as u8);
        varint::encode(self.limit, out);
    }
}
