//! Connection IDs and stateless reset tokens.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::{MAX_CID_LEN, RESET_TOKEN_LEN};

/// A connection ID of 0 to 20 bytes (RFC 9000 §5.1).
#[derive(Copy, Clone)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; MAX_CID_LEN],
}

/// A connection ID of more than 20 bytes.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a connection ID has at most 20 bytes")]
pub struct ConnectionIdTooLong;

impl ConnectionId {
    /// The ID of length zero.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_CID_LEN] };

    /// The bytes of the ID.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// True for the zero-length ID.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl TryFrom<&[u8]> for ConnectionId {
    type Error = ConnectionIdTooLong;

    fn try_from(slice: &[u8]) -> Result<Self, Self::Error> {
        let mut bytes = [0; MAX_CID_LEN];
        bytes.get_mut(..slice.len()).ok_or(ConnectionIdTooLong)?.copy_from_slice(slice);
        #[expect(clippy::cast_possible_truncation, reason = "at most 20, checked above")]
        Ok(Self { len: slice.len() as u8, bytes })
    }
}

impl PartialEq for ConnectionId {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ConnectionId {}

impl Hash for ConnectionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Default for ConnectionId {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

/// Proves that a datagram which looks like any other ends the connection (RFC 9000 §10.3).
///
/// Comparison takes the same time wherever the first difference is.
#[derive(Copy, Clone)]
pub struct ResetToken(pub [u8; RESET_TOKEN_LEN]);

impl ResetToken {
    /// The last 16 bytes of a datagram, if it is long enough to hold a token.
    #[must_use]
    pub fn trailing(datagram: &[u8]) -> Option<Self> {
        datagram.last_chunk::<RESET_TOKEN_LEN>().map(|bytes| Self(*bytes))
    }
}

impl PartialEq for ResetToken {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

impl Eq for ResetToken {}

impl Hash for ResetToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ids_hash_and_compare_by_their_bytes_alone() {
        let a = ConnectionId::try_from(&[1, 2, 3][..]).unwrap();
        let b = ConnectionId::try_from(&[1, 2, 3, 0][..]).unwrap();
        assert_ne!(a, b);
        assert_eq!(a.to_string(), "010203");
        assert_eq!(ConnectionId::try_from(&[0; 21][..]), Err(ConnectionIdTooLong));
    }

    #[test]
    fn a_reset_token_is_the_tail_of_a_datagram() {
        assert_eq!(ResetToken::trailing(&[0; 15]), None);
        let datagram: Vec<u8> = (0..40).collect();
        assert_eq!(ResetToken::trailing(&datagram).unwrap().0[0], 24);
    }
}
