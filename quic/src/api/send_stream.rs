//! The sending half of a stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::wait::wait;
use crate::driver::shared::send::{SendEnd, SendOutcome};
use crate::driver::shared::stream::{SEND, Stream, StreamRef};
use crate::error::{ClosedStream, ConnectionError, ResetAtError, WriteError};
use crate::packet::{Priority, StreamId};
use crate::wire::VarInt;

/// The most that one call copies, and the size that buffers for small writes grow to, bytes.
const MAX_CHUNK: usize = 64 << 10;

/// The first buffer for small writes, bytes.
const MIN_CHUNK: usize = 1 << 10;

/// The sending half of a stream.
///
/// Writing copies data into buffers that the connection sends from, and never waits for packets to be built. It waits
/// when as much as the stream may have under way is not acknowledged yet.
///
/// End it with [`SendStream::finish`] (or `shutdown` of tokio's `AsyncWriteExt`, which does not wait for the peer).
/// Dropping it without resets the stream with code 0; dropping it afterwards never loses anything.
pub struct SendStream {
    stream: StreamRef,
    /// What is left of the buffer that small writes go into.
    spare: BytesMut,
    /// Size of the next such buffer, bytes.
    next_chunk: usize,
    /// Our place among the writers that wait for the connection's budget.
    ticket: Option<u64>,
    /// Our place among those who wait for the end of the stream.
    end_ticket: Option<u64>,
    /// FIN or reset was asked for.
    ended: bool,
}

