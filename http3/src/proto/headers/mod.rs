//! Messages as field sections (RFC 9114 §4): what the `http` types hold to HEADERS and back, and the rules by which a
//! message is malformed. None of them can be switched off: they stand between us and request smuggling.

mod decode;
mod encode;

pub(crate) use decode::{Received, parse_content_length, request, response, trailers};
pub(crate) use encode::{encode_request, encode_response, encode_trailers};

use crate::error::Violation;

/// Why a field section that arrived is no message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SectionError {
    /// It cannot be decoded: a connection error.
    Qpack(Violation),
    /// It decodes to a malformed message: a stream error of type H3_MESSAGE_ERROR.
    Malformed(Malformed),
    /// It is larger than our limit. A server answers 431, a client gives up the request.
    TooLarge,
}

/// Why a message is malformed (RFC 9114 §4.1.2): a stream error of type H3_MESSAGE_ERROR.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field name with upper-case letters.
    #[error("a field name in upper case")]
    UppercaseName,
    /// A field name that is empty or has characters that none can have.
    #[error("an invalid field name")]
    InvalidName,
    /// A field value with characters that none can have, or with white space around it.
    #[error("an invalid field value")]
    InvalidValue,
    /// A pseudo-header field that this kind of message does not have.
    #[error("an undefined pseudo-header field")]
    UndefinedPseudoHeader,
    /// A pseudo-header field behind a header field.
    #[error("a pseudo-header field behind a header field")]
    LatePseudoHeader,
    /// A pseudo-header field in trailers.
    #[error("a pseudo-header field in trailers")]
    PseudoHeaderInTrailers,
    /// A pseudo-header field that stands there twice.
    #[error("{0} twice")]
    DuplicatePseudoHeader(&'static str),
    /// A pseudo-header field that is missing.
    #[error("no {0}")]
    MissingPseudoHeader(&'static str),
    /// A pseudo-header field that this request must not have.
    #[error("{0} where it must not be")]
    ForbiddenPseudoHeader(&'static str),
    /// A pseudo-header field with an invalid value.
    #[error("an invalid {0}")]
    InvalidPseudoHeader(&'static str),
    /// A request without an authority.
    #[error("neither :authority nor host")]
    MissingAuthority,
    /// More than one host field.
    #[error("more than one host")]
    DuplicateHost,
    /// A host field that is no authority.
    #[error("an invalid host")]
    InvalidHost,
    /// Another value in the host field than in `:authority`.
    #[error("host and :authority differ")]
    HostMismatch,
    /// A field that speaks of the connection, such as `connection` or `transfer-encoding`.
    #[error("a connection-specific field")]
    ConnectionSpecific,
    /// A content-length that is no number.
    #[error("an invalid content-length")]
    InvalidContentLength,
    /// Several content-lengths that differ.
    #[error("contradictory content-lengths")]
    ConflictingContentLength,
    /// Content of another length than content-length says.
    #[error("the content does not have the length that content-length says")]
    ContentLengthMismatch,
    /// Content in a response that never has any: to HEAD, or with status 204 or 304.
    #[error("content in a response that has none")]
    UnexpectedContent,
    /// A stream that ends before a final response.
    #[error("no final response")]
    NoResponse,
}

/// Why a message cannot be sent.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// The request says neither in its URI nor in a host field for whom it is.
    #[error("the request has no authority: neither its URI nor a host field names one")]
    MissingAuthority,
    /// The URI, or the host field, is not one that a request with this method can have: CONNECT needs a host and a port,
    /// and `*` goes with OPTIONS only.
    #[error("the target of the request does not suit its method")]
    Target,
    /// A content-length that is not one number.
    #[error("an invalid content-length")]
    ContentLength,
    /// An interim response (1xx) where a final one is due, or the other way round.
    #[error("a status that does not belong here")]
    Status,
    /// HTTP/3 has no 101 (Switching Protocols).
    #[error("HTTP/3 has no status 101")]
    SwitchingProtocols,
    /// The peer's MAX_FIELD_SECTION_SIZE does not permit so much.
    #[error("a field section of {size} bytes, of which the peer takes no more than {limit}")]
    TooLarge {
        /// Its size, as RFC 9114 §4.2.2 counts it.
        size: u64,
        /// What the peer takes.
        limit: u64,
    },
}

/// Whether a field with this name speaks of a connection of HTTP/1.1 (RFC 9114 §4.2); `te` is another matter.
fn is_connection_specific(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

/// A server of a name, and a port that is not empty: what CONNECT asks for (RFC 9110 §7.1).
fn has_host_and_port(authority: &http::uri::Authority) -> bool {
    !authority.host().is_empty() && authority.port_u16().is_some() && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests;
