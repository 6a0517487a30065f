//! Where a connection runs, and how it moves.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::oneshot;

use super::Connection;
use crate::api::wait::wait;
use crate::driver::shared::connection::Migrate;
use crate::error::{ConnectionError, MigrateError};
use crate::net::SocketSource;

impl Connection {
    /// The peer's address. It changes when a client moves, or a server asks to be reached elsewhere; see
    /// [`Connection::path_changes`].
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.snapshot().path.remote
    }

    /// Our own address, where it is known: where the system tells to which of several a datagram was sent, and where the
    /// connection has moved to a socket with an address of its own.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.shared.snapshot().path.local_ip
    }

    /// Moves a client's connection to another socket, for example one on another network: an address to bind, or a socket
    /// that is bound. Streams do not notice.
    ///
    /// The way from there to the server is tried first (RFC 9000 §9.2), while the connection goes on as it was. It moves
    /// when the server has answered, and this resolves; if the server does not, it stays where it was. The socket it
    /// has left is closed a second later, unless it is the endpoint's own. No other connection begins on the new socket:
    /// none is opened over it, and none accepted.
    ///
    /// To change the socket of all connections of an endpoint at once, because the old one is of no use any more, call
    /// [`Endpoint::rebind`](crate::Endpoint::rebind).
    ///
    /// # Errors
    /// If it cannot be tried, or has failed; see [`MigrateError`]. The connection goes on in each case but
    /// [`MigrateError::Closed`].
    ///
    /// # Cancel safety
    /// Once polled, the connection moves if it can, whether or not anybody waits to hear of it.
    pub async fn migrate(&self, socket: impl Into<SocketSource>) -> Result<(), MigrateError> {
        let (answer, answered) = oneshot::channel();
        let migrate = Migrate { socket: socket.into(), answer };
        // The one before that is not begun yet is told so, and its socket closed.
        drop(self.shared.command(|commands| commands.migrate.replace(migrate)));
        // Whoever closes sets the mark and then drops the requests: one of the two is seen.
        if self.close_reason().is_some() {
            return Err(MigrateError::Closed);
        }
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) if self.close_reason().is_some() => Err(MigrateError::Closed),
            Err(_) => Err(MigrateError::Superseded),
        }
    }

    /// Tells of changes of the path from now on.
    #[must_use]
    pub fn path_changes(&self) -> PathChanges {
        let seen = self.shared.progress(|progress| progress.path_changes);
        PathChanges { connection: self.clone(), seen }
    }
}

/// Tells when the path of a connection changes: the peer is at another address, or this end is.
///
/// It stands for the connection as a [`Connection`] does.
pub struct PathChanges {
    connection: Connection,
    /// How many changes it has told of, or found.
    seen: u64,
}

impl PathChanges {
    /// Waits for a change since the last call, or since this was made. Several changes count as one; the connection tells
    /// where it is now ([`Connection::remote_address`], [`Connection::local_ip`]).
    ///
    /// # Errors
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Safe: the next call finds the change.
    pub async fn changed(&mut self) -> Result<(), ConnectionError> {
        let (shared, seen) = (&self.connection.shared, self.seen);
        let changes = wait(
            |ticket, cx| {
                shared.poll_progress(ticket, cx, |progress| {
                    (progress.path_changes != seen).then_some(progress.path_changes)
                })
            },
            |ticket| shared.cancel_progress(ticket),
        );
        self.seen = changes.await?;
        Ok(())
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for PathChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathChanges").field("connection", &self.connection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::driver::shared::connection::testing::connection;
    use crate::driver::shared::connection::{Connection as Shared, ConnectionRef};

    /// Asks for something of a connection when it is woken, as a task that is polled at once may.
    struct Asks(Arc<Shared>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.0.command(|commands| commands.rotate_ids = true);
        }
    }

    #[test]
    fn a_move_that_is_superseded_is_woken_without_a_lock() {
        let shared = connection();
        let connection = Connection::new(ConnectionRef::new(shared.clone()));
        let addr: SocketAddr = ([127, 0, 0, 1], 0).into();
        let waker = Waker::from(Arc::new(Asks(shared.clone())));
        let mut cx = Context::from_waker(&waker);
        let (mut first, mut second) = (pin!(connection.migrate(addr)), pin!(connection.migrate(addr)));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let commands = shared.take_commands().unwrap();
        assert!(commands.rotate_ids && commands.migrate.is_some());
        assert!(first.as_mut().poll(&mut cx).is_ready());
    }
}
