//! DATAGRAM (RFC 9221 §4).

use std::mem;

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::wire::varint;

/// A message of the application that is not sent again when it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The message; may be empty.
    pub data: Bytes,
    /// Whether its length is said (0x31); if not (0x30), it reaches to the end of the packet.
    pub with_len: bool,
}

impl Datagram {
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let with_len = first & 1 != 0;
        let data = if with_len {
            let len = read::varint(input)?;
            read::bytes(input, len)?
        } else {
            mem::take(input)
        };
        Ok(Self { data, with_len })
    }

    fn header(&self) -> DatagramHeader {
        DatagramHeader { len: self.with_len.then_some(self.data.len() as u64) }
    }
}

impl EncodeFrame for Datagram {
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

/// All of a DATAGRAM frame but the message.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct DatagramHeader {
    /// How long the message is, bytes; `None` if it reaches to the end of the packet.
    pub len: Option<u64>,
}

impl DatagramHeader {
    /// How long a message may be in a frame of at most `frame` bytes that says its length; `None` if there is none that
    /// is so short.
    #[must_use]
    pub fn largest_within(frame: u64) -> Option<u64> {
        [1, 2, 4, 8].into_iter().find_map(|len_size| {
            let len = frame.checked_sub(1 + len_size as u64)?;
            (varint::size(len) <= len_size).then_some(len)
        })
    }
}

impl EncodeFrame for DatagramHeader {
    fn frame_type(&self) -> u64 {
        0x30 | u64::from(self.len.is_some())
    }

    fn size(&self) -> usize {
        1 + self.len.map_or(0, varint::size)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x30 | u8::from(self.len.is_some()));
        if let Some(len) = self.len {
            varint::encode(len, out);
        }
    }
}
