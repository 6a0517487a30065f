//! The packets that were sent in one space, in a ring indexed by packet number.
//!
//! Numbers below the ring were sent and forgotten: nothing can happen to them any more. What a packet carried stands
//! in a second ring, the log of tokens, in the same order, so that neither sending nor acknowledging allocates.
//! The peer repeats old ranges in each ACK frame; a settled slot therefore knows how far the settled run above it
//! reaches at least, and a repeated range costs one step.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::Token;
use crate::packet::PacketNumber;
use crate::proto::recovery::PathId;

/// Skipped packet numbers that are remembered, so that acknowledging one is recognised.
const MAX_SKIPPED: usize = 16;

/// Packets without ack-eliciting frames that may be outstanding before [`SentPackets::is_full`].
const MAX_SILENT: usize = 4096;

/// After so many packets in a row that elicit no acknowledgment, one should (RFC 9000 §13.2.4).
const NON_ELICITING_RUN: u32 = 24;

/// No batch begins from here on: none has so many packets that its numbers would pass 2^62 - 1.
const LAST_BATCH: PacketNumber = (1 << 62) - 1024;

/// What recovery knows of a packet that was sent (RFC 9002 §A.1.1).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct SentPacket {
    /// When it was sent.
    pub time: Instant,
    /// Its bytes in the datagram, headers and tag included.
    pub size: u16,
    /// The path it took.
    pub path: PathId,
    /// The peer owes an acknowledgment for it.
    pub ack_eliciting: bool,
    /// It counts towards the bytes in flight: ack-eliciting or padded.
    pub in_flight: bool,
    /// Its datagram carried ECT(0).
    pub ect0: bool,
    /// It is a probe for a larger MTU: its loss is no sign of congestion (RFC 9000 §14.4).
    pub mtu_probe: bool,
}

/// What makes a packet lost.
#[derive(Debug, Copy, Clone)]
pub struct LossBounds {
    /// The largest number that was acknowledged.
    pub largest_acked: PacketNumber,
    /// The path in use, and the largest number that was acknowledged of its packets: those of another path that
    /// overtook them prove nothing.
    pub active: (PathId, Option<PacketNumber>),
    /// How many later packets must be acknowledged before a packet is lost (RFC 9002 §6.1.1).
    pub packet_threshold: u64,
    /// What was sent at or before this time is late.
    pub sent_before: Option<Instant>,
}

/// The peer acknowledged a number that no packet was sent with.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct NeverSent(pub PacketNumber);

#[derive(Debug)]
enum Slot {
    /// Not acknowledged; if it was declared lost, it stays for a while so that a late acknowledgment is recognised.
    Open(Record),
    /// Acknowledged, or lost long ago. So are all numbers from this one up to, not including, `until`.
    Settled { until: PacketNumber, tokens: u16 },
    /// No packet has this number.
    Skipped,
}

// One cache line holds two.
const _: () = assert!(size_of::<Slot>() <= 32);

#[derive(Debug, Copy, Clone)]
struct Record {
    packet: SentPacket,
    /// Position of the first token in the log since the beginning of the space, modulo 2^32.
    first_token: u32,
    tokens: u16,
    lost: bool,
}

/// The packets sent in one packet number space.
#[derive(Debug, Default)]
pub struct SentPackets {
    /// Number of the first slot.
    base: PacketNumber,
    slots: VecDeque<Slot>,
    log: VecDeque<Token>,
    /// Position of the first token in the log, modulo 2^32.
    log_base: u32,
    /// No number below it is outstanding.
    first_outstanding: PacketNumber,
    /// Lost packets that still have their slot, and when they were declared lost; ascending.
    lost: VecDeque<(PacketNumber, Instant)>,
    /// The newest skipped numbers, ascending.
    skipped: VecDeque<PacketNumber>,
    bytes_in_flight: u64,
    eliciting_in_flight: usize,
    /// Packets outstanding that the peer owes no acknowledgment for.
    silent: usize,
    non_eliciting_run: u32,
}

impl SentPackets {
    /// A space in which everything below `first` was sent and settled.
    #[cfg(test)]
    pub fn starting_at(first: PacketNumber) -> Self {
        Self { base: first, first_outstanding: first, ..Self::default() }
    }

