//! Senders that wait for room, in the order in which they came.

use std::task::Waker;

use super::super::waiters::{Waiters, Woken};

/// A line in which nobody is held up by one that was called and does not come: it is passed over, and keeps its place for
/// when it does. Lives inside the lock of the queue.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: Waiters,
    /// So many of the first were called and did not come. It is the turn of the next, and of these at any time.
    passed: usize,
    turn: Turn,
    /// The one whose turn it is has come for so many bytes, and found less room; 0 if it has not.
    wants: usize,
}

/// How it stands with the one whose turn it is.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
enum Turn {
    /// It waits for room.
    #[default]
    Waits,
    /// It was woken since there is room.
    Called,
    /// And the task has seen that it has not come yet.
    Late,
}

impl Line {
    /// Whether who holds this ticket, or has just come, need not wait for others.
    pub(super) fn may_go(&self, ticket: Option<u64>) -> bool {
        let place = ticket.and_then(|ticket| self.waiters.position(ticket));
        place.unwrap_or(self.waiters.len()) <= self.passed
    }

    /// Waits for room for so many bytes at the end of the line, or where it did before.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, wants: usize, waker: &Waker) {
        self.waiters.register(ticket, waker);
        let place = ticket.and_then(|ticket| self.waiters.position(ticket));
        if let Some(place) = place.filter(|place| *place <= self.passed) {
            // It has come, and wants to be called again.
            (self.passed, self.turn, self.wants) = (place, Turn::Waits, wants);
        }
    }

    /// Leaves the line. True if it was its turn: then it is that of another.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        match self.waiters.remove(ticket) {
            Some(place) if place < self.passed => {
                self.passed -= 1;
                false
            }
            Some(place) if place == self.passed => {
                (self.turn, self.wants) = (Turn::Waits, 0);
                true
            }
            _ => false,
        }
    }

    /// There is room: the one whose turn it is, unless it was called already.
    pub(super) fn call(&mut self) -> Option<Waker> {
        if self.turn != Turn::Waits {
            return None;
        }
        let waker = self.waiters.waker_at(self.passed)?;
        self.turn = Turn::Called;
        Some(waker)
    }

    /// So many bytes have to fit before it is worth calling the one whose turn it is, as far as that is known.
    pub(super) fn wants(&self) -> usize {
        self.wants
    }

    /// Whether somebody was called and has not come.
    pub(super) fn is_called(&self) -> bool {
        self.turn != Turn::Waits
    }

    /// For the task, once a turn while there is room: who was called had time since the last turn. If it has not come, the
    /// next is called.
    pub(super) fn pass_on(&mut self) -> Option<Waker> {
        match self.turn {
            Turn::Waits => None,
            Turn::Called => {
                self.turn = Turn::Late;
                None
            }
            Turn::Late => {
                self.passed += 1;
                (self.turn, self.wants) = (Turn::Waits, 0);
                self.call()
            }
        }
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> Woken {
        (self.passed, self.turn, self.wants) = (0, Turn::Waits, 0);
        self.waiters.take()
    }
}
