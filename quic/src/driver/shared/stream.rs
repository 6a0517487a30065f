//! One stream as its handles and the task of its connection share it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use super::connection::Connection;
use super::recv::RecvHalf;
use super::send::{Refused, SendEnd, SendHalf};
use crate::driver::sync::{AtomicU8, AtomicU64};
use crate::error::{ConnectionError, WriteError};
use crate::packet::StreamId;

/// News of the sending half, in [`Stream::take_news`].
pub const SEND: u8 = 1;
/// News of the receiving half.
pub const RECV: u8 = 2;

/// Bytes that a stream may always have under way, whatever the connection has.
const OWN: u64 = 4096;

/// Both halves of a stream; of a unidirectional one, one half stays unused.
pub struct Stream {
    /// Its number.
    pub id: StreamId,
    /// How often streams began anew before it: numbers repeat then.
    pub epoch: u32,
    /// Its first frame arrived before the handshake.
    pub early: bool,
    /// What it belongs to.
    pub connection: Arc<Connection>,
    /// Which halves have news. Nonzero means that the stream is in the ready list, or about to be.
    news: AtomicU8,
    /// When so many bytes were read, the task is told.
    quarter: AtomicU64,
    /// From the application to the peer.
    pub send: SendHalf,
    /// From the peer to the application.
    pub recv: RecvHalf,
}

impl Stream {
    /// A stream of the peer's, without data.
    pub fn accepted(id: StreamId, early: bool, connection: Arc<Connection>) -> Arc<Self> {
        Self::make(id, 0, early, connection)
    }

    /// A stream of ours, without data.
    pub fn opened(id: StreamId, epoch: u32, connection: Arc<Connection>) -> Arc<Self> {
        Self::make(id, epoch, false, connection)
    }

    fn make(id: StreamId, epoch: u32, early: bool, connection: Arc<Connection>) -> Arc<Self> {
        Arc::new(Self {
            id,
            epoch,
            early,
            quarter: AtomicU64::new(connection.stream_window / 4),
            connection,
            news: AtomicU8::new(0),
            send: SendHalf::default(),
            recv: RecvHalf::default(),
        })
    }

    /// Tells the task that there is news of these halves; wakes it on the first news of any stream.
    pub fn tell(self: &Arc<Self>, halves: u8) {
        if self.news.fetch_or(halves, Ordering::AcqRel) == 0 && self.connection.ready.push(self.clone()) {
            self.connection.inbox.signal.set();
        }
    }

    /// For the task: which halves have news. To be called before it looks at them.
    pub fn take_news(&self) -> u8 {
        self.news.swap(0, Ordering::AcqRel)
    }

    /// Promises room for up to `want` bytes, at least one.
    pub fn poll_reserve(
        &self,
        want: u64,
        ticket: &mut Option<u64>,
        cx: Option<&Context<'_>>,
    ) -> Poll<Result<u64, WriteError>> {
        let pool = &self.connection.pool;
        // The pool comes first: whatever the stream counts as used can then be given back to the pool at any moment.
        let Poll::Ready(room) = pool.poll_reserve(want, ticket, cx) else {
            // Others may have filled the pool with what their readers do not take: a little is always granted.
            pool.overdraw(OWN);
            let granted = self.send.poll_reserve_own(want, OWN, cx);
            let kept = if let Poll::Ready(Ok(granted)) = granted { granted } else { 0 };
            pool.release(OWN - kept);
            if kept > 0
                && let Some(ticket) = ticket.take()
            {
                pool.cancel(ticket);
            }
            return granted.map_err(|refused| self.write_error(refused));
        };
        let granted = self.send.poll_reserve(room, self.connection.stream_send_budget, cx);
        let kept = if let Poll::Ready(Ok(granted)) = granted { granted } else { 0 };
        pool.release(room - kept);
        Poll::Ready(ready!(granted).map_err(|refused| self.write_error(refused)))
    }

    /// Finishes or resets the sending half.
    pub fn end_send(self: &Arc<Self>, end: SendEnd) -> Result<(), WriteError> {
        let released = self.send.end(end).map_err(|refused| self.write_error(refused))?;
        self.connection.pool.release(released);
        self.tell(SEND);
        Ok(())
    }

    /// Counts bytes as read, and tells the task when credit is worth sending, for the stream or for the connection.
    pub fn count_read(self: &Arc<Self>, bytes: u64) {
        if self.recv.count_read(bytes) >= self.quarter.load(Ordering::Relaxed) {
            self.tell(RECV);
        }
        self.connection.count_read(bytes);
    }

    /// For the task: the stream's window has grown.
    pub fn set_window(&self, bytes: u64) {
        self.quarter.store(bytes / 4, Ordering::Relaxed);
    }

    /// Why writing failed.
    pub fn write_error(&self, refused: Refused) -> WriteError {
        match refused {
            Refused::Stopped(code) => WriteError::Stopped(code),
            Refused::Ended => WriteError::ClosedStream,
            Refused::Rejected => WriteError::ZeroRttRejected,
            Refused::Lost => self.lost().into(),
        }
    }

