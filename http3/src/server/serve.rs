//! A service that answers all requests of a connection.

use std::future::{Future, pending};
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::service::Service;
use tokio::sync::Semaphore;

use super::{Connection, SendResponse, handshake};
use crate::body::RecvBody;
use crate::error::{BoxError, Code, ConnectionError};

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
    /// [`Code::H3_INTERNAL_ERROR`]. A client that expects 100 (Continue) gets it when the service reads the body.
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
                accepted = next => accepted?,
                () = &mut signal, if !signalled => {
                    signalled = true;
                    self.graceful_shutdown();
                    continue;
                }
            };
            let Some(((request, respond), permit)) = accepted else { return Ok(()) };
            let response = service.call(request);
            tokio::spawn(async move {
                answer(response, respond).await;
                drop(permit);
            });
        }
    }
}

/// Answers one request with what the service makes of it.
async fn answer<B, E>(response: impl Future<Output = Result<Response<B>, E>>, mut respond: SendResponse)
where
    B: Body,
    B::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    let mut response = std::pin::pin!(async { response.await.map_err(Into::into) });
    let response: Result<_, BoxError> = loop {
        tokio::select! {
            biased;
            response = &mut response => break response,
            error = respond.stopped() => {
                tracing::debug!(%error, "the request was given up");
                return;
            }
            () = respond.continue_wanted() => {
                let mut go_on = Response::new(());
                *go_on.status_mut() = StatusCode::CONTINUE;
                // If that fails, so will the response.
                let _ = respond.send_informational(go_on).await;
            }
        }
    };
    match response {
        Ok(response) => {
            if let Err(error) = respond.send_response(response).await {
                tracing::debug!(%error, "the response was not sent");
            }
        }
        Err(error) => {
            tracing::debug!(error = %error, "the service failed");
            respond.reset(Code::H3_INTERNAL_ERROR);
        }
    }
}
