//! String literals (RFC 7541 §5.2, RFC 9204 §4.1.2): a Huffman bit, a length, and that many bytes.

use bytes::{Bytes, BytesMut};

use super::{Malformed, huffman, integer};

/// A string as it stands on the wire.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub(super) huffman: bool,
    pub(super) bytes: &'a [u8],
}

/// The length of a string whose bytes have not all arrived, perhaps.
#[derive(Debug, Copy, Clone)]
pub(super) struct Head {
    pub(super) huffman: bool,
    pub(super) len: u64,
}

impl Head {
    /// Takes the Huffman bit, which stands above the prefix, and the length off the front of `input`. `None`: cut off.
    pub(super) fn decode(prefix_bits: u32, input: &mut &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(first) = input.first() else { return Ok(None) };
        let huffman = first >> prefix_bits & 1 == 1;
        Ok(integer::decode(prefix_bits, input)?.map(|len| Self { huffman, len }))
    }

    /// The fewest bytes that the string can stand for.
    pub(super) fn min_decoded_len(self) -> u64 {
        if self.huffman { huffman::min_decoded_len(self.len) } else { self.len }
    }

    /// Takes the bytes off the front of `input`. `None`: cut off.
    pub(super) fn take<'a>(self, input: &mut &'a [u8]) -> Option<Literal<'a>> {
        let (bytes, rest) = input.split_at_checked(usize::try_from(self.len).ok()?)?;
        *input = rest;
        Some(Literal { huffman: self.huffman, bytes })
    }
}

impl<'a> Literal<'a> {
    /// Takes a string off the front of `input`. `None`: cut off.
    pub(super) fn decode(prefix_bits: u32, input: &mut &'a [u8]) -> Result<Option<Self>, Malformed> {
        Ok(Head::decode(prefix_bits, input)?.and_then(|head| head.take(input)))
    }

    /// What the string stands for, cut off the front of `block`, where strings of one section share an allocation.
    pub(super) fn plain(self, block: &mut BytesMut) -> Result<Bytes, Malformed> {
        debug_assert!(block.is_empty());
        if self.huffman {
            block.resize(huffman::max_decoded_len(self.bytes.len()) + 1, 0);
            let len = huffman::decode(self.bytes, block)?;
            block.truncate(len);
        } else {
            block.extend_from_slice(self.bytes);
        }
        Ok(block.split().freeze())
    }
}

/// Appends a string, as Huffman code if that is shorter; `flags` are the bits above the Huffman bit.
pub(super) fn encode(string: &[u8], prefix_bits: u8, flags: u8, out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(string);
    if coded < string.len() {
        integer::encode(coded, prefix_bits, flags | 1 << prefix_bits, out);
        huffman::encode(string, out);
    } else {
        integer::encode(string.len(), prefix_bits, flags, out);
        out.extend_from_slice(string);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(string: Vec<u8>, prefix_bits in 3..=7_u8, more: Vec<u8>) {
            let mut out = Vec::new();
            encode(&string, prefix_bits, 0, &mut out);
            for cut in 0..out.len() {
                prop_assert_eq!(Literal::decode(prefix_bits.into(), &mut &out[..cut]), Ok(None));
            }
            out.extend_from_slice(&more);
            let mut input = &out[..];
            let literal = Literal::decode(prefix_bits.into(), &mut input).unwrap().unwrap();
            prop_assert_eq!(input, &more[..]);
            prop_assert_eq!(literal.plain(&mut BytesMut::new()).unwrap(), string);
        }
    }
}
