//! From one version to the other without a round trip.

use std::sync::Mutex;

use super::*;
use crate::config::Version::{V1, V2};
use crate::packet::{ConnectionId, VERSION_1, VERSION_2};

// covers: R9369-3-01
#[test]
fn version_2_alone() {
    let mut pair = Pair::new(setup((client(&[V2], V2), server(&[V2]))));
    let [sent, answered] = watch(&mut pair);
    pair.run_for(200 * MS);
    assert_works(&mut pair, VERSION_2);
    for level in [Level::Initial, Level::Handshake] {
        assert_eq!([versions(&sent, level), versions(&answered, level)], [[VERSION_2], [VERSION_2]]);
    }
    let next = pair.client.connection.spaces[2].sent.next();
    pair.client.connection.keys.one_rtt.as_mut().unwrap().update(next);
    let id = StreamId::new(Side::Client, Dir::Bi, 1);
    pair.client.connection.streams().write(id, bytes(1000));
    pair.run_for(200 * MS);
    assert_eq!(pair.server().received[1].1, bytes(1000), "after a key update");
}

// covers: R9369-4-03, R9369-4.1-04, R9369-4.1-05, R9369-4.1-07, R9368-2.3-01
#[test]
fn a_server_takes_the_client_to_the_version_it_likes_without_a_round_trip() {
    for (first, other) in [(V1, V2), (V2, V1)] {
        let mut pair = Pair::new(setup((client(&[V2, V1], first), server(&[other, first]))));
        let [sent, answered] = watch(&mut pair);
        // One round trip, and the client is connected.
        pair.run_for(21 * MS);
        assert!(pair.client.connected());
        pair.run_for(200 * MS);
        let (first, other) = (first.as_u32(), other.as_u32());
        assert_works(&mut pair, other);
        assert_eq!(versions(&sent, Level::Initial), [first, other]);
        assert_eq!(versions(&answered, Level::Initial), [other]);
        assert_eq!(versions(&sent, Level::Handshake), [other]);
        assert_eq!(versions(&answered, Level::Handshake), [other]);
    }
}

#[test]
fn who_speaks_one_version_only_stays_with_it() {
    for (client, server) in [
        (client(&[V1], V1), ServerVersions::default()),
        (ClientVersions::default(), server(&[V1])),
        (ClientVersions::default(), server(&[V1, V2])),
    ] {
        let mut pair = Pair::new(setup((client, server)));
        let [sent, answered] = watch(&mut pair);
        pair.run_for(200 * MS);
        assert_works(&mut pair, VERSION_1);
        assert_eq!([versions(&sent, Level::Initial), versions(&answered, Level::Initial)], [[VERSION_1]; 2]);
    }
}

/// The client's first Initials come again in the version that it began with.
// covers: R9369-4.1-06
#[test]
fn initials_of_the_original_version_are_read_until_a_handshake_packet_comes() {
    let mut pair = Pair::new(setup((ClientVersions::default(), ServerVersions::default())));
    // The server's first flight is lost: the client asks again, in the only version that it knows of.
    pair.to_client = Box::new(|index, _| index > 1);
    pair.run_for(1_020 * MS);
    let server = pair.server();
    assert!(server.connection.keys.original_initial.is_some());
    assert!(server.connection.spaces[0].received.largest() > Some(0), "a repeated Initial was not read");
    pair.run_for(3_000 * MS);
    assert_works(&mut pair, VERSION_2);
    assert!(pair.server().connection.keys.original_initial.is_none());
}

// covers: R9369-4.1-01, R9369-4.1-02, R9369-4.1-03
#[test]
fn a_retry_comes_first_and_in_the_original_version() {
    let versions_of = (ClientVersions::default(), ServerVersions::default());
    let mut pair = Pair::new(Setup { retry: true, ..setup(versions_of) });
    let [sent, answered] = watch(&mut pair);
    pair.run_for(300 * MS);
    assert!(pair.client.connection.handshake.retry_scid.is_some());
    assert_works(&mut pair, VERSION_2);
    assert_eq!(versions(&sent, Level::Initial), [VERSION_1, VERSION_2]);
    assert_eq!(versions(&answered, Level::Initial), [VERSION_2]);
}

