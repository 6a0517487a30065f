//! What waits by level, and within a level in the order in which it came.

use std::collections::{BTreeMap, VecDeque};

/// What has a level, and fills a queue.
pub(crate) trait Leveled {
    /// Higher ones are sent first, and dropped last.
    fn level(&self) -> i32;

    /// What it counts for, bytes; more than none.
    fn weight(&self) -> usize;
}

/// A queue for each level that occurs.
#[derive(Debug)]
pub(crate) struct Levels<T> {
    /// Level 0, where most are.
    normal: Level<T>,
    /// The other levels; none is empty.
    others: BTreeMap<i32, Level<T>>,
    /// Of all.
    weight: usize,
}

#[derive(Debug)]
struct Level<T> {
    queue: VecDeque<T>,
    weight: usize,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), weight: 0 }
    }
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self { normal: Level::default(), others: BTreeMap::new(), weight: 0 }
    }
}

impl<T: Leveled> Levels<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// Lets go of room that nothing takes up.
    pub(crate) fn release_spare(&mut self) {
        self.normal.queue.shrink_to_fit();
    }

    /// Of all that waits, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// The level that sends first.
    pub(crate) fn highest(&self) -> Option<i32> {
        let other = self.others.last_key_value().map(|(level, _)| *level);
        if self.normal.queue.is_empty() { other } else { other.max(Some(0)) }
    }

    /// The level that is dropped first.
    fn lowest(&self) -> Option<i32> {
        let other = self.others.first_key_value().map(|(level, _)| *level);
        if self.normal.queue.is_empty() { other } else { Some(other.map_or(0, |level| level.min(0))) }
    }

    /// If so much of this level fits beside what waits. Of what is larger than the whole queue one fits if nothing else
    /// is there.
    pub(crate) fn fits(&self, capacity: usize, weight: usize) -> bool {
        self.is_empty() || self.weight.saturating_add(weight) <= capacity
    }

    /// If it would once all gave way that does not matter more.
    pub(crate) fn could_fit(&self, capacity: usize, level: i32, weight: usize) -> bool {
        let normal = if level < 0 { self.normal.weight } else { 0 };
        let above: usize =
            self.others.iter().rev().take_while(|(other, _)| **other > level).map(|(_, of)| of.weight).sum();
        let stays = normal + above;
        stays == 0 || stays.saturating_add(weight) <= capacity
    }

    pub(crate) fn push(&mut self, item: T) {
        let weight = item.weight();
        let of = match item.level() {
            0 => &mut self.normal,
            level => self.others.entry(level).or_default(),
        };
        of.weight += weight;
        of.queue.push_back(item);
        self.weight += weight;
    }

    /// The next to be sent.
    pub(crate) fn front(&self) -> Option<&T> {
        match self.highest()? {
            0 => self.normal.queue.front(),
            level => self.others.get(&level)?.queue.front(),
        }
    }

    /// Takes the next to be sent.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_of(self.highest()?)
    }

    /// Takes the first to be dropped: the oldest of the lowest level.
    pub(crate) fn evict(&mut self) -> Option<T> {
        self.pop_of(self.lowest()?)
    }

    fn pop_of(&mut self, level: i32) -> Option<T> {
        let item = if level == 0 {
            self.normal.pop()?
        } else {
            let of = self.others.get_mut(&level)?;
            let item = of.pop()?;
            if of.queue.is_empty() {
                self.others.remove(&level);
            }
            item
        };
        self.weight -= item.weight();
        Some(item)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.normal.retain(&mut keep);
        self.others.retain(|_, of| {
            of.retain(&mut keep);
            !of.queue.is_empty()
        });
        self.weight = self.normal.weight + self.others.values().map(|of| of.weight).sum::<usize>();
    }
}

impl<T: Leveled> Level<T> {
    fn pop(&mut self) -> Option<T> {
        let item = self.queue.pop_front()?;
        self.weight -= item.weight();
        Some(item)
    }

    fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let weight = &mut self.weight;
        self.queue.retain(|item| {
            let keeps = keep(item);
            *weight -= if keeps { 0 } else { item.weight() };
            keeps
        });
    }
}
