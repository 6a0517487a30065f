//! Prefix integers (RFC 7541 §5.1, RFC 9204 §4.1.1): the low bits of a byte, and more bytes if these do not suffice.

use super::Malformed;

/// The largest integer we decode: 62 bits, as RFC 9204 §4.1.1 asks for, and as no varint of QUIC exceeds.
const MAX: u64 = (1 << 62) - 1;

/// Takes an integer off the front of `input`; the bits above the prefix of its first byte are left out of it. `None`:
/// cut off (then `input` is unchanged).
pub(super) fn decode(prefix_bits: u32, input: &mut &[u8]) -> Result<Option<u64>, Malformed> {
    debug_assert!((1..=8).contains(&prefix_bits));
    let Some((first, mut rest)) = input.split_first() else { return Ok(None) };
    let mask = (1 << prefix_bits) - 1;
    let mut value = u64::from(*first) & mask;
    if value < mask {
        *input = rest;
        return Ok(Some(value));
    }
    // nine bytes hold 63 bits: more of them can only be zeros that no encoder sends
    for shift in (0..63).step_by(7) {
        let Some((byte, tail)) = rest.split_first() else { return Ok(None) };
        rest = tail;
        value += u64::from(byte & 0x7f) << shift;
        if value > MAX {
            return Err(Malformed::Integer);
        }
        if byte & 0x80 == 0 {
            *input = rest;
            return Ok(Some(value));
        }
    }
    Err(Malformed::Integer)
}

/// Appends an integer; `flags` are the bits above the prefix of its first byte.
pub(super) fn encode(value: usize, prefix_bits: u8, flags: u8, out: &mut Vec<u8>) {
    let written = fluke_hpack::encoder::encode_integer_into(value, prefix_bits, flags, out);
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::qpack::unhex;

    fn all(prefix_bits: u32, mut input: &[u8]) -> Result<Option<u64>, Malformed> {
        let value = decode(prefix_bits, &mut input)?;
        assert!(value.is_none() || input.is_empty());
        Ok(value)
    }

    #[test]
    fn the_integers_of_rfc7541_appendix_c() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/rfc7541-appendix-c.json")).unwrap();
        let vectors = vectors["prefix_integers"].as_array().unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let bits = u8::try_from(vector["prefix_bits"].as_u64().unwrap()).unwrap();
            let value = vector["value"].as_u64().unwrap();
            let bytes = unhex(vector["bytes"].as_str().unwrap());
            let mut out = Vec::new();
            encode(usize::try_from(value).unwrap(), bits, 0, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(all(bits.into(), &bytes), Ok(Some(value)));
        }
    }

    #[test]
    fn sixty_two_bits_and_no_more() {
        // covers: R9204-4.1.1-01
        for bits in 1..=8_u8 {
            let mut out = Vec::new();
            encode(MAX as usize, bits, 0, &mut out);
            assert_eq!(all(bits.into(), &out), Ok(Some(MAX)));
            for beyond in [1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX] {
                let mut out = Vec::new();
                encode(beyond as usize, bits, 0, &mut out);
                assert_eq!(all(bits.into(), &out), Err(Malformed::Integer), "{beyond} {bits}");
            }
        }
    }

    #[test]
    fn endless_integers_are_refused_by_the_tenth_byte() {
        for byte in [0x80, 0xff] {
            let input = [vec![0xff], vec![byte; 9]].concat();
            assert_eq!(all(5, &input), Err(Malformed::Integer));
        }
        // zeros behind the value are tolerated as long as they cannot overflow
        assert_eq!(all(5, &[0x1f, 0x80, 0x80, 0x80, 0x00]), Ok(Some(31)));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in 0..=MAX, bits in 1..=8_u8, flags: u8, more: Vec<u8>) {
            let mut out = Vec::new();
            encode(value as usize, bits, flags, &mut out);
            let len = out.len();
            if bits < 8 {
                prop_assert_eq!(out[0] >> bits, flags >> bits);
            }
            for cut in 0..len {
                let mut input = &out[..cut];
                prop_assert_eq!(decode(bits.into(), &mut input), Ok(None));
                prop_assert_eq!(input.len(), cut);
            }
            out.extend_from_slice(&more);
            let mut input = &out[..];
            prop_assert_eq!(decode(bits.into(), &mut input), Ok(Some(value)));
            prop_assert_eq!(input, &more[..]);
        }

        #[test]
        fn any_bytes_are_an_integer_or_an_error(bytes: Vec<u8>, bits in 1..=8_u32) {
            if let Ok(Some(value)) = decode(bits, &mut &bytes[..]) {
                prop_assert!(value <= MAX);
            }
        }
    }
}
