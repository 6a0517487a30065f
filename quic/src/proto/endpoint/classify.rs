//! From the first bytes of a datagram to where it goes.

use std::ops::Range;

use crate::packet::{ConnectionId, MIN_DATAGRAM_SIZE};
use crate::wire::header::{self, HeaderError, ProtectedHeader};

/// What a datagram is, as far as its unprotected bytes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// For the connection with this ID; if there is none, perhaps a stateless reset, or worth one.
    Short {
        /// Destination connection ID.
        dcid: ConnectionId,
    },
    /// For the connection with this ID, or with this original destination ID and address.
    Long {
        /// Destination connection ID.
        dcid: ConnectionId,
        /// An Initial in a datagram of full size: it may begin a connection (RFC 9000 §14.1).
        may_begin: bool,
    },
    /// A version we do not speak. Answered with Version Negotiation if the datagram is of full size (RFC 9000 §6.1).
    UnsupportedVersion {
        /// The version.
        version: u32,
        /// Where the destination connection ID is in the datagram.
        dcid: Range<usize>,
        /// Where the source connection ID is in the datagram.
        scid: Range<usize>,
    },
    /// Nothing that could be answered.
    Drop,
}

/// Classifies a datagram; short headers carry connection IDs of `cid_len` bytes, and we speak `versions`.
///
/// The QUIC bit is left to [`has_quic_bit`], and to the connection.
#[must_use]
pub fn classify(datagram: &[u8], cid_len: usize, versions: &[u32]) -> Class {
    match header::parse_greased(datagram, cid_len) {
        Ok(packet) => match packet.header {
            ProtectedHeader::Initial { version, dcid, scid, .. }
            | ProtectedHeader::ZeroRtt { version, dcid, scid }
            | ProtectedHeader::Handshake { version, dcid, scid }
            | ProtectedHeader::Retry { version, dcid, scid, .. }
                if !versions.contains(&version) =>
            {
                unsupported(datagram, version, &dcid, &scid)
            }
            ProtectedHeader::Short { dcid, .. } => Class::Short { dcid },
            ProtectedHeader::Initial { dcid, .. } => {
                Class::Long { dcid, may_begin: datagram.len() >= MIN_DATAGRAM_SIZE }
            }
            header => Class::Long { dcid: *header.dcid(), may_begin: false },
        },
        Err(HeaderError::UnsupportedVersion { version, dcid, scid })
            if datagram.len() >= MIN_DATAGRAM_SIZE =>
        {
            Class::UnsupportedVersion { version, dcid, scid }
        }
        Err(_) => Class::Drop,
    }
}

/// Whether the bit is set that all packets of the versions we speak have, but for those to endpoints that say that it means
/// nothing to them (RFC 9287 §3). Packets that begin a connection are held against what the server will say.
#[must_use]
pub fn has_quic_bit(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & header::QUIC_BIT != 0)
}

fn unsupported(datagram: &[u8], version: u32, dcid: &ConnectionId, scid: &ConnectionId) -> Class {
    if datagram.len() < MIN_DATAGRAM_SIZE {
        return Class::Drop;
    }
    let dcid = 6..6 + dcid.len();
    let scid = dcid.end + 1..dcid.end + 1 + scid.len();
    Class::UnsupportedVersion { version, dcid, scid }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: R9000-14.1-03
    #[test]
    fn only_a_full_datagram_begins_a_connection_or_is_answered() {
        let mut datagram = vec![0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x00];
        datagram.resize(18 + 0x400, 0);
        let dcid = ConnectionId::try_from(&[1, 2, 3, 4, 5, 6, 7, 8][..]).unwrap();
        assert_eq!(classify(&datagram, 8, &[1]), Class::Long { dcid, may_begin: false });
        datagram.resize(1200, 0);
        assert_eq!(classify(&datagram, 8, &[1]), Class::Long { dcid, may_begin: true });
        datagram[4] = 9;
        assert!(matches!(classify(&datagram, 8, &[1]), Class::UnsupportedVersion { version: 9, .. }));
        assert_eq!(classify(&datagram[..1199], 8, &[1]), Class::Drop);
        assert_eq!(classify(&[], 8, &[1]), Class::Drop);
        assert_eq!(classify(&[0x40, 1, 2], 8, &[1]), Class::Drop);
    }
}
