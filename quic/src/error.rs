//! Public errors: one small enum per operation, and the kind of [`io::Error`] each becomes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::crypto::tls::{TlsConfigError, alert};
pub use crate::packet::{TransportError, TransportErrorCode};
use crate::wire::VarInt;

/// Which end closed a connection with a transport error.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// This end: it found the error, and told the peer.
    Local,
    /// The peer: the error is what its CONNECTION_CLOSE said.
    Peer,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server answered with Version Negotiation and offers no version that this end speaks (RFC 9000 §6.2).
    #[error("the peer speaks none of our QUIC versions (it offers {offered:x?})")]
    VersionMismatch {
        /// What the server offers.
        offered: Vec<u32>,
    },
    /// The handshake did not complete in time; perhaps nobody listens there.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// Nothing arrived for as long as the idle timeout (RFC 9000 §10.1).
    #[error("the connection was idle for too long")]
    TimedOut,
    /// The peer has forgotten the connection (stateless reset, RFC 9000 §10.3).
    #[error("reset by the peer: it does not know the connection any more")]
    Reset,
    /// An error of the protocol, TLS included (CONNECTION_CLOSE of type 0x1c).
    #[error("{}", describe(*by, error))]
    Transport {
        /// Who found it.
        by: ClosedBy,
        /// Code, frame type and reason.
        error: TransportError,
    },
    /// The peer's application closed the connection (CONNECTION_CLOSE of type 0x1d).
    #[error("closed by the peer's application: code {code}{}{}", if reason.is_empty() { "" } else { ": " }, reason.escape_ascii())]
    Application {
        /// The application's code.
        code: VarInt,
        /// For people; chosen by the peer.
        reason: Bytes,
    },
    /// The server refused the connection (CONNECTION_REFUSED, RFC 9000 §20.1).
    #[error("the server refused the connection")]
    Refused,
    /// The system says that the peer cannot be reached, and nothing authenticated has arrived from it.
    #[error("the peer cannot be reached ({0})")]
    Unreachable(io::ErrorKind),
    /// This end closed the connection, or dropped the last handle to it.
    #[error("closed by this end")]
    LocallyClosed,
    /// The task that drove the connection is gone: its runtime was shut down, or it panicked.
    #[error("the task of the connection is gone")]
    TaskLost,
}

impl ConnectionError {
    /// An error that this end found.
    #[must_use]
    pub fn local(error: TransportError) -> Self {
        Self::Transport { by: ClosedBy::Local, error }
    }

    /// What the peer's CONNECTION_CLOSE of type 0x1c said.
    #[must_use]
    pub fn peer(error: TransportError) -> Self {
        if error.code == TransportErrorCode::CONNECTION_REFUSED {
            Self::Refused
        } else {
            Self::Transport { by: ClosedBy::Peer, error }
        }
    }

    /// The TLS alert that ended the handshake, if one did (RFC 8446 §6), whichever end sent it; for example 120 where
    /// there was no common application protocol, and 116 where a client did not show the certificate it needs.
    #[must_use]
    pub fn tls_alert(&self) -> Option<u8> {
        match self {
            Self::Transport { error, .. } => error.code.tls_alert(),
            _ => None,
        }
    }

    /// The name of that alert in the registry of TLS, for example `no_application_protocol`.
    #[must_use]
    pub fn tls_alert_name(&self) -> Option<&'static str> {
        self.tls_alert().and_then(alert::name)
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::VersionMismatch { .. } => io::ErrorKind::Unsupported,
            Self::HandshakeTimeout | Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::Transport { by: ClosedBy::Local, .. } => io::ErrorKind::InvalidData,
            Self::Transport { .. } | Self::Application { .. } => io::ErrorKind::ConnectionAborted,
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::Unreachable(kind) => *kind,
            Self::LocallyClosed => io::ErrorKind::NotConnected,
            Self::TaskLost => io::ErrorKind::BrokenPipe,
        }
    }
}

/// The error with the meaning of its TLS alert, where it carries one. Our own reasons tell that already.
fn describe(by: ClosedBy, error: &TransportError) -> String {
    match (by, error.code.tls_alert().and_then(alert::name)) {
        (ClosedBy::Local, _) => format!("closed for an error: {error}"),
        (ClosedBy::Peer, Some(name)) => format!("closed by the peer: {error} (TLS alert {name})"),
        (ClosedBy::Peer, None) => format!("closed by the peer: {error}"),
    }
}

