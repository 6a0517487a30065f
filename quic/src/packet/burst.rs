//! A run of datagrams that arrived together.

use std::time::Instant;

use super::{Buffer, Ecn, FourTuple};

/// One or more datagrams from one peer address, in one buffer, as the kernel hands them out (GRO).
#[derive(Debug)]
pub struct Burst {
    /// When the datagrams were read from the socket.
    pub received: Instant,
    /// Where they came from and to.
    pub path: FourTuple,
    /// The ECN mark that all of them carry.
    pub ecn: Option<Ecn>,
    /// Length of each datagram, bytes; the last one may be shorter. Never 0.
    pub segment_size: usize,
    /// The datagrams, one after the other.
    pub buffer: Buffer,
}

impl Burst {
    /// A burst of a single datagram.
    #[must_use]
    pub fn single(received: Instant, path: FourTuple, ecn: Option<Ecn>, datagram: impl Into<Buffer>) -> Self {
        let buffer = datagram.into();
        Self { received, path, ecn, segment_size: buffer.as_ref().len().max(1), buffer }
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.buffer.as_ref().len().div_ceil(self.segment_size.max(1))
    }
}
