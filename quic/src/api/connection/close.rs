//! The end of a connection.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::api::wait::wait;
use crate::driver::shared::connection::Progress;
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
        let draining = shared.drain();
        let number = draining.number;
        shared.command(|commands| commands.drain = commands.drain.max(Some(number)));
        let done = |progress: &Progress| (progress.drained >= number).then_some(());
        let drained = wait(
            |ticket, cx| shared.poll_progress(ticket, cx, done),
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::driver::shared::connection::ConnectionRef;
    use crate::driver::shared::connection::testing::connection;

    /// The task may be late with the answer for one that was cancelled.
    #[tokio::test]
    async fn the_answer_to_an_earlier_question_is_none_to_a_later() {
        let shared = connection();
        let connection = Connection::new(ConnectionRef::new(shared.clone()));
        let cx = &mut Context::from_waker(Waker::noop());
        let close = || connection.close_gracefully(0_u8.into(), b"", Duration::from_secs(60));
        assert!(pin!(close()).poll(cx).is_pending());
        let first = shared.take_commands().unwrap().drain.unwrap();
        let mut second = pin!(close());
        assert!(second.as_mut().poll(cx).is_pending());
        shared.advance(|progress| progress.drained = first);
        assert!(second.as_mut().poll(cx).is_pending());
        let number = shared.take_commands().unwrap().drain.unwrap();
        shared.advance(|progress| progress.drained = number);
        assert!(second.as_mut().poll(cx).is_ready());
        assert!(shared.closed().is_some());
    }
}
