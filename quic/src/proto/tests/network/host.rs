//! A host of the virtual network: the endpoint's part of the work, without tasks, locks or sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::app::{App, Plan};
use super::referee::Referee;
use super::tls;
use crate::config::{ClientVersions, FirstFlight, RandomConnectionIds, ServerVersions, TransportConfig};
use crate::crypto::tls::{ClientResumption, ClientTls, ServerResumption};
use crate::crypto::{ResetKey, TokenKey, TokenLifetimes};
use crate::error::{ConnectionError, MigrateError};
use crate::net::sim::{Datagram, Network, Peer};
use crate::packet::{
    Burst, ConnectionId, FourTuple, LocalPath, Rng, Side, SocketId, SpaceId, TxBatch, VERSION_1, VERSION_2,
    epoch,
};
use crate::proto::connection::EndpointShared;
use crate::proto::endpoint::{Class, Incoming, classify, retry, version_negotiation};
use crate::proto::{AddressValidation, ClientArgs, Connection, Event, Output, RouteChange, ServerArgs};

/// Length of our connection IDs.
const CID_LEN: usize = 8;

/// Datagrams that a closed connection answers with its close.
const MAX_ANSWERS: u32 = 3;

/// How a host behaves, whatever its connections do.
#[derive(Debug, Clone)]
pub(super) struct Behaviour {
    pub(super) config: TransportConfig,
    /// Datagrams in a batch.
    pub(super) segments: usize,
    /// Timers fire on the next full millisecond, as a runtime's do.
    pub(super) coarse_timers: bool,
    /// Asks clients to come again with a token.
    pub(super) retry: bool,
    /// The certificate does not fit into what a server may send before it has validated the client's address.
    pub(super) large_certificate: bool,
}

/// A client with its connection, or a server with all of its.
pub(super) struct Host {
    /// Where it is, and where it may go.
    addresses: Vec<SocketAddr>,
    /// When it goes there, or back.
    migrations: VecDeque<Instant>,
    behaviour: Behaviour,
    side: Side,
    plan: Plan,
    shared: EndpointShared,
    tokens: Arc<TokenKey>,
    rng: Rng,
    batch: TxBatch,
    connections: Vec<Hosted>,
    answers: Vec<Datagram>,
    /// Watches what both hosts send.
    pub(super) referee: Rc<RefCell<Referee>>,
}

/// One connection and its application.
pub(super) struct Hosted {
    pub(super) connection: Connection,
    pub(super) app: App,
    pub(super) closed: Option<ConnectionError>,
    pub(super) confirmed: bool,
    routes: Vec<ConnectionId>,
    /// The destination ID of the client's first Initial, while it leads here.
    initial: Option<ConnectionId>,
    answered: u32,
}

