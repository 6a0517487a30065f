//! The receiving half of a stream, between the task and its handle.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::chunks::Chunks;
use crate::driver::lock;
use crate::driver::sync::{AtomicU64, Mutex};
use crate::wire::VarInt;

/// The receiving half: what has arrived in order and the application has not read yet.
///
/// Flow control bounds it: the task hands over only what the window allowed the peer to send.
#[derive(Debug, Default)]
pub struct RecvHalf {
    state: Mutex<RecvState>,
    /// Bytes that the application has read, or will never read, and the task has not credited yet.
    unreported: AtomicU64,
}

/// Pieces of a stream with their offsets.
pub type Pieces = VecDeque<(u64, Bytes)>;

#[derive(Debug, Default)]
struct RecvState {
    chunks: Chunks,
    /// In the place of `chunks`, for a reader without order.
    pieces: Pieces,
    /// The reader wants no order; what still comes in order begins at this offset.
    unordered: Option<u64>,
    /// The task has not heard of `unordered` yet.
    unordered_is_news: bool,
    end: Option<RecvEnd>,
    end_seen: bool,
    stopped: Option<VarInt>,
    /// The task has not heard of `stopped` yet.
    stop_is_news: bool,
    /// The application has seen the end, or will never look; the task has not heard of it yet.
    release_is_news: bool,
    /// The task holds more, for when this is read.
    more: bool,
    /// The server did not take early data, and this was of it.
    rejected: bool,
    lost: bool,
    reader: Option<Waker>,
}

/// How the peer ended the stream.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum RecvEnd {
    /// After all data.
    Fin,
    /// At once, with this code.
    Reset(VarInt),
    /// After what it wanted delivered, with this code.
    ResetAt(VarInt),
}

/// What a reader finds.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Fill {
    /// Data.
    Data,
    /// All data were read.
    End(RecvEnd),
    /// This end has stopped the stream.
    Stopped,
    /// The server did not take early data.
    Rejected,
    /// The connection was over before the end of the stream came.
    Lost,
}

/// What the task takes out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecvNews {
    /// Bytes to credit to the peer.
    pub credit: u64,
    /// The application does not want the rest.
    pub stop: Option<VarInt>,
    /// The application has seen the end, or will never look.
    pub release: bool,
    /// There is room for more data.
    pub wants_more: bool,
    /// The reader wants no order from now on.
    pub unordered: bool,
}

/// When so many chunks wait for the application, more stays in the protocol core, which joins small ones.
pub const MAX_CHUNKS: usize = 1024;

impl RecvHalf {
    /// Moves all that is there into `local`, which is empty, or waits for something. True beside it if the task is to
    /// be told.
    pub fn poll_fill(&self, local: &mut Chunks, cx: &Context<'_>) -> Poll<(Fill, bool)> {
        debug_assert!(local.is_empty());
        let mut state = lock(&self.state);
        if state.stopped.is_some() {
            return Poll::Ready((Fill::Stopped, false));
        }
        if !state.chunks.is_empty() {
            std::mem::swap(&mut state.chunks, local);
            return Poll::Ready((Fill::Data, state.more));
        }
        state.poll_end(cx)
    }

    /// The same for a reader without order.
    pub fn poll_pieces(&self, local: &mut Pieces, cx: &Context<'_>) -> Poll<(Fill, bool)> {
        debug_assert!(local.is_empty());
        let mut state = lock(&self.state);
        if state.stopped.is_some() {
            return Poll::Ready((Fill::Stopped, false));
        }
        if !state.pieces.is_empty() {
            std::mem::swap(&mut state.pieces, local);
            return Poll::Ready((Fill::Data, state.more));
        }
        state.poll_end(cx)
    }

    /// The reader wants no order from now on. What was handed over, and what comes in order until the task has heard of
    /// it, begins at `offset`.
    pub fn set_unordered(&self, offset: u64) {
        let mut state = lock(&self.state);
        (state.unordered, state.unordered_is_news) = (Some(offset), true);
        state.number_chunks();
    }
}

impl RecvState {
    /// Moves chunks to the pieces.
    fn number_chunks(&mut self) {
        let Some(next) = &mut self.unordered else { return };
        while let Some(chunk) = self.chunks.pop() {
            let offset = *next;
            *next += chunk.len() as u64;
            self.pieces.push_back((offset, chunk));
        }
    }