    /// Why the connection is over.
    pub fn lost(&self) -> ConnectionError {
        self.connection.closed().cloned().unwrap_or(ConnectionError::TaskLost)
    }

    /// For the task: the server did not take early data, and this stream was of it.
    pub fn on_rejected(&self) {
        self.connection.pool.release(self.send.on_rejected());
        self.recv.on_rejected();
    }

    /// For the task: the connection is over.
    pub fn on_lost(&self) {
        self.send.on_lost();
        self.recv.on_lost();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An application's share of a stream; it counts as a share of the connection.
#[derive(Debug)]
pub struct StreamRef(Arc<Stream>);

impl StreamRef {
    /// A new share.
    pub fn new(stream: Arc<Stream>) -> Self {
        stream.connection.retain();
        Self(stream)
    }
}

impl std::ops::Deref for StreamRef {
    type Target = Arc<Stream>;

    fn deref(&self) -> &Arc<Stream> {
        &self.0
    }
}

impl Clone for StreamRef {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for StreamRef {
    fn drop(&mut self) {
        self.0.connection.release();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::driver::shared::connection::testing::connection;
    use crate::driver::testing::CountingWaker;
    use crate::packet::{Dir, Side};

    #[test]
    fn a_stream_is_in_the_ready_list_once() {
        let connection = connection();
        let (waker, count) = CountingWaker::pair();
        connection.inbox.signal.clear(&waker);
        let stream = Stream::opened(StreamId::new(Side::Client, Dir::Bi, 0), 0, connection.clone());
        stream.tell(SEND);
        stream.tell(RECV);
        assert_eq!(count.wakes(), 1);
        let (mut opened, mut news) = (Vec::new(), Vec::new());
        connection.ready.swap(&mut opened, &mut news);
        assert_eq!((opened.len(), news.len()), (0, 1));
        assert_eq!(news[0].take_news(), SEND | RECV);
        stream.tell(SEND);
        connection.ready.swap(&mut opened, &mut Vec::new());
    }

    #[test]
    fn budget_of_stream_and_connection_both_count() {
        let connection = connection();
        let stream = Stream::opened(StreamId::new(Side::Client, Dir::Uni, 0), 0, connection.clone());
        let budget = connection.stream_send_budget;
        let mut ticket = None;
        assert_eq!(stream.poll_reserve(budget + 1, &mut ticket, None), Poll::Ready(Ok(budget)));
        assert_eq!(stream.poll_reserve(1, &mut ticket, None), Poll::Pending);
        assert_eq!(connection.pool.used(), budget, "what the stream had no room for went back");
        let code = 1_u8.into();
        connection.pool.release(stream.send.on_stopped(code));
        stream.send.push(Bytes::from_static(b"late"));
        assert_eq!(connection.pool.used(), 0);
        assert_eq!(stream.poll_reserve(1, &mut ticket, None), Poll::Ready(Err(WriteError::Stopped(code))));
        assert_eq!(connection.pool.used(), 0);
    }

    #[test]
    fn streams_that_hold_everything_leave_a_little_to_others() {
        let connection = connection();
        connection.pool.set_limit(100_000);
        let stalled = Stream::opened(StreamId::new(Side::Client, Dir::Uni, 0), 0, connection.clone());
        assert_eq!(stalled.poll_reserve(u64::MAX, &mut None, None), Poll::Ready(Ok(100_000)));
        let stream = Stream::opened(StreamId::new(Side::Client, Dir::Uni, 1), 0, connection.clone());
        let (waker, count) = CountingWaker::pair();
        let (cx, mut ticket) = (Context::from_waker(&waker), None);
        assert_eq!(stream.poll_reserve(100, &mut ticket, Some(&cx)), Poll::Ready(Ok(100)));
        assert_eq!(stream.poll_reserve(5000, &mut ticket, Some(&cx)), Poll::Ready(Ok(OWN - 100)));
        assert_eq!(ticket, None);
        assert!(stream.poll_reserve(1, &mut ticket, Some(&cx)).is_pending());
        assert_eq!(connection.pool.used(), 100_000 + OWN, "what was not granted went back");
        connection.pool.release(stream.send.on_acked(OWN - 1));
        assert_eq!(count.wakes(), 0);
        connection.pool.release(stream.send.on_acked(1));
        assert_eq!(count.wakes(), 1);
        assert_eq!(stream.poll_reserve(1, &mut ticket, Some(&cx)), Poll::Ready(Ok(1)));
        assert_eq!((ticket, connection.pool.used()), (None, 100_001));
    }

    #[test]
    fn readers_tell_of_credit_by_the_quarter() {
        let connection = connection();
        let (waker, count) = CountingWaker::pair();
        let stream = Stream::opened(StreamId::new(Side::Client, Dir::Uni, 0), 0, connection.clone());
        connection.inbox.signal.clear(&waker);
        stream.count_read(connection.stream_window / 4 - 1);
        assert_eq!(count.wakes(), 0);
        stream.count_read(1);
        assert_eq!((count.wakes(), stream.take_news()), (1, RECV));
        let _cycle = connection.ready.close();
    }
}
