//! The connection IDs that we send to: issued by the peer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::packet::{ConnectionId, ResetToken, TransportError, TransportErrorCode as Code};
use crate::proto::RouteChange;

/// RETIRE_CONNECTION_ID frames that may wait for an acknowledgment; a peer that makes us retire more is hostile
/// (RFC 9000 §5.1.2).
const MAX_RETIRING: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
struct RemoteCid {
    sequence: u64,
    cid: ConnectionId,
    reset_token: Option<ResetToken>,
}

/// IDs the peer issued; the first one is in use.
#[derive(Debug)]
pub struct RemoteCids {
    active: Vec<RemoteCid>,
    /// The `active_connection_id_limit` that we announced.
    limit: u64,
    retire_prior_to: u64,
    /// To be told to the peer.
    to_retire: Vec<u64>,
    /// Told, not yet acknowledged.
    retiring: Vec<u64>,
}

impl RemoteCids {
    /// Begins with the ID that the first packets go to.
    pub fn new(initial: ConnectionId, limit: u64) -> Self {
        let active = vec![RemoteCid { sequence: 0, cid: initial, reset_token: None }];
        Self { active, limit, retire_prior_to: 0, to_retire: Vec::new(), retiring: Vec::new() }
    }

    /// The ID in use.
    pub fn current(&self) -> ConnectionId {
        self.active.first().map(|active| active.cid).unwrap_or_default()
    }

    /// The stateless reset token that belongs to the ID in use.
    pub fn current_token(&self) -> Option<ResetToken> {
        self.active.first()?.reset_token
    }

    /// Replaces the handshake's ID: by the server's choice, or by that of a Retry (RFC 9000 §7.2).
    pub fn set_initial(&mut self, cid: ConnectionId) {
        if let Some(first) = self.active.first_mut() {
            first.cid = cid;
        }
    }

    /// The token for the handshake's ID, from the server's transport parameters.
    pub fn set_initial_token(
        &mut self,
        token: ResetToken,
        remote: SocketAddr,
        routes: &mut VecDeque<RouteChange>,
    ) {
        if let Some(first) = self.active.first_mut().filter(|first| first.sequence == 0) {
            first.reset_token = Some(token);
            routes.push_back(RouteChange::AddResetToken(remote, token));
        }
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
        cid: ConnectionId,
        reset_token: ResetToken,
        remote: SocketAddr,
        routes: &mut VecDeque<RouteChange>,
    ) -> Result<(), TransportError> {
        let violation = |reason| Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        if self.current().is_empty() {
            return violation("issued a connection ID although its IDs have length zero");
        }
        let new = RemoteCid { sequence, cid, reset_token: Some(reset_token) };
        for old in &self.active {
            let same_id = old.cid == cid;
            let same_token = old.reset_token == Some(reset_token);
            if (old.sequence == sequence) != same_id || (same_token && !same_id) || (same_id && !same_token) {
                return violation("reused a connection ID, its number or its token differently");
            }
        }
        if self.active.contains(&new) {
            return Ok(());
        }
        if sequence < self.retire_prior_to {
            self.retire(sequence);
            return self.check_retiring();
        }
        self.active.push(new);
        self.retire_prior_to(retire_prior_to, remote, routes);
        self.check_retiring()?;
        if self.active.len() as u64 > self.limit {
            return Err(TransportError::new(
                Code::CONNECTION_ID_LIMIT_ERROR,
                "more connection IDs than announced",
            ));
        }
        Ok(())
    }

    fn retire_prior_to(&mut self, bound: u64, remote: SocketAddr, routes: &mut VecDeque<RouteChange>) {
        if bound <= self.retire_prior_to {
            return;
        }
        self.retire_prior_to = bound;
        let token = self.current_token();
        let retired: Vec<u64> =
            self.active.iter().map(|old| old.sequence).filter(|sequence| *sequence < bound).collect();
        self.active.retain(|old| old.sequence >= bound);
        retired.into_iter().for_each(|sequence| self.retire(sequence));
        if self.current_token() != token {
            routes.extend(token.map(|token| RouteChange::RemoveResetToken(remote, token)));
            routes.extend(self.current_token().map(|token| RouteChange::AddResetToken(remote, token)));
        }
    }

