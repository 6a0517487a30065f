//! 0-RTT: data before the handshake, taken or not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::pair::{Pair, Setup, Tls, bytes};
use crate::config::TransportConfig;
use crate::crypto::tls::{EarlyData, EarlyDataPolicy, SessionKey, SessionStore, StoredSession};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Dir, Rng, Side, SpaceId, StreamId, TransportErrorCode as Code};
use crate::proto::Event;
use crate::wire::transport_parameters::TransportParameters;

const MS: Duration = Duration::from_millis(1);

pub fn stream(index: u64) -> StreamId {
    StreamId::new(Side::Client, Dir::Uni, index)
}

/// TLS of a client that has a ticket of a server that takes early data.
pub fn acquainted(setup: impl Fn() -> Setup) -> Tls {
    let mut tls = Tls::new(&setup());
    tls.server_sessions.early_data = Some(EarlyDataPolicy::new());
    let mut pair = Pair::with(setup(), tls);
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
    assert_eq!(pair.client.connection.early_data(), EarlyData::None);
    pair.tls
}

/// A client with something to send before the handshake.
pub fn early(setup: Setup, tls: &Tls, len: usize) -> Pair {
    let mut pair = Pair::with(setup, tls.clone());
    assert_eq!(pair.client.connection.early_data(), EarlyData::Offered);
    send(&mut pair, len);
    pair
}

fn send(pair: &mut Pair, len: usize) {
    let streams = pair.client.connection.streams();
    streams.write(stream(0), bytes(len));
    streams.finish(stream(0));
}

fn told(pair: &Pair) -> Vec<bool> {
    let told = pair.client.events.iter().filter_map(|event| match event {
        Event::EarlyData { accepted } => Some(*accepted),
        _ => None,
    });
    told.collect()
}

fn assert_arrived(pair: &mut Pair, len: usize) {
    let received = &pair.server().received;
    assert_eq!(received.len(), 1);
    assert!(received[0] == (stream(0), bytes(len).to_vec(), true));
    assert!(pair.client.connection.streams().is_empty());
}

// covers: R9001-4.9.3-01 R9001-4.9.3-02 R9001-5.6-04 R9001-5.6-06 R9000-17.2.3-03 R9000-17.2.3-04
// covers: R9000-13.2.6-03
#[test]
fn early_data_is_taken_before_the_handshake_is_complete() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup::default(), &tls, 5_000);
    pair.run_for(15 * MS);
    let server = pair.server();
    assert!(
        !server.connection.is_handshake_complete() && server.connection.early_data() == EarlyData::Accepted
    );
    assert!(server.received == [(stream(0), bytes(5_000).to_vec(), true)]);
    assert_eq!(server.early, [stream(0)]);
    // The answer leaves at once, in 1-RTT packets.
    let answer = StreamId::new(Side::Server, Dir::Uni, 0);
    server.connection.streams().write(answer, bytes(100));
    server.connection.streams().finish(answer);
    assert!(server.connection.keys.local(crate::packet::Level::ZeroRtt).is_none());
    pair.run_for(10 * MS);
    assert!(pair.client.connected());
    assert_eq!((told(&pair), &pair.client.received[0].1), (vec![true], &bytes(100).to_vec()));
    assert!(pair.client.connection.keys.early_local.is_none());
    let sent = pair.client.connection.stats().early_packets_sent;
    pair.run_for(15 * MS);
    assert!(pair.server().connection.keys.early_remote.is_some(), "late packets are still welcome");
    pair.run_for(500 * MS);
    assert!(pair.server().connection.keys.early_remote.is_none());
    assert_arrived(&mut pair, 5_000);
    let stats = pair.client.connection.stats();
    assert_eq!((stats.early_packets_sent, stats.packets_lost), (sent, 0));
    assert_eq!(pair.server().connection.stats().early_packets_received, sent);
}

// covers: R9001-5.6-01
#[test]
fn nothing_is_sent_early_unless_it_is_asked_for() {
    let tls = acquainted(Setup::default);
    let mut pair = Pair::with(Setup::default(), tls);
    pair.run_for(300 * MS);
    assert_eq!((told(&pair), pair.client.connection.stats().early_packets_sent), (vec![true], 0));
}

