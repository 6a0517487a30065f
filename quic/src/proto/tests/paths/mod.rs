//! Two connections with several addresses each: rebinding, migration, preferred addresses, and who interferes.

mod attacks;
mod migrate;
mod preferred;
mod rebinding;
mod signals;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pair::{Pair, Peer, Setup, bytes};
use crate::packet::{
    Burst, ConnectionId, Dir, Ecn, FourTuple, Level, LocalPath, Side, SocketId, SpaceId, StreamId, TxMeta,
};
use crate::proto::{Connection, Event};
use crate::wire::frame::{Frame, Frames};
use crate::wire::header::{self, SPIN};
use crate::wire::packet_number;

const MS: Duration = Duration::from_millis(1);

/// Where the server is.
fn server() -> SocketAddr {
    ([127, 0, 0, 1], 4433).into()
}

/// Where it would rather be: its second socket.
fn preferred() -> SocketAddr {
    ([127, 0, 0, 9], 4444).into()
}

/// Where the client's first socket is seen.
fn client() -> SocketAddr {
    ([127, 0, 0, 1], 5000).into()
}

/// The same host with another port.
fn port(port: u16) -> SocketAddr {
    SocketAddr::new(client().ip(), port)
}

/// Another host.
fn host(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 6000).into()
}

/// A datagram on its way.
#[derive(Debug, Clone)]
struct Flying {
    at: Instant,
    from: Side,
    /// As the sender sees it.
    leaves: FourTuple,
    /// As the receiver sees it.
    arrives: FourTuple,
    ecn: Option<Ecn>,
    /// It left with a mark, whatever became of that.
    marked: bool,
    bytes: Vec<u8>,
    /// Of the first 1-RTT packet in it, if there is one.
    seen: Option<Seen>,
}

/// A 1-RTT packet, opened.
#[derive(Debug, Clone)]
struct Seen {
    dcid: ConnectionId,
    spin: bool,
    frames: Vec<Frame>,
}

impl Flying {
    fn has(&self, what: impl Fn(&Frame) -> bool) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.frames.iter().any(what))
    }

    fn challenges(&self) -> bool {
        self.has(|frame| matches!(frame, Frame::PathChallenge(_)))
    }

    fn responds(&self) -> bool {
        self.has(|frame| matches!(frame, Frame::PathResponse(_)))
    }

    fn probes(&self) -> bool {
        !self.has(|frame| !frame.is_probing())
    }
}

/// Sees each datagram as it leaves, and may change it or where and when it arrives; false drops it.
type Tap = Box<dyn FnMut(&mut Flying) -> bool>;

struct World {
    pair: Pair,
    flying: Vec<Flying>,
    /// Where each socket of the client is seen from outside; what goes elsewhere gets lost.
    nat: BTreeMap<u16, SocketAddr>,
    /// The sockets of the server.
    servers: BTreeMap<u16, SocketAddr>,
    tap: Tap,
    /// All that was sent since the start of the test.
    log: Vec<Flying>,
    /// How many streams each end opened.
    streams: [u64; 2],
}

impl World {
    fn new(setup: Setup) -> Self {
        Self {
            pair: Pair::new(setup),
            flying: Vec::new(),
            nat: BTreeMap::from([(0, client()), (1, host(1)), (2, host(2)), (3, port(5003))]),
            servers: BTreeMap::from([(0, server()), (1, preferred())]),
            tap: Box::new(|_| true),
            log: Vec::new(),
            streams: [0; 2],
        }
    }

    /// After the handshake, with spare connection IDs on both ends.
    fn connected(setup: Setup) -> Self {
        let mut world = Self::new(setup);
        world.run_for(200 * MS);
        assert!(world.pair.client.confirmed() && world.pair.server().confirmed());
        world.forget();
        world
    }

    /// Begins to watch.
    fn forget(&mut self) {
        self.log.clear();
        self.pair.client.events.clear();
        self.pair.server().events.clear();
    }

    fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.pair.client,
            Side::Server => self.pair.server(),
        }
    }

    fn connection(&mut self, side: Side) -> &mut Connection {
        &mut self.peer(side).connection
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.pair.now + time;
        loop {
            self.drain();
            let server = self.pair.server.as_ref();
            let times = [self.pair.client.timeout, server.and_then(|server| server.timeout)];
            let next = times.into_iter().flatten().chain(self.flying.iter().map(|flying| flying.at)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.pair.now = self.pair.now.max(next);
            self.step();
        }
        self.pair.now = until;
    }

    fn step(&mut self) {
        let now = self.pair.now;
        for peer in [Some(&mut self.pair.client), self.pair.server.as_mut()].into_iter().flatten() {
            if peer.timeout.is_some_and(|at| at <= now) {
                peer.connection.handle_timeout(now);
            }
        }
        let (arrived, flying) =
            std::mem::take(&mut self.flying).into_iter().partition::<Vec<_>, _>(|flying| flying.at <= now);
        self.flying = flying;
        arrived.into_iter().for_each(|flying| self.deliver(flying));
    }

    fn deliver(&mut self, flying: Flying) {
        let now = self.pair.now;
        if flying.from == Side::Client && self.pair.server.is_none() {
            let incoming = self.pair.open(&flying.bytes).unwrap();
            return self.pair.serve(incoming);
        }
        let burst = Burst::single(now, flying.arrives, flying.ecn, flying.bytes);
        self.connection(flying.from.peer()).handle_burst(now, burst);
    }

    fn drain(&mut self) {
        let now = self.pair.now;
        for side in [Side::Client, Side::Server] {
            if side == Side::Server && self.pair.server.is_none() {
                continue;
            }
            for (meta, bytes) in self.peer(side).drain_with_meta(now) {
                let Some(mut flying) = self.launch(side, meta, bytes) else { continue };
                let goes = (self.tap)(&mut flying);
                self.log.push(flying.clone());
                if goes {
                    self.flying.push(flying);
                }
            }
        }
    }

    /// Looks up where a datagram goes, and who it will seem to come from.
    fn launch(&mut self, from: Side, meta: TxMeta, bytes: Vec<u8>) -> Option<Flying> {
        let now = self.pair.now;
        let socket_of = |table: &BTreeMap<u16, SocketAddr>, remote: SocketAddr| {
            table.iter().find(|(_, at)| **at == remote).map(|(socket, _)| SocketId(*socket))
        };
        let (mine, theirs) = match from {
            Side::Client => (&self.nat, &self.servers),
            Side::Server => (&self.servers, &self.nat),
        };
        let seen_from = mine[&meta.path.socket.0];
        // What goes nowhere is in the log all the same.
        let socket = socket_of(theirs, meta.path.remote);
        let arrives = FourTuple { socket: socket.unwrap_or(SocketId(99)), local_ip: None, remote: seen_from };
        let mut flying = Flying {
            at: now + super::pair::DELAY,
            from,
            leaves: meta.path,
            arrives,
            ecn: meta.ecn,
            marked: meta.ecn == Some(Ecn::Ect0),
            seen: self.see(from, &bytes),
            bytes,
        };
        if socket.is_none() {
            let _ = (self.tap)(&mut flying);
            self.log.push(flying);
            return None;
        }
        Some(flying)
    }

    /// Opens a 1-RTT packet with the keys of its sender.
    fn see(&mut self, from: Side, datagram: &[u8]) -> Option<Seen> {
        let mut packet = datagram.to_vec();
        if packet[0] & header::LONG_FORM != 0 {
            return None;
        }
        let cid_len = self.connection(from.peer()).local_cids.cid_len();
        let connection = self.connection(from);
        let expected = connection.spaces[SpaceId::Data.index()].sent.next();
        let keys = connection.keys.local(Level::OneRtt)?;
        let dcid = ConnectionId::try_from(&packet[1..=cid_len]).unwrap();
        let (first, truncated, pn_len) = keys.header.unprotect(&mut packet, 1 + cid_len)?;
        let pn = packet_number::decode(truncated, pn_len, expected);
        let (head, payload) = packet.split_at_mut(1 + cid_len + pn_len);
        let len = keys.packet.open(pn, head, payload)?;
        let mut frames = Frames::new(Bytes::copy_from_slice(&payload[..len]));
        let frames = std::iter::from_fn(|| frames.next().unwrap()).collect();
        Some(Seen { dcid, spin: first & SPIN != 0, frames })
    }

    /// Sends so many bytes and FIN on a new stream, and says which.
    fn send(&mut self, from: Side, len: usize) -> StreamId {
        let index = &mut self.streams[from as usize];
        let id = StreamId::new(from, Dir::Uni, *index);
        *index += 1;
        let streams = self.connection(from).streams();
        streams.write(id, bytes(len));
        streams.finish(id);
        id
    }

    /// A stream arrived whole.
    #[track_caller]
    fn assert_received(&mut self, at: Side, id: StreamId, len: usize) {
        let entry = self.peer(at).received.iter().find(|(known, ..)| *known == id);
        let (_, data, fin) = entry.expect("nothing of the stream arrived");
        assert!(*fin, "{} of {len} bytes", data.len());
        assert_eq!(data[..], bytes(len)[..]);
    }

    #[track_caller]
    fn assert_open(&mut self) {
        assert_eq!(self.pair.client.closed(), None);
        assert_eq!(self.pair.server().closed(), None);
    }

    fn migrate(&mut self, socket: u16) {
        let now = self.pair.now;
        self.connection(Side::Client).migrate(now, local(socket)).unwrap();
    }

    /// Lets time pass and counts.
    fn run_and_count<T>(&mut self, millis: u32, list: impl Fn(&mut Self) -> Vec<T>) -> usize {
        self.run_for(millis * MS);
        list(self).len()
    }

    /// What an end told of its path.
    fn path_events(&mut self, side: Side) -> Vec<(bool, FourTuple)> {
        let events = self.peer(side).events.iter();
        events
            .filter_map(|event| match event {
                Event::PathChanged(path) => Some((true, *path)),
                Event::MigrationFailed(path) => Some((false, *path)),
                _ => None,
            })
            .collect()
    }

    /// Bytes from the server to an address, and from there to it.
    fn bytes_with(&self, remote: SocketAddr) -> (usize, usize) {
        let sum = |from, at: fn(&Flying) -> SocketAddr| {
            let datagrams = self.log.iter().filter(|flying| flying.from == from && at(flying) == remote);
            datagrams.map(|flying| flying.bytes.len()).sum()
        };
        (sum(Side::Server, |flying| flying.leaves.remote), sum(Side::Client, |flying| flying.arrives.remote))
    }

    /// What an end sent.
    fn sent(&self, from: Side) -> impl Iterator<Item = &Flying> {
        self.log.iter().filter(move |flying| flying.from == from)
    }

    /// No connection ID was used on two paths, as far as they are visible (RFC 9000 §9.5).
    #[track_caller]
    fn assert_unlinkable(&self, from: Side, excused: impl Fn(SocketAddr) -> bool) {
        let mut used: Vec<(ConnectionId, u16, SocketAddr)> = Vec::new();
        for flying in self.sent(from) {
            let Some(seen) = &flying.seen else { continue };
            let path = (flying.leaves.socket.0, flying.leaves.remote);
            for (cid, socket, remote) in &used {
                let same = (*socket, *remote) == path;
                assert!(
                    *cid != seen.dcid || same || excused(path.1) || excused(*remote),
                    "{cid} on two paths"
                );
            }
            used.push((seen.dcid, path.0, path.1));
        }
    }
}

fn local(socket: u16) -> LocalPath {
    LocalPath { socket: SocketId(socket), local_ip: None::<IpAddr> }
}

fn tuple(socket: u16, remote: SocketAddr) -> FourTuple {
    FourTuple { socket: SocketId(socket), local_ip: None, remote }
}
