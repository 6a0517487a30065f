//! Datagrams by level, and within a level in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use super::OutgoingDatagram;

/// A queue for each level that occurs.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Level 0, where most are.
    normal: VecDeque<OutgoingDatagram>,
    /// The other levels; none is empty.
    others: BTreeMap<i32, VecDeque<OutgoingDatagram>>,
}

impl Levels {
    pub(super) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.others.is_empty()
    }

    /// The level that sends first.
    pub(super) fn highest(&self) -> Option<i32> {
        let other = self.others.last_key_value().map(|(level, _)| *level);
        if self.normal.is_empty() { other } else { other.max(Some(0)) }
    }

    /// The level that is dropped first.
    pub(super) fn lowest(&self) -> Option<i32> {
        let other = self.others.first_key_value().map(|(level, _)| *level);
        if self.normal.is_empty() { other } else { Some(other.map_or(0, |level| level.min(0))) }
    }

    pub(super) fn push(&mut self, datagram: OutgoingDatagram) {
        let queue = match datagram.level {
            0 => &mut self.normal,
            level => self.others.entry(level).or_default(),
        };
        queue.push_back(datagram);
    }

    /// The next to be sent.
    pub(super) fn front(&self) -> Option<&OutgoingDatagram> {
        match self.highest()? {
            0 => self.normal.front(),
            level => self.others.get(&level)?.front(),
        }
    }

    /// Takes the oldest of a level.
    pub(super) fn pop(&mut self, level: i32) -> Option<OutgoingDatagram> {
        if level == 0 {
            return self.normal.pop_front();
        }
        let queue = self.others.get_mut(&level)?;
        let datagram = queue.pop_front();
        if queue.is_empty() {
            self.others.remove(&level);
        }
        datagram
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&OutgoingDatagram) -> bool) {
        self.normal.retain(&mut keep);
        self.others.retain(|_, queue| {
            queue.retain(&mut keep);
            !queue.is_empty()
        });
    }
}
