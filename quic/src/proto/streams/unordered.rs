//! Received data for a reader that takes pieces as they arrive, in any order, each byte once.
//!
//! Large pieces are passed on as they are. Small ones are copied into pages with a map of the bytes that are there, and
//! one of those that were not read; so whatever the peer sends, and in whatever pieces, it costs little more memory than
//! the flow control window: what lies behind the first gap is within it (see `RecvPart::consume`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, Bytes};

use super::assembler::ones;

/// Bytes of stream that one page covers.
const PAGE: u64 = 4096;
/// Pieces shorter than this are copied.
const SMALL: usize = 256;
/// A page of few bytes begins with this much memory.
const SMALL_PAGE: usize = 512;
/// Words of a page's map.
const WORDS: usize = PAGE as usize / 64;

#[derive(Debug, Default)]
pub(super) struct Unordered {
    /// All before this offset has been received.
    received: u64,
    /// Pieces as they came.
    chunks: VecDeque<(u64, Bytes)>,
    /// Bytes that have arrived, each counted once.
    arrived: u64,
    /// Pages with gaps, and those that were not read, by number: what lies far ahead costs no more than itself.
    pages: BTreeMap<u64, Box<Page>>,
    /// Those of them that have something to read. Others may stand before and between them, as many as a window has.
    readable: BTreeSet<u64>,
    /// Bytes in pages that were not read.
    unread: usize,
}

impl Unordered {
    /// Goes on where an ordered reader has received everything up to here.
    pub(super) fn new(received: u64) -> Self {
        Self { received, arrived: received, ..Self::default() }
    }

    /// Bytes that have arrived, with those behind gaps, each counted once.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// What pages take up at most, bytes.
    pub(super) fn paged(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// Everything before this offset has been received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Nothing waits to be read.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.unread == 0
    }

    /// Something that was received in order before, and is not read yet.
    pub(super) fn push_ready(&mut self, offset: u64, data: Bytes) {
        self.chunks.push_back((offset, data));
    }

    /// Takes a piece; true if there is more to read than before. With `copy`, no memory of `data` is kept.
    pub(super) fn insert(&mut self, mut offset: u64, mut data: Bytes, copy: bool) -> bool {
        let known = usize::try_from(self.received.saturating_sub(offset)).unwrap_or(usize::MAX);
        if known >= data.len() {
            return false;
        }
        data.advance(known);
        offset += known as u64;
        let end = offset + data.len() as u64;
        let pass_on = data.len() >= SMALL && !copy;
        if pass_on && offset == self.received && self.pages.is_empty() {
            self.arrived += data.len() as u64;
            self.received = end;
            self.chunks.push_back((offset, data));
            return true;
        }
        let mut news = true;
        if pass_on && !self.overlaps(offset, end) {
            self.write(offset, end, None);
            self.chunks.push_back((offset, data));
        } else {
            let before = self.unread;
            self.write(offset, end, Some(&data));
            news = self.unread > before;
        }
        self.advance();
        news
    }

    /// A piece that was not read yet: the first one that came, or one that lies before it.
    pub(super) fn read(&mut self) -> Option<(u64, Bytes)> {
        let chunk = self.chunks.front().map(|(offset, _)| *offset);
        if let Some(number) = self.readable.first().copied()
            && let Some(page) = self.pages.get_mut(&number)
        {
            let (start, at) = (number * PAGE, page.first_unread());
            if chunk.is_none_or(|chunk| start + at as u64 <= chunk) {
                let data = page.take(at);
                self.unread -= data.len();
                if page.unread_count == 0 {
                    self.readable.remove(&number);
                    if start + PAGE <= self.received {
                        self.pages.remove(&number);
                    }
                }
                return Some((start + at as u64, data));
            }
        }
        self.chunks.pop_front()
    }

    /// Drops all data.
    pub(super) fn discard(&mut self) {
        *self = Self::new(self.received);
    }

    fn overlaps(&self, offset: u64, end: u64) -> bool {
        pieces(offset, end).any(|(number, at, len)| {
            self.pages
                .get(&number)
                .is_some_and(|page| words(at, len).any(|(word, mask)| page.present(word) & mask != 0))
        })
    }

    /// Marks a range as received; with data, those bytes of it that are new are there to be read.
    fn write(&mut self, offset: u64, end: u64, mut data: Option<&[u8]>) {
        for (number, at, len) in pieces(offset, end) {
            let page = self.pages.entry(number).or_default();
            match data.and_then(|data| data.split_at_checked(len)) {
                Some((piece, rest)) => {
                    let new = page.put(at, piece);
                    self.unread += new;
                    self.arrived += new as u64;
                    if new > 0 {
                        self.readable.insert(number);
                    }
                    data = Some(rest);
                }
                None => {
                    page.mark(at, len);
                    self.arrived += len as u64;
                }
            }
        }
    }

