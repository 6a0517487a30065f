//! The receiving half of a stream whose reader does without order.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::recv_stream::outcome;
use crate::driver::shared::recv::{Fill, Pieces};
use crate::driver::shared::stream::{RECV, StreamRef};
use crate::error::{ClosedStream, ReadError};
use crate::packet::StreamId;
use crate::wire::VarInt;

/// A piece of a stream, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Position of the first byte in the stream.
    pub offset: u64,
    /// The bytes; at least one, unless none were asked for.
    pub bytes: Bytes,
}

/// The receiving half of a stream, read as its data arrive: what comes early does not wait for what was lost.
///
/// Each byte comes once. From [`RecvStream::into_unordered`](crate::RecvStream::into_unordered); there is no way back.
/// The peer may send as much behind the first gap as the window of a stream allows, and no more until the gap is filled.
///
/// Dropping it before the end asks the peer to stop, with code 0.
pub struct UnorderedRecvStream {
    stream: StreamRef,
    /// Taken out of the shared part, and not handed to the application yet.
    local: Pieces,
    /// The end was seen, or the stream stopped: there is nothing left to stop.
    ended: bool,
}

impl UnorderedRecvStream {
    pub(super) fn new(stream: StreamRef, local: Pieces, ended: bool) -> Self {
        Self { stream, local, ended }
    }

    /// The number of the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.stream.id
    }

    /// A piece that was not read yet, at most `max` bytes, without copying where that can be; `None` at the end of the
    /// stream, when all of it was read.
    ///
    /// With a `max` of 0 it waits for data as well, and takes none.
    ///
    /// A small chunk can keep a larger buffer in memory; copy it if it is kept for long.
    ///
    /// # Errors
    /// [`ReadError`], if the stream was reset or stopped, or the connection ended before the end came.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has read nothing.
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Chunk>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx, max)).await
    }

    /// The form of [`UnorderedRecvStream::read_chunk`] for hand-written futures.
    ///
    /// # Errors
    /// As there.
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Chunk>, ReadError>> {
        if self.local.is_empty() {
            let (fill, news) = ready!(self.stream.recv.poll_pieces(&mut self.local, cx));
            if news {
                self.stream.tell(RECV);
            }
            self.ended |= matches!(fill, Fill::End(_));
            if !outcome(&self.stream, fill)? {
                return Poll::Ready(Ok(None));
            }
        }
        let Some((offset, mut bytes)) = self.local.pop_front() else { return Poll::Ready(Ok(None)) };
        if bytes.len() > max {
            let rest = bytes.split_off(max);
            self.local.push_front((offset + bytes.len() as u64, rest));
        }
        self.stream.count_read(bytes.len() as u64);
        Poll::Ready(Ok(Some(Chunk { offset, bytes })))
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
        let local = std::mem::take(&mut self.local);
        self.stream.count_read(shared + local.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
        self.stream.tell(RECV);
        Ok(())
    }
}

impl Drop for UnorderedRecvStream {
    fn drop(&mut self) {
        // Refused if it was stopped before, or read to its end.
        let _ = self.stop(VarInt::default());
    }
}

impl fmt::Debug for UnorderedRecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnorderedRecvStream").field("id", &self.id()).finish_non_exhaustive()
    }
}
