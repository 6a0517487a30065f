//! Transport errors: what a CONNECTION_CLOSE of type 0x1c carries (RFC 9000 §20.1).

use std::borrow::Cow;
use std::fmt;

/// A transport error code (RFC 9000 §20.1).
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct TransportErrorCode(u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl TransportErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The connection ends without an error.
    NO_ERROR = 0x00;
    /// An internal error; the connection cannot go on.
    INTERNAL_ERROR = 0x01;
    /// The server refused the connection.
    CONNECTION_REFUSED = 0x02;
    /// More data than the flow-control limits allowed.
    FLOW_CONTROL_ERROR = 0x03;
    /// More streams than the limit allowed.
    STREAM_LIMIT_ERROR = 0x04;
    /// A frame for a stream whose state does not permit it.
    STREAM_STATE_ERROR = 0x05;
    /// The final size of a stream changed or was exceeded.
    FINAL_SIZE_ERROR = 0x06;
    /// A frame that is badly formatted.
    FRAME_ENCODING_ERROR = 0x07;
    /// Transport parameters that are badly formatted, forbidden or missing.
    TRANSPORT_PARAMETER_ERROR = 0x08;
    /// More connection IDs than the limit allowed.
    CONNECTION_ID_LIMIT_ERROR = 0x09;
    /// A violation that no other code describes.
    PROTOCOL_VIOLATION = 0x0a;
    /// A client Initial with an invalid token.
    INVALID_TOKEN = 0x0b;
    /// The application closed the connection during the handshake.
    APPLICATION_ERROR = 0x0c;
    /// More data in CRYPTO frames than can be buffered.
    CRYPTO_BUFFER_EXCEEDED = 0x0d;
    /// Errors in performing key updates.
    KEY_UPDATE_ERROR = 0x0e;
    /// The confidentiality or integrity limit of the AEAD was reached.
    AEAD_LIMIT_REACHED = 0x0f;
    /// No path is left that can carry packets.
    NO_VIABLE_PATH = 0x10;
    /// Version information contradicts the version in use (RFC 9368).
    VERSION_NEGOTIATION_ERROR = 0x11;
}

impl TransportErrorCode {
    /// CRYPTO_ERROR with the given TLS alert (RFC 9001 §4.8).
    #[must_use]
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 | alert as u64)
    }

    /// From the number on the wire.
    #[must_use]
    pub const fn from_u64(code: u64) -> Self {
        Self(code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The TLS alert, for codes 0x100 to 0x1ff.
    #[must_use]
    pub const fn tls_alert(self) -> Option<u8> {
        if self.0 >> 8 == 1 { Some((self.0 & 0xff) as u8) } else { None }
    }
}

impl fmt::Display for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.tls_alert()) {
            (Some(name), _) => f.write_str(name),
            (None, Some(alert)) => write!(f, "CRYPTO_ERROR(alert {alert})"),
            (None, None) => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A reason to close the connection: what CONNECTION_CLOSE tells the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}{}{}", if reason.is_empty() { "" } else { ": " }, reason.escape_debug())]
#[non_exhaustive]
pub struct TransportError {
    /// The code.
    pub code: TransportErrorCode,
    /// The type of the frame that provoked it, where one did.
    pub frame_type: Option<u64>,
    /// For people; goes to the peer.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    /// An error without a frame type.
    pub fn new(code: TransportErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, frame_type: None, reason: reason.into() }
    }

    /// The same error, blamed on a frame of this type.
    #[must_use]
    pub fn in_frame(mut self, frame_type: u64) -> Self {
        self.frame_type.get_or_insert(frame_type);
        self
    }
}
