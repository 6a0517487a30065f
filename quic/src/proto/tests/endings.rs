//! How connections end, and how both ends hear of it.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Setup};
use crate::config::TransportConfig;
use crate::crypto::ResetKey;
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Burst, Dir, ResetToken, Rng, Side, StreamId, TransportErrorCode as Code};
use crate::proto::streams::StreamEvent;
use crate::proto::{Event, RouteChange, endpoint};
use crate::wire::{VarInt, draft};

const MS: Duration = Duration::from_millis(1);

fn connected() -> Pair {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(200 * MS);
    assert!(pair.client.confirmed() && pair.server().confirmed());
    pair
}

fn transport_code(error: Option<&ConnectionError>, who: ClosedBy) -> Code {
    match error {
        Some(ConnectionError::Transport { by, error }) if *by == who => error.code,
        other => panic!("{other:?}"),
    }
}

// covers: R9000-10.2-02
#[test]
fn an_application_close_is_told_and_leaves_a_tombstone() {
    let mut pair = connected();
    pair.client.connection.close(pair.now, VarInt::from_u32(7), Bytes::from_static(b"done"));
    pair.run_for(50 * MS);
    assert_eq!(pair.client.closed(), Some(&ConnectionError::LocallyClosed));
    let expected =
        ConnectionError::Application { code: VarInt::from_u32(7), reason: Bytes::from_static(b"done") };
    assert_eq!(pair.server().closed(), Some(&expected));
    let grave = pair.client.connection.tombstone().unwrap();
    assert!(grave.close.is_some() && grave.until > pair.now);
    assert!(pair.server().connection.tombstone().unwrap().close.is_none(), "who drains answers nothing");
    let closes = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Closed(_))).count();
    assert_eq!((closes(&pair.client.events), closes(&pair.server().events)), (1, 1));
}

/// Whoever closes with the last byte in hand still acknowledges it, and the other end hears of that before the end.
#[test]
fn a_close_acknowledges_what_arrived_and_comes_after_it() {
    let mut pair = connected();
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    pair.server().connection.streams().write(id, Bytes::from_static(b"all there is"));
    pair.server().connection.streams().finish(id);
    pair.run_for(9 * MS);
    assert!(pair.client.received.is_empty());
    let datagrams = pair.client.inbox.drain(..).collect::<Vec<_>>();
    assert_eq!(datagrams.len(), 1);
    let path = pair.client.connection.path();
    for (_, datagram) in datagrams {
        pair.client.connection.handle_burst(pair.now, Burst::single(pair.now, path, None, datagram));
    }
    pair.client.connection.close(pair.now, VarInt::from_u32(0), Bytes::new());
    pair.run_for(50 * MS);
    let events = &pair.server().events;
    let finished = events.iter().position(|e| matches!(e, Event::Stream(StreamEvent::Finished(_))));
    let closed = events.iter().position(|e| matches!(e, Event::Closed(_)));
    assert!(finished.is_some() && finished < closed, "{events:?}");
}

