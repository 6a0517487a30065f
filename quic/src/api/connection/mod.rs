//! A connection: [`open`] and [`accept`] streams, send and read [`datagrams`], ask for its state ([`info`]), [`close`] it,
//! move it to another socket ([`path`]).

mod accept;
mod close;
mod datagrams;
mod info;
mod open;
mod path;

use std::fmt;

pub use datagrams::{DatagramOptions, DatagramTracker};
pub use info::ConnectionStats;
pub use path::PathChanges;

use crate::driver::shared::connection::ConnectionRef;

/// A QUIC connection.
///
/// A cheap handle: clones stand for the same connection. When the last handle to it or to one of its streams is dropped,
/// the connection is closed with code 0, and what the peer has not acknowledged by then is lost; see
/// [`Connection::close`] for how to end in order.
#[derive(Clone)]
pub struct Connection {
    shared: ConnectionRef,
}

impl Connection {
    pub(crate) fn new(shared: ConnectionRef) -> Self {
        Self { shared }
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &std::sync::Arc<crate::driver::shared::connection::Connection> {
        &self.shared
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side())
            .field("remote_address", &self.remote_address())
            .field("stable_id", &self.stable_id())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Connection {
    /// True for handles of the same connection.
    fn eq(&self, other: &Self) -> bool {
        self.shared.stable_id == other.shared.stable_id
    }
}

impl Eq for Connection {}
