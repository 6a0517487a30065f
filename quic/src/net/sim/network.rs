//! The links, the datagrams on their way, and the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::fate::Fate;
use super::link::{Common, Link, LinkEnd, LinkStats};
use super::log::{Event, EventKind};
use super::nat::Nats;
use super::node::{Node, Passing, Placed, SharedNode, Step};
use crate::packet::Ecn;

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

/// Links between hosts, and a time that passes only when it is told to.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    start: Instant,
    now: Duration,
    links: Vec<Link>,
    routes: BTreeMap<(LinkEnd, LinkEnd), usize>,
    /// What links between hosts are that have none of their own.
    everywhere: Option<Vec<Node>>,
    /// Nodes that several links have in common.
    common: Vec<Common>,
    nats: Nats,
    on_their_way: BinaryHeap<Reverse<OnItsWay>>,
    /// Orders what happens at the same time.
    sequence: u64,
    unroutable: u64,
    log: Option<Vec<Event>>,
}

/// A datagram that will be at a node of a link.
#[derive(Debug)]
struct OnItsWay {
    at: Duration,
    sequence: u64,
    place: Place,
    passing: Passing,
    datagram: Datagram,
}

/// A node of a link.
#[derive(Debug, Copy, Clone)]
struct Place {
    link: usize,
    version: usize,
    node: usize,
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
            routes: BTreeMap::new(),
            everywhere: None,
            common: Vec::new(),
            nats: Nats::default(),
            on_their_way: BinaryHeap::new(),
            sequence: 0,
            unroutable: 0,
            log: None,
        }
    }

    /// Lays a link in one direction, or changes the one that is there: what is on its way passes the nodes before, and
    /// what comes after that these, in order.
    pub fn link(&mut self, from: impl Into<LinkEnd>, to: impl Into<LinkEnd>, nodes: Vec<Node>) {
        let ends = (from.into(), to.into());
        match self.routes.get(&ends) {
            Some(link) => self.links[*link].replace(nodes),
            None => drop(self.lay(ends, nodes)),
        }
    }

    fn lay(&mut self, ends: (LinkEnd, LinkEnd), nodes: Vec<Node>) -> usize {
        self.links.push(Link::new(nodes));
        self.routes.insert(ends, self.links.len() - 1);
        self.links.len() - 1
    }

    /// Lays two links with the same nodes.
    pub fn link_both(&mut self, one: impl Into<LinkEnd>, other: impl Into<LinkEnd>, nodes: &[Node]) {
        let (one, other) = (one.into(), other.into());
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

    /// How much time has passed since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now
    }

    /// What the link between two hosts or sockets did, if there is one.
    #[must_use]
    pub fn stats(&self, from: impl Into<LinkEnd>, to: impl Into<LinkEnd>) -> Option<LinkStats> {
        self.routes.get(&(from.into(), to.into())).map(|link| self.links[*link].stats)
    }

    /// Datagrams that no link leads to where they were sent.
    #[must_use]
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    /// The link that leads from one socket to another.
    fn route(&mut self, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        let [from_host, to_host] = [from, to].map(|socket| LinkEnd::Host(socket.ip()));
        let [from, to] = [from, to].map(LinkEnd::Socket);
        let hosts = (from_host, to_host);
        let known = [(from, to), (from, to_host), (from_host, to), hosts];
        if let Some(link) = known.iter().find_map(|ends| self.routes.get(ends)) {
            return Some(*link);
        }
        let nodes = self.everywhere.clone()?;
        Some(self.lay(hosts, nodes))
    }

    fn note(&mut self, at: Duration, datagram: &Datagram, what: EventKind) {
        if let Some(log) = &mut self.log {
            let Datagram { from, to, ref payload, .. } = *datagram;
            log.push(Event { at, from, to, len: payload.len(), what });
        }
    }

    /// Puts a datagram on its link, now.
    pub fn send(&mut self, mut datagram: Datagram) {
        let (now, from) = (self.now, datagram.from);
        datagram.from = self.nats.outward(now, from);
        let to = self.nats.inward(now, datagram.to);
        let Some((to, link)) = to.and_then(|to| Some((to, self.route(from, to)?))) else {
            self.unroutable += 1;
            return self.note(now, &datagram, EventKind::Unroutable);
        };
        datagram.to = to;
        self.note(now, &datagram, EventKind::Sent);
        let stats = &mut self.links[link].stats;
        let position = stats.sent;
        stats.entered(datagram.payload.len());
        let fate = Fate::new(self.seed, link, position);
        let ect = matches!(datagram.ecn, Some(Ecn::Ect0 | Ecn::Ect1));
        let passing = Passing { index: position, fate, len: datagram.payload.len(), ect };
        let place = Place { link, version: self.links[link].version(), node: 0 };
        self.schedule(now, place, passing, datagram);
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
        let OnItsWay { at, place, mut passing, mut datagram, .. } = on_its_way;
        let link = &mut self.links[place.link];
        let Some(placed) = link.node(place.version, place.node) else {
            link.stats.left(datagram.payload.len());
            self.note(at, &datagram, EventKind::Delivered);
            return Some(datagram);
        };
        let shared = if let Node::Shared(SharedNode(index)) = placed.node { Some(index) } else { None };
        let step = if let Some(common) = shared.and_then(|index| self.common.get_mut(index)) {
            let step = common.placed.pass(at, place.node, passing);
            common.stats.entered(passing.len);
            common.stats.count(step);
            if !matches!(step, Step::Lose | Step::Overflow) {
                common.stats.left(passing.len);
            }
            step
        } else {
            placed.pass(at, place.node, passing)
        };
        link.stats.count(step);
        if let Some(what) = EventKind::of(step) {
            self.note(at, &datagram, what);
        }
        let next = Place { node: place.node + 1, ..place };
        let delay = match step {
            Step::Lose | Step::Overflow => return None,
            Step::Forward(delay) | Step::HoldBack(delay) => delay,
            Step::Twice(after) => {
                let copy = Passing { fate: passing.fate.copy(), ..passing };
                self.schedule(at + after, next, copy, datagram.clone());
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
        self.schedule(at + delay, next, passing, datagram);
        None
    }

    fn schedule(&mut self, at: Duration, place: Place, passing: Passing, datagram: Datagram) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.on_their_way.push(Reverse(OnItsWay { at, sequence, place, passing, datagram }));
    }
}

