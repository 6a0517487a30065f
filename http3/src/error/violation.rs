//! What a peer did against the protocol.

use super::Code;

/// A breach of the protocol that closes the whole connection (a connection error, RFC 9114 §8).
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub(crate) struct Violation {
    /// What CONNECTION_CLOSE carries.
    pub(crate) code: Code,
    /// For people; goes to the peer.
    pub(crate) reason: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }
}
