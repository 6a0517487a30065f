//! Variable-length integers (RFC 9000 §16) that may be cut anywhere between two chunks of a stream.

use bytes::{Buf, Bytes};
use gannet::VarInt;

/// The bytes of a variable-length integer that have arrived so far.
#[derive(Debug, Default)]
pub(crate) struct PartialVarInt {
    bytes: [u8; 8],
    have: usize,
}

impl PartialVarInt {
    /// Takes bytes off the front of `input` until the integer is whole; `None` means that it needs more.
    pub(crate) fn read(&mut self, input: &mut Bytes) -> Option<u64> {
        if self.have == 0 {
            let mut rest = &input[..];
            if let Some(value) = VarInt::decode(&mut rest) {
                let used = input.len() - rest.len();
                input.advance(used);
                return Some(value.into_inner());
            }
        }
        while let Some(byte) = input.first().copied() {
            input.advance(1);
            *self.bytes.get_mut(self.have)? = byte;
            self.have += 1;
            let mut whole = self.bytes.get(..self.have)?;
            if let Some(value) = VarInt::decode(&mut whole) {
                self.have = 0;
                return Some(value.into_inner());
            }
        }
        None
    }

    /// Whether no byte of an unfinished integer is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.have == 0
    }
}

/// Appends the shortest encoding of `value`, which is below 2^62.
pub(crate) fn put(value: u64, out: &mut Vec<u8>) {
    debug_assert!(value <= VarInt::MAX.into_inner());
    VarInt::from_u64(value).unwrap_or(VarInt::MAX).encode(out);
}

/// Length of the shortest encoding of `value`, which is below 2^62.
pub(crate) fn size(value: u64) -> usize {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX).size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_cut_anywhere_arrives_whole() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, (1 << 62) - 1] {
            let mut encoded = Vec::new();
            put(value, &mut encoded);
            assert_eq!(encoded.len(), size(value));
            encoded.push(0xaa);
            for cut in 0..encoded.len() {
                let mut partial = PartialVarInt::default();
                let mut first = Bytes::copy_from_slice(&encoded[..cut]);
                let mut second = Bytes::copy_from_slice(&encoded[cut..]);
                let got = partial.read(&mut first).or_else(|| {
                    assert_eq!(partial.is_empty(), cut == 0);
                    partial.read(&mut second)
                });
                assert_eq!(got, Some(value));
                assert!(partial.is_empty());
                assert_eq!([first, second].concat(), [0xaa]);
            }
        }
    }
}