/// For hosts that share the one time of a runtime.
#[cfg(feature = "sim")]
impl Network {
    /// Time has come to this moment; what happened on the links until then is still to be taken with
    /// [`Network::advance`].
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now.saturating_duration_since(self.start));
    }

    /// Hosts without a link between them have one of these nodes.
    pub fn link_everywhere(&mut self, nodes: Vec<Node>) {
        self.everywhere = Some(nodes);
    }

    /// Puts a NAT in front of a host, or moves the one that is there: others see the host at this address, its sockets at
    /// ports that they have not had before.
    pub fn place_behind(&mut self, inside: std::net::IpAddr, outside: std::net::IpAddr) {
        self.nats.place(inside, outside);
    }

    /// Begins to write down what happens.
    pub fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// What was written down since the last call.
    pub fn take_log(&mut self) -> Vec<Event> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// For hosts without sockets.
#[cfg(test)]
impl Network {
    /// Puts a NAT in front of a socket: from each of these times on, ascending, others see it at that address, and no
    /// longer reach it at the one before. Links are laid between the hosts' own addresses.
    pub fn nat(&mut self, inside: SocketAddr, outside: Vec<(Duration, SocketAddr)>) {
        self.nats.plan(inside, outside);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.start + self.now
    }

    /// Puts the datagrams of a batch on their link, now.
    pub fn send_batch(&mut self, from: SocketAddr, batch: &crate::packet::TxBatch) {
        let Some(meta) = batch.meta() else { return };
        for payload in batch.bytes().chunks(batch.segment_size().max(1)) {
            self.send(Datagram { from, to: meta.path.remote, ecn: meta.ecn, payload: payload.to_vec() });
        }
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