    /// Moves the end of what was received without a gap.
    fn advance(&mut self) {
        while let Entry::Occupied(page) = self.pages.entry(self.received / PAGE) {
            let at = (self.received % PAGE) as usize;
            let run = page.get().run(at) as u64;
            self.received += run;
            if run == 0 || !self.received.is_multiple_of(PAGE) {
                break;
            }
            if page.get().unread_count == 0 {
                page.remove();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let pages: usize = self.pages.values().map(|page| page.data.len()).sum();
        self.chunks.iter().map(|(_, data)| data.len()).sum::<usize>() + pages
    }

    #[cfg(test)]
    fn memory(&self) -> usize {
        let chunks = self.chunks.iter().map(|(_, data)| data.len()).sum::<usize>();
        let pages =
            self.pages.values().map(|page| size_of::<(u64, Box<Page>, Page)>() + page.data.capacity());
        chunks + pages.sum::<usize>() + self.chunks.capacity() * size_of::<(u64, Bytes)>()
    }
}

/// The parts of a range by page: number, position in it, length.
fn pieces(mut offset: u64, end: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let (number, at) = (offset / PAGE, offset % PAGE);
        let len = (PAGE - at).min(end.saturating_sub(offset));
        offset += len;
        #[expect(clippy::cast_possible_truncation, reason = "within a page")]
        (len > 0).then_some((number, at as usize, len as usize))
    })
}

/// The words of a map that a range touches, and which of their bits.
fn words(at: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = at + len;
    (at / 64..end.div_ceil(64)).map(move |word| {
        let (from, to) = (at.saturating_sub(word * 64), (end - word * 64).min(64));
        (word, u64::MAX >> (64 - (to - from)) << from)
    })
}

#[derive(Debug)]
struct Page {
    /// One bit per byte that is there.
    present: [u64; WORDS],
    /// One bit per byte that was not read.
    unread: [u64; WORDS],
    unread_count: usize,
    /// As long as the highest byte to be read demands.
    data: Vec<u8>,
}

impl Default for Page {
    fn default() -> Self {
        Self { present: [0; WORDS], unread: [0; WORDS], unread_count: 0, data: Vec::new() }
    }
}

impl Page {
    fn present(&self, word: usize) -> u64 {
        self.present.get(word).copied().unwrap_or(u64::MAX)
    }

    /// Adds the bytes that are not there yet; returns how many.
    fn put(&mut self, at: usize, piece: &[u8]) -> usize {
        let end = at + piece.len();
        if self.data.len() < end {
            if self.data.capacity() < end {
                // Not twice as much as before, which may be nearly two pages.
                let size = if end <= SMALL_PAGE { SMALL_PAGE } else { PAGE as usize };
                self.data.reserve_exact(size - self.data.len());
            }
            self.data.resize(end, 0);
        }
        let before = self.unread_count;
        for (word, mask) in words(at, piece.len()) {
            let new = mask & !self.present(word);
            let mut bits = new;
            while bits != 0 {
                // A run of ones.
                let from = bits.trailing_zeros() as usize;
                let len = (bits >> from).trailing_ones() as usize;
                let (start, end) = (word * 64 + from, word * 64 + from + len);
                if let (Some(to), Some(from)) =
                    (self.data.get_mut(start..end), piece.get(start - at..end - at))
                {
                    to.copy_from_slice(from);
                }
                bits &= !(u64::MAX >> (64 - len) << from);
            }
            if let (Some(present), Some(unread)) = (self.present.get_mut(word), self.unread.get_mut(word)) {
                (*present, *unread) = (*present | new, *unread | new);
                self.unread_count += new.count_ones() as usize;
            }
        }
        self.unread_count - before
    }

    /// Marks bytes as there, and as read.
    fn mark(&mut self, at: usize, len: usize) {
        for (word, mask) in words(at, len) {
            if let Some(present) = self.present.get_mut(word) {
                *present |= mask;
            }
        }
    }

    fn run(&self, at: usize) -> usize {
        ones(&self.present, at)
    }

    /// Where the first byte is that was not read; there is one.
    fn first_unread(&self) -> usize {
        let word = self.unread.iter().position(|word| *word != 0).unwrap_or_default();
        word * 64 + self.unread.get(word).map_or(0, |word| word.trailing_zeros() as usize)
    }

