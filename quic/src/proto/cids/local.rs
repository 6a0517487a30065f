//! The connection IDs that the peer sends to: ours to issue and, when told, to retire.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::ConnectionIdGenerator;
use crate::crypto::ResetKey;
use crate::packet::{ConnectionId, ResetToken, Rng, TransportError, TransportErrorCode as Code};
use crate::proto::RouteChange;

/// We never have more IDs active than this, however many the peer would store.
const MAX_ACTIVE: u64 = 8;

/// A generator that draws so many IDs which are taken has no others.
const MAX_CLASHES: usize = 16;

/// Retired IDs that still are routed; beyond this the oldest goes early, so that a flood of retirements stays bounded.
const MAX_RETIRED: usize = 32;

/// IDs we issued.
#[derive(Debug)]
pub struct LocalCids {
    generator: Arc<dyn ConnectionIdGenerator>,
    reset_key: Arc<ResetKey>,
    initial: ConnectionId,
    /// In the order of their sequence numbers.
    active: Vec<(u64, ConnectionId)>,
    next_sequence: u64,
    /// The peer's `active_connection_id_limit`.
    peer_limit: u64,
    /// No number from here on was ever announced.
    next_unknown: u64,
    /// Sequence numbers to announce, or to announce again; all of them active.
    to_announce: VecDeque<u64>,
    /// IDs below this number are to be retired by the peer.
    retire_prior_to: u64,
    /// The peer's limit is known: IDs may be issued.
    begun: bool,
    /// Rotate once the peer has retired what the last rotation told it to (RFC 9000 §5.1.2).
    rotate_again: bool,
    /// How often an ID of ours was somebody else's already.
    clashes: usize,
    /// Retired by the peer: routed until then, for what is still in flight.
    retired: VecDeque<(Instant, ConnectionId)>,
}

impl LocalCids {
    /// Begins with the ID used in the handshake.
    pub fn new(
        generator: Arc<dyn ConnectionIdGenerator>,
        reset_key: Arc<ResetKey>,
        initial: ConnectionId,
        routes: &mut VecDeque<RouteChange>,
    ) -> Self {
        if !initial.is_empty() {
            routes.push_back(RouteChange::AddCid(initial));
        }
        Self {
            generator,
            reset_key,
            initial,
            active: vec![(0, initial)],
            next_sequence: 1,
            peer_limit: 1,
            next_unknown: 1,
            to_announce: VecDeque::new(),
            retire_prior_to: 0,
            begun: false,
            rotate_again: false,
            clashes: 0,
            retired: VecDeque::new(),
        }
    }

    /// Length of all of our IDs, bytes.
    pub fn cid_len(&self) -> usize {
        self.generator.len()
    }

    /// The ID that packets of the handshake carry as their source.
    pub fn initial(&self) -> ConnectionId {
        self.initial
    }

    /// The active ID with this number.
    pub fn id(&self, sequence: u64) -> Option<ConnectionId> {
        self.active.iter().find(|(active, _)| *active == sequence).map(|(_, cid)| *cid)
    }

    /// True if an ID waits to be announced.
    pub fn wants_to_announce(&self) -> bool {
        !self.to_announce.is_empty()
    }

    /// True for an ID that is in use.
    pub fn contains(&self, cid: &ConnectionId) -> bool {
        self.active.iter().any(|(_, active)| active == cid)
    }

    /// The ID that comes with the preferred address: the transport parameters announce it, as number 1
    /// (RFC 9000 §5.1.1). Before any other is issued.
    pub fn add_preferred(&mut self, cid: ConnectionId, routes: &mut VecDeque<RouteChange>) {
        routes.push_back(RouteChange::AddCid(cid));
        self.active.push((self.next_sequence, cid));
        self.next_sequence += 1;
        self.next_unknown = self.next_sequence;
    }

    /// Takes the peer's `active_connection_id_limit` and issues what it allows.
    ///
    /// A spare ID (`preferred address` aside, the handshake's ID is number 0) waits until the handshake is confirmed
    /// enough to announce it in a 1-RTT packet.
    pub fn set_peer_limit(&mut self, limit: u64, rng: &mut Rng, routes: &mut VecDeque<RouteChange>) {
        self.peer_limit = limit;
        self.begun = true;
        self.issue(rng, routes);
        self.rotate_if_due(rng, routes);
    }

    /// Replaces all IDs: the peer is given new ones, and told to retire those it has (RFC 9000 §5.1.2).
    ///
    /// While it has not done so after the last rotation, or may not be given any yet, that waits.
    pub fn rotate(&mut self, rng: &mut Rng, routes: &mut VecDeque<RouteChange>) {
        self.rotate_again = !self.generator.is_empty();
        self.rotate_if_due(rng, routes);
    }

