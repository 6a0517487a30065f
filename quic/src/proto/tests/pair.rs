//! A client and a server joined by two queues with a fixed delay, in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::config::{
    BloomTokenLog, ClientVersions, FirstFlight, MemoryTokenStore, RandomConnectionIds, ServerVersions,
    TokenIssuer, TokenStore as _, TransportConfig, Version,
};
use crate::crypto::tls::rustls::{RustlsClient, RustlsClientBuilder, RustlsServer, RustlsServerBuilder};
use crate::crypto::tls::{
    ClientResumption, ClientTls, EarlyData, ExportError, HandshakeData, KeyChange, ServerResumption,
    ServerTls, Session, TlsConfigError,
};
use crate::crypto::{DirectionKeys, ResetKey, TokenKey, TokenLifetimes};
use crate::error::ConnectionError;
use crate::packet::{
    Burst, FourTuple, Level, PreferredAddress, Rng, SocketId, StreamId, TransportError, TxBatch, TxMeta,
    epoch,
};
use crate::proto::connection::EndpointShared;
use crate::proto::endpoint::{Class, Incoming, Rejected, classify, has_quic_bit, version_negotiation};
use crate::proto::streams::{RecvChunk, StreamEvent};
use crate::proto::{
    AddressValidation, ClientArgs, Connection, Event, NewTokens, Output, RouteChange, ServerArgs,
};

pub const DELAY: Duration = Duration::from_millis(10);

/// The time of day, for tokens.
pub const WALL: SystemTime = SystemTime::UNIX_EPOCH;

const SECOND: Duration = Duration::from_secs(1);

/// One end: its connection and everything that came out of it.
pub struct Peer {
    pub connection: Connection,
    pub events: Vec<Event>,
    pub routes: Vec<RouteChange>,
    pub received: Vec<(StreamId, Vec<u8>, bool)>,
    /// Streams that began before the handshake.
    pub early: Vec<StreamId>,
    pub timeout: Option<Instant>,
    pub inbox: VecDeque<(Instant, Vec<u8>)>,
}

/// Another value in place of one.
pub type Change<T> = fn(T) -> T;

/// What a pair is made with.
pub struct Setup {
    pub client: TransportConfig,
    pub server: TransportConfig,
    pub server_name: &'static str,
    pub alpn: [&'static [u8]; 2],
    pub retry: bool,
    pub preferred_address: Option<PreferredAddress>,
    /// Length of the connection IDs of client and server.
    pub cid_len: [usize; 2],
    /// The token of the client's first Initial.
    pub token: Bytes,
    /// How many tokens the server gives.
    pub new_tokens: u8,
    /// Further names in the certificate, to make it large.
    pub more_names: usize,
    /// What is special about the TLS of both ends.
    pub tls: (Change<RustlsClientBuilder>, Change<RustlsServerBuilder>),
    /// What becomes of the transport parameters that each end encodes.
    pub client_params: fn(Vec<u8>) -> Vec<u8>,
    pub server_params: fn(Vec<u8>) -> Vec<u8>,
    /// Of both ends; version 1 alone unless a test says otherwise.
    pub versions: (ClientVersions, ServerVersions),
    /// Plain unless a test says otherwise.
    pub first_flight: FirstFlight,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        // Probes for larger datagrams come unasked; tests that want them say so.
        let config = TransportConfig::builder().mtu_upper_bound(None).build().unwrap();
        Self {
            client: config.clone(),
            server: config,
            server_name: "localhost",
            alpn: [b"test"; 2],
            retry: false,
            preferred_address: None,
            cid_len: [8; 2],
            token: Bytes::new(),
            new_tokens: 0,
            more_names: 0,
            tls: (|client| client, |server| server),
            client_params: |params| params,
            server_params: |params| params,
            versions: (
                ClientVersions::new(&[Version::V1]).unwrap(),
                ServerVersions::new(&[Version::V1]).unwrap(),
            ),
            first_flight: FirstFlight::plain(),
            seed: 7,
        }
    }
}

/// Looks at a datagram and its position, may change it; `false` drops it.
pub type Tamper = Box<dyn FnMut(usize, &mut Vec<u8>) -> bool>;

