//! The links, the datagrams on their way, and the time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::fate::Fate;
use super::link::{Common, Link, LinkStats};
use super::node::{Node, Passing, Placed, SharedNode, Step};
use crate::packet::{Ecn, TxBatch};

/// One datagram, at one end of a link or at the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The sender's address.
    pub from: SocketAddr,
    /// The receiver's.
    pub to: SocketAddr,
    /// The mark it carries.
    pub ecn: Option<Ecn>,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Links between addresses, and a time that passes only when it is told to.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    start: Instant,
    now: Duration,
    links: Vec<(SocketAddr, SocketAddr, Link)>,
    /// Nodes that several links have in common.
    common: Vec<Common>,
    nats: Vec<Nat>,
    on_their_way: BinaryHeap<Reverse<OnItsWay>>,
    /// Orders what happens at the same time.
    sequence: u64,
    unroutable: u64,
}

/// A translator of addresses in front of a host: others see the host at another address, which changes.
#[derive(Debug)]
struct Nat {
    inside: SocketAddr,
    /// From when on the host has which address outside, ascending.
    outside: Vec<(Duration, SocketAddr)>,
}

impl Nat {
    fn outside(&self, now: Duration) -> SocketAddr {
        let mut begun = self.outside.iter().rev().filter(|(from, _)| *from <= now);
        begun.next().map_or(self.inside, |(_, address)| *address)
    }

    fn has_had(&self, address: SocketAddr) -> bool {
        self.outside.iter().any(|(_, outside)| *outside == address)
    }
}

/// A datagram that will be at a node of a link.
#[derive(Debug)]
struct OnItsWay {
    at: Duration,
    sequence: u64,
    link: usize,
    node: usize,
    passing: Passing,
    datagram: Datagram,
}

impl Network {
    /// A network without links, whose time begins at `start`. The seed decides every fate on it.
    #[must_use]
    pub fn new(seed: u64, start: Instant) -> Self {
        Self {
            seed,
            start,
            now: Duration::ZERO,
            links: Vec::new(),
            common: Vec::new(),
            nats: Vec::new(),
            on_their_way: BinaryHeap::new(),
            sequence: 0,
            unroutable: 0,
        }
    }

    /// Lays a link in one direction. A datagram passes the nodes in order.
    pub fn link(&mut self, from: SocketAddr, to: SocketAddr, nodes: Vec<Node>) {
        self.links.push((from, to, Link::new(nodes)));
    }

    /// Lays two links with the same nodes.
    pub fn link_both(&mut self, one: SocketAddr, other: SocketAddr, nodes: &[Node]) {
        self.link(one, other, nodes.to_vec());
        self.link(other, one, nodes.to_vec());
    }

    /// Makes a node that several links have in common, so that their datagrams compete for it: put copies of what this
    /// returns into the links. A bottleneck shared this way has one queue for all of them.
    ///
    /// It belongs to this network; in another one it does nothing.
    #[must_use]
    pub fn share(&mut self, node: Node) -> Node {
        self.common.push(Common { stats: LinkStats::default(), placed: Placed::new(node) });
        Node::Shared(SharedNode(self.common.len() - 1))
    }

    /// What a shared node did to the datagrams of all links; `None` for a node that is not shared.
    #[must_use]
    pub fn shared_stats(&self, node: &Node) -> Option<LinkStats> {
        let Node::Shared(SharedNode(index)) = node else { return None };
        self.common.get(*index).map(|common| common.stats)
    }

    /// Puts a NAT in front of a host: from each of these times on, ascending, others see it at that address, and no
    /// longer reach it at the one before. Links are laid between the hosts' own addresses.
    pub fn nat(&mut self, inside: SocketAddr, outside: Vec<(Duration, SocketAddr)>) {
        self.nats.push(Nat { inside, outside });
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.start + self.now
    }

