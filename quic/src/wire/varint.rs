//! Variable-length integers (RFC 9000 §16).

use std::fmt;

use bytes::BufMut;

/// An integer below 2^62, as QUIC and HTTP/3 encode them.
#[derive(Default, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarInt(u64);

/// A number of 2^62 or more.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("value is too large for a variable-length integer (2^62 or more)")]
pub struct VarIntBoundsExceeded;

impl VarInt {
    /// 2^62 - 1.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// From a number that always fits.
    #[must_use]
    pub const fn from_u32(value: u32) -> Self {
        Self(value as u64)
    }

    /// From any number below 2^62.
    ///
    /// # Errors
    /// [`VarIntBoundsExceeded`] from 2^62 on.
    pub const fn from_u64(value: u64) -> Result<Self, VarIntBoundsExceeded> {
        if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(VarIntBoundsExceeded) }
    }

    /// The number.
    #[must_use]
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// Length of the shortest encoding: 1, 2, 4 or 8 bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        size(self.0)
    }

    /// Takes a varint from the front of `input`; `None` if it is cut off (then `input` is unchanged).
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        decode(input).map(Self)
    }

    /// Appends the shortest encoding.
    pub fn encode(self, out: &mut impl BufMut) {
        encode(self.0, out);
    }
}

/// Length of the shortest encoding of `value`; values of 2^62 or more do not occur.
#[must_use]
pub(crate) const fn size(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// The varint at the front of `input` and its length in bytes; `None` if it is cut off.
pub(crate) fn peek(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    Some(match first >> 6 {
        0 => (u64::from(first), 1),
        1 => (u64::from(u16::from_be_bytes(*input.first_chunk()?) & 0x3fff), 2),
        2 => (u64::from(u32::from_be_bytes(*input.first_chunk()?) & 0x3fff_ffff), 4),
        _ => (u64::from_be_bytes(*input.first_chunk()?) & VarInt::MAX.0, 8),
    })
}

/// Takes a varint from the front of `input`; `None` if it is cut off (then `input` is unchanged).
pub(crate) fn decode(input: &mut &[u8]) -> Option<u64> {
    let (value, len) = peek(input)?;
    *input = input.get(len..)?;
    Some(value)
}

/// Appends the shortest encoding of `value`, which is below 2^62.
pub(crate) fn encode(value: u64, out: &mut impl BufMut) {
    debug_assert!(value <= VarInt::MAX.0);
    #[expect(clippy::cast_possible_truncation, reason = "each arm holds values that fit")]
    match size(value) {
        1 => out.put_u8(value as u8),
        2 => out.put_u16(0x4000 | value as u16),
        4 => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value),
    }
}

impl From<VarInt> for u64 {
    fn from(value: VarInt) -> Self {
        value.0
    }
}

impl From<u8> for VarInt {
    fn from(value: u8) -> Self {
        Self(value.into())
    }
}

impl From<u16> for VarInt {
    fn from(value: u16) -> Self {
        Self(value.into())
    }
}

impl From<u32> for VarInt {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl TryFrom<u64> for VarInt {
    type Error = VarIntBoundsExceeded;

    fn try_from(value: u64) -> Result<Self, Self::Error> {
        Self::from_u64(value)
    }
}

impl fmt::Debug for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn appendix_a1() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/rfc9000-appendix-a.json")).unwrap();
        let printed = vectors["varint"].as_array().unwrap();
        let derived = vectors["derived"]["varint"].as_array().unwrap();
        assert_eq!((printed.len(), derived.len()), (5, 9));
        for case in printed.iter().chain(derived) {
            let text = case["bytes"].as_str().unwrap();
            let bytes: Vec<u8> = (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
                .collect();
            let value = case["value"].as_u64().unwrap();
            let mut input = &bytes[..];
            assert_eq!(decode(&mut input), Some(value));
            assert!(input.is_empty());
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out == bytes, case["minimal"].as_bool().unwrap(), "{case}");
        }
    }

    #[test]
    fn numbers_end_below_2_to_the_62() {
        assert_eq!(VarInt::from_u64(1 << 62), Err(VarIntBoundsExceeded));
        assert_eq!(VarInt::from_u64((1 << 62) - 1), Ok(VarInt::MAX));
        assert_eq!(VarInt::decode(&mut &[0xff; 8][..]), Some(VarInt::MAX));
    }

    proptest! {
        #[test]
        fn there_and_back(value in prop_oneof![0..1_u64 << 14, 0..1_u64 << 30, 0..1_u64 << 62], tail: Vec<u8>) {
            let mut out = Vec::new();
            encode(value, &mut out);
            let len = out.len();
            prop_assert_eq!(len, size(value));
            for cut in 0..len {
                let mut input = &out[..cut];
                prop_assert_eq!(decode(&mut input), None);
                prop_assert_eq!(input.len(), cut, "unchanged");
            }
            out.extend_from_slice(&tail);
            let mut input = &out[..];
            prop_assert_eq!(decode(&mut input), Some(value));
            prop_assert_eq!(input, &tail[..]);
        }
    }
}