pub struct Pair {
    pub now: Instant,
    pub client: Peer,
    pub server: Option<Peer>,
    /// Datagrams from the client are given to this before they arrive; `false` drops them.
    pub to_server: Tamper,
    pub to_client: Tamper,
    sent: [usize; 2],
    waiting: VecDeque<(Instant, Vec<u8>)>,
    pub tls: Tls,
    shared: EndpointShared,
    pub tokens: Arc<TokenKey>,
    pub token_log: BloomTokenLog,
    setup: Setup,
    rng: Rng,
}

/// TLS of both ends, with what they remember of earlier connections.
#[derive(Clone)]
pub struct Tls {
    pub client: RustlsClient,
    pub server: RustlsServer,
    pub client_sessions: ClientResumption,
    pub server_sessions: ServerResumption,
}

impl Tls {
    pub fn new(setup: &Setup) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let more = (0..setup.more_names).map(|n| format!("host-{n:04}.example"));
        let names: Vec<String> = more.chain(["localhost".into()]).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let chain = vec![cert.der().clone()];
        let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let client = RustlsClient::builder().roots(roots).alpn(&setup.alpn[..1]);
        let server = RustlsServer::builder().cert(chain, private).alpn(&setup.alpn[1..]);
        Self {
            client: (setup.tls.0)(client).build().unwrap(),
            server: (setup.tls.1)(server).build().unwrap(),
            client_sessions: ClientResumption::default(),
            server_sessions: ServerResumption::default(),
        }
    }
}

/// TLS that sends other transport parameters than it was given.
#[derive(Debug)]
struct Tampering<T>(T, fn(Vec<u8>) -> Vec<u8>);

impl<T: ClientTls> ClientTls for Tampering<T> {
    fn start(
        &self,
        version: u32,
        name: &str,
        params: Vec<u8>,
        resumption: &ClientResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError> {
        self.0.start(version, name, self.1(params), resumption)
    }

    fn resumable(&self, version: u32, name: &str, resumption: &ClientResumption) -> bool {
        self.0.resumable(version, name, resumption)
    }
}

impl<T: ServerTls> ServerTls for Tampering<T> {
    fn start(
        &self,
        version: u32,
        params: Vec<u8>,
        resumption: &ServerResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError> {
        Ok(Box::new(TamperingSession(self.0.start(version, self.1(params), resumption)?, self.1)))
    }
}

/// What a server says in the version that it chose is tampered with, too.
struct TamperingSession(Box<dyn Session>, fn(Vec<u8>) -> Vec<u8>);

impl Session for TamperingSession {
    fn read(&mut self, level: Level, data: &[u8]) -> Result<(), TransportError> {
        self.0.read(level, data)
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        self.0.write(out)
    }

    fn change_version(&mut self, version: u32, params: Option<Vec<u8>>) {
        self.0.change_version(version, params.map(self.1));
    }

    fn read_level(&self) -> Level {
        self.0.read_level()
    }

    fn early_keys(&mut self) -> Option<DirectionKeys> {
        self.0.early_keys()
    }

    fn early_data(&self) -> EarlyData {
        self.0.early_data()
    }

    fn peer_transport_parameters(&self) -> Option<&[u8]> {
        self.0.peer_transport_parameters()
    }

