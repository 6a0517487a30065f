//! Bytes to types and back. Everything here parses hostile input: no panic, no allocation that the input chooses.
//!
//! | module | RFC 9000 |
//! |---|---|
//! | `varint` | variable-length integers, §16 |
//! | `packet_number` | truncated packet numbers, §17.1 |
//! | `header` | long and short headers, Retry, Version Negotiation, §17 and RFC 8999 |
//! | `frame` | frames, §19 and RFC 9221 |
//! | `transport_parameters` | §18 |
//! | `draft` | code points of drafts |
//!
//! Nothing here knows the state of a connection: a frame that is well formed but not permitted now is the concern of
//! the caller.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub(crate) mod draft;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod packet_number;
pub(crate) mod transport_parameters;
mod varint;

pub use varint::{VarInt, VarIntBoundsExceeded};
