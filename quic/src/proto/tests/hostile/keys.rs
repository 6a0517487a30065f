//! Key updates that come too early, go backwards, or are only pretended.

use super::{Hostile, MS, Stage, ack, encode};
use crate::crypto::AeadLimits;
use crate::error::KeyUpdateError;
use crate::packet::{Level, PacketNumber, Side, TransportErrorCode as Code};
use crate::wire::frame::Frame;
use crate::wire::header::KEY_PHASE;

/// The hostile end turns to its next keys.
fn update(hostile: &mut Hostile) {
    let next = hostile.next[2];
    hostile.hostile().keys.one_rtt.as_mut().unwrap().update(next);
}

fn phase(hostile: &mut Hostile) -> bool {
    hostile.victim().connection.keys.one_rtt.as_ref().unwrap().phase
}

fn padding(hostile: &mut Hostile, pn: PacketNumber) -> Vec<u8> {
    hostile.packet_numbered(Level::OneRtt, pn, &[0; 30])
}

// covers: R9001-6.2-01 R9001-6.2-02
#[test]
fn an_update_is_answered_with_the_same_keys() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        update(&mut hostile);
        hostile.heard.clear();
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        assert!(phase(&mut hostile));
        assert!(hostile.frames().iter().any(|frame| matches!(frame, Frame::Ack(_))));
        // As often as the peer likes, as long as it waits for the acknowledgment.
        for n in 0..20 {
            update(&mut hostile);
            hostile.send(Level::OneRtt, &[Frame::Ping]);
            hostile.send(Level::OneRtt, &[Frame::Ping]);
            hostile.assert_open();
            assert_eq!(phase(&mut hostile), n % 2 == 1);
        }
        assert_eq!(hostile.victim().connection.stats().authentication_failures, 0);
    }
}

// covers: R9001-6.1-02
#[test]
fn a_second_update_before_the_first_was_acknowledged_is_an_error() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        update(&mut hostile);
        // Asks for no acknowledgment, and gets none.
        hostile.send(Level::OneRtt, &[Frame::Padding(20)]);
        hostile.assert_open();
        update(&mut hostile);
        hostile.send(Level::OneRtt, &[Frame::Padding(20)]);
        hostile.assert_closed(Code::KEY_UPDATE_ERROR, None);
    }
    // Both in one burst.
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut datagrams = Vec::new();
    for _ in 0..2 {
        update(&mut hostile);
        datagrams.push(hostile.packet(Level::OneRtt, &encode(&[Frame::Ping, Frame::Ping])));
    }
    hostile.deliver_burst(&datagrams);
    hostile.assert_closed(Code::KEY_UPDATE_ERROR, None);
}

// covers: R9001-5.5-01 R9001-6.4-01 R9001-6.4-02
#[test]
fn old_keys_on_newer_packets_are_an_error() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let next = hostile.next[2];
        let old = padding(&mut hostile, next + 50);
        update(&mut hostile);
        let new = padding(&mut hostile, next + 40);
        hostile.deliver(old);
        hostile.assert_open();
        hostile.deliver(new);
        hostile.assert_closed(Code::KEY_UPDATE_ERROR, None);
    }
    // The update is known; then a newer packet with older keys is no packet at all.
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let next = hostile.next[2];
    let (late, old) = (padding(&mut hostile, next + 10), padding(&mut hostile, next + 50));
    update(&mut hostile);
    let (new, newer) = (padding(&mut hostile, next + 40), padding(&mut hostile, next + 5));
    hostile.deliver(new);
    hostile.deliver(old);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().authentication_failures, 1);
    // An overtaken packet of the phase before is fine, but what is older than it cannot be of the new phase.
    hostile.deliver(late);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().authentication_failures, 1);
    hostile.deliver(newer);
    hostile.assert_closed(Code::KEY_UPDATE_ERROR, None);
}

// covers: R9001-6.5-02 R9001-6.5-03
#[test]
fn old_keys_end_after_three_probe_timeouts() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let next = hostile.next[2];
    let (soon, late) = (padding(&mut hostile, next + 10), padding(&mut hostile, next + 11));
    update(&mut hostile);
    let new = padding(&mut hostile, next + 40);
    hostile.deliver(new);
    let pto = hostile.victim().connection.pto();
    hostile.wait(2 * pto);
    hostile.deliver(soon);
    hostile.wait(2 * pto);
    let before = hostile.victim().connection.stats();
    assert_eq!(before.authentication_failures, 0);
    hostile.deliver(late);
    assert_eq!(hostile.victim().connection.stats().authentication_failures, 1);
    hostile.assert_open();
}

// covers: R9001-5.5-02 R9001-6.3-02 R9001-6.3-03 R9001-9.5-03
#[test]
fn a_flipped_key_phase_bit_updates_nothing() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        for n in 0..100 {
            let mut packet = hostile.packet(Level::OneRtt, &encode(&[Frame::Ping]));
            // Protection is an exclusive or: flipping the bit on the wire flips it underneath.
            packet[0] ^= KEY_PHASE;
            hostile.deliver(packet);
            assert_eq!(hostile.victim().connection.stats().authentication_failures, n + 1);
        }
        hostile.assert_open();
        assert!(!phase(&mut hostile));
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        hostile.assert_open();
    }
}

