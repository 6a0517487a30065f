//! The end of a connection.

use bytes::Bytes;

use super::Connection;
use crate::api::wait::wait;
use crate::error::ConnectionError;
use crate::wire::VarInt;

impl Connection {
    /// Closes the connection at once with a code and a reason of the application's.
    ///
    /// Data that the peer has not acknowledged may be lost. To end in order, finish each stream and await
    /// [`SendStream::finish`](crate::SendStream::finish), and let the side that receives the last data close. A reason
    /// that does not fit in a packet is cut off.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.shared.close(code, Bytes::copy_from_slice(reason));
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
