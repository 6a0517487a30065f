//! A connection whose handshake is under way.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Connection;
use super::wait::wait;
use crate::crypto::tls::HandshakeData;
use crate::driver::shared::connection::ConnectionRef;
use crate::error::ConnectionError;

/// A connection whose handshake is under way: a future of the [`Connection`].
///
/// It goes on whether it is polled or not. Dropping it closes the connection.
#[must_use = "dropping it closes the connection"]
pub struct Connecting {
    state: Result<ConnectionRef, ConnectionError>,
    ticket: Option<u64>,
}

impl Connecting {
    pub(super) fn new(connection: ConnectionRef) -> Self {
        Self { state: Ok(connection), ticket: None }
    }

    pub(super) fn failed(error: ConnectionError) -> Self {
        Self { state: Err(error), ticket: None }
    }

    /// What the handshake has agreed on, as soon as that is known: before the handshake is complete.
    ///
    /// # Errors
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn handshake_data(&mut self) -> Result<HandshakeData, ConnectionError> {
        let connection = self.state.as_ref().map_err(Clone::clone)?;
        let found = wait(
            |ticket, cx| connection.poll_progress(ticket, cx, |progress| progress.handshake_data.clone()),
            |ticket| connection.cancel_progress(ticket),
        );
        found.await
    }

    /// The peer's address; `None` if the connection could not even begin.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.state.as_ref().ok().map(|connection| connection.snapshot().path.remote)
    }
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { state, ticket } = &mut *self;
        match state {
            Ok(connection) => connection
                .poll_progress(ticket, cx, |progress| progress.connected.then_some(()))
                .map_ok(|()| Connection::new(connection.clone())),
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let (Ok(connection), Some(ticket)) = (&self.state, self.ticket) {
            connection.cancel_progress(ticket);
        }
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("connection", &self.state).finish_non_exhaustive()
    }
}
