//! The future that keeps a client's connection going.

use std::fmt;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use gannet::ZeroRttAccepted;

use crate::connection::{Early, Shared, close, drive};
use crate::error::{Code, ConnectionError, Violation};

/// The part of a client's connection that belongs to no request. Poll it as long as requests are sent: it exchanges
/// settings and notices what the server says about the connection as a whole.
///
/// It resolves with `Ok` when all exchanges are done and no new ones can be begun, because all
/// [`SendRequest`](super::SendRequest)s were dropped or the server takes no more, having closed the QUIC connection; or
/// when the server has closed it without an error. Dropping it before that closes the
/// connection, and with it the exchanges that are under way.
#[must_use = "a connection does nothing unless it is polled"]
pub struct Connection {
    shared: Arc<Shared>,
    running: Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, accepted: Option<ZeroRttAccepted>) -> Self {
        let running = Box::pin(run(Arc::clone(&shared), accepted));
        Self { shared, running }
    }

    /// Tells the server that no more pushes are wanted and, by that, that the connection is about to end (RFC 9114 §5.2).
    /// Requests can still be sent and are waited for.
    pub fn graceful_shutdown(&self) {
        self.shared.go_away(0);
    }

    /// The QUIC connection.
    pub fn quic(&self) -> &gannet::Connection {
        &self.shared.quic
    }
}

impl Future for Connection {
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.running.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Before the critical streams are dropped, whose end would be an error.
        if self.shared.quic.close_reason().is_none() {
            self.shared.quic.close(Code::H3_NO_ERROR.into(), b"");
        }
        self.shared.give_up_early();
    }
}

async fn run(shared: Arc<Shared>, accepted: Option<ZeroRttAccepted>) -> Result<(), ConnectionError> {
    let outcome = run_to_end(&shared, accepted).await;
    // It can end between two looks at what becomes of early data.
    shared.give_up_early();
    outcome
}

async fn run_to_end(shared: &Shared, accepted: Option<ZeroRttAccepted>) -> Result<(), ConnectionError> {
    let mut driver = pin!(drive(shared));
    let error = tokio::select! {
        // First: what the driver hears of streams that are gone is explained by it.
        biased;
        never = settle(shared, accepted) => match never {},
        error = &mut driver => error,
        error = server_streams(shared) => error,
        () = shared.unused() => {
            shared.go_away(0);
            tokio::select! {
                biased;
                error = &mut driver => error,
                () = close(shared) => return Ok(()),
            }
        }
    };
    if error.is_graceful() { Ok(()) } else { Err(error) }
}

/// Finds out what becomes of early data.
async fn settle(shared: &Shared, accepted: Option<ZeroRttAccepted>) -> std::convert::Infallible {
    if let Some(accepted) = accepted {
        if accepted.await {
            // Until then what is sent is early data still. If the connection ends instead, requests find that out.
            let _ = shared.quic.handshake_completed().await;
            shared.set_early(Early::Settled);
        } else {
            shared.set_early(Early::Rejected);
        }
    }
    pending().await
}

/// A server does not open bidirectional streams (RFC 9114 §6.1).
async fn server_streams(shared: &Shared) -> ConnectionError {
    match shared.quic.accept_bi().await {
        Ok(_) => {
            shared.fail(Violation::new(Code::H3_STREAM_CREATION_ERROR, "a bidirectional stream of a server"))
        }
        // The driver tells why.
        Err(_) => pending().await,
    }
}
