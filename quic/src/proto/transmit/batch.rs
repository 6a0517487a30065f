//! One batch of datagrams for one system call.

use std::time::Instant;

use super::profile::Allowed;
use super::write::FrameCounts;
use crate::error::ConnectionError;
use crate::packet::{TransportError, TransportErrorCode as Code, TxBatch, TxMeta};
use crate::proto::connection::Connection;
use crate::proto::path::{BASE, Slot};
use crate::proto::recovery::RoundEnd;

/// What all datagrams of one call have in common.
#[derive(Debug)]
pub(super) struct Round {
    pub now: Instant,
    pub meta: TxMeta,
    /// The path they take.
    pub slot: Slot,
    /// The connection's own, lent to the frame writers.
    pub counts: FrameCounts,
}

impl Connection {
    /// Appends datagrams to `batch` until it is full, or nothing more may be sent now.
    pub(in crate::proto) fn transmit(&mut self, now: Instant, batch: &mut TxBatch) {
        if !self.lifecycle.is_open() {
            if self.lifecycle.close_to_send() {
                self.transmit_close(now, batch);
            }
            return;
        }
        if self.spaces.iter().any(|(_, space)| space.sent.is_used_up()) {
            // Not even a close may follow (RFC 9000 §12.3).
            let error = TransportError::new(Code::INTERNAL_ERROR, "the packet numbers are used up");
            return self.vanish(now, ConnectionError::local(error));
        }
        if let Err(error) = self.renew_keys(now) {
            return self.fail(now, error);
        }
        if !self.paths.is_quiet() && self.transmit_probe(now, batch) {
            return;
        }
        let meta = TxMeta { path: self.paths.active.tuple, ecn: self.paths.active.cc.ecn.mark() };
        let counts = std::mem::take(&mut self.frames_sent);
        let mut round = Round { now, meta, slot: Slot::Active, counts };
        let probe = self.wanted_mtu_probe(now);
        if let Some(size) = probe
            && batch.is_empty()
            && self.paths.active.cc.has_room(now, size)
            && self.write_mtu_probe(&mut round, batch, size)
        {
            self.frames_sent = round.counts;
            return;
        }
        let mut allowed = Allowed::keeping_free(probe.unwrap_or(0).into());
        loop {
            let budget = usize::try_from(self.paths.active.data_budget()).unwrap_or(usize::MAX);
            // What a timer probes with must arrive, even if the path no longer carries what it used to.
            let mtu = match self.handshake.first_flight_size() {
                _ if self.pending.any_probes() => BASE,
                Some(size) => size,
                None => self.paths.active.mtu.current(),
            };
            let size = budget.min(mtu.into());
            let Some(room) = batch.room(meta, size) else { break };
            if room < size && !self.next_datagram_fits(room) {
                break;
            }
            let Some(profile) = self.send_profile(now, room, &mut allowed) else { break };
            let len = self.write_datagram(&mut round, batch, room, profile);
            allowed.use_up(len);
            // A first datagram that is short, since another message does not fit it, sets the length of those that follow.
            if len < room && !(batch.segments() == 1 && self.next_datagram_fits(len)) {
                break;
            }
        }
        self.frames_sent = round.counts;
        let end = match self.wants_to_send_eliciting() {
            false => RoundEnd::OutOfData,
            true if allowed.is_used_up() => RoundEnd::Held,
            true => RoundEnd::Interrupted,
        };
        self.paths.active.cc.end_round(now, end);
    }
}
