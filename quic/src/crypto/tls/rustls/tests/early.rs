//! Early data: when it is offered, when it is taken, and with which keys.

use std::time::Duration;

use ::rustls::pki_types::UnixTime;
use ::rustls::server::ServerSessionMemoryCache;
use ::rustls::time_provider::TimeProvider;

use super::*;
use crate::crypto::tls::{EarlyData, EarlyDataPolicy};
use crate::packet::{ConnectionId, Rng, Side};
use crate::wire::transport_parameters::TransportParameters;

const NEW_SESSION_TICKET: u8 = 4;
const EARLY_DATA: u16 = 42;

fn params(max_data: u64) -> Vec<u8> {
    let id = ConnectionId::try_from(&[1; 8][..]).unwrap();
    let params = TransportParameters {
        initial_max_data: max_data,
        original_destination_connection_id: Some(id),
        initial_source_connection_id: Some(id),
        ..TransportParameters::default()
    };
    let mut encoded = Vec::new();
    params.encode(Side::Server, &mut Rng::from_u64(1), &mut encoded);
    encoded
}

/// A client, and what the servers of its name share.
struct Known {
    identity: Identity,
    client: RustlsClient,
    sessions: ClientResumption,
    at_server: ServerResumption,
}

impl Known {
    /// The two have met.
    fn new() -> Self {
        let identity = identity();
        let store = ServerSessionMemoryCache::new(100);
        let known = Self {
            client: RustlsClient::new(client_config(&identity, &SUITES)).unwrap(),
            identity,
            sessions: ClientResumption::default(),
            at_server: ServerResumption { store: Some(store), early_data: Some(EarlyDataPolicy::new()) },
        };
        assert_eq!(known.meet(known.server()), (EarlyData::None, EarlyData::None, false));
        known
    }

    fn server(&self) -> ServerConfig {
        server_config(&self.identity, &SUITES)
    }

    fn pair(&self, version: u32, server: ServerConfig) -> Pair {
        let server = RustlsServer::new(server).unwrap();
        let client = self.client.start(version, "localhost", params(7), &self.sessions).unwrap();
        let server = server.start(version, params(1000), &self.at_server).unwrap();
        Pair { client: End::new(client), server: End::new(server) }
    }

    /// What becomes of early data at both ends, and whether the session is resumed.
    fn meet(&self, server: ServerConfig) -> (EarlyData, EarlyData, bool) {
        let mut pair = self.pair(VERSION_1, server);
        let keys = pair.client.session.early_keys();
        pair.run(usize::MAX).unwrap();
        assert_keys_fit(&mut pair);
        let (at_client, at_server) = (pair.client.session.early_data(), pair.server.session.early_data());
        let server_keys = pair.server.session.early_keys();
        assert_eq!(keys.is_some(), at_client != EarlyData::None);
        assert_eq!(server_keys.is_some(), at_server == EarlyData::Accepted);
        if let (Some(ours), Some(theirs)) = (keys, server_keys) {
            assert_fits(&ours, &theirs);
        }
        (at_client, at_server, pair.client.data().resumed)
    }
}

const ACCEPTED: (EarlyData, EarlyData, bool) = (EarlyData::Accepted, EarlyData::Accepted, true);
/// Resumed, without early data.
const RESUMED: (EarlyData, EarlyData, bool) = (EarlyData::Rejected, EarlyData::Rejected, true);
const REJECTED: (EarlyData, EarlyData, bool) = (EarlyData::Rejected, EarlyData::Rejected, false);

#[test]
fn both_ends_have_the_same_keys_and_the_client_what_it_remembers() {
    let known = Known::new();
    assert_eq!(known.meet(known.server()), ACCEPTED);
    let mut pair = known.pair(VERSION_1, known.server());
    assert_eq!(pair.client.session.early_data(), EarlyData::Offered);
    let remembered = pair.client.session.remembered().unwrap();
    assert_eq!((&remembered.params, &remembered.alpn[..]), (&params(1000), &b"h3"[..]));
    assert!(pair.client.session.early_keys().is_some() && pair.client.session.early_keys().is_none());
    assert_eq!(pair.server.session.early_data(), EarlyData::None);
    pair.tamper_client_hello(|_| {}).unwrap();
    assert_eq!(pair.server.session.early_data(), EarlyData::Accepted, "known at once");
    assert!(pair.server.session.early_keys().is_some());
}

