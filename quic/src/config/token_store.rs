//! Where clients keep the tokens that servers give them for the next connection (RFC 9000 §8.1.3).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// To whom a token may be shown: who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenIssuer {
    /// The name that the server's certificate had to show.
    pub server_name: String,
    /// The server's address. A store that knows that all servers of a name honour each other's tokens may ignore it.
    pub address: SocketAddr,
    /// The QUIC version of the connection. Tokens do not cross versions (RFC 9369 §5).
    pub version: u32,
}

/// Keeps the tokens of NEW_TOKEN frames. With one, a server need not ask a client to prove its address.
///
/// Servers recognise a client by them: a user who wants to be a stranger again needs an empty store.
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// Keeps a token. It has at most 512 bytes.
    ///
    /// Called in the task of the connection: it must not block.
    fn put(&self, issuer: &TokenIssuer, token: Bytes);

    /// Takes out a token; none is used twice (RFC 9000 §8.1.3).
    ///
    /// Called where a connection is opened: it must not block.
    fn take(&self, issuer: &TokenIssuer) -> Option<Bytes>;
}

/// The default [`TokenStore`]: in memory, for a number of servers, a few tokens for each.
///
/// The newest token is used first; the server that gave none for longest goes first.
pub struct MemoryTokenStore {
    servers: usize,
    tokens: Mutex<Tokens>,
}

/// Tokens kept for one server.
const PER_SERVER: usize = 4;

#[derive(Default)]
struct Tokens {
    by_issuer: HashMap<TokenIssuer, Kept>,
    /// Grows with every token.
    clock: u64,
}

#[derive(Default)]
struct Kept {
    tokens: VecDeque<Bytes>,
    last: u64,
}

impl MemoryTokenStore {
    /// For at most so many servers. The default is 256.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self { servers: servers.max(1), tokens: Mutex::default() }
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.tokens().by_issuer.clear();
    }
}

impl Default for MemoryTokenStore {
    fn default() -> Self {
        Self::new(256)
    }
}

impl TokenStore for MemoryTokenStore {
    fn put(&self, issuer: &TokenIssuer, token: Bytes) {
        let mut tokens = self.tokens();
        let Tokens { by_issuer, clock } = &mut *tokens;
        *clock += 1;
        if by_issuer.len() >= self.servers
            && !by_issuer.contains_key(issuer)
            && let Some(oldest) =
                by_issuer.iter().min_by_key(|(_, kept)| kept.last).map(|(key, _)| key.clone())
        {
            by_issuer.remove(&oldest);
        }
        let kept = by_issuer.entry(issuer.clone()).or_default();
        kept.last = *clock;
        kept.tokens.push_back(token);
        if kept.tokens.len() > PER_SERVER {
            kept.tokens.pop_front();
        }
    }

    fn take(&self, issuer: &TokenIssuer) -> Option<Bytes> {
        let mut tokens = self.tokens();
        let kept = tokens.by_issuer.get_mut(issuer)?;
        let token = kept.tokens.pop_back();
        if kept.tokens.is_empty() {
            tokens.by_issuer.remove(issuer);
        }
        token
    }
}

impl fmt::Debug for MemoryTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokenStore").field("servers", &self.servers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(n: u16) -> TokenIssuer {
        let address = ([192, 0, 2, 1], n).into();
        TokenIssuer { server_name: "example.org".into(), address, version: 1 }
    }

    fn token(n: usize) -> Bytes {
        n.to_be_bytes().to_vec().into()
    }

    // covers: R9000-8.1.3-07 R9000-8.1.3-09
    #[test]
    fn a_token_goes_to_whom_it_came_from_and_once() {
        let store = MemoryTokenStore::default();
        store.put(&issuer(1), token(1));
        store.put(&issuer(1), token(2));
        let other_name = TokenIssuer { server_name: "example.net".into(), ..issuer(1) };
        let other_version = TokenIssuer { version: 2, ..issuer(1) };
        for other in [issuer(2), other_name, other_version] {
            assert_eq!(store.take(&other), None);
        }
        assert_eq!(store.take(&issuer(1)), Some(token(2)), "the newest is best");
        assert_eq!(store.take(&issuer(1)), Some(token(1)));
        assert_eq!(store.take(&issuer(1)), None);
        assert!(store.tokens().by_issuer.is_empty());
        store.put(&issuer(1), token(1));
        store.clear();
        assert_eq!(store.take(&issuer(1)), None);
    }

    #[test]
    fn the_store_is_bounded_and_forgets_the_oldest() {
        let store = MemoryTokenStore::new(3);
        for n in 0..100 {
            for server in [n % 2, 10 + n] {
                store.put(&issuer(server), token(n.into()));
            }
        }
        assert_eq!(store.tokens().by_issuer.len(), 3);
        assert!(store.tokens().by_issuer.values().all(|kept| kept.tokens.len() <= PER_SERVER));
        assert_eq!(store.take(&issuer(1)), Some(token(99)));
        assert_eq!(store.take(&issuer(109)), Some(token(99)));
        assert_eq!(store.take(&issuer(50)), None);
    }
}
