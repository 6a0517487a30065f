//! The handle of a virtual network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::carrier::{Carrier, Task};
use super::socket::{Queue, VirtualSocket};
use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::net::Socket;
use crate::net::sim::{Event, LinkEnd, LinkStats, Node};
use crate::packet::Rng;
use crate::{Endpoint, EndpointBuilder};

/// Where the ports begin that are chosen for sockets.
const FIRST_EPHEMERAL: u16 = 49_152;

/// A virtual network: hosts, the links between them, and what is on its way. See the [module](super).
///
/// A cheap handle: clones stand for the same network. It lives as long as a handle or one of its sockets does.
#[derive(Debug, Clone)]
pub struct Network {
    carrier: Arc<Carrier>,
}

impl Network {
    /// A network without links, whose time begins now. The seed decides what happens on the links.
    ///
    /// # Panics
    /// If called outside of a tokio runtime. Its sockets belong to endpoints of that runtime.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let carrier = Arc::new(Carrier::new(seed, crate::driver::now()));
        drop(tokio::spawn(Task::new(&carrier)));
        Self { carrier }
    }

    /// Lays a link in one direction between two hosts, or changes the one that is there: what is on its way passes the
    /// nodes before, and what comes after that passes these, in order.
    ///
    /// `vec![Node::Loss(1.0)]` is a link that is broken, and `vec![]` one on which nothing happens.
    pub fn link(&self, from: impl Into<LinkEnd>, to: impl Into<LinkEnd>, nodes: Vec<Node>) {
        self.carrier.lock().links.link(from, to, nodes);
    }

    /// Lays or changes the links in both directions, each with these nodes.
    pub fn link_both(&self, one: impl Into<LinkEnd>, other: impl Into<LinkEnd>, nodes: &[Node]) {
        self.carrier.lock().links.link_both(one, other, nodes);
    }

    /// Lays such a link between any two hosts that have none when the first datagram is sent; each has its own.
    pub fn link_everywhere(&self, nodes: Vec<Node>) {
        self.carrier.lock().links.link_everywhere(nodes);
    }

    /// Makes a node that several links have in common, so that their datagrams compete for it: put copies of what this
    /// returns into the links. A bottleneck shared this way has one queue for all of them.
    ///
    /// It belongs to this network; on another one it does nothing.
    #[must_use]
    pub fn share(&self, node: Node) -> Node {
        self.carrier.lock().links.share(node)
    }

    /// Puts a host behind a NAT at this address, or moves it there: from now on others see each of its sockets at a port
    /// of that address. Call it again for new ports, with the same address or another one; what is sent to the old ones
    /// goes nowhere, and what is on its way still arrives. Several hosts can share an address outside, which must be that
    /// of no host.
    ///
    /// Links are laid to and from the host's own address.
    pub fn nat(&self, host: IpAddr, outside: IpAddr) {
        self.carrier.lock().links.place_behind(host, outside);
    }

    /// A socket at this address, for example `([10, 0, 0, 1], 443)`. For port 0 one is chosen that is free.
    ///
    /// It is what [`EndpointBuilder::socket`], [`Endpoint::rebind`], [`Endpoint::add_socket`] and
    /// [`Connection::migrate`](crate::Connection::migrate) take. The address is free again when the endpoint has closed
    /// the socket.
    ///
    /// # Errors
    /// `AddrInUse` if there is such a socket, or no port is left; `AddrNotAvailable` for an unspecified address.
    pub fn bind(&self, addr: impl Into<SocketAddr>) -> io::Result<Arc<dyn Socket>> {
        let mut addr = addr.into();
        if addr.ip().is_unspecified() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let queue = Arc::new(Queue::default());
        {
            let sockets = &mut self.carrier.lock().sockets;
            if addr.port() == 0 {
                let mut ports = FIRST_EPHEMERAL..=u16::MAX;
                let free = ports.find(|port| !sockets.contains_key(&SocketAddr::new(addr.ip(), *port)));
                addr.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
            }
            if sockets.contains_key(&addr) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            sockets.insert(addr, queue.clone());
        }
        Ok(Arc::new(VirtualSocket::new(self.carrier.clone(), addr, queue)))
    }

    /// An endpoint that opens connections from this address, with default settings and randomness from the seed.
    ///
    /// # Errors
    /// Those of [`Network::bind`].
    pub fn client(&self, addr: impl Into<SocketAddr>, config: ClientConfig) -> io::Result<Endpoint> {
        self.endpoint(addr.into(), |builder| builder.client(config))
    }

    /// An endpoint that accepts connections at this address, with default settings and randomness from the seed.
    ///
    /// # Errors
    /// Those of [`Network::bind`].
    pub fn server(&self, addr: impl Into<SocketAddr>, config: ServerConfig) -> io::Result<Endpoint> {
        self.endpoint(addr.into(), |builder| builder.server(config))
    }

    fn endpoint(
        &self,
        addr: SocketAddr,
        role: impl FnOnce(EndpointBuilder) -> EndpointBuilder,
    ) -> io::Result<Endpoint> {
        let socket = self.bind(addr)?;
        let config = EndpointConfig::builder().rng_seed(self.rng_seed(socket.local_addr()?)).build();
        let config = config.map_err(io::Error::other)?;
        role(Endpoint::builder().config(config)).socket(socket)
    }

    /// A seed for the randomness of the endpoint at this address
    /// ([`EndpointConfigBuilder::rng_seed`](crate::config::EndpointConfigBuilder::rng_seed)): it depends on the
    /// address and the seed of the network alone.
    #[must_use]
    pub fn rng_seed(&self, addr: SocketAddr) -> [u8; 32] {
        let mut seed = Rng::from_u64(self.carrier.seed).array();
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        for (byte, add) in seed.iter_mut().zip(ip.into_iter().chain(addr.port().to_be_bytes())) {
            *byte ^= add;
        }
        Rng::from_seed(seed).array()
    }

    /// How much time has passed since the network was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let mut state = self.carrier.lock();
        state.links.set_now(crate::driver::now());
        state.links.elapsed()
    }

    /// What happened on the link between two hosts so far; `None` if there is none.
    #[must_use]
    pub fn stats(&self, from: impl Into<LinkEnd>, to: impl Into<LinkEnd>) -> Option<LinkStats> {
        self.carrier.lock().links.stats(from, to)
    }

    /// What happened at a node that [`Network::share`] made, on all links together; `None` for any other node.
    #[must_use]
    pub fn shared_stats(&self, node: &Node) -> Option<LinkStats> {
        self.carrier.lock().links.shared_stats(node)
    }

    /// How many datagrams were sent to where no link leads, or to where a NAT lets nobody in, or reached a host that has
    /// no such socket, or no room in it.
    #[must_use]
    pub fn unroutable(&self) -> u64 {
        let state = self.carrier.lock();
        state.links.unroutable() + state.undelivered
    }

    /// Begins to write down what happens to each datagram; see [`Network::take_events`].
    pub fn record(&self) {
        self.carrier.lock().links.keep_log();
    }

    /// What happened since [`Network::record`], or since the last call of this, in the order in which it did. The list
    /// grows until it is taken.
    ///
    /// Two runs that have the same list are the same, as far as the network can tell.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        self.carrier.lock().links.take_log()
    }
}
