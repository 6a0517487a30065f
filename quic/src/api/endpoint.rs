//! A socket and all connections over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::wait::wait;
use super::{Connecting, EndpointStats, Incoming};
use crate::config::{ClientConfig, ConfigError, EndpointConfig, ServerConfig};
use crate::driver::endpoint_task::EndpointTask;
use crate::driver::shared::endpoint::Endpoint as Shared;
use crate::error::ConnectError;
use crate::net::{Socket, SocketSource};
use crate::packet::Rng;
use crate::wire::VarInt;

/// A socket and all connections over it, as client, as server, or both at once.
///
/// A cheap handle: clones stand for the same endpoint. When the last one is dropped nobody can accept or open
/// connections any more, but those that exist go on; the socket closes after the last of them.
///
/// Must be made within a tokio runtime; its tasks run there.
///
/// ```no_run
/// # async fn example(roots: rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
/// use gannet::{Endpoint, config::ClientConfig};
///
/// let endpoint = Endpoint::client("[::]:0".parse()?)?;
/// endpoint.set_client_config(ClientConfig::with_roots(roots, &[b"hq-interop"])?);
/// let connection = endpoint.connect("192.0.2.1:4433".parse()?, "example.org")?.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

impl Endpoint {
    /// An endpoint that only opens connections, with default settings. `addr` is mostly `[::]:0`, for any address of
    /// either family and any port; where the system has no IPv6, `0.0.0.0` takes its place.
    ///
    /// Give it a configuration with [`Endpoint::set_client_config`], or each connection its own.
    ///
    /// # Errors
    /// If the system has no such address, or it is in use.
    pub fn client(addr: SocketAddr) -> io::Result<Self> {
        Self::builder().bind(addr)
    }

    /// An endpoint that accepts connections, with default settings.
    ///
    /// # Errors
    /// If the system has no such address, or it is in use.
    pub fn server(config: ServerConfig, addr: SocketAddr) -> io::Result<Self> {
        Self::builder().server(config).bind(addr)
    }

    /// For all that can be chosen.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    fn new(shared: Arc<Shared>) -> Self {
        shared.retain();
        Self { shared }
    }

    #[cfg(test)]
    pub(crate) fn routes(&self) -> &crate::driver::routes::Routes {
        &self.shared.routes
    }

    /// Opens a connection to the server at `remote`, whose certificate must name `server_name`.
    ///
    /// # Errors
    /// Where no attempt can be made; see [`ConnectError`].
    pub fn connect(&self, remote: SocketAddr, server_name: &str) -> Result<Connecting, ConnectError> {
        let config = self.shared.client().ok_or(ConnectError::NoClientConfig)?;
        self.connect_with(&config, remote, server_name)
    }

    /// Opens a connection with settings of its own.
    ///
    /// # Errors
    /// Where no attempt can be made; see [`ConnectError`].
    pub fn connect_with(
        &self,
        config: &ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<Connecting, ConnectError> {
        self.shared.connect(config, remote, server_name).map(Connecting::new)
    }

    /// The next client that wants a connection; `None` once the endpoint is closed.
    ///
    /// Any number of tasks may wait.
    ///
    /// # Cancel safety
    /// Safe: no client is lost.
    pub async fn accept(&self) -> Option<Incoming> {
        let incoming = &self.shared.incoming;
        let waiting =
            wait(|ticket, cx| incoming.poll_pop(ticket, cx), |ticket| incoming.cancel(ticket)).await?;
        Some(Incoming::new(waiting, self.shared.clone()))
    }

    /// The same as a [`Stream`](futures_core::Stream).
    #[must_use]
    pub fn incoming(&self) -> IncomingConnections {
        IncomingConnections { endpoint: self.clone(), ticket: None }
    }

    /// How [`Endpoint::connect`] opens connections from now on.
    pub fn set_client_config(&self, config: impl Into<Option<ClientConfig>>) {
        self.shared.set_client(config.into());
    }

    /// How connections are accepted from now on; with `None` those that come are ignored.
    ///
    /// This is how a certificate is renewed while the server runs. The next [`Incoming::accept`] takes the new settings;
    /// handshakes that have begun, and connections, keep theirs.
    ///
    /// # Errors
    /// If the endpoint's connection IDs have less than 4 bytes: such an endpoint can only be a client. Then nothing changes.
    pub fn set_server_config(&self, config: impl Into<Option<ServerConfig>>) -> Result<(), ConfigError> {
        self.shared.set_server(config.into())
    }

    /// Gives the peers of all connections new connection IDs, as
    /// [`Connection::rotate_connection_ids`](crate::Connection::rotate_connection_ids) does.
    pub fn rotate_connection_ids(&self) {
        self.shared.rotate_connection_ids();
    }

    /// Binds one more socket, and returns its address. Connections are accepted there as well, and answered from there.
    ///
    /// [`Endpoint::connect`] takes the first socket that speaks the family of the server's address, those aside that
    /// connections have moved to; so an endpoint may have one for IPv4 and one for IPv6. The socket stays as long as the
    /// endpoint.
    ///
    /// May be called from any thread, also outside the runtime.
    ///
    /// # Errors
    /// If the system has no such address, it is in use, or the endpoint has 65,536 sockets.
    pub fn add_socket(&self, socket: impl Into<SocketSource>) -> io::Result<SocketAddr> {
        self.shared.add_socket(socket.into())
    }

    /// Puts another socket in the place of the first one. The connections over that go on over the new one, with nothing
    /// lost but what the system drops; the old one is closed when what was under way has had time to arrive, after 1 s.
    ///
    /// A client does so when its network has changed. Its servers see a new address, and follow it once they have
    /// checked it (RFC 9000 §9); connections whose handshake is under way do not survive it, and those that have moved to
    /// a socket of their own ([`Connection::migrate`](crate::Connection::migrate)) stay there. A server's address must
    /// stay the same, because clients do not follow it.
    ///
    /// Each move takes one of the unused connection IDs that the server has provided, because none may be used from two
    /// addresses (RFC 9000 §9.5); new ones come with its answers. A client's connection that has none left ends with
    /// `NO_VIABLE_PATH`: so it does if the network changes several times before the server is reached again, or if the
    /// server uses empty connection IDs.
    ///
    /// May be called from any thread, also outside the runtime: where the system tells of changes of the network.
    ///
    /// # Errors
    /// If the system has no such address, or it is in use: then nothing has changed.
    pub fn rebind(&self, socket: impl Into<SocketSource>) -> io::Result<()> {
        self.shared.rebind(socket.into())
    }

    /// The address of the first socket.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.sockets.local_addr()
    }

    /// How many connections there are, those that wait for [`Endpoint::accept`] not counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// What was done and what was turned away so far.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        EndpointStats::new(&self.shared)
    }

    /// Closes all connections with this code and reason, refuses those that wait, and takes no new ones. That happens at
    /// once; the future resolves when the peers have been told, and have had one probe timeout to ask again.
    ///
    /// # Cancel safety
    /// Safe. The endpoint stays closed; closed connections go on answering late datagrams as long as it exists.
    pub fn close(&self, code: VarInt, reason: &[u8]) -> impl Future<Output = ()> + Send + use<> {
        self.shared.close(code, &Bytes::copy_from_slice(reason));
        let endpoint = self.clone();
        async move {
            let linger = endpoint.poll_until_idle().await;
            if let Some(until) = linger {
                tokio::time::sleep_until(until.into()).await;
            }
        }
    }

    /// Waits until there is no connection. It does not close any.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_idle(&self) {
        self.poll_until_idle().await;
    }

    async fn poll_until_idle(&self) -> Option<std::time::Instant> {
        let shared = &self.shared;
        wait(|ticket, cx| shared.poll_idle(ticket, cx), |ticket| shared.cancel_idle(ticket)).await
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.release();
    }
}

