//! What was received in one space: for recognising duplicates, for acknowledging, and for deciding when to.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::packet::{Ecn, EcnCounts, PacketNumber, SpaceId};

/// Ranges that are remembered; beyond that the oldest are, and packets that old are refused.
const MAX_RANGES: usize = 64;

/// An ACK frame goes out after so many ack-eliciting packets (RFC 9000 §13.2.2).
const ELICITING_THRESHOLD: u32 = 2;

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
    /// How long an acknowledgment may wait; none in the spaces of the handshake.
    max_ack_delay: Duration,
    /// Ack-eliciting packets since the last ACK frame was sent.
    unreported: u32,
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
            max_ack_delay: if space == SpaceId::Data { max_ack_delay } else { Duration::ZERO },
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
        if ack_eliciting {
            self.on_ack_eliciting(received, pn, run_start, ecn);
        }
    }

    fn on_ack_eliciting(
        &mut self,
        received: Instant,
        pn: PacketNumber,
        run_start: PacketNumber,
        ecn: Option<Ecn>,
    ) {
        self.unreported += 1;
        // RFC 9000 §13.2.1: out of order, or packets are missing just before it.
        let expected =
            self.largest_eliciting.map_or(run_start == 0, |largest| pn > largest && run_start <= largest);
        self.largest_eliciting = self.largest_eliciting.max(Some(pn));
        self.immediate |= !expected
            || ecn == Some(Ecn::Ce)
            || self.max_ack_delay.is_zero()
            || self.unreported >= ELICITING_THRESHOLD;
        self.deadline.get_or_insert(received + self.max_ack_delay);
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

    /// An ACK frame with the current ranges was put into a packet.
    pub fn on_ack_sent(&mut self) {
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
