//! QPACK (RFC 9204): field sections to wire bytes and back. Everything here parses hostile input: no panic, and memory
//! follows what has arrived.
//!
//! A field section is encoded with the static table and literals only: the dynamic table has capacity 0 in both
//! directions, so a section needs no state of the connection, never blocks, and is never acknowledged.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub(crate) mod decoder;
pub(crate) mod encoder;
mod huffman;
mod instructions;
mod integer;
mod static_table;
mod string;

pub(crate) use static_table::StaticLine;

#[cfg(test)]
mod interop;

/// What a field line adds to the size of a section besides its name and value (RFC 9114 §4.2.2) and to that of a table
/// (RFC 9204 §3.2.1), in bytes.
const LINE_OVERHEAD: u64 = 32;

/// What cannot be a primitive of QPACK, however it goes on.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
enum Malformed {
    #[error("an integer of more than 62 bits")]
    Integer,
    #[error("wrong padding of a Huffman string")]
    Padding,
    #[error("the end-of-string symbol in a Huffman string")]
    EndOfString,
}

impl Malformed {
    const fn reason(self) -> &'static str {
        match self {
            Self::Integer => "an integer of more than 62 bits",
            Self::Padding => "wrong padding of a Huffman string",
            Self::EndOfString => "the end-of-string symbol in a Huffman string",
        }
    }
}

/// A test vector in hexadecimal.
#[cfg(test)]
fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
