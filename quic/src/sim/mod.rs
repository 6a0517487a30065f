//! A virtual network, to test applications over bad paths: no sockets, no waiting, and each run repeats.
//!
//! A [`Network`] carries the datagrams of endpoints over links that delay, lose, reorder and so on: a link is a list of
//! [`Node`]s. All endpoints live in one program. Under tokio's paused time ([`tokio::time::pause`]) a minute of it takes
//! as long as the computing does, and on a runtime of one thread a run depends on nothing but its seed: a failure that a
//! seed has found comes again with that seed.
//!
//! ```
//! use std::net::IpAddr;
//! use std::time::Duration;
//!
//! use gannet::config::{ClientConfig, ServerConfig};
//! use gannet::sim::{Network, Node};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
//! # let certificate = rcgen::CertificateParams::new(["server.test".to_owned()])?.self_signed(&key)?;
//! # let chain = vec![certificate.der().clone()];
//! # let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
//! # let mut roots = rustls::RootCertStore::empty();
//! # roots.add(certificate.der().clone())?;
//! // A mobile network: slow, with a long queue, and one datagram in a hundred is lost.
//! let network = Network::new(7);
//! let (phone, host): (IpAddr, IpAddr) = ("10.0.0.1".parse()?, "10.0.0.2".parse()?);
//! let nodes = [Node::megabits(5, 100), Node::Loss(0.01), Node::Delay(Duration::from_millis(40))];
//! network.link_both(phone, host, &nodes);
//!
//! let server = network.server((host, 443), ServerConfig::with_single_cert(chain, key, &[b"hello"])?)?;
//! let client = network.client((phone, 0), ClientConfig::with_roots(roots, &[b"hello"])?)?;
//! let (connection, accepted) = tokio::try_join!(
//!     async { Ok(client.connect((host, 443).into(), "server.test")?.await?) },
//!     async { Ok::<_, Box<dyn std::error::Error>>(server.accept().await.ok_or("closed")?.accept().await?) },
//! )?;
//!
//! // For three seconds nothing gets through to the server.
//! network.link(phone, host, vec![Node::Loss(1.0)]);
//! let mut send = connection.open_uni().await?;
//! send.write_all(&[42; 100_000]).await?;
//! let sending = tokio::spawn(async move { send.finish().await });
//! tokio::time::sleep(Duration::from_secs(3)).await;
//! network.link(phone, host, nodes.to_vec());
//!
//! let received = accepted.accept_uni().await?.read_to_end(1 << 20).await?;
//! sending.await??;
//! assert_eq!(received.len(), 100_000);
//! assert!(network.elapsed() > Duration::from_secs(3));
//! assert!(network.stats(phone, host).expect("laid above").lost > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! - A **host** is an IP address, and a **link** leads from one host to another ([`Network::link`]): each direction has
//!   nodes of its own, and they can be changed at any time. Without a link nothing gets through;
//!   [`Network::link_everywhere`] lays those that are missing.
//! - **Competing traffic**: a node that [`Network::share`] makes is one for all links it is put into, above all a
//!   bottleneck with one queue.
//! - **Sockets** are bound with [`Network::bind`], which gives what [`EndpointBuilder::socket`], [`Endpoint::rebind`],
//!   [`Endpoint::add_socket`] and [`Connection::migrate`] take: a client that changes its network binds a socket at
//!   another host.
//! - **NAT**: [`Network::nat`] puts a host behind another address, and gives its sockets new ports when called again.
//! - **What happened** is counted per link ([`Network::stats`]), and written down datagram by datagram if asked for
//!   ([`Network::record`]).
//!
//! # So that a run repeats
//!
//! - The runtime has one thread and paused time (`#[tokio::test(start_paused = true)]`).
//! - Endpoints draw from the seed: [`Network::client`] and [`Network::server`] see to it, others take
//!   [`Network::rng_seed`].
//! - TLS draws its keys from the system. That does no harm, because chance on a link depends on the position of a
//!   datagram there, not on what is in it. But lengths must not vary: a certificate with an Ed25519 key has signatures of
//!   one length (`DevCertificate::ed25519`), one with ECDSA has not. And what becomes of a packet with a changed byte ([`Node::Corrupt`]) may depend
//!   on the bytes behind it.
//! - What the application itself draws, the order in which it walks through hash maps, and `tokio::select!` without
//!   `biased` are up to it.
//!
//! tokio's timers have a resolution of one millisecond: that is how exactly datagrams arrive. The order in which they do,
//! and the rate of a bottleneck, are exact all the same.
//!
//! Time need not be paused: the network works in real time as well, on any runtime.
//!
//! [`Connection::migrate`]: crate::Connection::migrate
//! [`Endpoint::add_socket`]: crate::Endpoint::add_socket
//! [`Endpoint::rebind`]: crate::Endpoint::rebind
//! [`EndpointBuilder::socket`]: crate::EndpointBuilder::socket
//! [`tokio::time::pause`]: https://docs.rs/tokio/latest/tokio/time/fn.pause.html

mod carrier;
mod network;
mod socket;

pub use crate::net::sim::{Event, EventKind, LinkEnd, LinkStats, Node, SharedNode};
pub use network::Network;
