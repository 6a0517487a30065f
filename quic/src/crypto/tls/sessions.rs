//! What a client keeps of its connections to make the next ones cheaper: session tickets, and what goes with them.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a session is good for: a ticket is only offered where all of it is the same.
///
/// The QUIC version belongs to it, for tickets must not be taken from one version to another (RFC 9369 §5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionKey {
    /// The name of the server, or its address, as it was given for the connection.
    pub server_name: String,
    /// The QUIC version.
    pub version: u32,
    /// The application protocol that was agreed on.
    pub alpn: Vec<u8>,
}

impl SessionKey {
    pub(crate) fn new(server_name: &str, version: u32, alpn: &[u8]) -> Self {
        Self { server_name: server_name.to_owned(), version, alpn: alpn.to_vec() }
    }
}

/// A session ticket, with the transport parameters of the server it comes from.
///
/// What TLS needs of it is opaque, and holds secrets: sessions live in memory only.
pub struct StoredSession {
    pub(super) opaque: Box<dyn Any + Send>,
    pub(super) params: Vec<u8>,
}

impl StoredSession {
    /// What a TLS library makes of a ticket, and the server's encoded transport parameters.
    #[must_use]
    pub fn new(opaque: Box<dyn Any + Send>, params: Vec<u8>) -> Self {
        Self { opaque, params }
    }

    /// The server's transport parameters as it had encoded them (RFC 9000 §7.4.1).
    #[must_use]
    pub fn transport_parameters(&self) -> &[u8] {
        &self.params
    }

    /// Hands the TLS library back what is its.
    #[must_use]
    pub fn into_opaque(self) -> Box<dyn Any + Send> {
        self.opaque
    }
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSession(..)")
    }
}

/// Where a client keeps sessions for later connections.
///
/// Calls come from the tasks of connections: they are to be short, and never to wait.
pub trait SessionStore: fmt::Debug + Send + Sync {
    /// Keeps a session. How many it keeps is for the store to bound.
    fn put(&self, key: &SessionKey, session: StoredSession);

    /// Takes a session out, the newest first. No session is handed out twice: whoever watches could tell that both
    /// connections are of one client (RFC 8446 §C.4).
    fn take(&self, key: &SessionKey) -> Option<StoredSession>;

    /// True if there is a session to take. A client that speaks several versions begins with one for which that is so.
    fn has(&self, key: &SessionKey) -> bool;
}

/// What a client does with sessions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientResumption {
    /// Where they are kept; `None`: each connection begins anew.
    pub store: Option<Arc<dyn SessionStore>>,
    /// Early data is offered with tickets that allow it.
    pub early_data: bool,
}

impl Default for ClientResumption {
    fn default() -> Self {
        Self { store: Some(Arc::new(MemorySessionStore::default())), early_data: true }
    }
}

/// Sessions in memory, of a limited number of servers. The server that was added first goes first.
pub struct MemorySessionStore {
    sessions: Mutex<Bounded<SessionKey, VecDeque<StoredSession>>>,
}

impl MemorySessionStore {
    /// How many sessions are kept of one server. With most servers a connection brings two.
    const PER_SERVER: usize = 8;

    /// Keeps up to eight sessions of each of `servers` servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self { sessions: Mutex::new(Bounded::new(servers)) }
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<SessionKey, VecDeque<StoredSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemorySessionStore {
    /// For 256 servers.
    fn default() -> Self {
        Self::new(256)
    }
}

impl SessionStore for MemorySessionStore {
    fn put(&self, key: &SessionKey, session: StoredSession) {
        let _dropped = {
            let mut sessions = self.lock();
            let Some(of_server) = sessions.entry(key) else { return };
            let oldest = if of_server.len() == Self::PER_SERVER { of_server.pop_front() } else { None };
            of_server.push_back(session);
            oldest
        };
    }

    fn take(&self, key: &SessionKey) -> Option<StoredSession> {
        self.lock().get_mut(key)?.pop_back()
    }

    fn has(&self, key: &SessionKey) -> bool {
        self.lock().get(key).is_some_and(|sessions| !sessions.is_empty())
    }
}

impl fmt::Debug for MemorySessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySessionStore(..)")
    }
}

/// A map with a limited number of entries: the oldest goes when a new one comes.
pub(super) struct Bounded<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Clone + Eq + std::hash::Hash, V: Default> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), limit }
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        self.entries.get(key)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry of a key; it is made if there is none. `None` if none may be kept.
    pub(super) fn entry(&mut self, key: &K) -> Option<&mut V> {
        if !self.entries.contains_key(key) {
            if self.limit == 0 {
                return None;
            }
            if self.order.len() == self.limit
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        Some(self.entries.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u32) -> StoredSession {
        StoredSession::new(Box::new(number), Vec::new())
    }

    fn take(store: &MemorySessionStore, key: &SessionKey) -> Option<u32> {
        store.take(key).map(|session| *session.into_opaque().downcast::<u32>().unwrap())
    }

    // covers: R9001-4.5-01
    #[test]
    fn a_session_is_handed_out_once_and_the_newest_first() {
        let store = MemorySessionStore::default();
        let key = SessionKey::new("localhost", 1, b"h3");
        (0..3).for_each(|number| store.put(&key, session(number)));
        let taken: Vec<_> = (0..4).map(|_| take(&store, &key)).collect();
        assert_eq!(taken, [Some(2), Some(1), Some(0), None]);
    }

    #[test]
    fn name_version_and_protocol_all_have_to_fit() {
        let store = MemorySessionStore::default();
        store.put(&SessionKey::new("localhost", 1, b"h3"), session(1));
        for key in [("other", 1, "h3"), ("localhost", 2, "h3"), ("localhost", 1, "hq")] {
            assert_eq!(take(&store, &SessionKey::new(key.0, key.1, key.2.as_bytes())), None);
        }
        assert_eq!(take(&store, &SessionKey::new("localhost", 1, b"h3")), Some(1));
    }

    #[test]
    fn memory_is_bounded_in_both_directions() {
        let store = MemorySessionStore::new(4);
        for server in 0..100 {
            let key = SessionKey::new(&server.to_string(), 1, b"h3");
            (0..100).for_each(|number| store.put(&key, session(number)));
        }
        {
            let sessions = store.lock();
            assert_eq!((sessions.entries.len(), sessions.order.len()), (4, 4));
            assert!(sessions.entries.values().all(|sessions| sessions.len() == 8));
        }
        let newest = SessionKey::new("99", 1, b"h3");
        assert_eq!((take(&store, &newest), take(&store, &SessionKey::new("95", 1, b"h3"))), (Some(99), None));
        MemorySessionStore::new(0).put(&newest, session(1));
    }
}
