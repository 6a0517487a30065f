//! Headers to bytes.

use super::{KEY_PHASE, LONG_FORM, LongType, PN_LEN, QUIC_BIT, SPIN, TypeBits, type_to_bits};
use crate::packet::{ConnectionId, PacketNumber};
use crate::wire::{packet_number, varint};

/// The header of an Initial, 0-RTT or Handshake packet.
#[derive(Debug, Copy, Clone)]
pub struct LongHeader<'a> {
    /// Which kind of packet.
    pub ty: LongType,
    /// The version.
    pub version: u32,
    /// Destination connection ID.
    pub dcid: ConnectionId,
    /// Source connection ID.
    pub scid: ConnectionId,
    /// Goes into Initials only; empty from servers.
    pub token: &'a [u8],
}

/// The header of a 1-RTT packet.
#[derive(Debug, Copy, Clone)]
pub struct ShortHeader {
    /// Destination connection ID.
    pub dcid: ConnectionId,
    /// The latency spin bit.
    pub spin: bool,
    /// The key phase.
    pub key_phase: bool,
}

/// Where the parts of a header are in the buffer it was written to.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The first byte of the packet.
    pub start: usize,
    /// The Length field, of long headers; always two bytes.
    pub length: Option<usize>,
    /// The packet number.
    pub pn: usize,
    /// Length of the packet number, 1 to 4 bytes.
    pub pn_len: usize,
}

impl Layout {
    /// Packet number, payload and tag of a packet with a long header take at most this many bytes.
    pub const MAX_LENGTH: usize = 0x3fff;

    /// Where the header ends and the payload begins.
    #[must_use]
    pub fn payload(&self) -> usize {
        self.pn + self.pn_len
    }

    /// The packet moved towards the end of its buffer.
    pub fn shift(&mut self, bytes: usize) {
        self.start += bytes;
        self.pn += bytes;
        self.length = self.length.map(|at| at + bytes);
    }

    /// Sets the Length field, where there is one, for a packet that ends, tag included, with `buf`.
    pub fn fill_length(&self, buf: &mut [u8]) {
        let len = buf.len().saturating_sub(self.pn);
        debug_assert!(self.length.is_none() || len <= Self::MAX_LENGTH);
        #[expect(clippy::cast_possible_truncation, reason = "limited to 14 bits")]
        let field = 0x4000 | len.min(Self::MAX_LENGTH) as u16;
        if let Some(place) = self.length.and_then(|at| buf.get_mut(at..at + 2)) {
            place.copy_from_slice(&field.to_be_bytes());
        }
    }
}

impl LongHeader<'_> {
    /// Appends the header with the `pn_len` low bytes of the packet number. Length is set later, by
    /// [`Layout::fill_length`].
    pub fn encode(&self, out: &mut Vec<u8>, pn: PacketNumber, pn_len: usize) -> Layout {
        let start = out.len();
        let ty = TypeBits::Numbered(self.ty);
        out.push(LONG_FORM | QUIC_BIT | type_to_bits(self.version, ty) << 4 | pn_len_bits(pn_len));
        put_ids(self.version, self.dcid.as_slice(), self.scid.as_slice(), out);
        if self.ty == LongType::Initial {
            varint::encode(self.token.len() as u64, out);
            out.extend_from_slice(self.token);
        }
        let length = Some(out.len());
        out.extend_from_slice(&[0x40, 0]);
        let number = out.len();
        packet_number::put(pn, pn_len, out);
        Layout { start, length, pn: number, pn_len }
    }
}

impl ShortHeader {
    /// Appends the header with the `pn_len` low bytes of the packet number.
    pub fn encode(&self, out: &mut Vec<u8>, pn: PacketNumber, pn_len: usize) -> Layout {
        let start = out.len();
        let spin = if self.spin { SPIN } else { 0 };
        let key_phase = if self.key_phase { KEY_PHASE } else { 0 };
        out.push(QUIC_BIT | spin | key_phase | pn_len_bits(pn_len));
        out.extend_from_slice(self.dcid.as_slice());
        let number = out.len();
        packet_number::put(pn, pn_len, out);
        Layout { start, length: None, pn: number, pn_len }
    }
}

/// Appends a Version Negotiation packet that answers a packet sent from `dcid` to `scid` (RFC 9000 §17.2.1).
///
/// The IDs are those of the packet answered, of any version, and have up to 255 bytes. The seven low bits of `unused`
/// mean nothing; the QUIC bit is set all the same, for those who share the port with other protocols.
pub fn encode_version_negotiation(
    out: &mut Vec<u8>,
    unused: u8,
    dcid: &[u8],
    scid: &[u8],
    versions: impl IntoIterator<Item = u32>,
) {
    out.push(LONG_FORM | QUIC_BIT | unused);
    put_ids(0, dcid, scid, out);
    for version in versions {
        out.extend_from_slice(&version.to_be_bytes());
    }
}

/// Appends a Retry packet up to its integrity tag (RFC 9000 §17.2.5).
pub fn encode_retry(out: &mut Vec<u8>, version: u32, dcid: &ConnectionId, scid: &ConnectionId, token: &[u8]) {
    // The low bits are unused; RFC 9001 Appendix A.4 sets them.
    out.push(LONG_FORM | QUIC_BIT | type_to_bits(version, TypeBits::Retry) << 4 | 0x0f);
    put_ids(version, dcid.as_slice(), scid.as_slice(), out);
    out.extend_from_slice(token);
}

fn pn_len_bits(pn_len: usize) -> u8 {
    debug_assert!((1..=4).contains(&pn_len));
    #[expect(clippy::cast_possible_truncation, reason = "two bits")]
    let bits = pn_len.wrapping_sub(1) as u8 & PN_LEN;
    bits
}

/// What long headers of all versions have in common after the first byte (RFC 8999 §5.1).
fn put_ids(version: u32, dcid: &[u8], scid: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&version.to_be_bytes());
    for id in [dcid, scid] {
        debug_assert!(id.len() <= 255);
        #[expect(clippy::cast_possible_truncation, reason = "taken from a field of one byte")]
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
}
