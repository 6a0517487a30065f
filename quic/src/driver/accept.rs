//! Connections that come in, from their first Initial to the application's decision.

use std::sync::Arc;

use super::connection_task::{ServerTask, Start};
use super::ending::Ending;
use super::inbox::{Inbox, MIN_LIMIT};
use super::routes::Entries;
use super::shared::admission::Handshaking;
use super::shared::connection::{Connection, ConnectionRef};
use super::shared::endpoint::{Counters, Endpoint};
use crate::config::ServerConfig;
use crate::error::ConnectionError;
use crate::net::Transmit;
use crate::packet::{FourTuple, Side};
use crate::proto::endpoint::{self, Incoming};

/// A client that waits for a decision. What it sends meanwhile collects in the inbox.
#[derive(Debug)]
pub struct Waiting {
    /// Its first Initial.
    pub incoming: Incoming,
    /// The datagrams after it.
    pub inbox: Arc<Inbox>,
    /// Counts it.
    pub handshaking: Handshaking,
}

impl Waiting {
    /// Moves what has come meanwhile to the first Initial.
    pub fn absorb(&mut self) {
        let (mut bursts, mut processed) = (std::collections::VecDeque::new(), 0);
        loop {
            self.inbox.take(&mut bursts, std::mem::take(&mut processed));
            if bursts.is_empty() {
                return;
            }
            for burst in bursts.drain(..) {
                processed += super::inbox::weight(&burst);
                if !self.incoming.absorb(burst) {
                    let remote = self.incoming.path().remote;
                    tracing::debug!(%remote, "more datagrams before the decision than are kept");
                }
                // Few bytes: what is kept of a client has a limit of its own.
                self.handshaking.set_bytes(self.incoming.held());
            }
        }
    }

    /// Makes a connection of it.
    pub fn accept(
        mut self,
        endpoint: &Arc<Endpoint>,
        config: Arc<ServerConfig>,
    ) -> Result<ConnectionRef, ConnectionError> {
        self.absorb();
        let Self { incoming, inbox, handshaking } = self;
        let path = incoming.path();
        let shared = Connection::new(Side::Server, inbox.clone(), &config.transport, path);
        let handle = ConnectionRef::new(shared.clone());
        if !endpoint.register(&shared, None) {
            Self { incoming, inbox, handshaking }.refuse(endpoint);
            return Err(ConnectionError::LocallyClosed);
        }
        Counters::count(&endpoint.counters.accepted);
        let handshake = MIN_LIMIT.max(endpoint.config.incoming_buffer_size);
        inbox.on_accepted(handshake, Inbox::limit(config.transport.receive_window));
        let initial = Some((path.remote, incoming.dcid()));
        let mut ending = Ending::new(endpoint.clone(), shared, Entries { initial, ..Entries::default() });
        ending.handshaking = Some(handshaking);
        let start = Box::new(Start { incoming, config, ending });
        endpoint.spawn(ServerTask::New(Some(start)));
        Ok(handle)
    }

    /// Tells the client that there will be no connection.
    pub fn refuse(self, endpoint: &Endpoint) {
        refuse(endpoint, &self.incoming);
        self.forget(endpoint);
    }

    /// Asks the client to come again with a token that proves its address. Gives it back if it has followed one already.
    pub fn retry(self, endpoint: &Endpoint) -> Option<Self> {
        if !retry(endpoint, &self.incoming) {
            return Some(self);
        }
        self.forget(endpoint);
        None
    }

    /// Forgets the client without a word.
    pub fn ignore(self, endpoint: &Endpoint) {
        Counters::count(&endpoint.counters.ignored);
        self.forget(endpoint);
    }

    fn forget(self, endpoint: &Endpoint) {
        let Self { incoming, inbox, .. } = self;
        endpoint.routes.remove_initial(&inbox, incoming.path().remote, incoming.dcid());
        inbox.close();
        // It may have been the last thing that the endpoint's task was there for.
        endpoint.signal.set();
    }
}

/// Tells a client that there will be no connection.
pub fn refuse(endpoint: &Endpoint, incoming: &Incoming) {
    Counters::count(&endpoint.counters.refused);
    answer(endpoint, incoming.path(), &endpoint::refuse(incoming));
}

/// Asks a client to come again with a token that proves its address. False if it has followed a Retry already.
pub fn retry(endpoint: &Endpoint, incoming: &Incoming) -> bool {
    let mut rng = endpoint.fork_rng();
    let ids = &*endpoint.core.connection_ids;
    let retry = endpoint::retry(incoming, super::wall_clock(), &endpoint.tokens, ids, &mut rng);
    if let Some(retry) = &retry {
        Counters::count(&endpoint.counters.retries);
        answer(endpoint, incoming.path(), retry);
    }
    retry.is_some()
}

/// Sends an answer that belongs to no connection. It never waits: what the socket has no room for is lost.
pub fn answer(endpoint: &Endpoint, path: FourTuple, datagram: &[u8]) {
    let transmit = Transmit {
        remote: path.remote,
        local_ip: path.local_ip,
        ecn: None,
        contents: datagram,
        segment_size: datagram.len(),
    };
    let Some(socket) = endpoint.sockets.get(path.socket) else { return };
    if let Err(error) = socket.try_send(&transmit) {
        tracing::debug!(%error, remote = %path.remote, "a stateless answer was not sent");
    }
}
