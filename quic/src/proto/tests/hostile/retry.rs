//! Retry packets that are forged, late, or say nothing.

use super::{Hostile, MS, Stage};
use crate::crypto::retry_tag;
use crate::packet::{ConnectionId, Level, MIN_DATAGRAM_SIZE, Side, SpaceId, VERSION_1};
use crate::wire::frame::Frame;
use crate::wire::header::{ProtectedHeader, encode_retry, parse};

fn cid(byte: u8) -> ConnectionId {
    ConnectionId::try_from(&[byte; 8][..]).unwrap()
}

/// A genuine Retry, but for what the arguments make of it.
fn retry(hostile: &mut Hostile, scid: ConnectionId, token: &[u8]) -> Vec<u8> {
    let dcid = hostile.victim().connection.local_cids.initial();
    retry_to(hostile, dcid, scid, token)
}

fn retry_to(hostile: &mut Hostile, dcid: ConnectionId, scid: ConnectionId, token: &[u8]) -> Vec<u8> {
    let original = hostile.victim().connection.handshake.original_dcid;
    let mut packet = Vec::new();
    encode_retry(&mut packet, VERSION_1, &dcid, &scid, token);
    let tag = retry_tag(VERSION_1, &original, &packet);
    packet.extend(tag);
    packet
}

/// Delivers a datagram without opening the answers, and returns them.
fn deliver(hostile: &mut Hostile, datagram: Vec<u8>) -> Vec<Vec<u8>> {
    let (now, path) = (hostile.pair.now, hostile.path);
    let burst = crate::packet::Burst::single(now, path, None, datagram);
    hostile.victim().connection.handle_burst(now, burst);
    hostile.victim().drain(now)
}

#[track_caller]
fn assert_ignored(hostile: &mut Hostile, datagram: Vec<u8>) {
    let before = hostile.victim().connection.paths.active.remote_cid.id;
    assert!(deliver(hostile, datagram).is_empty());
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.paths.active.remote_cid.id, before);
}

// covers: R9000-17.2.5.2-01 R9000-17.2.5.2-02 R9000-17.2.5.3-01 R9000-17.2.5.3-02 R9000-17.2.5.1-03 R9000-8.1.2-01 R9000-7.2-04
#[test]
fn a_retry_is_followed_once() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let before = hostile.victim().connection.spaces[SpaceId::Initial.index()].sent.next();
    assert!(before > 0);
    let packet = retry(&mut hostile, cid(0x21), b"a token");
    let answers = deliver(&mut hostile, packet.clone());
    assert!(!answers.is_empty());
    for answer in &answers {
        assert!(answer.len() >= MIN_DATAGRAM_SIZE);
        match parse(answer, 8).unwrap().header {
            ProtectedHeader::Initial { dcid, token, .. } => {
                assert_eq!((dcid, &answer[token]), (cid(0x21), &b"a token"[..]));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(hostile.victim().connection.spaces[0].sent.next() > before, "packet numbers go on");
    // Neither the same one again nor another one.
    assert_ignored(&mut hostile, packet);
    let another = retry(&mut hostile, cid(0x22), b"another");
    assert_ignored(&mut hostile, another);
    // The token is in every Initial from now on.
    hostile.pair.now += 3_000 * MS;
    let now = hostile.pair.now;
    hostile.victim().connection.handle_timeout(now);
    let again = hostile.victim().drain(now);
    assert!(!again.is_empty());
    for datagram in again {
        assert!(matches!(
            parse(&datagram, 8).unwrap().header,
            ProtectedHeader::Initial { token, .. } if &datagram[token.clone()] == b"a token"
        ));
    }
}

// covers: R9000-17.2.5.1-02 R9000-17.2.5.2-03 R9000-17.2.5.2-04
#[test]
fn tampered_retries_are_dropped() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let packet = retry(&mut hostile, cid(0x21), b"a token");
    for at in 0..packet.len() {
        for bit in 0..8 {
            let mut tampered = packet.clone();
            tampered[at] ^= 1 << bit;
            assert_ignored(&mut hostile, tampered);
        }
    }
    for len in 0..packet.len() {
        assert_ignored(&mut hostile, packet[..len].to_vec());
    }
    let longer = [&packet[..], &[0]].concat();
    assert_ignored(&mut hostile, longer);
    let empty = retry(&mut hostile, cid(0x21), b"");
    assert_ignored(&mut hostile, empty);
    let same = hostile.victim().connection.paths.active.remote_cid.id;
    let same = retry(&mut hostile, same, b"a token");
    assert_ignored(&mut hostile, same);
    let elsewhere = retry_to(&mut hostile, cid(0x99), cid(0x21), b"a token");
    assert_ignored(&mut hostile, elsewhere);
    assert!(!deliver(&mut hostile, packet).is_empty());
}

// covers: R9000-17.2.5.2-02
#[test]
fn a_retry_after_a_packet_of_the_server_is_dropped() {
    for stage in [Stage::First, Stage::ServerHello, Stage::Complete, Stage::Confirmed] {
        let mut hostile = Hostile::new(Side::Client, stage);
        if stage == Stage::First {
            hostile.send(Level::Initial, &[Frame::Ping]);
        }
        let packet = retry(&mut hostile, cid(0x21), b"a token");
        assert_ignored(&mut hostile, packet);
    }
}

#[test]
fn a_server_ignores_retries() {
    for stage in [Stage::First, Stage::Confirmed] {
        let mut hostile = Hostile::new(Side::Server, stage);
        let packet = retry(&mut hostile, cid(0x21), b"a token");
        assert_ignored(&mut hostile, packet);
    }
}

/// A token that fills the datagram leaves no room for anything else; the attempt ends in its own time.
#[test]
fn a_token_that_leaves_no_room_ends_in_a_timeout() {
    for len in [900, 1_050, 1_100, 1_125, 1_130, 1_140, 1_150, 1_160, 1_200, 5_000, 60_000] {
        let mut hostile = Hostile::new(Side::Client, Stage::First);
        let packet = retry(&mut hostile, cid(0x21), &vec![7; len]);
        deliver(&mut hostile, packet);
        for _ in 0..200 {
            hostile.pair.now += 100 * MS;
            let now = hostile.pair.now;
            hostile.victim().connection.handle_timeout(now);
            for datagram in hostile.victim().drain(now) {
                assert_eq!(datagram.len(), MIN_DATAGRAM_SIZE, "token of {len} bytes");
            }
        }
        assert_eq!(hostile.victim().closed(), Some(&crate::error::ConnectionError::HandshakeTimeout));
    }
}
