//! Truncated packet numbers (RFC 9000 §17.1, Appendix A.2 and A.3).

use bytes::BufMut;

use super::VarInt;
use crate::packet::PacketNumber;

/// How many bytes of `pn` (1 to 4) the peer needs to recover it, given the largest number it acknowledged in the space.
#[must_use]
pub fn encode_len(pn: PacketNumber, largest_acked: Option<PacketNumber>) -> usize {
    let unacked = match largest_acked {
        Some(largest) => pn.saturating_sub(largest),
        None => pn.saturating_add(1),
    };
    // The encoding covers more than twice the range that is in doubt.
    match unacked.saturating_mul(2) {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x100_0000 => 3,
        _ => 4,
    }
}

/// Appends the `len` low bytes of `pn`; `len` is 1 to 4.
pub fn put(pn: PacketNumber, len: usize, out: &mut impl BufMut) {
    debug_assert!((1..=4).contains(&len));
    out.put_uint(pn & mask(len), len.clamp(1, 4));
}

/// The number whose `len` low bytes are `truncated` and that is closest to `expected`, which is one more than the
/// largest number that was processed in the space. Never above 2^62 - 1.
#[must_use]
pub fn decode(truncated: u32, len: usize, expected: PacketNumber) -> PacketNumber {
    let mask = mask(len);
    let (window, half) = (mask + 1, mask / 2 + 1);
    let expected = expected.min(VarInt::MAX.into_inner());
    let candidate = (expected & !mask) | (u64::from(truncated) & mask);
    let next = candidate + window;
    if candidate + half <= expected && next <= VarInt::MAX.into_inner() {
        next
    } else if candidate > expected + half {
        // Below one window there is nothing to go back to.
        candidate.checked_sub(window).unwrap_or(candidate)
    } else {
        candidate
    }
}

/// The bits that `len` bytes hold.
fn mask(len: usize) -> u64 {
    u64::MAX >> (64 - 8 * len.clamp(1, 4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const MAX: u64 = (1 << 62) - 1;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/rfc9000-appendix-a.json")).unwrap()
    }

    fn number(case: &Value, name: &str) -> u64 {
        case[name].as_u64().unwrap()
    }

    // covers: R9000-17.1-02
    #[test]
    fn appendix_a2_encodes() {
        let vectors = vectors();
        let cases = vectors["packet_number_encode"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let pn = number(case, "full_pn");
            let len = encode_len(pn, Some(number(case, "largest_acked")));
            assert_eq!(len as u64, number(case, "bytes"));
            let mut out = Vec::new();
            put(pn, len, &mut out);
            let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, case["encoded"].as_str().unwrap());
        }
    }

    #[test]
    fn appendix_a3_decodes() {
        let vectors = vectors();
        let printed = vectors["packet_number_decode"].as_array().unwrap();
        let derived = vectors["derived"]["packet_number_decode"].as_array().unwrap();
        assert_eq!((printed.len(), derived.len()), (1, 10));
        for case in printed.iter().chain(derived) {
            let truncated = u32::try_from(number(case, "truncated_pn")).unwrap();
            let len = usize::try_from(number(case, "bits")).unwrap() / 8;
            assert_eq!(
                decode(truncated, len, number(case, "largest_pn") + 1),
                number(case, "decoded"),
                "{case}"
            );
        }
    }

    // covers: R9000-17.1-01
    #[test]
    fn nothing_is_left_out_before_the_first_acknowledgment() {
        for pn in
            [0, 1, 126, 127, 128, 255, 256, 32_766, 32_767, 65_535, 8_388_607, 16_777_215, 2_147_483_646]
        {
            assert!(pn < 1 << (8 * encode_len(pn, None)), "{pn}");
        }
        assert_eq!((encode_len(126, None), encode_len(127, None)), (1, 2));
    }

    #[test]
    fn the_edges_of_the_number_space_hold() {
        for len in 1..=4 {
            for expected in [0, 1, MAX - 1, MAX, MAX + 1, u64::MAX] {
                for truncated in [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, u32::MAX / 2, u32::MAX] {
                    let pn = decode(truncated, len, expected);
                    assert!(pn <= MAX);
                    assert_eq!(pn & mask(len), u64::from(truncated) & mask(len));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_the_peer_may_be_missing_is_recovered(
            largest in 0..MAX, ahead in 1_u64..1 << 30, received in 0_u64..1 << 30,
        ) {
            // The receiver has at least what it acknowledged, and at most what was sent before.
            let pn = (largest + ahead).min(MAX);
            let expected = (largest + 1 + received).min(pn);
            let len = encode_len(pn, Some(largest));
            let mut out = Vec::new();
            put(pn, len, &mut out);
            let truncated = out.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
            prop_assert_eq!(decode(truncated, len, expected), pn);
        }
    }
}
