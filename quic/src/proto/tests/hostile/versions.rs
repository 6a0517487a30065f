//! Version Negotiation packets that are forged, late, or say nothing; packets of other versions.

use super::{Hostile, Stage};
use crate::error::ConnectionError;
use crate::packet::{Level, Rng, Side, VERSION_1};
use crate::proto::endpoint::version_negotiation;
use crate::wire::frame::Frame;

const OTHER: u32 = 0x6b33_43cf;

/// A Version Negotiation as the server would send it.
fn answer(hostile: &mut Hostile, versions: &[u32]) -> Vec<u8> {
    let connection = &hostile.victim().connection;
    let (dcid, scid) = (connection.paths.active.remote_cid.id, connection.local_cids.initial());
    version_negotiation(dcid.as_slice(), scid.as_slice(), versions, &mut Rng::from_u64(1))
}

// covers: R9000-6.2-01 R9000-6.2-02 R9000-6.2-03
#[test]
fn only_a_genuine_and_early_one_counts() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let good = answer(&mut hostile, &[OTHER]);
    let ours = answer(&mut hostile, &[OTHER, VERSION_1]);
    hostile.deliver(ours);
    // Any other connection ID, or one of another length: bytes 5 to 22.
    for at in 5..23 {
        for bit in 0..8 {
            let mut tampered = good.clone();
            tampered[at] ^= 1 << bit;
            hostile.deliver(tampered);
            hostile.assert_open();
        }
    }
    for len in 0..good.len() {
        // What is cut at the end of a version still is a list of versions.
        if len < 27 || !(len - 23).is_multiple_of(4) {
            hostile.deliver(&good[..len]);
            hostile.assert_open();
        }
    }
    hostile.deliver(good);
    assert!(matches!(hostile.victim().closed(), Some(ConnectionError::VersionMismatch { .. })));
    assert!(hostile.victim().connection.tombstone().unwrap().close.is_none());
}

// covers: R9000-6.2-02
#[test]
fn a_late_one_is_dropped() {
    for stage in [Stage::First, Stage::ServerHello, Stage::Complete, Stage::Confirmed] {
        let mut hostile = Hostile::new(Side::Client, stage);
        if stage == Stage::First {
            hostile.send(Level::Initial, &[Frame::Ping]);
        }
        let packet = answer(&mut hostile, &[OTHER]);
        hostile.deliver(packet);
        hostile.assert_open();
    }
    // Also after a Retry.
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let connection = &hostile.victim().connection;
    let (dcid, original) = (connection.local_cids.initial(), connection.handshake.original_dcid);
    let mut retry = Vec::new();
    let scid = crate::packet::ConnectionId::try_from(&[5; 8][..]).unwrap();
    crate::wire::header::encode_retry(&mut retry, VERSION_1, &dcid, &scid, b"token");
    let tag = crate::crypto::retry_tag(VERSION_1, &original, &retry);
    retry.extend(tag);
    hostile.deliver(retry);
    assert!(hostile.victim().connection.handshake.retry_scid.is_some());
    let packet = answer(&mut hostile, &[OTHER]);
    hostile.deliver(packet);
    hostile.assert_open();
}

// covers: R9368-2.1-05
#[test]
fn a_server_ignores_version_negotiation() {
    for stage in [Stage::First, Stage::Confirmed] {
        let mut hostile = Hostile::new(Side::Server, stage);
        let packet = answer(&mut hostile, &[OTHER]);
        hostile.deliver(packet);
        hostile.assert_open();
    }
}

#[test]
fn packets_of_another_version_are_dropped() {
    for (side, stage) in [(Side::Client, Stage::First), (Side::Server, Stage::First)] {
        let mut hostile = Hostile::new(side, stage);
        let packet = hostile.packet(Level::Initial, &[0x3f; 1_200]);
        for version in [2, OTHER, 0x0a0a_0a0a, u32::MAX] {
            let mut other = packet.clone();
            other[1..5].copy_from_slice(&version.to_be_bytes());
            hostile.deliver(other);
            hostile.assert_open();
        }
    }
}
