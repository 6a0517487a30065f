//! What the encoder and decoder streams carry (RFC 9204 §4.3, §4.4), cut anywhere.

use super::string::{Head, Literal};
use super::{LINE_OVERHEAD, Malformed, integer};

/// From the peer's encoder: what happens to the table that its field sections refer to.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum EncoderInstruction<'a> {
    /// Set Dynamic Table Capacity, in bytes.
    SetCapacity(u64),
    /// Insert with Name Reference.
    InsertWithNameReference {
        /// Whether the index is one of the static table, else relative to the newest entry.
        in_static_table: bool,
        index: u64,
        value: Literal<'a>,
    },
    /// Insert with Literal Name.
    InsertWithLiteralName { name: Literal<'a>, value: Literal<'a> },
    /// Duplicate of an entry, by its index relative to the newest one.
    Duplicate(u64),
}

/// From the peer's decoder: what it has done with our field sections and table entries.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum DecoderInstruction {
    /// Section Acknowledgment: the oldest outstanding field section of this stream is decoded.
    SectionAcknowledgment(u64),
    /// Stream Cancellation: field sections of this stream will not be decoded any more.
    StreamCancellation(u64),
    /// Insert Count Increment: so many more entries have arrived.
    InsertCountIncrement(u64),
}

/// Why an encoder instruction cannot be obeyed, whatever follows.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed(Malformed),
    /// An entry that the table cannot hold (RFC 9204 §3.2.2). Found before its strings arrive, so that nothing larger
    /// than the table is ever waited for.
    TooLarge,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<'a> EncoderInstruction<'a> {
    /// Takes an instruction off the front of `input`, for a table of `capacity` bytes. `None`: cut off.
    pub(super) fn decode(input: &mut &'a [u8], capacity: u64) -> Result<Option<Self>, Refused> {
        let mut rest = *input;
        let instruction = match rest.first() {
            None => None,
            Some(first) if first & 0x80 != 0 => {
                Self::with_name_reference(first & 0x40 != 0, &mut rest, capacity)?
            }
            Some(first) if first & 0x40 != 0 => Self::with_literal_name(&mut rest, capacity)?,
            Some(first) if first & 0x20 != 0 => integer::decode(5, &mut rest)?.map(Self::SetCapacity),
            Some(_) => integer::decode(5, &mut rest)?.map(Self::Duplicate),
        };
        if instruction.is_some() {
            *input = rest;
        }
        Ok(instruction)
    }

    fn with_name_reference(
        in_static_table: bool,
        input: &mut &'a [u8],
        capacity: u64,
    ) -> Result<Option<Self>, Refused> {
        let mut room = capacity.checked_sub(LINE_OVERHEAD).ok_or(Refused::TooLarge)?;
        let Some(index) = integer::decode(6, input)? else { return Ok(None) };
        let value = bounded(7, input, &mut room)?;
        Ok(value.map(|value| Self::InsertWithNameReference { in_static_table, index, value }))
    }

    fn with_literal_name(input: &mut &'a [u8], capacity: u64) -> Result<Option<Self>, Refused> {
        let mut room = capacity.checked_sub(LINE_OVERHEAD).ok_or(Refused::TooLarge)?;
        let Some(name) = bounded(5, input, &mut room)? else { return Ok(None) };
        let value = bounded(7, input, &mut room)?;
        Ok(value.map(|value| Self::InsertWithLiteralName { name, value }))
    }
}

/// A string that stands for no more than `room` bytes, as far as its length tells; counts `room` down.
fn bounded<'a>(
    prefix_bits: u32,
    input: &mut &'a [u8],
    room: &mut u64,
) -> Result<Option<Literal<'a>>, Refused> {
    let Some(head) = Head::decode(prefix_bits, input)? else { return Ok(None) };
    *room = room.checked_sub(head.min_decoded_len()).ok_or(Refused::TooLarge)?;
    Ok(head.take(input))
}

impl DecoderInstruction {
    /// Takes an instruction off the front of `input`. `None`: cut off.
    pub(super) fn decode(input: &mut &[u8]) -> Result<Option<Self>, Malformed> {
        Ok(match input.first() {
            None => None,
            Some(first) if first & 0x80 != 0 => integer::decode(7, input)?.map(Self::SectionAcknowledgment),
            Some(first) if first & 0x40 != 0 => integer::decode(6, input)?.map(Self::StreamCancellation),
            Some(_) => integer::decode(6, input)?.map(Self::InsertCountIncrement),
        })
    }
}

/// The start of an instruction whose end has not arrived.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<u8>);

