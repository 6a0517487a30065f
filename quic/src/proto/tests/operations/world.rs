//! Two connections, the datagrams between them, and the time.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::model::{App, piece};
use super::{Call, Fate, Step};
use crate::config::DatagramPolicy;
use crate::error::ConnectionError;
use crate::packet::{Burst, Ecn, FourTuple, LocalPath, Priority, Side, SocketId, StreamId, TxBatch};
use crate::proto::streams::RecvChunk;
use crate::proto::tests::pair::Pair;
use crate::proto::{Connection, DatagramEvent, Event, OutgoingDatagram, Output};
use crate::wire::VarInt;

const MS: Duration = Duration::from_millis(1);
/// More turns at one moment are an endless loop.
const MAX_TURNS: usize = 10_000;
/// Everything ends within this time once nothing is in its way.
const PATIENCE: Duration = Duration::from_secs(300);
/// Sockets that the client may move to.
const SOCKETS: u16 = 3;

pub(super) struct World {
    now: Instant,
    ends: [End; 2],
    /// On their way to the client, and to the server.
    queues: [VecDeque<Packet>; 2],
    /// Where the client is seen at first.
    client: SocketAddr,
    server: SocketAddr,
    rebindings: u16,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<Ecn>,
    payload: Vec<u8>,
}

struct End {
    connection: Connection,
    app: App,
    timeout: Option<Instant>,
    closed: bool,
    /// Datagrams that were sent, and those that the peer's application read.
    datagrams: [BTreeSet<u64>; 2],
    /// What a closed connection has answered.
    answers: u32,
}

impl End {
    fn new(connection: Connection, side: Side) -> Self {
        let datagrams = Default::default();
        Self { connection, app: App::new(side), timeout: None, closed: false, datagrams, answers: 0 }
    }

    fn consume(&mut self, id: StreamId) {
        let owed = std::mem::take(&mut self.app.receiving.get_mut(&id).unwrap().owed);
        if owed > 0 {
            self.connection.streams().consumed(id, owed);
        }
    }
}

impl World {
    /// After the handshake.
    pub(super) fn new(mut pair: Pair) -> Self {
        pair.run_for(MS * 500);
        assert!(pair.client.confirmed());
        let now = pair.now;
        let server = pair.server.take().unwrap().connection;
        let client = pair.client.connection;
        let addresses = [server.path().remote, client.path().remote];
        let mut world = Self {
            now,
            ends: [End::new(client, Side::Client), End::new(server, Side::Server)],
            queues: Default::default(),
            client: addresses[0],
            server: addresses[1],
            rebindings: 0,
            closed: false,
        };
        world.drain();
        world
    }

