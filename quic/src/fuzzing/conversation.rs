//! A client and a server whose network, and whose peer, is the input: datagrams come late, twice, changed or never, and
//! either end may be handed any payload as if the other one had sealed it.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::input::Input;
use super::streams::{pattern, piece};
use super::wire::LIFETIMES;
use crate::config::{ClientVersions, FirstFlight, RandomConnectionIds, ServerVersions, TransportConfig};
use crate::crypto::tls::rustls::{RustlsClient, RustlsServer};
use crate::crypto::tls::{ClientResumption, ClientTls, ServerResumption};
use crate::crypto::{ResetKey, TokenKey};
use crate::packet::{
    Burst, DatagramFate, DatagramPolicy, Dir, FourTuple, Level, Rng, Side, SocketId, StreamId, TxBatch, epoch,
};
use crate::proto::connection::EndpointShared;
use crate::proto::endpoint::{AddressValidation, Incoming};
use crate::proto::streams::{RecvChunk, StreamEvent};
use crate::proto::{ClientArgs, Connection, DatagramEvent, Event, OutgoingDatagram, Output, ServerArgs};
use crate::wire::VarInt;

/// More turns of a connection than this without an end are a finding.
const MAX_TURNS: usize = 20_000;
/// Datagrams under way in one direction.
const MAX_QUEUE: usize = 400;
/// What datagrams that wait to be sent may count for.
const MAX_DATAGRAMS: usize = 20_000;
/// Operations of one input.
const MAX_STEPS: usize = 400;

struct Tls {
    client: Arc<dyn ClientTls>,
    server: RustlsServer,
}

static TLS: LazyLock<Tls> = LazyLock::new(|| {
    let certificate = CertificateDer::from(&include_bytes!("../../testdata/fuzzing/certificate.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../../testdata/fuzzing/key.der")[..]);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    Tls {
        client: Arc::new(RustlsClient::with_roots(roots, &[b"fuzz"]).unwrap()),
        server: RustlsServer::with_single_cert(vec![certificate], key.into(), &[b"fuzz"]).unwrap(),
    }
});

/// One end.
struct End {
    connection: Connection,
    side: Side,
    timeout: Option<Instant>,
    /// What has been written to its own streams, and what was read of the peer's.
    streams: Vec<Progress>,
    /// Somebody put words into its peer's mouth: what arrives need not be what was sent.
    deceived: bool,
    closed: bool,
    /// What became of the datagrams that are tracked.
    fates: Vec<DatagramFate>,
}

struct Progress {
    id: StreamId,
    written: u64,
    read: u64,
    over: bool,
}

impl End {
    fn new(connection: Connection, side: Side) -> Self {
        Self {
            connection,
            side,
            timeout: None,
            streams: Vec::new(),
            deceived: false,
            closed: false,
            fates: Vec::new(),
        }
    }

