//! What the handles of an endpoint, its task, and the tasks of its connections share.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::accepted::Accepted;
use super::admission::{Admission, Full};
use super::budget::MemoryBudget;
use super::connection::{Connection, ConnectionRef};
use super::signal::Signal;
use super::sockets::{SocketUse, Sockets};
use super::waiters::Waiters;
use crate::config::{ClientConfig, ConfigError, EndpointConfig, RetryPolicy, ServerConfig, TokenIssuer};
use crate::crypto::tls::EarlyData;
use crate::crypto::{ResetKey, TokenKey, TokenLifetimes};
use crate::driver::accept::Waiting;
use crate::driver::allowance::Allowance;
use crate::driver::connection_task::ConnectionTask;
use crate::driver::ending::Ending;
use crate::driver::endpoint_task::EndpointTask;
use crate::driver::inbox::Inbox;
use crate::driver::lock;
use crate::driver::routes::{Entries, Routes};
use crate::driver::sync::Mutex;
use crate::driver::tx_pool::TxPool;
use crate::driver::unique_ids::UniqueIds;
use crate::error::{ConnectError, ConnectionError};
use crate::net::{Socket, SocketSource, UdpOptions, Unreachable};
use crate::packet::{Dir, FourTuple, Rng, Side};
use crate::proto::{self, AddressValidation, ClientArgs};
use crate::wire::VarInt;

/// Shorter connection IDs run out, and are easily guessed, bytes.
const MIN_SERVER_CID_LEN: usize = 4;

/// What everything of an endpoint shares.
pub struct Endpoint {
    /// Limits and sizes.
    pub config: EndpointConfig,
    /// What the protocol core needs of an endpoint.
    pub core: proto::EndpointShared,
    /// Seals address validation tokens.
    pub tokens: Arc<TokenKey>,
    /// Who gets a datagram.
    pub routes: Arc<Routes>,
    /// Send and receive.
    pub sockets: Arc<Sockets>,
    /// Buffers to send from.
    pub tx_pool: TxPool,
    /// Connections that wait for `accept`.
    pub incoming: Accepted<Waiting>,
    /// Wakes the endpoint task: there may be nothing left to do.
    pub signal: Signal,
    /// What was done, and what was dropped.
    pub counters: Counters,
    /// Clients in their handshakes.
    pub admission: Arc<Admission>,
    /// The memory of all connections.
    pub budget: Arc<MemoryBudget>,
    /// How many stateless answers may leave.
    pub answers: Arc<Allowance>,
    server: Mutex<Option<Arc<ServerConfig>>>,
    client: Mutex<Option<ClientConfig>>,
    rng: Mutex<Rng>,
    registry: Mutex<Registry>,
    runtime: tokio::runtime::Handle,
    handles: AtomicUsize,
}

/// Why a client was turned away by the endpoint itself.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum TurnedAway {
    /// There are as many connections as may be.
    Connections,
    /// As many wait for `accept` as may.
    Incoming,
    /// The memory budget is used up.
    Budget,
    /// One of the limits on handshakes.
    Full(Full),
    /// More handshakes than the policy takes without Retry.
    Load,
}

/// What an endpoint did, and what it dropped; the public names are in [`EndpointStats`](crate::EndpointStats).
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that are none of QUIC, or from port 0.
    pub malformed: AtomicU64,
    /// Datagrams of connections that nobody knows.
    pub unknown: AtomicU64,
    /// Datagrams for which an inbox had no room.
    pub overflowed: AtomicU64,
    /// Stateless answers that were due and not given.
    pub unanswered: AtomicU64,
    /// Connections that we opened.
    pub opened: AtomicU64,
    /// Clients that were accepted.
    pub accepted: AtomicU64,
    /// Clients that were told that there will be no connection.
    pub refused: AtomicU64,
    /// Clients that were told nothing.
    pub ignored: AtomicU64,
    /// Clients that were asked to come again.
    pub retries: AtomicU64,
    /// Clients with an invalid token.
    pub invalid_tokens: AtomicU64,
    /// Version Negotiation packets.
    pub version_negotiations: AtomicU64,
    /// Stateless resets.
    pub stateless_resets: AtomicU64,
    /// Answers of closed connections.
    pub closing_answers: AtomicU64,
    /// Handshakes ended because their clients cost too much.
    pub overloaded: AtomicU64,
    /// Turned away: too many connections.
    pub too_many_connections: AtomicU64,
    /// Turned away: the memory budget is used up.
    pub over_budget: AtomicU64,
    /// Turned away: too many wait.
    pub too_many_incoming: AtomicU64,
    /// Turned away: too many handshakes.
    pub too_many_handshakes: AtomicU64,
    /// Turned away: too many handshakes of one network.
    pub too_many_of_network: AtomicU64,
    /// Turned away: too much memory in handshakes.
    pub too_much_memory: AtomicU64,
    /// Turned away: enough handshakes to ask for Retry.
    pub under_load: AtomicU64,
}

