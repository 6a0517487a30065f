//! Header protection removed, packet opened in place, number decoded (RFC 9001 §5).

use std::ops::Range;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::datagram::{payload_of, short_dcid};
use crate::error::ConnectionError;
use crate::packet::{ConnectionId, Level, PacketNumber, SpaceId, TransportError, TransportErrorCode as Code};
use crate::proto::connection::Connection;
use crate::wire::header::{KEY_PHASE, LONG_RESERVED, PartialPacket, QUIC_BIT, SHORT_RESERVED, SPIN};
use crate::wire::packet_number;

/// A 1-RTT packet opened in place.
#[derive(Debug)]
pub(super) struct OpenedShort {
    pub pn: PacketNumber,
    pub dcid: ConnectionId,
    /// The spin bit.
    pub spin: bool,
    /// Where the frames are, in the buffer of the burst.
    pub payload: Range<usize>,
}

impl Connection {
    /// Opens a packet with a long header; `None` if it is not genuine or not new.
    pub(super) fn open_long(
        &mut self,
        level: Level,
        partial: &PartialPacket,
        packet: &mut BytesMut,
    ) -> Result<Option<(PacketNumber, Bytes)>, TransportError> {
        let expected = self.expected_pn(level.space());
        let version = partial.header.version();
        let candidate = self.candidate_keys(level, version);
        let keys = match &candidate {
            Some(keys) => Some(&keys.remote),
            None if level == Level::Initial && version != Some(self.version) => {
                self.keys.original_initial.as_deref()
            }
            None => self.keys.remote(level),
        };
        let Some(keys) = keys else {
            self.stats.packets_dropped += 1;
            return Ok(None);
        };
        let Some((first, truncated, pn_len)) = keys.header.unprotect(packet, partial.pn_offset) else {
            self.stats.packets_dropped += 1;
            return Ok(None);
        };
        let pn = packet_number::decode(truncated, pn_len, expected);
        let header_len = partial.pn_offset + pn_len;
        let opened = packet
            .split_at_mut_checked(header_len)
            .and_then(|(header, payload)| keys.packet.open(pn, header, payload));
        let Some(len) = opened else {
            self.on_authentication_failure(level)?;
            return Ok(None);
        };
        if let (Some(version), Some(keys)) = (version, candidate) {
            self.follow_version(version, keys);
        }
        if first & LONG_RESERVED != 0 {
            return Err(reserved_bits());
        }
        Ok(Some((pn, payload_of(packet.split(), header_len, len))))
    }

    /// Opens a packet with a short header; `None` if it is not genuine. `start` is where it lies in its buffer.
    pub(super) fn open_short(
        &mut self,
        now: Instant,
        packet: &mut [u8],
        start: usize,
    ) -> Result<Option<OpenedShort>, TransportError> {
        if !self.config.grease_quic_bit && packet.first().is_none_or(|first| first & QUIC_BIT == 0) {
            self.stats.packets_dropped += 1;
            return Ok(None);
        }
        let expected = self.expected_pn(SpaceId::Data);
        let cid_len = self.local_cids.cid_len();
        let pn_offset = 1 + cid_len;
        let (next_pn, late) = (self.spaces.data.sent.next(), now + 3 * self.pto());
        let (Some(keys), Some(dcid)) = (&mut self.keys.one_rtt, short_dcid(packet, cid_len)) else {
            self.stats.packets_dropped += 1;
            return Ok(None);
        };
        let mut opened = None;
        if let Some((first, truncated, pn_len)) = keys.remote_header().unprotect(packet, pn_offset) {
            let pn = packet_number::decode(truncated, pn_len, expected);
            let (phase, key) = keys.remote(now, first & KEY_PHASE != 0, pn);
            let header_len = pn_offset + pn_len;
            let len = packet
                .split_at_mut_checked(header_len)
                .and_then(|(header, payload)| key.open(pn, header, payload));
            opened = len.map(|len| (first, pn, phase, start + header_len..start + header_len + len));
        }
        let Some((first, pn, phase, payload)) = opened else {
            // A failed opening leaves the last 16 bytes as they were.
            if self.remote_cids.is_stateless_reset(packet) {
                self.vanish(now, ConnectionError::Reset);
                return Ok(None);
            }
            self.on_authentication_failure(Level::OneRtt)?;
            return Ok(None);
        };
        if first & SHORT_RESERVED != 0 {
            return Err(reserved_bits());
        }
        keys.on_opened(phase, pn, next_pn, late)?;
        Ok(Some(OpenedShort { pn, dcid, spin: first & SPIN != 0, payload }))
    }

    pub(super) fn expected_pn(&self, space: SpaceId) -> PacketNumber {
        self.spaces.get(space).and_then(|space| space.received.largest()).map_or(0, |largest| largest + 1)
    }
}

fn reserved_bits() -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, "reserved bits of the header are set")
}
