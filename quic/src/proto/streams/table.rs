//! The records of all streams in use, and intrusive lists of those that need attention.
//!
//! A stream that nobody touches is in no list and costs nothing per packet. Records of ended streams are used again.

use slab::Slab;

use super::index::Index;
use super::recv::RecvPart;
use super::send::SendPart;
use crate::packet::{Priority, StreamId};
use crate::wire::VarInt;

/// Where the record of a stream is.
pub(super) type Slot = u32;

/// No slot.
pub(super) const NONE: Slot = Slot::MAX;

/// Records of ended streams that are kept for the next ones.
const SPARE: usize = 16;

/// The lists that a stream can be in.
#[derive(Debug, Copy, Clone)]
pub(super) enum Queue {
    /// Has events for the application.
    Events,
    /// Has control frames to send.
    Control,
    /// Has data to send that costs no flow control credit: lost bytes, or a bare FIN.
    Repair,
    /// Has new data to send, and credit of its own for it.
    Fresh,
    /// Has new data to send and no credit of its own.
    Blocked,
}

const QUEUES: usize = 5;

#[derive(Debug, Copy, Clone)]
struct Link {
    previous: Slot,
    next: Slot,
}

/// The two ends of a list whose links are in the streams.
#[derive(Debug)]
pub(super) struct List {
    head: Slot,
    tail: Slot,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl List {
    pub(super) fn first(&self) -> Option<Slot> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// A set of small enum values.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    pub(super) fn clear(&mut self, flag: u8) {
        self.0 &= !flag;
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// True if the flag was set; it is not any longer.
    pub(super) fn take(&mut self, flag: u8) -> bool {
        let had = self.has(flag);
        self.clear(flag);
        had
    }

    /// Clears all other flags.
    pub(super) fn keep(&mut self, flags: Self) {
        self.0 &= flags.0;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Everything about one stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: SendPart,
    pub(super) recv: RecvPart,
    pub(super) priority: Priority,
    /// Bytes that may be sent before it is the next stream's turn.
    pub(super) turn: u64,
    /// Events to tell, see `event`.
    pub(super) events: Flags,
    /// Control frames to send, see `control`.
    pub(super) control: Flags,
    /// Bytes released since that was last told.
    pub(super) acked: u64,
    /// The code of STOP_SENDING.
    pub(super) stop_code: VarInt,
    /// Its first frame arrived before the handshake.
    pub(super) early: bool,
    /// The peer reset it unasked, or stopped it.
    pub(super) abandoned: bool,
    queued: Flags,
    links: [Link; QUEUES],
}

impl Stream {
    fn new(id: StreamId) -> Self {
        Self {
            id,
            send: SendPart::absent(),
            recv: RecvPart::absent(),
            priority: Priority::default(),
            turn: 0,
            events: Flags::default(),
            control: Flags::default(),
            acked: 0,
            stop_code: VarInt::default(),
            early: false,
            abandoned: false,
            queued: Flags::default(),
            links: [Link { previous: NONE, next: NONE }; QUEUES],
        }
    }

    /// As new, but for the memory; both parts are absent.
    fn reuse(&mut self, id: StreamId) {
        self.send.close();
        self.recv.close();
        (self.id, self.turn, self.acked) = (id, 0, 0);
        (self.priority, self.events, self.control, self.queued) = Default::default();
    }

    pub(super) fn is_queued(&self, queue: Queue) -> bool {
        self.queued.has(1 << queue as u8)
    }

    fn link(&mut self, queue: Queue) -> Option<&mut Link> {
        self.links.get_mut(queue as usize)
    }
}

/// All streams in use.
#[derive(Debug, Default)]
pub(super) struct Table {
    streams: Slab<Box<Stream>>,
    index: Index,
    #[expect(clippy::vec_box, reason = "they go back into `streams` as they are")]
    spare: Vec<Box<Stream>>,
    /// How often a record was looked at: what streams cost, whatever else the machine does.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<u64>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn find(&self, id: StreamId) -> Option<Slot> {
        self.index.get(id)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Stream> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.streams.get(slot as usize).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Stream> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.streams.get_mut(slot as usize).map(AsMut::as_mut)
    }

    pub(super) fn slots(&self) -> Vec<Slot> {
        self.streams.iter().filter_map(|(slot, _)| Slot::try_from(slot).ok()).collect()
    }

    /// A record with both parts absent.
    pub(super) fn insert(&mut self, id: StreamId) -> Slot {
        let stream = match self.spare.pop() {
            Some(mut stream) => {
                stream.reuse(id);
                stream
            }
            None => Box::new(Stream::new(id)),
        };
        // Memory ends long before 2^32 streams are open at a time.
        let slot = Slot::try_from(self.streams.insert(stream)).unwrap_or(NONE);
        self.index.insert(id, slot);
        slot
    }

    /// Removes a stream that is in no list.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(mut stream) = self.streams.try_remove(slot as usize) else { return };
        debug_assert!(stream.queued.is_empty());
        self.index.remove(stream.id);
        if self.spare.len() < SPARE {
            stream.send.close();
            stream.recv.close();
            self.spare.push(stream);
        }
    }

