//! What was received in one space: for recognising duplicates, for acknowledging, and for deciding when to.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::packet::{Ecn, EcnCounts, PacketNumber, SpaceId};

/// Ranges that are remembered; beyond that the oldest are forgotten, and packets that old are refused.
const MAX_RANGES: usize = 64;

/// With more ranges than this no gap waits to be reported, lest ranges be forgotten before they are.
const MANY_RANGES: usize = MAX_RANGES / 2;

/// Timers fire so much late; a short delay is cut by half at most (RFC 9000 §18.2).
const TIMER_LATENESS: Duration = Duration::from_millis(1);

/// When acknowledgments of application data are sent: as RFC 9000 §13.2 has it, until the peer asks for something else
/// (draft-ietf-quic-ack-frequency-12 §4).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct AckPolicy {
    /// After more ack-eliciting packets than this.
    pub eliciting_threshold: u64,
    /// At the latest so long after the first ack-eliciting packet.
    pub max_ack_delay: Duration,
    /// At once when a packet is missing and another one arrives whose number is larger by so much; 0 for never.
    pub reordering_threshold: u64,
}

impl AckPolicy {
    /// What holds for a peer that asks for nothing.
    #[must_use]
    pub fn new(max_ack_delay: Duration) -> Self {
        Self { eliciting_threshold: 1, max_ack_delay, reordering_threshold: 1 }
    }

    /// For how long the timer is set.
    fn wait(&self) -> Duration {
        self.max_ack_delay - TIMER_LATENESS.min(self.max_ack_delay / 2)
    }
}

/// The received packets of one packet number space.
///
/// Owned by the space; sets the acknowledgment timer of the connection.
#[derive(Debug)]
pub struct Received {
    /// Ascending, disjoint, never adjacent.
    ranges: SmallVec<[RangeInclusive<PacketNumber>; 2]>,
    /// Numbers below it count as duplicates.
    floor: PacketNumber,
    /// Numbers below it need not be reported: the peer knows.
    report_from: PacketNumber,
    /// When the packet with the largest number arrived.
    largest_time: Option<Instant>,
    largest_eliciting: Option<PacketNumber>,
    ecn: EcnCounts,
    /// In the spaces of the handshake nothing waits.
    policy: AckPolicy,
    /// The number of the frame that asked for it.
    policy_sequence: Option<u64>,
    /// The largest number in an ACK frame that was sent.
    largest_reported: Option<PacketNumber>,
    /// The newest packet was marked CE.
    last_ce: bool,
    /// Ack-eliciting packets since the last ACK frame was sent.
    unreported: u64,
    /// An ACK frame should go out without delay.
    immediate: bool,
    deadline: Option<Instant>,
}

impl Received {
    /// Nothing received yet. `max_ack_delay` is the value of our transport parameter; only application data waits.
    #[must_use]
    pub fn new(space: SpaceId, max_ack_delay: Duration) -> Self {
        Self {
            ranges: SmallVec::new(),
            floor: 0,
            report_from: 0,
            largest_time: None,
            largest_eliciting: None,
            ecn: EcnCounts::default(),
            policy: AckPolicy::new(if space == SpaceId::Data { max_ack_delay } else { Duration::ZERO }),
            policy_sequence: None,
            largest_reported: None,
            last_ce: false,
            unreported: 0,
            immediate: false,
            deadline: None,
        }
    }

    /// The largest packet number received.
    #[must_use]
    pub fn largest(&self) -> Option<PacketNumber> {
        self.ranges.last().map(|range| *range.end())
    }

    /// Whether a packet was received before, or is too old to tell. Such packets are dropped unprocessed.
    #[must_use]
    pub fn is_duplicate(&self, pn: PacketNumber) -> bool {
        match self.ranges.last() {
            Some(last) if pn <= *last.end() => {
                pn < self.floor || self.ranges.iter().rev().any(|range| range.contains(&pn))
            }
            _ => pn < self.floor,
        }
    }

