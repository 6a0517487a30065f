//! Bulk transfers over the virtual network, to see how fast they are: each from a client to a server of its own, over
//! links that may share a bottleneck.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::config::{ClientVersions, FirstFlight, RandomConnectionIds, ServerVersions, TransportConfig};
use crate::crypto::tls::{ClientResumption, ClientTls, ServerResumption};
use crate::crypto::{ResetKey, TokenKey, TokenLifetimes};
use crate::net::sim::{Datagram, End, Network, Node, Peer, run};
use crate::packet::{
    Burst, CongestionControl, Dir, FourTuple, Rng, Side, SocketId, StreamId, TxBatch, epoch,
};
use crate::proto::connection::EndpointShared;
use crate::proto::endpoint::Incoming;
use crate::proto::streams::{RecvChunk, StreamEvent};
use crate::proto::tests::network::tls;
use crate::proto::{AddressValidation, ClientArgs, Connection, ConnectionStats, Event, Output, ServerArgs};

/// Bytes that the sender writes at once.
const PIECE: usize = 64 * 1024;

/// What a test says of one transfer.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) client: TransportConfig,
    pub(super) server: TransportConfig,
    /// From the client to the server, and back.
    pub(super) links: [Vec<Node>; 2],
    /// When the client begins.
    pub(super) start: Duration,
}

impl Flow {
    /// With windows of the receiver that hold nothing back.
    pub(super) fn new(control: CongestionControl, there: &[Node], back: &[Node]) -> Self {
        let client = TransportConfig::builder().congestion_control(control).build().unwrap();
        let server = TransportConfig::builder()
            .receive_window(256 << 20)
            .stream_receive_window(256 << 20)
            .build()
            .unwrap();
        Self { client, server, links: [there.to_vec(), back.to_vec()], start: Duration::ZERO }
    }
}

/// Transfers under way.
pub(super) struct Lab {
    network: Network,
    hosts: Vec<Host>,
}

struct Host {
    address: SocketAddr,
    remote: SocketAddr,
    side: Side,
    start: Instant,
    config: Arc<TransportConfig>,
    shared: EndpointShared,
    rng: Rng,
    connection: Option<Connection>,
    batch: TxBatch,
    stream: Option<StreamId>,
    written: u64,
    acked: u64,
    read: u64,
    /// When its timers can fire, of each millisecond.
    tick: Duration,
    /// How late they do, by the millisecond.
    late: u64,
}

fn tuple(remote: SocketAddr) -> FourTuple {
    FourTuple { socket: SocketId(0), local_ip: None, remote }
}

impl Lab {
    /// Makes the network; `flows` may share nodes of it.
    pub(super) fn new(seed: u64, flows: impl FnOnce(&mut Network) -> Vec<Flow>) -> Self {
        let mut network = Network::new(seed, epoch());
        let mut rng = Rng::from_u64(seed);
        let mut hosts = Vec::new();
        for (index, flow) in (0..).zip(flows(&mut network)) {
            let [client, server] = [1, 2].map(|end| SocketAddr::from(([10, 0, index, end], 443)));
            let [there, back] = flow.links;
            network.link(client, server, there);
            network.link(server, client, back);
            let start = epoch() + flow.start;
            hosts.push(Host::new(Side::Client, client, server, start, flow.client, &mut rng));
            hosts.push(Host::new(Side::Server, server, client, start, flow.server, &mut rng));
        }
        Self { network, hosts }
    }

    /// Lets so much time pass; how many bytes arrived in it, of each flow.
    pub(super) fn run(&mut self, time: Duration) -> Vec<u64> {
        let before = self.received();
        let end = run(&mut self.network, &mut self.hosts, time, |_| false);
        assert_eq!(end, End::TooLate);
        self.received().iter().zip(before).map(|(after, before)| after - before).collect()
    }

    fn received(&self) -> Vec<u64> {
        self.hosts.iter().filter(|host| host.side.is_server()).map(|host| host.read).collect()
    }

    /// Counters of the sender of a flow.
    pub(super) fn sender(&self, flow: usize) -> ConnectionStats {
        self.hosts[2 * flow].connection.as_ref().expect("it has begun").stats()
    }
}

impl Host {
    fn new(
        side: Side,
        address: SocketAddr,
        remote: SocketAddr,
        start: Instant,
        config: TransportConfig,
        rng: &mut Rng,
    ) -> Self {
        let tick = Duration::from_nanos(rng.below(1_000_000));
        Self {
            address,
            remote,
            side,
            start,
            config: Arc::new(config),
            shared: EndpointShared {
                connection_ids: Arc::new(RandomConnectionIds::default()),
                reset_key: Arc::new(ResetKey::new(&rng.array())),
            },
            late: rng.below(u64::MAX),
            rng: rng.fork(),
            connection: None,
            batch: TxBatch::new(64),
            stream: None,
            written: 0,
            acked: 0,
            read: 0,
            tick,
        }
    }

