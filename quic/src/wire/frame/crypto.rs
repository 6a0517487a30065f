//! CRYPTO, NEW_TOKEN (RFC 9000 §19.6, §19.7).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::wire::{VarInt, varint};

/// A piece of the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Position of the first byte within its encryption level.
    pub offset: u64,
    /// The bytes; `offset` and their number do not sum up to more than 2^62 - 1.
    pub data: Bytes,
}

impl Crypto {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        let offset = read::varint(input)?;
        let len = read::varint(input)?;
        let data = read::bytes(input, len)?;
        if offset + len > VarInt::MAX.into_inner() {
            return Err("crypto data ends beyond 2^62 - 1");
        }
        Ok(Self { offset, data })
    }

    fn header(&self) -> CryptoHeader {
        CryptoHeader { offset: self.offset, len: self.data.len() as u64 }
    }
}

impl EncodeFrame for Crypto {
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

/// The head of a CRYPTO frame; whoever writes it appends the data.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct CryptoHeader {
    /// Position of the first byte.
    pub offset: u64,
    /// How many bytes follow.
    pub len: u64,
}

impl EncodeFrame for CryptoHeader {
    fn frame_type(&self) -> u64 {
        0x06
    }

    fn size(&self) -> usize {
        1 + varint::size(self.offset) + varint::size(self.len)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x06);
        varint::encode(self.offset, out);
        varint::encode(self.len, out);
    }
}

/// A token for the client's next connection to this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Never empty.
    pub token: Bytes,
}

impl NewToken {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        let len = read::varint(input)?;
        let token = read::bytes(input, len)?;
        if token.is_empty() { Err("empty token") } else { Ok(Self { token }) }
    }
}

impl EncodeFrame for NewToken {
    fn frame_type(&self) -> u64 {
        0x07
    }

    fn size(&self) -> usize {
        1 + varint::size(self.token.len() as u64) + self.token.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x07);
        varint::encode(self.token.len() as u64, out);
        out.extend_from_slice(&self.token);
    }
}
