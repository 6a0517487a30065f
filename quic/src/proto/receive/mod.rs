//! A datagram's way in, a file per step.
//!
//! [`datagram`] takes a burst apart; [`open`] removes header protection and opens packets in place; [`frames`] hands
//! each frame to its owner; [`on_ack`], [`on_cid`], [`on_path`] and [`on_retry`] are those owners' longer answers.
//!
//! A run of packets with short headers is opened as a whole, then frozen once, then sliced: no copy, one allocation a
//! burst. Packets with long headers are copied out and taken one by one, since each may bring the keys of the next.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod datagram;
mod frames;
#[cfg(any(test, fuzzing))]
mod inject;
mod on_ack;
mod on_cid;
mod on_path;
mod on_retry;
mod open;
mod parked;

pub use parked::Parked;

use std::time::Instant;

use crate::packet::{ConnectionId, Ecn, FourTuple, Level, PacketNumber};

/// What is known of an authenticated packet besides its frames.
#[derive(Debug, Copy, Clone)]
pub(super) struct PacketInfo<'a> {
    pub level: Level,
    pub pn: PacketNumber,
    pub ecn: Option<Ecn>,
    /// When it was read from the socket.
    pub received: Instant,
    /// Where the packet was sent to.
    pub dcid: ConnectionId,
    /// The path it took, if that is not the one in use.
    pub elsewhere: Option<&'a FourTuple>,
}