impl Counters {
    /// Counts one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client that is turned away.
    pub fn turned_away(&self, reason: TurnedAway) {
        Self::count(match reason {
            TurnedAway::Connections => &self.too_many_connections,
            TurnedAway::Incoming => &self.too_many_incoming,
            TurnedAway::Budget => &self.over_budget,
            TurnedAway::Full(Full::Handshakes) => &self.too_many_handshakes,
            TurnedAway::Full(Full::Network) => &self.too_many_of_network,
            TurnedAway::Full(Full::Memory) => &self.too_much_memory,
            TurnedAway::Load => &self.under_load,
        });
    }
}

#[derive(Debug, Default)]
struct Registry {
    /// By age, so that what is done to all of them is done in the same order in each run with the same seed.
    connections: BTreeMap<u64, Arc<Connection>>,
    /// Clients that nobody has answered yet.
    dialing: BTreeMap<u64, IpAddr>,
    /// No new connections; these are closed with this code and reason.
    closing: Option<(VarInt, Bytes)>,
    /// Until then a lost CONNECTION_CLOSE may have to be sent again.
    linger: Option<Instant>,
    idle: Waiters,
}

impl Endpoint {
    /// A new endpoint, held by nobody.
    pub fn new(config: EndpointConfig, socket: Arc<dyn Socket>, mut rng: Rng) -> Self {
        let reset_key = config.reset_key.as_ref().map_or_else(|| rng.array(), |key| key.0);
        let token_key = config.token_key.as_ref().map_or_else(|| rng.array(), |key| key.0);
        let routes = Arc::new(Routes::default());
        let ids = UniqueIds::new(config.connection_ids.clone(), routes.clone());
        Self {
            core: proto::EndpointShared {
                connection_ids: Arc::new(ids),
                reset_key: Arc::new(ResetKey::new(&reset_key)),
            },
            tokens: Arc::new(TokenKey::new(&token_key, config.token_key_period)),
            routes,
            tx_pool: TxPool::default(),
            incoming: Accepted::default(),
            signal: Signal::default(),
            counters: Counters::default(),
            answers: Arc::new(Allowance::new(crate::driver::now(), config.stateless_answers_per_second)),
            server: Mutex::default(),
            client: Mutex::default(),
            rng: Mutex::new(rng),
            registry: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
            handles: AtomicUsize::new(0),
            admission: Arc::new(Admission::new(&config)),
            budget: Arc::new(MemoryBudget::new(config.memory_budget)),
            sockets: Arc::new(Sockets::new(socket)),
            config,
        }
    }

