//! Tokens for the client's next connections (NEW_TOKEN, RFC 9000 §8.1.3): given by servers, taken by clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::Connection;
use crate::crypto::{TokenKey, TokenScope};
use crate::packet::Side;
use crate::proto::Event;
use crate::proto::space::Token;
use crate::proto::transmit::FrameWriter;
use crate::wire::frame::{EncodeFrame as _, NewToken};

/// Longer tokens would leave too little of the first Initial, bytes.
const MAX_TOKEN_LEN: usize = 512;

/// Tokens that wait for the application's store; a server that sends more at once wastes them.
const MAX_WAITING: usize = 8;

/// A new token is as long as this, with its frame, bytes.
const FRAME_LEN: usize = 64;

/// What a server makes tokens with.
#[derive(Debug, Clone)]
pub struct NewTokens {
    /// Seals them.
    pub key: Arc<TokenKey>,
    /// The time of day as the connection begins.
    pub wall: SystemTime,
    /// How many are given after the handshake, and after each change of the client's address.
    pub count: u8,
}

/// The tokens that a server still owes its client.
#[derive(Debug, Default)]
pub struct TokenIssue {
    /// And when the connection began.
    source: Option<(NewTokens, Instant)>,
    owed: u8,
    /// The client's address that the last ones were for.
    offered: Option<IpAddr>,
}

impl TokenIssue {
    /// For a connection that begins now.
    pub fn new(now: Instant, source: Option<NewTokens>) -> Self {
        Self { source: source.map(|source| (source, now)), ..Self::default() }
    }

    /// True if a token waits to be sent.
    pub fn is_due(&self) -> bool {
        self.owed > 0
    }

    /// This address is known to be the client's: it gets tokens for it.
    fn offer(&mut self, ip: IpAddr) {
        if self.offered.replace(ip) != Some(ip) {
            self.owed = self.count();
        }
    }

    /// A packet with a token was lost: another one takes its place.
    pub fn on_lost(&mut self) {
        self.owed = self.owed.saturating_add(1).min(self.count());
    }

    fn count(&self) -> u8 {
        self.source.as_ref().map_or(0, |(source, _)| source.count)
    }
}

impl Connection {
    /// The path in use is valid: its address is known to be the client's, once the handshake is done.
    pub(in crate::proto) fn offer_tokens(&mut self) {
        let path = &self.paths.active;
        if path.validated && self.handshake.is_confirmed() {
            self.pending.new_tokens.offer(path.tuple.remote.ip());
        }
    }

    /// Writes the tokens that are due, each of them new.
    pub(in crate::proto) fn write_new_tokens(&mut self, now: Instant, writer: &mut FrameWriter<'_>) {
        let TokenIssue { source: Some((source, begun)), owed, .. } = &mut self.pending.new_tokens else {
            return;
        };
        let now = source.wall + now.saturating_duration_since(*begun);
        let scope = TokenScope { now, version: self.version, client: self.paths.active.tuple.remote };
        while *owed > 0 && writer.remaining() >= FRAME_LEN {
            let token = source.key.seal_new_token(&mut self.rng, &scope).into();
            let frame = NewToken { token };
            debug_assert!(frame.size() <= FRAME_LEN);
            if !writer.frame(&frame, Some(Token::ForNextConnection)) {
                return;
            }
            *owed -= 1;
        }
    }

    /// The server gives us a token for the next connection (RFC 9000 §19.7).
    pub(in crate::proto) fn on_new_token(&mut self, token: &[u8]) {
        debug_assert_eq!(self.side, Side::Client);
        let waiting = self.outbox.events.iter().filter(|event| matches!(event, Event::NewToken(_))).count();
        if waiting < MAX_WAITING && token.len() <= MAX_TOKEN_LEN {
            // A copy: the token outlives the datagram that it came in.
            self.outbox.events.push_back(Event::NewToken(Bytes::copy_from_slice(token)));
        }
    }
}
