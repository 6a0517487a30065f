//! One packet: header, frames, seal, and the record of what was sent.

use super::batch::Round;
use super::datagram::TAG_LEN;
use super::profile::SendProfile;
use super::write::{FrameWriter, PacketContent};
use crate::packet::{Ecn, Level, PacketNumber, SpaceId};
use crate::proto::connection::Connection;
use crate::proto::path::Slot;
use crate::proto::space::SentPacket;
use crate::wire::header::{self, Layout, LongHeader, LongType, ShortHeader};
use crate::wire::packet_number;

/// Packets that ask for an acknowledgment are longer by so many bytes than the connection IDs that the peer sends to.
const SHORTEST: usize = 22;

/// A packet that is written but not sealed: there is still room for padding behind it.
#[derive(Debug)]
pub(super) struct OpenPacket {
    pub space: SpaceId,
    pub level: Level,
    pub pn: PacketNumber,
    pub content: PacketContent,
    /// Where its parts are in the buffer of the batch.
    pub layout: Layout,
    /// Where it ends there, tag included.
    pub end: usize,
}

impl OpenPacket {
    /// Lengthens the packet by PADDING frames; what is behind it moves.
    pub(super) fn pad(&mut self, buf: &mut Vec<u8>, bytes: usize) {
        if bytes > 0 {
            let (at, end) = (self.end - TAG_LEN, buf.len());
            buf.resize(end + bytes, 0);
            buf.copy_within(at..end, at + bytes);
            buf[at..at + bytes].fill(0);
            self.end += bytes;
            // Padding counts as in flight (RFC 9002 §2).
            self.content.in_flight = true;
        }
    }

    /// A packet before it became longer.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.layout.shift(bytes);
        self.end += bytes;
    }
}

impl Connection {
    /// Writes a packet of a space behind what `buf` holds, up to `end`; `None` if it has nothing to say.
    pub(super) fn write_packet(
        &mut self,
        round: &mut Round,
        buf: &mut Vec<u8>,
        end: usize,
        space: SpaceId,
        profile: SendProfile,
    ) -> Option<OpenPacket> {
        let eliciting = profile.allows_ack_eliciting() && self.space_wants_to_send(space);
        let received = &self.spaces.get(space)?.received;
        let ack = if eliciting {
            // In a handshake each packet may be the only one that arrives: it says again what was acknowledged.
            received.can_ack() || (space != SpaceId::Data && received.largest().is_some())
        } else {
            self.must_ack(space, round.now)
        };
        if !eliciting && !ack {
            return None;
        }
        let now = round.now;
        self.write_packet_with(round, buf, end, space, |connection, writer| {
            connection.write_frames(now, writer, space, ack, eliciting);
        })
    }

