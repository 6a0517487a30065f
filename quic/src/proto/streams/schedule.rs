//! Whose turn it is to send: by priority, and among equals in turns or one after another (RFC 9218 §10).

use std::collections::BTreeMap;

use super::in_order::InOrder;
use super::table::{List, Queue, Slot, Table};

/// Bytes that a stream may send before the next one of its priority comes: some packets, so that a receiver finds a
/// few streams in a batch rather than all of them.
pub(super) const TURN: u64 = 8 * 1024;

/// Streams of one level that take turns.
#[derive(Debug, Default)]
struct Level {
    list: List,
    members: u32,
    /// Turns of members before it is the turn of one that is in order.
    left: u32,
}

/// All streams that have something to send. Nothing here costs more where there are more streams, but that joining and
/// leaving those that go in order takes the logarithm of their number.
#[derive(Debug)]
pub(super) struct Schedule {
    queue: Queue,
    /// Level 0, where most are.
    normal: Level,
    /// The other levels; none is empty.
    levels: BTreeMap<i32, Level>,
    /// Streams of all levels that go one after another.
    in_order: InOrder,
}

impl Schedule {
    /// `queue` is [`Queue::Repair`] or [`Queue::Fresh`].
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, normal: Level::default(), levels: BTreeMap::new(), in_order: InOrder::new(queue) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.normal.list.is_empty() && self.levels.is_empty() && self.in_order.is_empty()
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<Slot> {
        match (self.top(), self.in_order.first()) {
            (Some((level, turns)), Some((of_next, next))) => {
                let is_next = of_next > level || (of_next == level && turns.left == 0);
                if is_next { Some(next) } else { turns.list.first() }
            }
            (Some((_, turns)), None) => turns.list.first(),
            (None, next) => next.map(|(_, slot)| slot),
        }
    }

    /// The highest level that has streams which take turns.
    fn top(&self) -> Option<(i32, &Level)> {
        let other = self.levels.last_key_value().map(|(level, turns)| (*level, turns));
        let normal = (!self.normal.list.is_empty()).then_some((0, &self.normal));
        normal.filter(|_| other.is_none_or(|(level, _)| level < 0)).or(other)
    }

    /// Puts a stream in, or takes it out.
    pub(super) fn set(&mut self, table: &mut Table, slot: Slot, wanted: bool) {
        let Some(stream) = table.get(slot) else { return };
        let (priority, is_in) = (stream.priority, stream.is_queued(self.queue));
        match (is_in, wanted, priority.is_incremental()) {
            (false, true, true) => self.push(table, slot, priority.level()),
            (false, true, false) => self.in_order.push(table, slot, priority.level()),
            (true, false, true) => self.unlink(table, slot, priority.level()),
            (true, false, false) => {
                self.in_order.remove(table, slot);
                self.end_turn_in_order(priority.level());
            }
            _ => return,
        }
        if let Some(stream) = table.get_mut(slot).filter(|_| wanted) {
            stream.turn = TURN;
        }
    }

    /// Ends a stream's turn.
    pub(super) fn rotate(&mut self, table: &mut Table, slot: Slot) {
        let queue = self.queue;
        let Some(stream) = table.get_mut(slot).filter(|stream| stream.is_queued(queue)) else { return };
        stream.turn = TURN;
        let priority = stream.priority;
        if !priority.is_incremental() {
            self.end_turn_in_order(priority.level());
        } else if let Some(turns) = self.turns(priority.level()) {
            table.unlink(&mut turns.list, queue, slot);
            table.push(&mut turns.list, queue, slot);
            turns.left = turns.left.saturating_sub(1);
        }
    }

    fn turns(&mut self, level: i32) -> Option<&mut Level> {
        if level == 0 { Some(&mut self.normal) } else { self.levels.get_mut(&level) }
    }

    fn push(&mut self, table: &mut Table, slot: Slot, level: i32) {
        let turns = if level == 0 { &mut self.normal } else { self.levels.entry(level).or_default() };
        table.push(&mut turns.list, self.queue, slot);
        turns.members += 1;
    }

    fn unlink(&mut self, table: &mut Table, slot: Slot, level: i32) {
        let queue = self.queue;
        let Some(turns) = self.turns(level) else { return };
        table.unlink(&mut turns.list, queue, slot);
        turns.members -= 1;
        // It mostly leaves because it has sent all: that was a turn.
        turns.left = turns.left.saturating_sub(1);
        if turns.members == 0 && level != 0 {
            self.levels.remove(&level);
        }
    }

