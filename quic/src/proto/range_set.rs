//! A set of numbers, kept as sorted ranges that neither overlap nor touch.
//!
//! Growing at the tail and shrinking at the front, which is what an undisturbed connection does, take constant time.

use std::collections::VecDeque;
use std::ops::Range;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RangeSet(VecDeque<Range<u64>>);

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the content; keeps the memory unless it is much.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
        if self.0.capacity() > 16 {
            self.0 = VecDeque::new();
        }
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.0.front().cloned()
    }

    pub(crate) fn pop_first(&mut self) -> Option<Range<u64>> {
        self.0.pop_front()
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        let at = self.0.partition_point(|range| range.end <= value);
        self.0.get(at).is_some_and(|range| range.start <= value)
    }

    /// The ranges that have a number in common with `with`, ascending.
    pub(crate) fn overlapping(&self, with: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.0.partition_point(|range| range.end <= with.start);
        self.0.range(first..).take_while(move |range| range.start < with.end).cloned()
    }

    pub(crate) fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        match self.0.back_mut() {
            Some(last) if last.end < new.start => return self.0.push_back(new),
            Some(last) if last.start <= new.start => {
                last.end = last.end.max(new.end);
                return;
            }
            Some(_) => {}
            None => return self.0.push_back(new),
        }
        let first = self.0.partition_point(|range| range.end < new.start);
        let past = self.0.partition_point(|range| range.start <= new.end);
        if first >= past {
            return self.0.insert(first, new);
        }
        let end = self.0.get(past - 1).map_or(new.end, |range| range.end.max(new.end));
        if let Some(range) = self.0.get_mut(first) {
            *range = range.start.min(new.start)..end;
        }
        self.0.drain(first + 1..past);
    }

    pub(crate) fn remove(&mut self, gone: Range<u64>) {
        let first = self.0.partition_point(|range| range.end <= gone.start);
        let past = self.0.partition_point(|range| range.start < gone.end);
        if gone.is_empty() || first >= past {
            return;
        }
        let head = self.0.get(first).map_or(0..0, |range| range.start..gone.start);
        let tail = self.0.get(past - 1).map_or(0..0, |range| gone.end..range.end);
        self.0.drain(first..past);
        if !tail.is_empty() {
            self.0.insert(first, tail);
        }
        if !head.is_empty() {
            self.0.insert(first, head);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..80)) {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for (insert, start, len) in steps {
                if insert {
                    set.insert(start..start + len);
                    model.extend(start..start + len);
                } else {
                    set.remove(start..start + len);
                    model.retain(|value| !(start..start + len).contains(value));
                }
                for value in 0..75 {
                    prop_assert_eq!(set.contains(value), model.contains(&value));
                }
                let ranges: Vec<_> = set.overlapping(0..u64::MAX).collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", ranges);
                prop_assert_eq!(ranges.len(), set.len());
                prop_assert_eq!(ranges.first().cloned(), set.first());
            }
        }
    }

    #[test]
    fn overlapping_leaves_out_neighbours_that_only_touch() {
        let mut set = RangeSet::default();
        for start in [0, 10, 20, 30] {
            set.insert(start..start + 5);
        }
        assert_eq!(set.overlapping(5..21).collect::<Vec<_>>(), [10..15, 20..25]);
        assert_eq!(set.overlapping(15..20).count(), 0);
        assert_eq!(set.pop_first(), Some(0..5));
        set.clear();
        assert!(set.is_empty());
    }
}