    /// Writes a packet whose frames come from `fill`.
    pub(super) fn write_packet_with(
        &mut self,
        round: &mut Round,
        buf: &mut Vec<u8>,
        end: usize,
        space: SpaceId,
        fill: impl FnOnce(&mut Self, &mut FrameWriter<'_>),
    ) -> Option<OpenPacket> {
        let start = buf.len();
        let state = self.spaces.get(space)?;
        let (pn, largest_acked) = (state.sent.next(), state.largest_acked);
        let pn_len = packet_number::encode_len(pn, largest_acked);
        let level = self.level_of(space);
        let layout = self.write_header(buf, round.slot, level, pn, pn_len);
        self.grease_quic_bit(buf, start);
        let payload = layout.payload();
        let mut content = PacketContent::default();
        if payload + TAG_LEN + 4 <= end {
            fill(self, &mut FrameWriter::new(buf, end - TAG_LEN, &mut content, &mut round.counts));
        }
        if buf.len() == payload {
            buf.truncate(start);
            return None;
        }
        // Header protection samples what follows four bytes of packet number (RFC 9001 §5.4.2).
        let mut least = layout.pn + 4;
        if content.ack_eliciting {
            // So that a stateless reset of the peer, which is shorter, can pass for a packet (RFC 9000 §10.3). Acknowledgments
            // alone are left as they are: padding would count as in flight, and nobody acknowledges them.
            least = least.max((start + SHORTEST + self.local_cids.initial().len()).saturating_sub(TAG_LEN));
        }
        buf.resize(buf.len().max(least) + TAG_LEN, 0);
        Some(OpenPacket { space, level, pn, content, layout, end: buf.len() })
    }

    /// Appends a header.
    fn write_header(
        &self,
        buf: &mut Vec<u8>,
        slot: Slot,
        level: Level,
        pn: PacketNumber,
        pn_len: usize,
    ) -> Layout {
        let path = self.paths.get(slot);
        let dcid = path.remote_cid.id;
        let (ty, version) = match level {
            Level::OneRtt => {
                let key_phase = self.keys.one_rtt.as_ref().is_some_and(|keys| keys.phase);
                return ShortHeader { dcid, spin: path.spin.value(), key_phase }.encode(buf, pn, pn_len);
            }
            Level::Initial => (LongType::Initial, self.version),
            // Whatever the server turns to (RFC 9369 §4.1).
            Level::ZeroRtt => (LongType::ZeroRtt, self.handshake.negotiation.original),
            Level::Handshake => (LongType::Handshake, self.version),
        };
        let scid = self.local_cids.initial();
        let token = &self.handshake.token;
        LongHeader { ty, version, dcid, scid, token }.encode(buf, pn, pn_len)
    }

    /// Gives the QUIC bit of a packet any value, once the peer has said that it does not mind (RFC 9287 §3.1).
    fn grease_quic_bit(&mut self, buf: &mut [u8], start: usize) {
        if self.handshake.peer_greases_quic_bit()
            && self.config.grease_quic_bit
            && let Some(first) = buf.get_mut(start)
        {
            let [random] = self.rng.array();
            *first &= !(random & header::QUIC_BIT);
        }
    }

    /// Seals a packet and protects its header.
    pub(super) fn seal(&mut self, buf: &mut [u8], packet: &OpenPacket) {
        let (Some(keys), Some(upto)) = (self.keys.local(packet.level), buf.get_mut(..packet.end)) else {
            return;
        };
        let Layout { start, pn, .. } = packet.layout;
        packet.layout.fill_length(upto);
        let Some(bytes) = upto.get_mut(start..) else { return };
        keys.packet.seal(packet.pn, bytes, packet.layout.payload() - start);
        keys.header.protect(bytes, pn - start);
    }

    /// Records a packet for recovery and its timers.
    pub(super) fn on_packet_sent(&mut self, round: &Round, packet: &OpenPacket) {
        let OpenPacket { space, content, layout, end, .. } = packet;
        let space = *space;
        self.stats.frames_sent += u64::from(content.frames);
        if content.ack_eliciting {
            self.stats.ack_eliciting_packets_sent += 1;
            self.idle.on_sent_ack_eliciting(round.now);
            self.pending.probe_sent(space);
        }
        match &mut self.keys.one_rtt {
            Some(keys) if space == SpaceId::Data => keys.on_sealed(),
            None if space == SpaceId::Data => self.stats.early_packets_sent += 1,
            _ => {}
        }
        if let Some(largest) = content.largest_acked {
            if let Some(space) = self.spaces.get_mut(space) {
                space.received.on_ack_sent(largest);
            }
            if space == SpaceId::Data
                && let Some(keys) = &mut self.keys.one_rtt
            {
                keys.on_ack_sent(largest);
            }
        }
        let sent = SentPacket {
            time: round.now,
            size: u16::try_from(end - layout.start).unwrap_or(u16::MAX),
            path: self.paths.get(round.slot).cc.id,
            ack_eliciting: content.ack_eliciting,
            in_flight: content.ack_eliciting || content.in_flight,
            ect0: round.meta.ecn == Some(Ecn::Ect0),
            mtu_probe: content.mtu_probe,
        };
        let Some(state) = self.spaces.get_mut(space) else { return };
        self.recovery.on_packet_sent(state, sent, &content.tokens, &mut self.paths.active.cc);
        if space == SpaceId::Data && state.sent.next() >= self.pending.skip_at {
            self.skip_packet_number();
        }
    }

    /// Another path is in use, whose window grows with what the peer acknowledges: it is soon found out again if that is not
    /// what it receives.
    pub(in crate::proto) fn skip_packet_number_soon(&mut self) {
        let next = self.spaces.data.sent.next();
        self.pending.skip_at = next + 1 + self.rng.below(8);
    }

    /// Leaves out a number now and then, at first more often: a peer that acknowledges it has not received what it
    /// acknowledges (RFC 9000 §21.4).
    fn skip_packet_number(&mut self) {
        let sent = &mut self.spaces.data.sent;
        if self.pending.skip_at > 0 {
            sent.skip();
        }
        let next = sent.next();
        self.pending.skip_at = next + 16 + self.rng.below(next.clamp(64, 4096));
    }
}