    /// What a reader finds that has read everything.
    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<(Fill, bool)> {
        let state = self;
        if let Some(end) = state.end {
            let first = !std::mem::replace(&mut state.end_seen, true);
            state.release_is_news |= first;
            return Poll::Ready((Fill::End(end), first));
        }
        if state.rejected {
            return Poll::Ready((Fill::Rejected, false));
        }
        if state.lost {
            return Poll::Ready((Fill::Lost, false));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Drops what was not read; returns how many bytes, and what to free outside of the lock.
    fn discard(&mut self) -> (u64, (Chunks, Pieces)) {
        let (chunks, pieces) = (std::mem::take(&mut self.chunks), std::mem::take(&mut self.pieces));
        let of_pieces = pieces.iter().map(|(_, data)| data.len() as u64).sum::<u64>();
        (chunks.bytes() + of_pieces, (chunks, pieces))
    }
}

impl RecvHalf {
    /// Counts bytes as read; returns how many the task does not know of.
    pub fn count_read(&self, bytes: u64) -> u64 {
        self.unreported.fetch_add(bytes, Ordering::Release) + bytes
    }

    /// Drops what was not read, and asks the peer to send no more. Returns the bytes dropped; `None` if the stream has
    /// been stopped before, or its end was seen. With the end known there is nothing left to ask.
    pub fn stop(&self, code: VarInt) -> Option<u64> {
        let (dropped, _chunks) = {
            let mut state = lock(&self.state);
            if state.stopped.is_some() || state.end_seen {
                return None;
            }
            state.stopped = Some(code);
            state.stop_is_news = state.end.is_none();
            state.release_is_news = true;
            state.discard()
        };
        Some(dropped)
    }

    /// For the task: data that arrived, and perhaps the end. `chunks` is emptied. True if there is no room for more: the
    /// rest stays with the task until the news say that more is wanted.
    ///
    /// Returns beside it the bytes that nobody will read.
    pub fn deliver(&self, chunks: &mut Chunks, end: Option<RecvEnd>) -> (bool, u64) {
        self.hand_over(end, |state| {
            state.chunks.append(chunks);
            state.number_chunks();
        })
    }

    /// The same for pieces in any order.
    pub fn deliver_pieces(&self, pieces: &mut Pieces, end: Option<RecvEnd>) -> (bool, u64) {
        self.hand_over(end, |state| state.pieces.append(pieces))
    }

    fn hand_over(&self, end: Option<RecvEnd>, add: impl FnOnce(&mut RecvState)) -> (bool, u64) {
        let (full, reader, (dropped, _freed)) = {
            let mut state = lock(&self.state);
            state.end = state.end.or(end);
            add(&mut state);
            let unwanted = state.stopped.is_some() || matches!(end, Some(RecvEnd::Reset(_)));
            let dropped = if unwanted { state.discard() } else { Default::default() };
            state.more = state.chunks.len() + state.pieces.len() >= MAX_CHUNKS;
            (state.more, state.reader.take(), dropped)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        (full, dropped)
    }

    /// For the task: what the application has done.
    pub fn take(&self) -> RecvNews {
        let credit = self.take_credit();
        let mut state = lock(&self.state);
        let stop = if std::mem::take(&mut state.stop_is_news) { state.stopped } else { None };
        let release = std::mem::take(&mut state.release_is_news);
        let wants_more = state.more && state.chunks.is_empty() && state.pieces.is_empty();
        state.more &= !wants_more;
        let unordered = std::mem::take(&mut state.unordered_is_news);
        RecvNews { credit, stop, release, wants_more, unordered }
    }

    /// For the task: only the bytes to credit.
    pub fn take_credit(&self) -> u64 {
        self.unreported.swap(0, Ordering::Acquire)
    }

    /// For the task: the server did not take early data.
    pub fn on_rejected(&self) {
        let reader = {
            let mut state = lock(&self.state);
            state.rejected = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// For the task: the connection is over. What has arrived can still be read.
    pub fn on_lost(&self) {
        let reader = {
            let mut state = lock(&self.state);
            state.lost = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    fn chunks(parts: &[&'static [u8]]) -> Chunks {
        parts.iter().map(|part| Bytes::from_static(part)).collect()
    }

    #[test]
    fn a_reader_is_woken_once_and_takes_all() {
        let half = RecvHalf::default();
        let (waker, count) = CountingWaker::pair();
        let cx = Context::from_waker(&waker);
        let mut local = Chunks::default();
        assert!(half.poll_fill(&mut local, &cx).is_pending());
        assert_eq!(half.deliver(&mut chunks(&[b"ab", b"c"]), None), (false, 0));
        assert_eq!(half.deliver(&mut chunks(&[b"d"]), Some(RecvEnd::Fin)), (false, 0));
        assert_eq!(count.wakes(), 1);
        assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::Data, false)));
        assert_eq!(std::iter::from_fn(|| local.pop()).flatten().collect::<Vec<_>>(), b"abcd");
        for first in [true, false] {
            assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::End(RecvEnd::Fin), first)));
            assert_eq!(half.take().release, first, "told once");
        }
        assert_eq!(half.stop(1_u8.into()), None, "it has come to its end");
    }

    #[test]
    fn a_stop_credits_what_nobody_reads() {
        let half = RecvHalf::default();
        half.deliver(&mut chunks(&[b"abc"]), None);
        let code = 9_u8.into();
        assert_eq!(half.stop(code), Some(3));
        assert_eq!(half.stop(code), None);
        assert_eq!(half.deliver(&mut chunks(&[b"de"]), None), (false, 2), "what was on its way as well");
        half.count_read(3);
        assert_eq!(
            half.take(),
            RecvNews { credit: 3, stop: Some(code), release: true, ..RecvNews::default() }
        );
        assert_eq!(half.take(), RecvNews::default());
    }

    #[test]
    fn a_reset_overtakes_data() {
        let half = RecvHalf::default();
        let (waker, _) = CountingWaker::pair();
        half.deliver(&mut chunks(&[b"abc"]), None);
        assert_eq!(half.deliver(&mut chunks(&[]), Some(RecvEnd::Reset(4_u8.into()))), (false, 3));
        let found = half.poll_fill(&mut Chunks::default(), &Context::from_waker(&waker));
        assert_eq!(found, Poll::Ready((Fill::End(RecvEnd::Reset(4_u8.into())), true)));
    }

    #[test]
    fn a_reset_with_a_promise_waits_for_its_turn() {
        let half = RecvHalf::default();
        let (waker, _) = CountingWaker::pair();
        let cx = Context::from_waker(&waker);
        let (mut local, end) = (Chunks::default(), RecvEnd::ResetAt(4_u8.into()));
        half.deliver(&mut chunks(&[b"abc"]), None);
        assert_eq!(half.deliver(&mut chunks(&[b"de"]), Some(end)), (false, 0));
        assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::Data, false)));
        assert_eq!(std::iter::from_fn(|| local.pop()).flatten().collect::<Vec<_>>(), b"abcde");
        assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::End(end), true)));
    }

    #[test]
    fn with_the_end_known_there_is_nothing_to_stop() {
        let half = RecvHalf::default();
        half.deliver(&mut chunks(&[b"abc"]), Some(RecvEnd::Fin));
        assert_eq!(half.stop(1_u8.into()), Some(3));
        assert_eq!(half.take(), RecvNews { release: true, ..RecvNews::default() });
    }

    #[test]
    fn the_task_keeps_what_there_is_no_room_for() {
        let half = RecvHalf::default();
        let (waker, _) = CountingWaker::pair();
        let many = |count| std::iter::repeat_n(Bytes::from_static(b"x"), count).collect::<Chunks>();
        assert_eq!(half.deliver(&mut many(MAX_CHUNKS - 1), None), (false, 0));
        assert_eq!(half.deliver(&mut many(1), None), (true, 0));
        assert!(!half.take().wants_more);
        let mut local = Chunks::default();
        let found = half.poll_fill(&mut local, &Context::from_waker(&waker));
        assert_eq!(found, Poll::Ready((Fill::Data, true)), "the task is to be told");
        assert_eq!((local.len(), half.take().wants_more), (MAX_CHUNKS, true));
        assert!(!half.take().wants_more, "told once");
    }

    #[test]
    fn what_has_arrived_outlives_the_connection() {
        let half = RecvHalf::default();
        let (waker, _) = CountingWaker::pair();
        let cx = Context::from_waker(&waker);
        let mut local = Chunks::default();
        half.deliver(&mut chunks(&[b"abc"]), None);
        half.on_lost();
        assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::Data, false)));
        while local.pop().is_some() {}
        assert_eq!(half.poll_fill(&mut local, &cx), Poll::Ready((Fill::Lost, false)));
    }
}
