//! Network paths: addresses, their validation, migration, and how fast each path may be used.
//!
//! | file | holds |
//! |---|---|
//! | `paths` | the path in use and a few others |
//! | `validation` | PATH_CHALLENGE: when, how often, and what an answer means (RFC 9000 §8.2) |
//! | `responses` | PATH_RESPONSE: what the peer asked |
//! | `peer` | the peer moves, or something makes it seem so (RFC 9000 §9.3) |
//! | `migrate` | we move: by the application's wish, or to the server's preferred address (RFC 9000 §9.2, §9.6) |
//! | `outcome` | a validation ends, and a path comes into use or goes |
//! | `cids` | which connection ID of the peer is used on which path (RFC 9000 §9.5) |
//! | `mtu` | how large datagrams may be |
//! | `spin` | the spin bit |

mod cids;
mod migrate;
mod mtu;
mod outcome;
mod paths;
mod peer;
mod responses;
mod spin;
mod validation;

pub use mtu::{BASE, MtuDiscovery, SizeNews, SizeReport};
pub use paths::{Paths, Slot};
pub use responses::PathResponses;
pub use spin::SpinBit;
pub use validation::{ChallengeData, Validation};

use crate::packet::{ConnectionId, FourTuple, MIN_DATAGRAM_SIZE};
use crate::proto::cids::RemoteCid;
use crate::proto::recovery::PathCc;

/// A server sends at most this many times what it received before the address is validated (RFC 9000 §8.1).
const AMPLIFICATION_FACTOR: u64 = 3;

/// Less than this is not worth a packet with a short header, bytes.
const MIN_SHORT_PACKET: u64 = 64;

/// What always holds the largest header, the first range of an acknowledgment with ECN counts, and a tag: with less a due
/// acknowledgment might not fit.
const MIN_DATA_PACKET: u64 = 128;

/// Challenges that a budget is kept for, bytes: two follow the first before the path is given up.
const KEPT_FOR_CHALLENGES: u64 = 3 * MIN_SHORT_PACKET;

/// Why a path exists.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Role {
    /// It is in use, or was: what we fall back to.
    Used,
    /// The peer sent something on it.
    Probed,
    /// The peer has moved there, but we may only follow once it is validated (RFC 9000 §9.6.2).
    Awaited,
    /// The application wants to move there.
    Candidate,
    /// The server's preferred address.
    Preferred,
}

/// The state of one path.
#[derive(Debug)]
pub struct Path {
    /// Our socket and both addresses.
    pub tuple: FourTuple,
    /// Why it exists.
    pub role: Role,
    /// Whether the peer is known to receive at its address.
    pub validated: bool,
    /// Finding out.
    pub validation: Option<Validation>,
    /// It answered a challenge.
    pub answered: bool,
    /// It got the time of two validations.
    pub second_try: bool,
    /// Round-trip time, congestion window, pacer.
    pub cc: PathCc,
    /// How large datagrams may be.
    pub mtu: MtuDiscovery,
    /// What the peer asked on it.
    pub responses: PathResponses,
    /// Where our packets go.
    pub remote_cid: RemoteCid,
    /// Where the peer's packets came to, at last; `None` before the first.
    pub local_cid: Option<ConnectionId>,
    /// The spin bit.
    pub spin: SpinBit,
    received: u64,
    sent: u64,
}

impl Path {
    /// A path that nothing was sent on yet.
    pub fn new(
        tuple: FourTuple,
        role: Role,
        validated: bool,
        cc: PathCc,
        mtu: MtuDiscovery,
        remote_cid: RemoteCid,
        spin: SpinBit,
    ) -> Self {
        Self {
            tuple,
            role,
            validated,
            validation: None,
            answered: false,
            second_try: false,
            cc,
            mtu,
            responses: PathResponses::default(),
            remote_cid,
            local_cid: None,
            spin,
            received: 0,
            sent: 0,
        }
    }

    /// True if a datagram with these addresses took this path. An address of ours that one side does not know is no
    /// difference.
    pub fn carries(&self, tuple: &FourTuple) -> bool {
        let (own, other) = (self.tuple.local_ip, tuple.local_ip);
        self.tuple.remote == tuple.remote
            && self.tuple.socket == tuple.socket
            && (own == other || own.is_none() || other.is_none())
    }

    /// True if a challenge or an answer waits.
    pub fn wants_to_probe(&self) -> bool {
        !self.responses.is_empty() || self.validation.as_ref().is_some_and(Validation::wants_to_send)
    }

    /// True while too little may be sent for a challenge (RFC 9000 §8.1).
    pub fn is_amplification_limited(&self) -> bool {
        self.amplification_budget() < MIN_SHORT_PACKET
    }

    /// How many bytes of what does not probe the path may be sent. While the path is validated enough is kept for
    /// further challenges: the peer may have nothing to say, and then a lost one would be the end.
    pub fn data_budget(&self) -> u64 {
        let kept = if self.validation.is_some() { KEPT_FOR_CHALLENGES } else { 0 };
        self.amplification_budget().saturating_sub(kept)
    }

    /// True while too little may be sent for a packet (RFC 9000 §8.1). Initials fill a datagram, so less than one is
    /// not worth it in a handshake.
    pub fn is_data_limited(&self, handshake: bool) -> bool {
        let least = if handshake { MIN_DATAGRAM_SIZE as u64 } else { MIN_DATA_PACKET };
        self.data_budget() < least
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
