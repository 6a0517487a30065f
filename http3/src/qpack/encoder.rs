//! From field lines to the encoded field section (RFC 9204 §4.5), and what the peer's decoder says about it.

use super::instructions::{DecoderInstruction, Pending};
use super::static_table::{self, Found};
use super::{LINE_OVERHEAD, integer, string};
use crate::error::{Code, Violation};

/// Writes one field section, line by line, behind what is in a buffer already.
#[derive(Debug)]
pub(crate) struct SectionEncoder<'a> {
    out: &'a mut Vec<u8>,
    size: u64,
}

impl<'a> SectionEncoder<'a> {
    /// Begins a section: Required Insert Count and Base are 0, as nothing refers to the dynamic table.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(&[0, 0]);
        Self { out, size: 0 }
    }

    /// Appends a line. The name is in lower case. A `sensitive` value is marked as one that must never be put into a
    /// table (RFC 9204 §7.1.3).
    pub(crate) fn line(&mut self, name: &str, value: &[u8], sensitive: bool) {
        self.size += (name.len() + value.len()) as u64 + LINE_OVERHEAD;
        match static_table::find(name, value) {
            Found::Line(index) if !sensitive => integer::encode(index, 6, 0b1100_0000, self.out),
            Found::Line(index) | Found::Name(index) => {
                integer::encode(index, 4, 0b0101_0000 | u8::from(sensitive) << 5, self.out);
                string::encode(value, 7, 0, self.out);
            }
            Found::Nothing => {
                string::encode(name.as_bytes(), 3, 0b0010_0000 | u8::from(sensitive) << 4, self.out);
                string::encode(value, 7, 0, self.out);
            }
        }
    }

    /// The size of the lines so far, as MAX_FIELD_SECTION_SIZE counts it (RFC 9114 §4.2.2), in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

/// Our encoder, as far as the peer's decoder knows it. It has no dynamic table, so there is nothing to acknowledge.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pending: Pending,
}

impl Encoder {
    /// Takes the next bytes of the peer's decoder stream, behind the stream type.
    pub(crate) fn on_decoder_stream(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        let violation = |reason| Violation::new(Code::QPACK_DECODER_STREAM_ERROR, reason);
        self.pending.feed(chunk, |input| {
            match DecoderInstruction::decode(input).map_err(|malformed| violation(malformed.reason()))? {
                None => Ok(false),
                // any request can be cancelled, whether or not it refers to the table
                Some(DecoderInstruction::StreamCancellation(_)) => Ok(true),
                Some(DecoderInstruction::SectionAcknowledgment(_)) => {
                    Err(violation("acknowledges a field section that does not wait for it"))
                }
                Some(DecoderInstruction::InsertCountIncrement(_)) => {
                    Err(violation("counts insertions that were not made"))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qpack::decoder::tests::lines_of;
    use crate::qpack::unhex;

    fn encoded(lines: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut section = SectionEncoder::new(&mut out);
        for (name, value) in lines {
            section.line(name, value.as_bytes(), false);
        }
        out
    }

    #[test]
    fn lines_of_the_static_table_take_one_byte_or_two() {
        assert_eq!(encoded(&[(":method", "GET"), (":path", "/"), (":status", "425")]), unhex("0000d1c1ff07"));
    }

    #[test]
    fn the_shorter_form_of_a_string_is_taken() {
        // the section of RFC 9204 Appendix B.1, which is shorter with Huffman coding
        let out = encoded(&[(":path", "/index.html")]);
        assert_eq!(out, unhex("0000518860d5485f2bce9a68"));
        // codes of these bytes are longer than the bytes
        assert_eq!(encoded(&[(":path", "{}\\")]), unhex("000051037b7d5c"));
    }

    #[test]
    fn sensitive_values_are_never_indexed() {
        // covers: R9204-4.5.4-01
        for (name, value) in [("authorization", "secret"), ("x-token", "secret"), ("x-frame-options", "deny")]
        {
            let mut out = Vec::new();
            SectionEncoder::new(&mut out).line(name, value.as_bytes(), true);
            assert_eq!(lines_of(&out).unwrap(), [(name.into(), value.into(), true)]);
        }
    }

    #[test]
    fn lines_keep_their_order() {
        // covers: R9204-2.1-01 R9204-2.2-01
        let lines = [("b", "1"), ("a", "2"), ("b", "0"), ("accept", "*/*"), ("a", "1")];
        let got = lines_of(&encoded(&lines)).unwrap();
        let got: Vec<_> = got.iter().map(|(name, value, _)| (name.as_str(), value.as_str())).collect();
        assert_eq!(got, lines);
    }

    #[test]
    fn the_size_is_counted_without_compression() {
        let mut out = Vec::new();
        let mut section = SectionEncoder::new(&mut out);
        section.line(":method", b"GET", false);
        section.line("x-name", b"value", false);
        assert_eq!(section.size(), 7 + 3 + 32 + 6 + 5 + 32);
    }

    #[test]
    fn the_peers_decoder_has_nothing_to_acknowledge() {
        // covers: R9204-4.4.1-01 R9204-4.4.3-01
        for bytes in ["80", "84", "ff00", "00", "01", "3f00", "7f8080808080808080808001", "4401"] {
            let got = Encoder::default().on_decoder_stream(&unhex(bytes)).map_err(|violation| violation.code);
            assert_eq!(got, Err(Code::QPACK_DECODER_STREAM_ERROR), "{bytes}");
        }
        let mut encoder = Encoder::default();
        for byte in unhex("44487f01") {
            encoder.on_decoder_stream(&[byte]).unwrap();
        }
    }
}
