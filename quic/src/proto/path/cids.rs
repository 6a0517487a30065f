//! Which connection ID of the peer is used on which path: never one on two, except where the peer's address changed
//! without the peer's doing (RFC 9000 §9.5). The tokens of IDs in use are routed with the addresses they are used for.

use super::{Path, Slot};
use crate::packet::{ConnectionId, ResetToken};
use crate::proto::RouteChange;
use crate::proto::cids::RemoteCid;
use crate::proto::connection::Connection;

impl Connection {
    /// Replaces the ID of the handshake: by the server's choice, or by that of a Retry (RFC 9000 §7.2).
    pub(in crate::proto) fn set_handshake_cid(&mut self, id: ConnectionId) {
        self.paths.active.remote_cid.id = id;
        self.remote_cids.set_initial(self.paths.active.remote_cid);
    }

    /// The token for the handshake's ID, from the server's transport parameters.
    pub(in crate::proto) fn set_handshake_token(&mut self, token: ResetToken) {
        let path = &mut self.paths.active;
        path.remote_cid.reset_token = Some(token);
        self.remote_cids.set_initial(path.remote_cid);
        self.outbox.routes.push_back(RouteChange::AddResetToken(path.tuple.remote, token));
    }

    /// Routes the token of the ID that a new path uses.
    pub(in crate::proto) fn route_token(&mut self, path: &Path) {
        let remote = path.tuple.remote;
        let token = path.remote_cid.reset_token;
        self.outbox.routes.extend(token.map(|token| RouteChange::AddResetToken(remote, token)));
    }

    /// Takes the token of the ID that a path used out of the routes.
    fn unroute_token(&mut self, path: &Path) {
        let remote = path.tuple.remote;
        let token = path.remote_cid.reset_token;
        self.outbox.routes.extend(token.map(|token| RouteChange::RemoveResetToken(remote, token)));
    }

    /// Lets a path go, and with it the ID that no other path uses (RFC 9000 §5.1.2).
    pub(in crate::proto) fn discard_path(&mut self, path: &Path) {
        self.unroute_token(path);
        let sequence = path.remote_cid.sequence;
        if self.paths.iter().all(|other| other.remote_cid.sequence != sequence) {
            self.remote_cids.give_up(sequence);
        }
    }

    /// Sends to another ID on a path from now on.
    fn change_cid(&mut self, slot: Slot, cid: RemoteCid) {
        let path = self.paths.get_mut(slot);
        let (remote, old) = (path.tuple.remote, std::mem::replace(&mut path.remote_cid, cid));
        path.spin.reset(&mut self.rng);
        let routes = &mut self.outbox.routes;
        routes.extend(old.reset_token.map(|token| RouteChange::RemoveResetToken(remote, token)));
        routes.extend(cid.reset_token.map(|token| RouteChange::AddResetToken(remote, token)));
        if self.paths.iter().all(|other| other.remote_cid.sequence != old.sequence) {
            self.remote_cids.give_up(old.sequence);
        }
    }

    /// Turns to an unused ID on the path in use. False if there is none.
    pub(in crate::proto) fn renew_cid(&mut self) -> bool {
        let Some(cid) = self.remote_cids.take_unused() else { return false };
        self.change_cid(Slot::Active, cid);
        true
    }

    /// The peer wants IDs back: paths that use one get another, the one in use first, or end (RFC 9000 §5.1.2).
    pub(in crate::proto) fn replace_retired_cids(&mut self) {
        // What retires an ID brings one, so there is one for the path in use.
        if !self.remote_cids.is_active(self.paths.active.remote_cid.sequence) {
            self.renew_cid();
        }
        for index in (0..self.paths.others().len()).rev() {
            let slot = Slot::Other(index);
            if self.remote_cids.is_active(self.paths.get(slot).remote_cid.sequence) {
                continue;
            }
            match self.remote_cids.take_unused() {
                Some(cid) => self.change_cid(slot, cid),
                None => self.lose_path(index),
            }
        }
    }

    /// The tokens of all paths leave the routes with the connection.
    pub(in crate::proto) fn unroute_tokens(&mut self) {
        let tokens = self.paths.iter().filter_map(|path| {
            Some(RouteChange::RemoveResetToken(path.tuple.remote, path.remote_cid.reset_token?))
        });
        self.outbox.routes.extend(tokens);
    }
}