    fn handshake_data(&self) -> Option<HandshakeData> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.0.peer_identity()
    }

    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportError> {
        self.0.export_keying_material(out, label, context)
    }
}

pub fn tuple(port: u16) -> FourTuple {
    FourTuple { socket: SocketId(0), local_ip: None, remote: ([127, 0, 0, 1], port).into() }
}

impl Peer {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            events: Vec::new(),
            routes: Vec::new(),
            received: Vec::new(),
            early: Vec::new(),
            timeout: None,
            inbox: VecDeque::new(),
        }
    }

    /// Drains everything; returns the datagrams.
    pub fn drain(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.drain_with_meta(now).into_iter().map(|(_, datagram)| datagram).collect()
    }

    /// Drains everything; returns the datagrams, where they go, and with which mark.
    pub fn drain_with_meta(&mut self, now: Instant) -> Vec<(TxMeta, Vec<u8>)> {
        let mut out = Vec::new();
        let mut batch = TxBatch::new(10);
        loop {
            match self.connection.poll_output(now, Some(&mut batch)) {
                Output::Route(change) => self.routes.push(change),
                Output::Event(event) => self.on_event(event),
                Output::Transmit => {
                    let meta = batch.meta().unwrap();
                    let datagrams = batch.bytes().chunks(batch.segment_size());
                    out.extend(datagrams.map(|datagram| (meta, datagram.to_vec())));
                    batch.clear();
                }
                Output::Timeout(at) => {
                    self.timeout = at;
                    return out;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Stream(StreamEvent::Opened(id)) = event {
            self.early.extend(self.connection.streams().is_early(id).then_some(id));
        }
        if let Event::Stream(StreamEvent::Readable(id)) = event {
            let entry = match self.received.iter().position(|(known, ..)| *known == id) {
                Some(index) => index,
                None => {
                    self.received.push((id, Vec::new(), false));
                    self.received.len() - 1
                }
            };
            while let Some(chunk) = self.connection.streams().read(id) {
                match chunk {
                    RecvChunk::Data(bytes) => {
                        self.connection.streams().consumed(id, bytes.len() as u64);
                        self.received[entry].1.extend_from_slice(&bytes);
                    }
                    RecvChunk::Finished => {
                        self.received[entry].2 = true;
                        self.connection.streams().release(id);
                        break;
                    }
                    RecvChunk::Reset(_) | RecvChunk::ResetAt(_) => {
                        self.connection.streams().release(id);
                        break;
                    }
                }
            }
        }
        self.events.push(event);
    }

    pub fn closed(&self) -> Option<&ConnectionError> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(error) => Some(error),
            _ => None,
        })
    }

    pub fn connected(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Connected))
    }

    pub fn confirmed(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::HandshakeConfirmed))
    }
}

impl Pair {
    pub fn new(setup: Setup) -> Self {
        let tls = Tls::new(&setup);
        Self::with(setup, tls)
    }

    /// The two connect again, and remember.
    pub fn again(&self, setup: Setup) -> Self {
        Self::with(setup, self.tls.clone())
    }

    pub fn with(setup: Setup, tls: Tls) -> Self {
        let shared = EndpointShared {
            connection_ids: Arc::new(RandomConnectionIds::new(setup.cid_len[1])),
            reset_key: Arc::new(ResetKey::new(&[1; 32])),
        };
        let connection_ids = Arc::new(RandomConnectionIds::new(setup.cid_len[0]));
        let client_shared = EndpointShared { connection_ids, ..shared.clone() };
        let mut rng = Rng::from_u64(setup.seed);
        let tokens = MemoryTokenStore::default();
        if !setup.token.is_empty() {
            let (address, version) = (tuple(4433).remote, setup.versions.0.first_flight().as_u32());
            let server_name = setup.server_name.to_owned();
            tokens.put(&TokenIssuer { server_name, address, version }, setup.token.clone());
        }
        let args = ClientArgs {
            versions: &setup.versions.0,
            first_flight: &setup.first_flight,
            path: tuple(4433),
            server_name: setup.server_name,
            tokens: Some(&tokens),
            tls: &(Arc::new(Tampering(tls.client.clone(), setup.client_params)) as Arc<dyn ClientTls>),
            resumption: &tls.client_sessions,
            config: Arc::new(setup.client.clone()),
            endpoint: &client_shared,
            rng: rng.fork(),
        };
        let client = Connection::client(epoch(), args).unwrap();
        Self {
            now: epoch(),
            client: Peer::new(client),
            server: None,
            to_server: Box::new(|_, _| true),
            to_client: Box::new(|_, _| true),
            sent: [0; 2],
            waiting: VecDeque::new(),
            tls,
            shared,
            tokens: Arc::new(TokenKey::new(&[2; 32], Duration::from_secs(3600))),
            token_log: BloomTokenLog::default(),
            setup,
            rng,
        }
    }

    pub fn server(&mut self) -> &mut Peer {
        self.server.as_mut().expect("no Initial has arrived")
    }

