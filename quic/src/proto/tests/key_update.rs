//! Key updates between peers that keep the rules (RFC 9001 §6).

use std::time::Duration;

use super::pair::{DELAY, Pair, Peer, Setup, bytes};
use crate::crypto::AeadLimits;
use crate::error::KeyUpdateError;
use crate::packet::{Dir, Side, StreamId};

const MS: Duration = Duration::from_millis(1);

fn confirmed() -> Pair {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(200 * MS);
    pair
}

fn updates(peer: &Peer) -> u64 {
    peer.connection.stats().key_updates
}

fn masks(peer: &Peer) -> [[u8; 5]; 2] {
    let keys = peer.connection.keys.one_rtt.as_ref().unwrap();
    [keys.local.header.mask(&[7; 16]), keys.remote_header().mask(&[7; 16])]
}

fn assert_no_failures(pair: &mut Pair) {
    let server = pair.server().connection.stats();
    let client = pair.client.connection.stats();
    assert_eq!((client.authentication_failures, server.authentication_failures), (0, 0));
    assert!(pair.client.closed().is_none() && pair.server().closed().is_none());
}

// covers: R9001-6.1-01
#[test]
fn no_update_before_the_handshake_is_confirmed() {
    let mut pair = Pair::new(Setup::default());
    let mut early = [0, 0];
    while !pair.client.confirmed() {
        let now = pair.now;
        if !pair.client.confirmed() {
            assert_eq!(pair.client.connection.update_keys(now), Err(KeyUpdateError::NotConfirmed));
            early[0] += 1;
        }
        if let Some(server) = pair.server.as_mut().filter(|server| !server.confirmed()) {
            assert_eq!(server.connection.update_keys(now), Err(KeyUpdateError::NotConfirmed));
            early[1] += 1;
        }
        pair.run_for(2 * MS);
    }
    assert!(early.iter().all(|times| *times > 3), "{early:?}");
}

// covers: R9001-6.1-02 R9001-6.5-01
#[test]
fn the_next_update_waits_for_an_acknowledgment_and_three_probe_timeouts() {
    let mut pair = confirmed();
    let masks_before = masks(&pair.client);
    for update in 1..=4 {
        let now = pair.now;
        assert_eq!(pair.client.connection.update_keys(now), Ok(()));
        assert_eq!(pair.client.connection.update_keys(now), Err(KeyUpdateError::NotAcknowledged));
        // Nobody sends anything else: the update itself speaks up.
        pair.run_for(DELAY);
        pair.run_for(MS);
        assert_eq!((updates(&pair.client), updates(pair.server())), (update, update));
        let (now, error) = (pair.now, KeyUpdateError::NotAcknowledged);
        assert_eq!(pair.client.connection.update_keys(now), Err(error));
        assert_eq!(pair.server().connection.update_keys(now), Err(error), "it has not been answered either");
        pair.run_for(DELAY + 30 * MS);
        let (now, pto) = (pair.now, pair.client.connection.pto());
        let error = pair.client.connection.update_keys(now).unwrap_err();
        let KeyUpdateError::TooSoon(wait) = error else { panic!("{error:?}") };
        assert!(wait > pto && wait <= 3 * pto, "{wait:?}");
        pair.run_for(wait - MS);
        let now = pair.now;
        assert_eq!(pair.client.connection.update_keys(now), Err(KeyUpdateError::TooSoon(MS)));
        pair.run_for(MS);
    }
    // Header protection keys stay what they were.
    assert_eq!(masks(&pair.client), masks_before);
    let [local, remote] = masks(pair.server());
    assert_eq!([remote, local], masks_before);
    assert_no_failures(&mut pair);
}

#[test]
fn a_closed_connection_updates_nothing() {
    let mut pair = confirmed();
    let now = pair.now;
    pair.client.connection.close(now, 3u32.into(), bytes(3));
    assert_eq!(pair.client.connection.update_keys(now), Err(KeyUpdateError::Closed));
}