    /// How connections are accepted; `None`: not at all.
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        lock(&self.server).clone()
    }

    /// Changes how connections are accepted from now on.
    ///
    /// # Errors
    /// If connection IDs are too short for a server: nothing but them tells its connections apart.
    pub fn set_server(&self, config: Option<ServerConfig>) -> Result<(), ConfigError> {
        let long_enough = self.core.connection_ids.len() >= MIN_SERVER_CID_LEN;
        if config.is_some() && !long_enough {
            return Err(ConfigError {
                setting: "connection_ids",
                problem: "are below 4 bytes, too few for a server",
            });
        }
        *lock(&self.server) = config.map(Arc::new);
        Ok(())
    }

    /// How connections are opened unless told otherwise.
    pub fn client(&self) -> Option<ClientConfig> {
        lock(&self.client).clone()
    }

    /// Changes how connections are opened from now on.
    pub fn set_client(&self, config: Option<ClientConfig>) {
        *lock(&self.client) = config;
    }

    /// How UDP sockets are set up.
    pub fn udp_options(config: &EndpointConfig) -> UdpOptions {
        UdpOptions {
            gso: config.gso,
            receive_buffer: config.socket_receive_buffer,
            send_buffer: config.socket_send_buffer,
        }
    }

    /// Opens a socket, from any thread: the runtime is that of the endpoint.
    fn open(&self, source: SocketSource) -> io::Result<Arc<dyn Socket>> {
        let _context = self.runtime.enter();
        source.open(Self::udp_options(&self.config))
    }

    /// Receives from one more socket, and returns its address.
    ///
    /// # Errors
    /// The system's, or when there are too many.
    pub fn add_socket(self: &Arc<Self>, source: SocketSource) -> io::Result<SocketAddr> {
        let socket = self.open(source)?;
        let addr = socket.local_addr()?;
        let added = self.sockets.add(socket.clone(), true)?;
        self.spawn(EndpointTask::further(self.clone(), added, socket));
        Ok(addr)
    }

    /// Receives from one more socket as long as a connection uses it.
    ///
    /// # Errors
    /// The system's, or when there are too many.
    pub fn lend_socket(self: &Arc<Self>, source: SocketSource) -> io::Result<(SocketUse, SocketAddr)> {
        let socket = self.open(source)?;
        let addr = socket.local_addr()?;
        let added = self.sockets.add(socket.clone(), false)?;
        let lent = self.sockets.hold(added.id);
        self.spawn(EndpointTask::further(self.clone(), added, socket));
        Ok((lent, addr))
    }

    /// Puts another socket in the place of the main one.
    ///
    /// # Errors
    /// The system's.
    pub fn rebind(&self, source: SocketSource) -> io::Result<()> {
        let socket = self.open(source)?;
        self.sockets.replace_main(socket)?;
        self.signal.set();
        let connections: Vec<_> = lock(&self.registry).connections.values().cloned().collect();
        for connection in connections {
            connection.command(|commands| commands.rebound = true);
        }
        Ok(())
    }

    /// How the tokens of clients are checked.
    pub fn validation<'a>(&'a self, config: &'a ServerConfig) -> AddressValidation<'a> {
        let (retry, new_token) = (config.retry_token_lifetime, config.new_token_lifetime);
        let lifetimes = TokenLifetimes { retry, new_token };
        AddressValidation { key: &self.tokens, lifetimes, log: config.token_log.as_deref() }
    }

    /// Whether clients that are not validated are asked for that now.
    pub fn wants_retry(&self, policy: RetryPolicy) -> bool {
        match policy {
            RetryPolicy::Never => false,
            RetryPolicy::UnderLoad { handshakes } => self.admission.handshakes() > handshakes,
            RetryPolicy::Always => true,
        }
    }

    /// An independent source of randomness.
    pub fn fork_rng(&self) -> Rng {
        lock(&self.rng).fork()
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Opens a connection.
    pub fn connect(
        self: &Arc<Self>,
        config: &ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<ConnectionRef, ConnectError> {
        let remote = comparable(remote);
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(ConnectError::InvalidRemoteAddress(remote));
        }
        let socket = self.sockets.towards(remote).ok_or(ConnectError::InvalidRemoteAddress(remote))?;
        let path = FourTuple { socket, local_ip: None, remote };
        let args = ClientArgs {
            versions: &config.versions,
            first_flight: &config.first_flight,
            path,
            server_name,
            tokens: config.token_store.as_deref(),
            tls: &config.tls,
            resumption: &config.resumption,
            config: config.transport.clone(),
            endpoint: &self.core,
            rng: self.fork_rng(),
        };
        let mut connection = proto::Connection::client(crate::driver::now(), args)?;
        let inbox = Arc::new(Inbox::new(Inbox::limit(config.transport.receive_window)));
        let shared = Connection::new(Side::Client, inbox, &config.transport, path);
        if connection.early_data() == EarlyData::Offered {
            shared.advance(|progress| progress.may_be_early = true);
            for dir in Dir::ALL {
                shared.open[dir.index()].raise(connection.streams().local_limit(dir));
            }
        }
        let handle = ConnectionRef::new(shared.clone());
        if !self.register(&shared, Some(remote.ip())) {
            return Err(ConnectError::EndpointClosed);
        }
        Counters::count(&self.counters.opened);
        let mut ending = Ending::new(self.clone(), shared.clone(), Entries::default());
        let by_address = self.core.connection_ids.is_empty();
        if by_address && !self.routes.add_peer(&shared.inbox, &mut ending.entries, remote) {
            return Err(ConnectError::AlreadyConnected(remote));
        }
        let mut task = ConnectionTask::new(connection, ending, &config.transport);
        task.tokens = config.token_store.clone().map(|store| {
            let (server_name, version) = (server_name.to_owned(), task.connection.version());
            (store, TokenIssuer { server_name, address: remote, version })
        });
        self.spawn(task);
        Ok(handle)
    }

    /// Enters a connection. False if the endpoint is closed.
    pub fn register(&self, connection: &Arc<Connection>, dialing: Option<IpAddr>) -> bool {
        let mut registry = lock(&self.registry);
        if registry.closing.is_some() {
            return false;
        }
        if let Some(ip) = dialing {
            registry.dialing.insert(connection.stable_id, ip);
        }
        registry.connections.insert(connection.stable_id, connection.clone());
        true
    }

    /// The peer of a connection has answered.
    pub fn answered(&self, connection: &Connection) {
        lock(&self.registry).dialing.remove(&connection.stable_id);
    }

    /// A connection's task has ended. `linger`: how long its last words may have to be repeated.
    pub fn forget(&self, connection: &Connection, linger: Option<Instant>) {
        let (_connection, woken) = {
            let mut registry = lock(&self.registry);
            registry.dialing.remove(&connection.stable_id);
            registry.linger = registry.linger.max(linger);
            let connection = registry.connections.remove(&connection.stable_id);
            let woken = registry.connections.is_empty().then(|| registry.idle.take());
            (connection, woken)
        };
        if let Some(woken) = woken {
            woken.wake();
            self.signal.set();
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        lock(&self.registry).connections.len()
    }

    /// The system says that datagrams do not reach an address: those who wait for an answer from there learn of it.
    pub fn on_unreachable(&self, report: Unreachable) {
        let Some(ip) = report.reporter else { return };
        let affected: Vec<_> = {
            let registry = lock(&self.registry);
            let dialing = registry.dialing.iter().filter(|(_, dialed)| **dialed == ip);
            dialing.filter_map(|(id, _)| registry.connections.get(id).cloned()).collect()
        };
        for connection in affected {
            connection.command(|commands| commands.unreachable = Some(report.kind));
        }
    }

    /// Gives all peers new connection IDs.
    pub fn rotate_connection_ids(&self) {
        let connections: Vec<_> = lock(&self.registry).connections.values().cloned().collect();
        for connection in connections {
            connection.command(|commands| commands.rotate_ids = true);
        }
    }

    /// Closes all connections, and takes no new ones.
    pub fn close(&self, code: VarInt, reason: &Bytes) {
        let connections: Vec<_> = {
            let mut registry = lock(&self.registry);
            registry.closing.get_or_insert_with(|| (code, reason.clone()));
            registry.connections.values().cloned().collect()
        };
        for connection in connections {
            connection.close(code, reason.clone());
        }
        self.turn_away_all();
        self.signal.set();
    }

    /// Refuses all that waits for `accept`.
    pub fn turn_away_all(&self) {
        for waiting in self.incoming.close() {
            waiting.refuse(self);
        }
    }

    /// Waits until no connection is left; then says until when last words may have to be repeated.
    pub fn poll_idle(&self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<Option<Instant>> {
        let mut registry = lock(&self.registry);
        if registry.connections.is_empty() {
            return Poll::Ready(registry.linger);
        }
        registry.idle.register(ticket, cx.waker());
        Poll::Pending
    }

    /// Gives up waiting for that.
    pub fn cancel_idle(&self, ticket: u64) {
        lock(&self.registry).idle.remove(ticket);
    }

    /// A handle was made.
    pub fn retain(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle was dropped. With the last one nobody can accept any more; connections go on.
    pub fn release(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.server) = None;
            self.turn_away_all();
            self.signal.set();
        }
    }

    /// True if the endpoint task has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0 && self.connections() == 0 && self.routes.is_empty()
    }

    /// The endpoint task is gone: nothing will arrive any more.
    pub fn on_task_lost(&self) {
        let connections: Vec<_> = {
            let mut registry = lock(&self.registry);
            registry.closing.get_or_insert_with(|| (VarInt::default(), Bytes::new()));
            registry.connections.values().cloned().collect()
        };
        for connection in connections {
            connection.mark_closed(ConnectionError::TaskLost);
            connection.command(|commands| commands.abandoned = true);
        }
        drop(self.incoming.close());
        self.sockets.close();
        self.routes.inboxes().iter().for_each(|inbox| inbox.close());
    }
}

/// The address as it will stand on what comes back: without a flow label, and IPv4 as such.
fn comparable(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => remote,
        SocketAddr::V6(mut v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => {
                v6.set_flowinfo(0);
                v6.into()
            }
        },
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_as_they_come_back() {
        for (given, comes_back) in [
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1:1"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("[fe80::1%3]:1", "[fe80::1%3]:1"),
        ] {
            assert_eq!(comparable(given.parse().unwrap()), comes_back.parse().unwrap());
        }
        let labelled = std::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 1, 7, 3);
        let expected = std::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 1, 0, 3);
        assert_eq!(comparable(labelled.into()), expected.into());
    }
}
