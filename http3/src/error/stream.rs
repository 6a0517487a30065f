//! Why a single request and its response failed.

use std::io;

use super::{Code, ConnectionError};
use crate::proto::headers::{Malformed, Unsendable};

/// An error of the application: what a body or a service failed with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why one exchange of a request and a response failed. Others on the connection go on, except after
/// [`Connection`](Self::Connection).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server takes no new requests on this connection (GOAWAY), and has not processed this one (RFC 9114 §5.2).
    #[error("the server takes no more requests on this connection")]
    GoingAway,
    /// The server did not take the early data that the request was part of, and has not processed it.
    #[error("the server did not take early data")]
    EarlyDataRejected,
    /// The peer reset the stream: it sends no more of its message.
    #[error("the peer reset the stream: {0}")]
    Reset(Code),
    /// The peer does not want the rest of the message.
    #[error("the peer stopped the stream: {0}")]
    Stopped(Code),
    /// The peer's message is malformed (RFC 9114 §4.1.2); it was told so with [`Code::H3_MESSAGE_ERROR`].
    #[error("malformed message: {0}")]
    Malformed(#[from] Malformed),
    /// The client's stream ended before its request was whole; it was told so with [`Code::H3_REQUEST_INCOMPLETE`].
    #[error("the stream ended before the request was whole")]
    Incomplete,
    /// The headers or trailers of the peer's message are larger than this end takes.
    #[error("a field section of the peer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, counted as RFC 9114 §4.2.2 says.
        limit: u64,
    },
    /// The message to be sent cannot be expressed in HTTP/3, or not to this peer.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// The body to be sent is shorter or longer than its content-length. The stream was reset.
    #[error("a body of {actual} bytes or more does not fit its content-length of {declared}")]
    BodyLength {
        /// What the content-length says.
        declared: u64,
        /// How many bytes the body had given.
        actual: u64,
    },
    /// The body to be sent failed. The stream was reset.
    #[error("the body failed")]
    Body(#[source] BoxError),
    /// This end has finished, reset or stopped the stream already.
    #[error("the stream was closed by this end")]
    Closed,
}

impl StreamError {
    /// The HTTP/3 code that was sent or received, if there is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Connection(error) => error.code(),
            Self::Reset(code) | Self::Stopped(code) => Some(*code),
            Self::Malformed(_) => Some(Code::H3_MESSAGE_ERROR),
            Self::Incomplete => Some(Code::H3_REQUEST_INCOMPLETE),
            _ => None,
        }
    }

    /// Whether the peer was silent for too long.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_timeout())
    }

    /// Whether the whole connection has ended.
    #[must_use]
    pub const fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether the server has certainly not processed the request, so that any method may be sent again, on another
    /// connection (RFC 9114 §4.1.1, §5.2).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Self::GoingAway | Self::EarlyDataRejected | Self::Unsendable(_) => true,
            Self::Reset(code) => *code == Code::H3_REQUEST_REJECTED,
            _ => false,
        }
    }

    /// Whether the peer gave the exchange up.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.code(), Some(Code::H3_REQUEST_CANCELLED | Code::H3_REQUEST_REJECTED))
    }

    /// Whether the fault is with the message or body that this end wanted to send.
    #[must_use]
    pub const fn is_user(&self) -> bool {
        matches!(self, Self::Unsendable(_) | Self::BodyLength { .. } | Self::Body(_) | Self::Closed)
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error {
            StreamError::Connection(error) => return error.clone().into(),
            StreamError::GoingAway => io::ErrorKind::ConnectionRefused,
            StreamError::EarlyDataRejected | StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Stopped(_) => io::ErrorKind::BrokenPipe,
            StreamError::Malformed(_) | StreamError::Incomplete | StreamError::TooLarge { .. } => {
                io::ErrorKind::InvalidData
            }
            StreamError::Unsendable(_) | StreamError::BodyLength { .. } => io::ErrorKind::InvalidInput,
            StreamError::Body(_) => io::ErrorKind::Other,
            StreamError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_can_be_sent_again_is_told_apart() {
        assert!(StreamError::GoingAway.is_unprocessed());
        assert!(StreamError::Reset(Code::H3_REQUEST_REJECTED).is_unprocessed());
        assert!(!StreamError::Reset(Code::H3_REQUEST_CANCELLED).is_unprocessed());
        // covers: R9114-5.4-01
        let lost = StreamError::from(ConnectionError::Transport(gannet::ConnectionError::Reset));
        assert!(!lost.is_unprocessed() && lost.is_connection());
    }

    #[test]
    fn errors_keep_their_source_and_kind() {
        let error = StreamError::Body("disk full".into());
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk full"));
        assert!(error.is_user());
        let error = StreamError::from(ConnectionError::Transport(gannet::ConnectionError::TimedOut));
        assert!(error.is_timeout());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            io::Error::from(StreamError::Reset(Code::H3_NO_ERROR)).kind(),
            io::ErrorKind::ConnectionReset
        );
    }
}
