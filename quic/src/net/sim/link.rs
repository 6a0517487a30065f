//! One direction between two hosts: a list of nodes that each datagram passes in turn.

use std::net::{IpAddr, SocketAddr};

use super::node::{Node, Placed, Step};

/// One end of a link: a host with all of its sockets, by its IP address, or one socket.
///
/// What takes one takes `impl Into<LinkEnd>`: an address as it is. A link between sockets goes before one between their
/// hosts.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LinkEnd {
    /// All sockets of a host.
    Host(IpAddr),
    /// One socket.
    Socket(SocketAddr),
}

impl From<IpAddr> for LinkEnd {
    fn from(host: IpAddr) -> Self {
        Self::Host(host)
    }
}

impl From<SocketAddr> for LinkEnd {
    fn from(socket: SocketAddr) -> Self {
        Self::Socket(socket)
    }
}

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
    /// The nodes, and those that they have replaced: what is on its way stays with those it set out on.
    versions: Vec<Vec<Placed>>,
}

impl Link {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let mut link = Self { stats: LinkStats::default(), versions: Vec::new() };
        link.replace(nodes);
        link
    }

    pub(super) fn replace(&mut self, nodes: Vec<Node>) {
        self.versions.push(nodes.into_iter().map(Placed::new).collect());
    }

    /// The nodes that datagrams pass that set out now.
    pub(super) fn version(&self) -> usize {
        self.versions.len() - 1
    }

    pub(super) fn node(&mut self, version: usize, at: usize) -> Option<&mut Placed> {
        self.versions.get_mut(version)?.get_mut(at)
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