    /// How much time has passed since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now
    }

    /// What the link between two addresses did, if there is one.
    #[must_use]
    pub fn stats(&self, from: SocketAddr, to: SocketAddr) -> Option<LinkStats> {
        self.find(from, to).map(|(_, link)| link.stats)
    }

    /// Datagrams that no link leads to where they were sent.
    #[must_use]
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    fn find(&self, from: SocketAddr, to: SocketAddr) -> Option<(usize, &Link)> {
        let mut links = self.links.iter().enumerate();
        links.find_map(|(index, (a, b, link))| (*a == from && *b == to).then_some((index, link)))
    }

    /// Puts a datagram on its link, now.
    pub fn send(&mut self, mut datagram: Datagram) {
        if let Some(nat) = self.nats.iter().find(|nat| nat.has_had(datagram.to)) {
            if nat.outside(self.now) != datagram.to {
                self.unroutable += 1;
                return;
            }
            datagram.to = nat.inside;
        }
        let Some((index, _)) = self.find(datagram.from, datagram.to) else {
            self.unroutable += 1;
            return;
        };
        if let Some(nat) = self.nats.iter().find(|nat| nat.inside == datagram.from) {
            datagram.from = nat.outside(self.now);
        }
        let stats = &mut self.links[index].2.stats;
        let position = stats.sent;
        stats.entered(datagram.payload.len());
        let fate = Fate::new(self.seed, index, position);
        let ect = matches!(datagram.ecn, Some(Ecn::Ect0 | Ecn::Ect1));
        let passing = Passing { index: position, fate, len: datagram.payload.len(), ect };
        self.schedule(self.now, index, 0, passing, datagram);
    }

    /// Puts the datagrams of a batch on their link, now.
    pub fn send_batch(&mut self, from: SocketAddr, batch: &TxBatch) {
        let Some(meta) = batch.meta() else { return };
        for payload in batch.bytes().chunks(batch.segment_size().max(1)) {
            self.send(Datagram { from, to: meta.path.remote, ecn: meta.ecn, payload: payload.to_vec() });
        }
    }

    /// When something happens next on a link.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.on_their_way.peek().map(|Reverse(next)| self.start + next.at)
    }

    /// Lets time pass up to this moment, or to when the next datagram arrives; that datagram.
    pub fn advance(&mut self, until: Instant) -> Option<Datagram> {
        let until = until.saturating_duration_since(self.start);
        while self.on_their_way.peek().is_some_and(|Reverse(next)| next.at <= until) {
            let Some(Reverse(next)) = self.on_their_way.pop() else { break };
            self.now = self.now.max(next.at);
            if let Some(datagram) = self.pass(next) {
                return Some(datagram);
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Takes a datagram through one node; returns it if it has passed them all.
    fn pass(&mut self, on_its_way: OnItsWay) -> Option<Datagram> {
        let OnItsWay { at, link, node, mut passing, mut datagram, .. } = on_its_way;
        let (_, _, link_here) = &mut self.links[link];
        let Some(placed) = link_here.nodes.get_mut(node) else {
            link_here.stats.left(datagram.payload.len());
            return Some(datagram);
        };
        let shared = if let Node::Shared(SharedNode(index)) = placed.node { Some(index) } else { None };
        let step = if let Some(common) = shared.and_then(|index| self.common.get_mut(index)) {
            let step = common.placed.pass(at, node, passing);
            common.stats.entered(passing.len);
            common.stats.count(step);
            if !matches!(step, Step::Lose | Step::Overflow) {
                common.stats.left(passing.len);
            }
            step
        } else {
            placed.pass(at, node, passing)
        };
        link_here.stats.count(step);
        let delay = match step {
            Step::Lose | Step::Overflow => return None,
            Step::Forward(delay) | Step::HoldBack(delay) => delay,
            Step::Twice(after) => {
                let copy = Passing { fate: passing.fate.copy(), ..passing };
                self.schedule(at + after, link, node + 1, copy, datagram.clone());
                Duration::ZERO
            }
            Step::Corrupt(position) => {
                if let Some(byte) = datagram.payload.get_mut(position) {
                    *byte ^= 0x55;
                }
                Duration::ZERO
            }
            Step::Mark(delay) => {
                (datagram.ecn, passing.ect) = (Some(Ecn::Ce), false);
                delay
            }
            Step::Bleach => {
                (datagram.ecn, passing.ect) = (None, false);
                Duration::ZERO
            }
        };
        self.schedule(at + delay, link, node + 1, passing, datagram);
        None
    }

    fn schedule(&mut self, at: Duration, link: usize, node: usize, passing: Passing, datagram: Datagram) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.on_their_way.push(Reverse(OnItsWay { at, sequence, link, node, passing, datagram }));
    }
}

impl PartialEq for OnItsWay {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for OnItsWay {}

impl PartialOrd for OnItsWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OnItsWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
