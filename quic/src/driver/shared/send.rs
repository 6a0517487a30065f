//! The sending half of a stream, between its handle and the task.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::chunks::Chunks;
use super::waiters::{Waiters, Woken};
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::packet::Priority;
use crate::wire::VarInt;

/// The sending half: what the application has handed over and the task has not taken yet.
#[derive(Debug, Default)]
pub struct SendHalf {
    state: Mutex<SendState>,
}

#[derive(Debug, Default)]
struct SendState {
    chunks: Chunks,
    /// The last chunk, while small writes are still added to it.
    tail: BytesMut,
    /// Bytes accepted, or promised to a writer, and not acknowledged.
    used: u64,
    end: Option<SendEnd>,
    /// The task has not heard of `end` yet.
    end_is_news: bool,
    priority: Priority,
    /// The task has not heard of `priority` yet.
    priority_is_news: bool,
    stopped: Option<VarInt>,
    /// The peer has acknowledged everything, or the reset.
    acknowledged: bool,
    /// The server did not take early data, and this was of it.
    rejected: bool,
    lost: bool,
    /// Blocked on the budget of the stream, or on that of the connection.
    writer: Option<Waker>,
    /// The writer is woken when no more than this is used.
    wake_at: u64,
    /// Wait for the end of the stream.
    watchers: Waiters,
}

/// How the application ended the stream.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum SendEnd {
    /// After all data.
    Fin,
    /// At once, with this code.
    Reset(VarInt),
    /// With this code, after so many bytes.
    ResetAt(VarInt, u64),
}

/// Why nothing can be written any more.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The peer does not want the rest.
    Stopped(VarInt),
    /// This end has finished or reset the stream.
    Ended,
    /// The server did not take early data.
    Rejected,
    /// The connection is over.
    Lost,
}

/// How a stream came to its end.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The peer has acknowledged all data and the FIN.
    Delivered,
    /// This end reset it.
    Reset,
    /// The peer stopped it.
    Stopped(VarInt),
    /// The server did not take early data.
    Rejected,
    /// The connection was over before.
    Lost,
}

/// What the task takes out beside the data.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SendNews {
    /// The stream ends after the data taken.
    pub end: Option<SendEnd>,
    /// A new priority.
    pub priority: Option<Priority>,
}

impl SendState {
    fn refused(&self) -> Option<Refused> {
        match (self.stopped, self.end) {
            _ if self.rejected => Some(Refused::Rejected),
            (Some(code), _) => Some(Refused::Stopped(code)),
            (None, Some(_)) => Some(Refused::Ended),
            (None, None) => self.lost.then_some(Refused::Lost),
        }
    }

    fn outcome(&self) -> Option<SendOutcome> {
        match (self.end, self.stopped) {
            (Some(SendEnd::Fin), _) if self.acknowledged => Some(SendOutcome::Delivered),
            (Some(SendEnd::ResetAt(..)), _) if self.acknowledged => Some(SendOutcome::Reset),
            (Some(SendEnd::Reset(_)), _) => Some(SendOutcome::Reset),
            (_, Some(code)) => Some(SendOutcome::Stopped(code)),
            _ if self.rejected => Some(SendOutcome::Rejected),
            _ => self.lost.then_some(SendOutcome::Lost),
        }
    }

    /// Drops what the task has not taken; returns the bytes to give back to the pool.
    fn discard(&mut self) -> u64 {
        self.chunks = Chunks::default();
        self.tail = BytesMut::new();
        std::mem::take(&mut self.used)
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.chunks.push(tail.freeze());
        }
    }
}

impl SendHalf {
    /// Promises up to `want` bytes out of a budget of `cap`. If it is used up, `cx` is told when a quarter is free.
    pub fn poll_reserve(&self, want: u64, cap: u64, cx: Option<&Context<'_>>) -> Poll<Result<u64, Refused>> {
        let mut state = lock(&self.state);
        if let Some(refused) = state.refused() {
            return Poll::Ready(Err(refused));
        }
        let granted = cap.saturating_sub(state.used).min(want);
        if granted == 0 && want > 0 {
            if let Some(cx) = cx {
                (state.writer, state.wake_at) = (Some(cx.waker().clone()), cap - cap / 4);
            }
            return Poll::Pending;
        }
        state.used += granted;
        Poll::Ready(Ok(granted))
    }

    /// The same out of the little that a stream has for itself, for a writer that waits for something else than the budget
    /// of the stream: `cx` is told when nothing is under way any more, or the stream ends.
    pub fn poll_reserve_own(
        &self,
        want: u64,
        own: u64,
        cx: Option<&Context<'_>>,
    ) -> Poll<Result<u64, Refused>> {
        let reserved = self.poll_reserve(want, own, cx);
        if reserved.is_pending() {
            lock(&self.state).wake_at = 0;
        }
        reserved
    }