    /// Room that no stream takes up, records.
    #[cfg(test)]
    pub(super) fn spare(&self) -> usize {
        self.spare.capacity() + self.streams.capacity() - self.streams.len()
    }

    /// Lets go of room that no stream takes up.
    pub(super) fn release_spare(&mut self) {
        self.spare = Vec::new();
        if self.streams.is_empty() {
            self.streams = Slab::new();
            self.index.release_spare();
        }
    }

    /// Where a stream stands in a queue that is not a list.
    pub(super) fn place(&self, queue: Queue, slot: Slot) -> Option<usize> {
        let stream = self.get(slot).filter(|stream| stream.is_queued(queue))?;
        stream.links.get(queue as usize).map(|link| link.previous as usize)
    }

    /// Notes where a stream stands in such a queue, or that it has left it.
    pub(super) fn set_place(&mut self, queue: Queue, slot: Slot, place: Option<usize>) {
        let Some(stream) = self.get_mut(slot) else { return };
        let flag = 1 << queue as u8;
        match place {
            Some(_) => stream.queued.set(flag),
            None => stream.queued.clear(flag),
        }
        if let Some(link) = stream.link(queue) {
            link.previous = place.and_then(|place| Slot::try_from(place).ok()).unwrap_or(NONE);
        }
    }

    /// Appends a stream to a list, unless it is in it.
    pub(super) fn push(&mut self, list: &mut List, queue: Queue, slot: Slot) {
        let Some(stream) = self.get_mut(slot).filter(|stream| !stream.is_queued(queue)) else { return };
        stream.queued.set(1 << queue as u8);
        if let Some(link) = stream.link(queue) {
            *link = Link { previous: list.tail, next: NONE };
        }
        match self.get_mut(list.tail).and_then(|last| last.link(queue)) {
            Some(last) => last.next = slot,
            None => list.head = slot,
        }
        list.tail = slot;
    }

    /// Takes a stream out of a list, if it is in it.
    pub(super) fn unlink(&mut self, list: &mut List, queue: Queue, slot: Slot) {
        let Some(stream) = self.get_mut(slot).filter(|stream| stream.is_queued(queue)) else { return };
        stream.queued.clear(1 << queue as u8);
        let Some(Link { previous, next }) = stream.link(queue).copied() else { return };
        match self.get_mut(previous).and_then(|stream| stream.link(queue)) {
            Some(link) => link.next = next,
            None => list.head = next,
        }
        match self.get_mut(next).and_then(|stream| stream.link(queue)) {
            Some(link) => link.previous = previous,
            None => list.tail = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(table: &Table, list: &List, queue: Queue) -> Vec<Slot> {
        let follow =
            |slot: &Slot| Some(table.get(*slot)?.links[queue as usize].next).filter(|slot| *slot != NONE);
        std::iter::successors(list.first(), follow).collect()
    }

    #[test]
    fn lists_keep_their_order_when_members_leave() {
        let mut table = Table::default();
        let mut list = List::default();
        let slots: Vec<_> = (0..4).map(|n| table.insert(StreamId::from_u64(n))).collect();
        for slot in slots.iter().chain(&slots) {
            table.push(&mut list, Queue::Control, *slot);
        }
        assert_eq!(content(&table, &list, Queue::Control), slots);
        table.unlink(&mut list, Queue::Control, slots[1]);
        table.unlink(&mut list, Queue::Control, slots[1]);
        table.push(&mut list, Queue::Control, slots[1]);
        assert_eq!(content(&table, &list, Queue::Control), [slots[0], slots[2], slots[3], slots[1]]);
        table.unlink(&mut list, Queue::Control, slots[0]);
        table.unlink(&mut list, Queue::Control, slots[1]);
        assert_eq!(content(&table, &list, Queue::Control), [slots[2], slots[3]]);
        table.unlink(&mut list, Queue::Control, slots[2]);
        table.unlink(&mut list, Queue::Control, slots[3]);
        assert!(list.is_empty());
    }

    #[test]
    fn records_are_used_again() {
        let mut table = Table::default();
        let slot = table.insert(StreamId::from_u64(0));
        let record: *const Stream = table.get(slot).unwrap();
        table.remove(slot);
        assert_eq!((table.len(), table.find(StreamId::from_u64(0))), (0, None));
        let slot = table.insert(StreamId::from_u64(4));
        assert!(std::ptr::eq(record, table.get(slot).unwrap()));
        assert_eq!(table.find(StreamId::from_u64(4)), Some(slot));
    }
}
