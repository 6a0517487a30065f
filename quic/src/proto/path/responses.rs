//! Answers to the peer's PATH_CHALLENGE frames on one path (RFC 9000 §8.2.2).

use std::collections::VecDeque;

/// A peer that sends more challenges than we answer gets the newest ones answered.
const MAX_PENDING: usize = 4;

/// Answers that wait for a packet on their path. They are not repeated when lost (RFC 9000 §13.3).
#[derive(Debug, Default)]
pub struct PathResponses(VecDeque<[u8; 8]>);

impl PathResponses {
    /// Queues the answer to a challenge. Of too many the oldest is dropped: then false.
    pub fn push(&mut self, data: [u8; 8]) -> bool {
        let room = self.0.len() < MAX_PENDING;
        if !room {
            self.0.pop_front();
        }
        self.0.push_back(data);
        room
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next answer.
    pub fn next(&self) -> Option<[u8; 8]> {
        self.0.front().copied()
    }

    /// That answer is in a packet.
    pub fn sent(&mut self) {
        self.0.pop_front();
    }
}