/// Why no attempt at a connection was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint was closed, or its task is gone.
    #[error("the endpoint is closed")]
    EndpointClosed,
    /// The endpoint has no default client configuration and none was given.
    #[error("no client configuration")]
    NoClientConfig,
    /// The server name is neither a DNS name nor an IP address.
    #[error("{0:?} is not a server name")]
    InvalidServerName(String),
    /// Nothing can be sent to this address: port 0, an unspecified address, or a family the socket does not speak.
    #[error("{0} cannot be connected to")]
    InvalidRemoteAddress(SocketAddr),
    /// This endpoint's connection IDs are empty, and it has a connection to this address: nothing would tell their
    /// packets apart.
    #[error("there is a connection to {0} already, and connection IDs are empty")]
    AlreadyConnected(SocketAddr),
    /// The TLS configuration does not work for QUIC.
    #[error("TLS configuration: {0}")]
    Tls(String),
}

impl From<TlsConfigError> for ConnectError {
    fn from(error: TlsConfigError) -> Self {
        match error {
            TlsConfigError::InvalidServerName(name) => Self::InvalidServerName(name),
            other => Self::Tls(other.to_string()),
        }
    }
}

/// Why keys were not updated (RFC 9001 §6). Nothing has changed, and a later call may succeed.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUpdateError {
    /// The handshake is not confirmed yet (RFC 9001 §6.1).
    #[error("the handshake is not confirmed yet")]
    NotConfirmed,
    /// The peer has acknowledged nothing that the present keys protect: it may not know them (RFC 9001 §6.1).
    #[error("the peer has not acknowledged the present keys yet")]
    NotAcknowledged,
    /// The last update is so recent that packets with the keys before it may still arrive (RFC 9001 §6.5). After this
    /// time it is not.
    #[error("the last key update is too recent: wait {0:?}")]
    TooSoon(Duration),
    /// The connection is over.
    #[error("the connection is over")]
    Closed,
}

/// Why a connection does not move to another address of this end.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// Only clients move.
    #[error("servers cannot move")]
    Server,
    /// The server may not have completed the handshake yet (RFC 9000 §9).
    #[error("the handshake is not confirmed yet")]
    HandshakeNotConfirmed,
    /// The server said that it does not support that (RFC 9000 §18.2).
    #[error("the server disables migration")]
    DisabledByPeer,
    /// The server did not answer there; the connection goes on where it was.
    #[error("the server cannot be reached from there")]
    Unreachable,
    /// The application wanted to move elsewhere before this was settled.
    #[error("given up for another move")]
    Superseded,
    /// The system has no such socket to give.
    #[error("no socket ({0})")]
    Socket(std::io::ErrorKind),
    /// The server left no unused connection ID, and none may be used from two addresses (RFC 9000 §9.5). It may send
    /// more.
    #[error("no unused connection ID of the server is left")]
    NoConnectionId,
}

/// Why reading a stream ended other than at its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream.
    #[error("the peer reset the stream with code {0}")]
    Reset(VarInt),
    /// The stream was stopped by this end.
    #[error("the stream was stopped by this end")]
    ClosedStream,
    /// The server did not accept 0-RTT; the stream never existed for it.
    #[error("0-RTT was rejected")]
    ZeroRttRejected,
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Why [`RecvStream::read_exact`](crate::RecvStream::read_exact) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadExactError {
    /// The stream ended after this many bytes.
    #[error("the stream ended after {0} bytes")]
    FinishedEarly(usize),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why [`RecvStream::read_to_end`](crate::RecvStream::read_to_end) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadToEndError {
    /// The stream is longer than the limit.
    #[error("the stream is too long")]
    TooLong,
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why data could not be handed to a stream, or be delivered on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer does not want the rest of the stream.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(VarInt),
    /// The stream was finished or reset by this end.
    #[error("the stream was finished or reset by this end")]
    ClosedStream,
    /// The server did not accept 0-RTT; the stream never existed for it.
    #[error("0-RTT was rejected")]
    ZeroRttRejected,
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Why a datagram is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendDatagramError {
    /// The peer takes no datagrams, or it is not known yet whether it does.
    #[error("the peer takes no datagrams")]
    UnsupportedByPeer,
    /// This end is configured to send none.
    #[error("sending datagrams is switched off")]
    Disabled,
    /// It does not fit a packet on the present path, or the peer takes none that are so large.
    #[error("the datagram is too large: the most is {max} bytes")]
    TooLarge {
        /// The largest that could be sent at the moment of the call, bytes.
        max: usize,
    },
    /// There is no room for it, and nothing else was to be dropped for it
    /// ([`DatagramPolicy::DropNewest`](crate::config::DatagramPolicy::DropNewest)).
    #[error("too many datagrams wait to be sent")]
    Full,
    /// The connection ended.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionError),
}

/// The stream was finished, reset or stopped before; the call has no effect.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct ClosedStream;

/// Why a stream was not reset but for its beginning; nothing has changed.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetAtError {
    /// The peer does not know RESET_STREAM_AT. There is still [`SendStream::reset`](crate::SendStream::reset).
    #[error("the peer does not support RESET_STREAM_AT")]
    Unsupported,
    /// The stream has come to its end, or was reset with a smaller size before.
    #[error(transparent)]
    ClosedStream(#[from] ClosedStream),
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match error {
            ConnectError::EndpointClosed => io::ErrorKind::NotConnected,
            ConnectError::NoClientConfig | ConnectError::Tls(_) => io::ErrorKind::Other,
            ConnectError::InvalidServerName(_) => io::ErrorKind::InvalidInput,
            ConnectError::InvalidRemoteAddress(_) => io::ErrorKind::AddrNotAvailable,
            ConnectError::AlreadyConnected(_) => io::ErrorKind::AddrInUse,
        };
        Self::new(kind, error)
    }
}

impl ReadError {
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Reset(_) | Self::ZeroRttRejected => io::ErrorKind::ConnectionReset,
            Self::ClosedStream => io::ErrorKind::NotConnected,
            Self::Connection(error) => error.kind(),
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<ReadExactError> for io::Error {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadExactError::Read(error) => error.into(),
        }
    }
}

