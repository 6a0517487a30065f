//! The last datagram: CONNECTION_CLOSE at every level that the peer may be able to read (RFC 9000 §10.2.3).

use std::time::Instant;

use smallvec::SmallVec;

use super::batch::Round;
use super::datagram::TAG_LEN;
use super::packet::OpenPacket;
use super::write::FrameCounts;
use crate::packet::{MIN_DATAGRAM_SIZE, SpaceId, TxBatch, TxMeta};
use crate::proto::connection::Connection;
use crate::proto::path::Slot;
use crate::wire::frame::EncodeFrame as _;

/// How much of the reason is told, bytes: the close fits one datagram at all levels together.
const MAX_CLOSE_FRAME: usize = 256;

/// An ACK frame goes along if this much room is left besides, bytes.
const MAX_ACK_FRAME: usize = 600;

impl Connection {
    pub(super) fn transmit_close(&mut self, now: Instant, batch: &mut TxBatch) {
        let meta = TxMeta { path: self.paths.active.tuple, ecn: None };
        let mut round = Round { now, meta, slot: Slot::Active, counts: FrameCounts::default() };
        let budget = usize::try_from(self.paths.active.amplification_budget()).unwrap_or(usize::MAX);
        let size = MIN_DATAGRAM_SIZE.min(budget);
        let Some(room) = batch.room(meta, size) else { return };
        let buf = batch.begin(meta);
        let (start, end) = (buf.len(), buf.len() + room);
        let mut packets: SmallVec<[OpenPacket; 3]> = SmallVec::new();
        for space in SpaceId::ALL {
            // Once the handshake is confirmed only 1-RTT keys are left.
            if self.keys.local(self.level_of(space)).is_some() && self.may_send(space) {
                packets.extend(self.write_close_packet(&mut round, buf, end, space));
            }
        }
        let initial = packets.iter().any(|packet| packet.space == SpaceId::Initial);
        let missing =
            if initial && self.side.is_client() { (start + room).saturating_sub(buf.len()) } else { 0 };
        if let Some(last) = packets.last_mut() {
            last.pad(buf, missing);
        }
        for packet in packets {
            self.seal(buf, &packet);
            self.on_packet_sent(&round, &packet);
        }
        let len = buf.len() - start;
        if len == 0 {
            batch.abandon();
            self.lifecycle.close_sent(&[]);
            return;
        }
        self.lifecycle.close_sent(buf.get(start..).unwrap_or_default());
        self.paths.active.on_sent(len);
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += len as u64;
        batch.finish();
    }

    fn write_close_packet(
        &mut self,
        round: &mut Round,
        buf: &mut Vec<u8>,
        end: usize,
        space: SpaceId,
    ) -> Option<OpenPacket> {
        let mut frame = self.lifecycle.close_frame(self.level_of(space))?;
        frame.truncate(MAX_CLOSE_FRAME.min(end.saturating_sub(buf.len() + TAG_LEN)));
        // The peer may wait for the acknowledgment of what it finished; there will be no other packet to tell it.
        let now = round.now;
        let ack = self.spaces.get(space)?.received.can_ack();
        let room = frame.size() + TAG_LEN;
        self.write_packet_with(round, buf, end, space, |connection, writer| {
            if ack && writer.remaining() > room + MAX_ACK_FRAME {
                connection.write_frames(now, writer, space, true, false);
            }
            writer.frame(&frame, None);
        })
    }
}
