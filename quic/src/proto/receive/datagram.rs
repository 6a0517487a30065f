//! A burst of datagrams, taken apart into packets.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::PacketInfo;
use super::open::OpenedShort;
use super::parked::ParkedPacket;
use crate::error::ConnectionError;
use crate::packet::{
    Burst, ConnectionId, Ecn, FourTuple, Level, MIN_DATAGRAM_SIZE, Side, SpaceId, TransportError,
};
use crate::proto::connection::Connection;
use crate::proto::endpoint::Incoming;
use crate::wire::header::{self, HeaderError, PartialPacket, ProtectedHeader};

/// What the packets of one datagram have in common.
#[derive(Debug, Copy, Clone)]
struct DatagramInfo<'a> {
    received: Instant,
    ecn: Option<Ecn>,
    /// Length of the whole datagram, bytes.
    len: usize,
    /// The path it took, if that is not the one in use.
    elsewhere: Option<&'a FourTuple>,
}

impl Connection {
    /// Takes in datagrams that were routed to this connection.
    ///
    /// Whatever their bytes are, the worst that happens is that the connection closes with a proper error.
    pub fn handle_burst(&mut self, now: Instant, burst: Burst) {
        if !self.lifecycle.is_open() {
            return;
        }
        let len = burst.buffer.as_ref().len();
        self.stats.datagrams_received += burst.datagrams() as u64;
        self.stats.bytes_received += len as u64;
        let path = burst.path;
        let elsewhere = (!self.paths.active.carries(&path)).then_some(&path);
        if elsewhere.is_none() {
            self.paths.active.on_received(len);
        } else if !self.accepts_from(&path) {
            self.stats.packets_dropped += burst.datagrams() as u64;
            return;
        }
        let result = self.receive(now, burst, elsewhere).and_then(|()| self.unpark(now));
        if let Some(slot) = elsewhere.and_then(|path| self.paths.find(path)) {
            // Only what was genuine made it a path, and counts (RFC 9000 §8.1).
            self.paths.get_mut(slot).on_received(len);
        }
        if let Err(error) = result {
            self.fail(now, error);
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        mut burst: Burst,
        elsewhere: Option<&FourTuple>,
    ) -> Result<(), TransportError> {
        let (received, ecn) = (burst.received, burst.ecn);
        let segment_size = burst.segment_size.max(1);
        let mut opened: Vec<OpenedShort> = Vec::with_capacity(burst.datagrams());
        let mut start = 0;
        for datagram in burst.buffer.as_mut().chunks_mut(segment_size) {
            let info = DatagramInfo { received, ecn, len: datagram.len(), elsewhere };
            if datagram.first().is_some_and(|first| first & header::LONG_FORM != 0) {
                // Also with a long header, as other versions may send it (RFC 9000 §10.3).
                if self.remote_cids.is_stateless_reset(datagram) {
                    self.vanish(now, ConnectionError::Reset);
                    return Ok(());
                }
                self.receive_long(now, info, None, BytesMut::from(&*datagram))?;
            } else if self.may_process_one_rtt() {
                opened.extend(self.open_short(now, datagram, start)?);
            } else {
                self.park(Level::OneRtt, info, datagram);
            }
            start += segment_size;
            if !self.lifecycle.is_open() {
                return Ok(());
            }
        }
        if opened.is_empty() {
            return Ok(());
        }
        self.streams.begin_burst(burst.buffer.capacity());
        self.datagrams.begin_burst(burst.buffer.capacity());
        let bytes = burst.buffer.freeze();
        if elsewhere.is_none() {
            self.paths.active.local_cid = opened.last().map(|packet| packet.dcid);
        }
        for packet in opened {
            let OpenedShort { pn, dcid, spin, payload } = packet;
            self.on_spin(elsewhere, pn, spin);
            let info = PacketInfo { level: Level::OneRtt, pn, ecn, received, dcid, elsewhere };
            self.on_packet(now, info, bytes.slice(payload))?;
        }
        Ok(())
    }

    /// 1-RTT packets wait until the handshake is complete, also where keys exist before (RFC 9001 §5.7).
    fn may_process_one_rtt(&self) -> bool {
        self.keys.one_rtt.is_some() && self.handshake.is_complete()
    }

    /// The QUIC bit means nothing once we said so (RFC 9287 §3).
    fn parse(&self, datagram: &[u8]) -> Result<PartialPacket, HeaderError> {
        let parse = if self.config.grease_quic_bit { header::parse_greased } else { header::parse };
        parse(datagram, self.local_cids.cid_len())
    }

    /// The packets of one datagram that begins with a long header, one by one; or those that are coalesced with a
    /// packet to `first_dcid`.
    fn receive_long(
        &mut self,
        now: Instant,
        info: DatagramInfo<'_>,
        mut first_dcid: Option<ConnectionId>,
        mut rest: BytesMut,
    ) -> Result<(), TransportError> {
        while !rest.is_empty() && self.lifecycle.is_open() {
            let Ok(partial) = self.parse(&rest) else {
                self.stats.packets_dropped += 1;
                return Ok(());
            };
            let packet = rest.split_to(partial.len.min(rest.len()));
            let dcid = *partial.header.dcid();
            if *first_dcid.get_or_insert(dcid) != dcid {
                // RFC 9000 §12.2: coalesced packets go to one connection.
                self.stats.packets_dropped += 1;
                continue;
            }
            self.receive_packet(now, info, &partial, packet)?;
        }
        Ok(())
    }

    fn receive_packet(
        &mut self,
        now: Instant,
        info: DatagramInfo<'_>,
        partial: &PartialPacket,
        mut packet: BytesMut,
    ) -> Result<(), TransportError> {
        match &partial.header {
            ProtectedHeader::VersionNegotiation { dcid, scid, .. } => {
                let versions = partial.header.versions(&packet).collect();
                self.on_version_negotiation(now, versions, *dcid, *scid);
                return Ok(());
            }
            ProtectedHeader::Retry { version, dcid, scid, token, tag } => {
                self.on_retry(now, *version, (*dcid, *scid), token.clone(), tag, &packet);
                return Ok(());
            }
            ProtectedHeader::Short { .. } => return self.receive_short(now, info, &mut packet),
            ProtectedHeader::Initial { .. }
            | ProtectedHeader::Handshake { .. }
            | ProtectedHeader::ZeroRtt { .. } => {}
        }
        let Some(level) = partial.header.level() else { return Ok(()) };
        if !self.accepts_long(level, info, partial) {
            self.stats.packets_dropped += 1;
            return Ok(());
        }
        if level == Level::Handshake && self.keys.handshake.is_none() && !self.handshake.is_confirmed() {
            self.park(level, info, &packet);
            return Ok(());
        }
        if level == Level::ZeroRtt && self.awaits_early_keys() {
            self.park(level, info, &packet);
            return Ok(());
        }
        let Some((pn, payload)) = self.open_long(level, partial, &mut packet)? else {
            return Ok(());
        };
        if self.side == Side::Client && self.handshake.peer_scid.is_none() {
            // The first packet of the server fixes its ID (RFC 9000 §7.2).
            let scid = partial.header.scid().copied().unwrap_or_default();
            self.handshake.peer_scid = Some(scid);
            self.set_handshake_cid(scid);
        }
        if level == Level::Handshake && self.side == Side::Server {
            // Only who received our Handshake keys can seal this: the address is valid (RFC 9000 §8.1).
            self.paths.active.validated = true;
            if self.keys.initial.is_some() {
                self.discard_space(now, SpaceId::Initial);
            }
        }
        let dcid = *partial.header.dcid();
        let DatagramInfo { received, ecn, elsewhere, .. } = info;
        let info = PacketInfo { level, pn, ecn, received, dcid, elsewhere };
        self.on_packet(now, info, payload)
    }

    /// Whether a packet with a long header can be one of this connection (RFC 9000 §5.2, §7.2, §14.1).
    fn accepts_long(&self, level: Level, info: DatagramInfo<'_>, partial: &PartialPacket) -> bool {
        let header = &partial.header;
        let known_dcid = self.local_cids.contains(header.dcid())
            || (self.side == Side::Server
                && level != Level::Handshake
                && *header.dcid() == self.handshake.original_dcid);
        let known_scid = self.handshake.peer_scid.is_none_or(|scid| header.scid() == Some(&scid));
        let long_enough =
            level != Level::Initial || self.side == Side::Client || info.len >= MIN_DATAGRAM_SIZE;
        // A server's Initial carries no token (RFC 9000 §17.2.2).
        let token_ok = match header {
            ProtectedHeader::Initial { token, .. } => self.side == Side::Server || token.is_empty(),
            _ => true,
        };
        let version_ok = header.version().is_some_and(|version| self.accepts_version(level, version));
        version_ok && known_dcid && known_scid && long_enough && token_ok
    }

    /// A short header after coalesced long ones, or parked: opened alone, since the buffer is ours already.
    fn receive_short(
        &mut self,
        now: Instant,
        info: DatagramInfo<'_>,
        packet: &mut BytesMut,
    ) -> Result<(), TransportError> {
        if !self.may_process_one_rtt() {
            self.park(Level::OneRtt, info, packet);
            return Ok(());
        }
        let Some(opened) = self.open_short(now, packet, 0)? else { return Ok(()) };
        self.on_spin(info.elsewhere, opened.pn, opened.spin);
        self.streams.begin_burst(packet.len());
        self.datagrams.begin_burst(packet.len());
        let bytes = packet.split().freeze();
        let packet = PacketInfo {
            level: Level::OneRtt,
            pn: opened.pn,
            ecn: info.ecn,
            received: info.received,
            dcid: opened.dcid,
            elsewhere: info.elsewhere,
        };
        self.on_packet(now, packet, bytes.slice(opened.payload))
    }

    fn park(&mut self, level: Level, info: DatagramInfo<'_>, bytes: &[u8]) {
        let packet = ParkedPacket { level, received: info.received, ecn: info.ecn, bytes: bytes.to_vec() };
        if !self.parked.push(packet) {
            self.stats.packets_dropped += 1;
        }
    }

    /// Takes parked packets whose keys exist by now.
    fn unpark(&mut self, now: Instant) -> Result<(), TransportError> {
        while let Some(packets) = self.parked.take() {
            for packet in packets {
                if !self.lifecycle.is_open() {
                    return Ok(());
                }
                let info = DatagramInfo {
                    received: packet.received,
                    ecn: packet.ecn,
                    len: packet.bytes.len().max(MIN_DATAGRAM_SIZE),
                    // Others are not parked: packets only wait for the handshake.
                    elsewhere: None,
                };
                let mut bytes = BytesMut::from(&*packet.bytes);
                if packet.level == Level::OneRtt {
                    self.receive_short(now, info, &mut bytes)?;
                } else {
                    self.receive_long(now, info, None, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The packets that an endpoint collected before the connection existed. The first one is open already.
    pub(in crate::proto) fn receive_incoming(&mut self, now: Instant, incoming: Incoming) {
        let (first, rest) = incoming.into_parts();
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += first.datagram_len as u64;
        self.paths.active.on_received(first.datagram_len);
        let (received, ecn, len) = (first.received, first.ecn, first.datagram_len);
        let info = DatagramInfo { received, ecn, len, elsewhere: None };
        let packet = PacketInfo {
            level: Level::Initial,
            pn: first.pn,
            ecn: first.ecn,
            received: first.received,
            dcid: first.dcid,
            elsewhere: None,
        };
        let result = first
            .check_reserved_bits()
            .and_then(|()| self.on_packet(now, packet, first.payload))
            .and_then(|()| self.receive_long(now, info, Some(first.dcid), first.coalesced))
            .and_then(|()| self.unpark(now));
        if let Err(error) = result {
            self.fail(now, error);
        }
        for burst in rest {
            self.handle_burst(now, burst);
        }
    }
}

/// The connection ID at the front of a packet with a short header.
pub(super) fn short_dcid(packet: &[u8], len: usize) -> Option<ConnectionId> {
    ConnectionId::try_from(packet.get(1..1 + len)?).ok()
}

/// A payload as shared bytes.
pub(super) fn payload_of(packet: BytesMut, from: usize, len: usize) -> Bytes {
    let packet = packet.freeze();
    let end = (from + len).min(packet.len());
    packet.slice(from.min(end)..end)
}
