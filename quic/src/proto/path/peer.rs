//! The peer's address changes: it moves, a NAT rebinds, or somebody makes it seem so (RFC 9000 §9.3).
//!
//! Only servers follow: a client's peer stays where it is, or announces where to find it. A packet from elsewhere makes
//! a path that is validated; the newest packet that does more than probe makes it the path in use, if it is not there
//! yet. The path before stays until the new one is known to be good, and is asked for a sign of life: whoever only
//! forwards packets loses against one who answers from the old address.

use std::time::Instant;

use super::{Path, Role, Slot};
use crate::packet::{ConnectionId, FourTuple};
use crate::proto::connection::Connection;

impl Connection {
    /// True if packets from these addresses may be of this connection although they are not those of the path in use:
    /// servers do not move, and clients only once the handshake is confirmed (RFC 9000 §9).
    pub(in crate::proto) fn accepts_from(&self, tuple: &FourTuple) -> bool {
        if self.side.is_client() {
            return self.paths.knows_remote(tuple.remote);
        }
        let moves = self.config.migration || self.paths.has_moved;
        // Our preferred address is open to all that found the other one.
        let allowed = moves || !self.paths.active.shares_local(tuple) || self.paths.find(tuple).is_some();
        self.handshake.is_confirmed() && allowed
    }

    /// True if a server that has moved to its preferred address should not see this packet on the address it left
    /// (RFC 9000 §9.6.2).
    pub(in crate::proto) fn came_to_old_address(&self, tuple: &FourTuple, newest: bool) -> bool {
        self.side.is_server() && newest && self.paths.has_moved && !self.paths.active.shares_local(tuple)
    }

    /// An authentic packet of the peer to `dcid` came from elsewhere. Makes it a path if there is room, and an ID of the
    /// peer to send to: one that was not used, unless it is the network that has moved the peer (RFC 9000 §9.5).
    pub(in crate::proto) fn admit(&mut self, now: Instant, tuple: &FourTuple, dcid: ConnectionId) {
        if self.side.is_client() {
            return;
        }
        if let Some(slot) = self.paths.find(tuple) {
            self.paths.get_mut(slot).local_cid = Some(dcid);
            return;
        }
        if !self.may_add_path(now) {
            return;
        }
        let active = &self.paths.active;
        let moved_by_network = active.local_cid == Some(dcid) && active.shares_local(tuple);
        let same = moved_by_network.then_some(active.remote_cid);
        let cid = if moved_by_network && !dcid.is_empty() {
            same
        } else {
            // Empty IDs of ours do not tell who moved the peer.
            self.remote_cids.take_unused().or(same)
        };
        // Without an unused ID nothing can be sent there until the peer issues one.
        let Some(cid) = cid else {
            // One that the peer probed long ago, and that nobody uses, gives its ID back: then the peer has another for us.
            if let Some(unused) = self.paths.unused_probe() {
                self.lose_path(unused);
            }
            return;
        };
        if let Some(surplus) = self.paths.surplus() {
            self.lose_path(surplus);
        }
        let mut path = self.new_path(now, *tuple, Role::Probed, cid);
        path.local_cid = Some(dcid);
        self.route_token(&path);
        let slot = self.paths.push(path);
        self.validate(now, slot);
    }

    /// The newest packet of the peer does more than probe: where it came from, there the peer is.
    pub(in crate::proto) fn on_non_probing(&mut self, now: Instant, tuple: Option<&FourTuple>) {
        if self.side.is_client() {
            return;
        }
        let slot = tuple.map_or(Some(Slot::Active), |tuple| self.paths.find(tuple));
        let Some(slot) = slot else { return };
        self.paths.forget_awaited();
        let Slot::Other(index) = slot else { return };
        let path = self.paths.get(slot);
        if path.validated || self.paths.active.shares_local(&path.tuple) {
            self.follow_peer(now, index);
        } else {
            // From our preferred address only once the peer is known to be there (RFC 9000 §9.6.2).
            self.paths.get_mut(slot).role = Role::Awaited;
        }
    }

    /// Puts the path that the peer uses into use.
    pub(super) fn follow_peer(&mut self, now: Instant, index: usize) {
        let mut old = self.activate(now, index);
        let active = &mut self.paths.active;
        self.paths.has_moved |= !active.shares_local(&old.tuple);
        active.inherit(&mut old);
        if !active.validated {
            self.validate(now, Slot::Active);
        }
        if !old.validated {
            // It never was more than a guess.
            if let Some(fallback) = self.paths.position(Role::Used) {
                self.paths.get_mut(Slot::Other(fallback)).inherit(&mut old);
            }
            return self.discard_path(&old);
        }
        if let Some(older) = self.paths.position(Role::Used) {
            self.lose_path(older);
        }
        (old.validation, old.answered) = (None, false);
        let slot = self.paths.push(old);
        // RFC 9000 §9.3.3.
        self.validate(now, slot);
    }

    /// The peer retired an ID of ours: a path that it only probed with that is given up.
    pub(in crate::proto) fn on_local_cid_retired(&mut self, cid: &ConnectionId) {
        let mut others = self.paths.others().iter();
        let left = others.position(|path| path.role == Role::Probed && path.local_cid.as_ref() == Some(cid));
        if let Some(index) = left {
            self.lose_path(index);
        }
    }
}

impl Path {
    /// True if these addresses have our end in common with this path.
    pub(super) fn shares_local(&self, tuple: &FourTuple) -> bool {
        let (own, other) = (self.tuple.local_ip, tuple.local_ip);
        self.tuple.socket == tuple.socket && (own == other || own.is_none() || other.is_none())
    }

    /// Where only the peer's port differs, this is the same way through the network: takes over what `other` knows of
    /// it, and leaves its own (RFC 9000 §9.4).
    pub(super) fn inherit(&mut self, other: &mut Self) {
        if self.shares_local(&other.tuple) && self.tuple.remote.ip() == other.tuple.remote.ip() {
            std::mem::swap(&mut self.cc, &mut other.cc);
            std::mem::swap(&mut self.mtu, &mut other.mtu);
        }
    }
}
