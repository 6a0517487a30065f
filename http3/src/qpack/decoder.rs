//! From the encoded field section to field lines (RFC 9204 §4.5), and what the peer's encoder does to the table.

use bytes::{Bytes, BytesMut};

use super::instructions::{EncoderInstruction, Pending, Refused};
use super::static_table::{self, StaticLine};
use super::string::Literal;
use super::{LINE_OVERHEAD, Malformed, huffman, integer};
use crate::error::{Code, Violation};

/// A field line, as the decoder hands it over.
#[derive(Debug)]
pub(crate) struct FieldLine<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) value: Value,
    /// Whether the value must not be put into a table when it is sent on (RFC 9204 §7.1.3).
    pub(crate) sensitive: bool,
}

/// The name of a field line.
#[derive(Debug)]
pub(crate) enum Name<'a> {
    /// That of a line of the static table.
    Static(&'static StaticLine),
    /// Any bytes.
    Literal(&'a [u8]),
}

/// The value of a field line.
#[derive(Debug)]
pub(crate) enum Value {
    /// That of a line of the static table.
    Static(&'static StaticLine),
    /// Any bytes. The values of one section share an allocation of their own, so that they keep no receive buffer
    /// alive.
    Literal(Bytes),
}

impl Name<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(line) => line.name.as_bytes(),
            Self::Literal(name) => name,
        }
    }
}

impl Value {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(line) => line.value.as_bytes(),
            Self::Literal(value) => value,
        }
    }
}

/// Why a field section was not decoded to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SectionError<E> {
    /// It is not QPACK: an error of the connection.
    Invalid(Violation),
    /// Its lines are larger than the limit.
    TooLarge,
    /// Whoever takes the lines does not want to go on.
    Stopped(E),
}

impl<E> From<Malformed> for SectionError<E> {
    fn from(malformed: Malformed) -> Self {
        invalid(malformed.reason())
    }
}

fn invalid<E>(reason: &'static str) -> SectionError<E> {
    SectionError::Invalid(Violation::new(Code::QPACK_DECOMPRESSION_FAILED, reason))
}

fn cut_off<E>() -> SectionError<E> {
    invalid("the field section ends inside a field line")
}

/// Decodes a whole field section, and hands its lines on in their order until they are larger than `max_size`, counted
/// as MAX_FIELD_SECTION_SIZE is (RFC 9114 §4.2.2).
pub(crate) fn decode<E>(
    section: &[u8],
    max_size: u64,
    mut line: impl FnMut(FieldLine<'_>) -> Result<(), E>,
) -> Result<(), SectionError<E>> {
    let mut input = section;
    prefix(&mut input)?;
    let mut block = BytesMut::new();
    let mut size = 0_u64;
    while let Some(first) = input.first().copied() {
        let huffman_name;
        let (name, value, sensitive) = if first & 0x80 != 0 {
            let index = integer::decode(6, &mut input)?.ok_or_else(cut_off)?;
            let line = static_line(first & 0x40 != 0, index)?;
            (Name::Static(line), Value::Static(line), false)
        } else if first & 0x40 != 0 {
            let index = integer::decode(4, &mut input)?.ok_or_else(cut_off)?;
            let line = static_line(first & 0x10 != 0, index)?;
            (Name::Static(line), literal_value(&mut input, &mut block)?, first & 0x20 != 0)
        } else if first & 0x20 != 0 {
            let name = Literal::decode(3, &mut input)?.ok_or_else(cut_off)?;
            let name = if name.huffman {
                reserve(&mut block, name.bytes.len() + input.len());
                huffman_name = name.plain(&mut block)?;
                &huffman_name[..]
            } else {
                name.bytes
            };
            (Name::Literal(name), literal_value(&mut input, &mut block)?, first & 0x10 != 0)
        } else {
            return Err(invalid("a reference past the Base, but the dynamic table is empty"));
        };
        size += (name.as_bytes().len() + value.as_bytes().len()) as u64 + LINE_OVERHEAD;
        if size > max_size {
            return Err(SectionError::TooLarge);
        }
        line(FieldLine { name, value, sensitive }).map_err(SectionError::Stopped)?;
    }
    Ok(())
}

/// Takes Required Insert Count and Base off the front, which an empty dynamic table leaves little choice.
fn prefix<E>(input: &mut &[u8]) -> Result<(), SectionError<E>> {
    let cut_off = || invalid("the field section ends inside its prefix");
    if integer::decode(8, input)?.ok_or_else(cut_off)? != 0 {
        return Err(invalid("a Required Insert Count, but the dynamic table is empty"));
    }
    let below = input.first().is_some_and(|first| first & 0x80 != 0);
    integer::decode(7, input)?.ok_or_else(cut_off)?;
    if below { Err(invalid("a negative Base")) } else { Ok(()) }
}

fn static_line<E>(in_static_table: bool, index: u64) -> Result<&'static StaticLine, SectionError<E>> {
    if !in_static_table {
        return Err(invalid("a reference to an entry of the dynamic table, which is empty"));
    }
    static_table::get(index).ok_or_else(|| invalid("an index past the end of the static table"))
}

/// Takes the value of a literal line off the front of `input`, and copies it into `block`.
fn literal_value<E>(input: &mut &[u8], block: &mut BytesMut) -> Result<Value, SectionError<E>> {
    let value = Literal::decode(7, input)?.ok_or_else(cut_off)?;
    if value.bytes.is_empty() {
        return Ok(Value::Literal(Bytes::new()));
    }
    reserve(block, value.bytes.len() + input.len());
    Ok(Value::Literal(value.plain(block)?))
}

/// Makes room for all strings that can stand in `len` bytes, at the first of them.
fn reserve(block: &mut BytesMut, len: usize) {
    if block.capacity() == 0 {
        block.reserve(huffman::max_decoded_len(len) + 1);
    }
}

/// Our decoder, as far as the peer's encoder knows it: it allows no dynamic table.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pending: Pending,
}

/// What our SETTINGS allow the peer's dynamic table, in bytes.
const MAX_TABLE_CAPACITY: u64 = 0;

impl Decoder {
    /// Takes the next bytes of the peer's encoder stream, behind the stream type.
    pub(crate) fn on_encoder_stream(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        let violation = |reason| Violation::new(Code::QPACK_ENCODER_STREAM_ERROR, reason);
        self.pending.feed(chunk, |input| {
            let instruction =
                EncoderInstruction::decode(input, MAX_TABLE_CAPACITY).map_err(|refused| match refused {
                    Refused::Malformed(malformed) => violation(malformed.reason()),
                    Refused::TooLarge => violation("an entry larger than the dynamic table"),
                })?;
            match instruction {
                None => Ok(false),
                Some(EncoderInstruction::SetCapacity(MAX_TABLE_CAPACITY)) => Ok(true),
                Some(EncoderInstruction::SetCapacity(_)) => {
                    Err(violation("a dynamic table larger than permitted"))
                }
                Some(
                    EncoderInstruction::InsertWithNameReference { .. }
                    | EncoderInstruction::InsertWithLiteralName { .. }
                    | EncoderInstruction::Duplicate(_),
                ) => Err(violation("an entry for a dynamic table of capacity 0")),
            }
        })
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
pub(super) mod tests;
