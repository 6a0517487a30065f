//! From a datagram to the packets in it, before header protection is removed.

use std::ops::Range;

use super::{LONG_FORM, LongType, QUIC_BIT, RETRY_TAG_LEN, SPIN, TypeBits, type_from_bits};
use crate::packet::{ConnectionId, Level};
use crate::wire::varint;

/// What of a header can be read without keys. Ranges count from the beginning of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtectedHeader {
    /// Initial (RFC 9000 §17.2.2).
    Initial {
        /// The version.
        version: u32,
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID.
        scid: ConnectionId,
        /// Where the token is; empty if there is none, as always from servers.
        token: Range<usize>,
    },
    /// 0-RTT (RFC 9000 §17.2.3).
    ZeroRtt {
        /// The version.
        version: u32,
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID.
        scid: ConnectionId,
    },
    /// Handshake (RFC 9000 §17.2.4).
    Handshake {
        /// The version.
        version: u32,
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID.
        scid: ConnectionId,
    },
    /// Retry (RFC 9000 §17.2.5).
    Retry {
        /// The version.
        version: u32,
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID.
        scid: ConnectionId,
        /// Where the token is; never empty.
        token: Range<usize>,
        /// The Retry Integrity Tag: the last bytes of the packet, computed over all bytes before it.
        tag: [u8; RETRY_TAG_LEN],
    },
    /// Version Negotiation (RFC 9000 §17.2.1, RFC 8999 §6).
    VersionNegotiation {
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID.
        scid: ConnectionId,
        /// Where the versions are; see [`ProtectedHeader::versions`].
        versions: Range<usize>,
    },
    /// 1-RTT (RFC 9000 §17.3.1).
    Short {
        /// Destination connection ID, of the length that our IDs have.
        dcid: ConnectionId,
        /// The latency spin bit, which nothing protects.
        spin: bool,
    },
}

impl ProtectedHeader {
    /// Destination connection ID.
    #[must_use]
    pub fn dcid(&self) -> &ConnectionId {
        match self {
            Self::Initial { dcid, .. }
            | Self::ZeroRtt { dcid, .. }
            | Self::Handshake { dcid, .. }
            | Self::Retry { dcid, .. }
            | Self::VersionNegotiation { dcid, .. }
            | Self::Short { dcid, .. } => dcid,
        }
    }

    /// Source connection ID, of long headers.
    #[must_use]
    pub fn scid(&self) -> Option<&ConnectionId> {
        match self {
            Self::Initial { scid, .. }
            | Self::ZeroRtt { scid, .. }
            | Self::Handshake { scid, .. }
            | Self::Retry { scid, .. }
            | Self::VersionNegotiation { scid, .. } => Some(scid),
            Self::Short { .. } => None,
        }
    }

    /// The version; `None` for short headers and Version Negotiation.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        match self {
            Self::Initial { version, .. }
            | Self::ZeroRtt { version, .. }
            | Self::Handshake { version, .. }
            | Self::Retry { version, .. } => Some(*version),
            Self::VersionNegotiation { .. } | Self::Short { .. } => None,
        }
    }

    /// Which keys protect the packet; `None` for Retry and Version Negotiation.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        match self {
            Self::Initial { .. } => Some(Level::Initial),
            Self::ZeroRtt { .. } => Some(Level::ZeroRtt),
            Self::Handshake { .. } => Some(Level::Handshake),
            Self::Short { .. } => Some(Level::OneRtt),
            Self::Retry { .. } | Self::VersionNegotiation { .. } => None,
        }
    }

    /// The versions that a Version Negotiation lists; nothing for other packets.
    pub fn versions<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let range = match self {
            Self::VersionNegotiation { versions, .. } => versions.clone(),
            _ => 0..0,
        };
        let bytes = packet.get(range).unwrap_or_default();
        bytes.chunks_exact(4).filter_map(|chunk| Some(u32::from_be_bytes(*chunk.first_chunk()?)))
    }
}

/// One packet of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialPacket {
    /// What can be read of it.
    pub header: ProtectedHeader,
    /// Where the packet number begins; equal to `len` for packets that have none.
    pub pn_offset: usize,
    /// Length of the packet; what follows in the datagram is another one (RFC 9000 §12.2).
    pub len: usize,
}

/// Why the rest of a datagram holds no packet we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends within the header, or before the Length that the header gives.
    #[error("packet is cut off")]
    Truncated,
    /// The bit that all packets of version 1 set is 0.
    #[error("the QUIC bit is 0")]
    QuicBitUnset,
    /// A connection ID of more than 20 bytes in version 1.
    #[error("connection ID of more than 20 bytes")]
    CidTooLong,
    /// A Retry without a token.
    #[error("Retry without a token")]
    EmptyToken,
    /// A Version Negotiation without versions, or with part of one.
    #[error("malformed Version Negotiation")]
    VersionList,
    /// A version we do not speak; all that RFC 8999 tells about its packets.
    #[error("unsupported version {version:#010x}")]
    UnsupportedVersion {
        /// The version.
        version: u32,
        /// Where the destination connection ID is; up to 255 bytes.
        dcid: Range<usize>,
        /// Where the source connection ID is; up to 255 bytes.
        scid: Range<usize>,
    },
}