/// A server may update as soon as it is complete, a client cannot tell; and the other way round.
#[test]
fn an_update_right_after_the_handshake_works() {
    let mut hostile = Hostile::new(Side::Client, Stage::Complete);
    update(&mut hostile);
    hostile.send(Level::OneRtt, &[Frame::HandshakeDone]);
    assert!(hostile.victim().confirmed() && phase(&mut hostile));
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    update(&mut hostile);
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    let finished: Vec<_> = hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect();
    finished.into_iter().for_each(|datagram| hostile.deliver(datagram));
    assert!(hostile.victim().confirmed() && phase(&mut hostile));
    hostile.assert_open();
}

/// The victim updates; an ACK that is sealed with the keys before is late, one that claims the new phase is an answer.
// covers: R9001-6.1-02 R9001-6.1-03
#[test]
fn an_update_of_the_victim_is_not_turned_against_it() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let next = hostile.victim().connection.spaces[2].sent.next();
    let now = hostile.pair.now;
    hostile.victim().connection.update_keys(now).unwrap();
    hostile.listen();
    // The peer goes on with the old keys for as long as it likes.
    for _ in 0..50 {
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    hostile.wait(1_000 * MS);
    hostile.send(Level::OneRtt, &[ack(&[next..=next])]);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().authentication_failures, 0);
    // To acknowledge the new keys and not to use them is no answer.
    hostile.wait(1_000 * MS);
    let now = hostile.pair.now;
    let again = hostile.victim().connection.update_keys(now);
    assert_eq!(again, Err(KeyUpdateError::NotAcknowledged));
    update(&mut hostile);
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().authentication_failures, 0);
}

/// Whichever bit and number a packet has, one key is tried, which exists already: nothing that takes time tells them
/// apart, also when the keys before are gone.
// covers: R9001-6.3-01 R9001-9.5-01
#[test]
fn there_is_a_key_to_try_for_every_key_phase() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let next = hostile.next[2];
    let try_all = |hostile: &mut Hostile| {
        for pn in [next + 1, next + 200] {
            let mut packet = padding(hostile, pn);
            packet[0] ^= KEY_PHASE;
            let before = hostile.victim().connection.stats();
            hostile.deliver(packet);
            let after = hostile.victim().connection.stats();
            assert_eq!(after.authentication_failures, before.authentication_failures + 1);
            assert_eq!(after.key_updates, before.key_updates);
        }
        hostile.assert_open();
    };
    try_all(&mut hostile);
    update(&mut hostile);
    let new = padding(&mut hostile, next + 100);
    hostile.deliver(new);
    assert!(hostile.victim().connection.keys.one_rtt.as_ref().unwrap().has_previous());
    try_all(&mut hostile);
    hostile.wait(1_000 * MS);
    assert!(!hostile.victim().connection.keys.one_rtt.as_ref().unwrap().has_previous());
    try_all(&mut hostile);
}

// covers: R9001-6.6-02 R9001-6.6-04 R9001-6.6-05
#[test]
fn a_key_that_cannot_be_replaced_ends_the_connection() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let limit = AeadLimits { confidentiality: 400, integrity: u64::MAX };
        hostile.victim().connection.keys.limits =
            |_| AeadLimits { confidentiality: 400, integrity: u64::MAX };
        // One update is possible; this peer follows it, and acknowledges nothing ever after.
        let now = hostile.pair.now;
        hostile.victim().connection.update_keys(now).unwrap();
        update(&mut hostile);
        for _ in 0..1000 {
            let sealed = hostile.victim().connection.keys.one_rtt.as_ref().unwrap().sealed();
            assert!(sealed < limit.confidentiality, "{side:?}: {sealed}");
            if hostile.victim().connection.is_closed() {
                break;
            }
            hostile.send(Level::OneRtt, &[Frame::Ping]);
            hostile.send(Level::OneRtt, &[Frame::Ping]);
        }
        hostile.assert_closed(Code::AEAD_LIMIT_REACHED, None);
        assert_eq!(hostile.victim().connection.stats().key_updates, 1);
    }
}

/// The keys of the handshake count as well, and have no successors.
// covers: R9001-6.6-01
#[test]
fn handshake_keys_can_be_used_up() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    hostile.victim().connection.keys.limits = |_| AeadLimits { confidentiality: 300, integrity: u64::MAX };
    for n in 0..1000 {
        hostile.send(Level::Handshake, &[Frame::Ping]);
        if hostile.victim().connection.is_closed() {
            assert!(n > 10);
            break;
        }
    }
    assert!(hostile.victim().connection.spaces[1].sent.next() <= 300);
    hostile.assert_closed(Code::AEAD_LIMIT_REACHED, None);
}

// covers: R9001-6.6-06 R9001-6.6-07
#[test]
fn too_many_forgeries_end_the_connection_whichever_key_they_are_for() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.victim().connection.keys.limits = |_| AeadLimits { confidentiality: 1 << 23, integrity: 30 };
        for n in 0..30 {
            hostile.assert_open();
            let mut forgery = hostile.packet(Level::OneRtt, &encode(&[Frame::Ping]));
            *forgery.last_mut().unwrap() ^= 1;
            hostile.deliver(forgery);
            if n == 15 {
                update(&mut hostile);
                hostile.send(Level::OneRtt, &[Frame::Ping]);
            }
        }
        hostile.assert_closed(Code::AEAD_LIMIT_REACHED, None);
        // Nothing more is processed.
        let before = hostile.victim().connection.stats().packets_received;
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        assert_eq!(hostile.victim().connection.stats().packets_received, before);
    }
}
