//! Why a whole connection ended.

use std::io;

use bytes::Bytes;

use super::{Code, Violation};

/// Why an HTTP/3 connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke the protocol; this end closed the connection and told it so.
    #[error("closed for a violation of the protocol: {code}: {reason}")]
    Protocol {
        /// What the peer was told.
        code: Code,
        /// What it did.
        reason: &'static str,
    },
    /// The peer closed the connection. With [`Code::H3_NO_ERROR`] that is the ordinary end.
    #[error("closed by the peer: {code}{}{}", if reason.is_empty() { "" } else { ": " }, reason.escape_ascii())]
    ClosedByPeer {
        /// Why; unknown codes mean [`Code::H3_NO_ERROR`].
        code: Code,
        /// For people; chosen by the peer.
        reason: Bytes,
    },
    /// This end closed the connection, or dropped the last handle to it.
    #[error("closed by this end")]
    LocallyClosed,
    /// The QUIC connection failed: idle timeout, TLS, stateless reset and so on.
    #[error(transparent)]
    Transport(gannet::ConnectionError),
}

impl ConnectionError {
    /// The HTTP/3 code that was sent or received, if the connection ended with one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Protocol { code, .. } | Self::ClosedByPeer { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the peer was silent for too long, during the handshake or later.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Transport(gannet::ConnectionError::TimedOut | gannet::ConnectionError::HandshakeTimeout)
        )
    }

    /// Whether the connection was closed, by either end, without anything having gone wrong.
    #[must_use]
    pub fn is_graceful(&self) -> bool {
        match self {
            Self::LocallyClosed => true,
            // Codes nobody knows count as no error (RFC 9114 §8).
            Self::ClosedByPeer { code, .. } => *code == Code::H3_NO_ERROR || code.name().is_none(),
            _ => false,
        }
    }

    /// Whether one end accused the other of breaking the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self, Self::Protocol { .. })
            || matches!(self, Self::ClosedByPeer { .. }) && !self.is_graceful()
    }
}

impl From<gannet::ConnectionError> for ConnectionError {
    fn from(error: gannet::ConnectionError) -> Self {
        match error {
            gannet::ConnectionError::Application { code, reason } => {
                Self::ClosedByPeer { code: code.into(), reason }
            }
            gannet::ConnectionError::LocallyClosed => Self::LocallyClosed,
            error => Self::Transport(error),
        }
    }
}

impl From<Violation> for ConnectionError {
    fn from(Violation { code, reason }: Violation) -> Self {
        Self::Protocol { code, reason }
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        let kind = match &error {
            ConnectionError::Protocol { .. } => io::ErrorKind::InvalidData,
            ConnectionError::ClosedByPeer { .. } => io::ErrorKind::ConnectionAborted,
            ConnectionError::LocallyClosed => io::ErrorKind::NotConnected,
            ConnectionError::Transport(error) => io::Error::from(error.clone()).kind(),
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: Code) -> ConnectionError {
        ConnectionError::ClosedByPeer { code, reason: Bytes::new() }
    }

    #[test]
    fn unknown_codes_count_as_no_error() {
        // covers: R9114-8-01
        for (code, graceful) in
            [(0x0100, true), (0x21, true), (0x1234, true), (0x0102, false), (0x0200, false)]
        {
            let error = closed(Code::from_varint(gannet::VarInt::from_u32(code)));
            assert_eq!(error.is_graceful(), graceful, "{error}");
            assert_eq!(error.is_protocol(), !graceful, "{error}");
        }
    }

    #[test]
    fn errors_of_the_transport_are_sorted() {
        let timed_out = ConnectionError::from(gannet::ConnectionError::TimedOut);
        assert!(timed_out.is_timeout() && !timed_out.is_graceful());
        assert_eq!(io::Error::from(timed_out).kind(), io::ErrorKind::TimedOut);
        let application = gannet::ConnectionError::Application {
            code: Code::H3_NO_ERROR.into(),
            reason: Bytes::from_static(b"bye"),
        };
        let error = ConnectionError::from(application);
        assert!(error.is_graceful());
        assert_eq!(error.code(), Some(Code::H3_NO_ERROR));
        assert_eq!(error.to_string(), "closed by the peer: H3_NO_ERROR: bye");
    }

    #[test]
    fn a_reason_cannot_write_to_the_terminal() {
        let reason = Bytes::from_static(b"\x1b[2J\r\nno\xff");
        let error = ConnectionError::ClosedByPeer { code: Code::H3_NO_ERROR, reason };
        assert!(error.to_string().ends_with(r": \x1b[2J\r\nno\xff"), "{error}");
    }
}
