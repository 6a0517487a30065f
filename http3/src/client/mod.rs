//! An HTTP/3 client on a QUIC connection, in the shape of hyper's `client::conn::http2`.
//!
//! [`handshake`] makes of a [`gannet::Connection`] a [`SendRequest`], which sends requests and can be cloned, and a
//! [`Connection`], a future that somebody has to poll: usually a task of its own.
//!
//! ```no_run
//! # async fn example(quic: gannet::Connection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use http_body_util::{BodyExt, Empty};
//! use gannet_http3::client;
//!
//! let (requests, connection) = client::handshake(quic).await?;
//! tokio::spawn(connection);
//!
//! let request = http::Request::get("https://example.com/").body(Empty::<bytes::Bytes>::new())?;
//! let response = requests.send_request(request).await?;
//! println!("{}", response.status());
//! let body = response.into_body().collect().await?.to_bytes();
//! # drop(body);
//! # Ok(())
//! # }
//! ```

mod connection;
mod informational;
mod send_request;

use gannet::{Side, ZeroRttAccepted};

pub use connection::Connection;
pub use informational::on_informational;
pub use send_request::SendRequest;

use crate::connection::{Config, Early, Shared};
use crate::error::ConnectionError;

/// Begins HTTP/3 on a connection, with default settings. See [`Builder::handshake`].
///
/// # Errors
/// None at present; see there.
pub async fn handshake(quic: gannet::Connection) -> Result<(SendRequest, Connection), ConnectionError> {
    Builder::new().handshake(quic).await
}

/// Settings of a client.
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

    /// The largest header or trailer section that is taken from the server, bytes, counted as RFC 9114 §4.2.2 says: 32
    /// for each field besides its name and value. Default 64 KiB. The server is told; a response with a larger one fails
    /// with [`StreamError::TooLarge`](crate::error::StreamError::TooLarge).
    pub fn max_field_section_size(mut self, bytes: u32) -> Self {
        self.config.max_field_section_size = bytes.into();
        self
    }

    /// Whether reserved frames and streams are sent, which servers have to ignore (RFC 9114 §6.2.3, §7.2.8). Default on:
    /// what is never used cannot be used later.
    pub fn grease(mut self, on: bool) -> Self {
        self.config.grease = on;
        self
    }

    /// Begins HTTP/3 on a connection whose ALPN is `h3`.
    ///
    /// SETTINGS are sent as soon as the [`Connection`] is polled; nothing has to be waited for before the first request.
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
    pub async fn handshake(
        &self,
        quic: gannet::Connection,
    ) -> Result<(SendRequest, Connection), ConnectionError> {
        let shared = Shared::new(quic, Side::Client, self.config.clone());
        let requests = SendRequest::new(&shared);
        Ok((requests, Connection::new(shared, None)))
    }

    /// Begins HTTP/3 on a connection whose QUIC handshake is not complete: see
    /// [`Connecting::into_0rtt`](gannet::Connecting::into_0rtt), which gives both arguments.
    ///
    /// Requests with safe methods and without content are sent at once, as early data. If the server does not take them,
    /// or answers one with 425 (Too Early), they are sent again by themselves. All other requests wait for the handshake:
    /// somebody could replay them (RFC 8470). Until the server's SETTINGS have arrived, defaults are gone by (RFC 9114
    /// §7.2.4.2).
    ///
    /// ```
    /// # use gannet_http3::client::{self, SendRequest};
    /// # async fn example(connecting: gannet::Connecting) -> Result<SendRequest, Box<dyn std::error::Error>> {
    /// let (requests, connection) = match connecting.into_0rtt() {
    ///     Ok((quic, accepted)) => client::Builder::new().handshake_0rtt(quic, accepted),
    ///     Err(connecting) => client::handshake(connecting.await?).await?,
    /// };
    /// tokio::spawn(connection);
    /// # Ok(requests)
    /// # }
    /// ```
    pub fn handshake_0rtt(
        &self,
        quic: gannet::Connection,
        accepted: ZeroRttAccepted,
    ) -> (SendRequest, Connection) {
        let shared = Shared::new(quic, Side::Client, self.config.clone());
        shared.set_early(Early::Pending);
        let requests = SendRequest::new(&shared);
        (requests, Connection::new(shared, Some(accepted)))
    }
}
