//! Streams that the peer opens.

use std::sync::Arc;

use super::Connection;
use crate::api::wait::wait;
use crate::api::{RecvStream, SendStream};
use crate::driver::shared::stream::Stream;
use crate::error::ConnectionError;
use crate::packet::Dir;

impl Connection {
    /// The next bidirectional stream that the peer opens. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the connection is over. Streams that came before are still handed out, unless this end closed it.
    ///
    /// # Cancel safety
    /// Safe: no stream is lost.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let stream = self.accept(Dir::Bi).await?;
        Ok((SendStream::new(stream.clone()), RecvStream::new(stream)))
    }

    /// The next unidirectional stream that the peer opens. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the connection is over. Streams that came before are still handed out, unless this end closed it.
    ///
    /// # Cancel safety
    /// Safe: no stream is lost.
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        self.accept(Dir::Uni).await.map(RecvStream::new)
    }

    async fn accept(&self, dir: Dir) -> Result<Arc<Stream>, ConnectionError> {
        let queue = &self.shared.accepted[dir.index()];
        let stream = wait(
            |ticket, cx| {
                if let Some(ConnectionError::LocallyClosed) = self.shared.closed() {
                    return std::task::Poll::Ready(None);
                }
                queue.poll_pop(ticket, cx)
            },
            |ticket| queue.cancel(ticket),
        )
        .await;
        stream.ok_or_else(|| self.close_reason().unwrap_or(ConnectionError::TaskLost))
    }
}
