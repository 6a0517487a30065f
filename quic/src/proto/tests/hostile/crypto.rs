//! CRYPTO data where, when and how it must not be.

use bytes::Bytes;

use super::{Hostile, Stage, encode};
use crate::packet::{Level, Side, SpaceId, TransportErrorCode as Code};
use crate::wire::frame::{Crypto, Frame};

/// unexpected_message.
const UNEXPECTED: Code = Code::crypto(10);

fn crypto(offset: u64, data: &[u8]) -> Frame {
    Crypto { offset, data: Bytes::copy_from_slice(data) }.into()
}

/// Where CRYPTO data is processed.
const PLACES: [(Side, Stage, Level); 7] = [
    (Side::Server, Stage::First, Level::Initial),
    (Side::Server, Stage::First, Level::Handshake),
    (Side::Server, Stage::Confirmed, Level::OneRtt),
    (Side::Client, Stage::First, Level::Initial),
    (Side::Client, Stage::ServerHello, Level::Handshake),
    (Side::Client, Stage::Complete, Level::OneRtt),
    (Side::Client, Stage::Confirmed, Level::OneRtt),
];

// covers: R9000-7.5-01 R9000-7.5-02 R9000-19.6-01
#[test]
fn data_far_ahead_exceeds_the_buffer() {
    for (side, stage, level) in PLACES {
        for offset in [1 << 20, 1 << 40, (1 << 62) - 2] {
            let mut hostile = Hostile::new(side, stage);
            hostile.send(level, &[crypto(offset, b"x")]);
            hostile.assert_closed(Code::CRYPTO_BUFFER_EXCEEDED, Some(0x06));
        }
        // 4096 bytes out of order must fit, at a level that is not over.
        let mut hostile = Hostile::new(side, stage);
        hostile.send(level, &[crypto(4_500, b"x")]);
        if is_over(side, level) {
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x06));
        } else {
            hostile.assert_open();
        }
    }
}

/// The server of [`PLACES`] has read the ClientHello, and waits for the next level.
fn is_over(side: Side, level: Level) -> bool {
    (side, level) == (Side::Server, Level::Initial)
}

#[test]
fn fragments_with_gaps_are_bounded() {
    for (side, stage, level) in PLACES.into_iter().filter(|(side, _, level)| !is_over(*side, *level)) {
        let mut hostile = Hostile::new(side, stage);
        let mut packets = 0;
        while hostile.victim().closed().is_none() && packets < 100 {
            let frames: Vec<Frame> =
                (0..200).map(|n| crypto(5_000 + 2 * (packets * 200 + n), b"x")).collect();
            hostile.send(level, &frames);
            packets += 1;
        }
        hostile.assert_closed(Code::CRYPTO_BUFFER_EXCEEDED, Some(0x06));
    }
}

// covers: R9001-4.1.3-01 R9001-4.1.3-02
#[test]
fn new_data_at_a_level_that_is_over_is_a_violation() {
    let mut hostile = Hostile::new(Side::Client, Stage::ServerHello);
    hostile.send(Level::Initial, &[crypto(0, &[2; 10])]);
    hostile.assert_open();
    hostile.send(Level::Initial, &[crypto(1_000, b"x")]);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x06));

    let mut hostile = Hostile::new(Side::Server, Stage::First);
    hostile.send(Level::Initial, &[crypto(0, &[2; 10])]);
    hostile.assert_open();
    hostile.send(Level::Initial, &[crypto(2_000, b"x")]);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x06));

    let mut hostile = Hostile::new(Side::Client, Stage::Complete);
    hostile.send(Level::Handshake, &[crypto(10, &[2; 10])]);
    hostile.assert_open();
    hostile.send(Level::Handshake, &[crypto(4_000, b"x")]);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x06));
}

// covers: R9001-6-02 R9001-4.4-03
#[test]
fn tls_messages_that_nobody_may_send_after_the_handshake() {
    let key_update = [24, 0, 0, 1, 0];
    let certificate_request = [13, 0, 0, 3, 0, 0, 0];
    let end_of_early_data = [5, 0, 0, 0];
    let new_session_ticket = [4, 0, 0, 0];
    for (side, message, code) in [
        (Side::Client, &key_update[..], UNEXPECTED),
        (Side::Client, &certificate_request, Code::PROTOCOL_VIOLATION),
        (Side::Client, &end_of_early_data, UNEXPECTED),
        (Side::Server, &key_update, UNEXPECTED),
        (Side::Server, &end_of_early_data, UNEXPECTED),
        (Side::Server, &new_session_ticket, UNEXPECTED),
        (Side::Server, &[1, 0, 0, 0], UNEXPECTED),
    ] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let offset = match side {
            Side::Client => sent_crypto(&mut hostile),
            Side::Server => 0,
        };
        hostile.send(Level::OneRtt, &[crypto(offset, message)]);
        hostile.assert_closed(code, Some(0x06));
    }
}

/// How many bytes of TLS (tickets) a server has sent at the 1-RTT level: what comes next has this offset.
fn sent_crypto(hostile: &mut Hostile) -> u64 {
    hostile.hostile().handshake.crypto(SpaceId::Data).unwrap().end()
}

#[test]
fn garbage_instead_of_a_server_hello_ends_with_an_alert() {
    for message in
        [&[99, 0, 0, 1, 0][..], &[2, 0, 0, 2, 3, 3], &[2, 0xff, 0xff, 0xff], &[1, 0, 0, 1, 0], &[20, 0, 0, 0]]
    {
        let mut hostile = Hostile::new(Side::Client, Stage::First);
        hostile.send(Level::Initial, &[crypto(0, message)]);
        let (code, frame_type) = hostile.close().unwrap();
        assert!(code.tls_alert().is_some(), "{code}");
        hostile.assert_closed(code, frame_type);
        assert_eq!(frame_type, Some(0x06));
    }
}

/// The end of the handshake is not what a frame says.
// covers: R9001-5.7-03
#[test]
fn an_early_handshake_done_confirms_nothing() {
    for stage in [Stage::First, Stage::ServerHello] {
        let mut hostile = Hostile::new(Side::Client, stage);
        hostile.send(Level::OneRtt, &[Frame::HandshakeDone]);
        hostile.assert_open();
        assert!(!hostile.victim().confirmed() && !hostile.victim().connected());
        for level in [Level::Initial, Level::Handshake] {
            let mut hostile = Hostile::new(Side::Client, stage);
            hostile.send(level, &[Frame::HandshakeDone]);
            if stage == Stage::ServerHello || level == Level::Initial {
                hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x1e));
            } else {
                hostile.assert_open();
            }
        }
    }
}

/// One datagram with every level in the wrong order, again and again.
#[test]
fn the_flight_of_a_server_in_any_order_and_many_times() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let flight: Vec<Vec<u8>> = hostile.pair.client.inbox.drain(..).map(|(_, datagram)| datagram).collect();
    for _ in 0..3 {
        for datagram in flight.iter().rev() {
            hostile.deliver(datagram.clone());
        }
    }
    hostile.assert_open();
    assert!(hostile.victim().connected());
    let done = encode(&[Frame::HandshakeDone]);
    let packet = hostile.packet(Level::OneRtt, &done);
    hostile.deliver(packet);
    assert!(hostile.victim().confirmed());
}
