//! What all connections of an endpoint share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{ConfigError, ConnectionIdGenerator, RandomConnectionIds, check};
use crate::packet::MAX_CID_LEN;

/// A secret of an endpoint; never printed.
#[derive(Clone)]
pub(crate) struct Secret(
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "read by the driver"))] pub(crate) [u8; 32],
);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How an endpoint names its connections, whom it lets in, and how large its buffers are.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    pub(crate) connection_ids: Arc<dyn ConnectionIdGenerator>,
    /// Drawn at random by the endpoint if not set.
    pub(crate) reset_key: Option<Secret>,
    /// Drawn at random by the endpoint if not set.
    pub(crate) token_key: Option<Secret>,
    pub(crate) token_key_period: Duration,
    pub(crate) rng_seed: Option<Secret>,
    pub(crate) max_connections: usize,
    pub(crate) max_incoming: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) max_handshakes_per_network: usize,
    pub(crate) unauthenticated_memory: usize,
    pub(crate) memory_budget: u64,
    pub(crate) incoming_buffer_size: usize,
    pub(crate) stateless_answers_per_second: u32,
    pub(crate) socket_receive_buffer: usize,
    pub(crate) socket_send_buffer: usize,
    pub(crate) gso: bool,
}

impl EndpointConfig {
    /// Starts from the defaults.
    pub fn builder() -> EndpointConfigBuilder {
        EndpointConfigBuilder(Self::default())
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            connection_ids: Arc::new(RandomConnectionIds::default()),
            reset_key: None,
            token_key: None,
            token_key_period: Duration::from_secs(24 * 3600),
            rng_seed: None,
            max_connections: 1 << 20,
            max_incoming: 1024,
            max_handshakes: 4096,
            max_handshakes_per_network: 1024,
            unauthenticated_memory: 64 << 20,
            memory_budget: 1 << 30,
            incoming_buffer_size: 64 << 10,
            stateless_answers_per_second: 10_000,
            socket_receive_buffer: 4 << 20,
            socket_send_buffer: 4 << 20,
            gso: true,
        }
    }
}

/// Builds an [`EndpointConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EndpointConfigBuilder(EndpointConfig);

impl EndpointConfigBuilder {
    /// How our connection IDs are made. Default [`RandomConnectionIds`] of 8 bytes.
    pub fn connection_ids(mut self, generator: impl ConnectionIdGenerator + 'static) -> Self {
        self.0.connection_ids = Arc::new(generator);
        self
    }

    /// The key that stateless reset tokens are derived from (RFC 9000 §10.3.2). Default random.
    ///
    /// With a fixed key an endpoint can reset the connections of its predecessor after a restart. Servers that share
    /// one must not get packets of each other's connections while these live: whoever can send such a packet to the
    /// wrong one gets the reset that ends the connection (RFC 9000 §21.11).
    pub fn reset_key(mut self, key: [u8; 32]) -> Self {
        self.0.reset_key = Some(Secret(key));
        self
    }

    /// The secret that the keys of address validation tokens are derived from (RFC 9000 §8.1). Default random.
    ///
    /// Endpoints that clients take for one server need to share it, for instance those behind a load balancer.
    pub fn token_key(mut self, key: [u8; 32]) -> Self {
        self.0.token_key = Some(Secret(key));
        self
    }

    /// For how long tokens are sealed with one key before the next takes over; it opens tokens for as long again, whatever
    /// lifetime they have. Default 24 hours, at least a minute. Endpoints that share a token key must share it.
    pub fn token_key_period(mut self, period: Duration) -> Self {
        self.0.token_key_period = period;
        self
    }

    /// Where all randomness of the endpoint starts from. Default the system's; a fixed seed is for simulations
    /// only, because whoever knows it can guess connection IDs and tokens.
    pub fn rng_seed(mut self, seed: [u8; 32]) -> Self {
        self.0.rng_seed = Some(Secret(seed));
        self
    }