// covers: R9001-4.6.2-01 R9001-4.6.2-03 R9001-5.6-03
#[test]
fn rejected_streams_begin_anew() {
    let mut tls = acquainted(Setup::default);
    tls.server_sessions.early_data = None;
    let mut pair = early(Setup::default(), &tls, 5_000);
    pair.run_for(15 * MS);
    assert!(pair.server().received.is_empty());
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
    assert_eq!(told(&pair), [false]);
    assert!(pair.client.connection.handshake_data().unwrap().resumed);
    assert!(pair.server().received.is_empty() && pair.client.connection.streams().is_empty());
    let sent = pair.client.connection.stats().early_packets_sent;
    assert!(sent > 0);
    // The numbers of packets go on, those of streams do not.
    assert!(pair.client.connection.spaces[SpaceId::Data.index()].sent.next() > sent);
    send(&mut pair, 3_000);
    pair.run_for(300 * MS);
    assert_arrived(&mut pair, 3_000);
    assert_eq!(pair.client.connection.stats().early_packets_sent, sent);
}

/// Limits are no part of what begins anew, but the server has not heard of them.
#[test]
fn limits_that_were_raised_in_rejected_packets_are_told_again() {
    let initial = TransportConfig::builder().max_concurrent_bidi_streams(0).max_concurrent_uni_streams(0);
    let client = initial.receive_window(1_000).build().unwrap();
    for taken in [true, false] {
        let mut tls = acquainted(Setup::default);
        if !taken {
            tls.server_sessions.early_data = None;
        }
        let mut pair = early(Setup { client: client.clone(), ..Setup::default() }, &tls, 100);
        let streams = pair.client.connection.streams();
        streams.set_receive_window(50_000);
        streams.set_max_concurrent(Dir::Bi, 3);
        streams.set_max_concurrent(Dir::Uni, 100);
        pair.run_for(300 * MS);
        assert_eq!((told(&pair), pair.client.confirmed()), (vec![taken], true));
        let streams = pair.server().connection.streams();
        assert_eq!((streams.local_limit(Dir::Bi), streams.local_limit(Dir::Uni)), (3, 100));
        let answer = StreamId::new(Side::Server, Dir::Uni, 0);
        streams.write(answer, bytes(20_000));
        streams.finish(answer);
        pair.run_for(300 * MS);
        assert!(pair.client.received == [(answer, bytes(20_000).to_vec(), true)]);
    }
}

// covers: R9000-7.4.1-05 R9000-7.4.1-06 R9000-7.4.1-08
#[test]
fn a_server_that_allows_less_than_before_takes_no_early_data() {
    let tls = acquainted(Setup::default);
    let smaller = TransportConfig::builder();
    for (server, taken) in [
        (smaller.clone().max_concurrent_bidi_streams(7).build().unwrap(), false),
        (smaller.clone().max_concurrent_uni_streams(1_000_000).build().unwrap(), true),
        (smaller.stream_receive_window(5_000).build().unwrap(), false),
    ] {
        let mut pair = early(Setup { server, ..Setup::default() }, &tls, 1_000);
        pair.run_for(300 * MS);
        assert!(pair.client.confirmed());
        assert_eq!((told(&pair), pair.server().received.len()), (vec![taken], usize::from(taken)));
    }
}

/// Keeps sessions, and changes what the server is remembered to allow.
#[derive(Debug)]
struct Embellished(Mutex<Vec<StoredSession>>, fn(&mut TransportParameters));

impl SessionStore for Embellished {
    fn put(&self, _: &SessionKey, session: StoredSession) {
        let mut params = TransportParameters::decode(Side::Server, session.transport_parameters()).unwrap();
        (self.1)(&mut params);
        let mut encoded = Vec::new();
        params.encode(Side::Server, &mut Rng::from_u64(1), &mut encoded);
        self.0.lock().unwrap().push(StoredSession::new(session.into_opaque(), encoded));
    }

    fn take(&self, _: &SessionKey) -> Option<StoredSession> {
        self.0.lock().unwrap().pop()
    }

