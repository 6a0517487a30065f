//! The end of a connection.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::api::wait::wait;
use crate::error::ConnectionError;
use crate::wire::VarInt;

impl Connection {
    /// Closes the connection at once with a code and a reason of the application's.
    ///
    /// Data that the peer has not acknowledged may be lost. To end in order, await
    /// [`SendStream::finish`](crate::SendStream::finish) of each stream, or use [`Connection::close_gracefully`]; best
    /// of all, let the side that receives the last data close. A reason that does not fit in a packet is cut off.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.shared.close(code, Bytes::copy_from_slice(reason));
    }

    /// Closes the connection when the peer has acknowledged all streams that were finished, or after the time `deadline`,
    /// whichever comes first. Resolves when it is closed.
    ///
    /// Meanwhile no stream can be opened: that fails with [`ConnectionError::LocallyClosed`], also for those that wait for
    /// one already. Streams that exist can be written to, and those that are finished in time are waited for as well;
    /// the others are abandoned. Streams that the peer opens are still handed out, so that it can be told, by
    /// [`RecvStream::stop`](crate::RecvStream::stop) and [`SendStream::reset`](crate::SendStream::reset), that they come
    /// too late.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has not closed the connection, and streams can be opened again.
    pub async fn close_gracefully(&self, code: VarInt, reason: &[u8], deadline: Duration) {
        let shared = &self.shared;
        let _draining = shared.drain();
        shared.advance(|progress| progress.drained = false);
        shared.command(|commands| commands.drain = true);
        let drained = wait(
            |ticket, cx| shared.poll_progress(ticket, cx, |progress| progress.drained.then_some(())),
            |ticket| shared.cancel_progress(ticket),
        );
        // Late or over already: either way nothing more can be waited for.
        let _ = tokio::time::timeout(deadline, drained).await;
        self.close(code, reason);
    }

    /// Waits until the connection is over, and says why.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) -> ConnectionError {
        let shared = &self.shared;
        let ended = wait(
            |ticket, cx| shared.poll_progress(ticket, cx, |_| None::<()>),
            |ticket| shared.cancel_progress(ticket),
        );
        match ended.await {
            Err(error) => error,
            Ok(()) => ConnectionError::TaskLost,
        }
    }

    /// Why the connection is over; `None` if it is not.
    #[must_use]
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.shared.closed().cloned()
    }
}
