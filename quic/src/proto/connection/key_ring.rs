//! The keys of a connection, level by level, and the key phase of 1-RTT (RFC 9001 §4.9, §6).

use std::time::{Duration, Instant};

use crate::crypto::{AeadLimits, CipherSuite, DirectionKeys, HeaderKey, Keys, OneRttSecrets, PacketKey};
use crate::packet::{Level, PacketNumber, SpaceId, TransportError, TransportErrorCode as Code};

/// Packet protection of every level that exists at the moment. Keys are large, and most of them soon gone: a connection that
/// lives on has no room for them.
#[derive(Debug)]
pub struct KeyRing {
    pub initial: Option<Box<Keys>>,
    /// What opens Initials of the version that the client began with, after the server chose another.
    pub original_initial: Option<Box<DirectionKeys>>,
    pub handshake: Option<Box<Keys>>,
    /// What a client seals 0-RTT packets with.
    pub early_local: Option<Box<DirectionKeys>>,
    /// What a server opens them with.
    pub early_remote: Option<Box<DirectionKeys>>,
    pub one_rtt: Option<OneRtt>,
    /// Packets that failed to open, of all levels: counts against the integrity limit (RFC 9001 §6.6).
    pub failures: u64,
    /// How much an AEAD may be used; tests put lower limits here.
    pub limits: fn(CipherSuite) -> AeadLimits,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self {
            initial: None,
            original_initial: None,
            handshake: None,
            early_local: None,
            early_remote: None,
            one_rtt: None,
            failures: 0,
            limits: CipherSuite::limits,
        }
    }
}

/// 1-RTT keys and their successors.
#[derive(Debug)]
pub struct OneRtt {
    pub local: DirectionKeys,
    remote_header: HeaderKey,
    remote: PacketKey,
    /// The peer's key of the next phase: made in advance, so that its making takes no time that a peer could measure. Ours
    /// is made when it is needed.
    next: PacketKey,
    /// The peer's previous key, for packets that were overtaken by the update, and until when: that is known once the
    /// peer uses the present one.
    previous: Option<Box<(PacketKey, Option<Instant>)>>,
    secrets: OneRttSecrets,
    /// The Key Phase bit of what we send.
    pub phase: bool,
    /// The lowest packet number that the peer used in the present phase; the largest number there is before that.
    phase_start: PacketNumber,
    /// The highest packet number that the peer used in the present phase.
    phase_largest: Option<PacketNumber>,
    /// The same for all phases before.
    earlier_largest: Option<PacketNumber>,
    /// We have acknowledged a packet of the present phase: the peer may begin the next one. It always may at first.
    acknowledged: bool,
    /// Our first packet number in the present phase.
    local_phase_start: PacketNumber,
    /// From when on we may begin the next phase; `None` until the peer has acknowledged a packet of the present one.
    settled: Option<Instant>,
    /// How many phases were left behind.
    updates: u64,
    /// Packets sealed with the present key.
    sealed: u64,
}

/// Which of the peer's keys opens a 1-RTT packet.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Phase {
    Present,
    Previous,
    Next,
}

impl KeyRing {
    /// What we seal packets of a level with.
    pub fn local(&self, level: Level) -> Option<&DirectionKeys> {
        match level {
            Level::Initial => self.initial.as_ref().map(|keys| &keys.local),
            Level::Handshake => self.handshake.as_ref().map(|keys| &keys.local),
            Level::OneRtt => self.one_rtt.as_ref().map(|keys| &keys.local),
            Level::ZeroRtt => self.early_local.as_deref(),
        }
    }

    /// What opens the peer's packets of a level with a long header.
    pub fn remote(&self, level: Level) -> Option<&DirectionKeys> {
        match level {
            Level::Initial => self.initial.as_ref().map(|keys| &keys.remote),
            Level::Handshake => self.handshake.as_ref().map(|keys| &keys.remote),
            Level::ZeroRtt => self.early_remote.as_deref(),
            Level::OneRtt => None,
        }
    }

    /// Forgets the keys of a space whose time is over (RFC 9001 §4.9).
    pub fn discard(&mut self, space: SpaceId) {
        match space {
            SpaceId::Initial => (self.initial, self.original_initial) = (None, None),
            SpaceId::Handshake => self.handshake = None,
            SpaceId::Data => {}
        }
    }
}

impl OneRtt {
    /// `next_pn` is the number of our next packet: those before were of 0-RTT.
    pub fn new(keys: Keys, mut secrets: OneRttSecrets, next_pn: PacketNumber) -> Self {
        let next = secrets.advance();
        Self {
            local: keys.local,
            remote_header: keys.remote.header,
            remote: keys.remote.packet,
            next,
            previous: None,
            secrets,
            phase: false,
            phase_start: 0,
            phase_largest: None,
            earlier_largest: None,
            acknowledged: true,
            local_phase_start: next_pn,
            settled: None,
            updates: 0,
            sealed: 0,
        }
    }

