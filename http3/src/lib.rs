//! HTTP/3 (RFC 9114) over [`gannet`], on the types of the [`http`] and [`http_body`] crates.
//!
//! A [`client`] sends requests on a [`gannet::Connection`], a [`server`] answers them; QUIC connections come from a
//! [`gannet::Endpoint`] with the application protocol `h3`. Both ends of one connection:
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use gannet::Endpoint;
//! use gannet_http3::{RecvBody, client, server};
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//!
//! async fn hello(request: Request<RecvBody>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new(format!("you asked for {}", request.uri().path())))
//! }
//!
//! # async fn example(server: Endpoint, client: Endpoint, addr: std::net::SocketAddr)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! tokio::spawn(async move {
//!     while let Some(incoming) = server.accept().await {
//!         tokio::spawn(async move {
//!             let quic = incoming.accept().await?;
//!             server::serve(quic, server::service_fn(hello)).await?;
//!             Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//!         });
//!     }
//! });
//!
//! let quic = client.connect(addr, "example.com")?.await?;
//! let (requests, connection) = client::handshake(quic).await?;
//! tokio::spawn(connection);
//! let request = Request::get("https://example.com/").body(String::new())?;
//! let response = requests.send_request(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! # drop(body);
//! # Ok(())
//! # }
//! ```
//!
//! # How a message travels
//!
//! ```text
//!   request or response                                          RecvBody
//!           |                                                       ^
//!     body::send     head, content and FIN in one piece        body::recv
//!           |                                                       |
//!   proto::headers   http types <-> field sections           proto::request     order of frames, content-length
//!           |                                                       |
//!         qpack      field sections <-> bytes                 proto::frame
//!           |                                                       |
//!           +------------> gannet::SendStream    gannet::RecvStream +
//! ```
//!
//! No task and no channel stands between: whoever sends a request or reads a body works on its QUIC stream. Beside the
//! exchanges one driver per connection exchanges settings and listens to what the peer says about the connection as a
//! whole.
//!
//! # Errors
//!
//! A peer that breaks the rules of a message loses that exchange ([`StreamError`]); one that breaks those of the
//! connection loses the connection ([`ConnectionError`]). Both tell the [`Code`] that was sent or received.

pub mod body;
pub mod client;
mod connection;
pub mod error;
mod proto;
mod qpack;
pub mod server;

pub use body::RecvBody;
pub use error::{Code, ConnectionError, StreamError};
