//! How an endpoint makes up its own connection IDs.

use std::fmt;
use std::sync::Arc;

use crate::packet::{ConnectionId, MAX_CID_LEN, Rng};

/// Makes the connection IDs that peers address this endpoint by.
///
/// All IDs of an endpoint have one length, so that a packet with a short header can be taken apart
/// (RFC 9000 §17.3.1). IDs must not reveal to an observer that they belong to one connection (RFC 9000 §5.1). Whoever can
/// guess IDs can send datagrams that cost the endpoint an attempt to open them, and no more.
///
/// Called in the tasks of connections, and where connections are opened: it must not block. An `Arc` of a generator is one
/// as well, so that the application can keep a handle to it.
pub trait ConnectionIdGenerator: fmt::Debug + Send + Sync {
    /// Length of every ID, 0 to 20 bytes, always the same. An endpoint that accepts connections needs at least 4.
    fn len(&self) -> usize;

    /// A new ID of that length. The endpoint asks again for one that is in use, or of another length; after 16 of them it
    /// takes a random one.
    fn generate(&self, rng: &mut Rng) -> ConnectionId;

    /// True if IDs have length zero: such an endpoint can only be a client.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: ConnectionIdGenerator + ?Sized> ConnectionIdGenerator for Arc<T> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn generate(&self, rng: &mut Rng) -> ConnectionId {
        (**self).generate(rng)
    }
}

/// Random IDs, the default.
#[derive(Debug, Copy, Clone)]
pub struct RandomConnectionIds {
    len: usize,
}

impl RandomConnectionIds {
    /// IDs of `len` bytes, at most 20; 8 is a good choice.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { len: len.min(MAX_CID_LEN) }
    }
}

impl Default for RandomConnectionIds {
    fn default() -> Self {
        Self::new(8)
    }
}

impl ConnectionIdGenerator for RandomConnectionIds {
    fn len(&self) -> usize {
        self.len
    }

    fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let bytes: [u8; MAX_CID_LEN] = rng.array();
        bytes.get(..self.len).and_then(|bytes| ConnectionId::try_from(bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_have_the_length_asked_for() {
        let mut rng = Rng::from_u64(1);
        for len in 0..=MAX_CID_LEN {
            assert_eq!(RandomConnectionIds::new(len).generate(&mut rng).len(), len);
        }
        assert_eq!(RandomConnectionIds::new(21).len(), 20);
    }

    /// Tokens of stateless resets come from them: an ID made again would have the token that a reset has revealed.
    // covers: R9000-10.3.2-03 R9000-10.3.2-04
    #[test]
    fn no_random_id_is_made_again() {
        let (ids, mut rng) = (RandomConnectionIds::default(), Rng::from_u64(1));
        let mut made = std::collections::HashSet::new();
        for _ in 0..100_000 {
            assert!(made.insert(ids.generate(&mut rng)));
        }
        // Another endpoint, or the same after a restart, has other randomness.
        let mut rng = Rng::from_u64(2);
        for _ in 0..100_000 {
            assert!(made.insert(ids.generate(&mut rng)));
        }
    }
}
