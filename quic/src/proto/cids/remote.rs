//! The connection IDs that we send to: issued by the peer.

use crate::packet::{ConnectionId, ResetToken, TransportError, TransportErrorCode as Code};
use crate::proto::range_set::RangeSet;

/// RETIRE_CONNECTION_ID frames that may wait for an acknowledgment, or twice the IDs that we store if that is more; a
/// peer that makes us retire more is hostile (RFC 9000 §5.1.2).
const MAX_RETIRING: usize = 64;

/// An ID of the peer.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct RemoteCid {
    /// Its number; 0 is that of the handshake.
    pub sequence: u64,
    /// The ID.
    pub id: ConnectionId,
    /// What a stateless reset of a packet to it ends in; a client's first ID has none.
    pub reset_token: Option<ResetToken>,
}

/// IDs the peer issued. Which path uses which of them, the paths know.
#[derive(Debug)]
pub struct RemoteCids {
    /// Each with whether a path uses it, or did.
    active: Vec<(RemoteCid, bool)>,
    /// The `active_connection_id_limit` that we announced.
    limit: u64,
    retire_prior_to: u64,
    /// To be told to the peer.
    to_retire: Vec<u64>,
    /// Told, not yet acknowledged.
    retiring: Vec<u64>,
    /// The numbers we gave up of our own accord: a late frame that issues one of them is old news.
    given_up: RangeSet,
}

impl RemoteCids {
    /// Begins with the ID that the first packets go to.
    pub fn new(initial: RemoteCid, limit: u64) -> Self {
        Self {
            active: vec![(initial, true)],
            limit,
            retire_prior_to: 0,
            to_retire: Vec::new(),
            retiring: Vec::new(),
            given_up: RangeSet::default(),
        }
    }

    /// Replaces the handshake's ID or its token: by the server's choice, or by that of a Retry (RFC 9000 §7.2).
    pub fn set_initial(&mut self, cid: RemoteCid) {
        if let Some((first, _)) = self.active.first_mut() {
            *first = cid;
        }
    }

    /// True if the peer's IDs have length zero: then all paths share the one there is.
    fn is_empty(&self) -> bool {
        self.active.first().is_some_and(|(first, _)| first.id.is_empty())
    }

    /// True if the peer has not been told to forget this ID.
    pub fn is_active(&self, sequence: u64) -> bool {
        self.active.iter().any(|(active, _)| active.sequence == sequence)
    }

    /// An ID that no path has used, for a new path (RFC 9000 §9.5).
    pub fn take_unused(&mut self) -> Option<RemoteCid> {
        if self.is_empty() {
            return self.active.first().map(|(cid, _)| *cid);
        }
        let (cid, used) = self.active.iter_mut().find(|(_, used)| !used)?;
        *used = true;
        Some(*cid)
    }

    /// How many IDs no path has used.
    #[cfg(test)]
    pub fn unused(&self) -> usize {
        self.active.iter().filter(|(_, used)| !used).count()
    }

    /// No path uses this ID any more, so the peer can forget it (RFC 9000 §5.1.2).
    pub fn give_up(&mut self, sequence: u64) {
        if !self.is_empty() && self.is_active(sequence) {
            self.active.retain(|(active, _)| active.sequence != sequence);
            self.retire(sequence);
            self.given_up.insert(sequence..sequence + 1);
            // Numbers ascend one by one, unless the peer plays games.
            if self.given_up.len() > MAX_RETIRING
                && let (Some(low), Some(next)) = (self.given_up.pop_first(), self.given_up.pop_first())
            {
                self.given_up.insert(low.start..next.end);
            }
        }
    }

    /// How many retirements the peer is not known to have heard of.
    #[cfg(test)]
    pub fn retiring(&self) -> usize {
        self.to_retire.len() + self.retiring.len()
    }

    /// The peer issues an ID (RFC 9000 §19.15).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for an ID or number that is reused differently or where IDs have length zero;
    /// CONNECTION_ID_LIMIT_ERROR for more than we announced, or when too many retirements wait for the peer.
    pub fn on_new(
        &mut self,
        sequence: u64,
        retire_prior_to: u64,
        id: ConnectionId,
        reset_token: ResetToken,
    ) -> Result<(), TransportError> {
        let violation = |reason| Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        if self.is_empty() {
            return violation("issued a connection ID although its IDs have length zero");
        }
        let new = RemoteCid { sequence, id, reset_token: Some(reset_token) };
        for (old, _) in &self.active {
            let same_id = old.id == id;
            let same_token = old.reset_token == Some(reset_token);
            if (old.sequence == sequence) != same_id || (same_token && !same_id) || (same_id && !same_token) {
                return violation("reused a connection ID, its number or its token differently");
            }
        }
        if self.is_active(sequence) || self.given_up.contains(sequence) {
            return Ok(());
        }
        if sequence < self.retire_prior_to {
            self.retire(sequence);
            return self.check_retiring();
        }
        self.active.push((new, false));
        self.retire_prior_to(retire_prior_to);
        self.check_retiring()?;
        if self.active.len() as u64 > self.limit {
            return Err(TransportError::new(
                Code::CONNECTION_ID_LIMIT_ERROR,
                "more connection IDs than announced",
            ));
        }
        Ok(())
    }

