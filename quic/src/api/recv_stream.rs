//! The receiving half of a stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::UnorderedRecvStream;
use crate::driver::shared::chunks::Chunks;
use crate::driver::shared::recv::{Fill, Pieces, RecvEnd};
use crate::driver::shared::stream::{RECV, Stream, StreamRef};
use crate::error::{ClosedStream, ReadError, ReadExactError, ReadToEndError};
use crate::packet::StreamId;
use crate::wire::VarInt;

/// The receiving half of a stream.
///
/// What has arrived in order is handed out as slices of the receive buffers ([`RecvStream::read_chunk`]) or copied
/// ([`RecvStream::read`], `AsyncRead`). Reading gives the peer credit to send more.
///
/// Dropping it before the end asks the peer to stop, with code 0.
pub struct RecvStream {
    stream: StreamRef,
    /// Taken out of the shared part, and not handed to the application yet.
    local: Chunks,
    /// Bytes handed to the application.
    read: u64,
    /// The end was seen, or the stream stopped: there is nothing left to stop.
    ended: bool,
}

impl RecvStream {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Self { stream: StreamRef::new(stream), local: Chunks::default(), read: 0, ended: false }
    }

    /// The number of the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.stream.id
    }

    /// Reads some data into `buf`, and returns how many bytes; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`], if the stream was reset or stopped, or the connection ended before the end came.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has read nothing.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        let mut buf = ReadBuf::new(buf);
        if buf.capacity() == 0 {
            return Ok(Some(0));
        }
        poll_fn(|cx| self.poll_read_some(cx, &mut buf)).await?;
        let read = buf.filled().len();
        Ok((read > 0).then_some(read))
    }

    /// Fills all of `buf`.
    ///
    /// # Errors
    /// [`ReadExactError`], if the stream ends before, or cannot be read.
    ///
    /// # Cancel safety
    /// Not safe: what a cancelled call has read is in `buf`, and nobody knows how much that is.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ReadExactError> {
        let mut buf = ReadBuf::new(buf);
        while buf.remaining() > 0 {
            let before = buf.filled().len();
            poll_fn(|cx| self.poll_read_some(cx, &mut buf)).await?;
            if buf.filled().len() == before {
                return Err(ReadExactError::FinishedEarly(before));
            }
        }
        Ok(())
    }

    /// The next bytes, at most `max`, without copying; `None` at the end of the stream. With a `max` of 0 it waits for data as
    /// well, and takes none.
    ///
    /// A small chunk can keep a larger buffer in memory; copy it if it is kept for long.
    ///
    /// # Errors
    /// [`ReadError`], if the stream was reset or stopped, or the connection ended before the end came.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has read nothing.
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx, max)).await
    }

    /// The form of [`RecvStream::read_chunk`] for hand-written futures.
    ///
    /// # Errors
    /// As there.
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        if !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(None));
        }
        let chunk = self.local.pop_up_to(max).unwrap_or_default();
        self.count_read(chunk.len() as u64);
        Poll::Ready(Ok(Some(chunk)))
    }

    /// Reads all the rest of the stream, which may have at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadToEndError`], if it is longer, or cannot be read. What was read is lost.
    ///
    /// # Cancel safety
    /// Not safe: what a cancelled call has read is lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadToEndError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(usize::MAX).await? {
            if chunk.len() > limit - all.len() {
                return Err(ReadToEndError::TooLong);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Gives up the order of the stream: what is left of it is read as it arrives, without waiting for what was lost or
    /// is late.
    #[must_use]
    pub fn into_unordered(mut self) -> UnorderedRecvStream {
        let mut offset = self.read;
        let mut local = Pieces::new();
        while let Some(chunk) = self.local.pop() {
            let start = offset;
            offset += chunk.len() as u64;
            local.push_back((start, chunk));
        }
        self.stream.recv.set_unordered(offset);
        self.stream.tell(RECV);
        // The share in the stream passes on: nothing is to be stopped.
        let ended = std::mem::replace(&mut self.ended, true);
        UnorderedRecvStream::new(self.stream.clone(), local, ended)
    }

    /// Asks the peer to send no more, with a code of the application's, and throws away what has arrived.
    ///
    /// # Errors
    /// [`ClosedStream`], if the stream was stopped before, or read to its end.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        if std::mem::replace(&mut self.ended, true) {
            return Err(ClosedStream);
        }
        let shared = self.stream.recv.stop(code).ok_or(ClosedStream)?;
        let local = std::mem::take(&mut self.local).bytes();
        self.stream.count_read(shared + local);
        self.stream.tell(RECV);
        Ok(())
    }

    /// True if the stream began before the handshake was complete: its first bytes came as early data, which can be a
    /// replay (RFC 9001 §9.2). Once [`Connection::handshake_completed`](crate::Connection::handshake_completed) resolves,
    /// it cannot be one. Always false for streams that this end opened.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.stream.early
    }

    /// Makes sure that `local` is not empty; false at the end of the stream.
    fn poll_fill(&mut self, cx: &Context<'_>) -> Poll<Result<bool, ReadError>> {
        if !self.local.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let (fill, news) = ready!(self.stream.recv.poll_fill(&mut self.local, cx));
        if news {
            self.stream.tell(RECV);
        }
        self.ended |= matches!(fill, Fill::End(_));
        Poll::Ready(outcome(&self.stream, fill))
    }

    /// Copies what is there into `buf`; nothing, if the stream has ended.
    fn poll_read_some(&mut self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), ReadError>> {
        if !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        while buf.remaining() > 0
            && let Some(chunk) = self.local.pop_up_to(buf.remaining())
        {
            buf.put_slice(&chunk);
        }
        self.count_read((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }

    fn count_read(&mut self, bytes: u64) {
        self.read += bytes;
        self.stream.count_read(bytes);
    }
}

/// True if there is something to read, false at the end of the stream.
pub(super) fn outcome(stream: &Stream, fill: Fill) -> Result<bool, ReadError> {
    match fill {
        Fill::Data => Ok(true),
        Fill::End(RecvEnd::Fin) => Ok(false),
        Fill::End(RecvEnd::Reset(code) | RecvEnd::ResetAt(code)) => Err(ReadError::Reset(code)),
        Fill::Stopped => Err(ReadError::ClosedStream),
        Fill::Rejected => Err(ReadError::ZeroRttRejected),
        Fill::Lost => Err(stream.lost().into()),
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_read_some(cx, buf).map_err(Into::into)
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        // Refused if it was stopped before, or read to its end, or goes on without order.
        let _ = self.stop(VarInt::default());
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("id", &self.id()).finish_non_exhaustive()
    }
}
