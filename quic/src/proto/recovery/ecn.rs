//! Whether a path carries ECN marks, and whether the peer reports them (RFC 9000 §13.4.2 and §A.4).

use crate::packet::{Ecn, EcnCounts};

/// Packets that are marked before the first mark must have been reported.
const TESTING_PACKETS: u32 = 10;

/// ECN validation of one path.
#[derive(Debug, Clone)]
pub struct EcnValidation {
    state: State,
}

/// What is known of marks in one packet number space, over all paths: the peer does not tell them apart.
#[derive(Debug, Default, Clone)]
pub struct EcnReports {
    /// Marked packets sent.
    sent: u64,
    /// The counts of the last ACK frame that raised the largest acknowledged packet number.
    reported: EcnCounts,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum State {
    /// The first packets are marked.
    Testing {
        sent: u32,
        lost: u32,
    },
    Capable,
    /// Nothing is marked any more.
    Failed,
}

impl EcnValidation {
    /// For a new path; nothing is ever marked unless `enabled`.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        let state = if enabled { State::Testing { sent: 0, lost: 0 } } else { State::Failed };
        Self { state }
    }

    /// The mark for the next datagram.
    #[must_use]
    pub fn mark(&self) -> Option<Ecn> {
        match self.state {
            State::Testing { sent, .. } if sent < TESTING_PACKETS => Some(Ecn::Ect0),
            State::Capable => Some(Ecn::Ect0),
            State::Testing { .. } | State::Failed => None,
        }
    }

    /// Whether the path is known to carry marks.
    #[must_use]
    pub fn is_capable(&self) -> bool {
        self.state == State::Capable
    }

    /// A packet was sent in a marked datagram.
    pub fn on_marked_sent(&mut self, reports: &mut EcnReports) {
        reports.sent += 1;
        if let State::Testing { sent, .. } = &mut self.state {
            *sent += 1;
        }
    }

    /// Marked packets were declared lost: if that is the fate of all of them, the marks may be the cause.
    pub fn on_marked_lost(&mut self, packets: u32) {
        if let State::Testing { lost, .. } = &mut self.state {
            *lost += packets;
            if *lost >= TESTING_PACKETS {
                self.state = State::Failed;
            }
        }
    }

    /// An ACK frame raised the largest acknowledged packet number and newly acknowledged `marked` packets of this
    /// path that left with ECT(0). True if the network marked more packets since the last time (RFC 9002 §B.7).
    ///
    /// Marks of the network in an ACK frame for packets of other paths only say nothing about this one.
    pub fn on_ack(&mut self, reports: &mut EcnReports, marked: u64, counts: Option<EcnCounts>) -> bool {
        let before = counts.map(|counts| std::mem::replace(&mut reports.reported, counts));
        if self.state == State::Failed {
            return false;
        }
        let (Some(counts), Some(before)) = (counts, before) else {
            if marked > 0 {
                self.state = State::Failed;
            }
            return false;
        };
        let (Some(ect0), Some(ce)) = (counts.ect0.checked_sub(before.ect0), counts.ce.checked_sub(before.ce))
        else {
            self.state = State::Failed;
            return false;
        };
        let plausible = counts.ect1 == 0 && counts.ect0 <= reports.sent && ect0.saturating_add(ce) >= marked;
        if !plausible {
            self.state = State::Failed;
            return false;
        }
        if marked > 0 {
            self.state = State::Capable;
        }
        ce > 0 && marked > 0
    }
}