    /// Records a packet that is no duplicate and whose frames were all processed (RFC 9000 §13.1); `received` is when
    /// it was read from the socket.
    pub fn on_packet(&mut self, received: Instant, pn: PacketNumber, ecn: Option<Ecn>, ack_eliciting: bool) {
        match ecn {
            Some(Ecn::Ect0) => self.ecn.ect0 += 1,
            Some(Ecn::Ect1) => self.ecn.ect1 += 1,
            Some(Ecn::Ce) => self.ecn.ce += 1,
            None => {}
        }
        if self.largest().is_none_or(|largest| pn > largest) {
            self.largest_time = Some(received);
        }
        let run_start = self.insert(pn);
        self.report_from = self.report_from.min(pn);
        let ce = ecn == Some(Ecn::Ce);
        let after_ce = std::mem::replace(&mut self.last_ce, ce);
        if ack_eliciting {
            // Who wants few acknowledgments hears of the first mark in a row only.
            let marked = ce && !(after_ce && self.policy.eliciting_threshold > 1);
            self.on_ack_eliciting(received, pn, run_start, marked);
        }
    }

    fn on_ack_eliciting(
        &mut self,
        received: Instant,
        pn: PacketNumber,
        run_start: PacketNumber,
        marked: bool,
    ) {
        self.unreported += 1;
        let before = self.largest_eliciting;
        self.largest_eliciting = before.max(Some(pn));
        self.immediate |= marked
            || self.unreported > self.policy.eliciting_threshold
            || self.policy.max_ack_delay.is_zero()
            || self.is_reordered(pn, run_start, before)
            || (run_start == pn && self.ranges.len() > MANY_RANGES);
        self.deadline.get_or_insert_with(|| received + self.policy.wait());
    }

    /// Whether a packet is so far out of order, or shows so large a gap, that the peer wants to know at once. `before`:
    /// the largest ack-eliciting packet until it came.
    fn is_reordered(&self, pn: PacketNumber, run_start: PacketNumber, before: Option<PacketNumber>) -> bool {
        match self.policy.reordering_threshold {
            0 => false,
            // RFC 9000 §13.2.1: out of order, or packets are missing just before it.
            1 => !before.map_or(run_start == 0, |largest| pn > largest && run_start <= largest),
            threshold => {
                // What the peer can know to be lost, from the ACK frames so far.
                let given_up = self.largest_reported.and_then(|largest| largest.checked_sub(threshold));
                let largest = before.map_or(pn, |before| before.max(pn));
                given_up.is_some_and(|given_up| pn <= given_up)
                    || self
                        .first_missing(given_up.map_or(0, |given_up| given_up + 1))
                        .is_some_and(|missing| largest.saturating_sub(missing) >= threshold)
            }
        }
    }

    /// The first number from here on that is missing below the largest.
    fn first_missing(&self, from: PacketNumber) -> Option<PacketNumber> {
        let mut first = None;
        for (index, range) in self.ranges.iter().enumerate().rev() {
            if *range.start() <= from {
                break;
            }
            let below = index.checked_sub(1).and_then(|below| self.ranges.get(below));
            let gap = below.map_or(self.floor, |below| *below.end() + 1).max(from);
            if gap < *range.start() {
                first = Some(gap);
            }
        }
        first
    }

    /// Adds a number and returns the first of the range it is now in.
    fn insert(&mut self, pn: PacketNumber) -> PacketNumber {
        // In order, which is nearly always: the tail grows.
        if let Some(last) = self.ranges.last_mut()
            && pn.checked_sub(1) == Some(*last.end())
        {
            *last = *last.start()..=pn;
            return *last.start();
        }
        let at = self.ranges.iter().rposition(|range| *range.start() <= pn).map_or(0, |index| index + 1);
        let before = at.checked_sub(1).and_then(|index| self.ranges.get(index)).cloned();
        let after = self.ranges.get(at).cloned();
        let start = match before {
            Some(range) if *range.end() >= pn => return *range.start(),
            Some(range) if *range.end() + 1 == pn => Some(*range.start()),
            _ => None,
        };
        let end = after.filter(|range| *range.start() == pn + 1).map(|range| *range.end());
        let merged = start.unwrap_or(pn)..=end.unwrap_or(pn);
        let run_start = *merged.start();
        match (start.is_some(), end.is_some()) {
            (true, true) => {
                self.ranges.remove(at);
                self.set(at - 1, merged);
            }
            (true, false) => self.set(at - 1, merged),
            (false, true) => self.set(at, merged),
            (false, false) => {
                self.ranges.insert(at, merged);
                if self.ranges.len() > MAX_RANGES {
                    let oldest = self.ranges.remove(0);
                    self.floor = *oldest.end() + 1;
                }
            }
        }
        run_start
    }

