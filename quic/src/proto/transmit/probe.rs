//! Datagrams that probe a path: a challenge, and answers on paths that are not in use (RFC 9000 §8.2, §9.1).
//!
//! They hold nothing else, so the peer does not take them for a migration. They neither count as in flight nor set the
//! timer of loss detection: validation has its own (RFC 9000 §9.4).

use std::time::Instant;

use super::batch::Round;
use super::write::FrameWriter;
use crate::packet::{MIN_DATAGRAM_SIZE, SpaceId, TxBatch, TxMeta};
use crate::proto::connection::Connection;
use crate::proto::path::{ChallengeData, Slot, Validation};
use crate::wire::frame::{PathChallenge, PathResponse};

impl Connection {
    /// Puts one probe into an empty batch. False if none is due, or may be sent.
    pub(super) fn transmit_probe(&mut self, now: Instant, batch: &mut TxBatch) -> bool {
        let sent = &self.spaces.data.sent;
        if !batch.is_empty() || self.keys.one_rtt.is_none() || sent.is_full() {
            return false;
        }
        let Some(slot) = self.probe_due() else { return false };
        let path = self.paths.get_mut(slot);
        let meta = TxMeta { path: path.tuple, ecn: None };
        // To fill a datagram with less than the path must carry would show nothing, and use up what may be sent.
        let budget = usize::try_from(path.amplification_budget()).unwrap_or(usize::MAX);
        let Some(room) = batch.room(meta, budget.min(MIN_DATAGRAM_SIZE)) else { return false };
        let challenge = path.validation.as_ref().is_some_and(Validation::wants_to_send);
        let challenge: Option<ChallengeData> = challenge.then(|| self.rng.array());

        let mut round = Round { now, meta, slot, counts: std::mem::take(&mut self.frames_sent) };
        let buf = batch.begin(meta);
        let (start, end) = (buf.len(), buf.len() + room);
        let packet = self.write_packet_with(&mut round, buf, end, SpaceId::Data, |connection, writer| {
            connection.write_probe(writer, slot, challenge);
        });
        if let Some(mut packet) = packet {
            if room >= MIN_DATAGRAM_SIZE {
                packet.pad(buf, end.saturating_sub(buf.len()));
            }
            packet.content.in_flight = false;
            packet.content.ack_eliciting = false;
            self.seal(buf, &packet);
            self.on_packet_sent(&round, &packet);
        }
        let len = buf.len() - start;
        self.frames_sent = round.counts;
        if len == 0 {
            batch.abandon();
            return false;
        }
        let path = self.paths.get_mut(slot);
        path.on_sent(len);
        if let (Some(data), Some(validation)) = (challenge, &mut path.validation) {
            validation.on_sent(now, data, len >= MIN_DATAGRAM_SIZE);
        }
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += len as u64;
        batch.finish();
        true
    }

    /// A path on which a probe is due and may be sent. Answers on the path in use leave with other packets: those show
    /// the peer that we use it (RFC 9000 §9.3.3).
    fn probe_due(&self) -> Option<Slot> {
        let active = &self.paths.active;
        let due = active.validation.as_ref().is_some_and(Validation::wants_to_send);
        if due && !active.is_amplification_limited() {
            return Some(Slot::Active);
        }
        let mut others = self.paths.others().iter();
        others.position(|path| path.wants_to_probe() && !path.is_amplification_limited()).map(Slot::Other)
    }

    fn write_probe(&mut self, writer: &mut FrameWriter<'_>, slot: Slot, challenge: Option<ChallengeData>) {
        let path = self.paths.get_mut(slot);
        if let Some(data) = challenge {
            writer.frame(&PathChallenge { data }, None);
        }
        if slot == Slot::Active {
            return;
        }
        while let Some(data) = path.responses.next() {
            if !writer.frame(&PathResponse { data }, None) {
                break;
            }
            path.responses.sent();
        }
    }
}
