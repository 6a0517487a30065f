//! The Huffman code (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and each length goes on
//! where the one before it ended. So the lengths are all there is to write down; the tables come from them at compile
//! time. The decoder looks 12 bits up at a time, which are one or two symbols, and walks only the rare longer codes.

use super::Malformed;

/// Symbols: the bytes, and the end-of-string symbol, which never stands in a string.
const SYMBOLS: usize = 257;
const END_OF_STRING: u16 = 256;

/// Bits of the decoder's look-up.
const LOOKUP_BITS: u32 = 12;
const MAX_BITS: usize = 30;

/// Bits of the code of each symbol.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code of each symbol, aligned to the right.
static CODES: [u32; SYMBOLS] = CANONICAL.codes;

/// What the next 12 bits are, from the low byte: first symbol, second symbol, bits of the first, bits of both. With one
/// symbol the last two are equal; with a longer code the entry is 0.
static LOOKUP: [u32; 1 << LOOKUP_BITS] = lookup();

/// The code by lengths, for codes longer than the look-up.
static BY_LENGTH: Canonical = CANONICAL;

const CANONICAL: Canonical = canonical();

struct Canonical {
    codes: [u32; SYMBOLS],
    /// Symbols by code.
    symbols: [u16; SYMBOLS],
    /// For each length, its first code, and the place of that one's symbol in `symbols`.
    first: [(u32, usize); MAX_BITS + 1],
    /// For each length, the first code that belongs to a longer one, aligned to the left of 32 bits.
    end: [u64; MAX_BITS + 1],
}

#[expect(clippy::indexing_slicing, reason = "runs at compile time")]
const fn canonical() -> Canonical {
    let mut all = Canonical {
        codes: [0; SYMBOLS],
        symbols: [0; SYMBOLS],
        first: [(0, 0); MAX_BITS + 1],
        end: [0; MAX_BITS + 1],
    };
    let (mut code, mut place, mut bits) = (0, 0, 1);
    while bits <= MAX_BITS {
        code <<= 1;
        all.first[bits] = (code, place);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                all.codes[symbol] = code;
                all.symbols[place] = symbol as u16;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        all.end[bits] = (code as u64) << (32 - bits);
        bits += 1;
    }
    all
}