    /// Carries datagrams and time until nothing happens before `until`.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drain();
            let next = [
                self.client.timeout,
                self.client.inbox.front().map(|(at, _)| *at),
                self.waiting.front().map(|(at, _)| *at),
                self.server.as_ref().and_then(|server| server.timeout),
                self.server.as_ref().and_then(|server| server.inbox.front().map(|(at, _)| *at)),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        for mut datagram in self.client.drain(self.now) {
            self.sent[0] += 1;
            if (self.to_server)(self.sent[0] - 1, &mut datagram) {
                match &mut self.server {
                    Some(server) => server.inbox.push_back((self.now + DELAY, datagram)),
                    None => self.waiting.push_back((self.now + DELAY, datagram)),
                }
            }
        }
        let Some(server) = &mut self.server else { return };
        for mut datagram in server.drain(self.now) {
            self.sent[1] += 1;
            if (self.to_client)(self.sent[1] - 1, &mut datagram) {
                self.client.inbox.push_back((self.now + DELAY, datagram));
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while self.server.is_none() && self.waiting.front().is_some_and(|(at, _)| *at <= now) {
            let (_, datagram) = self.waiting.pop_front().unwrap();
            self.accept(&datagram);
        }
        for (peer, port) in [(Some(&mut self.client), 4433), (self.server.as_mut(), 5000)] {
            let Some(peer) = peer else { continue };
            if peer.timeout.is_some_and(|at| at <= now) {
                peer.connection.handle_timeout(now);
            }
            while peer.inbox.front().is_some_and(|(at, _)| *at <= now) {
                let (_, datagram) = peer.inbox.pop_front().unwrap();
                peer.connection.handle_burst(now, Burst::single(now, tuple(port), None, datagram));
            }
        }
    }

    /// Puts a datagram of the client on its way.
    pub fn arrive(&mut self, datagram: Vec<u8>) {
        let queue = self.server.as_mut().map_or(&mut self.waiting, |server| &mut server.inbox);
        queue.push_back((self.now + DELAY, datagram));
    }

    fn accept(&mut self, datagram: &[u8]) {
        if !self.setup.server.grease_quic_bit && !has_quic_bit(datagram) {
            return;
        }
        let acceptable: Vec<u32> = self.setup.versions.1.acceptable().collect();
        match classify(datagram, self.setup.cid_len[1], &acceptable) {
            Class::Long { may_begin: true, .. } => {}
            Class::UnsupportedVersion { dcid, scid, .. } => {
                let offer: Vec<u32> = self.setup.versions.1.offer().collect();
                let answer = version_negotiation(&datagram[dcid], &datagram[scid], &offer, &mut self.rng);
                self.client.inbox.push_back((self.now + DELAY, answer));
                return;
            }
            _ => return,
        }
        let Ok(incoming) = self.open(datagram) else { return };
        if self.setup.retry && !incoming.is_validated() {
            let answer = self.retry(&incoming).unwrap();
            self.client.inbox.push_back((self.now + DELAY, answer));
            return;
        }
        self.serve(incoming);
    }

    /// What the server's endpoint makes of a datagram that begins a connection.
    pub fn open(&self, datagram: &[u8]) -> Result<Incoming, Rejected> {
        self.open_as(&self.tokens, 5000, Duration::ZERO, datagram)
    }

    /// The same with another key, from another port, some time later.
    pub fn open_as(
        &self,
        key: &TokenKey,
        port: u16,
        age: Duration,
        datagram: &[u8],
    ) -> Result<Incoming, Rejected> {
        let lifetimes = TokenLifetimes { retry: 10 * SECOND, new_token: 1_000 * SECOND };
        let validation = AddressValidation { key, lifetimes, log: Some(&self.token_log) };
        Incoming::open(self.now, WALL + age, tuple(port), None, datagram, validation)
    }

    pub fn retry(&mut self, incoming: &Incoming) -> Option<Vec<u8>> {
        crate::proto::endpoint::retry(
            incoming,
            WALL,
            &self.tokens,
            &*self.shared.connection_ids,
            &mut self.rng,
        )
    }

    /// Makes the server.
    pub fn serve(&mut self, incoming: Incoming) {
        let args = ServerArgs {
            versions: &self.setup.versions.1,
            tls: &Tampering(self.tls.server.clone(), self.setup.server_params),
            resumption: &self.tls.server_sessions,
            preferred_address: self.setup.preferred_address,
            config: Arc::new(self.setup.server.clone()),
            endpoint: &self.shared,
            new_tokens: Some(NewTokens {
                key: self.tokens.clone(),
                wall: WALL,
                count: self.setup.new_tokens,
            }),
            rng: self.rng.fork(),
        };
        let mut server = Peer::new(Connection::server(self.now, incoming, args).unwrap());
        server.inbox = std::mem::take(&mut self.waiting);
        self.server = Some(server);
    }
}

pub fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| ((i * 31) >> 3) as u8).collect::<Vec<_>>().into()
}