#[test]
fn both_ends_may_begin_the_same_update() {
    let mut pair = confirmed();
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    let data = bytes(300_000);
    for round in 1..=5 {
        pair.client.connection.streams().write(id, data.clone());
        pair.run_for(25 * MS);
        if round > 1 {
            pair.server().connection.streams().write(id, data.clone());
        }
        pair.run_for(25 * MS);
        let now = pair.now;
        pair.client.connection.update_keys(now).unwrap();
        pair.run_for(MS);
        let now = pair.now;
        pair.server().connection.update_keys(now).unwrap();
        pair.run_for(2000 * MS);
        assert_eq!((updates(&pair.client), updates(pair.server())), (round, round));
    }
    assert_eq!(pair.server().received[0].1.len(), 5 * data.len());
    assert_eq!(pair.client.received[0].1.len(), 4 * data.len());
    assert_no_failures(&mut pair);
}

/// The keys before serve packets that were overtaken, and are forgotten when that is over, also in silence.
// covers: R9001-6.1-03 R9001-6.1-04 R9001-6.5-02 R9001-6.5-03
#[test]
fn old_keys_are_kept_for_a_while_and_then_forgotten() {
    let mut pair = confirmed();
    let now = pair.now;
    pair.client.connection.update_keys(now).unwrap();
    pair.run_for(500 * MS);
    for peer in [&pair.client, pair.server.as_ref().unwrap()] {
        assert!(!peer.connection.keys.one_rtt.as_ref().unwrap().has_previous());
    }
    assert_no_failures(&mut pair);
}

// covers: R9001-5.3-03 R9001-6.6-01 R9001-6.6-03
#[test]
fn no_key_seals_more_than_its_cipher_allows() {
    const LIMIT: u64 = 1000;
    let mut pair = confirmed();
    let limits = |_| AeadLimits { confidentiality: LIMIT, integrity: u64::MAX };
    pair.client.connection.keys.limits = limits;
    pair.server().connection.keys.limits = limits;
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    let mut most = 0;
    for _ in 0..40 {
        pair.client.connection.streams().write(id, bytes(400_000));
        for _ in 0..100 {
            pair.run_for(MS);
            for peer in [&pair.client, pair.server.as_ref().unwrap()] {
                most = most.max(peer.connection.keys.one_rtt.as_ref().unwrap().sealed());
            }
        }
        assert_no_failures(&mut pair);
    }
    assert_eq!(pair.server().received[0].1.len(), 40 * 400_000);
    assert!(most > LIMIT / 3 && most < LIMIT, "{most} packets with one key");
    assert!(updates(&pair.client) >= 5, "{} updates", updates(&pair.client));
}

/// Who only acknowledges is never acknowledged: it has to ask for that before it can replace its key.
// covers: R9001-6.6-03
#[test]
fn an_end_that_only_receives_renews_its_keys_as_well() {
    let mut pair = confirmed();
    pair.client.connection.keys.limits = |_| AeadLimits { confidentiality: 400, integrity: u64::MAX };
    let now = pair.now;
    pair.server().connection.update_keys(now).unwrap();
    for _ in 0..1500 {
        pair.server().connection.pending.ping = true;
        pair.run_for(30 * MS);
    }
    assert_no_failures(&mut pair);
    assert!(updates(&pair.client) > 3, "{} updates", updates(&pair.client));
}

#[test]
fn a_setting_asks_for_updates_more_often() {
    let mut setup = Setup::default();
    setup.client.key_update_interval = Some(100);
    let mut pair = Pair::new(setup);
    pair.run_for(200 * MS);
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    for _ in 0..5 {
        pair.client.connection.streams().write(id, bytes(200_000));
        pair.run_for(500 * MS);
    }
    assert_eq!(pair.server().received[0].1.len(), 1_000_000);
    // The last one may not have had a packet to show it yet.
    let (ours, theirs) = (updates(&pair.client), updates(pair.server()));
    assert!(theirs >= 4 && (theirs..=theirs + 1).contains(&ours), "{ours}, {theirs}");
    assert_no_failures(&mut pair);
}