    fn retire_prior_to(&mut self, bound: u64) {
        if bound <= self.retire_prior_to {
            return;
        }
        self.retire_prior_to = bound;
        self.given_up.remove(0..bound);
        let retired: Vec<u64> =
            self.active.iter().map(|(old, _)| old.sequence).filter(|sequence| *sequence < bound).collect();
        self.active.retain(|(old, _)| old.sequence >= bound);
        retired.into_iter().for_each(|sequence| self.retire(sequence));
    }

    fn retire(&mut self, sequence: u64) {
        if !self.to_retire.contains(&sequence) && !self.retiring.contains(&sequence) {
            self.to_retire.push(sequence);
        }
    }

    fn check_retiring(&self) -> Result<(), TransportError> {
        let bound = MAX_RETIRING.max(usize::try_from(2 * self.limit).unwrap_or(MAX_RETIRING));
        if self.to_retire.len() + self.retiring.len() > bound {
            let reason = "too many retired connection IDs wait for acknowledgment";
            return Err(TransportError::new(Code::CONNECTION_ID_LIMIT_ERROR, reason));
        }
        Ok(())
    }

    /// The next number to put into a RETIRE_CONNECTION_ID frame.
    pub fn next_to_retire(&self) -> Option<u64> {
        self.to_retire.last().copied()
    }

    /// The number that [`RemoteCids::next_to_retire`] returned is in a packet.
    pub fn retire_sent(&mut self) {
        self.retiring.extend(self.to_retire.pop());
    }

    /// The peer knows.
    pub fn on_retire_acked(&mut self, sequence: u64) {
        self.retiring.retain(|retiring| *retiring != sequence);
    }

    /// The packet that told it was lost.
    pub fn on_retire_lost(&mut self, sequence: u64) {
        if let Some(index) = self.retiring.iter().position(|retiring| *retiring == sequence) {
            self.retiring.swap_remove(index);
            self.to_retire.push(sequence);
        }
    }

