//! The two fates of what a packet carried, side by side (RFC 9000 §13.3).

use super::Connection;
use crate::packet::{DatagramFate, SpaceId};
use crate::proto::space::Token;

impl Connection {
    /// Hands every token in `fates` to its owner, acknowledged ones first.
    pub(in crate::proto) fn run_fates(&mut self, space: SpaceId) {
        let mut fates = std::mem::take(&mut self.fates);
        fates.acked.drain(..).for_each(|token| self.on_token_acked(space, &token));
        fates.lost.drain(..).for_each(|token| self.on_token_lost(space, &token));
        fates.elsewhere.drain(..).for_each(|(path, bytes)| self.paths.on_left_flight(path, bytes));
        self.fates = fates;
    }

    /// The peer has what this token stands for.
    fn on_token_acked(&mut self, space: SpaceId, token: &Token) {
        match *token {
            Token::Ack { largest } => {
                if let Some(space) = self.spaces.get_mut(space) {
                    space.received.on_ack_acked(largest);
                }
            }
            Token::Crypto { offset, len } => {
                if let Some(crypto) = self.handshake.crypto(space) {
                    crypto.on_acked(offset..offset + u64::from(len));
                }
            }
            Token::RetireConnectionId(sequence) => self.remote_cids.on_retire_acked(sequence),
            Token::Datagram(track) => self.datagrams.on_fate(track, DatagramFate::Acknowledged),
            Token::AckFrequency(sequence) => self.recovery.ack_requests.on_acked(sequence),
            Token::Ping | Token::HandshakeDone | Token::ForNextConnection | Token::NewConnectionId(_) => {}
            _ => self.streams.on_acked(token),
        }
    }

    /// What this token stands for did not arrive, as far as we can tell.
    fn on_token_lost(&mut self, space: SpaceId, token: &Token) {
        match *token {
            Token::Ack { .. } | Token::Ping => {}
            Token::Crypto { offset, len } => {
                if let Some(crypto) = self.handshake.crypto(space) {
                    crypto.on_lost(offset..offset + u64::from(len));
                }
            }
            Token::HandshakeDone => self.pending.handshake_done = true,
            Token::ForNextConnection => self.pending.new_tokens.on_lost(),
            Token::NewConnectionId(sequence) => self.local_cids.on_lost(sequence),
            Token::RetireConnectionId(sequence) => self.remote_cids.on_retire_lost(sequence),
            Token::Datagram(track) => self.datagrams.on_fate(track, DatagramFate::Lost),
            Token::AckFrequency(sequence) => self.recovery.ack_requests.on_lost(sequence),
            _ => self.streams.on_lost(token),
        }
    }
}