#[expect(clippy::indexing_slicing, reason = "runs at compile time")]
const fn lookup() -> [u32; 1 << LOOKUP_BITS] {
    let mut single = [(0, 0); 1 << LOOKUP_BITS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let bits = LENGTHS[symbol] as u32;
        if bits <= LOOKUP_BITS {
            let start = (CANONICAL.codes[symbol] as usize) << (LOOKUP_BITS - bits);
            let mut at = start;
            while at < start + (1 << (LOOKUP_BITS - bits)) {
                single[at] = (symbol as u32, bits);
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut entries = [0; 1 << LOOKUP_BITS];
    let mut at = 0;
    while at < 1 << LOOKUP_BITS {
        let (first, bits) = single[at];
        if bits > 0 {
            let (second, more) = single[(at << bits) & ((1 << LOOKUP_BITS) - 1)];
            // bits that the shift brought in must not decide
            let both = if more > 0 && bits + more <= LOOKUP_BITS { bits + more } else { bits };
            entries[at] = first | second << 8 | bits << 16 | both << 24;
        }
        at += 1;
    }
    entries
}

/// The most bytes that `len` encoded bytes can stand for: the shortest codes have 5 bits.
pub(super) const fn max_decoded_len(len: usize) -> usize {
    len.saturating_mul(8) / 5
}

/// The fewest bytes that `len` encoded bytes can stand for, but for the padding: the longest codes have 30 bits.
pub(super) const fn min_decoded_len(len: u64) -> u64 {
    len.saturating_mul(8).saturating_sub(7).div_ceil(30)
}

/// Decodes into the front of `out`, which has room for [`max_decoded_len`] bytes and one more, and says how many it
/// wrote.
pub(super) fn decode(mut input: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    debug_assert!(out.len() > max_decoded_len(input.len()));
    // bits not decoded yet, aligned to the left, with zeros behind them
    let mut bits = 0_u64;
    let mut have = 0_u32;
    let mut written = 0;
    loop {
        if have < 32 {
            if let Some((word, rest)) = input.split_first_chunk() {
                bits |= u64::from(u32::from_be_bytes(*word)) << (32 - have);
                have += 32;
                input = rest;
            } else {
                while let (Some((byte, rest)), true) = (input.split_first(), have < 32) {
                    bits |= u64::from(*byte) << (56 - have);
                    have += 8;
                    input = rest;
                }
            }
        }
        // as if the string were padded without end
        let window = bits | u64::MAX >> have;
        let entry = LOOKUP.get((window >> (64 - LOOKUP_BITS)) as usize).copied().unwrap_or_default();
        let [first, second, bits_of_first, bits_of_both] = entry.to_le_bytes();
        let used = if entry != 0 && u32::from(bits_of_both) <= have {
            let room = out.get_mut(written..written + 2).ok_or(Malformed::Padding)?;
            room.copy_from_slice(&[first, second]);
            written += 1 + usize::from(bits_of_both > bits_of_first);
            u32::from(bits_of_both)
        } else if entry != 0 && u32::from(bits_of_first) <= have {
            *out.get_mut(written).ok_or(Malformed::Padding)? = first;
            written += 1;
            u32::from(bits_of_first)
        } else if have < 8 && window == u64::MAX {
            return Ok(written);
        } else {
            let (symbol, used) = long(window);
            if used > have {
                return Err(Malformed::Padding);
            }
            *out.get_mut(written).ok_or(Malformed::Padding)? =
                u8::try_from(symbol).map_err(|_| Malformed::EndOfString)?;
            written += 1;
            used
        };
        bits <<= used;
        have -= used;
    }
}

/// The symbol at the front of `window`, and its bits.
#[cold]
fn long(window: u64) -> (u16, u32) {
    let head = window >> 32;
    for (bits, (end, (first, place))) in BY_LENGTH.end.iter().zip(&BY_LENGTH.first).enumerate() {
        if head < *end {
            let code = (head >> (32 - bits)) as usize;
            let symbol = BY_LENGTH.symbols.get(place + code - *first as usize);
            return (symbol.copied().unwrap_or(END_OF_STRING), bits as u32);
        }
    }
    (END_OF_STRING, MAX_BITS as u32)
}

/// Bytes that the encoding of `input` takes.
pub(super) fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|byte| usize::from(code(*byte).1)).sum();
    bits.div_ceil(8)
}

/// Appends the encoding of `input`, padded to whole bytes.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0_u64;
    let mut have = 0_u32;
    for byte in input {
        let (code, len) = code(*byte);
        bits = bits << len | u64::from(code);
        have += u32::from(len);
        if have >= 32 {
            have -= 32;
            out.extend_from_slice(&((bits >> have) as u32).to_be_bytes());
        }
    }
    if have > 0 {
        let padded = (bits << (32 - have)) as u32 | u32::MAX >> have;
        let bytes = padded.to_be_bytes();
        out.extend_from_slice(bytes.get(..have.div_ceil(8) as usize).unwrap_or_default());
    }
}

