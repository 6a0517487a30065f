//! NEW_CONNECTION_ID and RETIRE_CONNECTION_ID.

use std::time::Instant;

use super::PacketInfo;
use crate::packet::{ConnectionId, TransportError, TransportErrorCode as Code};
use crate::proto::connection::Connection;
use crate::wire::frame::NewConnectionId;

impl Connection {
    pub(super) fn on_new_connection_id(
        &mut self,
        now: Instant,
        frame: &NewConnectionId,
    ) -> Result<(), TransportError> {
        self.remote_cids.on_new(frame.sequence, frame.retire_prior_to, frame.id, frame.reset_token)?;
        self.replace_retired_cids();
        self.on_churn_of_ids(now)
    }

    pub(super) fn on_retire_connection_id(
        &mut self,
        now: Instant,
        info: &PacketInfo<'_>,
        sequence: u64,
    ) -> Result<(), TransportError> {
        let pto = self.pto();
        let retired = self.local_cids.id(sequence);
        self.local_cids.on_retire(now, sequence, &info.dcid, pto, &mut self.rng, &mut self.outbox.routes)?;
        if let Some(cid) = retired {
            self.on_local_cid_retired(&cid);
        }
        self.on_churn_of_ids(now)
    }

    /// Gives the peer new connection IDs in place of all that it has (RFC 9000 §5.1.2).
    pub fn rotate_connection_ids(&mut self) {
        if self.lifecycle.is_open() {
            self.local_cids.rotate(&mut self.rng, &mut self.outbox.routes);
        }
    }

    /// An ID of [`RouteChange::AddCid`](crate::proto::RouteChange::AddCid) leads to another connection already. Another takes its place, unless the peer knows
    /// it: then the connection ends.
    pub fn on_connection_id_taken(&mut self, now: Instant, cid: &ConnectionId) {
        if !self.local_cids.on_clash(cid, &mut self.rng, &mut self.outbox.routes) {
            self.fail(now, TransportError::new(Code::INTERNAL_ERROR, "no connection ID is free"));
        }
    }
}
