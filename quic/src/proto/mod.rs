//! The sans-IO protocol core.
//!
//! A [`Connection`] is a plain value: it reads no clock, owns no socket and takes no lock. Time and randomness are
//! arguments, so a run repeats exactly from its seed. The Tokio endpoint of this crate is one user of it; a loop of your own
//! can be another, also where the feature `tokio` is off.
//!
//! # The contract
//!
//! 1. **Mutate**: hand in datagrams ([`Connection::handle_burst`]), expired time ([`Connection::handle_timeout`]) or
//!    wishes of the application ([`Connection::streams`], [`Connection::datagrams`], [`Connection::close`], …).
//! 2. **Drain**: call [`Connection::poll_output`] until it returns [`Output::Timeout`].
//! 3. Wait for the next datagram, wish, or that moment, and begin again.
//!
//! Draining comes in an order that callers rely on: route changes first (a connection ID is routed before the packet
//! that announces it exists), then events, then datagrams. What an event calls for can be done on the spot, in the middle of
//! draining. A mutation that is not followed by draining has no effect until it is. `now` must
//! not go back.
//!
//! # What is left to the caller
//!
//! | what | how |
//! |---|---|
//! | sockets | Each [`Output::Transmit`] is a [`TxBatch`]: datagrams of [`TxBatch::segment_size`] bytes, the last may be shorter, for [`TxBatch::meta`]. Send, clear, poll again. What cannot be sent may be dropped, that is loss. While a socket blocks, poll without a batch: time and events go on. Datagrams must not be fragmented; where the system cannot promise that, set [`mtu_upper_bound`](crate::config::TransportConfigBuilder::mtu_upper_bound) to `None`. |
//! | who gets a datagram | [`classify()`] finds its connection ID; [`Output::Route`] says which IDs are whose, and what a stateless reset looks like (the last 16 bytes). |
//! | time | One timer per connection: [`Output::Timeout`] replaces the moment before. Early or late does no harm. |
//! | randomness | An [`Rng`](crate::Rng) per connection, forked from one with a secret seed. |
//! | clients | [`Connection::client`]; drain it, and its first packets are there. |
//! | servers | A datagram that may begin a connection is opened by [`Incoming::open`]: then [`Connection::server`], [`refuse`], [`retry()`] or silence. [`version_negotiation`] and [`stateless_reset`] answer what belongs to nobody. How many connections there may be is for the caller to bound. |
//! | streams | [`Streams`]: numbers are chosen by the caller, below the limit of [`StreamEvent::Limit`]. What was read has to be [`consumed`](Streams::consumed), or the peer gets no credit; ended streams want [`release`](Streams::release). |
//! | the end | [`Event::Closed`] comes once. Then [`Connection::tombstone`] is all that must be kept, until it says so, to answer a peer that has not heard; its routes stay as long. |
//!
//! Bytes from the network never make it panic, and memory that a peer can claim is bounded by [`TransportConfig`]. Misuse by
//! the caller, such as a stream above the limit, is ignored, and found by assertions in debug builds.
//!
//! [`TransportConfig`]: crate::config::TransportConfig
//!
//! # A connection without a network
//!
//! `examples/blocking` in the repository does the same with sockets, routes and all.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::sync::Arc;
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use gannet::config::{
//!     ClientVersions, FirstFlight, RandomConnectionIds, RustlsClient, RustlsServer, ServerVersions, TransportConfig,
//! };
//! use gannet::proto::tls::{ClientResumption, ClientTls, ServerResumption};
//! use gannet::proto::{
//!     AddressValidation, Burst, ClientArgs, Connection, EndpointShared, Event, FourTuple, Incoming, Output, RecvChunk,
//!     ResetKey, ServerArgs, SocketId, StreamEvent, TokenKey, TokenLifetimes, TxBatch,
//! };
//! use gannet::{Dir, Rng, Side, StreamId};
//!
//! /// Drains a connection; what it sends goes to `network`.
//! fn drain(connection: &mut Connection, now: Instant, network: &mut VecDeque<Vec<u8>>) -> Vec<Event> {
//!     let (mut batch, mut events) = (TxBatch::new(1), Vec::new());
//!     loop {
//!         match connection.poll_output(now, Some(&mut batch)) {
//!             // There is one connection at each end: all that arrives is for it.
//!             Output::Route(_) => {}
//!             Output::Event(event) => events.push(event),
//!             Output::Transmit => {
//!                 network.push_back(batch.bytes().to_vec());
//!                 batch.clear();
//!             }
//!             // Nothing gets lost here, so no timer is needed.
//!             Output::Timeout(_) => return events,
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let certificate = rcgen::generate_simple_self_signed(["localhost".into()])?;
//! let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
//! let mut roots = rustls::RootCertStore::empty();
//! roots.add(certificate.cert.der().clone())?;
//! let chain = vec![certificate.cert.der().clone()];
//! let server_tls = RustlsServer::builder().alpn(&[b"hello"]).cert(chain, key.into()).build()?;
//! let client_tls: Arc<dyn ClientTls> = Arc::new(RustlsClient::builder().alpn(&[b"hello"]).roots(roots).build()?);
//!
//! let mut rng = Rng::from_u64(1); // A secret seed where it counts: `Rng::from_seed`.
//! let shared = EndpointShared {
//!     connection_ids: Arc::new(RandomConnectionIds::new(8)),
//!     reset_key: Arc::new(ResetKey::new(&rng.array())),
//! };
//! let path = |port: u16| FourTuple { socket: SocketId(0), local_ip: None, remote: ([192, 0, 2, 1], port).into() };
//! let mut now = Instant::now();
//!
//! let mut client = Connection::client(now, ClientArgs {
//!     versions: &ClientVersions::default(),
//!     first_flight: &FirstFlight::plain(),
//!     path: path(443),
//!     server_name: "localhost",
//!     tokens: None,
//!     tls: &client_tls,
//!     resumption: &ClientResumption::default(),
//!     config: Arc::new(TransportConfig::default()),
//!     endpoint: &shared,
//!     rng: rng.fork(),
//! })?;
//! let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
//! drain(&mut client, now, &mut to_server);
//!
//! // The server looks at the first datagram, and makes a connection of it.
//! let first = to_server.pop_front().expect("an Initial");
//! let lifetimes = TokenLifetimes { retry: Duration::from_secs(15), new_token: Duration::from_secs(86_400) };
//! let token_key = TokenKey::new(&rng.array(), Duration::from_secs(3600));
//! let validation = AddressValidation { key: &token_key, lifetimes, log: None };
//! let incoming = Incoming::open(now, SystemTime::now(), path(5000), None, &first, validation).expect("genuine");
//! let mut server = Connection::server(now, incoming, ServerArgs {
//!     versions: &ServerVersions::default(),
//!     tls: &server_tls,
//!     resumption: &ServerResumption::default(),
//!     config: Arc::new(TransportConfig::default()),
//!     endpoint: &shared,
//!     preferred_address: None,
//!     new_tokens: None,
//!     rng: rng.fork(),
//! })?;
//!
//! let stream = StreamId::new(Side::Client, Dir::Uni, 0);
//! let mut received = Vec::new();
//! while received != b"over no network at all" {
//!     now += Duration::from_millis(10);
//!     for datagram in std::mem::take(&mut to_server) {
//!         server.handle_burst(now, Burst::single(now, path(5000), None, datagram));
//!     }
//!     for event in drain(&mut server, now, &mut to_client) {
//!         if let Event::Stream(StreamEvent::Readable(id)) = event {
//!             while let Some(RecvChunk::Data(bytes)) = server.streams().read(id) {
//!                 server.streams().consumed(id, bytes.len() as u64);
//!                 received.extend_from_slice(&bytes);
//!             }
//!         }
//!     }
//!     for datagram in std::mem::take(&mut to_client) {
//!         client.handle_burst(now, Burst::single(now, path(443), None, datagram));
//!     }
//!     for event in drain(&mut client, now, &mut to_server) {
//!         if let Event::Connected = event {
//!             client.streams().write(stream, "over no network at all".into());
//!             client.streams().finish(stream);
//!         }
//!     }
//!     drain(&mut client, now, &mut to_server);
//! }
//! # Ok(())
//! # }
//! ```

pub(crate) mod cids;
pub(crate) mod congestion;
pub(crate) mod connection;
pub(crate) mod datagrams;
pub(crate) mod endpoint;
pub(crate) mod path;
pub(crate) mod range_set;
pub(crate) mod receive;
pub(crate) mod recovery;
pub(crate) mod space;
pub(crate) mod streams;
pub(crate) mod transmit;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

pub use connection::{ClientArgs, Connection, ConnectionStats, EndpointShared, NewTokens, ServerArgs};
pub use datagrams::{DatagramCounts, DatagramEvent, Datagrams, OutgoingDatagram};
pub use endpoint::{
    AddressValidation, Class, Incoming, Rejected, classify, has_quic_bit, refuse, retry, stateless_reset,
    version_negotiation,
};
pub use streams::{RecvChunk, StreamEvent, Streams};
pub use transmit::FrameCounts;

pub use crate::crypto::tls;
pub use crate::crypto::{ResetKey, TokenError, TokenKey, TokenLifetimes, TokenScope, ValidToken};
pub use crate::packet::{
    Buffer, BufferPool, Burst, Ecn, FourTuple, LocalPath, PreferredAddress, ResetToken, SocketId, TxBatch,
    TxMeta,
};

use crate::error::ConnectionError;
use crate::packet::ConnectionId;

/// What [`Connection::poll_output`] asks its caller to do.
#[derive(Debug)]
pub enum Output {
    /// Change who gets which datagrams.
    Route(RouteChange),
    /// Tell the application.
    Event(Event),
    /// The batch is filled: send it, clear it and poll again.
    Transmit,
    /// Nothing more until this moment (or until the next mutation, if `None`).
    Timeout(Option<Instant>),
}

/// A change to the routes that lead to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteChange {
    /// Datagrams to this connection ID are ours.
    AddCid(ConnectionId),
    /// They no longer are; packets in flight have had their time.
    RemoveCid(ConnectionId),
    /// A datagram from this address that ends in this token is a stateless reset for us (RFC 9000 §10.3.1).
    AddResetToken(SocketAddr, ResetToken),
    /// The token went out of use with its connection ID.
    RemoveResetToken(SocketAddr, ResetToken),
    /// The client no longer sends to the destination ID of its first Initial.
    RemoveInitial,
}

