//! Small identifiers: sides, directions, streams, sockets, levels and spaces.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A full packet number; never above 2^62 - 1 (RFC 9000 §12.3).
pub type PacketNumber = u64;

/// Which end of a connection something belongs to.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The end that sent the first Initial.
    Client,
    /// The end that answered it.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// True for [`Side::Client`].
    #[must_use]
    pub fn is_client(self) -> bool {
        self == Self::Client
    }

    /// True for [`Side::Server`].
    #[must_use]
    pub fn is_server(self) -> bool {
        self == Self::Server
    }
}

/// Whether data flows both ways on a stream or one way only.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dir {
    /// Both ends send.
    Bi,
    /// Only the end that opened the stream sends.
    Uni,
}

impl Dir {
    /// Both directions, for loops over per-direction state.
    pub const ALL: [Self; 2] = [Self::Bi, Self::Uni];

    /// 0 for bidirectional, 1 for unidirectional: an index into per-direction arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Identifies a stream within a connection (RFC 9000 §2.1).
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// The `index`-th stream of direction `dir` opened by `initiator`; `index` is below 2^60.
    #[must_use]
    pub fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        Self(index << 2 | (dir as u64) << 1 | initiator as u64)
    }

    /// From the number on the wire.
    #[must_use]
    pub fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The number on the wire.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Who opened the stream.
    #[must_use]
    pub fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Bidirectional or unidirectional.
    #[must_use]
    pub fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// Position among the streams of the same initiator and direction, from 0.
    #[must_use]
    pub fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({}: {:?} {:?} {})", self.0, self.initiator(), self.dir(), self.index())
    }
}

/// One of the sockets of an endpoint.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, Default)]
pub struct SocketId(pub u16);

/// The two ECN bits of the IP header (RFC 3168 §5).
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECT(1), 0b01.
    Ect1 = 1,
    /// ECT(0), 0b10.
    Ect0 = 2,
    /// Congestion experienced, 0b11.
    Ce = 3,
}

impl Ecn {
    /// From the two low bits of the traffic class; `None` for not-ECT.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            1 => Some(Self::Ect1),
            2 => Some(Self::Ect0),
            3 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// How many packets with each ECN mark a packet number space received (RFC 9000 §19.3.2).
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq, Hash)]
pub struct EcnCounts {
    /// Packets with ECT(0).
    pub ect0: u64,
    /// Packets with ECT(1).
    pub ect1: u64,
    /// Packets with ECN-CE.
    pub ce: u64,
}

/// What a datagram travelled over: our socket and address, and the peer's address.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub struct FourTuple {
    /// The socket it arrived on or leaves from.
    pub socket: SocketId,
    /// Our address, where the system tells it.
    pub local_ip: Option<IpAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// Our end of a path.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub struct LocalPath {
    /// The socket to send from.
    pub socket: SocketId,
    /// The address to send from; `None` leaves it to the system.
    pub local_ip: Option<IpAddr>,
}

/// Where a server asks its clients to continue once the handshake is done, by family (RFC 9000 §9.6).
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq, Hash)]
pub struct PreferredAddress {
    /// Over IPv4.
    pub v4: Option<SocketAddrV4>,
    /// Over IPv6.
    pub v6: Option<SocketAddrV6>,
}

/// Encryption levels (RFC 9001 §2.1): which keys protect a packet.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Keys anybody can derive from the destination connection ID.
    Initial,
    /// 0-RTT keys, client to server only.
    ZeroRtt,
    /// Keys of the TLS handshake.
    Handshake,
    /// 1-RTT keys.
    OneRtt,
}

impl Level {
    /// The packet number space that packets of this level count in (RFC 9000 §12.3).
    #[must_use]
    pub fn space(self) -> SpaceId {
        match self {
            Self::Initial => SpaceId::Initial,
            Self::Handshake => SpaceId::Handshake,
            Self::ZeroRtt | Self::OneRtt => SpaceId::Data,
        }
    }
}

/// Packet number spaces (RFC 9000 §12.3).
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpaceId {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets.
    Data,
}

impl SpaceId {
    /// All spaces in the order in which they are used.
    pub const ALL: [Self; 3] = [Self::Initial, Self::Handshake, Self::Data];

    /// 0, 1, 2: an index into per-space arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}