    fn has(&self, _: &SessionKey) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

pub fn remembering(change: fn(&mut TransportParameters)) -> Tls {
    remembering_of(Setup::default(), change)
}

fn remembering_of(setup: Setup, change: fn(&mut TransportParameters)) -> Tls {
    let mut tls = Tls::new(&setup);
    tls.server_sessions.early_data = Some(EarlyDataPolicy::new());
    tls.client_sessions.store = Some(Arc::new(Embellished(Mutex::default(), change)));
    let mut pair = Pair::with(setup, tls);
    pair.run_for(300 * MS);
    pair.tls
}

// covers: R9000-7.4.1-04 R9000-7.4.1-05
#[test]
fn a_client_does_not_put_up_with_lower_limits() {
    for change in [
        (|params| params.initial_max_data += 1) as fn(&mut TransportParameters),
        |params| params.initial_max_stream_data_bidi_local += 1,
        |params| params.initial_max_stream_data_bidi_remote += 1,
        |params| params.initial_max_stream_data_uni += 1,
        |params| params.initial_max_streams_bidi += 1,
        |params| params.initial_max_streams_uni += 1,
        |params| params.active_connection_id_limit += 1,
    ] {
        let tls = remembering(change);
        let mut pair = early(Setup::default(), &tls, 1_000);
        pair.run_for(300 * MS);
        match pair.client.closed() {
            Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => {
                assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
            }
            other => panic!("{other:?}"),
        }
        // If early data is not taken, nothing was promised.
        let mut tls = remembering(change);
        tls.server_sessions.early_data = None;
        let mut pair = early(Setup::default(), &tls, 1_000);
        pair.run_for(300 * MS);
        assert!(pair.client.confirmed());
    }
}

fn without_reset_at() -> Setup {
    let server = TransportConfig::builder().reset_stream_at(false).build().unwrap();
    Setup { server, ..Setup::default() }
}

// covers: D-reset-stream-at-3-02 D-reset-stream-at-3-03
#[test]
fn a_frame_that_a_server_takes_no_longer_costs_early_data() {
    // It remembers what it said, and does not take early data that may make use of that.
    let tls = acquainted(Setup::default);
    let mut pair = early(without_reset_at(), &tls, 1_000);
    pair.run_for(300 * MS);
    assert_eq!(told(&pair), [false]);
    assert!(pair.client.confirmed() && !pair.client.connection.streams().peer_supports_reset_at());
    // A server that takes it all the same is found out.
    let tls = remembering_of(without_reset_at(), |params| params.reset_stream_at = true);
    let mut pair = early(without_reset_at(), &tls, 1_000);
    pair.run_for(300 * MS);
    match pair.client.closed() {
        Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => {
            assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
        }
        other => panic!("{other:?}"),
    }
}

// covers: D-reset-stream-at-3-02
#[test]
fn early_data_may_be_reset_but_for_its_beginning() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup::default(), &tls, 1_000);
    assert!(pair.client.connection.streams().reset_at(stream(0), 7u8.into(), 600));
    pair.run_for(15 * MS);
    let server = pair.server();
    assert_eq!(server.received, [(stream(0), bytes(1_000)[..600].to_vec(), false)]);
    assert!(!server.connection.is_handshake_complete());
    pair.run_for(300 * MS);
    assert_eq!(told(&pair), [true]);
}

// covers: R9000-7.4.1-02 R9000-7.4.1-03 R9000-7.4.1-09
#[test]
fn early_data_goes_by_what_is_remembered_and_the_rest_by_what_is_new() {
    let tls = remembering(|params| {
        params.initial_max_data = 2_000;
        params.max_ack_delay = Duration::from_millis(1_000);
        params.ack_delay_exponent = 20;
    });
    let mut pair = early(Setup::default(), &tls, 50_000);
    pair.run_for(15 * MS);
    assert_eq!(pair.server().received[0].1.len(), 2_000);
    assert_eq!(pair.client.connection.recovery.ack_requests.max_ack_delay(), Duration::from_millis(25));
    assert_eq!(pair.client.connection.handshake.peer_ack_delay_exponent(SpaceId::Data), 3);
    pair.run_for(300 * MS);
    assert_arrived(&mut pair, 50_000);
}

