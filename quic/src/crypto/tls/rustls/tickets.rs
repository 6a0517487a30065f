//! Session tickets on their way between rustls and where they are kept.
//!
//! Tickets stay within their QUIC version (RFC 9369 §5): those of clients by the key they are kept under, those of
//! servers by the version in front of what is kept, or sealed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::time_provider::TimeProvider;

use crate::crypto::tls::sessions::{Bounded, SessionKey, SessionStore, StoredSession};
use crate::crypto::tls::{EarlyDataPolicy, Remembered};
use crate::packet::Side;
use crate::wire::transport_parameters::TransportParameters;

/// Servers whose favourite key exchange is remembered.
const MAX_HINTS: usize = 256;

/// The QUIC versions that a connection takes tickets from, and issues them for.
#[derive(Debug)]
pub(super) struct TicketVersions {
    /// The version of the first packet.
    pub(super) original: u32,
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
    /// What came along with the ticket that is used, if it allows early data.
    remembered: Mutex<Option<Remembered>>,
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
            remembered: Mutex::default(),
        }
    }

    /// What came along with the ticket that rustls took, if it allows early data.
    pub(super) fn take_remembered(&self) -> Option<Remembered> {
        lock(&self.remembered).take()
    }

    /// The application protocol is known: what tickets to come are good for.
    pub(super) fn agreed_on(&self, alpn: Option<&[u8]>) {
        *lock(&self.agreed) = alpn.map(<[u8]>::to_vec);
    }
}

impl ClientSessionStore for ClientTickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        let mut hints = lock(&self.hints.0);
        if let Some(hint) = hints.entry(&self.server_name) {
            *hint = Some(group);
        }
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        let hints = lock(&self.hints.0);
        hints.get(&self.server_name).copied().flatten()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let agreed = lock(&self.agreed).clone();
        if let (Some(store), Some(alpn)) = (&self.store, agreed) {
            let key = SessionKey::new(&self.server_name, self.versions.negotiated(), &alpn);
            let params = ticket.quic_params();
            store.put(&key, StoredSession::new(Box::new(ticket), params));
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let store = self.store.as_ref()?;
        let (alpn, session) = self.offered.iter().find_map(|alpn| {
            let key = SessionKey::new(&self.server_name, self.versions.original, alpn);
            store.take(&key).map(|session| (key.alpn, session))
        })?;
        let params = session.transport_parameters().to_vec();
        // A store that is shared between TLS libraries gives none of another's to rustls.
        let ticket: Box<Tls13ClientSessionValue> = session.into_opaque().downcast().ok()?;
        if ticket.max_early_data_size() > 0 && !params.is_empty() {
            *lock(&self.remembered) = Some(Remembered { params, alpn });
        }
        Some(*ticket)
    }
}

/// The sessions that a server remembers, for one connection.
pub(super) struct ServerTickets {
    store: Arc<dyn StoresServerSessions>,
    versions: Arc<TicketVersions>,
    policy: Option<EarlyDataPolicy>,
    time: Arc<dyn TimeProvider>,
    /// Our encoded transport parameters, once the version and so all of them are settled.
    params: OnceLock<Vec<u8>>,
    /// A session that was taken out to decide on early data, until rustls asks for it: its ticket comes with it.
    held: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

/// What is remembered of a session: what rustls wants, and what it depends on beside.
struct Record<'a> {
    version: u32,
    /// Seconds since the epoch.
    issued: u64,
    /// What clients may go by in early data; empty if there must be none.
    params: &'a [u8],
    context: &'a [u8],
    session: &'a [u8],
}

impl<'a> Record<'a> {
    fn encode(&self) -> Vec<u8> {
        let part = |part: &[u8]| {
            let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
            [&len.to_be_bytes()[..], part.get(..len.into()).unwrap_or_default()].concat()
        };
        let (version, issued) = (self.version.to_be_bytes(), self.issued.to_be_bytes());
        [&version[..], &issued, &part(self.params), &part(self.context), self.session].concat()
    }

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
            let (len, rest) = bytes.split_first_chunk()?;
            rest.split_at_checked(u16::from_be_bytes(*len).into())
        }
        let (version, rest) = bytes.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (params, rest) = part(rest)?;
        let (context, session) = part(rest)?;
        let (version, issued) = (u32::from_be_bytes(*version), u64::from_be_bytes(*issued));
        Some(Self { version, issued, params, context, session })
    }
}

impl ServerTickets {
    pub(super) fn new(
        store: Arc<dyn StoresServerSessions>,
        versions: Arc<TicketVersions>,
        policy: Option<EarlyDataPolicy>,
        time: Arc<dyn TimeProvider>,
    ) -> Self {
        Self { store, versions, policy, time, params: OnceLock::new(), held: Mutex::default() }
    }

    /// Our transport parameters are settled; tickets of this connection promise them.
    pub(super) fn set_params(&self, params: &[u8]) {
        // They are settled once.
        let _ = self.params.set(params.to_vec());
    }

    /// Whether early data that comes with a ticket may be taken, as far as rustls does not know (RFC 9000 §7.4.1).
    pub(super) fn admits(&self, ticket: &[u8]) -> bool {
        let Some(policy) = &self.policy else { return false };
        let Some(taken) = self.store.take(ticket) else { return false };
        let Some(record) = Record::decode(&taken).filter(|record| record.version == self.versions.original)
        else {
            return false;
        };
        let now = Duration::from_secs(self.now());
        let fresh = now.saturating_sub(Duration::from_secs(record.issued)) <= policy.max_age;
        let admits = fresh
            && record.context == policy.context
            && self.keeps_promises(record.params)
            && policy.admit(now);
        *lock(&self.held) = Some((ticket.to_vec(), record.session.to_vec()));
        admits
    }

    fn keeps_promises(&self, promised: &[u8]) -> bool {
        let decode = |params| TransportParameters::decode(Side::Server, params).ok();
        let ours = self.params.get().and_then(|params| decode(params));
        // Without them there was no promise, and early data is not expected.
        let promised = Some(promised).filter(|params| !params.is_empty()).and_then(decode);
        ours.zip(promised).is_some_and(|(ours, promised)| ours.extends(&promised))
    }

    fn now(&self) -> u64 {
        self.time.current_time().map_or(0, |now| now.as_secs())
    }

    fn session_of(&self, record: &[u8]) -> Option<Vec<u8>> {
        let record = Record::decode(record)?;
        (record.version == self.versions.original).then(|| record.session.to_vec())
    }
}

impl StoresServerSessions for ServerTickets {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        let (params, context) = match &self.policy {
            Some(policy) => (self.params.get().map_or(&[][..], |params| params), &policy.context[..]),
            None => (&[][..], &[][..]),
        };
        let (version, issued) = (self.versions.negotiated(), self.now());
        self.store.put(id, Record { version, issued, params, context, session: &session }.encode())
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.session_of(&self.store.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        if let Some((_, session)) = lock(&self.held).take_if(|(held, _)| held == id) {
            return Some(session);
        }
        self.session_of(&self.store.take(id)?)
    }

    fn can_cache(&self) -> bool {
        self.store.can_cache()
    }
}

impl std::fmt::Debug for ServerTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTickets").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Sessions that clients keep, sealed: of one version as well.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