    /// The peer's header protection key; it never changes.
    pub fn remote_header(&self) -> &HeaderKey {
        &self.remote_header
    }

    /// The peer's key for a packet with this Key Phase bit and number, and the phase that it is of (RFC 9001 §6.3).
    ///
    /// There is always a key to try, made before the packet came: time does not tell which bit was expected
    /// (RFC 9001 §9.5). Where the key before is gone, the next one stands in.
    pub fn remote(&self, now: Instant, bit: bool, pn: PacketNumber) -> (Phase, &PacketKey) {
        if bit == self.phase {
            return (Phase::Present, &self.remote);
        }
        match self.previous.as_deref() {
            Some((key, until)) if pn < self.phase_start && until.is_none_or(|until| now < until) => {
                (Phase::Previous, key)
            }
            _ => (Phase::Next, &self.next),
        }
    }

    /// A packet opened with the key of this phase. If it is the next one, we follow, from our packet `next_pn` on;
    /// packets of the phase before may arrive until `late`.
    ///
    /// # Errors
    /// KEY_UPDATE_ERROR if the peer used older keys for a packet with a higher number (RFC 9001 §6.4), or did not wait
    /// for us to acknowledge its last update (RFC 9001 §6.2).
    pub fn on_opened(
        &mut self,
        phase: Phase,
        pn: PacketNumber,
        next_pn: PacketNumber,
        late: Instant,
    ) -> Result<(), TransportError> {
        let error = |reason| Err(TransportError::new(Code::KEY_UPDATE_ERROR, reason));
        match phase {
            Phase::Previous => {
                self.earlier_largest = self.earlier_largest.max(Some(pn));
                return Ok(());
            }
            Phase::Next if !self.acknowledged => {
                return error("updated keys again before the last update was acknowledged");
            }
            Phase::Next => self.update(next_pn),
            Phase::Present => {}
        }
        if self.earlier_largest.is_some_and(|largest| largest > pn) {
            return error("used old keys for a packet with a higher number");
        }
        self.phase_largest = self.phase_largest.max(Some(pn));
        if pn < self.phase_start {
            self.phase_start = pn;
            if let Some((_, until)) = self.previous.as_deref_mut() {
                until.get_or_insert(late);
            }
        }
        Ok(())
    }

    /// An ACK frame that acknowledges packets up to `largest` was sent.
    pub fn on_ack_sent(&mut self, largest: PacketNumber) {
        self.acknowledged |= largest >= self.phase_start;
    }

    /// A packet was sealed with the present key.
    pub fn on_sealed(&mut self) {
        self.sealed += 1;
    }

    /// How many packets were sealed with the present key.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// How often keys were updated, by either end.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// When the peer's previous key is to be forgotten.
    pub fn previous_until(&self) -> Option<Instant> {
        self.previous.as_deref().and_then(|(_, until)| *until)
    }

    /// True while packets of the phase before can be opened.
    #[cfg(test)]
    pub fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// Forgets the peer's previous key if it is time (RFC 9001 §6.5).
    pub fn on_timeout(&mut self, now: Instant) {
        if self.previous_until().is_some_and(|until| until <= now) {
            self.previous = None;
        }
    }

    /// From when on we may begin the next phase; `None` if the peer has to acknowledge something before
    /// (RFC 9001 §6.1).
    pub fn settled(&self) -> Option<Instant> {
        self.settled
    }

    /// The peer has acknowledged `largest`. If that is of the present phase, it has the new keys; `wait` later it has
    /// no use for the old ones (RFC 9001 §6.5).
    pub fn on_acked(&mut self, now: Instant, largest: PacketNumber, wait: Duration) {
        // Who acknowledges the new keys without using them does not follow: an update more would leave it behind.
        if largest >= self.local_phase_start && self.phase_largest.is_some() {
            self.settled = Some(if self.updates == 0 { now } else { now + wait });
        }
    }

    /// Turns to the next keys. `next_pn` is the number of our next packet.
    pub fn update(&mut self, next_pn: PacketNumber) {
        self.local.packet = self.secrets.local_key();
        let remote = std::mem::replace(&mut self.next, self.secrets.advance());
        self.previous = Some(Box::new((std::mem::replace(&mut self.remote, remote), None)));
        self.phase = !self.phase;
        self.phase_start = PacketNumber::MAX;
        self.earlier_largest = self.earlier_largest.max(self.phase_largest.take());
        self.acknowledged = false;
        self.local_phase_start = next_pn;
        self.settled = None;
        self.updates += 1;
        self.sealed = 0;
    }
}