    fn rotate_if_due(&mut self, rng: &mut Rng, routes: &mut VecDeque<RouteChange>) {
        let rotating = self.active.iter().any(|(sequence, _)| *sequence < self.retire_prior_to);
        if !self.rotate_again || !self.begun || rotating {
            return;
        }
        self.rotate_again = false;
        self.retire_prior_to = self.next_unknown;
        // Numbers that the peer has not heard of get another ID; there must be no gap.
        for (_, cid) in self.active.iter_mut().filter(|(sequence, _)| *sequence >= self.next_unknown) {
            routes.push_back(RouteChange::RemoveCid(*cid));
            *cid = self.generator.generate(rng);
            routes.push_back(RouteChange::AddCid(*cid));
        }
        self.issue(rng, routes);
    }

    /// An ID is routed to another connection: draws another one. False if the peer knows it, or too many were taken.
    pub fn on_clash(
        &mut self,
        cid: &ConnectionId,
        rng: &mut Rng,
        routes: &mut VecDeque<RouteChange>,
    ) -> bool {
        self.clashes += 1;
        let unknown =
            |(sequence, active): &&mut (u64, ConnectionId)| *sequence >= self.next_unknown && active == cid;
        match self.active.iter_mut().find(unknown) {
            Some((_, cid)) if self.clashes <= MAX_CLASHES => {
                *cid = self.generator.generate(rng);
                routes.push_back(RouteChange::AddCid(*cid));
                true
            }
            _ => false,
        }
    }

    fn issue(&mut self, rng: &mut Rng, routes: &mut VecDeque<RouteChange>) {
        if self.generator.is_empty() {
            return;
        }
        // Those that the peer is to retire do not count: what tells it so comes with the new ones.
        let current = self.active.iter().filter(|(sequence, _)| *sequence >= self.retire_prior_to).count();
        for _ in current as u64..self.peer_limit.min(MAX_ACTIVE) {
            let cid = self.generator.generate(rng);
            routes.push_back(RouteChange::AddCid(cid));
            self.active.push((self.next_sequence, cid));
            self.to_announce.push_back(self.next_sequence);
            self.next_sequence += 1;
        }
    }

    /// What the announcement of an ID says about those before it.
    pub fn retire_prior_to(&self, sequence: u64) -> u64 {
        self.retire_prior_to.min(sequence)
    }

    /// The next ID to announce: sequence number, ID and stateless reset token.
    pub fn next_to_announce(&self) -> Option<(u64, ConnectionId, ResetToken)> {
        let sequence = self.to_announce.front()?;
        let (sequence, cid) = self.active.iter().find(|(active, _)| active == sequence)?;
        Some((*sequence, *cid, self.reset_key.token(cid)))
    }

    /// The ID that [`LocalCids::next_to_announce`] returned is in a packet.
    pub fn announced(&mut self) {
        if let Some(sequence) = self.to_announce.pop_front() {
            self.next_unknown = self.next_unknown.max(sequence + 1);
        }
    }

    /// A packet that announced this ID was lost.
    pub fn on_lost(&mut self, sequence: u64) {
        let active = self.active.iter().any(|(active, _)| *active == sequence);
        if active && !self.to_announce.contains(&sequence) {
            self.to_announce.push_back(sequence);
        }
    }

    /// The peer retires an ID, in a packet that was sent to `packet_dcid` (RFC 9000 §19.16).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for an ID that was never announced, and for the one the packet itself used.
    pub fn on_retire(
        &mut self,
        now: Instant,
        sequence: u64,
        packet_dcid: &ConnectionId,
        pto: Duration,
        rng: &mut Rng,
        routes: &mut VecDeque<RouteChange>,
    ) -> Result<(), TransportError> {
        if sequence >= self.next_unknown {
            return Err(TransportError::new(
                Code::PROTOCOL_VIOLATION,
                "retired a connection ID never issued",
            ));
        }
        let Some(index) = self.active.iter().position(|(active, _)| *active == sequence) else {
            return Ok(());
        };
        if self.active.get(index).is_some_and(|(_, cid)| cid == packet_dcid) {
            let reason = "retired the connection ID that the packet was sent to";
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        }
        let (_, cid) = self.active.remove(index);
        self.to_announce.retain(|announced| *announced != sequence);
        self.retired.push_back((now + 3 * pto, cid));
        if self.retired.len() > MAX_RETIRED {
            routes.extend(self.retired.pop_front().map(|(_, cid)| RouteChange::RemoveCid(cid)));
        }
        self.issue(rng, routes);
        self.rotate_if_due(rng, routes);
        Ok(())
    }