    /// True if the datagram ends in the token of an ID in use (RFC 9000 §10.3.1). All are compared, whichever it is.
    pub fn is_stateless_reset(&self, datagram: &[u8]) -> bool {
        let Some(trailing) = ResetToken::trailing(datagram) else { return false };
        let used = self.active.iter().filter(|(_, used)| *used);
        used.fold(false, |found, (cid, _)| found | (cid.reset_token == Some(trailing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid(n: u8) -> ConnectionId {
        ConnectionId::try_from(&[n; 8][..]).unwrap()
    }

    fn cids(limit: u64) -> RemoteCids {
        RemoteCids::new(RemoteCid { sequence: 0, id: cid(0), reset_token: None }, limit)
    }

    fn new(cids: &mut RemoteCids, sequence: u8, retire_prior_to: u64) -> Result<(), TransportError> {
        cids.on_new(sequence.into(), retire_prior_to, cid(sequence), ResetToken([sequence; 16]))
    }

    fn take(cids: &mut RemoteCids) -> Option<u64> {
        cids.take_unused().map(|cid| cid.sequence)
    }

    #[test]
    fn retire_prior_to_switches_to_the_next_id() {
        let mut cids = cids(2);
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 2, 1).unwrap();
        assert!(!cids.is_active(0));
        assert_eq!((take(&mut cids), cids.next_to_retire()), (Some(1), Some(0)));
        cids.retire_sent();
        assert_eq!(cids.next_to_retire(), None);
        cids.on_retire_lost(0);
        assert_eq!(cids.next_to_retire(), Some(0));
        cids.retire_sent();
        cids.on_retire_acked(0);
        assert!(cids.retiring.is_empty());
    }

    // covers: R9000-10.3.1-02
    #[test]
    fn tokens_count_while_their_ids_are_in_use() {
        let mut cids = cids(3);
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 2, 0).unwrap();
        assert!(!cids.is_stateless_reset(&[1; 40]), "not used yet");
        assert_eq!(take(&mut cids), Some(1));
        assert!(cids.is_stateless_reset(&[1; 40]) && !cids.is_stateless_reset(&[2; 40]));
        assert_eq!(take(&mut cids), Some(2));
        assert!(cids.is_stateless_reset(&[1; 40]) && cids.is_stateless_reset(&[2; 40]));
        cids.give_up(1);
        assert!(!cids.is_stateless_reset(&[1; 40]) && cids.is_stateless_reset(&[2; 40]), "retired");
    }

    // covers: R9000-9.5-01 R9000-9.5-02
    #[test]
    fn no_id_is_given_out_twice() {
        let mut cids = cids(3);
        assert_eq!(take(&mut cids), None);
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 2, 0).unwrap();
        assert_eq!((take(&mut cids), take(&mut cids), take(&mut cids)), (Some(1), Some(2), None));
        cids.give_up(1);
        assert_eq!((cids.next_to_retire(), take(&mut cids)), (Some(1), None));
        // The frame that issued it comes late, and once more when the peer knows.
        new(&mut cids, 1, 0).unwrap();
        cids.retire_sent();
        cids.on_retire_acked(1);
        new(&mut cids, 1, 0).unwrap();
        assert_eq!(take(&mut cids), None);
        new(&mut cids, 3, 0).unwrap();
        assert_eq!(take(&mut cids), Some(3));
    }

    #[test]
    fn empty_ids_are_shared_and_never_retired() {
        let mut cids =
            RemoteCids::new(RemoteCid { sequence: 0, id: ConnectionId::EMPTY, reset_token: None }, 4);
        assert_eq!((take(&mut cids), take(&mut cids)), (Some(0), Some(0)));
        cids.give_up(0);
        assert_eq!((take(&mut cids), cids.next_to_retire()), (Some(0), None));
        assert_eq!(new(&mut cids, 1, 0).unwrap_err().code, Code::PROTOCOL_VIOLATION);
    }

    #[test]
    fn numbers_with_gaps_stay_few() {
        let mut cids = cids(3);
        for sequence in (10..2_000).step_by(2) {
            cids.on_new(sequence, 0, cid_of(sequence), token_of(sequence)).unwrap();
            assert_eq!(take(&mut cids), Some(sequence));
            cids.give_up(sequence);
            cids.retire_sent();
            cids.on_retire_acked(sequence);
            assert!(cids.given_up.len() <= MAX_RETIRING);
        }
    }

    fn cid_of(sequence: u64) -> ConnectionId {
        ConnectionId::try_from(&sequence.to_be_bytes()[..]).unwrap()
    }

    fn token_of(sequence: u64) -> ResetToken {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&sequence.to_be_bytes());
        ResetToken(token)
    }

    // covers: R9000-5.1.1-05
    #[test]
    fn more_than_the_limit_are_an_error() {
        let mut cids = cids(2);
        new(&mut cids, 1, 0).unwrap();
        assert_eq!(new(&mut cids, 2, 0).unwrap_err().code, Code::CONNECTION_ID_LIMIT_ERROR);
    }

    // covers: R9000-5.1.2-03
    #[test]
    fn an_id_below_retire_prior_to_is_retired_at_once() {
        let mut cids = cids(2);
        new(&mut cids, 5, 5).unwrap();
        new(&mut cids, 3, 0).unwrap();
        assert_eq!(take(&mut cids), Some(5));
        assert_eq!(cids.to_retire, [0, 3]);
    }

    #[test]
    fn a_reused_number_or_id_is_a_violation() {
        let mut cids = cids(4);
        new(&mut cids, 1, 0).unwrap();
        for (sequence, id, token) in [(1, 9, 9), (2, 1, 1), (1, 1, 9), (2, 2, 1)] {
            let result = cids.on_new(sequence, 0, cid(id), ResetToken([token; 16]));
            assert_eq!(result.unwrap_err().code, Code::PROTOCOL_VIOLATION);
        }
    }

    // covers: R9000-5.1.2-05 R9000-5.1.2-06
    #[test]
    fn twice_the_limit_may_wait_to_be_retired() {
        let mut cids = cids(64);
        for sequence in 1..=128 {
            cids.on_new(sequence, sequence, cid_of(sequence), token_of(sequence)).unwrap();
        }
        let mut told: Vec<u64> = std::iter::from_fn(|| {
            let next = cids.next_to_retire();
            cids.retire_sent();
            next
        })
        .collect();
        told.sort_unstable();
        assert!(told.into_iter().eq(0..128), "none is forgotten");
        assert!(cids.on_new(130, 130, cid_of(130), token_of(130)).is_err());
    }

    // covers: R9000-5.1.2-04
    #[test]
    fn a_retire_flood_closes() {
        let mut cids = cids(2);
        let result = (1..=200).try_for_each(|sequence| new(&mut cids, sequence, sequence.into()));
        assert_eq!(result.unwrap_err().code, Code::CONNECTION_ID_LIMIT_ERROR);
        assert!(cids.to_retire.len() <= MAX_RETIRING + 1);
    }
}
