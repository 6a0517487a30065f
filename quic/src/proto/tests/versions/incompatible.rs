//! Version Negotiation packets that make a client begin anew, and attackers that send them.

use super::*;
use crate::config::Version::{V1, V2};
use crate::packet::{Rng, VERSION_1, VERSION_2};
use crate::proto::endpoint::version_negotiation;

/// A Version Negotiation for the client's first flight, whoever sends it.
fn inject(pair: &mut Pair, versions: &[u32]) {
    let client = &pair.client.connection;
    let (dcid, scid) = (client.paths.active.remote_cid.id, client.local_cids.initial());
    let answer = version_negotiation(dcid.as_slice(), scid.as_slice(), versions, &mut Rng::from_u64(1));
    pair.client.inbox.push_back((pair.now, answer));
}

/// A client whose first flight never arrives, and which is told that the server speaks these versions.
fn told(setup: Setup, versions: &[u32]) -> Pair {
    let mut pair = Pair::new(setup);
    let lost = pair.client.drain(pair.now).len();
    assert!(lost > 0);
    inject(&mut pair, versions);
    pair
}

// covers: R9368-2.1-01, R9368-2.1-02, R9368-2.1-04, R9368-2.3-02, R9000-6-01
// covers: R9368-6-02
#[test]
fn a_client_begins_anew_in_a_version_that_the_server_speaks() {
    for (first, other) in [(V1, V2), (V2, V1)] {
        for retry in [false, true] {
            let versions_of = (client(&[V2, V1], first), server(&[other]));
            let mut pair = Pair::new(Setup { retry, ..setup(versions_of) });
            let [sent, answered] = watch(&mut pair);
            let original = pair.client.connection.handshake.original_dcid;
            pair.run_for(300 * MS);
            let (first, other) = (first.as_u32(), other.as_u32());
            assert_works(&mut pair, other);
            assert_ne!(pair.client.connection.handshake.original_dcid, original);
            let chosen = pair.client.connection.handshake_data().unwrap().alpn;
            assert_eq!(chosen.as_deref(), Some(&b"test"[..]));
            assert_eq!(versions(&sent, Level::Initial), [first, other]);
            assert_eq!(versions(&answered, Level::Initial), [other]);
            assert!(pair.client.events.iter().filter(|event| matches!(event, Event::Connected)).count() == 1);
        }
    }
}

/// It goes on to version 2 by compatible version negotiation, and checks that nobody made it go through version 1.
// covers: R9368-4-14
#[test]
fn an_attempt_that_is_taken_on_is_checked_by_the_version_it_began_with() {
    // The server accepts version 2 and does not say so yet: the client has no reason for mistrust.
    let adding = ServerVersions::new(&[V2, V1]).unwrap().deployed(&[V1]);
    let mut pair = told(setup((client(&[V1, V2], V2), adding)), &[VERSION_1]);
    pair.run_for(300 * MS);
    assert_works(&mut pair, VERSION_2);
}

// covers: R9368-2.1-03, R9000-6.2-01
#[test]
fn a_client_gives_up_if_there_is_no_common_version() {
    for offered in [&[0x1a2a_3a4a, 2, 0xff00_001d][..], &[0x709a_50c4]] {
        let mut pair = told(setup((ClientVersions::default(), ServerVersions::default())), offered);
        pair.run_for(10 * MS);
        let Some(ConnectionError::VersionMismatch { offered: told }) = pair.client.closed() else { panic!() };
        assert_eq!(told[..offered.len()], *offered);
    }
    let mut pair = told(Setup::default(), &[VERSION_2]);
    pair.run_for(10 * MS);
    assert!(matches!(pair.client.closed(), Some(ConnectionError::VersionMismatch { .. })));
}

// covers: R9368-4-01, R9000-6.2-03
#[test]
fn one_that_lists_the_version_of_the_first_flight_is_ignored() {
    let versions_of = (ClientVersions::default(), server(&[V1]));
    for offered in [&[VERSION_1][..], &[VERSION_2, VERSION_1]] {
        let mut pair = Pair::new(setup(versions_of.clone()));
        pair.run_for(MS);
        inject(&mut pair, offered);
        pair.run_for(200 * MS);
        assert_works(&mut pair, VERSION_1);
    }
}