    /// When the next retired ID leaves the routes.
    pub fn deadline(&self) -> Option<Instant> {
        self.retired.front().map(|(until, _)| *until)
    }

    /// Takes retired IDs whose time is over out of the routes.
    pub fn on_timeout(&mut self, now: Instant, routes: &mut VecDeque<RouteChange>) {
        while self.deadline().is_some_and(|until| until <= now) {
            routes.extend(self.retired.pop_front().map(|(_, cid)| RouteChange::RemoveCid(cid)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RandomConnectionIds;
    use crate::packet::epoch;

    fn cids() -> (LocalCids, Rng, VecDeque<RouteChange>) {
        let (mut rng, mut routes) = (Rng::from_u64(1), VecDeque::new());
        let generator = Arc::new(RandomConnectionIds::new(8));
        let initial = generator.generate(&mut rng);
        let key = Arc::new(ResetKey::new(&[7; 32]));
        let mut cids = LocalCids::new(generator, key, initial, &mut routes);
        cids.set_peer_limit(4, &mut rng, &mut routes);
        (cids, rng, routes)
    }

    #[test]
    fn an_id_is_routed_before_it_is_announced_and_announced_again_when_lost() {
        let (mut cids, _, routes) = cids();
        assert_eq!(routes.len(), 4);
        let mut seen = Vec::new();
        while let Some((sequence, cid, _)) = cids.next_to_announce() {
            assert!(routes.contains(&RouteChange::AddCid(cid)));
            seen.push(sequence);
            cids.announced();
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
        cids.on_lost(2);
        assert_eq!(cids.next_to_announce().unwrap().0, 2);
    }

    // covers: R9000-19.16-01
    #[test]
    fn retiring_replaces_and_keeps_the_route_for_three_ptos() {
        let (mut cids, mut rng, mut routes) = cids();
        announce_all(&mut cids);
        routes.clear();
        let (old, other) = (cids.active[1].1, cids.active[0].1);
        let pto = Duration::from_millis(100);
        cids.on_retire(epoch(), 1, &other, pto, &mut rng, &mut routes).unwrap();
        assert!(matches!(routes.pop_front(), Some(RouteChange::AddCid(_))));
        cids.on_timeout(epoch() + 2 * pto, &mut routes);
        assert!(routes.is_empty());
        cids.on_timeout(cids.deadline().unwrap(), &mut routes);
        assert_eq!(routes.pop_front(), Some(RouteChange::RemoveCid(old)));
        assert!(cids.on_retire(epoch(), 1, &other, pto, &mut rng, &mut routes).is_ok(), "twice is harmless");
        let error = cids.on_retire(epoch(), 99, &other, pto, &mut rng, &mut routes).unwrap_err();
        assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
        let error = cids.on_retire(epoch(), 0, &other, pto, &mut rng, &mut routes).unwrap_err();
        assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
    }

    fn announce_all(cids: &mut LocalCids) {
        while cids.next_to_announce().is_some() {
            cids.announced();
        }
    }

    // covers: R9000-19.16-01
    #[test]
    fn what_was_not_announced_cannot_be_retired() {
        let (mut cids, mut rng, mut routes) = cids();
        let (dcid, pto) = (cids.initial, Duration::from_secs(1));
        let mut retire =
            |cids: &mut LocalCids, n| cids.on_retire(epoch(), n, &dcid, pto, &mut rng, &mut routes);
        assert_eq!(retire(&mut cids, 1).unwrap_err().code, Code::PROTOCOL_VIOLATION);
        cids.announced();
        cids.on_lost(1);
        retire(&mut cids, 1).unwrap();
        assert_eq!(cids.to_announce, [2, 3, 4], "an ID that is retired is not announced again");
        cids.on_lost(1);
        assert_eq!(cids.to_announce, [2, 3, 4]);
        assert_eq!(retire(&mut cids, 2).unwrap_err().code, Code::PROTOCOL_VIOLATION);
    }

    #[test]
    fn a_flood_of_retirements_stays_bounded() {
        let (mut cids, mut rng, mut routes) = cids();
        let dcid = ConnectionId::EMPTY;
        for sequence in 0..10_000 {
            announce_all(&mut cids);
            cids.on_retire(epoch(), sequence, &dcid, Duration::from_secs(1), &mut rng, &mut routes).unwrap();
            routes.clear();
        }
        assert!(cids.retired.len() <= MAX_RETIRED && cids.active.len() <= 4);
    }

    /// The IDs that are announced now, and what each announcement says of those before.
    fn announcements(cids: &mut LocalCids) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while let Some((sequence, ..)) = cids.next_to_announce() {
            all.push((sequence, cids.retire_prior_to(sequence)));
            cids.announced();
        }
        all
    }

    // covers: R9000-5.1.1-01 R9000-5.1.1-02 R9000-5.1.1-04 R9000-5.1.2-02 R9000-5.1.2-07
    #[test]
    fn a_rotation_replaces_all_ids_and_waits_for_the_one_before() {
        let (mut cids, mut rng, mut routes) = cids();
        assert_eq!(announcements(&mut cids), [(1, 0), (2, 0), (3, 0)]);
        let old: Vec<ConnectionId> = cids.active.iter().map(|(_, cid)| *cid).collect();
        let pto = Duration::from_millis(100);
        cids.rotate(&mut rng, &mut routes);
        assert_eq!(announcements(&mut cids), [(4, 4), (5, 4), (6, 4), (7, 4)]);
        assert!(old.iter().all(|cid| cids.contains(cid)), "the old ones are good until they are retired");
        // An old one that got lost is announced again: the peer may ask for nothing to be retired that it has not.
        cids.on_lost(2);
        assert_eq!(announcements(&mut cids), [(2, 2)]);
        cids.rotate(&mut rng, &mut routes);
        cids.rotate(&mut rng, &mut routes);
        let new = cids.id(4).unwrap();
        for sequence in 0..4 {
            assert!(cids.next_to_announce().is_none());
            cids.on_retire(epoch(), sequence, &new, pto, &mut rng, &mut routes).unwrap();
        }
        assert_eq!(
            announcements(&mut cids),
            [(8, 8), (9, 8), (10, 8), (11, 8)],
            "once, however often asked for"
        );
        for sequence in 4..8 {
            cids.on_retire(epoch(), sequence, &ConnectionId::EMPTY, pto, &mut rng, &mut routes).unwrap();
        }
        assert!(cids.next_to_announce().is_none() && cids.active.len() == 4);
    }

    #[test]
    fn ids_that_nobody_has_heard_of_are_made_anew_in_a_rotation() {
        let (mut cids, mut rng, mut routes) = cids();
        cids.announced();
        let (heard, unheard) = (cids.id(1), cids.id(2).unwrap());
        routes.clear();
        cids.rotate(&mut rng, &mut routes);
        assert_eq!(routes[0], RouteChange::RemoveCid(unheard));
        assert_eq!((cids.id(1), cids.contains(&unheard)), (heard, false));
        assert_eq!(announcements(&mut cids), [(2, 2), (3, 2), (4, 2), (5, 2)]);
    }

    #[test]
    fn a_rotation_before_the_handshake_is_complete_waits_and_empty_ids_do_not_rotate() {
        let (mut rng, mut routes) = (Rng::from_u64(1), VecDeque::new());
        let key = Arc::new(ResetKey::new(&[7; 32]));
        let generator = Arc::new(RandomConnectionIds::new(8));
        let initial = generator.generate(&mut rng);
        let mut cids = LocalCids::new(generator, key.clone(), initial, &mut routes);
        cids.rotate(&mut rng, &mut routes);
        assert!(cids.next_to_announce().is_none());
        cids.set_peer_limit(2, &mut rng, &mut routes);
        assert_eq!(announcements(&mut cids), [(1, 1), (2, 1)]);
        let mut empty =
            LocalCids::new(Arc::new(RandomConnectionIds::new(0)), key, ConnectionId::EMPTY, &mut routes);
        empty.set_peer_limit(4, &mut rng, &mut routes);
        empty.rotate(&mut rng, &mut routes);
        assert!(empty.next_to_announce().is_none() && empty.active.len() == 1);
    }

    // covers: R9000-5.1-02
    #[test]
    fn an_id_that_is_taken_gives_way_to_another_unless_the_peer_knows_it() {
        let (mut cids, mut rng, mut routes) = cids();
        let initial = cids.initial;
        assert!(!cids.on_clash(&initial, &mut rng, &mut routes));
        let (one, two) = (cids.id(1).unwrap(), cids.id(2).unwrap());
        cids.announced();
        assert!(!cids.on_clash(&one, &mut rng, &mut routes));
        routes.clear();
        assert!(cids.on_clash(&two, &mut rng, &mut routes));
        let new = cids.id(2).unwrap();
        assert_eq!(routes, [RouteChange::AddCid(new)]);
        assert!(new != two && !cids.contains(&two));
        let tries = (0..100).filter(|_| {
            let cid = cids.id(3).unwrap();
            cids.on_clash(&cid, &mut rng, &mut routes)
        });
        assert!(tries.count() < MAX_CLASHES);
    }
}