impl SendStream {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Self {
            stream: StreamRef::new(stream),
            spare: BytesMut::new(),
            next_chunk: 0,
            ticket: None,
            end_ticket: None,
            ended: false,
        }
    }

    /// The number of the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.stream.id
    }

    /// Writes some of `data`, at most 64 KiB, and returns how many bytes.
    ///
    /// # Errors
    /// [`WriteError`], if the stream or the connection has ended.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has written nothing.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let attempt = Attempt(self);
        poll_fn(|cx| attempt.0.poll_write_some(cx, data)).await
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// [`WriteError`], if the stream or the connection has ended; an unknown part was written.
    ///
    /// # Cancel safety
    /// Not safe: a cancelled call has written an unknown part.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of `chunk` without copying it.
    ///
    /// # Errors
    /// [`WriteError`], if the stream or the connection has ended; an unknown part was written.
    ///
    /// # Cancel safety
    /// Not safe: a cancelled call has written an unknown part. [`SendStream::poll_write_chunk`] tells which.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), WriteError> {
        let attempt = Attempt(self);
        while !chunk.is_empty() {
            poll_fn(|cx| attempt.0.poll_write_chunk(cx, &mut chunk)).await?;
        }
        Ok(())
    }

    /// Writes some of `chunk` without copying, and takes that off its front.
    ///
    /// # Errors
    /// [`WriteError`], if the stream or the connection has ended.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<usize, WriteError>> {
        let granted = ready!(self.poll_reserve(cx, chunk.len()))?;
        if granted > 0 {
            self.stream.send.push(chunk.split_to(granted));
            self.stream.tell(SEND);
        }
        Poll::Ready(Ok(granted))
    }

    /// As [`SendStream::poll_write_chunk`]; if it takes all of `chunk`, the stream ends with it, as by
    /// [`SendStream::finish`]. The end of a short message thus goes into the same packet as its data.
    ///
    /// # Errors
    /// [`WriteError`], if the stream or the connection has ended.
    pub fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<usize, WriteError>> {
        let granted = ready!(self.poll_reserve(cx, chunk.len()))?;
        let part = chunk.split_to(granted);
        if chunk.is_empty() {
            self.ended = true;
            self.stream.send.push_last(part).map_err(|refused| self.stream.write_error(refused))?;
        } else {
            self.stream.send.push(part);
        }
        self.stream.tell(SEND);
        Poll::Ready(Ok(granted))
    }

    /// Ends the stream: FIN follows what was written. That is done when this returns; the future resolves when the peer
    /// has acknowledged everything.
    ///
    /// # Errors
    /// [`WriteError`], if the peer stopped the stream, this end reset it, or the connection ended before everything was
    /// acknowledged.
    ///
    /// # Cancel safety
    /// Safe: the stream stays finished, and may be finished again.
    pub fn finish(&mut self) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let queued = self.queue_fin();
        let stream = self.stream.clone();
        async move {
            queued?;
            match outcome(&stream).await {
                SendOutcome::Delivered => Ok(()),
                SendOutcome::Reset => Err(WriteError::ClosedStream),
                SendOutcome::Stopped(code) => Err(WriteError::Stopped(code)),
                SendOutcome::Rejected => Err(WriteError::ZeroRttRejected),
                SendOutcome::Lost => Err(stream.lost().into()),
            }
        }
    }

    fn queue_fin(&mut self) -> Result<(), WriteError> {
        self.ended = true;
        match self.stream.end_send(SendEnd::Fin) {
            // Finished before, or reset: the outcome tells which.
            Err(WriteError::ClosedStream) => Ok(()),
            result => result,
        }
    }

    /// Abandons the stream at once, with a code of the application's. What the peer has not got is lost.
    ///
    /// # Errors
    /// [`ClosedStream`], if it was reset before, or the peer has acknowledged everything.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        self.ended = true;
        self.stream.end_send(SendEnd::Reset(code)).map_err(|_| ClosedStream)
    }

    /// Abandons the stream with a code of the application's, but for its first `reliable_size` bytes, or all that was
    /// written if that is less: those are delivered, and after them the reader learns of the reset
    /// (draft-ietf-quic-reliable-stream-reset-10). [`SendStream::stopped`] resolves when the peer has acknowledged that.
    ///
    /// May be called again with a smaller size; the first code stays. A later [`SendStream::reset`] makes it 0.
    ///
    /// # Errors
    /// [`ResetAtError::Unsupported`] if the peer does not know such resets, [`ResetAtError::ClosedStream`] if the size does
    /// not become smaller, the stream was reset or stopped before, or the peer has acknowledged everything. Nothing has
    /// changed then.
    pub fn reset_at(&mut self, code: VarInt, reliable_size: u64) -> Result<(), ResetAtError> {
        if !self.stream.connection.resets_at() {
            return Err(ResetAtError::Unsupported);
        }
        self.stream.end_send(SendEnd::ResetAt(code, reliable_size)).map_err(|_| ClosedStream)?;
        self.ended = true;
        Ok(())
    }

    /// Resolves when the peer wants no more of the stream, with its code; `None` if it came to another end: the peer has
    /// acknowledged everything, this end reset it, or the server did not take early data. The future does not borrow the stream.
    ///
    /// # Errors
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Safe.
    pub fn stopped(&self) -> impl Future<Output = Result<Option<VarInt>, ConnectionError>> + Send + use<> {
        let stream = self.stream.clone();
        async move {
            match outcome(&stream).await {
                SendOutcome::Stopped(code) => Ok(Some(code)),
                SendOutcome::Delivered | SendOutcome::Reset | SendOutcome::Rejected => Ok(None),
                SendOutcome::Lost => Err(stream.lost()),
            }
        }
    }

    /// As [`SendStream::stopped`], without a future.
    ///
    /// # Errors
    /// If the connection ends before.
    pub fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<VarInt>, ConnectionError>> {
        Poll::Ready(match ready!(self.stream.send.poll_outcome(&mut self.end_ticket, cx)) {
            SendOutcome::Stopped(code) => Ok(Some(code)),
            SendOutcome::Delivered | SendOutcome::Reset | SendOutcome::Rejected => Ok(None),
            SendOutcome::Lost => Err(self.stream.lost()),
        })
    }

    /// Says which streams send before this one: a plain number, of which higher ones go first, or a [`Priority`] in the
    /// terms of HTTP. 0 at first. It may change at any time, also while the stream is finishing.
    ///
    /// # Errors
    /// [`ClosedStream`], if the stream has come to its end.
    pub fn set_priority(&mut self, priority: impl Into<Priority>) -> Result<(), ClosedStream> {
        self.stream.send.set_priority(priority.into()).map_err(|_| ClosedStream)?;
        self.stream.tell(SEND);
        Ok(())
    }

    /// The priority last set.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.stream.send.priority()
    }

    fn poll_reserve(&mut self, cx: &Context<'_>, want: usize) -> Poll<Result<usize, WriteError>> {
        if want == 0 {
            return Poll::Ready(Ok(0));
        }
        let granted = ready!(self.stream.poll_reserve(want as u64, &mut self.ticket, Some(cx)))?;
        Poll::Ready(Ok(usize::try_from(granted).unwrap_or(want)))
    }

    /// Gives up the place among the writers that wait for the connection's budget.
    fn leave_line(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.stream.connection.pool.cancel(ticket);
        }
    }

    fn poll_write_some(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        let granted = ready!(self.poll_reserve(cx, data.len().min(MAX_CHUNK)))?;
        self.put(data.get(..granted).unwrap_or(data));
        if granted > 0 {
            self.stream.tell(SEND);
        }
        Poll::Ready(Ok(granted))
    }

    /// Copies data that was promised room: large ones into a chunk of their own, small ones into one they share.
    fn put(&mut self, data: &[u8]) {
        if self.spare.capacity() < data.len() {
            let large = data.len() >= self.next_chunk;
            self.next_chunk = (2 * self.next_chunk.max(data.len())).clamp(MIN_CHUNK, MAX_CHUNK);
            if large {
                return self.stream.send.push(Bytes::copy_from_slice(data));
            }
            self.spare = BytesMut::with_capacity(self.next_chunk);
        }
        self.spare.extend_from_slice(data);
        self.stream.send.push_part(self.spare.split());
    }
}