    /// The streams that go in order have had a turn: now each of the others of their level has one.
    fn end_turn_in_order(&mut self, level: i32) {
        if let Some(turns) = self.turns(level) {
            turns.left = turns.members;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Priority, StreamId};

    fn schedule(priorities: &[Priority]) -> (Table, Schedule, Vec<Slot>) {
        let (mut table, mut schedule) = (Table::default(), Schedule::new(Queue::Fresh));
        let slots: Vec<_> =
            (0..priorities.len()).map(|n| table.insert(StreamId::from_u64(n as u64))).collect();
        // Neither the order of arrival nor that of slots counts where streams go one after another.
        for (slot, priority) in slots.iter().zip(priorities).rev() {
            table.get_mut(*slot).unwrap().priority = *priority;
            schedule.set(&mut table, *slot, true);
        }
        (table, schedule, slots)
    }

    /// Whose turns come next, by their numbers.
    fn turns(table: &mut Table, schedule: &mut Schedule, count: usize) -> Vec<u64> {
        let turn = |_| {
            let first = schedule.first().unwrap();
            schedule.rotate(table, first);
            table.get(first).unwrap().id.as_u64()
        };
        (0..count).map(turn).collect()
    }

    fn drain(table: &mut Table, schedule: &mut Schedule) -> Vec<u64> {
        let next = || {
            let first = schedule.first()?;
            schedule.set(table, first, false);
            Some(table.get(first)?.id.as_u64())
        };
        std::iter::from_fn(next).collect()
    }

    // covers: R9000-2.3-01
    #[test]
    fn the_most_urgent_level_goes_first_and_equals_take_turns() {
        let (mut table, mut schedule, _) = schedule(&[0, 5, 0, 5, -1].map(Priority::integer));
        assert_eq!(turns(&mut table, &mut schedule, 3), [3, 1, 3]);
        assert_eq!(drain(&mut table, &mut schedule), [1, 3, 2, 0, 4]);
        assert!(schedule.is_empty());
    }

    // covers: R9218-10-01, R9218-10-02, R9218-10-03, R9218-10-04
    #[test]
    fn what_is_not_incremental_goes_by_urgency_and_then_in_the_order_of_ids() {
        let urgency = |urgency| Priority::urgency(urgency, false);
        let (mut table, mut schedule, slots) = schedule(&[3, 7, 3, 0, 3].map(urgency));
        assert_eq!(turns(&mut table, &mut schedule, 3), [3, 3, 3], "until it has no more");
        schedule.set(&mut table, slots[3], false);
        assert_eq!(turns(&mut table, &mut schedule, 2), [0, 0]);
        schedule.set(&mut table, slots[0], false);
        assert_eq!(turns(&mut table, &mut schedule, 2), [2, 2]);
        schedule.set(&mut table, slots[0], true);
        assert_eq!(drain(&mut table, &mut schedule), [0, 2, 4, 1]);
        assert!(schedule.is_empty());
    }

    // covers: R9218-10-05
    #[test]
    fn both_kinds_at_one_level_take_turns() {
        let priorities = [(3, false), (3, true), (3, false), (3, true), (4, true)];
        let priorities = priorities.map(|(urgency, incremental)| Priority::urgency(urgency, incremental));
        let (mut table, mut schedule, slots) = schedule(&priorities);
        assert_eq!(turns(&mut table, &mut schedule, 7), [0, 3, 1, 0, 3, 1, 0]);
        schedule.set(&mut table, slots[0], false);
        assert_eq!(turns(&mut table, &mut schedule, 4), [3, 1, 2, 3]);
        schedule.set(&mut table, slots[1], false);
        schedule.set(&mut table, slots[3], false);
        assert_eq!(turns(&mut table, &mut schedule, 2), [2, 2]);
        assert_eq!(drain(&mut table, &mut schedule), [2, 4]);
    }

    #[test]
    fn streams_that_come_and_go_do_not_starve_those_in_order() {
        let priorities = [Priority::urgency(3, false), Priority::default(), Priority::default()];
        let (mut table, mut schedule, slots) = schedule(&priorities);
        let mut served = [0; 3];
        for _ in 0..300 {
            let first = schedule.first().unwrap();
            served[table.get(first).unwrap().id.as_u64() as usize] += 1;
            // Each sends all it has, and has more at once.
            schedule.set(&mut table, first, false);
            schedule.set(&mut table, first, true);
        }
        assert_eq!(served, [100, 100, 100]);
        assert_eq!(slots.len(), 3);
    }
}
