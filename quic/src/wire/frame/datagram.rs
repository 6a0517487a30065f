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
}

impl Datagram {
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let data = if first & 1 == 0 {
            mem::take(input)
        } else {
            let len = read::varint(input)?;
            read::bytes(input, len)?
        };
        Ok(Self { data })
    }
}

/// Always with its length, so that anything may follow.
impl EncodeFrame for Datagram {
    fn frame_type(&self) -> u64 {
        0x31
    }

    fn size(&self) -> usize {
        1 + varint::size(self.data.len() as u64) + self.data.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x31);
        varint::encode(self.data.len() as u64, out);
        out.extend_from_slice(&self.data);
    }
}
