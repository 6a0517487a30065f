//! A UDP socket and the connections on it, driven by a loop that blocks: all that `gannet::proto` leaves to its user.
//!
//! One turn waits for a datagram or a timer, hands it to a connection, and drains that connection: routes into the maps,
//! events to the application, batches to the socket.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gannet::config::{ClientVersions, FirstFlight, RandomConnectionIds, ServerVersions, TransportConfig};
use gannet::proto::tls::{ClientResumption, ClientTls, ServerResumption, ServerTls};
use gannet::proto::{
    AddressValidation, Burst, Class, ClientArgs, Connection, EndpointShared, Event, FourTuple, Incoming,
    Output, Rejected, ResetKey, ResetToken, RouteChange, ServerArgs, SocketId, TokenKey, TokenLifetimes,
    Tombstone, TxBatch, classify, refuse, stateless_reset, version_negotiation,
};
use gannet::{ConnectionId, Rng};

/// Length of our connection IDs: short headers do not tell it.
const CID_LEN: usize = 8;

/// A server refuses more connections than these.
const MAX_CONNECTIONS: usize = 1_000;

/// A datagram may be as long as this.
const MAX_DATAGRAM: usize = 65_536;

/// How long a turn waits if no timer is set.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What is done with the connections of a host.
pub trait Application {
    /// Something happened to a connection; whatever is done to it now is sent before the turn is over.
    fn on_event(&mut self, connection: &mut Connection, now: Instant, event: Event);
}

/// A socket, its connections, and who gets which datagram.
pub struct Host {
    socket: UdpSocket,
    config: Arc<TransportConfig>,
    shared: EndpointShared,
    server: Option<Server>,
    rng: Rng,
    connections: HashMap<u64, Hosted>,
    next_key: u64,
    by_cid: HashMap<ConnectionId, u64>,
    /// Clients use an ID of their own until they know ours.
    by_initial: HashMap<(SocketAddr, ConnectionId), u64>,
    by_reset_token: HashMap<(SocketAddr, [u8; 16]), u64>,
    batch: TxBatch,
    buffer: Vec<u8>,
}

/// What makes a host a server.
struct Server {
    tls: Box<dyn ServerTls>,
    versions: ServerVersions,
    token_key: TokenKey,
}

/// A connection, or what is left of it.
enum Hosted {
    Open { connection: Box<Connection>, timeout: Option<Instant>, cids: Vec<ConnectionId> },
    Closed { tombstone: Tombstone, cids: Vec<ConnectionId>, answers: u32 },
}