#[test]
fn whatever_the_configurations_of_rustls_say_ours_decide() {
    let known = Known::new();
    let mut server = known.server();
    server.max_early_data_size = u32::MAX;
    let refusing = ServerResumption { early_data: None, ..known.at_server.clone() };
    let known = Known { at_server: refusing, ..known };
    assert_eq!(known.meet(server), RESUMED);
    // And its tickets allow none.
    assert_eq!(known.meet(known.server()), (EarlyData::None, EarlyData::None, true));
    let silent = ClientResumption { early_data: false, ..Known::new().sessions };
    let known = Known { sessions: silent, ..Known::new() };
    assert_eq!(known.meet(known.server()), (EarlyData::None, EarlyData::None, false));
    assert_eq!(known.meet(known.server()), (EarlyData::None, EarlyData::None, true));
}

#[test]
fn a_hello_retry_request_means_no() {
    let known = Known::new();
    let mut other_group = (*provider(&SUITES)).clone();
    other_group.kx_groups = vec![ring::kx_group::SECP384R1];
    let identity = &known.identity;
    let mut server = ServerConfig::builder_with_provider(Arc::new(other_group))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    server.alpn_protocols = vec![b"h3".to_vec()];
    let mut pair = known.pair(VERSION_1, server);
    pair.tamper_client_hello(|_| {}).unwrap();
    let retry = pair.server.flight();
    assert_eq!(pair.server.session.early_data(), EarlyData::Rejected);
    pair.client.read(Level::Initial, &retry[0].1).unwrap();
    assert_eq!(pair.client.session.early_data(), EarlyData::Rejected, "known at once");
    pair.run(usize::MAX).unwrap();
    assert!(pair.client.data().resumed && pair.server.session.early_keys().is_none());
}

#[test]
fn another_protocol_or_cipher_suite_means_no() {
    let known = Known::new();
    let mut server = known.server();
    server.alpn_protocols = vec![b"other".to_vec()];
    assert_eq!(known.meet(server), RESUMED);
    let known = Known::new();
    assert_eq!(known.meet(server_config(&known.identity, &[CipherSuite::Aes256Gcm])), REJECTED);
}

// covers: R9001-9.2-01
#[test]
fn a_ticket_brings_early_data_once() {
    let known = Known::new();
    let mut first = known.pair(VERSION_1, known.server());
    let hello = first.client.flight().remove(0).1;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let mut replayed = known.pair(VERSION_1, known.server());
        replayed.server.read(Level::Initial, &hello).unwrap();
        outcomes.push(replayed.server.session.early_data());
        assert_eq!(replayed.server.session.early_keys().is_some(), outcomes.len() == 1);
    }
    assert_eq!(outcomes, [EarlyData::Accepted, EarlyData::Rejected, EarlyData::Rejected]);
}

#[derive(Debug)]
struct Later(u64);

impl TimeProvider for Later {
    fn current_time(&self) -> Option<UnixTime> {
        let now = UnixTime::now().as_secs();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now + self.0)))
    }
}

// covers: R9001-9.2-01
#[test]
fn old_tickets_and_too_many_bring_none() {
    let aged = |policy: EarlyDataPolicy, seconds| {
        let known = Known::new();
        let at_server = ServerResumption { early_data: Some(policy), ..known.at_server.clone() };
        let known = Known { at_server, ..known };
        let mut server = known.server();
        server.time_provider = Arc::new(Later(seconds));
        known.meet(server)
    };
    let policy = EarlyDataPolicy::new;
    assert_eq!(aged(policy(), 0), ACCEPTED);
    assert_eq!(aged(policy(), 20), ACCEPTED);
    assert_eq!(aged(policy().max_age(Duration::from_secs(10)), 20), RESUMED);
    // The client says how old the ticket is; this one is older than that.
    assert_eq!(aged(policy(), 100), RESUMED);
    assert_eq!(aged(policy().max_per_second(0), 0), RESUMED);
    assert_eq!(aged(policy().context("new"), 0), RESUMED);
}

