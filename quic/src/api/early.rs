//! Whether early data was taken.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::driver::shared::connection::{Connection, Progress};

/// A future that tells whether early data was taken, from [`Connecting::into_0rtt`](crate::Connecting::into_0rtt).
///
/// At a client it resolves when the server has said so: `true` if it takes the data; `false` if it does not, or the
/// connection ended before. At a server it resolves when the ClientHello was read, or later: `true` if the client offers
/// early data and this end takes it. It does not keep the connection open.
///
/// # Cancel safety
/// Safe. It may be dropped at any time, and need not be polled for anything to go on.
#[must_use = "futures do nothing unless polled"]
pub struct ZeroRttAccepted {
    connection: Arc<Connection>,
    ticket: Option<u64>,
}

impl ZeroRttAccepted {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, ticket: None }
    }
}

impl Future for ZeroRttAccepted {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Self { connection, ticket } = &mut *self;
        let known = |progress: &Progress| progress.early_data.or(progress.connected.then_some(false));
        connection.poll_progress(ticket, cx, known).map(|known| known.unwrap_or(false))
    }
}

impl Drop for ZeroRttAccepted {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.connection.cancel_progress(ticket);
        }
    }
}

impl fmt::Debug for ZeroRttAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZeroRttAccepted(..)")
    }
}