impl Host {
    /// A host that connects, and with `tls` one that is connected to as well.
    pub fn bind(addr: SocketAddr, seed: [u8; 32], tls: Option<Box<dyn ServerTls>>) -> io::Result<Self> {
        let mut rng = Rng::from_seed(seed);
        let shared = EndpointShared {
            connection_ids: Arc::new(RandomConnectionIds::new(CID_LEN)),
            reset_key: Arc::new(ResetKey::new(&rng.array())),
        };
        let token_key = TokenKey::new(&rng.array(), Duration::from_secs(3600));
        // A std socket does not promise that datagrams stay whole: larger ones are not tried.
        let config = TransportConfig::builder().mtu_upper_bound(None).build().map_err(io::Error::other)?;
        let server = tls.map(|tls| Server { tls, versions: ServerVersions::default(), token_key });
        Ok(Self {
            socket: UdpSocket::bind(addr)?,
            config: Arc::new(config),
            shared,
            server,
            rng,
            connections: HashMap::new(),
            next_key: 0,
            by_cid: HashMap::new(),
            by_initial: HashMap::new(),
            by_reset_token: HashMap::new(),
            batch: TxBatch::new(16),
            buffer: vec![0; MAX_DATAGRAM],
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// True if there is no connection, and of closed ones nothing is left.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    /// Begins a connection; its first packets leave at once.
    pub fn connect(
        &mut self,
        server: SocketAddr,
        server_name: &str,
        tls: &Arc<dyn ClientTls>,
        application: &mut impl Application,
    ) -> anyhow::Result<()> {
        let args = ClientArgs {
            versions: &ClientVersions::default(),
            first_flight: &FirstFlight::default(),
            path: path_of(server),
            server_name,
            tokens: None,
            tls,
            resumption: &ClientResumption::default(),
            config: self.config.clone(),
            endpoint: &self.shared,
            rng: self.rng.fork(),
        };
        let connection = Connection::client(now(), args)?;
        self.host(connection, None, application)?;
        Ok(())
    }

    /// One turn: waits for a datagram or a timer, and does what there is to do.
    pub fn turn(&mut self, application: &mut impl Application) -> io::Result<()> {
        let wait = self.timeout().map_or(LONGEST_WAIT, |at| at.saturating_duration_since(now()));
        // A time of 0 would mean forever.
        self.socket.set_read_timeout(Some(wait.clamp(Duration::from_micros(1), LONGEST_WAIT)))?;
        match self.socket.recv_from(&mut self.buffer) {
            Ok((len, from)) => {
                let datagram = self.buffer.get(..len).unwrap_or_default().to_vec();
                self.on_datagram(from, datagram, application)?;
            }
            // A datagram that could not be delivered says so here; timers notice without that.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error),
        }
        self.expire(application)
    }

    /// The next moment at which something happens by itself.
    fn timeout(&self) -> Option<Instant> {
        let timeouts = self.connections.values().filter_map(|hosted| match hosted {
            Hosted::Open { timeout, .. } => *timeout,
            Hosted::Closed { tombstone, .. } => Some(tombstone.until),
        });
        timeouts.min()
    }

    /// Tells connections that their time has come, and forgets closed ones.
    fn expire(&mut self, application: &mut impl Application) -> io::Result<()> {
        let now = now();
        let due = |hosted: &Hosted| match hosted {
            Hosted::Open { timeout, .. } => timeout.is_some_and(|at| at <= now),
            Hosted::Closed { tombstone, .. } => tombstone.until <= now,
        };
        let keys: Vec<u64> =
            self.connections.iter().filter(|(_, hosted)| due(hosted)).map(|(key, _)| *key).collect();
        for key in keys {
            match self.connections.get_mut(&key) {
                Some(Hosted::Open { connection, .. }) => {
                    connection.handle_timeout(now);
                    self.drain(key, application)?;
                }
                _ => self.forget(key),
            }
        }
        Ok(())
    }

    /// Finds out whose a datagram is.
    fn on_datagram(
        &mut self,
        from: SocketAddr,
        datagram: Vec<u8>,
        application: &mut impl Application,
    ) -> io::Result<()> {
        let versions: Vec<u32> = match &self.server {
            Some(server) => server.versions.acceptable().collect(),
            None => ServerVersions::default().acceptable().collect(),
        };
        match classify(&datagram, CID_LEN, &versions) {
            Class::Short { dcid } => {
                let tail = datagram.last_chunk::<16>().map(|token| (from, *token));
                let reset = || tail.and_then(|tail| self.by_reset_token.get(&tail)).copied();
                match self.by_cid.get(&dcid).copied().or_else(reset) {
                    Some(key) => self.deliver(key, from, datagram, application),
                    None => self.answer_unknown(from, &dcid, datagram.len()),
                }
            }
            Class::Long { dcid, may_begin } => {
                let initial = || self.by_initial.get(&(from, dcid)).copied();
                match self.by_cid.get(&dcid).copied().or_else(initial) {
                    Some(key) => self.deliver(key, from, datagram, application),
                    None if may_begin => self.accept(from, &datagram, application),
                    None => Ok(()),
                }
            }
            Class::UnsupportedVersion { dcid, scid, .. } => {
                // Version Negotiation, which nobody but a server sends.
                let Some(server) = &self.server else { return Ok(()) };
                let (Some(dcid), Some(scid)) = (datagram.get(dcid), datagram.get(scid)) else {
                    return Ok(());
                };
                let offer: Vec<u32> = server.versions.offer().collect();
                let answer = version_negotiation(dcid, scid, &offer, &mut self.rng);
                send(&self.socket, &answer, from)
            }
            Class::Drop => Ok(()),
        }
    }

    /// A datagram for a connection that is not here: its sender may have missed the end of it.
    fn answer_unknown(&mut self, from: SocketAddr, dcid: &ConnectionId, len: usize) -> io::Result<()> {
        match stateless_reset(dcid, len, &self.shared.reset_key, &mut self.rng) {
            Some(answer) => send(&self.socket, &answer, from),
            None => Ok(()),
        }
    }

    /// A datagram that may begin a connection.
    fn accept(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        application: &mut impl Application,
    ) -> io::Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        let lifetimes =
            TokenLifetimes { retry: Duration::from_secs(15), new_token: Duration::from_secs(86_400) };
        let validation = AddressValidation { key: &server.token_key, lifetimes, log: None };
        let incoming = match Incoming::open(now(), wall(), path_of(from), None, datagram, validation) {
            Ok(incoming) => incoming,
            Err(Rejected::InvalidToken(answer)) => return send(&self.socket, &answer, from),
            Err(Rejected::Drop) => return Ok(()),
        };
        if self.connections.len() >= MAX_CONNECTIONS {
            return send(&self.socket, &refuse(&incoming), from);
        }
        let initial = (from, incoming.dcid());
        let args = ServerArgs {
            versions: &server.versions,
            tls: &*server.tls,
            resumption: &ServerResumption::default(),
            config: self.config.clone(),
            endpoint: &self.shared,
            preferred_address: None,
            new_tokens: None,
            rng: self.rng.fork(),
        };
        match Connection::server(now(), incoming, args) {
            Ok(connection) => self.host(connection, Some(initial), application),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Takes in a new connection.
    fn host(
        &mut self,
        connection: Connection,
        initial: Option<(SocketAddr, ConnectionId)>,
        application: &mut impl Application,
    ) -> io::Result<()> {
        let key = self.next_key;
        self.next_key += 1;
        let connection = Box::new(connection);
        self.connections.insert(key, Hosted::Open { connection, timeout: None, cids: Vec::new() });
        self.by_initial.extend(initial.map(|initial| (initial, key)));
        self.drain(key, application)
    }

    /// **Mutate**: a datagram for this connection. Then drain.
    fn deliver(
        &mut self,
        key: u64,
        from: SocketAddr,
        datagram: Vec<u8>,
        application: &mut impl Application,
    ) -> io::Result<()> {
        match self.connections.get_mut(&key) {
            Some(Hosted::Open { connection, .. }) => {
                let now = now();
                connection.handle_burst(now, Burst::single(now, path_of(from), None, datagram));
                self.drain(key, application)
            }
            Some(Hosted::Closed { tombstone, answers, .. }) => {
                // The peer may not know: it is told again, less and less often, and no more than three times its bytes.
                tombstone.credit += 3 * datagram.len() as u64;
                *answers += 1;
                match &tombstone.close {
                    Some(close) if answers.is_power_of_two() && close.len() as u64 <= tombstone.credit => {
                        tombstone.credit -= close.len() as u64;
                        send(&self.socket, close, tombstone.path.remote)
                    }
                    _ => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    /// **Drain**: down to [`Output::Timeout`].
    fn drain(&mut self, key: u64, application: &mut impl Application) -> io::Result<()> {
        let Some(Hosted::Open { connection, timeout, cids }) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        loop {
            let now = now();
            match connection.poll_output(now, Some(&mut self.batch)) {
                Output::Route(RouteChange::AddCid(cid)) => {
                    cids.push(cid);
                    self.by_cid.insert(cid, key);
                }
                Output::Route(RouteChange::RemoveCid(cid)) => {
                    cids.retain(|other| *other != cid);
                    self.by_cid.remove(&cid);
                }
                Output::Route(RouteChange::AddResetToken(from, ResetToken(token))) => {
                    self.by_reset_token.insert((from, token), key);
                }
                Output::Route(RouteChange::RemoveResetToken(from, ResetToken(token))) => {
                    self.by_reset_token.remove(&(from, token));
                }
                Output::Route(RouteChange::RemoveInitial) => {
                    self.by_initial.retain(|_, owner| *owner != key);
                }
                Output::Event(event) => application.on_event(connection, now, event),
                Output::Transmit => {
                    if let Some(meta) = self.batch.meta() {
                        for datagram in self.batch.bytes().chunks(self.batch.segment_size().max(1)) {
                            send(&self.socket, datagram, meta.path.remote)?;
                        }
                    }
                    self.batch.clear();
                }
                Output::Timeout(at) => {
                    *timeout = at;
                    break;
                }
            }
        }
        if connection.is_closed() {
            let cids = std::mem::take(cids);
            match connection.tombstone() {
                Some(tombstone) => {
                    self.connections.insert(key, Hosted::Closed { tombstone, cids, answers: 0 });
                }
                None => self.forget(key),
            }
        }
        Ok(())
    }

    /// Removes a connection and all that leads to it.
    fn forget(&mut self, key: u64) {
        let cids = match self.connections.remove(&key) {
            Some(Hosted::Open { cids, .. } | Hosted::Closed { cids, .. }) => cids,
            None => return,
        };
        for cid in cids {
            self.by_cid.remove(&cid);
        }
        self.by_initial.retain(|_, owner| *owner != key);
        self.by_reset_token.retain(|_, owner| *owner != key);
    }
}

/// There is one socket, and the system finds our address.
fn path_of(remote: SocketAddr) -> FourTuple {
    FourTuple { socket: SocketId(0), local_ip: None, remote }
}

/// A datagram that cannot be sent is lost, and lost ones are sent again: only errors of the socket itself count.
fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
    match socket.send_to(datagram, to) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::BrokenPipe) => Err(error),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop owns the clock, the core does not")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the age of tokens is told in the time of day")]
fn wall() -> SystemTime {
    SystemTime::now()
}
