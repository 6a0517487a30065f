//! How validations end, and what that means for the path in use.

use std::time::Instant;

use super::validation::{Answer, ChallengeData, Overdue};
use super::{Path, Role, Slot, Validation};
use crate::error::ConnectionError;
use crate::packet::{FourTuple, TransportError, TransportErrorCode as Code};
use crate::proto::Event;
use crate::proto::cids::RemoteCid;
use crate::proto::connection::Connection;
use crate::proto::path::{MtuDiscovery, SpinBit};
use crate::proto::recovery::{PathCc, RttEstimator};

/// A validation ends after so many probe timeouts (RFC 9000 §8.2.4).
const PATIENCE_PTOS: u32 = 3;

impl Connection {
    /// A path of which nothing is known, with the initial values of RFC 9002.
    pub(super) fn new_path(&mut self, now: Instant, tuple: FourTuple, role: Role, cid: RemoteCid) -> Path {
        let mut cc = self.new_path_cc(now);
        let mtu = self.new_mtu(&tuple);
        cc.set_max_datagram_size(mtu.current());
        let spin = SpinBit::new(self.config.spin_bit, &mut self.rng);
        Path::new(tuple, role, false, cc, mtu, cid, spin)
    }

    /// The sizes that a path may carry of which nothing is known.
    pub(super) fn new_mtu(&self, tuple: &FourTuple) -> MtuDiscovery {
        let mut mtu = MtuDiscovery::new(&self.config, tuple);
        mtu.limit(self.handshake.peer_max_udp_payload());
        mtu
    }

    /// The state of a path that nothing was sent on.
    pub(super) fn new_path_cc(&mut self, now: Instant) -> PathCc {
        let config = &self.config;
        let mut cc = PathCc::new(
            now,
            &config.congestion_control,
            config.initial_congestion_window,
            config.initial_rtt,
            config.initial_mtu,
            config.ecn,
            || self.rng.below(u64::MAX),
        );
        cc.id = self.paths.new_id();
        cc
    }

    /// Begins to validate a path, unless that is under way.
    pub(super) fn validate(&mut self, now: Instant, slot: Slot) {
        let max_ack_delay = self.recovery.ack_requests.max_ack_delay();
        let unknown = RttEstimator::new(self.config.initial_rtt).pto() + max_ack_delay;
        let patience = PATIENCE_PTOS * self.pto().max(unknown);
        let path = self.paths.get_mut(slot);
        let pto = path.cc.rtt.pto() + max_ack_delay;
        path.validation.get_or_insert_with(|| Validation::new(now, pto, patience));
    }

    /// PATH_RESPONSE: it validates the path of the challenge, whatever path it came on (RFC 9000 §8.2.3).
    pub(in crate::proto) fn on_path_response(&mut self, now: Instant, data: ChallengeData) {
        let mut found = None;
        for (index, path) in self.paths.iter_mut().enumerate() {
            let answer = path.validation.as_mut().and_then(|validation| validation.on_response(now, data));
            if let Some(answer) = answer {
                found = Some((index, answer));
                break;
            }
        }
        let Some((index, answer)) = found else { return };
        let slot = index.checked_sub(1).map_or(Slot::Active, Slot::Other);
        let path = self.paths.get_mut(slot);
        path.validated = true;
        let (Answer::Valid(took) | Answer::AddressOnly(took)) = answer;
        path.cc.rtt.assume(took);
        if let Answer::Valid(_) = answer {
            path.validation = None;
            path.answered = true;
            self.on_path_valid(now, slot);
            self.offer_tokens();
        }
    }

    fn on_path_valid(&mut self, now: Instant, slot: Slot) {
        let Slot::Other(index) = slot else { return self.forget_used() };
        match self.paths.get(slot).role {
            Role::Used => self.forget_used(),
            Role::Probed => {}
            Role::Awaited => self.follow_peer(now, index),
            Role::Candidate | Role::Preferred => self.move_to(now, index),
        }
    }

