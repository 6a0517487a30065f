//! PATH_CHALLENGE. What comes of PATH_RESPONSE is in [`path`](crate::proto::path).

use super::PacketInfo;
use crate::packet::{FourTuple, PacketNumber};
use crate::proto::connection::Connection;
use crate::proto::path::{ChallengeData, Slot};

impl Connection {
    /// The spin bit of a packet; the newest one on the path in use counts (RFC 9000 §17.4).
    pub(super) fn on_spin(&mut self, elsewhere: Option<&FourTuple>, pn: PacketNumber, spin: bool) {
        let largest = self.spaces.data.received.largest();
        if elsewhere.is_none() && largest.is_none_or(|largest| pn > largest) {
            self.paths.active.spin.on_received(self.side, spin);
        }
    }

    /// The answer takes the path of the challenge (RFC 9000 §8.2.2). Where we cannot send, there is none.
    pub(super) fn on_path_challenge(&mut self, info: &PacketInfo<'_>, data: ChallengeData) {
        let slot = info.elsewhere.map_or(Some(Slot::Active), |tuple| self.paths.find(tuple));
        let answered = slot.is_some_and(|slot| self.paths.get_mut(slot).responses.push(data));
        self.stats.path_challenges_dropped += u64::from(!answered);
        if answered {
            self.floods.will_answer();
        }
    }
}