    fn progress(&mut self, id: StreamId) -> &mut Progress {
        let at = self.streams.iter().position(|stream| stream.id == id).unwrap_or_else(|| {
            self.streams.push(Progress { id, written: 0, read: 0, over: false });
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }

    /// Drains the connection; its datagrams go to `out`.
    fn drain(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        let mut batch = TxBatch::new(8);
        for _ in 0..MAX_TURNS {
            match self.connection.poll_output(now, Some(&mut batch)) {
                Output::Route(_) => {}
                Output::Event(Event::Stream(StreamEvent::Readable(id))) => self.read(id),
                Output::Event(Event::Datagram(event)) => self.on_datagram(event),
                Output::Event(Event::Closed(_)) => {
                    assert!(!self.closed, "closed twice");
                    self.closed = true;
                }
                Output::Event(_) => {}
                Output::Transmit => {
                    assert!(!batch.is_empty());
                    for datagram in batch.bytes().chunks(batch.segment_size()) {
                        if out.len() < MAX_QUEUE {
                            out.push_back(datagram.to_vec());
                        }
                    }
                    batch.clear();
                }
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
            }
        }
        panic!("a connection that never comes to rest");
    }

    /// What is special about it is in the bits of `which`. All of its bytes tell its length.
    fn send_datagram(&mut self, now: Instant, which: u8, len: usize) {
        let datagram = OutgoingDatagram {
            data: vec![len as u8; len].into(),
            deadline: (which & 1 != 0).then(|| now + Duration::from_millis(u64::from(which))),
            level: i32::from(which >> 6),
            track: (which & 2 != 0).then_some(self.fates.len() as u64),
        };
        let policy = if which & 4 == 0 { DatagramPolicy::DropOldest } else { DatagramPolicy::DropNewest };
        let track = datagram.track;
        if self.connection.send_datagram(datagram, policy).is_ok() && track.is_some() {
            self.fates.push(DatagramFate::Queued);
        }
        assert!(self.connection.datagrams().queued() <= MAX_DATAGRAMS);
    }

    fn on_datagram(&mut self, event: DatagramEvent) {
        match event {
            DatagramEvent::Readable => {
                while let Some(data) = self.connection.datagrams().read() {
                    assert!(self.deceived || data.iter().all(|byte| *byte == data.len() as u8));
                }
            }
            DatagramEvent::Fate { track, fate } => {
                let before = std::mem::replace(&mut self.fates[track as usize], fate);
                let late = (before, fate) == (DatagramFate::Lost, DatagramFate::Acknowledged);
                assert!(late || !before.is_final(), "{before:?}, and then {fate:?}");
            }
        }
    }

    fn read(&mut self, id: StreamId) {
        let deceived = self.deceived;
        while let Some(chunk) = self.connection.streams().read(id) {
            let progress = self.progress(id);
            match chunk {
                RecvChunk::Data(bytes) => {
                    let offset = progress.read;
                    progress.read += bytes.len() as u64;
                    if !deceived {
                        assert!(bytes.iter().zip(offset..).all(|(byte, at)| *byte == pattern(at)));
                    }
                    self.connection.streams().consumed(id, bytes.len() as u64);
                }
                RecvChunk::Finished | RecvChunk::Reset(_) | RecvChunk::ResetAt(_) => {
                    self.connection.streams().release(id);
                    return;
                }
            }
        }
    }

    fn write(&mut self, which: u8, len: usize) {
        let dir = if which & 1 == 0 { Dir::Bi } else { Dir::Uni };
        let id = StreamId::new(self.side, dir, u64::from(which >> 1 & 7));
        if id.index() < self.connection.streams().local_limit(dir) && !self.progress(id).over {
            let offset = self.progress(id).written;
            self.progress(id).written += len as u64;
            self.connection.streams().write(id, piece(offset, len));
        }
    }

    fn end_stream(&mut self, which: u8) {
        let Some(index) = usize::from(which >> 2).checked_rem(self.streams.len()) else { return };
        let id = self.streams[index].id;
        let streams = self.connection.streams();
        if id.initiator() != self.side {
            return streams.stop(id, VarInt::from(5u32));
        }
        match which & 3 {
            0 | 2 => streams.finish(id),
            1 => streams.reset(id, VarInt::from(6u32)),
            // In vain if the peer does not know it.
            _ => drop(streams.reset_at(id, VarInt::from(6u32), u64::from(which))),
        }
        self.streams[index].over = true;
    }
}

struct Conversation {
    now: Instant,
    client: End,
    server: Option<End>,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    shared: EndpointShared,
    config: Arc<TransportConfig>,
}

fn path(port: u16) -> FourTuple {
    FourTuple { socket: SocketId(0), local_ip: None, remote: ([10, 0, 0, 1], port).into() }
}

impl Conversation {
    fn new() -> Self {
        let shared = EndpointShared {
            connection_ids: Arc::new(RandomConnectionIds::new(8)),
            reset_key: Arc::new(ResetKey::new(&[1; 32])),
        };
        let config = TransportConfig::builder()
            .datagram_send_buffer_size(MAX_DATAGRAMS)
            .datagram_receive_buffer_size(MAX_DATAGRAMS);
        let config = Arc::new(config.build().unwrap());
        let args = ClientArgs {
            versions: &ClientVersions::default(),
            first_flight: &FirstFlight::default(),
            path: path(4433),
            server_name: "localhost",
            tokens: None,
            tls: &TLS.client,
            resumption: &ClientResumption::default(),
            config: config.clone(),
            endpoint: &shared,
            rng: Rng::from_u64(1),
        };
        let client = End::new(Connection::client(epoch(), args).unwrap(), Side::Client);
        let queue = VecDeque::new;
        Self { now: epoch(), client, server: None, to_server: queue(), to_client: queue(), shared, config }
    }

    fn drain(&mut self) {
        self.client.drain(self.now, &mut self.to_server);
        if let Some(server) = &mut self.server {
            server.drain(self.now, &mut self.to_client);
        }
    }

    fn deliver(&mut self, to_server: bool, datagram: Vec<u8>, port: u16) {
        let now = self.now;
        let end = match (to_server, &mut self.server) {
            (true, None) => return self.accept(&datagram),
            (true, Some(server)) => server,
            (false, _) => &mut self.client,
        };
        end.connection.handle_burst(now, Burst::single(now, path(port), None, datagram));
    }

    fn accept(&mut self, datagram: &[u8]) {
        let key = TokenKey::new(&[2; 32], Duration::from_secs(3600));
        let validation = AddressValidation { key: &key, lifetimes: LIFETIMES, log: None };
        let (now, wall) = (self.now, SystemTime::UNIX_EPOCH);
        let Ok(incoming) = Incoming::open(now, wall, path(5000), None, datagram, validation) else { return };
        let args = ServerArgs {
            versions: &ServerVersions::default(),
            tls: &TLS.server,
            preferred_address: None,
            new_tokens: None,
            resumption: &ServerResumption::default(),
            config: self.config.clone(),
            endpoint: &self.shared,
            rng: Rng::from_u64(2),
        };
        let connection = Connection::server(self.now, incoming, args).unwrap();
        self.server = Some(End::new(connection, Side::Server));
    }

    /// Carries all datagrams, and lets so much time pass.
    fn calm(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..MAX_TURNS {
            self.drain();
            if let Some(datagram) = self.to_server.pop_front() {
                self.deliver(true, datagram, 5000);
            } else if let Some(datagram) = self.to_client.pop_front() {
                self.deliver(false, datagram, 4433);
            } else {
                let timeouts = [self.client.timeout, self.server.as_ref().and_then(|server| server.timeout)];
                let next = timeouts.into_iter().flatten().min();
                let Some(next) = next.filter(|next| *next <= end) else {
                    self.now = end;
                    return;
                };
                self.now = self.now.max(next);
                self.expire();
            }
        }
        panic!("a conversation that never comes to rest");
    }

    fn expire(&mut self) {
        for end in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
            if end.timeout.is_some_and(|at| at <= self.now) {
                end.connection.handle_timeout(self.now);
            }
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let to_server = op & 0x10 == 0;
        match op % 16 {
            0 => self.calm(Duration::from_millis(u64::from(input.byte()) * 4)),
            1 => {
                self.now += Duration::from_millis(input.number() % 100_000);
                self.expire();
            }
            2..=6 => self.carry(op, to_server, input),
            7 => {
                let len = usize::from(input.short());
                let datagram = input.take(len).to_vec();
                self.deliver(to_server, datagram, 5000);
            }
            8 | 9 => self.inject(op, to_server, input),
            _ => {
                let (which, len) = (input.byte(), usize::from(input.short() % 20_000));
                let now = self.now;
                let end = if to_server { self.server.as_mut() } else { Some(&mut self.client) };
                let Some(end) = end.filter(|end| !end.closed) else { return };
                match op % 16 {
                    10..=12 => end.write(which, len),
                    13 => end.end_stream(which),
                    14 => drop(end.connection.update_keys(now)),
                    _ if which == 0 => end.connection.close(now, VarInt::from(1u32), piece(0, len % 100)),
                    _ => end.send_datagram(now, which, len % 2000),
                }
            }
        }
        self.drain();
    }

    /// What becomes of the next datagram.
    fn carry(&mut self, op: u8, to_server: bool, input: &mut Input<'_>) {
        let queue = if to_server { &mut self.to_server } else { &mut self.to_client };
        let Some(mut datagram) = queue.pop_front() else { return };
        let mut port = if to_server { 5000 } else { 4433 };
        match op % 16 {
            2 => {}
            3 => return,
            4 => return queue.push_back(datagram),
            5 => {
                let at = usize::from(input.short()) % datagram.len();
                datagram[at] ^= input.byte();
            }
            _ if op & 0x20 == 0 => queue.push_back(datagram.clone()),
            _ => port += u16::from(input.byte() % 4),
        }
        self.deliver(to_server, datagram, port);
    }

    /// A payload as if the peer had sealed it.
    fn inject(&mut self, op: u8, to_server: bool, input: &mut Input<'_>) {
        let level = [Level::OneRtt, Level::OneRtt, Level::Handshake, Level::Initial][usize::from(op >> 6)];
        let len = usize::from(input.byte());
        let payload = input.take(len);
        let now = self.now;
        let end = if to_server { self.server.as_mut() } else { Some(&mut self.client) };
        if let Some(end) = end {
            end.deceived = true;
            end.connection.inject(now, level, payload);
        }
    }
}

/// A whole conversation.
pub fn conversation(input: &[u8]) {
    let mut input = Input(input);
    let mut conversation = Conversation::new();
    conversation.drain();
    if input.byte() & 1 == 0 {
        conversation.calm(Duration::from_millis(100));
    }
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        conversation.step(&mut input);
    }
    // Whatever happened: after a time of silence both are gone.
    conversation.to_server.clear();
    conversation.to_client.clear();
    for _ in 0..1000 {
        let ends = [Some(&mut conversation.client), conversation.server.as_mut()];
        let next = ends.into_iter().flatten().filter_map(|end| end.timeout).min();
        let Some(next) = next else { break };
        conversation.now = conversation.now.max(next);
        conversation.expire();
        conversation.drain();
        conversation.to_server.clear();
        conversation.to_client.clear();
    }
    assert!(conversation.client.closed, "the client waits for ever");
    assert!(conversation.server.is_none_or(|server| server.closed), "the server waits for ever");
}
