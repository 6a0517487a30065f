//! NEW_CONNECTION_ID and RETIRE_CONNECTION_ID.

use std::time::Instant;

use super::PacketInfo;
use crate::packet::TransportError;
use crate::proto::connection::Connection;
use crate::wire::frame::NewConnectionId;

impl Connection {
    pub(super) fn on_new_connection_id(&mut self, frame: &NewConnectionId) -> Result<(), TransportError> {
        self.remote_cids.on_new(frame.sequence, frame.retire_prior_to, frame.id, frame.reset_token)?;
        self.replace_retired_cids();
        Ok(())
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
        Ok(())
    }
}