    /// Hands over data that was promised room. If the stream has ended meanwhile, they are dropped: their room was
    /// given back then.
    pub fn push(&self, chunk: Bytes) {
        let mut state = lock(&self.state);
        if state.refused().is_none() {
            state.seal_tail();
            state.chunks.push(chunk);
        }
    }

    /// Hands over the last data, which were promised room, and with them FIN, so that one packet can carry both.
    pub fn push_last(&self, chunk: Bytes) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if let Some(refused) = state.refused() {
            return Err(refused);
        }
        state.seal_tail();
        state.chunks.push(chunk);
        (state.end, state.end_is_news) = (Some(SendEnd::Fin), true);
        Ok(())
    }

    /// The same for a part of a buffer that goes on: adjacent parts become one chunk again.
    pub fn push_part(&self, part: BytesMut) {
        let mut state = lock(&self.state);
        if state.refused().is_some() {
            return;
        }
        let adjacent = std::ptr::eq(state.tail.as_ptr_range().end, part.as_ptr());
        if !adjacent {
            state.seal_tail();
        }
        state.tail.unsplit(part);
    }

    /// Ends the stream. An `Ok` may come with bytes to give back to the pool.
    ///
    /// A FIN after a reset, or a second FIN, is refused; so is a reset once everything is acknowledged, and one that does
    /// not make the part smaller that is delivered all the same.
    pub fn end(&self, end: SendEnd) -> Result<u64, Refused> {
        let (released, woken, writer) = {
            let mut state = lock(&self.state);
            let refused = match (end, state.end) {
                (_, Some(SendEnd::Reset(_))) => Some(Refused::Ended),
                (SendEnd::Fin, _) | (SendEnd::ResetAt(..), None) => state.refused(),
                (SendEnd::ResetAt(_, size), Some(SendEnd::ResetAt(_, before))) if size >= before => {
                    Some(Refused::Ended)
                }
                _ if state.acknowledged => Some(Refused::Ended),
                (SendEnd::ResetAt(..), Some(_)) => state.outcome().and(Some(Refused::Ended)),
                (SendEnd::Reset(_), _) => None,
            };
            if let Some(refused) = refused {
                return Err(refused);
            }
            (state.end, state.end_is_news) = (Some(end), true);
            match end {
                SendEnd::Fin => return Ok(0),
                // The task takes what was written, and says how much of it is not needed.
                SendEnd::ResetAt(..) => (0, Woken::default(), state.writer.take()),
                SendEnd::Reset(_) => (state.discard(), state.watchers.take(), state.writer.take()),
            }
        };
        woken.wake();
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(released)
    }

    /// True if neither FIN nor reset was asked for, nor the peer has stopped it.
    pub fn is_open(&self) -> bool {
        let state = lock(&self.state);
        state.end.is_none() && state.stopped.is_none()
    }

    /// True if FIN was asked for, or a reset with data before it, and the peer may not have everything yet.
    pub fn is_finishing(&self) -> bool {
        let state = lock(&self.state);
        state.end.is_some() && state.outcome().is_none()
    }

    /// Asks for a priority among the streams of the connection.
    ///
    /// That also works after FIN: what was written waits for its turn.
    pub fn set_priority(&self, priority: Priority) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.outcome().is_some() {
            return Err(state.refused().unwrap_or(Refused::Ended));
        }
        (state.priority, state.priority_is_news) = (priority, true);
        Ok(())
    }

    /// The priority last asked for.
    pub fn priority(&self) -> Priority {
        lock(&self.state).priority
    }

    /// Resolves when the stream has come to its end.
    pub fn poll_outcome(&self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<SendOutcome> {
        let mut state = lock(&self.state);
        match state.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.watchers.register(ticket, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Gives up waiting for the end.
    pub fn cancel(&self, ticket: u64) {
        lock(&self.state).watchers.remove(ticket);
    }

    /// For the task: moves all data to the end of `chunks`, and says what else is new.
    pub fn take(&self, chunks: &mut Chunks) -> SendNews {
        let mut state = lock(&self.state);
        state.seal_tail();
        chunks.append(&mut state.chunks);
        let end = if std::mem::take(&mut state.end_is_news) { state.end } else { None };
        let priority = std::mem::take(&mut state.priority_is_news).then_some(state.priority);
        SendNews { end, priority }
    }

    /// For the task: bytes were acknowledged. Returns how many to give back to the pool.
    pub fn on_acked(&self, bytes: u64) -> u64 {
        let (released, writer) = {
            let mut state = lock(&self.state);
            let released = bytes.min(state.used);
            state.used -= released;
            let worthwhile = state.used <= state.wake_at;
            (released, if worthwhile { state.writer.take() } else { None })
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        released
    }

    /// For the task: the peer has acknowledged everything, the end included. Returns the bytes to give back to the
    /// pool.
    pub fn on_acknowledged(&self) -> u64 {
        let (released, woken) = {
            let mut state = lock(&self.state);
            state.acknowledged = true;
            (std::mem::take(&mut state.used), state.watchers.take())
        };
        woken.wake();
        released
    }

    /// For the task: the peer has acknowledged a reset, and what came before it. Returns the bytes to give back to the
    /// pool.
    pub fn on_reset_acknowledged(&self) -> u64 {
        let (released, woken) = {
            let mut state = lock(&self.state);
            // A stop is answered with a reset as well.
            state.acknowledged |= matches!(state.end, Some(SendEnd::ResetAt(..))) && state.stopped.is_none();
            (std::mem::take(&mut state.used), state.watchers.take())
        };
        woken.wake();
        released
    }

    /// For the task: the peer does not want the rest. Returns the bytes to give back to the pool.
    pub fn on_stopped(&self, code: VarInt) -> u64 {
        let (released, woken, writer) = {
            let mut state = lock(&self.state);
            if state.acknowledged {
                return 0;
            }
            state.stopped.get_or_insert(code);
            (state.discard(), state.watchers.take(), state.writer.take())
        };
        woken.wake();
        if let Some(writer) = writer {
            writer.wake();
        }
        released
    }

    /// For the task: the server did not take early data. Returns the bytes to give back to the pool.
    pub fn on_rejected(&self) -> u64 {
        let (released, woken, writer) = {
            let mut state = lock(&self.state);
            state.rejected = true;
            (state.discard(), state.watchers.take(), state.writer.take())
        };
        woken.wake();
        if let Some(writer) = writer {
            writer.wake();
        }
        released
    }

    /// For the task: the connection is over.
    pub fn on_lost(&self) {
        let (woken, writer) = {
            let mut state = lock(&self.state);
            state.lost = true;
            state.discard();
            (state.watchers.take(), state.writer.take())
        };
        woken.wake();
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    fn reserve(half: &SendHalf, want: u64, cap: u64) -> Poll<Result<u64, Refused>> {
        half.poll_reserve(want, cap, None)
    }

    fn contents(half: &SendHalf) -> (Vec<Bytes>, SendNews) {
        let mut chunks = Chunks::default();
        let news = half.take(&mut chunks);
        (std::iter::from_fn(|| chunks.pop()).collect(), news)
    }

    #[test]
    fn small_writes_become_one_chunk() {
        let half = SendHalf::default();
        let mut buffer = BytesMut::with_capacity(100);
        for byte in 0..10_u8 {
            assert_eq!(reserve(&half, 1, 100), Poll::Ready(Ok(1)));
            buffer.extend_from_slice(&[byte]);
            half.push_part(buffer.split());
        }
        half.push(Bytes::from_static(b"zero-copy"));
        buffer.extend_from_slice(b"more");
        half.push_part(buffer.split());
        let (chunks, news) = contents(&half);
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [10, 9, 4]);
        assert_eq!(&chunks[0][..], (0..10).collect::<Vec<u8>>());
        assert_eq!(news, SendNews::default());
        buffer.extend_from_slice(b"late");
        half.push_part(buffer.split());
        assert_eq!(contents(&half).0, [&b"late"[..]], "what was taken is not touched any more");
    }

    #[test]
    fn a_blocked_writer_is_woken_when_a_quarter_is_free() {
        let half = SendHalf::default();
        let (waker, count) = CountingWaker::pair();
        assert_eq!(reserve(&half, 300, 100), Poll::Ready(Ok(100)));
        assert!(half.poll_reserve(1, 100, Some(&Context::from_waker(&waker))).is_pending());
        assert_eq!(half.on_acked(24), 24);
        assert_eq!(count.wakes(), 0);
        assert_eq!(half.on_acked(1), 1);
        assert_eq!(count.wakes(), 1);
    }

    #[test]
    fn a_stop_gives_everything_back_once() {
        let half = SendHalf::default();
        let (waker, count) = CountingWaker::pair();
        let mut ticket = None;
        assert_eq!(reserve(&half, 60, 100), Poll::Ready(Ok(60)));
        assert!(half.poll_outcome(&mut ticket, &Context::from_waker(&waker)).is_pending());
        assert_eq!(half.on_stopped(7_u8.into()), 60);
        half.push(Bytes::from_static(b"too late"));
        assert_eq!(contents(&half).0, Vec::<Bytes>::new());
        assert_eq!(half.on_acked(60), 0);
        assert_eq!(count.wakes(), 1);
        assert_eq!(reserve(&half, 1, 100), Poll::Ready(Err(Refused::Stopped(7_u8.into()))));
        let outcome = half.poll_outcome(&mut ticket, &Context::from_waker(&waker));
        assert_eq!(outcome, Poll::Ready(SendOutcome::Stopped(7_u8.into())));
        assert_eq!(half.end(SendEnd::Fin), Err(Refused::Stopped(7_u8.into())));
    }

    #[test]
    fn the_last_data_come_with_the_end() {
        let half = SendHalf::default();
        assert_eq!(reserve(&half, 4, 100), Poll::Ready(Ok(4)));
        assert_eq!(half.push_last(Bytes::from_static(b"last")), Ok(()));
        let (chunks, news) = contents(&half);
        assert_eq!((&chunks[0][..], news.end), (&b"last"[..], Some(SendEnd::Fin)));
        assert_eq!(half.push_last(Bytes::from_static(b"more")), Err(Refused::Ended));
        assert_eq!(contents(&half).0, Vec::<Bytes>::new());
    }

    #[test]
    fn a_stream_ends_once() {
        let half = SendHalf::default();
        assert_eq!(half.end(SendEnd::Fin), Ok(0));
        assert_eq!(half.end(SendEnd::Fin), Err(Refused::Ended));
        assert_eq!(contents(&half).1.end, Some(SendEnd::Fin));
        assert_eq!(contents(&half).1.end, None, "told once");
        let code = 3_u8.into();
        assert_eq!(half.end(SendEnd::Reset(code)), Ok(0), "a reset may follow a FIN");
        assert_eq!(contents(&half).1.end, Some(SendEnd::Reset(code)));
        assert_eq!(half.end(SendEnd::Reset(code)), Err(Refused::Ended));
    }

    #[test]
    fn a_reset_that_delivers_something_ends_when_that_is_acknowledged() {
        let half = SendHalf::default();
        let (waker, count) = CountingWaker::pair();
        let mut ticket = None;
        let code = 3_u8.into();
        assert_eq!(reserve(&half, 60, 100), Poll::Ready(Ok(60)));
        half.push(Bytes::from_static(b"some data"));
        assert_eq!(half.end(SendEnd::ResetAt(code, 5)), Ok(0), "the task says what is not needed");
        assert!(
            half.poll_outcome(&mut ticket, &Context::from_waker(&waker)).is_pending() && half.is_finishing()
        );
        assert_eq!(reserve(&half, 1, 100), Poll::Ready(Err(Refused::Ended)));
        let (chunks, news) = contents(&half);
        assert_eq!((&chunks[0][..], news.end), (&b"some data"[..], Some(SendEnd::ResetAt(code, 5))));
        assert_eq!(half.end(SendEnd::ResetAt(code, 5)), Err(Refused::Ended));
        assert_eq!(half.end(SendEnd::ResetAt(code, 4)), Ok(0));
        assert_eq!(half.end(SendEnd::Fin), Err(Refused::Ended));
        assert_eq!(half.on_acked(20), 20);
        assert_eq!((half.on_reset_acknowledged(), count.wakes()), (40, 1));
        let outcome = half.poll_outcome(&mut ticket, &Context::from_waker(&waker));
        assert_eq!(outcome, Poll::Ready(SendOutcome::Reset));
        assert_eq!(half.end(SendEnd::ResetAt(code, 1)), Err(Refused::Ended));
        assert_eq!(half.end(SendEnd::Reset(code)), Err(Refused::Ended));
    }

    #[test]
    fn a_stop_is_not_a_delivery() {
        let (waker, _) = CountingWaker::pair();
        for end in [SendEnd::Fin, SendEnd::ResetAt(3_u8.into(), 5)] {
            let half = SendHalf::default();
            half.end(end).unwrap();
            half.on_stopped(7_u8.into());
            half.on_reset_acknowledged();
            let outcome = half.poll_outcome(&mut None, &Context::from_waker(&waker));
            assert_eq!(outcome, Poll::Ready(SendOutcome::Stopped(7_u8.into())));
        }
    }

    #[test]
    fn delivery_outlives_the_connection() {
        let half = SendHalf::default();
        let (waker, _) = CountingWaker::pair();
        half.end(SendEnd::Fin).unwrap();
        assert_eq!(half.on_acknowledged(), 0);
        half.on_lost();
        let outcome = half.poll_outcome(&mut None, &Context::from_waker(&waker));
        assert_eq!(outcome, Poll::Ready(SendOutcome::Delivered));
        let other = SendHalf::default();
        other.on_lost();
        assert_eq!(reserve(&other, 1, 1), Poll::Ready(Err(Refused::Lost)));
    }
}
