//! The error codes of HTTP/3 and QPACK (RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2).

use std::fmt;

use gannet::VarInt;

/// An application error code, as RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE carry it.
///
/// Any number below 2^62 can arrive. One that means nothing to the receiver counts as
/// [`H3_NO_ERROR`](Self::H3_NO_ERROR) (RFC 9114 §8).
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Code(u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name in the registry, if it is one of those listed here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The connection or stream ends without an error.
    H3_NO_ERROR = 0x0100;
    /// A violation that no other code describes.
    H3_GENERAL_PROTOCOL_ERROR = 0x0101;
    /// An error inside this implementation.
    H3_INTERNAL_ERROR = 0x0102;
    /// A stream that this endpoint will not accept.
    H3_STREAM_CREATION_ERROR = 0x0103;
    /// A stream that the connection needs was closed.
    H3_CLOSED_CRITICAL_STREAM = 0x0104;
    /// A frame that is not permitted now, or on this stream.
    H3_FRAME_UNEXPECTED = 0x0105;
    /// A frame of a wrong layout or size.
    H3_FRAME_ERROR = 0x0106;
    /// The peer causes more work than is reasonable.
    H3_EXCESSIVE_LOAD = 0x0107;
    /// An identifier used wrongly: above a limit, reduced, or reused.
    H3_ID_ERROR = 0x0108;
    /// An error in a SETTINGS frame.
    H3_SETTINGS_ERROR = 0x0109;
    /// The control stream does not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x010a;
    /// A request that the server has not processed at all, and which can be sent again.
    H3_REQUEST_REJECTED = 0x010b;
    /// A request or its response that is no longer wanted.
    H3_REQUEST_CANCELLED = 0x010c;
    /// A request stream that ended before the request was whole.
    H3_REQUEST_INCOMPLETE = 0x010d;
    /// A malformed message.
    H3_MESSAGE_ERROR = 0x010e;
    /// The connection behind a CONNECT request failed.
    H3_CONNECT_ERROR = 0x010f;
    /// The request cannot be served over HTTP/3; try HTTP/1.1.
    H3_VERSION_FALLBACK = 0x0110;
    /// An HTTP datagram or a capsule that is badly formed (RFC 9297).
    H3_DATAGRAM_ERROR = 0x33;
    /// An encoded field section that cannot be decoded (RFC 9204).
    QPACK_DECOMPRESSION_FAILED = 0x0200;
    /// A wrong instruction on the encoder stream (RFC 9204).
    QPACK_ENCODER_STREAM_ERROR = 0x0201;
    /// A wrong instruction on the decoder stream (RFC 9204).
    QPACK_DECODER_STREAM_ERROR = 0x0202;
}

impl Code {
    /// From the number on the wire.
    #[must_use]
    pub const fn from_varint(code: VarInt) -> Self {
        Self(code.into_inner())
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number on the wire, as the transport takes it.
    #[must_use]
    pub const fn as_varint(self) -> VarInt {
        match VarInt::from_u64(self.0) {
            Ok(code) => code,
            Err(_) => VarInt::MAX,
        }
    }
}

impl From<VarInt> for Code {
    fn from(code: VarInt) -> Self {
        Self::from_varint(code)
    }
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        code.as_varint()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_their_names() {
        assert_eq!(Code::H3_MESSAGE_ERROR.to_string(), "H3_MESSAGE_ERROR");
        assert_eq!(Code::from_varint(VarInt::from_u32(0x21)).to_string(), "0x21");
        assert_eq!(VarInt::from(Code::QPACK_DECOMPRESSION_FAILED).into_inner(), 0x200);
        assert_eq!(Code::from(VarInt::from_u32(0x0110)), Code::H3_VERSION_FALLBACK);
    }
}
