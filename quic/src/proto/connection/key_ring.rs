//! The keys of a connection, level by level, and the key phase of 1-RTT (RFC 9001 §4.9, §6).

use std::time::Instant;

use crate::crypto::{DirectionKeys, HeaderKey, Keys, OneRttSecrets, PacketKey};
use crate::packet::{Level, PacketNumber, SpaceId, TransportError, TransportErrorCode as Code, TxBatch};

/// Packet protection of every level that exists at the moment.
#[derive(Debug, Default)]
pub struct KeyRing {
    pub initial: Option<Keys>,
    pub handshake: Option<Keys>,
    pub one_rtt: Option<OneRtt>,
    /// Packets that failed to open, of all levels: counts against the integrity limit (RFC 9001 §6.6).
    pub failures: u64,
}

/// 1-RTT keys and their successors.
#[derive(Debug)]
pub struct OneRtt {
    pub local: DirectionKeys,
    remote_header: HeaderKey,
    remote: PacketKey,
    /// The keys of the next phase: made in advance, so that their making takes no time that a peer could measure.
    next: (PacketKey, PacketKey),
    /// The peer's previous key, for packets that were overtaken by the update, and until when: that is known once the
    /// peer uses the present one.
    previous: Option<(PacketKey, Option<Instant>)>,
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
            Level::ZeroRtt => None,
        }
    }

    /// What opens the peer's packets of a level with a long header.
    pub fn remote(&self, level: Level) -> Option<&DirectionKeys> {
        match level {
            Level::Initial => self.initial.as_ref().map(|keys| &keys.remote),
            Level::Handshake => self.handshake.as_ref().map(|keys| &keys.remote),
            Level::OneRtt | Level::ZeroRtt => None,
        }
    }

    /// Forgets the keys of a space whose time is over (RFC 9001 §4.9).
    pub fn discard(&mut self, space: SpaceId) {
        match space {
            SpaceId::Initial => self.initial = None,
            SpaceId::Handshake => self.handshake = None,
            SpaceId::Data => {}
        }
    }
}

impl OneRtt {
    pub fn new(keys: Keys, mut secrets: OneRttSecrets) -> Self {
        let next = secrets.next_keys();
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
            local_phase_start: 0,
            sealed: 0,
        }
    }

    /// The peer's header protection key; it never changes.
    pub fn remote_header(&self) -> &HeaderKey {
        &self.remote_header
    }

    /// Which key a packet with this Key Phase bit and number needs (RFC 9001 §6.3).
    pub fn phase_of(&self, bit: bool, pn: PacketNumber) -> Phase {
        if bit == self.phase {
            Phase::Present
        } else if pn < self.phase_start {
            Phase::Previous
        } else {
            Phase::Next
        }
    }

    /// The peer's key of a phase, if it still or already exists.
    pub fn remote(&self, now: Instant, phase: Phase) -> Option<&PacketKey> {
        match phase {
            Phase::Present => Some(&self.remote),
            Phase::Next => Some(&self.next.1),
            Phase::Previous => {
                let (key, until) = self.previous.as_ref()?;
                until.is_none_or(|until| now <= until).then_some(key)
            }
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
            if let Some((_, until)) = &mut self.previous {
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

    /// True if the present key has protected so many packets that the next one should take over.
    pub fn is_worn(&self) -> bool {
        self.sealed >= self.local.packet.confidentiality_limit() / 2
    }

    /// True if the present key may not protect a batch of packets, and the close after it, any more (RFC 9001 §6.6).
    pub fn is_used_up(&self) -> bool {
        const RESERVE: u64 = 2 * TxBatch::MAX_SEGMENTS as u64;
        self.sealed >= self.local.packet.confidentiality_limit() - RESERVE
    }

    /// Whether we may begin the next phase: the peer has acknowledged a packet of the present one (RFC 9001 §6.1).
    pub fn may_update(&self, largest_acked: Option<PacketNumber>) -> bool {
        largest_acked.is_some_and(|largest| largest >= self.local_phase_start)
    }

    /// Turns to the next keys. `next_pn` is the number of our next packet.
    pub fn update(&mut self, next_pn: PacketNumber) {
        let (local, remote) = std::mem::replace(&mut self.next, self.secrets.next_keys());
        self.local.packet = local;
        self.previous = Some((std::mem::replace(&mut self.remote, remote), None));
        self.phase = !self.phase;
        self.phase_start = PacketNumber::MAX;
        self.earlier_largest = self.earlier_largest.max(self.phase_largest.take());
        self.acknowledged = false;
        self.local_phase_start = next_pn;
        self.sealed = 0;
    }
}
