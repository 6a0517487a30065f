//! Puts received data in order.
//!
//! Data that arrives in order is passed on as it is, without a copy. Data that arrives early is copied into pages with a
//! map of the bytes that are there: whatever the peer sends, and in whatever pieces, that costs little more memory
//! than the flow control window and constant time per byte.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of stream that one page covers.
const PAGE: usize = 4096;
/// A page of few bytes begins with this much memory.
const SMALL_PAGE: usize = 512;
/// Pieces shorter than this are joined while they wait.
const SMALL: usize = 256;
/// Joined pieces are passed on in chunks of about this size.
const JOINED: usize = 16 * 1024;

/// The receive buffer of one ordered sequence of bytes.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// All before this offset has been received.
    received: u64,
    ready: Ready,
    early: Pages,
}

impl Assembler {
    /// Everything before this offset has been received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Takes a piece; true if there is more to read than before.
    ///
    /// With `copy`, no memory of `data` is kept: it pins more than it is worth.
    pub(crate) fn insert(&mut self, offset: u64, mut data: Bytes, copy: bool) -> bool {
        let end = offset.saturating_add(data.len() as u64);
        if end <= self.received {
            return false;
        }
        if offset > self.received {
            self.early.insert(offset, &data);
            return false;
        }
        data.advance(usize::try_from(self.received - offset).unwrap_or(usize::MAX).min(data.len()));
        self.received = end;
        self.ready.push(data, copy);
        if !self.early.is_empty() {
            self.take_early();
        }
        true
    }

    /// The next chunk in order.
    pub(crate) fn read(&mut self) -> Option<Bytes> {
        self.ready.pop()
    }

    /// Takes out all data that waits behind a gap, in pieces, each with its offset.
    pub(super) fn take_gapped(&mut self) -> impl Iterator<Item = (u64, Bytes)> + use<> {
        let Pages(pages) = std::mem::take(&mut self.early);
        let received = self.received;
        pages.into_iter().flat_map(move |(number, page)| {
            let start = number * PAGE as u64;
            let mut at = usize::try_from(received.saturating_sub(start)).unwrap_or(PAGE);
            let next = move || {
                at += page.gap(at);
                let run = page.run(at);
                let piece = Bytes::copy_from_slice(page.data.get(at..at + run)?);
                at += run;
                (run > 0).then_some((start + (at - run) as u64, piece))
            };
            std::iter::from_fn(next)
        })
    }

    /// What pages of data behind a gap take up, bytes.
    pub(super) fn paged(&self) -> u64 {
        (self.early.0.len() * PAGE) as u64
    }

    /// Drops all data and gives back memory, all but a little.
    pub(crate) fn discard(&mut self) {
        self.ready.clear();
        self.early = Pages::default();
    }

    /// As new, but for the memory.
    pub(crate) fn reset(&mut self) {
        self.discard();
        self.received = 0;
    }

    /// Moves what has become in order out of the pages.
    fn take_early(&mut self) {
        loop {
            let (number, at) = split(self.received);
            let Some(page) = self.early.page(number) else { return };
            let run = page.run(at);
            if run == PAGE {
                self.ready.push(self.early.take_first(), false);
            } else if run > 0 {
                self.ready.join(page.data.get(at..at + run).unwrap_or_default());
            } else {
                return;
            }
            self.received += run as u64;
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let ready: usize = self.ready.chunks.iter().map(Bytes::len).sum();
        ready + self.ready.joined.len() + self.early.0.values().map(|page| page.data.len()).sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let ready: usize = self.ready.chunks.iter().map(|data| data.len() + size_of::<Bytes>()).sum();
        let pages = self.early.0.values();
        let pages: usize = pages.map(|page| page.data.capacity() + size_of::<(u64, Box<Page>, Page)>()).sum();
        ready + self.ready.joined.capacity() + pages
    }
}

/// Data in order that waits to be read.
#[derive(Debug, Default)]
struct Ready {
    chunks: VecDeque<Bytes>,
    /// What follows: small pieces, copied together.
    joined: BytesMut,
}

impl Ready {
    fn push(&mut self, data: Bytes, copy: bool) {
        let waiting = !self.chunks.is_empty() || !self.joined.is_empty();
        if copy || (data.len() < SMALL && waiting) {
            self.join(&data);
        } else {
            self.pass_joined();
            self.chunks.push_back(data);
        }
    }

