//! For tests and fuzzing: frames of a peer that does as it likes, without the work of sealing them.

use std::time::Instant;

use bytes::Bytes;

use super::PacketInfo;
use crate::packet::Level;
use crate::proto::connection::Connection;

impl Connection {
    /// Takes in a payload as if a genuine packet of this level had carried it, if such a packet could be opened now.
    pub(crate) fn inject(&mut self, now: Instant, level: Level, payload: &[u8]) {
        let could_open = if level == Level::OneRtt {
            self.keys.one_rtt.is_some() && self.handshake.is_complete()
        } else {
            self.keys.remote(level).is_some()
        };
        if !self.lifecycle.is_open() || !could_open {
            return;
        }
        let pn = self.expected_pn(level.space());
        let dcid = self.local_cids.initial();
        let info = PacketInfo { level, pn, ecn: None, received: now, dcid, elsewhere: None };
        if let Err(error) = self.on_packet(now, info, Bytes::copy_from_slice(payload)) {
            self.fail(now, error);
        }
    }
}
