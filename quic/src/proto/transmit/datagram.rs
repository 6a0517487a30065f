//! One datagram: packets of several levels coalesced, padded where the RFC wants it (RFC 9000 §12.2, §14.1).

use smallvec::SmallVec;

use super::batch::Round;
use super::packet::OpenPacket;
use super::profile::SendProfile;
use crate::crypto::PacketKey;
use crate::packet::{Level, MIN_DATAGRAM_SIZE, SpaceId, TxBatch};
use crate::proto::connection::Connection;

/// With less room than this left, no further packet is coalesced.
const MIN_COALESCED: usize = 80;

/// Datagrams of a batch that miss no more of the length of the first are padded to it.
const LITTLE: usize = 32;

impl Connection {
    /// Writes one datagram of at most `room` bytes and returns its length; 0 if there was nothing to write.
    pub(super) fn write_datagram(
        &mut self,
        round: &mut Round,
        batch: &mut TxBatch,
        room: usize,
        profile: SendProfile,
    ) -> usize {
        let full = self.handshake.first_flight_size().map_or(MIN_DATAGRAM_SIZE, usize::from);
        let follows = !batch.is_empty();
        let buf = batch.begin(round.meta);
        let start = buf.len();
        let end = start + room;
        let mut packets: SmallVec<[OpenPacket; 3]> = SmallVec::new();
        for space in SpaceId::ALL {
            if self.keys.local(self.level_of(space)).is_none() || !self.may_send(space) {
                continue;
            }
            if !packets.is_empty() && end - buf.len() < MIN_COALESCED {
                break;
            }
            packets.extend(self.write_packet(round, buf, end, space, profile));
        }
        if packets.is_empty() {
            batch.abandon();
            return 0;
        }
        // RFC 9000 §14.1, §8.2.2: an answer to a challenge fills a whole datagram, where that may be sent.
        let pads = |packet: &OpenPacket| {
            packet.content.probes_path && room >= MIN_DATAGRAM_SIZE
                || packet.space == SpaceId::Initial && (self.side.is_client() || packet.content.ack_eliciting)
        };
        if packets.iter().any(pads) {
            let missing = (start + full.min(room)).saturating_sub(buf.len());
            pad(&mut packets, buf, missing);
        } else if follows
            && matches!(&packets[..], [packet] if packet.level == Level::OneRtt && packet.content.ack_eliciting)
        {
            // The first of the batch had an acknowledgment besides: a few bytes are cheaper than another batch.
            let missing = end.saturating_sub(buf.len());
            pad(&mut packets, buf, if missing <= LITTLE { missing } else { 0 });
        }
        self.paths.active.on_sent(buf.len() - start);
        let len = self.seal_packets(round, buf, packets);
        debug_assert_eq!(len + start, buf.len());
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += len as u64;
        batch.finish()
    }

    fn seal_packets(&mut self, round: &Round, buf: &mut [u8], packets: SmallVec<[OpenPacket; 3]>) -> usize {
        let (mut len, mut sent_handshake) = (0, false);
        for packet in packets {
            len += packet.end - packet.layout.start;
            sent_handshake |= packet.space == SpaceId::Handshake;
            self.seal(buf, &packet);
            self.on_packet_sent(round, &packet);
        }
        if sent_handshake && self.side.is_client() && self.keys.initial.is_some() {
            // RFC 9001 §4.9.1: the first Handshake packet ends the Initial level.
            self.discard_space(round.now, SpaceId::Initial);
        }
        len
    }
}

/// Lengthens a datagram: its Initial if there is one, since that is what has to be padded, else its last packet.
fn pad(packets: &mut [OpenPacket], buf: &mut Vec<u8>, bytes: usize) {
    match packets {
        [initial, behind @ ..] if initial.space == SpaceId::Initial => {
            initial.pad(buf, bytes);
            behind.iter_mut().for_each(|packet| packet.shift(bytes));
        }
        [.., last] => last.pad(buf, bytes),
        [] => {}
    }
}

/// What a packet needs besides its frames.
pub(super) const TAG_LEN: usize = PacketKey::TAG_LEN;