    fn join(&mut self, data: &[u8]) {
        if self.joined.len() + data.len() > JOINED {
            self.pass_joined();
        }
        self.joined.extend_from_slice(data);
    }

    fn pass_joined(&mut self) {
        if !self.joined.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.joined).freeze());
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.pass_joined();
        }
        self.chunks.pop_front()
    }

    fn clear(&mut self) {
        self.chunks.clear();
        if self.chunks.capacity() > 16 {
            self.chunks = VecDeque::new();
        }
        self.joined = BytesMut::new();
    }
}

fn split(offset: u64) -> (u64, usize) {
    #[expect(clippy::cast_possible_truncation, reason = "below the size of a page")]
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

/// Data beyond a gap, by number of the page: however far ahead it lies, it costs no more than itself.
#[derive(Debug, Default)]
struct Pages(BTreeMap<u64, Box<Page>>);

impl Pages {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, offset: u64, mut data: &[u8]) {
        let (mut number, mut at) = split(offset);
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(PAGE - at));
            self.0.entry(number).or_default().write(at, piece);
            (number, at, data) = (number + 1, 0, rest);
        }
    }

    /// The page of this number, if it is the first one that is still wanted and has data.
    fn page(&mut self, number: u64) -> Option<&mut Page> {
        while self.0.first_key_value().is_some_and(|(first, _)| *first < number) {
            self.0.pop_first();
        }
        self.0.get_mut(&number).map(AsMut::as_mut)
    }

    /// Takes the first page as one chunk.
    fn take_first(&mut self) -> Bytes {
        self.0.pop_first().map_or_else(Bytes::new, |(_, page)| Bytes::from(page.data))
    }
}

#[derive(Debug)]
struct Page {
    /// One bit per byte that is there.
    present: [u64; PAGE / 64],
    /// As long as the highest byte demands.
    data: Vec<u8>,
}

impl Default for Page {
    fn default() -> Self {
        Self { present: [0; PAGE / 64], data: Vec::new() }
    }
}

impl Page {
    fn write(&mut self, at: usize, piece: &[u8]) {
        let end = at + piece.len();
        if self.data.len() < end {
            let size = if end <= SMALL_PAGE { SMALL_PAGE } else { PAGE };
            self.data.reserve_exact(size - self.data.len());
            self.data.resize(end, 0);
        }
        if let Some(place) = self.data.get_mut(at..end) {
            place.copy_from_slice(piece);
        }
        for (index, word) in self.present.iter_mut().enumerate().take(end.div_ceil(64)).skip(at / 64) {
            let from = at.saturating_sub(index * 64);
            let to = (end - index * 64).min(64);
            *word |= (u64::MAX >> (64 - (to - from))) << from;
        }
    }

    /// How many bytes are missing from `at` on, before the next that is there.
    fn gap(&self, at: usize) -> usize {
        let mut bits = (at..PAGE)
            .take_while(|bit| self.present.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 0));
        bits.by_ref().count()
    }

    /// How many bytes are there without a gap from `at` on.
    fn run(&self, at: usize) -> usize {
        ones(&self.present, at)
    }
}

