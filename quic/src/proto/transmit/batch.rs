//! One batch of datagrams for one system call.

use std::time::Instant;

use super::write::FrameCounts;
use crate::packet::{TxBatch, TxMeta};
use crate::proto::connection::Connection;

/// What all datagrams of one call have in common.
#[derive(Debug)]
pub(super) struct Round {
    pub now: Instant,
    pub meta: TxMeta,
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
        if let Err(error) = self.renew_keys(now) {
            return self.fail(now, error);
        }
        let meta = TxMeta { path: self.paths.active.tuple, ecn: self.paths.active.cc.ecn.mark() };
        let mut round = Round { now, meta, counts: std::mem::take(&mut self.frames_sent) };
        let mut allowance = None;
        loop {
            let budget = usize::try_from(self.paths.active.amplification_budget()).unwrap_or(usize::MAX);
            let size = budget.min(self.paths.active.mtu.current().into());
            let Some(room) = batch.room(meta, size) else { break };
            let Some(profile) = self.send_profile(now, room, &mut allowance) else { break };
            let len = self.write_datagram(&mut round, batch, room, profile);
            allowance = allowance.map(|left: u64| left.saturating_sub(len as u64));
            if len < room {
                break;
            }
        }
        self.frames_sent = round.counts;
        self.paths.active.cc.set_app_limited(!self.wants_to_send_eliciting());
    }
}
