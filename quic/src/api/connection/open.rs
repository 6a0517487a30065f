//! Opening streams.

use std::sync::Arc;

use super::Connection;
use crate::api::wait::wait;
use crate::api::{RecvStream, SendStream};
use crate::driver::shared::open_credit::Opening;
use crate::driver::shared::stream::Stream;
use crate::error::ConnectionError;
use crate::packet::Dir;

impl Connection {
    /// Opens a bidirectional stream, when the peer allows one more. Tasks that wait are served in order.
    ///
    /// The peer hears of the stream when something is written on it.
    ///
    /// # Errors
    /// If the connection is over, or is being closed by [`Connection::close_gracefully`].
    ///
    /// # Cancel safety
    /// Safe: a cancelled call opens nothing.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let stream = self.open(Dir::Bi).await?;
        Ok((SendStream::new(stream.clone()), RecvStream::new(stream)))
    }

    /// Opens a unidirectional stream, when the peer allows one more. Tasks that wait are served in order.
    ///
    /// The peer hears of the stream when something is written on it.
    ///
    /// # Errors
    /// If the connection is over, or is being closed by [`Connection::close_gracefully`].
    ///
    /// # Cancel safety
    /// Safe: a cancelled call opens nothing.
    pub async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        self.open(Dir::Uni).await.map(SendStream::new)
    }

    /// Opens a bidirectional stream if the peer allows one now; `None` if not.
    ///
    /// # Errors
    /// If the connection is over, or is being closed by [`Connection::close_gracefully`].
    pub fn try_open_bi(&self) -> Result<Option<(SendStream, RecvStream)>, ConnectionError> {
        let stream = self.try_open(Dir::Bi)?;
        Ok(stream.map(|stream| (SendStream::new(stream.clone()), RecvStream::new(stream))))
    }

    /// Opens a unidirectional stream if the peer allows one now; `None` if not.
    ///
    /// # Errors
    /// If the connection is over, or is being closed by [`Connection::close_gracefully`].
    pub fn try_open_uni(&self) -> Result<Option<SendStream>, ConnectionError> {
        self.try_open(Dir::Uni).map(|stream| stream.map(SendStream::new))
    }

    async fn open(&self, dir: Dir) -> Result<Arc<Stream>, ConnectionError> {
        if let Some(stream) = self.try_open(dir)? {
            return Ok(stream);
        }
        let shared = &self.shared;
        let credit = &shared.open[dir.index()];
        let mut told = false;
        let opening = wait(
            |ticket, cx| {
                if let std::task::Poll::Ready(opening) = credit.poll_open(ticket, cx) {
                    return std::task::Poll::Ready(Ok(opening));
                }
                // Whoever closes sets the mark and then wakes: one of the two is seen.
                if let Some(error) = shared.refuses_streams() {
                    return std::task::Poll::Ready(Err(error));
                }
                if !std::mem::replace(&mut told, true) {
                    shared.command(|commands| commands.open_blocked[dir.index()] = true);
                }
                std::task::Poll::Pending
            },
            |ticket| credit.cancel(ticket),
        )
        .await?;
        self.made(dir, opening)
    }

    fn try_open(&self, dir: Dir) -> Result<Option<Arc<Stream>>, ConnectionError> {
        if let Some(error) = self.shared.refuses_streams() {
            return Err(error);
        }
        self.shared.open[dir.index()].try_open().map(|opening| self.made(dir, opening)).transpose()
    }

    fn made(&self, dir: Dir, opening: Opening) -> Result<Arc<Stream>, ConnectionError> {
        self.shared
            .open_stream(dir, opening)
            .ok_or_else(|| self.close_reason().unwrap_or(ConnectionError::TaskLost))
    }
}