/// How many bits of a map are set without a gap from `at` on.
pub(super) fn ones(map: &[u64], at: usize) -> usize {
    let mut run = 0;
    let mut bit = at % 64;
    for word in map.iter().skip(at / 64) {
        let ones = (word >> bit).trailing_ones() as usize;
        run += ones;
        if ones < 64 - bit {
            break;
        }
        bit = 0;
    }
    run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(range: std::ops::Range<u64>) -> Bytes {
        range.map(|i| (i ^ (i >> 8)) as u8).collect()
    }

    fn read_all(assembler: &mut Assembler) -> Vec<u8> {
        std::iter::from_fn(|| assembler.read()).flatten().collect()
    }

    #[test]
    fn data_in_order_is_neither_copied_nor_paged() {
        let mut assembler = Assembler::default();
        let data = content(0..4000);
        for at in [0, 1400, 2800] {
            assert!(assembler.insert(at as u64, data.slice(at..(at + 1400).min(4000)), false));
        }
        for at in [0, 1400, 2800] {
            assert_eq!(assembler.read().unwrap().as_ptr(), data[at..].as_ptr());
        }
        assert!(assembler.early.is_empty());
        let small = content(4000..4100);
        assert!(assembler.insert(4000, small.clone(), false));
        assert_eq!(
            assembler.read().unwrap().as_ptr(),
            small.as_ptr(),
            "a lone small chunk is passed on, too"
        );
    }

    #[test]
    fn memory_is_taken_for_what_arrived_however_far_ahead_it_lies() {
        let mut assembler = Assembler::default();
        assembler.insert(1 << 61, content(0..1), false);
        assert!(assembler.memory() < 8192, "{}", assembler.memory());
        assembler.insert(0, content(0..10_000), false);
        assert_eq!(read_all(&mut assembler).len(), 10_000);
    }

    #[test]
    fn with_copy_no_memory_of_the_packet_is_kept() {
        let mut assembler = Assembler::default();
        let data = content(0..1400);
        assembler.insert(0, data.clone(), true);
        assert!(data.is_unique());
        assembler.insert(3000, data.clone(), false);
        assert!(data.is_unique(), "early data is always copied");
        assert_eq!(read_all(&mut assembler), data);
    }

    #[test]
    fn whole_pages_leave_without_a_second_copy() {
        let mut assembler = Assembler::default();
        let data = content(0..3 * PAGE as u64);
        assembler.insert(PAGE as u64, data.slice(PAGE..), false);
        let page = assembler.early.0[&1].data.as_ptr();
        assert!(assembler.insert(0, data.slice(..PAGE), false));
        assert_eq!(assembler.read().unwrap().len(), PAGE);
        assert_eq!(assembler.read().unwrap().as_ptr(), page);
        assert_eq!(assembler.read().unwrap(), data.slice(2 * PAGE..));
        assert!(assembler.early.is_empty());
    }

    #[test]
    fn small_pieces_are_joined() {
        let mut assembler = Assembler::default();
        for at in 0..100_000 {
            assert!(assembler.insert(at, content(at..at + 1), false));
        }
        assert!(assembler.memory() < 2 * 100_000, "{}", assembler.memory());
        let mut chunks = 0;
        let data: Vec<u8> =
            std::iter::from_fn(|| assembler.read()).inspect(|_| chunks += 1).flatten().collect();
        assert_eq!(data, content(0..100_000));
        assert!(chunks < 10);
    }

    #[test]
    fn single_bytes_with_gaps_cost_little_more_than_the_window() {
        const WINDOW: u64 = 1 << 20;
        let mut assembler = Assembler::default();
        for at in (1..WINDOW).step_by(2) {
            assert!(!assembler.insert(at, content(at..at + 1), false));
        }
        assert!(assembler.memory() < WINDOW as usize * 5 / 4, "{}", assembler.memory());
        for at in (0..WINDOW).step_by(2) {
            assert!(assembler.insert(at, content(at..at + 1), false));
            assert!(assembler.memory() < WINDOW as usize * 5 / 2, "{}", assembler.memory());
        }
        assert_eq!(read_all(&mut assembler), content(0..WINDOW));
        assert!(assembler.memory() < 64 * 1024, "{}", assembler.memory());
    }

    #[test]
    fn a_single_early_byte_costs_little() {
        let mut assembler = Assembler::default();
        assembler.insert(1, content(1..2), false);
        assert!(assembler.memory() < 1200, "{}", assembler.memory());
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_every_byte_once(
            pieces in prop::collection::vec((0u64..20_000, 1u64..6000, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let mut assembler = Assembler::default();
            let mut present = vec![false; 26_000];
            let mut read = Vec::new();
            for (offset, len, copy, read_now) in pieces {
                let before = assembler.received();
                let news = assembler.insert(offset, content(offset..offset + len), copy);
                present[offset as usize..(offset + len) as usize].fill(true);
                let prefix = present.iter().take_while(|there| **there).count() as u64;
                prop_assert_eq!(assembler.received(), prefix);
                prop_assert_eq!(news, prefix > before);
                if read_now {
                    read.extend(read_all(&mut assembler));
                }
            }
            read.extend(read_all(&mut assembler));
            prop_assert_eq!(read, content(0..assembler.received()));
        }
    }
}
