//! Probes for larger datagrams: PING or IMMEDIATE_ACK, and PADDING, one datagram to a batch (RFC 9000 §14.4).

use std::time::Instant;

use super::batch::Round;
use crate::packet::{SpaceId, TxBatch};
use crate::proto::connection::Connection;
use crate::proto::space::Token;
use crate::wire::frame::{ImmediateAck, Ping};

impl Connection {
    /// The size of the probe that is wanted now, if one may be sent as soon as the congestion window has room for it.
    pub(super) fn wanted_mtu_probe(&mut self, now: Instant) -> Option<u16> {
        if !self.handshake.is_confirmed() || !self.paths.active.validated || self.pending.any_probes() {
            return None;
        }
        // Room for it is taken from other data, so it must leave some.
        self.paths.active.mtu.next_probe(now, self.paths.active.cc.window() / 2)
    }

    /// Fills the empty batch with a probe. False if it does not fit.
    pub(super) fn write_mtu_probe(&mut self, round: &mut Round, batch: &mut TxBatch, size: u16) -> bool {
        let Some(room) = batch.room(round.meta, size.into()) else { return false };
        let buf = batch.begin(round.meta);
        let (space, pn) = (SpaceId::Data, self.spaces.data.sent.next());
        let packet = self.write_packet_with(round, buf, room, space, |connection, writer| {
            if connection.recovery.ack_requests.are_taken() {
                writer.frame(&ImmediateAck, None);
            } else {
                writer.frame(&Ping, Some(Token::Ping));
            }
        });
        let Some(mut packet) = packet else {
            batch.abandon();
            return false;
        };
        packet.pad(buf, room.saturating_sub(buf.len()));
        packet.content.mtu_probe = true;
        self.paths.active.on_sent(buf.len());
        self.seal(buf, &packet);
        self.on_packet_sent(round, &packet);
        self.paths.active.mtu.on_probe_sent(round.now, pn, size);
        self.stats.mtu_probes_sent += 1;
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += batch.finish() as u64;
        true
    }
}