/// The clients that want a connection, as a [`Stream`](futures_core::Stream). It ends when the endpoint is closed.
#[derive(Debug)]
pub struct IncomingConnections {
    endpoint: Endpoint,
    ticket: Option<u64>,
}

impl futures_core::Stream for IncomingConnections {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let Self { endpoint, ticket } = &mut *self;
        let shared = &endpoint.shared;
        shared.incoming.poll_pop(ticket, cx).map(|waiting| Some(Incoming::new(waiting?, shared.clone())))
    }
}

impl Drop for IncomingConnections {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.endpoint.shared.incoming.cancel(ticket);
        }
    }
}

/// Builds an [`Endpoint`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct EndpointBuilder {
    config: EndpointConfig,
    client: Option<ClientConfig>,
    server: Option<ServerConfig>,
}

impl EndpointBuilder {
    /// Replaces the settings of the endpoint itself.
    pub fn config(mut self, config: EndpointConfig) -> Self {
        self.config = config;
        self
    }

    /// How connections are opened.
    pub fn client(mut self, config: ClientConfig) -> Self {
        self.client = Some(config);
        self
    }

    /// How connections are accepted.
    pub fn server(mut self, config: ServerConfig) -> Self {
        self.server = Some(config);
        self
    }

    /// Binds a UDP socket to `addr`. An unspecified IPv6 address stands for IPv4 as well.
    ///
    /// # Errors
    /// If the system has no such address, or it is in use.
    pub fn bind(self, addr: SocketAddr) -> io::Result<Endpoint> {
        self.on(addr.into())
    }

    /// Takes over a UDP socket that is bound already.
    ///
    /// # Errors
    /// The system's.
    pub fn udp_socket(self, socket: std::net::UdpSocket) -> io::Result<Endpoint> {
        self.on(socket.into())
    }

    /// Uses any [`Socket`], for example one of a simulated network.
    ///
    /// # Errors
    /// If the system has no randomness to give, or the settings do not fit one another: then the error holds a
    /// [`ConfigError`].
    pub fn socket(self, socket: Arc<dyn Socket>) -> io::Result<Endpoint> {
        self.on(socket.into())
    }

    fn on(self, source: SocketSource) -> io::Result<Endpoint> {
        let socket = source.open(Shared::udp_options(&self.config))?;
        let seed = match &self.config.rng_seed {
            Some(seed) => seed.0,
            None => random_seed()?,
        };
        let shared = Arc::new(Shared::new(self.config, socket.clone(), Rng::from_seed(seed)));
        shared.set_client(self.client);
        shared.set_server(self.server).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let endpoint = Endpoint::new(shared.clone());
        shared.spawn(EndpointTask::main(shared.clone(), socket));
        Ok(endpoint)
    }
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
        .map_err(|_| io::Error::other("the system's random generator failed"))?;
    Ok(seed)
}