    fn retire(&mut self, sequence: u64) {
        if !self.to_retire.contains(&sequence) && !self.retiring.contains(&sequence) {
            self.to_retire.push(sequence);
        }
    }

    fn check_retiring(&self) -> Result<(), TransportError> {
        if self.to_retire.len() + self.retiring.len() > MAX_RETIRING {
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

    /// True if the datagram ends in the token of the ID in use (RFC 9000 §10.3.1).
    pub fn is_stateless_reset(&self, datagram: &[u8]) -> bool {
        let Some(token) = self.current_token() else { return false };
        ResetToken::trailing(datagram) == Some(token)
    }

    /// The routes that end with the connection.
    pub fn release(&self, remote: SocketAddr, routes: &mut VecDeque<RouteChange>) {
        routes.extend(self.current_token().map(|token| RouteChange::RemoveResetToken(remote, token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid(n: u8) -> ConnectionId {
        ConnectionId::try_from(&[n; 8][..]).unwrap()
    }

    fn new(cids: &mut RemoteCids, sequence: u8, retire_prior_to: u64) -> Result<(), TransportError> {
        let remote = ([127, 0, 0, 1], 4433).into();
        cids.on_new(
            sequence.into(),
            retire_prior_to,
            cid(sequence),
            ResetToken([sequence; 16]),
            remote,
            &mut VecDeque::new(),
        )
    }

    #[test]
    fn retire_prior_to_switches_to_the_next_id() {
        let mut cids = RemoteCids::new(cid(0), 2);
        new(&mut cids, 1, 0).unwrap();
        assert_eq!(new(&mut cids, 2, 0).unwrap_err().code, Code::CONNECTION_ID_LIMIT_ERROR);
        let mut cids = RemoteCids::new(cid(0), 2);
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 1, 0).unwrap();
        new(&mut cids, 2, 1).unwrap();
        assert_eq!((cids.current(), cids.next_to_retire()), (cid(1), Some(0)));
        cids.retire_sent();
        assert_eq!(cids.next_to_retire(), None);
        cids.on_retire_lost(0);
        assert_eq!(cids.next_to_retire(), Some(0));
        cids.retire_sent();
        cids.on_retire_acked(0);
        assert!(cids.retiring.is_empty());
        assert!(cids.is_stateless_reset(&[1; 40]) && !cids.is_stateless_reset(&[2; 40]));
    }

    #[test]
    fn an_id_below_retire_prior_to_is_retired_at_once() {
        let mut cids = RemoteCids::new(cid(0), 2);
        new(&mut cids, 5, 5).unwrap();
        new(&mut cids, 3, 0).unwrap();
        assert_eq!(cids.current(), cid(5));
        assert_eq!(cids.to_retire, [0, 3]);
    }

    #[test]
    fn a_reused_number_or_id_is_a_violation() {
        let mut cids = RemoteCids::new(cid(0), 4);
        new(&mut cids, 1, 0).unwrap();
        let remote = ([127, 0, 0, 1], 4433).into();
        for (sequence, id, token) in [(1, 9, 9), (2, 1, 1), (1, 1, 9), (2, 2, 1)] {
            let result =
                cids.on_new(sequence, 0, cid(id), ResetToken([token; 16]), remote, &mut VecDeque::new());
            assert_eq!(result.unwrap_err().code, Code::PROTOCOL_VIOLATION);
        }
        let mut cids = RemoteCids::new(ConnectionId::EMPTY, 4);
        assert_eq!(new(&mut cids, 1, 0).unwrap_err().code, Code::PROTOCOL_VIOLATION);
    }

    // covers: R9000-5.1.2-04
    #[test]
    fn a_retire_flood_closes() {
        let mut cids = RemoteCids::new(cid(0), 2);
        let result = (1..=200).try_for_each(|sequence| new(&mut cids, sequence, sequence.into()));
        assert_eq!(result.unwrap_err().code, Code::CONNECTION_ID_LIMIT_ERROR);
        assert!(cids.to_retire.len() <= MAX_RETIRING + 1);
    }
}
