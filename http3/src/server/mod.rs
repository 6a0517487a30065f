//! An HTTP/3 server on a QUIC connection.
//!
//! [`serve`] answers all requests of a connection with a service, as hyper's connections do. [`Connection::accept`] hands
//! out the requests one by one, with what is needed to answer them.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use gannet_http3::{RecvBody, server};
//! use http::{Request, Response};
//! use http_body_util::Full;
//!
//! async fn hello(_: Request<RecvBody>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! # async fn example(endpoint: gannet::Endpoint) {
//! while let Some(incoming) = endpoint.accept().await {
//!     tokio::spawn(async move {
//!         if let Ok(quic) = incoming.accept().await {
//!             let _ = server::serve(quic, server::service_fn(hello)).await;
//!         }
//!     });
//! }
//! # }
//! ```

mod connection;
mod early;
mod request;
mod respond;
mod serve;

use gannet::Side;

pub use connection::Connection;
pub use early::EarlyData;
#[doc(no_inline)]
pub use hyper::service::{Service, service_fn};
pub use respond::{SendBody, SendResponse};
pub use serve::serve;

use crate::connection::{Config, Shared};
use crate::error::ConnectionError;

/// Begins HTTP/3 on a connection, with default settings. See [`Builder::handshake`].
///
/// # Errors
/// None at present; see there.
pub async fn handshake(quic: gannet::Connection) -> Result<Connection, ConnectionError> {
    Builder::new().handshake(quic).await
}

/// Settings of a server.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest header or trailer section that is taken from the client, bytes, counted as RFC 9114 §4.2.2 says: 32
    /// for each field besides its name and value. Default 64 KiB. The client is told; a request with a larger header
    /// section is answered with 431.
    pub fn max_field_section_size(mut self, bytes: u32) -> Self {
        self.config.max_field_section_size = bytes.into();
        self
    }

    /// How many requests of the connection [`Connection::serve`] lets run at once; further ones wait. Default 256.
    ///
    /// The number of open streams is a limit of the transport, but a client that resets its requests as fast as it makes
    /// them stays below that.
    pub fn max_concurrent_requests(mut self, requests: usize) -> Self {
        self.config.max_concurrent_requests = requests.max(1);
        self
    }

    /// How many requests a client may give up per second that were not answered to their end. Default 1000; as many may come
    /// at once, and `u32::MAX` means any number. More end the connection with H3_EXCESSIVE_LOAD: a request that is made and
    /// given up at once costs its client nothing, and us the work of a service.
    ///
    /// The transport has a limit of its own for streams that are given up
    /// ([`max_resets_per_second`](gannet::config::TransportConfigBuilder::max_resets_per_second)), with the same default.
    pub fn max_given_up_requests_per_second(mut self, requests: u32) -> Self {
        self.config.max_given_up_requests_per_second = requests;
        self
    }

    /// Whether reserved frames and streams are sent, which clients have to ignore (RFC 9114 §6.2.3, §7.2.8). Default on:
    /// what is never used cannot be used later.
    pub fn grease(mut self, on: bool) -> Self {
        self.config.grease = on;
        self
    }

    /// What clients may go by in early data: for [`EarlyDataPolicy::context`](gannet::config::EarlyDataPolicy::context) of
    /// servers that take it. Early data of a client that was told other settings is then not taken, as RFC 9114 §7.2.4.2
    /// wants it.
    #[must_use]
    pub fn early_data_context(&self) -> Vec<u8> {
        let mut context = Vec::with_capacity(16);
        self.config.settings().encode(None, &mut context);
        context
    }

    /// Begins HTTP/3 on a connection whose ALPN is `h3`. It may come from
    /// [`Connecting::into_0rtt`](gannet::Connecting::into_0rtt): requests of early data carry [`EarlyData`]. A task is
    /// spawned that exchanges settings.
    ///
    /// # Errors
    /// The connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    #[expect(
        clippy::unused_async,
        reason = "the shape of hyper's; extensions will wait for the peer's settings here"
    )]
    pub async fn handshake(&self, quic: gannet::Connection) -> Result<Connection, ConnectionError> {
        Ok(Connection::new(Shared::new(quic, Side::Server, self.config.clone())))
    }
}