    /// When a timer fires that is set for this time: on the next tick of a millisecond, as a runtime's do, and up to
    /// 100 µs late. No two machines tick at the same time: where they did, one would always be the first at a full queue.
    fn fires(&self, at: Instant) -> Instant {
        let first = epoch() + self.tick;
        let ticks = at.saturating_duration_since(first).as_nanos().div_ceil(1_000_000) as u64;
        let late = Rng::from_u64(self.late ^ ticks).below(100_000);
        (first + Duration::from_millis(ticks) + Duration::from_nanos(late)).max(at)
    }

    fn connect(&mut self, now: Instant) {
        let args = ClientArgs {
            versions: &ClientVersions::default(),
            first_flight: &FirstFlight::plain(),
            path: tuple(self.remote),
            server_name: "localhost",
            tokens: None,
            tls: &(Arc::new(tls::client(false)) as Arc<dyn ClientTls>),
            resumption: &ClientResumption::default(),
            config: self.config.clone(),
            endpoint: &self.shared,
            rng: self.rng.fork(),
        };
        self.connection = Some(Connection::client(now, args).unwrap());
    }

    fn accept(&mut self, now: Instant, datagram: &Datagram) {
        let key = TokenKey::new(&[7; 32], Duration::from_secs(3600));
        let lifetime = Duration::from_secs(15);
        let lifetimes = TokenLifetimes { retry: lifetime, new_token: lifetime };
        let validation = AddressValidation { key: &key, lifetimes, log: None };
        let wall = SystemTime::UNIX_EPOCH;
        let opened =
            Incoming::open(now, wall, tuple(datagram.from), datagram.ecn, &datagram.payload, validation);
        let Ok(incoming) = opened else { return };
        let args = ServerArgs {
            versions: &ServerVersions::default(),
            preferred_address: None,
            tls: &tls::server(false),
            resumption: &ServerResumption::default(),
            config: self.config.clone(),
            endpoint: &self.shared,
            new_tokens: None,
            rng: self.rng.fork(),
        };
        self.connection = Some(Connection::server(now, incoming, args).unwrap());
    }

    /// Writes until twice the window is waiting, within the budget. True if that was anything.
    fn write(&mut self) -> bool {
        static ZEROS: [u8; PIECE] = [0; PIECE];
        let (Some(connection), Some(stream)) = (&mut self.connection, self.stream) else { return false };
        let wanted = 2 * connection.congestion_window() + 16 * PIECE as u64;
        let budget = wanted.min(self.config.send_budget);
        let before = self.written;
        while self.written - self.acked < budget {
            connection.streams().write(stream, Bytes::from_static(&ZEROS));
            self.written += PIECE as u64;
        }
        self.written > before
    }

    fn on_event(&mut self, event: &Event) {
        let Some(connection) = &mut self.connection else { return };
        match event {
            Event::Connected if self.side.is_client() => {
                self.stream = Some(StreamId::new(Side::Client, Dir::Uni, 0));
            }
            Event::Stream(StreamEvent::Acked { bytes, .. }) => self.acked += bytes,
            Event::Stream(StreamEvent::Readable(id)) => {
                while let Some(RecvChunk::Data(data)) = connection.streams().read(*id) {
                    connection.streams().consumed(*id, data.len() as u64);
                    self.read += data.len() as u64;
                }
            }
            Event::Closed(error) => panic!("{error:?}"),
            _ => {}
        }
    }
}

impl Peer for Host {
    fn has_address(&self, address: SocketAddr) -> bool {
        self.address == address
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        match &mut self.connection {
            Some(connection) => {
                let burst = Burst::single(now, tuple(datagram.from), datagram.ecn, datagram.payload);
                connection.handle_burst(now, burst);
            }
            None => self.accept(now, &datagram),
        }
    }

    fn timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    fn drive(&mut self, network: &mut Network) -> Option<Instant> {
        let now = network.now();
        if self.connection.is_none() && self.side.is_client() {
            if now < self.start {
                return Some(self.start);
            }
            self.connect(now);
        }
        loop {
            let connection = self.connection.as_mut()?;
            match connection.poll_output(now, Some(&mut self.batch)) {
                Output::Route(_) => {}
                Output::Event(event) => self.on_event(&event),
                Output::Transmit => {
                    network.send_batch(self.address, &self.batch);
                    self.batch.clear();
                }
                Output::Timeout(at) => {
                    if !self.write() {
                        return at.map(|at| self.fires(at));
                    }
                }
            }
        }
    }
}