// covers: R9000-17.2.3-01 R9000-17.2.3-02
#[test]
fn after_a_retry_early_data_is_sent_again() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup { retry: true, ..Setup::default() }, &tls, 5_000);
    pair.run_for(35 * MS);
    let server = pair.server();
    assert!(server.received == [(stream(0), bytes(5_000).to_vec(), true)]);
    assert!(!server.connection.is_handshake_complete());
    pair.run_for(300 * MS);
    assert_eq!(told(&pair), [true]);
    assert_arrived(&mut pair, 5_000);
    let stats = (pair.client.connection.stats(), pair.server().connection.stats());
    assert!(stats.0.early_packets_sent >= 2 * stats.1.early_packets_received);
}

#[test]
fn lost_early_data_arrives_all_the_same() {
    for lost in 0..6 {
        for upto in lost + 1..8 {
            let tls = acquainted(Setup::default);
            let mut pair = early(Setup::default(), &tls, 5_000);
            pair.to_server = Box::new(move |index, _| !(lost..upto).contains(&index));
            pair.run_for(Duration::from_secs(20));
            assert!(pair.client.confirmed(), "{lost}..{upto}");
            assert_arrived(&mut pair, 5_000);
        }
    }
}

/// Whoever records a client's datagrams can send them again, to the same server or to one that shares its sessions.
// covers: R9001-9.2-01
#[test]
fn a_replay_is_not_taken() {
    let tls = acquainted(Setup::default);
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let mut pair = early(Setup::default(), &tls, 3_000);
    let record = recorded.clone();
    pair.to_server = Box::new(move |_, datagram| {
        record.lock().unwrap().push(datagram.clone());
        true
    });
    pair.run_for(15 * MS);
    assert_eq!(pair.server().received[0].1.len(), 3_000);

    let mut victim = Pair::with(Setup::default(), tls);
    victim.to_server = Box::new(|_, _| false);
    let recorded = recorded.lock().unwrap().clone();
    let incoming = victim.open(&recorded[0]).unwrap();
    victim.serve(incoming);
    let now = victim.now;
    for datagram in &recorded[1..] {
        victim.server().inbox.push_back((now, datagram.clone()));
    }
    victim.run_for(15 * MS);
    let server = victim.server();
    assert_eq!(server.connection.early_data(), EarlyData::Rejected);
    assert!(server.received.is_empty() && server.connection.stats().early_packets_received == 0);
}

#[test]
fn a_client_that_gives_up_early_says_so() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup::default(), &tls, 3_000);
    pair.run_for(MS);
    let now = pair.now;
    pair.client.connection.close(now, 7_u8.into(), "enough".into());
    pair.run_for(15 * MS);
    match pair.server().closed() {
        // The server may not have the keys to hear more than that.
        Some(ConnectionError::Transport { by: ClosedBy::Peer, error }) => {
            assert_eq!(error.code, Code::APPLICATION_ERROR);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pair.server().received.len(), 1);
}

// covers: R9001-4.6.1-01
#[test]
fn tickets_allow_early_data_of_any_size_or_none() {
    for allowed in [true, false] {
        let mut tls = Tls::new(&Setup::default());
        tls.server_sessions.early_data = allowed.then(EarlyDataPolicy::new);
        let mut pair = Pair::with(Setup::default(), tls);
        // The server is complete; what it sends now has not arrived.
        pair.run_for(31 * MS);
        let crypto = pair.server().connection.handshake.crypto(SpaceId::Data).unwrap();
        crypto.repeat();
        let (offset, ticket) = crypto.next().unwrap();
        assert_eq!((offset, ticket[0]), (0, 4), "NewSessionTicket");
        // The extension early_data, and its four bytes.
        let sizes: Vec<&[u8]> = ticket
            .windows(8)
            .filter(|bytes| bytes.starts_with(&[0, 42, 0, 4]))
            .map(|bytes| &bytes[4..])
            .collect();
        assert_eq!(!sizes.is_empty(), allowed);
        assert!(sizes.iter().all(|size| *size == [0xff; 4]), "{sizes:x?}");
    }
}
