//! Streams that send one after another: the most urgent first, and of those the one with the lowest ID.
//!
//! A heap whose members know their place in it, so that any of them can leave. Joining and leaving cost the logarithm of
//! the number of members; looking who is first costs nothing.

use std::cmp::Reverse;

use super::table::{Queue, Slot, Table};
use crate::packet::StreamId;

/// Memory for so many members is kept.
const KEEP: usize = 64;

/// The member that is first compares least.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    level: Reverse<i32>,
    id: StreamId,
    slot: Slot,
}

#[derive(Debug)]
pub(super) struct InOrder {
    queue: Queue,
    heap: Vec<Entry>,
}

impl InOrder {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, heap: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The stream that is first, and its level.
    pub(super) fn first(&self) -> Option<(i32, Slot)> {
        self.heap.first().map(|entry| (entry.level.0, entry.slot))
    }

    /// Takes in a stream that is in no queue of this kind.
    pub(super) fn push(&mut self, table: &mut Table, slot: Slot, level: i32) {
        let Some(stream) = table.get(slot) else { return };
        let entry = Entry { level: Reverse(level), id: stream.id, slot };
        self.heap.push(entry);
        self.rise(table, self.heap.len() - 1, entry);
    }

    /// Lets go of a member.
    pub(super) fn remove(&mut self, table: &mut Table, slot: Slot) {
        let Some(at) = table.place(self.queue, slot) else { return };
        table.set_place(self.queue, slot, None);
        let Some(last) = self.heap.pop() else { return };
        if at < self.heap.len() {
            let at = self.sink(table, at, last);
            self.rise(table, at, last);
        } else if self.heap.is_empty() && self.heap.capacity() > KEEP {
            self.heap = Vec::new();
        }
    }

    /// Puts `entry` where it belongs, at `at` or above.
    fn rise(&mut self, table: &mut Table, mut at: usize, entry: Entry) {
        while at > 0
            && let Some(above) = self.heap.get((at - 1) / 2).copied().filter(|above| entry < *above)
        {
            self.put(table, at, above);
            at = (at - 1) / 2;
        }
        self.put(table, at, entry);
    }

    /// Makes room for `entry` where it belongs, at `at` or below; returns where that is.
    fn sink(&mut self, table: &mut Table, mut at: usize, entry: Entry) -> usize {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let child = children.into_iter().filter_map(|child| Some((*self.heap.get(child)?, child))).min();
            match child {
                Some((below, child)) if below < entry => {
                    self.put(table, at, below);
                    at = child;
                }
                _ => return at,
            }
        }
    }

    fn put(&mut self, table: &mut Table, at: usize, entry: Entry) {
        if let Some(place) = self.heap.get_mut(at) {
            *place = entry;
            table.set_place(self.queue, entry.slot, Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_least_of_those_that_are_in(steps in prop::collection::vec((0u64..40, -2i32..3), 1..300)) {
            let mut table = Table::default();
            let slots: Vec<_> = (0..40).map(|n| table.insert(StreamId::from_u64(n * 4))).collect();
            let mut queue = InOrder::new(Queue::Fresh);
            let mut model = std::collections::BTreeMap::new();
            for (n, level) in steps {
                let slot = slots[n as usize];
                if table.get(slot).unwrap().is_queued(Queue::Fresh) {
                    queue.remove(&mut table, slot);
                    model.retain(|_, at| *at != slot);
                } else {
                    queue.push(&mut table, slot, level);
                    model.insert((Reverse(level), n), slot);
                }
                let first = model.first_key_value().map(|((level, _), slot)| (level.0, *slot));
                prop_assert_eq!(queue.first(), first);
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                for (at, entry) in queue.heap.iter().enumerate() {
                    prop_assert_eq!(table.place(Queue::Fresh, entry.slot), Some(at));
                }
            }
        }
    }
}
