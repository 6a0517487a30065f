//! One network path: the address, its validation, and how fast it may be used.

mod mtu;
mod paths;
mod responses;

pub use mtu::{BASE, MtuDiscovery, SizeNews, SizeReport};
pub use paths::Paths;
pub use responses::PathResponses;

use crate::packet::FourTuple;
use crate::proto::recovery::PathCc;

/// A server sends at most this many times what it received before the address is validated (RFC 9000 §8.1).
const AMPLIFICATION_FACTOR: u64 = 3;

/// The state of one path.
#[derive(Debug)]
pub struct Path {
    /// Our socket and both addresses.
    pub tuple: FourTuple,
    /// Whether the peer is known to receive at its address.
    pub validated: bool,
    /// Round-trip time, congestion window, pacer.
    pub cc: PathCc,
    /// How large datagrams may be.
    pub mtu: MtuDiscovery,
    /// What the peer asked on it.
    pub responses: PathResponses,
    received: u64,
    sent: u64,
}

impl Path {
    /// A path that nothing was sent on yet.
    pub fn new(tuple: FourTuple, validated: bool, mtu: MtuDiscovery, cc: PathCc) -> Self {
        Self { tuple, validated, cc, mtu, responses: PathResponses::default(), received: 0, sent: 0 }
    }

    /// The peer takes no larger datagrams than this.
    pub fn limit_mtu(&mut self, largest: u64) {
        self.mtu.limit(largest);
        self.cc.set_max_datagram_size(self.mtu.current());
    }

    /// Counts bytes received from the address, which raise what may be sent there.
    pub fn on_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Counts bytes sent to the address.
    pub fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// How many more bytes the anti-amplification limit lets us send.
    pub fn amplification_budget(&self) -> u64 {
        if self.validated {
            u64::MAX
        } else {
            (self.received * AMPLIFICATION_FACTOR).saturating_sub(self.sent)
        }
    }
}

#[cfg(test)]
mod tests;
