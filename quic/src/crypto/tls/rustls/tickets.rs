//! Session tickets on their way between rustls and where they are kept.
//!
//! Tickets stay within their QUIC version (RFC 9369 §5): those of clients by the key they are kept under, those of
//! servers by the version in front of what is kept, or sealed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::{ProducesTickets, StoresServerSessions};

use crate::crypto::tls::sessions::{Bounded, SessionKey, SessionStore, StoredSession};

/// Servers whose favourite key exchange is remembered.
const MAX_HINTS: usize = 256;

/// The QUIC versions that a connection takes tickets from, and issues them for.
#[derive(Debug)]
pub(super) struct TicketVersions {
    /// The version of the first packet.
    original: u32,
    /// The version that packets have in the end (RFC 9368).
    negotiated: AtomicU32,
}

impl TicketVersions {
    pub(super) fn new(version: u32) -> Arc<Self> {
        Arc::new(Self { original: version, negotiated: AtomicU32::new(version) })
    }

    /// The connection turns to another version.
    pub(super) fn change(&self, version: u32) {
        self.negotiated.store(version, Ordering::Relaxed);
    }

    fn negotiated(&self) -> u32 {
        self.negotiated.load(Ordering::Relaxed)
    }
}

/// Which key exchange a server chose last time: the first guess for the next.
#[derive(Clone)]
pub(super) struct KeyExchangeHints(Arc<Mutex<Bounded<String, Option<NamedGroup>>>>);

impl Default for KeyExchangeHints {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Bounded::new(MAX_HINTS))))
    }
}

impl std::fmt::Debug for KeyExchangeHints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyExchangeHints(..)")
    }
}

/// The session store of one client connection, as rustls wants it.
#[derive(Debug)]
pub(super) struct ClientTickets {
    store: Option<Arc<dyn SessionStore>>,
    hints: KeyExchangeHints,
    server_name: String,
    /// The protocols that the client offers.
    offered: Vec<Vec<u8>>,
    versions: Arc<TicketVersions>,
    /// The protocol that was agreed on, once it was.
    agreed: Mutex<Option<Vec<u8>>>,
}

impl ClientTickets {
    pub(super) fn new(
        store: Option<Arc<dyn SessionStore>>,
        hints: KeyExchangeHints,
        server_name: &str,
        offered: &[Vec<u8>],
        versions: Arc<TicketVersions>,
    ) -> Self {
        Self {
            store,
            hints,
            server_name: server_name.to_owned(),
            offered: offered.to_vec(),
            versions,
            agreed: Mutex::default(),
        }
    }

    /// The application protocol is known: what tickets to come are good for.
    pub(super) fn agreed_on(&self, alpn: Option<&[u8]>) {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = alpn.map(<[u8]>::to_vec);
    }
}

impl ClientSessionStore for ClientTickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        let mut hints = self.hints.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hint) = hints.entry(&self.server_name) {
            *hint = Some(group);
        }
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        let hints = self.hints.0.lock().unwrap_or_else(PoisonError::into_inner);
        hints.get(&self.server_name).copied().flatten()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(store), Some(alpn)) = (&self.store, agreed) {
            let key = SessionKey::new(&self.server_name, self.versions.negotiated(), &alpn);
            let params = ticket.quic_params();
            store.put(&key, StoredSession::new(Box::new(ticket), params));
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let store = self.store.as_ref()?;
        let take =
            |alpn: &Vec<u8>| store.take(&SessionKey::new(&self.server_name, self.versions.original, alpn));
        let session = self.offered.iter().find_map(take)?;
        // A store that is shared between TLS libraries gives none of another's to rustls.
        session.into_opaque().downcast().ok().map(|ticket| *ticket)
    }
}

/// The sessions that a server remembers, for one connection: those of its version.
#[derive(Debug)]
pub(super) struct ServerTickets {
    pub(super) store: Arc<dyn StoresServerSessions>,
    pub(super) versions: Arc<TicketVersions>,
}

impl StoresServerSessions for ServerTickets {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.store.put(id, [&self.versions.negotiated().to_be_bytes()[..], &session].concat())
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        without_version(&self.versions, self.store.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        without_version(&self.versions, self.store.take(id)?)
    }

    fn can_cache(&self) -> bool {
        self.store.can_cache()
    }
}

/// The same for sessions that clients keep, sealed.
#[derive(Debug)]
pub(super) struct SealedTickets {
    /// `None`: all sessions are kept here.
    pub(super) ticketer: Option<Arc<dyn ProducesTickets>>,
    pub(super) versions: Arc<TicketVersions>,
}

impl ProducesTickets for SealedTickets {
    fn enabled(&self) -> bool {
        self.ticketer.as_ref().is_some_and(|ticketer| ticketer.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.ticketer.as_ref().map_or(0, |ticketer| ticketer.lifetime())
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.ticketer.as_ref()?.encrypt(&[&self.versions.negotiated().to_be_bytes()[..], session].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        without_version(&self.versions, self.ticketer.as_ref()?.decrypt(ticket)?)
    }
}

/// The session without the version in front, if that is the one the client began with.
fn without_version(versions: &TicketVersions, mut session: Vec<u8>) -> Option<Vec<u8>> {
    let version = u32::from_be_bytes(*session.first_chunk()?);
    session.drain(..size_of::<u32>());
    (version == versions.original).then_some(session)
}