// covers: R9000-10.2.3-05 R9000-10.2.3-06
#[test]
fn what_the_application_says_is_not_shown_before_the_handshake_is_complete() {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(11 * MS);
    let now = pair.now;
    pair.server().connection.close(now, VarInt::from_u32(7), Bytes::from_static(b"secret"));
    pair.run_for(50 * MS);
    // The client may or may not hold 1-RTT keys by then; it must hear of an application error at any rate.
    match pair.client.closed() {
        Some(ConnectionError::Transport { by: ClosedBy::Peer, error }) => {
            assert_eq!((error.code, &*error.reason), (Code::APPLICATION_ERROR, ""));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_by_the_client() {
    let mut pair = Pair::new(Setup { server_name: "elsewhere", ..Setup::default() });
    pair.run_for(100 * MS);
    let code = transport_code(pair.client.closed(), ClosedBy::Local);
    assert_eq!(code, Code::crypto(42), "bad_certificate");
    assert_eq!(transport_code(pair.server().closed(), ClosedBy::Peer), code);
}

// covers: R9001-8.1-02 R9000-10.3-01
#[test]
fn without_a_common_protocol_both_ends_name_the_alert() {
    let mut pair = Pair::new(Setup { alpn: [b"one", b"two"], ..Setup::default() });
    pair.run_for(100 * MS);
    assert_eq!(transport_code(pair.server().closed(), ClosedBy::Local), Code::crypto(120));
    assert_eq!(transport_code(pair.client.closed(), ClosedBy::Peer), Code::crypto(120));
}

#[test]
fn nobody_answers() {
    let mut pair = Pair::new(Setup::default());
    pair.to_server = Box::new(|_, _| false);
    pair.run_for(9_999 * MS);
    assert_eq!(pair.client.closed(), None);
    pair.run_for(2 * MS);
    assert_eq!(pair.client.closed(), Some(&ConnectionError::HandshakeTimeout));
    let stats = pair.client.connection.stats();
    assert!((3..12).contains(&stats.probe_timeouts), "{stats:?}");
}

// covers: R9000-10.1-01
#[test]
fn silence_ends_the_connection_and_keep_alive_prevents_it() {
    let server = TransportConfig::builder().max_idle_timeout(Some(2_000 * MS)).build().unwrap();
    let mut pair = Pair::new(Setup { server: server.clone(), ..Setup::default() });
    pair.run_for(5_000 * MS);
    assert_eq!(pair.client.closed(), Some(&ConnectionError::TimedOut));
    assert_eq!(pair.server().closed(), Some(&ConnectionError::TimedOut));
    let client = TransportConfig::builder().keep_alive_interval(Some(500 * MS)).build().unwrap();
    let mut pair = Pair::new(Setup { client, server, ..Setup::default() });
    pair.run_for(20_000 * MS);
    assert_eq!(pair.client.closed(), None);
    assert_eq!(pair.server().closed(), None);
}

#[test]
fn keep_alive_to_nobody_is_sparse() {
    let client = TransportConfig::builder().keep_alive_interval(Some(500 * MS)).build().unwrap();
    let mut pair = Pair::new(Setup { client, ..Setup::default() });
    pair.run_for(300 * MS);
    let pings = |pair: &Pair| {
        // Probes ask for an answer at once.
        let sent = pair.client.connection.frames_sent();
        sent.of(0x01) + sent.of(draft::IMMEDIATE_ACK)
    };
    let before = pings(&pair);
    pair.to_server = Box::new(|_, _| false);
    pair.to_client = Box::new(|_, _| false);
    pair.run_for(20_000 * MS);
    assert!(pair.client.closed().is_none());
    let pings = pings(&pair) - before;
    assert!((3..30).contains(&pings), "{pings}");
}

// covers: R9000-10.3.1-03
#[test]
fn a_stateless_reset_ends_it_at_once() {
    let mut pair = connected();
    let Some(RouteChange::AddResetToken(remote, token)) =
        pair.client.routes.iter().find(|route| matches!(route, RouteChange::AddResetToken(..))).cloned()
    else {
        panic!("no token was routed");
    };
    assert_eq!(remote, pair.client.connection.path().remote);
    let cid = pair.server().routes.iter().find_map(|route| match route {
        RouteChange::AddCid(cid) => Some(*cid),
        _ => None,
    });
    let (cid, key) = (cid.unwrap(), ResetKey::new(&[1; 32]));
    assert_eq!(key.token(&cid), token);
    let path = pair.client.connection.path();
    let wrong = [&[0x45; 30][..], &ResetToken([9; 16]).0].concat();
    pair.client.connection.handle_burst(pair.now, Burst::single(pair.now, path, None, wrong));
    pair.run_for(MS);
    assert_eq!(pair.client.closed(), None);
    let reset = endpoint::stateless_reset(&cid, 100, &key, &mut Rng::from_u64(3)).unwrap();
    pair.client.connection.handle_burst(pair.now, Burst::single(pair.now, path, None, reset));
    pair.run_for(MS);
    assert_eq!(pair.client.closed(), Some(&ConnectionError::Reset));
    assert!(pair.client.connection.tombstone().unwrap().close.is_none());
}

/// So that a stateless reset, which is shorter than what it answers, could be a packet.
// covers: R9000-10.3-03
#[test]
fn packets_leave_room_for_a_stateless_reset() {
    let config = TransportConfig::builder().keep_alive_interval(Some(500 * MS)).build().unwrap();
    let mut pair = Pair::new(Setup { client: config, ..Setup::default() });
    let shortest = std::rc::Rc::new(std::cell::Cell::new([usize::MAX; 2]));
    let note = |side: usize| {
        let shortest = shortest.clone();
        move |_: usize, datagram: &mut Vec<u8>| {
            let mut now = shortest.get();
            now[side] = now[side].min(datagram.len());
            shortest.set(now);
            true
        }
    };
    pair.to_server = Box::new(note(0));
    pair.to_client = Box::new(note(1));
    pair.run_for(20_000 * MS);
    assert!(pair.client.connection.frames_sent().of(0x01) > 10);
    let [to_server, to_client] = shortest.get();
    assert_eq!(to_server, 22 + 8, "PINGs");
    assert!(to_client >= 22 + 8, "acknowledgments: {to_client}");
}

// covers: R9000-6.2-01
#[test]
fn version_negotiation_without_our_version_ends_the_attempt() {
    for (offered, ends) in [(vec![0x6b33_43cf], true), (vec![0x6b33_43cf, 1], false)] {
        let mut pair = Pair::new(Setup::default());
        let mut first = None;
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let copy = seen.clone();
        pair.to_server = Box::new(move |_, datagram| {
            copy.borrow_mut().push(datagram.clone());
            false
        });
        pair.run_for(MS);
        first.get_or_insert(seen.borrow()[0].clone());
        let first = first.unwrap();
        let (dcid, scid) = (&first[6..14], &first[15..23]);
        let answer = endpoint::version_negotiation(dcid, scid, &offered, &mut Rng::from_u64(1));
        let path = pair.client.connection.path();
        pair.client.connection.handle_burst(pair.now, Burst::single(pair.now, path, None, answer));
        pair.run_for(MS);
        match pair.client.closed() {
            Some(ConnectionError::VersionMismatch { offered }) => assert!(ends && offered[0] == 0x6b33_43cf),
            None => assert!(!ends),
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever single datagram of the handshake is lost, or every second one, it completes.
#[test]
fn handshakes_survive_losses() {
    for lost in 0..12 {
        let mut pair = Pair::new(Setup::default());
        pair.to_server = Box::new(move |index, _| index != lost);
        pair.run_for(5_000 * MS);
        assert!(pair.client.confirmed() && pair.server().confirmed(), "client datagram {lost}");
        let mut pair = Pair::new(Setup::default());
        pair.to_client = Box::new(move |index, _| index != lost);
        pair.run_for(5_000 * MS);
        assert!(pair.client.confirmed() && pair.server().confirmed(), "server datagram {lost}");
    }
    let mut pair = Pair::new(Setup::default());
    pair.to_server = Box::new(|index, _| index % 2 == 1);
    pair.to_client = Box::new(|index, _| index % 2 == 1);
    pair.run_for(9_000 * MS);
    assert!(pair.client.confirmed() && pair.server().confirmed());
}

/// No byte of a handshake datagram can be changed to the harm of the connection.
#[test]
fn corrupted_datagrams_are_as_good_as_lost() {
    let patient = TransportConfig::builder().handshake_timeout(60_000 * MS).build().unwrap();
    for seed in 0..40u64 {
        let setup = Setup { client: patient.clone(), server: patient.clone(), ..Setup::default() };
        let mut pair = Pair::new(setup);
        let corrupt = move |side: u64| {
            move |index: usize, datagram: &mut Vec<u8>| {
                let mut rng = Rng::from_u64(seed * 1000 + side * 500 + index as u64);
                if rng.below(3) == 0 {
                    let at = rng.below(datagram.len() as u64) as usize;
                    datagram[at] ^= 1 << rng.below(8);
                }
                true
            }
        };
        pair.to_server = Box::new(corrupt(0));
        pair.to_client = Box::new(corrupt(1));
        pair.run_for(25_000 * MS);
        assert!(
            pair.client.confirmed() && pair.server().confirmed(),
            "seed {seed}: {:?}",
            pair.client.closed()
        );
    }
}