/// Reads the first packet of `datagram`; short headers carry connection IDs of `local_cid_len` bytes.
///
/// That a packet is long enough for header protection to be removed is not checked here.
///
/// # Errors
/// All [`HeaderError`]s mean that the rest of the datagram is to be dropped, except that servers may answer
/// [`HeaderError::UnsupportedVersion`].
#[inline]
pub fn parse(datagram: &[u8], local_cid_len: usize) -> Result<PartialPacket, HeaderError> {
    parse_with(datagram, local_cid_len, QUIC_BIT)
}

/// [`parse`] for those who sent the grease_quic_bit transport parameter: the QUIC bit means nothing (RFC 9287 §3).
///
/// # Errors
/// As for [`parse`].
#[inline]
pub fn parse_greased(datagram: &[u8], local_cid_len: usize) -> Result<PartialPacket, HeaderError> {
    parse_with(datagram, local_cid_len, 0)
}

/// `required` has the bits that the first byte of a packet must set, if its version is one we speak.
#[inline]
fn parse_with(datagram: &[u8], local_cid_len: usize, required: u8) -> Result<PartialPacket, HeaderError> {
    let Some((&first, rest)) = datagram.split_first() else { return Err(HeaderError::Truncated) };
    if first & LONG_FORM != 0 {
        return parse_long(first, datagram, required);
    }
    if first & required != required {
        return Err(HeaderError::QuicBitUnset);
    }
    let Some(dcid) = rest.get(..local_cid_len) else { return Err(HeaderError::Truncated) };
    let Ok(dcid) = ConnectionId::try_from(dcid) else { return Err(HeaderError::CidTooLong) };
    let header = ProtectedHeader::Short { dcid, spin: first & SPIN != 0 };
    Ok(PartialPacket { header, pn_offset: 1 + local_cid_len, len: datagram.len() })
}

/// The part of a datagram that is not read yet.
struct Cursor<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Result<Range<usize>, HeaderError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.datagram.len());
        let range = self.at..end.ok_or(HeaderError::Truncated)?;
        self.at = range.end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let range = self.take(N)?;
        self.datagram.get(range).and_then(<[u8]>::first_chunk).copied().ok_or(HeaderError::Truncated)
    }

    /// A length and where as many bytes are.
    fn cid(&mut self) -> Result<Range<usize>, HeaderError> {
        let [len] = self.array()?;
        self.take(len.into())
    }

    fn varint(&mut self) -> Result<usize, HeaderError> {
        let rest = self.datagram.get(self.at..).unwrap_or_default();
        let (value, len) = varint::peek(rest).ok_or(HeaderError::Truncated)?;
        self.at += len;
        usize::try_from(value).map_err(|_| HeaderError::Truncated)
    }

    fn connection_id(&self, range: Range<usize>) -> Result<ConnectionId, HeaderError> {
        let bytes = self.datagram.get(range).ok_or(HeaderError::Truncated)?;
        ConnectionId::try_from(bytes).map_err(|_| HeaderError::CidTooLong)
    }
}

fn parse_long(first: u8, datagram: &[u8], required: u8) -> Result<PartialPacket, HeaderError> {
    let mut cursor = Cursor { datagram, at: 1 };
    let version = u32::from_be_bytes(cursor.array()?);
    let (dcid, scid) = (cursor.cid()?, cursor.cid()?);
    let ty = match version {
        0 => None,
        _ => match type_from_bits(version, first >> 4 & 3) {
            None => return Err(HeaderError::UnsupportedVersion { version, dcid, scid }),
            _ if first & required != required => return Err(HeaderError::QuicBitUnset),
            ty => ty,
        },
    };
    let (dcid, scid) = (cursor.connection_id(dcid)?, cursor.connection_id(scid)?);
    let header = match ty {
        None => return version_negotiation(cursor, dcid, scid),
        Some(TypeBits::Retry) => return retry(cursor, version, dcid, scid),
        Some(TypeBits::Numbered(LongType::Initial)) => {
            let token_len = cursor.varint()?;
            let token = cursor.take(token_len)?;
            ProtectedHeader::Initial { version, dcid, scid, token }
        }
        Some(TypeBits::Numbered(LongType::ZeroRtt)) => ProtectedHeader::ZeroRtt { version, dcid, scid },
        Some(TypeBits::Numbered(LongType::Handshake)) => ProtectedHeader::Handshake { version, dcid, scid },
    };
    let len = cursor.varint()?;
    let body = cursor.take(len)?;
    Ok(PartialPacket { header, pn_offset: body.start, len: body.end })
}

fn version_negotiation(
    mut cursor: Cursor<'_>,
    dcid: ConnectionId,
    scid: ConnectionId,
) -> Result<PartialPacket, HeaderError> {
    let len = cursor.datagram.len();
    let versions = cursor.take(len - cursor.at)?;
    if versions.is_empty() || !versions.len().is_multiple_of(4) {
        return Err(HeaderError::VersionList);
    }
    let header = ProtectedHeader::VersionNegotiation { dcid, scid, versions };
    Ok(PartialPacket { header, pn_offset: len, len })
}

fn retry(
    mut cursor: Cursor<'_>,
    version: u32,
    dcid: ConnectionId,
    scid: ConnectionId,
) -> Result<PartialPacket, HeaderError> {
    let len = cursor.datagram.len();
    let token_len = (len - cursor.at).checked_sub(RETRY_TAG_LEN).ok_or(HeaderError::Truncated)?;
    if token_len == 0 {
        return Err(HeaderError::EmptyToken);
    }
    let token = cursor.take(token_len)?;
    let header = ProtectedHeader::Retry { version, dcid, scid, token, tag: cursor.array()? };
    Ok(PartialPacket { header, pn_offset: len, len })
}