    /// Takes a run of bytes that were not read.
    fn take(&mut self, at: usize) -> Bytes {
        let len = ones(&self.unread, at);
        for (word, mask) in words(at, len) {
            if let Some(unread) = self.unread.get_mut(word) {
                *unread &= !mask;
            }
        }
        self.unread_count -= len;
        let data = Bytes::copy_from_slice(self.data.get(at..at + len).unwrap_or_default());
        if self.unread_count == 0 {
            self.data = Vec::new();
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(range: std::ops::Range<u64>) -> Bytes {
        range.map(|i| (i ^ (i >> 8)) as u8).collect()
    }

    fn read_all(buffer: &mut Unordered) -> Vec<(u64, Bytes)> {
        let all: Vec<_> = std::iter::from_fn(|| buffer.read()).collect();
        assert!(buffer.is_empty());
        all
    }

    #[test]
    fn memory_is_taken_for_what_arrived_however_far_ahead_it_lies() {
        let mut buffer = Unordered::default();
        buffer.insert(1 << 61, content(0..1), false);
        assert!(buffer.memory() < 8192, "{}", buffer.memory());
        assert_eq!(read_all(&mut buffer).len(), 1);
    }

    #[test]
    fn a_page_that_grows_takes_up_no_more_than_a_page() {
        let mut buffer = Unordered::default();
        for offset in [4094, 4095] {
            buffer.insert(offset, content(offset..offset + 1), false);
        }
        assert!(buffer.memory() < 6000, "{}", buffer.memory());
    }

    #[test]
    fn large_pieces_are_passed_on_wherever_they_belong() {
        let mut buffer = Unordered::default();
        let data = content(0..30_000);
        for at in [0, 10_000, 20_000, 11_000, 1_000] {
            assert!(buffer.insert(at, data.slice(at as usize..at as usize + 1_000), false));
        }
        let read = read_all(&mut buffer);
        assert_eq!(read.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10_000, 20_000, 11_000, 1_000]);
        for (at, piece) in read {
            assert_eq!(piece.as_ptr(), data[at as usize..].as_ptr());
        }
        assert_eq!(buffer.received(), 2_000);
        assert!(!buffer.insert(500, data.slice(500..1_500), false));
    }

    #[test]
    fn single_bytes_with_gaps_cost_little_more_than_the_window() {
        const WINDOW: u64 = 1 << 20;
        let mut buffer = Unordered::default();
        for at in (1..WINDOW).step_by(2) {
            assert!(buffer.insert(at, content(at..at + 1), false));
            assert!(!buffer.insert(at, content(at..at + 1), false));
        }
        assert!(buffer.memory() < WINDOW as usize * 3 / 2, "{}", buffer.memory());
        assert_eq!(read_all(&mut buffer).len(), WINDOW as usize / 2);
        assert!(buffer.memory() < WINDOW as usize / 3, "{}", buffer.memory());
        for at in (0..WINDOW).step_by(2) {
            assert!(buffer.insert(at, content(at..at + 1), false));
        }
        assert_eq!(read_all(&mut buffer).len(), WINDOW as usize / 2);
        assert_eq!(buffer.received(), WINDOW);
        assert!(buffer.memory() < 16 * 1024, "{}", buffer.memory());
    }

    #[test]
    fn nothing_is_left_behind_a_stream_that_goes_on() {
        let mut buffer = Unordered::default();
        for at in (0..4_000_000).step_by(1_000) {
            // Every other packet overtakes the one before, and small ones are among them.
            for (at, len) in [(at + 500, 500), (at + 100, 400), (at, 100)] {
                assert!(buffer.insert(at, content(at..at + len), false));
            }
            assert_eq!(read_all(&mut buffer).iter().map(|(_, piece)| piece.len()).sum::<usize>(), 1_000);
            assert!(buffer.memory() < 16 * 1024, "{}", buffer.memory());
        }
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_every_byte_once(
            pieces in prop::collection::vec((0u64..20_000, 1u64..3000, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let mut buffer = Unordered::default();
            let mut present = vec![false; 23_000];
            let mut read = vec![false; 23_000];
            let mut check = |buffer: &mut Unordered| {
                for (at, piece) in read_all(buffer) {
                    assert_eq!(piece, content(at..at + piece.len() as u64));
                    for read in &mut read[at as usize..at as usize + piece.len()] {
                        assert!(!std::mem::replace(read, true), "twice");
                    }
                }
                read.clone()
            };
            for (offset, len, copy, read_now) in pieces {
                let range = offset as usize..(offset + len) as usize;
                let new = present[range.clone()].iter().any(|there| !there);
                prop_assert_eq!(buffer.insert(offset, content(offset..offset + len), copy), new);
                present[range].fill(true);
                let prefix = present.iter().take_while(|there| **there).count() as u64;
                prop_assert_eq!(buffer.received(), prefix);
                if read_now {
                    prop_assert_eq!(&check(&mut buffer), &present);
                }
            }
            prop_assert_eq!(check(&mut buffer), present);
        }
    }
}