    fn set(&mut self, index: usize, range: RangeInclusive<PacketNumber>) {
        if let Some(slot) = self.ranges.get_mut(index) {
            *slot = range;
        }
    }

    /// Whether an ACK_FREQUENCY frame with this number is newer than all before (§4).
    #[must_use]
    pub fn is_news(&self, sequence: u64) -> bool {
        self.policy_sequence.is_none_or(|newest| sequence > newest)
    }

    /// The peer asks for another policy, in a frame with this number.
    pub fn set_policy(&mut self, sequence: u64, policy: AckPolicy) {
        let before = std::mem::replace(&mut self.policy, policy);
        self.policy_sequence = Some(sequence);
        // What waits already goes by the new policy, too.
        self.immediate |= self.unreported > policy.eliciting_threshold;
        if let Some(deadline) = &mut self.deadline {
            *deadline = *deadline - before.wait() + policy.wait();
        }
    }

    /// The peer wants to hear at once of what it sent (IMMEDIATE_ACK, §5).
    pub fn ack_at_once(&mut self) {
        self.immediate = true;
    }

    /// Whether an ACK frame should be sent now, in a packet of its own if need be.
    #[must_use]
    pub fn must_ack(&self, now: Instant) -> bool {
        self.immediate || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether a packet that is sent anyway should carry an ACK frame: something ack-eliciting is unreported
    /// (RFC 9000 §13.2.1).
    #[must_use]
    pub fn can_ack(&self) -> bool {
        self.unreported > 0
    }

    /// When an ACK frame must go out at the latest, if it waits for company.
    #[must_use]
    pub fn ack_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The ranges to report, newest first, and so in descending order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<PacketNumber>> + '_ {
        let from = self.report_from;
        let known = move |range: &&RangeInclusive<PacketNumber>| *range.end() >= from;
        self.ranges.iter().rev().take_while(known).map(move |range| (*range.start()).max(from)..=*range.end())
    }

    /// How long the packet with the largest number has waited: the ACK Delay field, not yet scaled.
    #[must_use]
    pub fn ack_delay(&self, now: Instant) -> Duration {
        self.largest_time.map_or(Duration::ZERO, |received| now.saturating_duration_since(received))
    }

    /// The ECN counts to report; `None` while no marked packet arrived (RFC 9000 §13.4.1).
    #[must_use]
    pub fn ecn_counts(&self) -> Option<EcnCounts> {
        (self.ecn != EcnCounts::default()).then_some(self.ecn)
    }

    /// An ACK frame with the current ranges, up to `largest`, was put into a packet.
    pub fn on_ack_sent(&mut self, largest: PacketNumber) {
        self.largest_reported = self.largest_reported.max(Some(largest));
        self.unreported = 0;
        self.immediate = false;
        self.deadline = None;
    }

    /// The peer received an ACK frame of ours whose largest number was `largest` (RFC 9000 §13.2.4).
    ///
    /// The ranges stay known, for duplicates; a packet that fills a gap later is still reported.
    pub fn on_ack_acked(&mut self, largest: PacketNumber) {
        // The largest number received is in every ACK frame, as ECN validation at the peer needs it.
        let newest = self.largest().unwrap_or(0);
        self.report_from = self.report_from.max((largest + 1).min(newest));
    }
}
