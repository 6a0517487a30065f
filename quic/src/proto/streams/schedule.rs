//! Whose turn it is to send: by priority, and in turns among equals.

use smallvec::SmallVec;

use super::table::{List, Queue, Slot, Table};

/// Bytes that a stream may send before the next one of its priority comes: some packets, so that a receiver finds a
/// few streams in a batch rather than all of them.
pub(super) const TURN: u64 = 8 * 1024;

/// Streams in one list per priority that occurs.
#[derive(Debug)]
pub(super) struct Schedule {
    queue: Queue,
    /// Descending; no list is empty.
    levels: SmallVec<[(i32, List); 1]>,
}

impl Schedule {
    /// `queue` is [`Queue::Repair`] or [`Queue::Fresh`].
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, levels: SmallVec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<Slot> {
        self.levels.first().and_then(|(_, list)| list.first())
    }

    /// Puts a stream in, or takes it out.
    pub(super) fn set(&mut self, table: &mut Table, slot: Slot, wanted: bool) {
        let Some(stream) = table.get(slot) else { return };
        match (stream.is_queued(self.queue), wanted) {
            (false, true) => self.push(table, slot, stream.priority),
            (true, false) => self.unlink(table, slot, stream.priority),
            _ => {}
        }
    }

    /// Ends a stream's turn.
    pub(super) fn rotate(&mut self, table: &mut Table, slot: Slot) {
        let Some(stream) = table.get(slot).filter(|stream| stream.is_queued(self.queue)) else { return };
        let priority = stream.priority;
        if let Some((_, list)) = self.levels.iter_mut().find(|(level, _)| *level == priority) {
            table.unlink(list, self.queue, slot);
            table.push(list, self.queue, slot);
        }
        if let Some(stream) = table.get_mut(slot) {
            stream.turn = TURN;
        }
    }

    fn push(&mut self, table: &mut Table, slot: Slot, priority: i32) {
        let at = self.levels.partition_point(|(level, _)| *level > priority);
        if self.levels.get(at).is_none_or(|(level, _)| *level != priority) {
            self.levels.insert(at, (priority, List::default()));
        }
        if let Some((_, list)) = self.levels.get_mut(at) {
            table.push(list, self.queue, slot);
        }
        if let Some(stream) = table.get_mut(slot) {
            stream.turn = TURN;
        }
    }

    fn unlink(&mut self, table: &mut Table, slot: Slot, priority: i32) {
        let at = self.levels.partition_point(|(level, _)| *level > priority);
        let Some((_, list)) = self.levels.get_mut(at) else { return };
        table.unlink(list, self.queue, slot);
        if list.is_empty() {
            self.levels.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::StreamId;

    // covers: R9000-2.3-01
    #[test]
    fn the_most_urgent_level_goes_first_and_equals_take_turns() {
        let mut table = Table::default();
        let mut schedule = Schedule::new(Queue::Fresh);
        let slots: Vec<_> = [0, 5, 0, 5, -1]
            .into_iter()
            .enumerate()
            .map(|(n, priority)| {
                let slot = table.insert(StreamId::from_u64(n as u64));
                table.get_mut(slot).unwrap().priority = priority;
                schedule.set(&mut table, slot, true);
                slot
            })
            .collect();
        let mut order = Vec::new();
        for _ in 0..2 {
            let first = schedule.first().unwrap();
            order.push(first);
            schedule.rotate(&mut table, first);
        }
        while let Some(first) = schedule.first() {
            order.push(first);
            schedule.set(&mut table, first, false);
        }
        assert_eq!(order, [1, 3, 1, 3, 0, 2, 4].map(|n: usize| slots[n]));
        assert!(schedule.is_empty());
    }
}
