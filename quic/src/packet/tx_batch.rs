//! A GSO batch under construction: equal segments to one destination, the last may be shorter.

use super::{Ecn, FourTuple};

/// What all datagrams of a batch have in common.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct TxMeta {
    /// Where the datagrams go, and from where.
    pub path: FourTuple,
    /// The ECN mark they leave with.
    pub ecn: Option<Ecn>,
}

/// Datagrams that leave in one system call.
///
/// The buffer is lent to a connection for one turn and keeps its memory. The type owns the invariants of segmentation
/// offload: at most `max_segments` datagrams and [`TxBatch::MAX_BYTES`] bytes, all of one length except that the last
/// may be shorter, and then nothing follows it.
#[derive(Debug)]
pub struct TxBatch {
    buf: Vec<u8>,
    meta: Option<TxMeta>,
    /// Length of the first datagram, and so of each but the last; 0 while empty.
    segment_size: usize,
    segments: usize,
    max_segments: usize,
    /// Where the datagram under construction begins.
    start: usize,
}

impl TxBatch {
    /// No UDP datagram over IPv4 carries more; GSO batches are bounded by it as well.
    pub const MAX_BYTES: usize = 65_507;
    /// What the kernels we know accept.
    pub const MAX_SEGMENTS: usize = 64;

    /// An empty batch that takes at most `max_segments` datagrams (1 where GSO is off).
    #[must_use]
    pub fn new(max_segments: usize) -> Self {
        Self {
            buf: Vec::new(),
            meta: None,
            segment_size: 0,
            segments: 0,
            max_segments: max_segments.clamp(1, Self::MAX_SEGMENTS),
            start: 0,
        }
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        (self.meta, self.segment_size, self.segments, self.start) = (None, 0, 0, 0);
    }

    /// Sets how many datagrams a batch may have, from now on.
    pub fn set_max_segments(&mut self, max_segments: usize) {
        self.max_segments = max_segments.clamp(1, Self::MAX_SEGMENTS);
    }

    /// The bytes of all finished datagrams.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(..self.start).unwrap_or_default()
    }

    /// Length of each datagram but perhaps the last, bytes.
    #[must_use]
    pub fn segment_size(&self) -> usize {
        self.segment_size
    }

    /// Number of finished datagrams.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// True if no datagram is finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments == 0
    }

    /// Destination and ECN mark, once a datagram was begun.
    #[must_use]
    pub fn meta(&self) -> Option<TxMeta> {
        self.meta
    }

    /// How long the next datagram may be, given that `size` bytes would be wanted; `None` if the batch is full,
    /// goes elsewhere, or ended with a short datagram.
    #[must_use]
    pub fn room(&self, meta: TxMeta, size: usize) -> Option<usize> {
        if self.segments == 0 {
            return (size <= Self::MAX_BYTES).then_some(size);
        }
        let full = self.segments >= self.max_segments
            || self.start != self.segments * self.segment_size
            || self.start + self.segment_size > Self::MAX_BYTES;
        (!full && self.meta == Some(meta)).then_some(self.segment_size.min(size))
    }

    /// Begins a datagram. The caller appends to the buffer and calls [`TxBatch::finish`] or [`TxBatch::abandon`].
    ///
    /// Offsets in the buffer count from the start of the batch; the datagram begins at its present length.
    pub fn begin(&mut self, meta: TxMeta) -> &mut Vec<u8> {
        self.buf.truncate(self.start);
        if self.segments == 0 {
            self.meta = Some(meta);
        }
        &mut self.buf
    }

    /// Takes the datagram under construction into the batch and returns its length.
    pub fn finish(&mut self) -> usize {
        let len = self.buf.len() - self.start;
        if len == 0 {
            return 0;
        }
        if self.segments == 0 {
            self.segment_size = len;
        }
        debug_assert!(len <= self.segment_size && self.segments < self.max_segments);
        self.segments += 1;
        self.start = self.buf.len();
        len
    }

    /// Drops the datagram under construction.
    pub fn abandon(&mut self) {
        self.buf.truncate(self.start);
        if self.segments == 0 {
            self.meta = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SocketId;

    fn meta(port: u16) -> TxMeta {
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote: ([127, 0, 0, 1], port).into() };
        TxMeta { path, ecn: None }
    }

    fn push(batch: &mut TxBatch, len: usize) {
        let buf = batch.begin(meta(1));
        buf.extend(std::iter::repeat_n(0, len));
        assert_eq!(batch.finish(), len);
    }

    #[test]
    fn only_the_last_segment_may_be_short() {
        let mut batch = TxBatch::new(4);
        assert_eq!(batch.room(meta(1), 1452), Some(1452));
        push(&mut batch, 1452);
        assert_eq!(batch.room(meta(1), 1500), Some(1452));
        assert_eq!(batch.room(meta(2), 1452), None, "one destination");
        push(&mut batch, 100);
        assert_eq!(batch.room(meta(1), 100), None, "nothing follows a short one");
        assert_eq!((batch.segments(), batch.bytes().len(), batch.segment_size()), (2, 1552, 1452));
        batch.clear();
        assert!(batch.is_empty() && batch.meta().is_none());
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let mut batch = TxBatch::new(100);
        while batch.room(meta(1), 1452).is_some() {
            push(&mut batch, 1452);
        }
        assert_eq!(batch.segments(), TxBatch::MAX_BYTES / 1452);
        let mut batch = TxBatch::new(100);
        while batch.room(meta(1), 100).is_some() {
            push(&mut batch, 100);
        }
        assert_eq!(batch.segments(), TxBatch::MAX_SEGMENTS);
    }

    #[test]
    fn an_abandoned_datagram_leaves_nothing() {
        let mut batch = TxBatch::new(4);
        batch.begin(meta(1)).push(1);
        batch.abandon();
        assert!(batch.is_empty() && batch.meta().is_none() && batch.bytes().is_empty());
    }
}
