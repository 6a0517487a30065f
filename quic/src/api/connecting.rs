//! A connection whose handshake is under way.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::wait::wait;
use super::{Connection, ZeroRttAccepted};
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

    /// Does not wait for the handshake: the connection as it is now, and whether early data is taken.
    ///
    /// **A client** can do so if it remembers a session with the server that allows early data, and gets itself back
    /// otherwise. What it sends on streams goes out at once, a round trip sooner than else, with keys of the earlier
    /// connection. If the server does not take it, all streams opened so far fail with `ZeroRttRejected`, in both
    /// directions, and the connection goes on: streams that are opened from then on are ordinary ones. Nothing is sent
    /// again by itself. Early data can be recorded and replayed by others, so it should ask for nothing that must not be
    /// done twice (RFC 9001 §9.2).
    ///
    /// **A server** always gets a connection. It accepts streams that clients open early, if
    /// [`ServerConfig::early_data`](crate::config::ServerConfig::early_data) takes early data, and can answer at once;
    /// [`RecvStream::is_early`](crate::RecvStream::is_early) tells those streams apart. Until
    /// [`Connection::handshake_completed`] it does not know whether a client is there at all, or what certificate it has.
    ///
    /// ```
    /// # use gannet::{Connecting, Connection, ConnectionError, SendStream, RecvStream, WriteError};
    /// async fn ask(connecting: Connecting) -> Result<(SendStream, RecvStream), Box<dyn std::error::Error>> {
    ///     let connection = match connecting.into_0rtt() {
    ///         Ok((connection, accepted)) => {
    ///             let (mut send, recv) = connection.open_bi().await?;
    ///             send.write_all(b"what time is it?").await?;
    ///             if accepted.await {
    ///                 return Ok((send, recv));
    ///             }
    ///             connection
    ///         }
    ///         Err(connecting) => connecting.await?,
    ///     };
    ///     let (mut send, recv) = connection.open_bi().await?;
    ///     send.write_all(b"what time is it?").await?;
    ///     Ok((send, recv))
    /// }
    /// ```
    ///
    /// # Errors
    /// `self`, unchanged, where there can be no early data.
    pub fn into_0rtt(mut self) -> Result<(Connection, ZeroRttAccepted), Self> {
        let connection = match &self.state {
            Ok(connection) if connection.side.is_server() => connection.clone(),
            Ok(connection) if connection.progress(|progress| progress.may_be_early) => connection.clone(),
            _ => return Err(self),
        };
        if let Some(ticket) = self.ticket.take() {
            connection.cancel_progress(ticket);
        }
        let accepted = ZeroRttAccepted::new((*connection).clone());
        Ok((Connection::new(connection), accepted))
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
