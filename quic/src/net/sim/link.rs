//! One direction between two addresses: a list of nodes that each datagram passes in turn.

use super::node::{Node, Placed, Step};

/// What happened on a link or at a shared node so far, in datagrams.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Entered it.
    pub sent: u64,
    /// Bytes in those that entered it.
    pub sent_bytes: u64,
    /// Came out at the end, copies included.
    pub delivered: u64,
    /// Bytes in those that came out.
    pub delivered_bytes: u64,
    /// Were lost by chance or on purpose.
    pub lost: u64,
    /// Found a queue full.
    pub overflowed: u64,
    /// Were duplicated.
    pub duplicated: u64,
    /// Were held back so that others could overtake.
    pub reordered: u64,
    /// Had a byte changed.
    pub corrupted: u64,
    /// Were marked CE.
    pub marked: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) stats: LinkStats,
    pub(super) nodes: Vec<Placed>,
}

impl Link {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        Self { stats: LinkStats::default(), nodes: nodes.into_iter().map(Placed::new).collect() }
    }
}

/// A node that several links have in common, and what it did to the datagrams of all of them.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) stats: LinkStats,
    pub(super) placed: Placed,
}

impl LinkStats {
    pub(super) fn entered(&mut self, len: usize) {
        self.sent += 1;
        self.sent_bytes += len as u64;
    }

    pub(super) fn left(&mut self, len: usize) {
        self.delivered += 1;
        self.delivered_bytes += len as u64;
    }

    /// What a node did to a datagram.
    pub(super) fn count(&mut self, step: Step) {
        let counter = match step {
            Step::Lose => &mut self.lost,
            Step::Overflow => &mut self.overflowed,
            Step::HoldBack(_) => &mut self.reordered,
            Step::Twice(_) => &mut self.duplicated,
            Step::Corrupt(_) => &mut self.corrupted,
            Step::Mark(_) => &mut self.marked,
            Step::Forward(_) | Step::Bleach => return,
        };
        *counter += 1;
    }
}
