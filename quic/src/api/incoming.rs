//! A client that wants a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Connecting;
use crate::config::ServerConfig;
use crate::crypto::ClientHello;
use crate::driver::accept::Waiting;
use crate::driver::shared::endpoint::Endpoint;
use crate::error::ConnectionError;
use crate::packet::FourTuple;

/// A client that wants a connection. Its first Initial was genuine; nothing has been spent on it yet.
///
/// Dropping it refuses.
pub struct Incoming {
    /// Taken by whoever decides.
    waiting: Option<Waiting>,
    path: FourTuple,
    validated: bool,
    may_retry: bool,
    version: u32,
    endpoint: Arc<Endpoint>,
}

impl Incoming {
    pub(super) fn new(waiting: Waiting, endpoint: Arc<Endpoint>) -> Self {
        let incoming = &waiting.incoming;
        Self {
            path: incoming.path(),
            validated: incoming.is_validated(),
            may_retry: incoming.may_retry(),
            version: incoming.version(),
            waiting: Some(waiting),
            endpoint,
        }
    }

    /// Makes a connection of it, as the endpoint's [`ServerConfig`] says.
    ///
    /// An error that shows at once, for example because the endpoint is closed, comes out of the [`Connecting`].
    pub fn accept(self) -> Connecting {
        match self.endpoint.server() {
            Some(config) => self.accept_shared(config),
            None => Connecting::failed(ConnectionError::LocallyClosed),
        }
    }

    /// Makes a connection of it with settings of its own.
    pub fn accept_with(self, config: ServerConfig) -> Connecting {
        self.accept_shared(Arc::new(config))
    }

    fn accept_shared(mut self, config: Arc<ServerConfig>) -> Connecting {
        let Some(waiting) = self.waiting.take() else {
            return Connecting::failed(ConnectionError::LocallyClosed);
        };
        match waiting.accept(&self.endpoint, config) {
            Ok(connection) => Connecting::new(connection),
            Err(error) => Connecting::failed(error),
        }
    }

    /// Tells the client that there will be no connection: CONNECTION_REFUSED.
    pub fn refuse(self) {
        drop(self);
    }

    /// Asks the client to come again with a token that proves its address (RFC 9000 §8.1.2).
    ///
    /// # Errors
    /// [`RetryError`], with the incoming connection in it, if the client has done so already.
    pub fn retry(mut self) -> Result<(), RetryError> {
        match self.waiting.take().and_then(|waiting| waiting.retry(&self.endpoint)) {
            None => Ok(()),
            refused => {
                self.waiting = refused;
                Err(RetryError(Box::new(self)))
            }
        }
    }

    /// Forgets the client without a word. It will try again until it gives up.
    pub fn ignore(mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.ignore(&self.endpoint);
        }
    }

    /// The client's address. Anybody can forge it, unless [`Incoming::is_validated`].
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.path.remote
    }

    /// The address that the client sent to, where the system tells it.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.path.local_ip
    }

    /// True if the client has proven that it receives at its address: it has followed a Retry, or shows the token of an
    /// earlier connection (RFC 9000 §8.1).
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.validated
    }

    /// True if [`Incoming::retry`] is possible: a client follows one Retry.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.may_retry
    }

    /// The QUIC version of the client's first Initial.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the client asks for, server name and application protocols among it; `None` while a part of it is still
    /// missing, or if it is no ClientHello at all. None of it is authenticated.
    #[must_use]
    pub fn client_hello(&mut self) -> Option<ClientHello> {
        let waiting = self.waiting.as_mut()?;
        waiting.absorb();
        waiting.incoming.client_hello()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.refuse(&self.endpoint);
        }
    }
}

impl IntoFuture for Incoming {
    type Output = Result<super::Connection, ConnectionError>;
    type IntoFuture = Connecting;

    fn into_future(self) -> Connecting {
        self.accept()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("remote_address", &self.remote_address()).finish_non_exhaustive()
    }
}

/// The client has followed a Retry already; a second one is not allowed (RFC 9000 §17.2.5.2).
#[derive(Debug, thiserror::Error)]
#[error("the client has followed a Retry already")]
pub struct RetryError(Box<Incoming>);

impl RetryError {
    /// The connection that is still to be decided on.
    #[must_use]
    pub fn into_incoming(self) -> Incoming {
        *self.0
    }
}
