//! When 1-RTT keys are updated, and what happens where they cannot be (RFC 9001 §6).

use std::time::Instant;

use super::Connection;
use crate::error::KeyUpdateError;
use crate::packet::{Level, TransportError, TransportErrorCode as Code, TxBatch};

/// Packets that may be sealed between two looks at the limit: a batch, and the close after it.
const RESERVE: u64 = 2 * TxBatch::MAX_SEGMENTS as u64;

impl Connection {
    /// Begins a key update: everything from now on is sealed with new keys, and the peer follows (RFC 9001 §6.1).
    ///
    /// The peer learns of it at once, by a PING if there is nothing else to send. The connection updates its keys by
    /// itself before they are worn; this is for applications that want it earlier.
    ///
    /// # Errors
    /// [`KeyUpdateError`] if it is too early for an update, which leaves everything as it was.
    pub fn update_keys(&mut self, now: Instant) -> Result<(), KeyUpdateError> {
        if !self.lifecycle.is_open() {
            return Err(KeyUpdateError::Closed);
        }
        let next_pn = self.spaces.data.sent.next();
        let keys = self.keys.one_rtt.as_mut().filter(|_| self.handshake.is_confirmed());
        let keys = keys.ok_or(KeyUpdateError::NotConfirmed)?;
        let from = keys.settled().ok_or(KeyUpdateError::NotAcknowledged)?;
        if now < from {
            return Err(KeyUpdateError::TooSoon(from - now));
        }
        keys.update(next_pn);
        self.pending.ping = true;
        Ok(())
    }

    /// Turns to the next 1-RTT keys before the present ones are used up (RFC 9001 §6.6).
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED if that cannot be: the connection has to end while its close can still be sealed.
    pub(in crate::proto) fn renew_keys(&mut self, now: Instant) -> Result<(), TransportError> {
        if !self.handshake.is_confirmed() {
            self.check_handshake_keys()?;
        }
        let Some(keys) = &mut self.keys.one_rtt else { return Ok(()) };
        let limit = (self.keys.limits)(keys.local.packet.cipher_suite()).confidentiality;
        let sealed = keys.sealed();
        if sealed < self.config.key_update_interval.unwrap_or(u64::MAX).min(limit / 2) {
            return Ok(());
        }
        let urgent = sealed >= limit - limit / 4;
        let may = keys.settled().is_some_and(|from| urgent || now >= from);
        if may && self.handshake.is_confirmed() {
            keys.update(self.spaces.data.sent.next());
        } else if sealed >= limit.saturating_sub(RESERVE) {
            return Err(used_up());
        }
        Ok(())
    }

    /// Keys of the handshake and of 0-RTT have no successors. Packet numbers count what they have sealed.
    fn check_handshake_keys(&self) -> Result<(), TransportError> {
        for level in [Level::Initial, Level::Handshake, Level::ZeroRtt] {
            let Some(keys) = self.keys.local(level) else { continue };
            let limit = (self.keys.limits)(keys.packet.cipher_suite()).confidentiality;
            let Some(space) = self.spaces.get(level.space()) else { continue };
            if space.sent.next() >= limit.saturating_sub(RESERVE) {
                return Err(used_up());
            }
        }
        Ok(())
    }

    /// An ACK frame arrived for application data: the peer may have acknowledged the present keys.
    pub(in crate::proto) fn settle_keys(&mut self, now: Instant) {
        if self.keys.one_rtt.as_ref().is_none_or(|keys| keys.settled().is_some()) {
            return;
        }
        let wait = 3 * self.pto();
        let largest = self.spaces.data.largest_acked;
        if let (Some(keys), Some(largest)) = (&mut self.keys.one_rtt, largest) {
            keys.on_acked(now, largest, wait);
        }
    }

    /// A packet could not be opened.
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED if there were too many of them (RFC 9001 §6.6).
    pub(in crate::proto) fn on_authentication_failure(&mut self, level: Level) -> Result<(), TransportError> {
        self.stats.packets_dropped += 1;
        self.stats.authentication_failures += 1;
        self.keys.failures += 1;
        // Both directions use one AEAD.
        let keys = self.keys.remote(level).or_else(|| self.keys.local(level));
        let suite = keys.map(|keys| keys.packet.cipher_suite());
        if suite.is_some_and(|suite| self.keys.failures >= (self.keys.limits)(suite).integrity) {
            let reason = "too many packets failed authentication";
            return Err(TransportError::new(Code::AEAD_LIMIT_REACHED, reason));
        }
        Ok(())
    }
}

fn used_up() -> TransportError {
    TransportError::new(Code::AEAD_LIMIT_REACHED, "the key may protect no further packet")
}