/// A future that writes. If it is dropped while it waits for the connection's budget, others go on in its place.
struct Attempt<'a>(&'a mut SendStream);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.leave_line();
    }
}

async fn outcome(stream: &StreamRef) -> SendOutcome {
    let half = &stream.send;
    wait(|ticket, cx| half.poll_outcome(ticket, cx), |ticket| half.cancel(ticket)).await
}

impl AsyncWrite for SendStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_some(cx, data).map_err(Into::into)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let granted = ready!(self.poll_reserve(cx, total.min(MAX_CHUNK)))?;
        let mut left = granted;
        for slice in slices {
            let part = slice.get(..left).unwrap_or(slice);
            if !part.is_empty() {
                self.put(part);
            }
            left -= part.len();
        }
        if granted > 0 {
            self.stream.tell(SEND);
        }
        Poll::Ready(Ok(granted))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the connection sends as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Queues FIN and returns; the data are safe from then on, as long as the connection lives.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.queue_fin().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.leave_line();
        if let Some(ticket) = self.end_ticket.take() {
            self.stream.send.cancel(ticket);
        }
        if !self.ended && self.stream.send.is_open() {
            // Refused only if the stream has ended meanwhile.
            let _ = self.stream.end_send(SendEnd::Reset(VarInt::default()));
        }
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::driver::shared::connection::testing::connection;
    use crate::driver::testing::CountingWaker;
    use crate::packet::{Dir, Side};

    #[test]
    fn a_write_that_is_dropped_after_its_wake_passes_it_on() {
        let connection = connection();
        let stream = |index| {
            let id = StreamId::new(Side::Client, Dir::Uni, index);
            SendStream::new(Stream::opened(id, 0, connection.clone()))
        };
        let (mut a, mut b) = (stream(0), stream(1));
        let Poll::Ready(all) = connection.pool.poll_reserve(u64::MAX, &mut None, None) else { panic!() };
        // What they have for themselves.
        let own = [&a, &b].map(|stream| stream.stream.poll_reserve(u64::MAX, &mut None, None));
        let own: u64 = own.iter().map(|own| if let Poll::Ready(Ok(own)) = own { *own } else { 0 }).sum();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
        let wakes = || counts.iter().map(|count| count.wakes()).collect::<Vec<_>>();
        let mut other = pin!(b.write_chunk(Bytes::from_static(b"x")));
        {
            let mut dropped = pin!(a.write(b"x"));
            assert!(dropped.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
            assert!(other.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());
            connection.pool.release(all / 4 + own);
            assert_eq!(wakes(), [1, 0]);
        }
        assert_eq!(wakes(), [1, 1]);
        assert!(other.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_ready());
        let _cycle = connection.ready.close();
    }
}