/// News for the application.
#[derive(Debug)]
pub enum Event {
    /// ALPN and server name are known.
    HandshakeData,
    /// Whether the server takes early data, as soon as that is known. If it does not, all streams of a client that were
    /// open are gone, and their numbers are free again; their handles must not be used.
    EarlyData {
        /// True if it does.
        accepted: bool,
    },
    /// The handshake is complete: application data may flow.
    Connected,
    /// The peer is known to have completed the handshake too (RFC 9001 §4.1.2).
    HandshakeConfirmed,
    /// The connection uses another path: the peer has moved, we have, or one of us is back where it was.
    PathChanged(FourTuple),
    /// The path that [`Connection::migrate`] tried does not work; the connection stays where it is.
    MigrationFailed(FourTuple),
    /// The server cannot be reached at its preferred address on this path, or not any more from there.
    PreferredFailed(FourTuple),
    /// The server gives us a token for the next connection to it (RFC 9000 §8.1.3).
    NewToken(Bytes),
    /// News of one stream.
    Stream(StreamEvent),
    /// News of datagrams.
    Datagram(DatagramEvent),
    /// The connection is over; comes exactly once, and nothing but a last datagram follows.
    Closed(ConnectionError),
}

/// What is left of a closed connection: enough to answer its peer until that has understood (RFC 9000 §10.2).
#[derive(Debug, Clone)]
pub struct Tombstone {
    /// The sealed CONNECTION_CLOSE to answer with; `None` when draining: then datagrams are swallowed.
    pub close: Option<Bytes>,
    /// Where the peer was last known to be.
    pub path: FourTuple,
    /// How many bytes may be sent there before more have come from there: three times what did, no more (RFC 9000
    /// §10.2.1).
    pub credit: u64,
    /// When the connection is forgotten.
    pub until: Instant,
}

#[cfg(test)]
mod tests;