    /// Once the path in use is valid, and the one before it has had its say, that can go (RFC 9000 §9.3.3).
    pub(super) fn forget_used(&mut self) {
        if !self.paths.active.validated || self.paths.active.validation.is_some() {
            return;
        }
        if let Some(index) = self.paths.position(Role::Used)
            && self.paths.get(Slot::Other(index)).validation.is_none()
        {
            self.lose_path(index);
        }
    }

    /// Lets another path than the one in use go.
    pub(super) fn lose_path(&mut self, index: usize) {
        let Some(path) = self.paths.remove(index) else { return };
        self.discard_path(&path);
        match path.role {
            Role::Candidate => self.outbox.events.push_back(Event::MigrationFailed(path.tuple)),
            Role::Preferred => self.outbox.events.push_back(Event::PreferredFailed(path.tuple)),
            Role::Used | Role::Probed | Role::Awaited => {}
        }
    }

    /// Time has passed.
    pub(in crate::proto) fn on_path_timeout(&mut self, now: Instant) {
        while self.lifecycle.is_open()
            && let Some(slot) = self.first_failed(now)
        {
            self.on_path_failed(now, slot);
        }
    }

    /// A path whose validation has just failed.
    fn first_failed(&mut self, now: Instant) -> Option<Slot> {
        let failed = self.paths.iter_mut().position(|path| {
            let overdue = path.validation.as_mut().map(|validation| validation.on_timeout(now));
            let failed = overdue == Some(Overdue::Failed);
            if failed {
                path.validation = None;
            }
            failed
        })?;
        Some(failed.checked_sub(1).map_or(Slot::Active, Slot::Other))
    }

    fn on_path_failed(&mut self, now: Instant, slot: Slot) {
        match slot {
            Slot::Active if self.is_second_try_due() => self.validate(now, slot),
            Slot::Active => self.fall_back(now),
            // What was valid once stays the way back until the path in use is valid.
            Slot::Other(index) if self.paths.get(slot).role == Role::Used => {
                if self.paths.active.validated && self.paths.active.validation.is_none() {
                    self.lose_path(index);
                }
            }
            Slot::Other(index) => self.lose_path(index),
        }
    }

    /// True, once, where the way back seems to be dead as well, or is gone because the peer has retired its ID: then the
    /// losses of a bad network are as likely a reason for the silence as an address that is not the peer's.
    fn is_second_try_due(&mut self) -> bool {
        let way_back = self.paths.position(Role::Used);
        let dead = way_back.is_none_or(|index| !self.paths.get(Slot::Other(index)).answered);
        dead && !std::mem::replace(&mut self.paths.active.second_try, true)
    }

    /// The peer is not where it seemed to be: back to where it was, or, if that is not known, the end without a word
    /// (RFC 9000 §9.3.2).
    fn fall_back(&mut self, now: Instant) {
        let Some(index) = self.paths.position(Role::Used) else {
            let error = TransportError::new(Code::NO_VIABLE_PATH, "no path to the peer is left");
            return self.vanish(now, ConnectionError::local(error));
        };
        let mut failed = self.activate(now, index);
        if !self.paths.active.shares_local(&failed.tuple) {
            // Back from the preferred address: the peer is welcome at the other one again.
            self.paths.has_moved = false;
        }
        self.paths.active.inherit(&mut failed);
        self.discard_path(&failed);
        self.forget_used();
    }

    /// Puts another path into use and returns the one that was.
    pub(super) fn activate(&mut self, now: Instant, index: usize) -> Path {
        let old = self.paths.activate(index);
        let active = &mut self.paths.active;
        if active.role == Role::Used {
            // Valid it was before; that it was asked for a sign of life is over.
            active.validation = None;
        }
        active.role = Role::Used;
        active.mtu.forget_probe();
        self.recovery.on_path_change(now);
        self.review_ack_frequency(now);
        self.skip_packet_number_soon();
        self.stats.path_changes += 1;
        self.outbox.events.push_back(Event::PathChanged(self.paths.active.tuple));
        self.offer_tokens();
        old
    }
}
