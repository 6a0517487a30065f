//! The sans-IO protocol core.
//!
//! A [`Connection`] is a plain value: it reads no clock, owns no socket and takes no lock. Time and randomness are
//! arguments, so a run repeats exactly from its seed.
//!
//! # The contract
//!
//! 1. **Mutate**: hand in datagrams ([`Connection::handle_burst`]), expired time ([`Connection::handle_timeout`]) or
//!    wishes of the application ([`Connection::streams`], [`Connection::close`], …).
//! 2. **Drain**: call [`Connection::poll_output`] until it returns [`Output::Timeout`].
//! 3. Wait for the next datagram, wish, or that moment, and begin again.
//!
//! Draining comes in an order that callers rely on: route changes first (a connection ID is routed before the packet
//! that announces it exists), then events, then datagrams.

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
