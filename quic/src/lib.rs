//! Gannet: an async, Tokio-native QUIC endpoint in safe Rust.
//!
//! An [`Endpoint`] is a socket and its connections, as client, as server, or both. A [`Connection`] opens and accepts
//! streams; a [`SendStream`] is an `AsyncWrite`, a [`RecvStream`] an `AsyncRead`.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use gannet::Endpoint;
//! use gannet::config::{ClientConfig, ServerConfig};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let certificate = rcgen::generate_simple_self_signed(["localhost".into()])?;
//! let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
//! let chain = vec![certificate.cert.der().clone()];
//! let mut roots = rustls::RootCertStore::empty();
//! roots.add(certificate.cert.der().clone())?;
//!
//! let server = Endpoint::server(
//!     ServerConfig::with_single_cert(chain, key.into(), &[b"hello"])?,
//!     "127.0.0.1:0".parse()?,
//! )?;
//! let addr = server.local_addr()?;
//! tokio::spawn(async move {
//!     let connection = server.accept().await.expect("still open").accept().await?;
//!     let (mut send, mut recv) = connection.accept_bi().await?;
//!     let name = recv.read_to_end(1000).await?;
//!     send.write_all(&[b"hello, ", &name[..]].concat()).await?;
//!     send.finish().await?;
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let client = Endpoint::client("127.0.0.1:0".parse()?)?;
//! client.set_client_config(ClientConfig::with_roots(roots, &[b"hello"])?);
//! let connection = client.connect(addr, "localhost")?.await?;
//! let (mut send, mut recv) = connection.open_bi().await?;
//! send.write_all(b"gannet").await?;
//! send.finish().await?;
//! assert_eq!(recv.read_to_end(1000).await?, b"hello, gannet");
//! # Ok(())
//! # }
//! ```
//!
//! # The two walks
//!
//! ```text
//! in:   net ─► driver::endpoint_task ─► routes ─► inbox ─► driver::pump ─► proto::receive ─► proto::streams
//!           ─► driver::shared::recv ─► RecvStream
//! out:  SendStream ─► driver::shared::send ─► ready list ─► driver::pump ─► proto::streams ─► proto::transmit
//!           ─► driver::transmit ─► net
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tokio`, on by default | the endpoint; without it the crate is the sans-IO protocol core alone |
//! | `webpki-roots` | `ClientConfig::with_webpki_roots`: the authorities that Mozilla trusts |
//! | `platform-verifier` | `ClientConfig::with_platform_verifier`: what the operating system trusts |
//! | `dev-cert` | `config::DevCertificate`: a certificate for development in one call |
//! | `sim` | [`sim`](https://docs.rs/gannet/latest/gannet/sim/): a virtual network, to test applications over bad paths without sockets and without waiting |
//! | `aws-lc-rs` | `config::aws_lc_rs_provider`: TLS by aws-lc-rs, with the post-quantum X25519MLKEM768; packets are sealed by ring all the same |

#![warn(unnameable_types)]
#![cfg_attr(
    all(doc, not(feature = "tokio")),
    expect(
        rustdoc::broken_intra_doc_links,
        reason = "the core tells of endpoints that only the whole crate has"
    )
)]

#[cfg(feature = "tokio")]
mod api;
pub mod config;
mod crypto;
#[cfg(feature = "tokio")]
mod driver;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(feature = "tokio", test))]
pub mod net;
mod packet;
pub mod proto;
#[cfg(feature = "sim")]
pub mod sim;
mod wire;

#[cfg(feature = "tokio")]
pub use api::{
    BiStream, Chunk, Connecting, Connection, ConnectionStats, DatagramOptions, DatagramTracker, Endpoint,
    EndpointBuilder, EndpointStats, Incoming, IncomingConnections, PathChanges, RecvStream, RetryError,
    SendStream, TurnedAwayBy, UnorderedRecvStream, ZeroRttAccepted,
};
pub use crypto::tls::{ExportError, HandshakeData};
pub use crypto::{CipherSuite, ClientHello, InvalidClientHello};
pub use error::{
    ClosedStream, ConnectError, ConnectionError, KeyUpdateError, ReadError, ResetAtError, SendDatagramError,
    WriteError,
};
pub use packet::{
    ConnectionId, ConnectionIdTooLong, DatagramFate, Dir, Priority, Rng, Side, StreamId, TransportError,
    TransportErrorCode,
};
pub use wire::{VarInt, VarIntBoundsExceeded};
