//! Whether a path carries ECN marks, and whether the peer reports them (RFC 9000 §13.4.2 and §A.4).

use crate::packet::{Ecn, EcnCounts, SpaceId};

/// Packets that are marked before the first mark must have been reported.
const TESTING_PACKETS: u32 = 10;

/// ECN validation of one path.
#[derive(Debug, Clone)]
pub struct EcnValidation {
    state: State,
    /// Marked packets sent, by space.
    sent: [u64; 3],
    /// The counts of the last ACK frame that was validated, by space.
    reported: [EcnCounts; 3],
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum State {
    /// The first packets are marked.
    Testing {
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
        let state = if enabled { State::Testing { lost: 0 } } else { State::Failed };
        Self { state, sent: [0; 3], reported: [EcnCounts::default(); 3] }
    }

    /// The mark for the next datagram.
    #[must_use]
    pub fn mark(&self) -> Option<Ecn> {
        match self.state {
            State::Testing { .. } if self.sent.iter().sum::<u64>() < u64::from(TESTING_PACKETS) => {
                Some(Ecn::Ect0)
            }
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
    pub fn on_marked_sent(&mut self, space: SpaceId) {
        self.sent[space.index()] += 1;
    }

    /// Marked packets were declared lost: if that is the fate of all of them, the marks may be the cause.
    pub fn on_marked_lost(&mut self, packets: u32) {
        if let State::Testing { lost } = &mut self.state {
            *lost += packets;
            if *lost >= TESTING_PACKETS {
                self.state = State::Failed;
            }
        }
    }

    /// An ACK frame raised the largest acknowledged packet number and newly acknowledged `marked` packets that left
    /// with ECT(0). True if the network marked more packets since the last time (RFC 9002 §B.7).
    pub fn on_ack(&mut self, space: SpaceId, marked: u64, counts: Option<EcnCounts>) -> bool {
        if self.state == State::Failed {
            return false;
        }
        let Some(counts) = counts else {
            if marked > 0 {
                self.state = State::Failed;
            }
            return false;
        };
        let before = std::mem::replace(&mut self.reported[space.index()], counts);
        let (Some(ect0), Some(ce)) = (counts.ect0.checked_sub(before.ect0), counts.ce.checked_sub(before.ce))
        else {
            self.state = State::Failed;
            return false;
        };
        let plausible =
            counts.ect1 == 0 && counts.ect0 <= self.sent[space.index()] && ect0.saturating_add(ce) >= marked;
        if !plausible {
            self.state = State::Failed;
            return false;
        }
        if marked > 0 {
            self.state = State::Capable;
        }
        ce > 0
    }
}