#[test]
fn a_retry_of_another_version_is_ignored() {
    let versions_of = (ClientVersions::default(), ServerVersions::default());
    let mut pair = Pair::new(Setup { retry: true, ..setup(versions_of) });
    pair.run_for(5 * MS);
    let original = pair.client.connection.handshake.original_dcid;
    let (dcid, scid) =
        (pair.client.connection.local_cids.initial(), ConnectionId::try_from(&[9; 8][..]).unwrap());
    let mut retry = Vec::new();
    header::encode_retry(&mut retry, VERSION_2, &dcid, &scid, b"token");
    let tag = crate::crypto::retry_tag(VERSION_2, &original, &retry);
    retry.extend(tag);
    pair.client.inbox.push_back((pair.now, retry));
    pair.run_for(5 * MS);
    assert!(pair.client.connection.handshake.retry_scid.is_none());
}

/// Cuts the ClientHello in two datagrams.
fn large(params: Vec<u8>) -> Vec<u8> {
    let mut params = params;
    // A reserved transport parameter of 1500 bytes.
    params.extend([27, 0x45, 0xdc]);
    params.extend([0; 1500]);
    params
}

/// Until it has the whole ClientHello the server can only acknowledge, in the original version.
#[test]
fn a_server_that_has_half_a_client_hello_answers_in_the_original_version() {
    let versions_of = (ClientVersions::default(), ServerVersions::default());
    for retry in [false, true] {
        let mut pair = Pair::new(Setup { client_params: large, retry, ..setup(versions_of.clone()) });
        let [_, answered] = watch(&mut pair);
        let noted = Seen::default();
        let note_too = noted.clone();
        // The second datagram is late.
        let second = if retry { 3 } else { 1 };
        pair.to_server = Box::new(move |index, datagram| {
            note(&note_too, datagram);
            index != second
        });
        pair.run_for(3_000 * MS);
        assert_works(&mut pair, VERSION_2);
        assert_eq!(versions(&answered, Level::Initial), [VERSION_1, VERSION_2]);
        assert_eq!(versions(&answered, Level::Handshake), [VERSION_2]);
    }
}

// covers: R9369-4-02, R9368-4-08, R9368-4-09, R9368-4-10, R9368-4-04, R9368-4-05, R9368-4-06
#[test]
fn a_server_holds_version_information_against_what_it_saw() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(Change, Option<Code>); 6] = [
        (
            |params| {
                version_information(&params, |value| value[..4].copy_from_slice(&VERSION_2.to_be_bytes()))
            },
            Some(Code::VERSION_NEGOTIATION_ERROR),
        ),
        (
            |params| version_information(&params, |value| value.truncate(3)),
            Some(Code::TRANSPORT_PARAMETER_ERROR),
        ),
        (|params| version_information(&params, |value| value.push(0)), Some(Code::TRANSPORT_PARAMETER_ERROR)),
        (
            |params| version_information(&params, |value| value.extend([0; 4])),
            Some(Code::TRANSPORT_PARAMETER_ERROR),
        ),
        (
            |params| version_information(&params, |value| value.truncate(4)),
            Some(Code::TRANSPORT_PARAMETER_ERROR),
        ),
        // It may be left out.
        (|params| version_information(&params, Vec::clear), None),
    ];
    for (change, code) in cases {
        let versions_of = (ClientVersions::default(), server(&[V1, V2]));
        let mut pair = Pair::new(Setup { client_params: change, ..setup(versions_of) });
        pair.run_for(200 * MS);
        assert_eq!(failed(&pair, Side::Server), code);
        if code.is_none() {
            assert_works(&mut pair, VERSION_1);
        }
    }
}

