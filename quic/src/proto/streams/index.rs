//! From stream ID to slot.
//!
//! The streams in use mostly have neighbouring IDs: a window that slides along finds them without hashing. The few
//! that outlive the window move to a map.

use std::collections::{HashMap, VecDeque};

use super::table::{NONE, Slot};
use crate::packet::StreamId;

/// Entries of a window.
const SPAN: u64 = 4096;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the two low bits of the stream ID.
    windows: [Window; 4],
    /// The peer chooses who gets here, hence the keyed hash of the standard library. Never iterated.
    stragglers: HashMap<StreamId, Slot>,
}

#[derive(Debug, Default)]
struct Window {
    /// The index of the stream that the first entry is for.
    first: u64,
    slots: VecDeque<Slot>,
}

impl Window {
    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }
}

impl Index {
    pub(super) fn get(&self, id: StreamId) -> Option<Slot> {
        let window = self.window(id);
        let at = id.index().checked_sub(window.first).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| window.slots.get(at)) {
            Some(slot) => (*slot != NONE).then_some(*slot),
            None => self.stragglers.get(&id).copied(),
        }
    }

    /// Lets go of room; to be called where no stream is left.
    pub(super) fn release_spare(&mut self) {
        for window in &mut self.windows {
            window.first += window.slots.len() as u64;
            window.slots = VecDeque::new();
        }
        self.stragglers = HashMap::new();
    }

    pub(super) fn insert(&mut self, id: StreamId, slot: Slot) {
        let index = id.index();
        let kind = id.as_u64() & 3;
        let Some(window) = usize::try_from(kind).ok().and_then(|kind| self.windows.get_mut(kind)) else {
            return;
        };
        if index < window.first {
            self.stragglers.insert(id, slot);
            return;
        }
        while index - window.first >= SPAN {
            match window.slots.pop_front() {
                Some(NONE) => {}
                Some(old) => {
                    self.stragglers.insert(StreamId::from_u64(window.first << 2 | kind), old);
                }
                None => {
                    window.first = index;
                    break;
                }
            }
            window.first += 1;
        }
        let at = usize::try_from(index - window.first).unwrap_or(usize::MAX);
        if at >= window.slots.len() {
            window.slots.resize(at + 1, NONE);
        }
        if let Some(place) = window.slots.get_mut(at) {
            *place = slot;
        }
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        let kind = usize::try_from(id.as_u64() & 3).unwrap_or_default();
        let Some(window) = self.windows.get_mut(kind) else { return };
        let Some(slot) = window.slot_mut(id.index()) else {
            self.stragglers.remove(&id);
            return;
        };
        *slot = NONE;
        while window.slots.front() == Some(&NONE) {
            window.slots.pop_front();
            window.first += 1;
        }
    }

    fn window(&self, id: StreamId) -> &Window {
        let [a, b, c, d] = &self.windows;
        match id.as_u64() & 3 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_does_not_grow_with_the_number_of_streams_that_came_and_went() {
        let mut index = Index::default();
        index.insert(StreamId::from_u64(0), 7);
        for n in 1..100_000 {
            let id = StreamId::from_u64(n << 2);
            index.insert(id, 8);
            assert_eq!(index.get(id), Some(8));
            index.remove(id);
            assert_eq!(index.get(id), None);
        }
        assert_eq!(index.get(StreamId::from_u64(0)), Some(7));
        assert!(index.windows[0].slots.capacity() <= 2 * SPAN as usize);
        assert!(index.stragglers.len() <= 1);
        index.insert(StreamId::from_u64(1 << 61), 9);
        assert_eq!(index.get(StreamId::from_u64(1 << 61)), Some(9));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), 0u64..30_000), 0..200)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (n, (insert, id)) in steps.into_iter().enumerate() {
                let id = StreamId::from_u64(id);
                if insert {
                    model.entry(id).or_insert_with(|| {
                        index.insert(id, n as u32);
                        n as u32
                    });
                } else if model.remove(&id).is_some() {
                    index.remove(id);
                }
                for (id, slot) in &model {
                    prop_assert_eq!(index.get(*id), Some(*slot));
                }
                prop_assert_eq!(index.get(id), model.get(&id).copied());
            }
        }
    }
}
