//! A service that answers all requests of a connection.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Connection, SendResponse, handshake};
use crate::body::RecvBody;
use crate::error::{BoxError, ConnectionError};

/// Answers the requests of a QUIC connection with a service of [hyper], with default settings; the same as
/// [`handshake`](super::handshake) and [`Connection::serve`]. [`service_fn`](super::service_fn) makes a service of a
/// function, `TowerToHyperService` of `hyper-util` one of a tower service.
///
/// # Errors
/// Why the connection has ended, unless it came to its ordinary end; see [`Connection::accept`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn serve<S, B>(quic: gannet::Connection, service: S) -> Result<(), ConnectionError>
where
    S: Service<Request<RecvBody>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    handshake(quic).await?.serve(service).await
}

impl Connection {
    /// Answers all requests with a service, up to the end of the connection. Each request runs in a task of its own.
    ///
    /// If the client gives a request up, the service's future is dropped. An error of the service resets the stream with
    /// [`Code::H3_INTERNAL_ERROR`](crate::Code::H3_INTERNAL_ERROR). A client that expects 100 (Continue) gets it when the service reads the body.
    ///
    /// # Errors
    /// Why the connection has ended, unless it came to its ordinary end; see [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve<S, B>(self, service: S) -> Result<(), ConnectionError>
    where
        S: Service<Request<RecvBody>, Response = Response<B>>,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.serve_with_graceful_shutdown(service, pending()).await
    }

    /// As [`serve`](Self::serve); when `signal` resolves, the connection is [ended gracefully](Self::graceful_shutdown).
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve_with_graceful_shutdown<S, B>(
        mut self,
        service: S,
        signal: impl Future<Output = ()>,
    ) -> Result<(), ConnectionError>
    where
        S: Service<Request<RecvBody>, Response = Response<B>>,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let running = Arc::new(Semaphore::new(self.max_concurrent_requests()));
        let mut signal = std::pin::pin!(signal);
        let mut signalled = false;
        loop {
            let next = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&running).acquire_owned().await.ok();
                self.accept().await.map(|accepted| accepted.map(|accepted| (accepted, permit)))
            };
            let accepted = tokio::select! {
                biased;
                () = &mut signal, if !signalled => {
                    signalled = true;
                    self.graceful_shutdown();
                    continue;
                }
                accepted = next => accepted?,
            };
            let Some(((request, respond), permit)) = accepted else { return Ok(()) };
            let state = State::Service { response: service.call(request) };
            tokio::spawn(Answering { state, respond, _permit: permit });
        }
    }
}

pin_project! {
    /// One request that is being answered: all that its task consists of, so it is kept small.
    struct Answering<F, B> {
        #[pin]
        state: State<F, B>,
        respond: SendResponse,
        _permit: Option<OwnedSemaphorePermit>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        /// The service makes the response.
        Service { #[pin] response: F },
        /// The response is being sent.
        Body { #[pin] body: B },
    }
}

impl<F, B, E> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let StateProj::Service { response } = this.state.as_mut().project() {
            match response.poll(cx) {
                Poll::Ready(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    let begun = this.respond.begin(head, &body);
                    this.state.set(State::Body { body });
                    if let Err(error) = begun {
                        tracing::debug!(%error, "the response cannot be sent");
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Err(error)) => {
                    let error: BoxError = error.into();
                    tracing::debug!(error = %error, "the service failed");
                    this.respond.abort();
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    let error = ready!(this.respond.poll_waiting(cx));
                    tracing::debug!(%error, "the request was given up");
                    return Poll::Ready(());
                }
            }
        }
        if let StateProj::Body { body } = this.state.project()
            && let Err(error) = ready!(this.respond.poll_send(cx, body))
        {
            tracing::debug!(%error, "the response was not sent");
        }
        Poll::Ready(())
    }
}
