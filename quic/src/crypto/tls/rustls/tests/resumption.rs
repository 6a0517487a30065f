//! Sessions that go on from earlier ones.

use std::sync::Mutex;

use ::rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use super::*;
use crate::crypto::tls::{SessionKey, SessionStore, StoredSession};

struct Known {
    identity: Identity,
    client: RustlsClient,
    server: RustlsServer,
    sessions: ClientResumption,
}

impl Known {
    fn new() -> Self {
        let identity = identity();
        Self {
            client: RustlsClient::new(client_config(&identity, &SUITES)).unwrap(),
            server: RustlsServer::new(server_config(&identity, &SUITES)).unwrap(),
            identity,
            sessions: ClientResumption::default(),
        }
    }

    fn connect(&self, version: u32) -> Pair {
        let mut pair = Pair::resuming(version, &self.client, &self.server, &self.sessions);
        pair.run(usize::MAX).unwrap();
        assert_keys_fit(&mut pair);
        assert_eq!(pair.client.data(), pair.server.data());
        pair
    }

    fn resumes(&self, version: u32) -> bool {
        self.connect(version).client.data().resumed
    }
}

#[test]
fn a_second_connection_resumes_and_keeps_what_was_known() {
    let known = Known::new();
    assert!(!known.resumes(VERSION_1));
    let again = known.connect(VERSION_1);
    assert!(again.client.data().resumed);
    assert_eq!(again.client.session.peer_identity(), Some(known.identity.chain.clone()));
    // Two tickets came with the first, none is used twice, and each connection brings more.
    assert!((0..20).all(|_| known.resumes(VERSION_1)));
}

// covers: R9369-5-01 R9369-5-02
#[test]
fn tickets_stay_within_their_version() {
    let known = Known::new();
    assert!(!known.resumes(VERSION_1));
    assert!(!known.resumes(VERSION_2));
    assert!(known.resumes(VERSION_2) && known.resumes(VERSION_1));
}

/// Hands out whatever it has, of any version.
#[derive(Debug, Default)]
struct Careless(Mutex<Vec<StoredSession>>);

impl SessionStore for Careless {
    fn put(&self, _: &SessionKey, session: StoredSession) {
        self.0.lock().unwrap().push(session);
    }

    fn take(&self, _: &SessionKey) -> Option<StoredSession> {
        self.0.lock().unwrap().pop()
    }

    fn has(&self, _: &SessionKey) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

// covers: R9369-5-02
#[test]
fn a_server_does_not_take_the_ticket_of_another_version() {
    let store = || Some(Arc::new(Careless::default()) as Arc<dyn SessionStore>);
    let known = Known { sessions: ClientResumption { store: store(), ..<_>::default() }, ..Known::new() };
    assert!(!known.resumes(VERSION_1));
    assert!(known.resumes(VERSION_1));
    assert!(!known.resumes(VERSION_2));

    // The same where the client keeps the sealed session.
    let mut config = server_config(&known.identity, &SUITES);
    config.ticketer = ::rustls::crypto::ring::Ticketer::new().unwrap();
    let server = RustlsServer::new(config).unwrap();
    let known = Known { server, sessions: ClientResumption { store: store(), ..<_>::default() }, ..known };
    assert!(!known.resumes(VERSION_1));
    assert!(known.resumes(VERSION_1));
    assert!(!known.resumes(VERSION_2));
}

// covers: R9369-5-01
#[test]
fn tickets_are_of_the_version_that_was_negotiated() {
    let known = Known::new();
    let mut pair = Pair::resuming(VERSION_1, &known.client, &known.server, &known.sessions);
    pair.client.session.change_version(VERSION_2, None);
    pair.server.session.change_version(VERSION_2, None);
    pair.run(usize::MAX).unwrap();
    let resumable = |version| known.client.resumable(version, "localhost", &known.sessions);
    assert_eq!([VERSION_1, VERSION_2].map(resumable), [false, true]);
    assert!(!known.resumes(VERSION_1));
    assert!(known.resumes(VERSION_2));
}

#[test]
fn a_client_without_a_store_begins_anew() {
    let known = Known { sessions: ClientResumption { store: None, ..<_>::default() }, ..Known::new() };
    assert!(!known.resumes(VERSION_1) && !known.resumes(VERSION_1));
}

#[test]
fn another_name_and_another_trust_are_another_client() {
    let known = Known::new();
    assert!(!known.resumes(VERSION_1));
    let stranger = Known { identity: identity_of("somebody else"), ..Known::new() };
    let stranger = Known { sessions: known.sessions.clone(), ..stranger };
    assert!(!stranger.resumes(VERSION_1), "its own roots were never asked");
    let mut pair = Pair::resuming(VERSION_1, &known.client, &known.server, &known.sessions);
    let other = known.client.start(VERSION_1, "other.example", Vec::new(), &known.sessions).unwrap();
    pair.client = End::new(other);
    let mut hello = pair.client.flight().remove(0).1;
    let at = client_extensions(&hello);
    rewrite_extensions(&mut hello, at, |kind, _| {
        assert_ne!(kind, PRE_SHARED_KEY);
        None
    });
}

#[test]
fn servers_of_one_name_can_share_a_store() {
    let store: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(100);
    let known = Known::new();
    let other = RustlsServer::new(server_config(&known.identity, &SUITES)).unwrap();
    let mut resumed = Vec::new();
    for (server, shared) in [(&known.server, true), (&other, true), (&other, false)] {
        let mut pair = Pair::resuming(VERSION_1, &known.client, server, &known.sessions);
        let resumption = ServerResumption { store: shared.then(|| store.clone()), ..<_>::default() };
        pair.server = End::new(server.start(VERSION_1, Vec::new(), &resumption).unwrap());
        pair.run(usize::MAX).unwrap();
        resumed.push(pair.client.data().resumed);
    }
    assert_eq!(resumed, [false, true, false]);
}