// covers: R9368-4-02, R9000-6.2-02
#[test]
fn a_second_one_is_ignored_whatever_it_lists() {
    for offered in [&[VERSION_1][..], &[0x1a2a_3a4a], &[VERSION_2]] {
        let mut pair = told(setup((ClientVersions::default(), server(&[V2]))), &[VERSION_2]);
        pair.run_for(MS);
        assert_eq!(pair.client.connection.version(), VERSION_2);
        inject(&mut pair, offered);
        pair.run_for(MS);
        assert_eq!((pair.client.closed(), pair.client.connection.version()), (None, VERSION_2));
        pair.run_for(200 * MS);
        assert_works(&mut pair, VERSION_2);
    }
}

/// An attacker who wants version 1: the server speaks both, and says so under the protection of the handshake.
// covers: R9368-4-14, R9368-4-15, R8999-7-01, R9368-3-01
#[test]
fn a_forged_one_that_forces_another_version_is_found_out() {
    for versions in [&[V2, V1][..], &[V1, V2]] {
        let versions_of = (client(&[V2, V1], V2), server(versions));
        let mut pair = told(setup(versions_of), &[VERSION_1]);
        pair.run_for(300 * MS);
        assert_eq!(failed(&pair, Side::Client), Some(Code::VERSION_NEGOTIATION_ERROR));
        assert!(!pair.client.connected());
    }
}

/// What a server leaves out after it has sent Version Negotiation, or somebody else has.
// covers: R9368-4-11, R9368-4-13, R9368-4-16, R9368-8-01, R9368-8-02
#[test]
fn after_version_negotiation_the_server_has_to_say_which_versions_it_speaks() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let missing: Change = |params| version_information(&params, Vec::clear);
    let empty: Change = |params| version_information(&params, |value| value.truncate(4));
    let wrong = Some(Code::VERSION_NEGOTIATION_ERROR);
    let cases: [(Version, Version, Change, Option<Code>); 4] = [
        (V1, V2, missing, wrong),
        (V1, V2, empty, wrong),
        // Version 1 is older than version information.
        (V2, V1, missing, None),
        (V2, V1, empty, wrong),
    ];
    for (first, other, change, code) in cases {
        let versions_of = (client(&[V2, V1], first), server(&[other]));
        let mut pair = Pair::new(Setup { server_params: change, ..setup(versions_of) });
        pair.run_for(300 * MS);
        assert_eq!(failed(&pair, Side::Client), code, "{first:?} to {other:?}");
        assert_eq!(pair.client.connected(), code.is_none());
    }
}

#[test]
fn a_lost_second_attempt_is_repeated() {
    let mut pair = Pair::new(setup((ClientVersions::default(), server(&[V2]))));
    pair.to_server = Box::new(|index, _| index != 1);
    pair.run_for(3_000 * MS);
    assert_works(&mut pair, VERSION_2);
}

/// The first attempt's packets, and answers to them, mean nothing to the second.
#[test]
fn what_belongs_to_the_first_attempt_is_forgotten() {
    let mut pair = Pair::new(setup((ClientVersions::default(), server(&[V2]))));
    let first = pair.client.drain(pair.now).remove(0);
    let old =
        (pair.client.connection.paths.active.remote_cid.id, pair.client.connection.local_cids.initial());
    inject(&mut pair, &[VERSION_2]);
    pair.run_for(MS);
    assert!(pair.client.connection.handshake.token.is_empty());
    // A Retry for the first attempt.
    let mut retry = Vec::new();
    header::encode_retry(&mut retry, VERSION_1, &old.1, &old.0, b"token");
    let tag = crate::crypto::retry_tag(VERSION_1, &old.0, &retry);
    retry.extend(tag);
    pair.client.inbox.push_back((pair.now, retry));
    // And the first flight once more, to ourselves.
    pair.client.inbox.push_back((pair.now, first));
    pair.run_for(MS);
    assert!(pair.client.connection.handshake.retry_scid.is_none());
    pair.run_for(300 * MS);
    assert_works(&mut pair, VERSION_2);
}