    /// How many connections the endpoint has at most, those that come in and are not accepted yet included.
    /// Default 2^20. New ones beyond it are refused.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.0.max_connections = connections;
        self
    }

    /// How many connections may wait for `accept`. Default 1024. Those beyond it are asked to come again with
    /// Retry, or refused if they have.
    pub fn max_incoming(mut self, connections: usize) -> Self {
        self.0.max_incoming = connections;
        self
    }

    /// How many handshakes of clients are under way at most, those included that wait for `accept`. Default 4096. Clients
    /// beyond it are asked to come again with Retry, or refused if they have.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.0.max_handshakes = handshakes;
        self
    }

    /// The same for the clients of one IPv4 address, or of one IPv6 network of 64 bits. Default 1024.
    ///
    /// Clients that have proven their address are counted apart from those that have not: whoever forges an address keeps
    /// out nobody who really is there.
    pub fn max_handshakes_per_network(mut self, handshakes: usize) -> Self {
        self.0.max_handshakes_per_network = handshakes;
        self
    }

    /// How many bytes all clients together may occupy that have not completed the handshake. Default 64 MiB, at least 128
    /// KiB.
    ///
    /// Half of it is for datagrams that wait to be looked at; when that is full they are dropped. The other half is for what
    /// is kept of clients: a basic amount for each, TLS messages, packets that came before their keys. Clients that have
    /// not proven their address may use half of either. Who comes when it is used up is asked to come again, or refused; who
    /// makes us keep more than 8 KiB then is ended with CONNECTION_REFUSED. Early data (0-RTT) are not counted: their
    /// senders are known from an earlier connection, and the receive window bounds them.
    pub fn unauthenticated_memory(mut self, bytes: usize) -> Self {
        self.0.unauthenticated_memory = bytes;
        self
    }

    /// How many bytes all connections together may hold. Default 1 GiB, at least 1 MiB.
    ///
    /// A connection counts for 16 KiB, and for what has arrived and was not read, what was written and is not acknowledged,
    /// datagrams (RFC 9221) that wait to be read or sent, and UDP datagrams that wait for its task. When three quarters are
    /// used no receive window grows, those that tune themselves become small, and so do send budgets and queues of datagrams.
    /// When all is used clients are asked to come again, or refused if they have. By how much windows exceed what they began
    /// with is counted apart, and has the same limit; a window on which hardly anything has arrived for 5 s counts for an
    /// eighth there.
    ///
    /// Windows that connections begin with are not reserved, and what was promised to peers is kept: whoever has so many
    /// connections that the windows they begin with
    /// ([`initial_receive_window`](super::TransportConfigBuilder::initial_receive_window)) do not fit, and reads from none
    /// of them, can still be made to hold more.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.0.memory_budget = bytes;
        self
    }

    /// How many bytes are kept for a connection that waits for `accept`. Default 64 KiB, at least 4096.
    pub fn incoming_buffer_size(mut self, bytes: usize) -> Self {
        self.0.incoming_buffer_size = bytes;
        self
    }

    /// How many stateless answers leave per second: Version Negotiation, Retry, refusals and stateless resets
    /// together. Default 10,000.
    pub fn stateless_answers_per_second(mut self, answers: u32) -> Self {
        self.0.stateless_answers_per_second = answers;
        self
    }

    /// The receive buffer asked of the system for each socket, bytes. Default 4 MiB; the system may grant less.
    pub fn socket_receive_buffer(mut self, bytes: usize) -> Self {
        self.0.socket_receive_buffer = bytes;
        self
    }

    /// The send buffer asked of the system for each socket, bytes. Default 4 MiB; the system may grant less.
    pub fn socket_send_buffer(mut self, bytes: usize) -> Self {
        self.0.socket_send_buffer = bytes;
        self
    }

    /// Whether several datagrams leave in one system call where the system can (GSO). Default on.
    pub fn gso(mut self, on: bool) -> Self {
        self.0.gso = on;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn build(self) -> Result<EndpointConfig, ConfigError> {
        let c = &self.0;
        check(c.connection_ids.len() <= MAX_CID_LEN, "connection_ids", "are longer than 20 bytes")?;
        check(c.max_connections > 0, "max_connections", "is 0")?;
        check(c.max_incoming > 0, "max_incoming", "is 0")?;
        check(c.max_handshakes > 0, "max_handshakes", "is 0")?;
        check(c.max_handshakes_per_network > 0, "max_handshakes_per_network", "is 0")?;
        check(c.memory_budget >= 1 << 20, "memory_budget", "is below 1 MiB")?;
        check(c.unauthenticated_memory >= 128 << 10, "unauthenticated_memory", "is below 128 KiB")?;
        check(c.token_key_period >= Duration::from_secs(60), "token_key_period", "is below a minute")?;
        check(c.incoming_buffer_size >= 4096, "incoming_buffer_size", "is below 4096")?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_checks() {
        EndpointConfig::builder().build().unwrap();
        let error = EndpointConfig::builder().max_incoming(0).build().unwrap_err();
        assert_eq!(error.setting, "max_incoming");
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = EndpointConfig::builder().reset_key([0xab; 32]).build().unwrap();
        assert!(!format!("{config:?}").contains("171"));
    }
}
