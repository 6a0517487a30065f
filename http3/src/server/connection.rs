//! Requests of a connection, and its graceful end.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gannet::{RecvStream, SendStream};
use http::Request;
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use super::request::ReadRequest;
use super::respond::SendResponse;
use crate::body::RecvBody;
use crate::connection::{Shared, close, drive};
use crate::error::{Code, ConnectionError};
use crate::proto::connection::GOAWAY_ALL;

/// How many requests may be waited for whose headers have not arrived as a whole.
const MAX_HEADS: usize = 256;

/// How far a graceful shutdown has come (RFC 9114 §5.2).
enum Phase {
    Running,
    /// GOAWAY said that no new requests are wanted; those under way are let in until the timer ends.
    Announced(Pin<Box<Sleep>>),
    /// GOAWAY said which request is the first that is refused.
    Refusing,
}

/// A server's end of an HTTP/3 connection.
///
/// Dropping it closes the connection, and with it the exchanges that are under way.
pub struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
    /// Requests whose headers have not arrived as a whole.
    heads: FuturesUnordered<ReadRequest>,
    /// The first request that was not accepted.
    next_request: u64,
    phase: Phase,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let driver = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let error = drive(&shared).await;
                tracing::debug!(%error, "the connection has ended");
            }
        });
        Self {
            shared,
            driver: driver.abort_handle(),
            heads: FuturesUnordered::new(),
            next_request: 0,
            phase: Phase::Running,
        }
    }

    /// The QUIC connection.
    pub fn quic(&self) -> &gannet::Connection {
        &self.shared.quic
    }

    pub(super) fn max_concurrent_requests(&self) -> usize {
        self.shared.config.max_concurrent_requests
    }

    /// The next request, with what answers it. Requests come in the order in which their headers are complete; malformed
    /// ones are answered as RFC 9114 §4.1.2 says and do not appear.
    ///
    /// `Ok(None)` is the ordinary end: the client has closed the connection without an error, it was idle for too long
    /// while no request was being answered, or a [graceful shutdown](Self::graceful_shutdown) is complete.
    ///
    /// # Errors
    /// Why the connection has ended otherwise.
    ///
    /// # Cancel safety
    /// Safe: no request is lost.
    pub async fn accept(&mut self) -> Result<Option<(Request<RecvBody>, SendResponse)>, ConnectionError> {
        loop {
            let shared = &*self.shared;
            let waiting = self.heads.len();
            tokio::select! {
                // First what clients that never pause must not hold up.
                biased;
                () = shutdown(shared, &mut self.phase, self.next_request, waiting == 0) => return Ok(None),
                read = next_head(&mut self.heads) => {
                    if let Some(request) = read {
                        return Ok(Some(request));
                    }
                }
                accepted = shared.quic.accept_bi(), if waiting < MAX_HEADS => match accepted {
                    Ok((send, recv)) => {
                        if let Some(request) = self.start(send, recv) {
                            return Ok(Some(request));
                        }
                    }
                    Err(error) => return ended(shared, error),
                },
            }
        }
    }

    /// Begins to read a request. Most often its headers have come with the stream.
    fn start(&mut self, send: SendStream, recv: RecvStream) -> Option<(Request<RecvBody>, SendResponse)> {
        let id = send.id().as_u64();
        if matches!(self.phase, Phase::Refusing) && id >= self.next_request {
            return refuse(send, recv);
        }
        self.next_request = self.next_request.max(id.saturating_add(4));
        let mut head = ReadRequest::new(&self.shared, send, recv);
        match Pin::new(&mut head).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(request) => request,
            Poll::Pending => {
                // It is polled again, with a waker, when it is first waited for.
                self.heads.push(head);
                None
            }
        }
    }

    /// Begins to end the connection without losing a request: the client is told to make no new ones, those that it has
    /// made by then are still accepted, and when all are answered [`accept`](Self::accept) closes the connection and
    /// returns `Ok(None)`. Go on calling it.
    pub fn graceful_shutdown(&mut self) {
        if let Phase::Running = self.phase {
            self.shared.go_away(GOAWAY_ALL);
            // Requests made before the client knows arrive within a round trip.
            let grace = (self.shared.quic.rtt() * 2).clamp(Duration::from_millis(10), Duration::from_secs(2));
            self.phase = Phase::Announced(Box::pin(tokio::time::sleep(grace)));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Before the critical streams are dropped, whose end would be an error.
        if self.shared.quic.close_reason().is_none() {
            self.shared.quic.close(Code::H3_NO_ERROR.into(), b"");
        }
        self.driver.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("next_request", &self.next_request).finish_non_exhaustive()
    }
}

/// The next request whose headers are complete; inner `None` for one that will not be.
async fn next_head(heads: &mut FuturesUnordered<ReadRequest>) -> Option<(Request<RecvBody>, SendResponse)> {
    match heads.next().await {
        Some(read) => read,
        None => pending().await,
    }
}

/// A request that will not be processed, and can be sent again elsewhere (RFC 9114 §4.1.1).
fn refuse<T>(mut send: SendStream, mut recv: RecvStream) -> Option<T> {
    let _ = send.reset(Code::H3_REQUEST_REJECTED.into());
    let _ = recv.stop(Code::H3_REQUEST_REJECTED.into());
    None
}

/// Resolves when a graceful shutdown is complete.
async fn shutdown(shared: &Shared, phase: &mut Phase, next_request: u64, no_heads: bool) {
    if let Phase::Announced(timer) = phase {
        timer.await;
        shared.go_away(next_request);
        *phase = Phase::Refusing;
    }
    if !matches!(phase, Phase::Refusing) || !no_heads {
        return pending().await;
    }
    shared.idle().await;
    close(shared).await;
}

/// What the end of the connection means for a server.
fn ended<T>(shared: &Shared, error: gannet::ConnectionError) -> Result<Option<T>, ConnectionError> {
    let error = shared.ended(error);
    if error.is_graceful() || error.is_timeout() && shared.is_idle() { Ok(None) } else { Err(error) }
}
