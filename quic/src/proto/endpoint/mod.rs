//! Datagrams that belong to no connection yet: what they are, and the stateless answers to them.
//!
//! [`classify`](classify()) tells where to look a datagram up. What nobody owns either begins a connection ([`Incoming`]) or gets
//! one of the answers of [`answers`], or none.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod answers;
mod classify;
mod incoming;

pub use answers::{refuse, retry, stateless_reset, version_negotiation};
pub use classify::{Class, classify, has_quic_bit};
pub use incoming::{AddressValidation, Incoming, Rejected};
