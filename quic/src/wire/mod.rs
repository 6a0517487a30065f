//! Bytes to types and back. Everything here parses hostile input: no panic, no allocation that the input chooses.

mod varint;

pub use varint::{VarInt, VarIntBoundsExceeded};
