//! Answers of a server that keeps no state yet: Retry and Version Negotiation (clients only).

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use crate::crypto::{initial_keys, verify_retry_tag};
use crate::error::ConnectionError;
use crate::packet::{ConnectionId, Side, SpaceId};
use crate::proto::connection::Connection;
use crate::wire::header::RETRY_TAG_LEN;

impl Connection {
    /// True until anything of the server was processed, a Retry or a Version Negotiation included: only then these
    /// answers count.
    fn awaits_first_answer(&self) -> bool {
        self.side == Side::Client
            && self.handshake.peer_scid.is_none()
            && self.handshake.retry_scid.is_none()
            && self.spaces.iter().all(|(_, space)| space.received.largest().is_none())
    }

    /// The server wants to see that we receive at our address (RFC 9000 §17.2.5).
    pub(super) fn on_retry(
        &mut self,
        now: Instant,
        version: u32,
        (dcid, scid): (ConnectionId, ConnectionId),
        token: Range<usize>,
        tag: &[u8; RETRY_TAG_LEN],
        packet: &[u8],
    ) {
        let (Some(token), Some(pseudo)) =
            (packet.get(token), packet.len().checked_sub(RETRY_TAG_LEN).and_then(|len| packet.get(..len)))
        else {
            return;
        };
        let genuine = self.awaits_first_answer()
            && version == self.version
            && self.local_cids.contains(&dcid)
            && !token.is_empty()
            && scid != self.paths.active.remote_cid.id
            && verify_retry_tag(version, &self.handshake.original_dcid, pseudo, tag);
        if !genuine {
            self.stats.packets_dropped += 1;
            return;
        }
        self.handshake.retry_scid = Some(scid);
        self.handshake.token = Bytes::copy_from_slice(token);
        self.set_handshake_cid(scid);
        self.keys.initial = Some(initial_keys(version, &scid, self.side).into());
        // What was sent is gone and says nothing about congestion; packet numbers go on (RFC 9000 §17.2.5.3).
        if let Some(initial) = self.spaces.get_mut(SpaceId::Initial) {
            self.recovery.retract_space(now, initial, &mut self.paths.active.cc, &mut self.fates);
        }
        self.run_fates(SpaceId::Initial);
        self.handshake.plan_first_flight(&mut self.rng);
        self.repeat_early_data(now);
    }

    /// The server does not speak our version: we begin anew in another, or give up (RFC 9000 §6.2, RFC 9368 §2.1).
    pub(super) fn on_version_negotiation(
        &mut self,
        now: Instant,
        versions: Vec<u32>,
        dcid: ConnectionId,
        scid: ConnectionId,
    ) {
        let ours = self.local_cids.contains(&dcid) && scid == self.paths.active.remote_cid.id;
        if !self.awaits_first_answer() || self.is_restarted() || !ours || versions.contains(&self.version) {
            self.stats.packets_dropped += 1;
            return;
        }
        if self.restart(now, &versions) {
            return;
        }
        self.vanish(now, ConnectionError::VersionMismatch { offered: versions });
    }
}