// covers: R9000-7.4.1-08
#[test]
fn a_server_that_promised_more_takes_none() {
    for (now, taken) in [(1000, true), (1001, true), (999, false)] {
        let known = Known::new();
        let mut pair = known.pair(VERSION_1, known.server());
        let server = RustlsServer::new(known.server()).unwrap();
        pair.server = End::new(server.start(VERSION_1, params(now), &known.at_server).unwrap());
        pair.run(usize::MAX).unwrap();
        let expected = if taken { EarlyData::Accepted } else { EarlyData::Rejected };
        assert_eq!((pair.server.session.early_data(), pair.client.data().resumed), (expected, true));
    }
}

#[test]
fn sealed_tickets_bring_none() {
    let known = Known::new();
    let at_server = ServerResumption { store: None, ..known.at_server.clone() };
    let known = Known { at_server, ..known };
    let ticketer = ::rustls::crypto::ring::Ticketer::new().unwrap();
    let server = || {
        let mut config = known.server();
        config.ticketer = ticketer.clone();
        config
    };
    assert_eq!(known.meet(server()), REJECTED, "a ticket that it does not know");
    assert_eq!(known.meet(server()), (EarlyData::None, EarlyData::None, true));
}

#[test]
fn keys_are_of_the_version_that_the_client_began_with() {
    let known = Known::new();
    let mut pair = known.pair(VERSION_1, known.server());
    let ours = pair.client.session.early_keys().unwrap();
    pair.server.session.change_version(VERSION_2, None);
    pair.tamper_client_hello(|_| {}).unwrap();
    assert_fits(&ours, &pair.server.session.early_keys().unwrap());
    // No ticket for the other version.
    let pair = known.pair(VERSION_2, known.server());
    assert_eq!(pair.client.session.early_data(), EarlyData::None);
}

/// Changes the early_data extension of the server's tickets.
fn with_tickets_changed(change: impl Fn(&[u8]) -> Vec<u8>) -> Result<usize, TransportError> {
    let known = Known::new();
    let mut pair = known.pair(VERSION_1, known.server());
    pair.tamper_client_hello(|_| {})?;
    for (level, bytes) in pair.server.flight() {
        pair.client.read(level, &bytes)?;
    }
    let finished = pair.client.flight().remove(0).1;
    pair.server.read(Level::Handshake, &finished)?;
    let (level, tickets) = pair.server.flight().remove(0);
    let mut seen = 0;
    for ticket in messages(&tickets) {
        assert_eq!((level, ticket[0]), (Level::OneRtt, NEW_SESSION_TICKET));
        let nonce = 4 + 4 + 4;
        let id = nonce + 1 + usize::from(ticket[nonce]);
        let at = id + 2 + usize::from(u16::from_be_bytes([ticket[id], ticket[id + 1]]));
        let mut ticket = ticket.to_vec();
        rewrite_extensions(&mut ticket, at, |kind, body| {
            Some(if kind == EARLY_DATA { change(body) } else { body.to_vec() })
        });
        pair.client.read(level, &ticket)?;
        seen += 1;
    }
    Ok(seen)
}

// covers: R9001-4.6.1-01 R9001-4.6.1-02
#[test]
fn tickets_allow_all_early_data_or_none() {
    let seen = with_tickets_changed(|body| {
        assert_eq!(body, u32::MAX.to_be_bytes());
        body.to_vec()
    });
    assert_eq!(seen.unwrap(), 2);
    for limit in [1, 1000, u32::MAX - 1] {
        assert_violation(with_tickets_changed(|_| limit.to_be_bytes().to_vec()));
    }
}