impl Pending {
    /// Hands what is held and `chunk` to `next`, which takes one instruction off the front and says whether there was a
    /// whole one, and keeps the rest. Instructions bound their own length, so the rest is bounded too.
    pub(super) fn feed<E>(
        &mut self,
        chunk: &[u8],
        mut next: impl FnMut(&mut &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.0.is_empty() {
            let mut input = chunk;
            while next(&mut input)? {}
            self.0.extend_from_slice(input);
        } else {
            self.0.extend_from_slice(chunk);
            let mut input = &self.0[..];
            while next(&mut input)? {}
            let used = self.0.len() - input.len();
            self.0.drain(..used);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::qpack::unhex;

    fn decode_all(bytes: &[u8], capacity: u64) -> Result<Vec<EncoderInstruction<'_>>, Refused> {
        let mut input = bytes;
        let mut all = Vec::new();
        while let Some(instruction) = EncoderInstruction::decode(&mut input, capacity)? {
            all.push(instruction);
        }
        assert!(input.is_empty());
        Ok(all)
    }

    fn plain(literal: Literal<'_>) -> String {
        String::from_utf8(literal.plain(&mut BytesMut::new()).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_streams_of_rfc9204_appendix_b() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/rfc9204-appendix-b.json")).unwrap();
        let mut seen = Vec::new();
        for step in vectors["steps"].as_array().unwrap() {
            let data = unhex(step["data"].as_str().unwrap());
            if step["stream"] == "Encoder" {
                for instruction in decode_all(&data, 220).unwrap() {
                    seen.push(match instruction {
                        EncoderInstruction::InsertWithNameReference { in_static_table, index, value } => {
                            format!("insert {in_static_table} {index} {}", plain(value))
                        }
                        EncoderInstruction::InsertWithLiteralName { name, value } => {
                            format!("insert {} {}", plain(name), plain(value))
                        }
                        other => format!("{other:?}"),
                    });
                }
            } else if step["stream"] == "Decoder" {
                let mut input = &data[..];
                while let Some(instruction) = DecoderInstruction::decode(&mut input).unwrap() {
                    seen.push(format!("{instruction:?}"));
                }
            }
        }
        let expected = [
            "SetCapacity(220)",
            "insert true 0 www.example.com",
            "insert true 1 /sample/path",
            "SectionAcknowledgment(4)",
            "insert custom-key custom-value",
            "InsertCountIncrement(1)",
            "Duplicate(2)",
            "StreamCancellation(8)",
            "insert false 1 custom-value2",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn entries_larger_than_the_table_are_refused_before_they_arrive() {
        // covers: R9204-3.2.2-02
        for capacity in 0..32 {
            assert_eq!(decode_all(&[0x80], capacity), Err(Refused::TooLarge));
            assert_eq!(decode_all(&[0x40], capacity), Err(Refused::TooLarge));
        }
        // a name of 33 bytes, a value of 2^61 bytes, a Huffman name of at least 34 bytes
        assert_eq!(decode_all(&[0x5f, 2], 64), Err(Refused::TooLarge));
        let huge = [&[0x40, 0x7f][..], &[0x80; 8], &[0x20]].concat();
        assert_eq!(decode_all(&huge, u64::MAX >> 4), Err(Refused::TooLarge));
        assert_eq!(decode_all(&[0x7f, 97], 64), Err(Refused::TooLarge));
        let mut input = &[0x7f, 80][..];
        assert_eq!(EncoderInstruction::decode(&mut input, 64), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_instructions_or_an_error(bytes: Vec<u8>, capacity in 0..5000_u64) {
            let mut input = &bytes[..];
            while let Ok(Some(_)) = EncoderInstruction::decode(&mut input, capacity) {}
            let mut input = &bytes[..];
            while let Ok(Some(_)) = DecoderInstruction::decode(&mut input) {}
        }

        #[test]
        fn cuts_do_not_matter(bytes: Vec<u8>, cut in 0..64_usize) {
            fn run(pieces: &[&[u8]]) -> (Vec<String>, Result<(), Refused>) {
                let (mut pending, mut seen) = (Pending::default(), Vec::new());
                for piece in pieces {
                    let fed = pending.feed(piece, |input| {
                        let instruction = EncoderInstruction::decode(input, 100)?;
                        seen.extend(instruction.map(|instruction| format!("{instruction:?}")));
                        Ok(instruction.is_some())
                    });
                    if fed.is_err() {
                        return (seen, fed);
                    }
                }
                (seen, Ok(()))
            }
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(run(&[&bytes]), run(&[head, tail]));
            let single: Vec<_> = bytes.chunks(1).collect();
            prop_assert_eq!(run(&[&bytes]), run(&single));
        }
    }
}