    /// Where the server sees a socket of the client.
    fn seen(&self, socket: SocketId) -> SocketAddr {
        let mut seen = self.client;
        seen.set_port(seen.port() + socket.0 * 1000 + self.rebindings);
        seen
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Call(side, call) => self.call(*side as usize, call),
            Step::Datagrams { to, fate, count } => {
                for _ in 0..*count {
                    self.carry(*to as usize, fate);
                }
            }
            Step::Time(millis) => self.wait(MS * u32::from(*millis)),
            Step::Calm => self.calm(),
            Step::Rebind => self.rebindings += 1,
        }
        self.drain();
    }

    fn call(&mut self, side: usize, call: &Call) {
        let end = &mut self.ends[side];
        if end.closed {
            return;
        }
        let nth = |at: u8, ids: Vec<StreamId>| ids.get(usize::from(at) % ids.len().max(1)).copied();
        let sending = |at: u8, app: &App| nth(at, app.sending.keys().copied().collect());
        let receiving = |at: u8, app: &App| nth(at, app.receiving.keys().copied().collect());
        let (app, connection) = (&mut end.app, &mut end.connection);
        match *call {
            Call::Open(dir) => app.open(dir, connection.streams().local_limit(dir)),
            Call::Write { stream, len } => {
                let Some(id) = sending(stream, app) else { return };
                let (side, sending) = (app.side, app.sending.get_mut(&id).unwrap());
                // What comes too late is ignored.
                connection.streams().write(id, piece(id, side, sending.written, len.into()));
                sending.written += if sending.has_ended() { 0 } else { len.into() };
            }
            Call::Finish(stream) => {
                let Some(id) = sending(stream, app) else { return };
                connection.streams().finish(id);
                let sending = app.sending.get_mut(&id).unwrap();
                sending.finished |= !sending.has_ended();
            }
            Call::Reset(stream) => {
                let Some(id) = sending(stream, app) else { return };
                connection.streams().reset(id, VarInt::from(u32::from(stream)));
                app.sending.get_mut(&id).unwrap().reset(VarInt::from(u32::from(stream)), 0);
            }
            Call::ResetAt { stream, keep } => {
                let Some(id) = sending(stream, app) else { return };
                let code = VarInt::from(u32::from(stream));
                if connection.streams().reset_at(id, code, keep.into()) {
                    app.sending.get_mut(&id).unwrap().reset(code, keep.into());
                }
            }
            Call::Stop(stream) => {
                let Some(id) = receiving(stream, app) else { return };
                connection.streams().stop(id, VarInt::from(u32::from(stream)));
                app.receiving.get_mut(&id).unwrap().stopped = true;
            }
            Call::Read { stream, pieces, consume } => {
                if let Some(id) = receiving(stream, app) {
                    self.read(side, id, pieces.into(), consume);
                }
            }
            Call::Consume(stream) => {
                if let Some(id) = receiving(stream, app) {
                    end.consume(id);
                }
            }
            Call::Priority { stream, level } => {
                let Some(id) = sending(stream, app) else { return };
                connection.streams().set_priority(id, Priority::integer(level.into()));
            }
            Call::Streams { dir, count } => connection.streams().set_max_concurrent(dir, count.into()),
            Call::Window(bytes) => connection.streams().set_receive_window(bytes.into()),
            Call::UpdateKeys => drop(connection.update_keys(self.now)),
            Call::RotateIds => connection.rotate_connection_ids(),
            Call::Migrate if side == 0 => {
                let socket = SocketId((connection.path().socket.0 + 1) % SOCKETS);
                let _ = connection.migrate(self.now, LocalPath { socket, local_ip: None });
            }
            Call::Migrate => {}
            Call::Datagram(len) => {
                let number = end.datagrams[0].len() as u64;
                end.datagrams[0].insert(number);
                let data = [&number.to_be_bytes()[..], &vec![0; len.into()]].concat().into();
                let datagram = OutgoingDatagram { data, ..OutgoingDatagram::default() };
                drop(connection.send_datagram(datagram, DatagramPolicy::DropOldest));
            }
            Call::Close => {
                connection.close(self.now, VarInt::from(7u32), Bytes::new());
                self.closed = true;
            }
        }
    }

    fn read(&mut self, side: usize, id: StreamId, pieces: usize, consume: bool) {
        let [client, server] = &mut self.ends;
        let (end, peer) = if side == 0 { (client, server) } else { (server, client) };
        for _ in 0..pieces {
            let Some(chunk) = end.connection.streams().read(id) else {
                end.app.receiving.get_mut(&id).unwrap().readable = false;
                break;
            };
            let last = end.app.on_chunk(id, &chunk, &peer.app);
            if let RecvChunk::Data(data) = chunk {
                end.app.receiving.get_mut(&id).unwrap().owed += data.len() as u64;
            }
            if last {
                end.connection.streams().release(id);
            }
        }
        if consume {
            end.consume(id);
        }
    }

    /// What becomes of the next datagram.
    fn carry(&mut self, to: usize, fate: &Fate) {
        let Some(mut packet) = self.queues[to].pop_front() else { return };
        match *fate {
            Fate::Arrive => {}
            Fate::Lose => return,
            Fate::Copy => self.queues[to].push_back(packet.clone()),
            Fate::HoldBack => return self.queues[to].push_back(packet),
            Fate::Change(at) => {
                let at = usize::from(at) % packet.payload.len();
                packet.payload[at] ^= 0x55;
            }
            Fate::Mark => packet.ecn = packet.ecn.and(Some(Ecn::Ce)),
        }
        self.deliver(to, packet);
        self.drain();
    }

    fn deliver(&mut self, to: usize, packet: Packet) {
        let sockets = (0..SOCKETS).map(SocketId);
        let socket = match to {
            0 => sockets.into_iter().find(|socket| self.seen(*socket) == packet.to),
            _ => Some(SocketId(0)),
        };
        // The NAT lets nobody in where the client was.
        let Some(socket) = socket else { return };
        let end = &mut self.ends[to];
        if end.closed {
            let close = end.connection.tombstone().and_then(|tombstone| tombstone.close);
            end.answers += 1;
            if let Some(close) = close.filter(|_| end.answers <= 20) {
                let Packet { from, to: at, .. } = packet;
                self.queues[1 - to].push_back(Packet {
                    from: at,
                    to: from,
                    ecn: None,
                    payload: close.to_vec(),
                });
            }
            return;
        }
        let path = FourTuple { socket, local_ip: None, remote: packet.from };
        end.connection.handle_burst(self.now, Burst::single(self.now, path, packet.ecn, packet.payload));
    }

    /// Lets both connections do what they want to do at this moment.
    fn drain(&mut self) {
        for side in 0..2 {
            let mut batch = TxBatch::new(8);
            for turn in 0.. {
                assert!(turn < MAX_TURNS, "a connection that never comes to rest");
                match self.ends[side].connection.poll_output(self.now, Some(&mut batch)) {
                    Output::Route(_) => {}
                    Output::Event(event) => self.on_event(side, event),
                    Output::Transmit => {
                        let meta = batch.meta().unwrap();
                        let from = if side == 0 { self.seen(meta.path.socket) } else { self.server };
                        for payload in batch.bytes().chunks(batch.segment_size()) {
                            let (to, payload) = (meta.path.remote, payload.to_vec());
                            self.queues[1 - side].push_back(Packet { from, to, ecn: meta.ecn, payload });
                        }
                        batch.clear();
                    }
                    Output::Timeout(at) => {
                        self.ends[side].timeout = at;
                        break;
                    }
                }
            }
        }
    }

    fn on_event(&mut self, side: usize, event: Event) {
        let end = &mut self.ends[side];
        match event {
            Event::Stream(event) => end.app.on_event(&event),
            Event::Closed(error) => {
                let asked = matches!(&error, ConnectionError::Application { code, .. } if code.into_inner() == 7)
                    || matches!(&error, ConnectionError::LocallyClosed);
                assert!(self.closed && asked && !end.closed, "{error:?}");
                end.closed = true;
            }
            Event::Datagram(DatagramEvent::Readable) => {
                let mut arrived = VecDeque::new();
                end.connection.datagrams().read_all(&mut arrived);
                let peer = &mut self.ends[1 - side];
                for datagram in arrived {
                    let number = u64::from_be_bytes(*datagram.first_chunk().unwrap());
                    assert!(peer.datagrams[0].contains(&number) && peer.datagrams[1].insert(number));
                }
            }
            _ => {}
        }
    }

    /// Time passes, and nothing arrives.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for turn in 0.. {
            assert!(turn < MAX_TURNS, "time does not pass");
            let next = self.ends.iter().filter_map(|end| end.timeout).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.expire();
            self.drain();
        }
        self.now = until;
    }

    fn expire(&mut self) {
        for end in &mut self.ends {
            if end.timeout.is_some_and(|at| at <= self.now) {
                end.connection.handle_timeout(self.now);
            }
        }
    }

    /// Carries all datagrams until none is left.
    fn calm(&mut self) {
        for turn in 0.. {
            assert!(turn < MAX_TURNS, "a conversation that never comes to rest");
            self.drain();
            let Some(to) = (0..2).find(|to| !self.queues[*to].is_empty()) else { break };
            let packet = self.queues[to].pop_front().unwrap();
            self.deliver(to, packet);
        }
    }

    /// Nothing is in the way any more, and the applications bring to an end what they have begun.
    pub(super) fn settle(&mut self) {
        for end in &mut self.ends {
            if end.closed {
                continue;
            }
            end.connection.streams().set_receive_window(1 << 20);
            let ids: Vec<_> = end.app.sending.keys().copied().collect();
            for id in ids {
                end.connection.streams().finish(id);
                let sending = end.app.sending.get_mut(&id).unwrap();
                sending.finished |= !sending.has_ended();
            }
        }
        let last = self.now + PATIENCE;
        while !self.is_over() {
            assert!(self.now < last, "{}", self.describe());
            self.calm();
            for side in 0..2 {
                let ids: Vec<_> = self.ends[side].app.receiving.keys().copied().collect();
                let closed = self.ends[side].closed;
                for id in ids.into_iter().filter(|_| !closed) {
                    let readable = self.ends[side].app.receiving[&id].readable;
                    self.read(side, id, if readable { usize::MAX } else { 0 }, true);
                }
                // Streams of the peer that came into being meanwhile.
                let end = &mut self.ends[side];
                for (id, sending) in end.app.sending.iter_mut().filter(|(_, sending)| !sending.has_ended()) {
                    end.connection.streams().finish(*id);
                    sending.finished = true;
                }
            }
            self.calm();
            self.wait(MS * 5);
        }
        if !self.closed {
            let [client, server] = &self.ends;
            client.app.check_end(&server.app);
            server.app.check_end(&client.app);
        }
    }

    fn is_over(&mut self) -> bool {
        if self.closed {
            return self.ends.iter().all(|end| end.closed);
        }
        self.ends.iter_mut().all(|end| {
            let bytes = end.connection.stats().bytes_in_flight;
            end.app.is_done() && end.connection.streams().is_empty() && bytes == 0
        })
    }

    fn describe(&mut self) -> String {
        let describe = |end: &mut End| {
            let End { connection, app, .. } = end;
            format!("{:?} {} streams, {:#?}", connection.stats(), connection.streams().len(), app)
        };
        self.ends.each_mut().map(describe).join("\n")
    }
}