/// The code of a byte, and its bits.
fn code(byte: u8) -> (u32, u8) {
    let symbol = usize::from(byte);
    (CODES.get(symbol).copied().unwrap_or_default(), LENGTHS.get(symbol).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::qpack::unhex;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = vec![0; max_decoded_len(input.len()) + 1];
        let len = decode(input, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    fn encoded(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(input, &mut out);
        assert_eq!(out.len(), encoded_len(input));
        out
    }

    #[test]
    fn the_table_of_rfc7541_appendix_b() {
        let table: Value =
            serde_json::from_str(include_str!("../../testdata/rfc7541-huffman-table.json")).unwrap();
        let codes = table["codes"].as_array().unwrap();
        assert_eq!(codes.len(), SYMBOLS);
        for row in codes {
            let symbol = usize::try_from(row["symbol"].as_u64().unwrap()).unwrap();
            let code = u32::from_str_radix(row["code"].as_str().unwrap(), 16).unwrap();
            assert_eq!((CODES[symbol], u64::from(LENGTHS[symbol])), (code, row["bits"].as_u64().unwrap()));
        }
    }

    #[test]
    fn the_strings_of_rfc7541_appendix_c() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/rfc7541-appendix-c.json")).unwrap();
        let strings = vectors["huffman_strings"].as_array().unwrap();
        assert_eq!(strings.len(), 12);
        for string in strings {
            let plain = string["decoded"].as_str().unwrap().as_bytes();
            let coded = unhex(string["encoded"].as_str().unwrap());
            assert_eq!(encoded(plain), coded);
            assert_eq!(decoded(&coded).unwrap(), plain);
        }
        let refused = vectors["must_fail"]["cases"].as_array().unwrap();
        assert_eq!(refused.len(), 4);
        for case in refused {
            let coded = unhex(case["encoded"].as_str().unwrap());
            assert!(decoded(&coded).is_err(), "{}", case["why"]);
        }
    }

    #[test]
    fn every_symbol_alone_and_behind_every_other() {
        for first in 0..=255 {
            assert_eq!(decoded(&encoded(&[first])), Ok(vec![first]));
            for second in 0..=255 {
                assert_eq!(decoded(&encoded(&[first, second])), Ok(vec![first, second]));
            }
        }
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        // '0' is 00000: three bits of padding
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        for wrong in 0..0b111 {
            assert_ne!(decoded(&[wrong]), Ok(b"0".to_vec()));
        }
        for len in 1..40 {
            assert!(decoded(&vec![0xff; len]).is_err(), "{len} bytes of padding");
            assert!(decoded(&[&[0b0000_0111][..], &vec![0xff; len]].concat()).is_err());
        }
    }

    #[test]
    fn the_shortest_and_longest_codes_bound_the_length() {
        for byte in 0..=255_u8 {
            for len in 0..40 {
                let plain = vec![byte; len];
                let coded = encoded(&plain).len();
                assert!(len <= max_decoded_len(coded) && len as u64 >= min_decoded_len(coded as u64));
            }
        }
        assert_eq!(max_decoded_len(encoded(&[b'0'; 8]).len()), 8);
        assert_eq!(min_decoded_len(encoded(b"\n\n\n\n").len() as u64), 4);
    }

    #[test]
    fn an_independent_decoder_agrees_on_all_strings_of_two_bytes() {
        for string in 0..=u16::MAX {
            let string = string.to_be_bytes();
            let oracle = fluke_hpack::huffman::HuffmanDecoder::new().decode(&string).ok();
            assert_eq!(decoded(&string).ok(), oracle, "{string:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_here_and_elsewhere(plain: Vec<u8>) {
            let coded = encoded(&plain);
            prop_assert_eq!(&fluke_hpack::huffman::HuffmanDecoder::new().decode(&coded).unwrap(), &plain);
            prop_assert_eq!(decoded(&coded).unwrap(), plain);
        }

        #[test]
        fn what_is_decoded_is_the_only_encoding(coded: Vec<u8>) {
            if let Ok(plain) = decoded(&coded) {
                prop_assert_eq!(encoded(&plain), coded);
            }
        }

        #[test]
        fn an_independent_decoder_agrees_on_damaged_strings(plain in "[ -~]{0,40}", at: usize, bit in 0..8_u32) {
            let mut coded = encoded(plain.as_bytes());
            if !coded.is_empty() {
                let at = at % coded.len();
                coded[at] ^= 1 << bit;
            }
            let oracle = fluke_hpack::huffman::HuffmanDecoder::new().decode(&coded).ok();
            prop_assert_eq!(decoded(&coded).ok(), oracle);
        }
    }
}