fn tuple(remote: SocketAddr) -> FourTuple {
    FourTuple { socket: SocketId(0), local_ip: None, remote }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

impl Host {
    fn new(addresses: Vec<SocketAddr>, side: Side, behaviour: Behaviour, plan: Plan, rng: &mut Rng) -> Self {
        Self {
            addresses,
            migrations: VecDeque::new(),
            side,
            plan,
            shared: EndpointShared {
                connection_ids: Arc::new(RandomConnectionIds::default()),
                reset_key: Arc::new(ResetKey::new(&rng.array())),
            },
            tokens: Arc::new(TokenKey::new(&rng.array(), Duration::from_secs(3600))),
            rng: rng.fork(),
            batch: TxBatch::new(behaviour.segments),
            behaviour,
            connections: Vec::new(),
            answers: Vec::new(),
            referee: Rc::default(),
        }
    }

    /// A host that connects to `server` at once.
    pub(super) fn client(
        addresses: [SocketAddr; 2],
        server: SocketAddr,
        behaviour: Behaviour,
        plan: Plan,
        rng: &mut Rng,
    ) -> Self {
        let mut host = Self::new(addresses.to_vec(), Side::Client, behaviour, plan, rng);
        let args = ClientArgs {
            versions: &ClientVersions::default(),
            first_flight: &FirstFlight::default(),
            path: tuple(server),
            server_name: "localhost",
            tokens: None,
            tls: &(Arc::new(tls::client(host.behaviour.large_certificate)) as Arc<dyn ClientTls>),
            resumption: &ClientResumption::default(),
            config: Arc::new(host.behaviour.config.clone()),
            endpoint: &host.shared,
            rng: host.rng.fork(),
        };
        let connection = Connection::client(epoch(), args).unwrap();
        host.add(connection, None);
        host
    }

    /// A host that accepts whoever comes.
    pub(super) fn server(address: SocketAddr, behaviour: Behaviour, plan: Plan, rng: &mut Rng) -> Self {
        Self::new(vec![address], Side::Server, behaviour, plan, rng)
    }

    fn add(&mut self, connection: Connection, initial: Option<ConnectionId>) {
        self.connections.push(Hosted {
            connection,
            app: App::new(self.side, self.plan.clone()),
            closed: None,
            confirmed: false,
            routes: Vec::new(),
            initial,
            answered: 0,
        });
    }

    /// The connection that matters: a delayed copy of a first Initial opens others, which come to nothing.
    pub(super) fn main(&mut self) -> Option<&mut Hosted> {
        self.connections.iter_mut().find(|hosted| hosted.connection.is_handshake_complete())
    }

    pub(super) fn is_done(&self) -> bool {
        self.connections.iter().any(|hosted| hosted.app.is_done())
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.connections.iter().any(|hosted| hosted.confirmed)
    }

    /// Goes to its other address and back again, at these times.
    pub(super) fn migrate_at(&mut self, times: impl Iterator<Item = Instant>) {
        self.migrations = times.collect();
    }

    fn migrate(&mut self, now: Instant) {
        let Some(hosted) = self.main().filter(|hosted| hosted.closed.is_none()) else { return };
        let other = SocketId(1 - hosted.connection.path().socket.0);
        let to = LocalPath { socket: other, local_ip: None };
        match hosted.connection.migrate(now, to) {
            Ok(()) | Err(MigrateError::NoConnectionId | MigrateError::Closed) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connections.iter().all(|hosted| hosted.closed.is_some())
    }

    fn accept(&mut self, now: Instant, datagram: &Datagram) {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + (now - epoch());
        let lifetime = Duration::from_secs(15);
        let lifetimes = TokenLifetimes { retry: lifetime, new_token: lifetime };
        let validation = AddressValidation { key: &self.tokens, lifetimes, log: None };
        let path = tuple(datagram.from);
        let opened = Incoming::open(now, wall, path, datagram.ecn, &datagram.payload, validation);
        let Ok(incoming) = opened else { return };
        if self.behaviour.retry && !incoming.is_validated() {
            let answer = retry(&incoming, wall, &self.tokens, &*self.shared.connection_ids, &mut self.rng);
            self.answer(datagram.from, answer.unwrap());
            return;
        }
        let initial = Some(incoming.dcid());
        let args = ServerArgs {
            versions: &ServerVersions::default(),
            preferred_address: None,
            tls: &tls::server(self.behaviour.large_certificate),
            resumption: &ServerResumption::default(),
            config: Arc::new(self.behaviour.config.clone()),
            endpoint: &self.shared,
            new_tokens: None,
            rng: self.rng.fork(),
        };
        let connection = Connection::server(now, incoming, args).unwrap();
        self.add(connection, initial);
    }

    fn answer(&mut self, to: SocketAddr, payload: Vec<u8>) {
        self.answers.push(Datagram { from: self.addresses[0], to, ecn: None, payload });
    }
}

impl Hosted {
    /// Lets the application act and drains the connection, until both have nothing more to do.
    fn drive(
        &mut self,
        from: &[SocketAddr],
        batch: &mut TxBatch,
        referee: &mut Referee,
        network: &mut Network,
    ) -> Option<Instant> {
        let now = network.now();
        loop {
            let mut deadline = None;
            loop {
                match self.connection.poll_output(now, Some(batch)) {
                    Output::Route(change) => self.on_route(&change),
                    Output::Event(event) => self.on_event(event),
                    Output::Transmit => {
                        for datagram in batch.bytes().chunks(batch.segment_size()) {
                            referee.look(&self.connection, datagram);
                        }
                        let socket = batch.meta().unwrap().path.socket;
                        network.send_batch(from[usize::from(socket.0)], batch);
                        batch.clear();
                    }
                    Output::Timeout(at) => {
                        deadline = earlier(deadline, at);
                        break;
                    }
                }
            }
            if self.closed.is_some() || !self.app.act(now, self.connection.streams()) {
                return [deadline, self.app.deadline().filter(|_| self.closed.is_none())]
                    .into_iter()
                    .flatten()
                    .min();
            }
        }
    }

    fn on_route(&mut self, change: &RouteChange) {
        match *change {
            RouteChange::AddCid(cid) => {
                assert!(!self.routes.contains(&cid));
                self.routes.push(cid);
            }
            RouteChange::RemoveCid(cid) => {
                let at = self.routes.iter().position(|route| *route == cid);
                self.routes.remove(at.expect("a route that was never there"));
            }
            RouteChange::RemoveInitial => self.initial = None,
            RouteChange::AddResetToken(..) | RouteChange::RemoveResetToken(..) => {}
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::HandshakeData
            | Event::EarlyData { .. }
            | Event::NewToken(_)
            | Event::PathChanged(_)
            | Event::MigrationFailed(_)
            | Event::Datagram(_)
            | Event::PreferredFailed(_) => {}
            Event::Connected => self.app.on_connected(),
            Event::HandshakeConfirmed => self.confirmed = true,
            Event::Stream(event) => self.app.on_event(&event),
            Event::Closed(error) => {
                assert!(self.closed.is_none(), "closed twice: {error:?}");
                self.closed = Some(error);
            }
        }
    }

    /// Nothing is left of what went over the connection.
    pub(super) fn assert_clean(&mut self) {
        let streams = self.connection.streams();
        assert!(streams.is_empty(), "{} streams are left", streams.len());
        let stats = self.connection.stats();
        assert_eq!(stats.bytes_in_flight, 0);
        let data = &self.connection.spaces[SpaceId::Data.index()];
        assert!(!data.sent.has_ack_eliciting_in_flight());
        assert!(data.received.ranges().count() <= 64);
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        let data = &self.connection.spaces[SpaceId::Data.index()];
        let in_flight =
            data.sent.has_ack_eliciting_in_flight() || self.connection.stats().bytes_in_flight > 0;
        self.confirmed && self.connection.streams().is_empty() && !in_flight
    }
}

impl Peer for Host {
    fn has_address(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        let (dcid, may_begin) = match classify(&datagram.payload, CID_LEN, &[VERSION_1, VERSION_2]) {
            Class::Short { dcid } => (dcid, false),
            Class::Long { dcid, may_begin } => (dcid, may_begin),
            Class::UnsupportedVersion { dcid, scid, .. } => {
                // Nobody sends that, but a changed byte can make it.
                let ids = [dcid, scid].map(|range| datagram.payload.get(range).unwrap_or_default());
                let answer = version_negotiation(ids[0], ids[1], &[VERSION_1, VERSION_2], &mut self.rng);
                if self.side.is_server() {
                    self.answer(datagram.from, answer);
                }
                return;
            }
            Class::Drop => return,
        };
        let target = self
            .connections
            .iter_mut()
            .find(|hosted| hosted.routes.contains(&dcid) || hosted.initial == Some(dcid));
        match target {
            Some(hosted) if hosted.closed.is_some() => {
                let close = hosted.connection.tombstone().and_then(|tombstone| tombstone.close);
                hosted.answered += 1;
                if let Some(close) = close.filter(|_| hosted.answered <= MAX_ANSWERS) {
                    self.answer(datagram.from, close.to_vec());
                }
            }
            Some(hosted) => {
                let at = self.addresses.iter().position(|address| *address == datagram.to);
                let path = FourTuple { socket: SocketId(at.unwrap() as u16), ..tuple(datagram.from) };
                let burst = Burst::single(now, path, datagram.ecn, datagram.payload);
                hosted.connection.handle_burst(now, burst);
            }
            None if may_begin && self.side.is_server() => self.accept(now, &datagram),
            None => {}
        }
    }

    fn timeout(&mut self, now: Instant) {
        for hosted in &mut self.connections {
            hosted.connection.handle_timeout(now);
        }
    }

    fn drive(&mut self, network: &mut Network) -> Option<Instant> {
        if self.migrations.front().is_some_and(|at| *at <= network.now()) {
            self.migrations.pop_front();
            self.migrate(network.now());
        }
        let mut deadline = self.migrations.front().copied();
        for answer in self.answers.drain(..) {
            network.send(answer);
        }
        for hosted in &mut self.connections {
            let at = hosted.drive(&self.addresses, &mut self.batch, &mut self.referee.borrow_mut(), network);
            deadline = earlier(deadline, at);
        }
        let coarse = |at: Instant| {
            let millis = (at - epoch()).as_nanos().div_ceil(1_000_000);
            epoch() + Duration::from_millis(millis as u64)
        };
        if self.behaviour.coarse_timers { deadline.map(coarse) } else { deadline }
    }
}