// covers: R9369-4-02, R9368-4-12, R9368-4-17, R9368-4-04, R9368-4-05
#[test]
fn a_client_holds_version_information_against_what_it_saw() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let wrong = Some(Code::VERSION_NEGOTIATION_ERROR);
    let malformed = Some(Code::TRANSPORT_PARAMETER_ERROR);
    let cases: [(Change, ServerVersions, Option<Code>); 8] = [
        // Another version than the one in use, both ways.
        (
            |params| {
                version_information(&params, |value| value[..4].copy_from_slice(&VERSION_2.to_be_bytes()))
            },
            server(&[V1]),
            wrong,
        ),
        (
            |params| {
                version_information(&params, |value| value[..4].copy_from_slice(&VERSION_1.to_be_bytes()))
            },
            server(&[V2, V1]),
            wrong,
        ),
        // One that the client did not offer.
        (
            |params| version_information(&params, |value| value[..4].copy_from_slice(&[0x1a; 4])),
            server(&[V1]),
            wrong,
        ),
        (|params| version_information(&params, |value| value.truncate(2)), server(&[V1]), malformed),
        (|params| version_information(&params, |value| value.extend([0; 4])), server(&[V1]), malformed),
        // Left out: fine, unless the version changed.
        (|params| version_information(&params, Vec::clear), server(&[V1]), None),
        (|params| version_information(&params, Vec::clear), server(&[V2, V1]), wrong),
        (|params| version_information(&params, |value| value.truncate(4)), server(&[V2, V1]), None),
    ];
    for (change, versions, code) in cases {
        let versions_of = (ClientVersions::default(), versions.clone());
        let mut pair = Pair::new(Setup { server_params: change, ..setup(versions_of) });
        pair.run_for(200 * MS);
        assert_eq!(failed(&pair, Side::Client), code, "{versions:?}");
        if code.is_some() {
            assert!(!pair.client.connected());
        }
    }
}

/// What comes in a version that is not, or no longer, to be used.
// covers: R9369-4.1-08, R9000-5.2.1-01
#[test]
fn packets_of_the_other_version_are_dropped_once_it_is_settled() {
    let mut pair = Pair::new(setup((ClientVersions::default(), ServerVersions::default())));
    pair.run_for(25 * MS);
    for (level, from_server) in [(Level::Handshake, true), (Level::Initial, true), (Level::Handshake, false)]
    {
        let version = VERSION_1;
        let side = if from_server { Side::Client } else { Side::Server };
        let accepts = match side {
            Side::Client => pair.client.connection.accepts_version(level, version),
            Side::Server => pair.server().connection.accepts_version(level, version),
        };
        assert!(!accepts, "{level:?} from the server: {from_server}");
    }
    pair.run_for(200 * MS);
    assert_works(&mut pair, VERSION_2);
}

/// The reserved version is somewhere in the list, and of no interest to anybody.
#[test]
fn both_ends_offer_a_version_that_nobody_speaks() {
    static SEEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    #[expect(clippy::needless_pass_by_value, reason = "as the setup wants it")]
    fn look(params: Vec<u8>) -> Vec<u8> {
        version_information(&params, |value| {
            let reserved = |chunk: &[u8]| chunk.iter().all(|byte| byte & 0x0f == 0x0a);
            let at: Vec<usize> =
                value.chunks(4).enumerate().filter(|(_, chunk)| reserved(chunk)).map(|(at, _)| at).collect();
            assert_eq!((at.len(), value.len()), (1, 16));
            assert!(at[0] > 0);
            SEEN.lock().unwrap().extend(at);
        })
    }
    let versions_of = (ClientVersions::default(), ServerVersions::default());
    let setup = Setup { client_params: look, server_params: look, ..setup(versions_of) };
    let mut pair = Pair::new(setup);
    pair.run_for(200 * MS);
    assert_works(&mut pair, VERSION_2);
    assert!(SEEN.lock().unwrap().len() >= 2);
}

/// A ticket of version 1, and a server that likes version 2 better by now.
// covers: R9369-4.1-09
#[test]
fn early_data_stays_in_the_version_of_the_first_flight() {
    let tls = super::super::early::acquainted(|| setup((client(&[V2, V1], V1), server(&[V1]))));
    let mut pair =
        super::super::early::early(setup((client(&[V2, V1], V1), server(&[V2, V1]))), &tls, 20_000);
    let [sent, _] = watch(&mut pair);
    pair.run_for(500 * MS);
    assert!(pair.client.confirmed(), "{:?}", pair.client.closed());
    assert_eq!(pair.client.connection.version(), VERSION_2);
    assert_eq!(versions(&sent, Level::ZeroRtt), [VERSION_1]);
}