    /// True when the numbers, which end at 2^62 - 1, are about to run out: a batch or two are left (RFC 9000 §12.3).
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.next() >= LAST_BATCH
    }

    /// The number of the next packet.
    #[must_use]
    pub fn next(&self) -> PacketNumber {
        self.base + self.slots.len() as u64
    }

    /// Leaves out one packet number, on purpose: a peer that acknowledges it lies (RFC 9000 §21.4).
    pub fn skip(&mut self) {
        if self.skipped.len() == MAX_SKIPPED {
            self.skipped.pop_front();
        }
        self.skipped.push_back(self.next());
        self.slots.push_back(Slot::Skipped);
    }

    /// Records the packet with the number [`SentPackets::next`], and what it carried.
    pub fn push(&mut self, packet: SentPacket, tokens: &[Token]) {
        debug_assert!(packet.in_flight || !packet.ack_eliciting);
        debug_assert!(tokens.len() <= usize::from(u16::MAX), "a datagram has at most 65,527 bytes");
        if packet.in_flight {
            self.bytes_in_flight += u64::from(packet.size);
        }
        if packet.ack_eliciting {
            self.eliciting_in_flight += 1;
            self.non_eliciting_run = 0;
        } else {
            self.silent += 1;
            self.non_eliciting_run = self.non_eliciting_run.saturating_add(1);
        }
        let first_token = self.log_base.wrapping_add(self.log.len() as u32);
        self.log.extend(tokens);
        self.slots.push_back(Slot::Open(Record {
            packet,
            first_token,
            tokens: tokens.len() as u16,
            lost: false,
        }));
    }

    /// Lets go of room that what is outstanding does not need.
    pub fn release_spare(&mut self) {
        self.slots.shrink_to_fit();
        self.log.shrink_to_fit();
        self.lost.shrink_to_fit();
    }

    /// Bytes that are in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Whether a packet is in flight that the peer must acknowledge.
    #[must_use]
    pub fn has_ack_eliciting_in_flight(&self) -> bool {
        self.eliciting_in_flight > 0
    }

    /// The peer acknowledges so little that packets which elicit no acknowledgment should wait.
    ///
    /// The congestion window bounds all others. What is settled does not count, however much of it stands behind a lost
    /// packet that is still remembered: with nothing in flight no acknowledgment would come to clear it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.silent >= MAX_SILENT
    }

    /// The next packet should carry PING if it would carry nothing else ack-eliciting: otherwise the peer may never
    /// acknowledge our acknowledgments (RFC 9000 §13.2.4).
    #[must_use]
    pub fn should_elicit(&self) -> bool {
        self.non_eliciting_run >= NON_ELICITING_RUN && self.eliciting_in_flight == 0
    }

    /// Checks that an ACK frame, given by its ranges in descending order, names only numbers that were sent.
    ///
    /// # Errors
    /// The first number that was not.
    pub fn check(&self, ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>) -> Result<(), NeverSent> {
        let mut skipped = self.skipped.iter().rev().copied().peekable();
        for range in ranges {
            if *range.end() >= self.next() {
                return Err(NeverSent(*range.end()));
            }
            while skipped.next_if(|skipped| skipped > range.end()).is_some() {}
            if let Some(skipped) = skipped.next_if(|skipped| skipped >= range.start()) {
                return Err(NeverSent(skipped));
            }
        }
        Ok(())
    }

    /// Settles the packets of a range that the peer acknowledged, appends what they carried to `tokens`, and calls
    /// `on_acked` with each packet that was not settled before, in ascending order, and whether it had been declared
    /// lost.
    ///
    /// The range must have passed [`SentPackets::check`].
    pub fn acknowledge(
        &mut self,
        range: RangeInclusive<PacketNumber>,
        tokens: &mut Vec<Token>,
        mut on_acked: impl FnMut(PacketNumber, &SentPacket, bool),
    ) {
        let range_end = *range.end() + 1;
        let mut pn = (*range.start()).max(self.base);
        while pn < range_end {
            let Some(slot) = self.slots.get_mut((pn - self.base) as usize) else { return };
            let record = match slot {
                Slot::Open(record) => *record,
                Slot::Settled { until, .. } => {
                    pn = *until;
                    *until = pn.max(range_end);
                    continue;
                }
                Slot::Skipped => {
                    pn += 1;
                    continue;
                }
            };
            *slot = Slot::Settled { until: range_end, tokens: record.tokens };
            if !record.lost {
                self.leave_flight(&record.packet);
            }
            self.copy_tokens(&record, tokens);
            on_acked(pn, &record.packet, record.lost);
            pn += 1;
        }
    }

    /// Declares packets below the largest acknowledged one lost: those that are late, and those that are
    /// `packet_threshold` behind. Appends what they carried to `tokens` and calls `on_lost` with each packet in
    /// ascending order, and whether an acknowledged one stands between it and the lost one before.
    ///
    /// Returns when the oldest remaining packet below `largest_acked` that is in flight was sent, if there is one.
    pub fn detect_lost(
        &mut self,
        now: Instant,
        bounds: LossBounds,
        tokens: &mut Vec<Token>,
        mut on_lost: impl FnMut(PacketNumber, &SentPacket, bool),
    ) -> Option<Instant> {
        let LossBounds { largest_acked, active, packet_threshold, sent_before } = bounds;
        let mut pn = self.first_outstanding.max(self.base);
        let mut first_kept = None;
        let mut oldest_kept = None;
        let mut after_acked = false;
        // Send times ascend with the numbers: the first packet that is not lost ends the search. Only packets that
        // are not in flight are passed over, and at most `packet_threshold` of them; and those that packets of another
        // path overtook, which is over with the next acknowledgment.
        while pn < largest_acked && oldest_kept.is_none() {
            let Some(slot) = self.slots.get_mut((pn - self.base) as usize) else { break };
            match slot {
                Slot::Settled { until, .. } => {
                    after_acked = true;
                    pn = *until;
                    continue;
                }
                Slot::Open(record)
                    if !record.lost
                        && record.packet.path == active.0
                        && active.1.is_none_or(|acked| pn > acked) =>
                {
                    first_kept.get_or_insert(pn);
                }
                Slot::Open(record) if !record.lost => {
                    let largest_acked = match active {
                        (path, Some(acked)) if path == record.packet.path => acked,
                        _ => largest_acked,
                    };
                    let late = sent_before.is_some_and(|time| record.packet.time <= time);
                    if late || pn + packet_threshold <= largest_acked {
                        record.lost = true;
                        let record = *record;
                        self.lost.push_back((pn, now));
                        self.leave_flight(&record.packet);
                        self.copy_tokens(&record, tokens);
                        on_lost(pn, &record.packet, after_acked);
                        after_acked = false;
                    } else {
                        first_kept.get_or_insert(pn);
                        oldest_kept = record.packet.in_flight.then_some(record.packet.time);
                    }
                }
                Slot::Open(_) | Slot::Skipped => {}
            }
            pn += 1;
        }
        self.first_outstanding = first_kept.unwrap_or(pn);
        oldest_kept
    }

    /// Forgets packets that were declared lost before this time, and what stands below the first open one.
    pub fn forget(&mut self, lost_before: Option<Instant>) {
        while let Some(&(pn, _)) =
            self.lost.front().filter(|(_, when)| lost_before.is_some_and(|t| *when < t))
        {
            self.lost.pop_front();
            let slot = pn.checked_sub(self.base).and_then(|index| self.slots.get_mut(index as usize));
            if let Some(slot) = slot
                && let Slot::Open(record) = slot
            {
                *slot = Slot::Settled { until: pn + 1, tokens: record.tokens };
            }
        }
        loop {
            let tokens = match self.slots.front() {
                Some(Slot::Settled { tokens, .. }) => *tokens,
                Some(Slot::Skipped) => 0,
                Some(Slot::Open(_)) | None => break,
            };
            self.log.drain(..usize::from(tokens));
            self.log_base = self.log_base.wrapping_add(u32::from(tokens));
            self.slots.pop_front();
            self.base += 1;
        }
    }

    /// Appends what the `index`-th oldest ack-eliciting packet in flight carried: content for a probe
    /// (RFC 9002 §6.2.4). The packet stays outstanding. False if there is no such packet.
    pub fn probe_tokens(&self, index: usize, tokens: &mut Vec<Token>) -> bool {
        let first = self.first_outstanding.saturating_sub(self.base) as usize;
        let mut records = self.slots.iter().skip(first).filter_map(|slot| match slot {
            Slot::Open(record) if record.packet.ack_eliciting && !record.lost => Some(record),
            _ => None,
        });
        let Some(record) = records.nth(index) else { return false };
        self.copy_tokens(record, tokens);
        true
    }

    /// Takes back all that is outstanding, as if it had left the network without a trace, and appends what it carried
    /// to `tokens`. Packet numbers go on.
    pub fn retract(&mut self, tokens: &mut Vec<Token>) {
        for slot in &self.slots {
            if let Slot::Open(record) = slot
                && !record.lost
            {
                self.copy_tokens(record, tokens);
            }
        }
        self.clear();
    }

    /// Forgets everything but the next packet number, which numbers were skipped, and gives back the memory.
    pub fn clear(&mut self) {
        *self = Self {
            base: self.next(),
            first_outstanding: self.next(),
            skipped: std::mem::take(&mut self.skipped),
            ..Self::default()
        };
    }

    /// How many packets it remembers.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.slots.len()
    }

    /// How many slots [`SentPackets::acknowledge`] would look at.
    #[cfg(test)]
    pub(super) fn steps(&self, range: RangeInclusive<PacketNumber>) -> usize {
        let mut pn = (*range.start()).max(self.base);
        let mut steps = 0;
        while pn <= *range.end() {
            steps += 1;
            pn = match self.slots[(pn - self.base) as usize] {
                Slot::Settled { until, .. } => until,
                _ => pn + 1,
            };
        }
        steps
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.log.capacity() * size_of::<Token>()
    }

    fn leave_flight(&mut self, packet: &SentPacket) {
        if packet.in_flight {
            self.bytes_in_flight -= u64::from(packet.size);
        }
        if packet.ack_eliciting {
            self.eliciting_in_flight -= 1;
        } else {
            self.silent -= 1;
        }
    }

    fn copy_tokens(&self, record: &Record, tokens: &mut Vec<Token>) {
        let start = record.first_token.wrapping_sub(self.log_base) as usize;
        tokens.extend(self.log.range(start..start + usize::from(record.tokens)));
    }
}