impl From<ReadToEndError> for io::Error {
    fn from(error: ReadToEndError) -> Self {
        match error {
            ReadToEndError::TooLong => Self::new(io::ErrorKind::FileTooLarge, error),
            ReadToEndError::Read(error) => error.into(),
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) => io::ErrorKind::BrokenPipe,
            WriteError::ZeroRttRejected => io::ErrorKind::ConnectionReset,
            WriteError::ClosedStream => io::ErrorKind::NotConnected,
            WriteError::Connection(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}

impl From<SendDatagramError> for io::Error {
    fn from(error: SendDatagramError) -> Self {
        let kind = match &error {
            SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => io::ErrorKind::Unsupported,
            SendDatagramError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            SendDatagramError::Full => io::ErrorKind::WouldBlock,
            SendDatagramError::ConnectionLost(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}

impl From<ClosedStream> for io::Error {
    fn from(error: ClosedStream) -> Self {
        Self::new(io::ErrorKind::NotConnected, error)
    }
}

impl From<ResetAtError> for io::Error {
    fn from(error: ResetAtError) -> Self {
        match error {
            ResetAtError::Unsupported => Self::new(io::ErrorKind::Unsupported, error),
            ResetAtError::ClosedStream(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_the_peer_is_told_apart() {
        let refused = TransportError::new(TransportErrorCode::CONNECTION_REFUSED, "");
        assert_eq!(ConnectionError::peer(refused), ConnectionError::Refused);
        let other = TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, "odd");
        let error = ConnectionError::peer(other.clone());
        assert_eq!(error.to_string(), "closed by the peer: PROTOCOL_VIOLATION: odd");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(io::Error::from(ConnectionError::local(other)).kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_reason_cannot_write_to_the_terminal() {
        let reason = "\x1b[2J\r\nno";
        let application = ConnectionError::Application { code: 7_u8.into(), reason: reason.into() };
        let transport =
            ConnectionError::peer(TransportError::new(TransportErrorCode::INTERNAL_ERROR, reason));
        for error in [application, transport] {
            let told = error.to_string();
            assert!(!told.contains(char::is_control) && told.ends_with("no"), "{told:?}");
        }
    }

    #[test]
    fn a_tls_alert_tells_its_meaning() {
        let error = ConnectionError::peer(TransportError::new(TransportErrorCode::crypto(120), ""));
        assert_eq!(error.tls_alert(), Some(120));
        assert!(error.to_string().contains("no_application_protocol"), "{error}");
    }

    #[test]
    fn io_kinds_say_what_happened() {
        let lost = ReadError::from(ConnectionError::TimedOut);
        assert_eq!(io::Error::from(lost).kind(), io::ErrorKind::TimedOut);
        assert_eq!(io::Error::from(WriteError::Stopped(7_u8.into())).kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(io::Error::from(ReadExactError::FinishedEarly(3)).kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(io::Error::from(SendDatagramError::Full).kind(), io::ErrorKind::WouldBlock);
        let lost = SendDatagramError::from(ConnectionError::TimedOut);
        assert_eq!(io::Error::from(lost).kind(), io::ErrorKind::TimedOut);
        let application = ConnectionError::Application { code: 3_u8.into(), reason: "bye".into() };
        assert_eq!(application.to_string(), "closed by the peer's application: code 3: bye");
    }
}
