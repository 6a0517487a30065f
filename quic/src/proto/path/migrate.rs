//! This end moves: a client, by its application's wish or to the server's preferred address (RFC 9000 §9.2, §9.6).
//!
//! The new path is validated while the old one goes on. If it is good the connection moves, else it stays.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Role, Slot};
use crate::error::{ConnectionError, MigrateError};
use crate::packet::{FourTuple, LocalPath, SocketId, TransportError, TransportErrorCode as Code};
use crate::proto::Event;
use crate::proto::cids::RemoteCid;
use crate::proto::connection::Connection;

impl Connection {
    /// Moves the connection to another socket or address of this end; clients only (RFC 9000 §9.2).
    ///
    /// The path is validated first: [`Event::PathChanged`] tells that the connection has moved,
    /// [`Event::MigrationFailed`] that the server could not be reached that way; then it stays where it is. A second
    /// call gives up what the first one tried.
    ///
    /// # Errors
    /// If nothing can be tried now; see [`MigrateError`].
    pub fn migrate(&mut self, now: Instant, to: LocalPath) -> Result<(), MigrateError> {
        if !self.lifecycle.is_open() {
            return Err(MigrateError::Closed);
        }
        if self.side.is_server() {
            return Err(MigrateError::Server);
        }
        if !self.handshake.is_confirmed() {
            return Err(MigrateError::HandshakeNotConfirmed);
        }
        if self.handshake.peer_disables_migration() && !self.paths.has_moved {
            return Err(MigrateError::DisabledByPeer);
        }
        let LocalPath { socket, local_ip } = to;
        let tuple = FourTuple { socket, local_ip, remote: self.paths.active.tuple.remote };
        if let Some(candidate) = self.paths.position(Role::Candidate) {
            if self.paths.get(Slot::Other(candidate)).carries(&tuple) {
                return Ok(());
            }
            self.lose_path(candidate);
        }
        if self.paths.active.carries(&tuple) {
            self.outbox.events.push_back(Event::PathChanged(self.paths.active.tuple));
            return Ok(());
        }
        if self.paths.active.remote_cid.id.is_empty() {
            return Err(MigrateError::NoConnectionId);
        }
        let cid = self.remote_cids.take_unused().ok_or(MigrateError::NoConnectionId)?;
        self.probe_path(now, tuple, Role::Candidate, cid);
        self.probe_preferred_from(now, to);
        Ok(())
    }

    /// True if packets may leave from this socket of ours, or come there.
    pub fn uses_socket(&self, socket: SocketId) -> bool {
        self.paths.use_socket(socket)
    }

    /// Our socket was replaced by another one: the way to the peer begins somewhere else now, and an observer should not
    /// see that it is the same connection. Says something at once, so that the peer learns of it.
    ///
    /// If the peer left us no unused connection ID the connection ends: none may be used from two addresses
    /// (RFC 9000 §9.5).
    pub fn on_rebound(&mut self, now: Instant) {
        if !self.lifecycle.is_open() || !self.handshake.is_confirmed() {
            return;
        }
        self.pending.ping = true;
        if self.side.is_server() {
            return;
        }
        let socket = self.paths.active.tuple.socket;
        let preferred = self.paths.position(Role::Preferred).is_some();
        for index in (0..self.paths.others().len()).rev() {
            if self.paths.get(Slot::Other(index)).tuple.socket == socket {
                self.lose_path(index);
            }
        }
        if !self.renew_cid() {
            let reason = "the socket changed, and the peer left no unused connection ID";
            let error = TransportError::new(Code::NO_VIABLE_PATH, reason);
            return self.vanish(now, ConnectionError::local(error));
        }
        let (cc, mtu) = (self.new_path_cc(now), self.new_mtu(&self.paths.active.tuple));
        let path = &mut self.paths.active;
        path.cc = cc;
        path.mtu = mtu;
        path.cc.set_max_datagram_size(path.mtu.current());
        self.recovery.on_path_change(now);
        self.review_ack_frequency(now);
        self.skip_packet_number_soon();
        if preferred && self.paths.position(Role::Preferred).is_none() {
            self.probe_preferred(now);
        }
    }

    /// The handshake is confirmed: the server's preferred address is looked at, if there is one of our family
    /// (RFC 9000 §9.6.1).
    pub(in crate::proto) fn probe_preferred(&mut self, now: Instant) {
        let FourTuple { socket, local_ip, remote } = self.paths.active.tuple;
        let Some(preferred) = self.preferred_remote(remote) else { return };
        if let Some(cid) = self.remote_cids.take_unused() {
            self.probe_path(now, FourTuple { socket, local_ip, remote: preferred }, Role::Preferred, cid);
        }
    }

    fn preferred_remote(&self, like: SocketAddr) -> Option<SocketAddr> {
        // Without IDs of our own only the address of the handshake leads to us.
        if !self.side.is_client() || !self.config.use_preferred_address || self.local_cids.cid_len() == 0 {
            return None;
        }
        let remote = self.handshake.preferred_address(like)?;
        (remote != like && remote.port() != 0 && !remote.ip().is_unspecified()).then_some(remote)
    }

    /// The application moves before the preferred address is known to be good: both are tried from the new address
    /// (RFC 9000 §9.6.3).
    fn probe_preferred_from(&mut self, now: Instant, to: LocalPath) {
        let Some(index) = self.paths.position(Role::Preferred) else { return };
        let remote = self.paths.get(Slot::Other(index)).tuple.remote;
        self.lose_path(index);
        if let Some(cid) = self.remote_cids.take_unused() {
            let LocalPath { socket, local_ip } = to;
            self.probe_path(now, FourTuple { socket, local_ip, remote }, Role::Preferred, cid);
        }
    }

    fn probe_path(&mut self, now: Instant, tuple: FourTuple, role: Role, cid: RemoteCid) {
        let mut path = self.new_path(now, tuple, role, cid);
        // A few probes are no amplification; nothing else goes there before an answer.
        path.validated = true;
        self.route_token(&path);
        let slot = self.paths.push(path);
        self.validate(now, slot);
    }

    /// The path is good: uses it from now on, and forgets the one before.
    pub(super) fn move_to(&mut self, now: Instant, index: usize) {
        let preferred = self.paths.get(Slot::Other(index)).role == Role::Preferred;
        let old = self.activate(now, index);
        self.discard_path(&old);
        if preferred {
            self.paths.has_moved = true;
            // It was the way to the original address from here, which is abandoned (RFC 9000 §9.6.3).
            if let Some(candidate) = self.paths.position(Role::Candidate)
                && let Some(path) = self.paths.remove(candidate)
            {
                self.discard_path(&path);
            }
        }
        // The server follows the newest packet that does more than probe.
        self.pending.ping = true;
    }
}
