//! What a stream has to send: chunks as the application handed them over, until the peer has acknowledged them.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::proto::range_set::RangeSet;

#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    /// Contiguous; all before the first one is acknowledged.
    chunks: VecDeque<Chunk>,
    /// Where the last chunk read from stands: the next read is mostly there or in the one after.
    hint: usize,
    /// All before this offset is acknowledged.
    acked: u64,
    /// Acknowledged beyond `acked`.
    acked_ahead: RangeSet,
    /// Sent, lost, and not sent again since.
    lost: RangeSet,
    /// All before this offset was sent at least once.
    sent: u64,
    /// All before this offset was written.
    end: u64,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    data: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }
}

impl SendBuffer {
    /// Appends data of the application.
    pub(super) fn write(&mut self, data: Bytes) {
        if !data.is_empty() {
            let chunk = Chunk { start: self.end, data };
            self.end = chunk.end();
            self.chunks.push_back(chunk);
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The first range that was lost and is not on its way again.
    pub(super) fn lost(&self) -> Option<Range<u64>> {
        self.lost.first()
    }

    pub(super) fn is_all_acked(&self) -> bool {
        self.acked == self.end
    }

    /// Appends the bytes of a range that was written and is not acknowledged.
    pub(super) fn copy(&mut self, range: Range<u64>, out: &mut Vec<u8>) {
        let mut at = range.start;
        let mut index = self.find(at);
        while at < range.end {
            let Some(chunk) = self.chunks.get(index) else {
                debug_assert!(false, "no data at {at}");
                return;
            };
            #[expect(clippy::cast_possible_truncation, reason = "offsets within a chunk")]
            let within = (at - chunk.start) as usize..(range.end.min(chunk.end()) - chunk.start) as usize;
            out.extend_from_slice(chunk.data.get(within).unwrap_or_default());
            self.hint = index;
            at = chunk.end();
            index += 1;
        }
    }

    fn find(&self, offset: u64) -> usize {
        let here = |index: usize| {
            self.chunks.get(index).is_some_and(|chunk| chunk.start <= offset && offset < chunk.end())
        };
        if here(self.hint) {
            self.hint
        } else if here(self.hint + 1) {
            self.hint + 1
        } else {
            self.chunks.partition_point(|chunk| chunk.end() <= offset)
        }
    }

    /// A range has been put into a packet.
    pub(super) fn on_sent(&mut self, range: Range<u64>) {
        if range.end > self.sent {
            self.sent = range.end;
        } else {
            self.lost.remove(range);
        }
    }

    /// A range has arrived. Returns how many bytes are released by that.
    pub(super) fn on_acked(&mut self, range: Range<u64>) -> u64 {
        let range = range.start.max(self.acked)..range.end.min(self.sent);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start > self.acked {
            self.acked_ahead.insert(range);
            return 0;
        }
        let before = self.acked;
        self.acked = range.end;
        while let Some(next) = self.acked_ahead.first().filter(|next| next.start <= self.acked) {
            self.acked = self.acked.max(next.end);
            self.acked_ahead.pop_first();
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.acked) {
            self.chunks.pop_front();
            self.hint = self.hint.saturating_sub(1);
        }
        self.acked - before
    }

    /// A range may have been lost: what of it has not arrived by another way is to be sent again.
    pub(super) fn on_lost(&mut self, range: Range<u64>) {
        let range = range.start.max(self.acked)..range.end.min(self.sent);
        if range.is_empty() {
            return;
        }
        self.lost.insert(range.clone());
        if !self.acked_ahead.is_empty() {
            for arrived in self.acked_ahead.overlapping(range) {
                self.lost.remove(arrived);
            }
        }
    }

    /// Drops all data from an offset on, as if it had never been written; what of it has arrived stays. Returns how many
    /// bytes are released by that.
    pub(super) fn truncate(&mut self, at: u64) -> u64 {
        let at = at.max(self.acked);
        let released = self.end.saturating_sub(at);
        self.end = self.end.min(at);
        self.sent = self.sent.min(at);
        while let Some(chunk) = self.chunks.back_mut().filter(|chunk| chunk.end() > at) {
            #[expect(clippy::cast_possible_truncation, reason = "shorter than the chunk")]
            chunk.data.truncate(at.saturating_sub(chunk.start) as usize);
            if chunk.data.is_empty() {
                self.chunks.pop_back();
            }
        }
        self.lost.remove(at..u64::MAX);
        self.acked_ahead.remove(at..u64::MAX);
        released
    }

    /// Drops all data; what was sent stays counted.
    pub(super) fn discard(&mut self) {
        self.chunks.clear();
        if self.chunks.capacity() > 16 {
            self.chunks = VecDeque::new();
        }
        self.lost.clear();
        self.acked_ahead.clear();
        self.hint = 0;
    }

    /// As new, but for the memory.
    pub(super) fn reset(&mut self) {
        self.discard();
        (self.acked, self.sent, self.end) = (0, 0, 0);
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(chunks: &[usize]) -> SendBuffer {
        let mut buffer = SendBuffer::default();
        let mut next = 0u64;
        for len in chunks {
            buffer.write((0..*len as u64).map(|i| (next + i) as u8).collect());
            next += *len as u64;
        }
        buffer
    }

    fn send(buffer: &mut SendBuffer, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        buffer.copy(range.clone(), &mut out);
        buffer.on_sent(range);
        out
    }

    #[test]
    fn data_is_released_in_order_and_only_once() {
        let mut buffer = filled(&[10, 10, 10]);
        send(&mut buffer, 0..30);
        assert_eq!(buffer.on_acked(5..25), 0);
        assert_eq!(buffer.chunks(), 3);
        assert_eq!(buffer.on_acked(0..5), 25);
        assert_eq!(buffer.chunks(), 1);
        assert_eq!(buffer.on_acked(0..25), 0);
        assert!(!buffer.is_all_acked());
        assert_eq!(buffer.on_acked(20..30), 5);
        assert!(buffer.is_all_acked());
    }

    #[test]
    fn only_what_did_not_arrive_is_sent_again() {
        let mut buffer = filled(&[30]);
        send(&mut buffer, 0..30);
        buffer.on_acked(10..20);
        buffer.on_lost(0..30);
        assert_eq!(buffer.lost(), Some(0..10));
        assert_eq!(send(&mut buffer, 0..10), (0..10).collect::<Vec<u8>>());
        assert_eq!(buffer.lost(), Some(20..30));
        buffer.on_acked(20..30);
        assert_eq!(buffer.lost(), None, "arrived after all");
        buffer.on_lost(0..10);
        assert_eq!(buffer.lost(), Some(0..10), "lost again");
        assert_eq!(buffer.on_acked(0..10), 30);
        buffer.on_lost(0..30);
        assert_eq!(buffer.lost(), None);
    }

    #[test]
    fn a_range_never_sent_is_neither_acknowledged_nor_lost() {
        let mut buffer = filled(&[30]);
        send(&mut buffer, 0..10);
        assert_eq!(buffer.on_acked(0..30), 10);
        buffer.on_lost(5..30);
        assert_eq!(buffer.lost(), None);
        assert!(!buffer.is_all_acked());
    }

    proptest! {
        #[test]
        fn any_range_reads_back_what_was_written(
            chunks in prop::collection::vec(1usize..40, 1..20),
            reads in prop::collection::vec((0u64..600, 0u64..90), 1..40),
            acked in 0u64..300,
        ) {
            let mut buffer = filled(&chunks);
            let end = buffer.end();
            buffer.on_sent(0..end);
            buffer.on_acked(0..acked.min(end));
            for (start, len) in reads {
                let start = start.clamp(acked.min(end), end);
                let range = start..(start + len).min(end);
                let expected: Vec<u8> = range.clone().map(|i| i as u8).collect();
                prop_assert_eq!(send(&mut buffer, range), expected);
            }
        }
    }
}
