//! Which level what is sent at, and what waits for the keys of the next one.

use bytes::Bytes;

use super::{Heard, Hostile, MS, Stage, ack};
use crate::packet::{Dir, Level, Side, StreamId, TransportErrorCode as Code};
use crate::wire::frame::{Frame, Stream};

/// What the client of a server at [`Stage::First`] has sent and the server has not seen: its Finished.
fn finished(hostile: &mut Hostile) -> Vec<Vec<u8>> {
    hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect()
}

fn poison() -> Vec<u8> {
    vec![0x3f; 30]
}

// covers: R9001-4.1.2-01
#[test]
fn a_server_says_at_once_that_the_handshake_is_done() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    hostile.heard.clear();
    for datagram in finished(&mut hostile) {
        hostile.deliver(datagram);
    }
    assert!(hostile.victim().connected());
    let done = hostile.heard.iter().find(|packet| packet.frames.contains(&Frame::HandshakeDone));
    assert_eq!(done.unwrap().level, Level::OneRtt);
}

/// Packets ahead of their keys are kept, and what can be answered is answered meanwhile.
// covers: R9001-4.1.4-01 R9001-4.1.4-02
#[test]
fn an_end_that_waits_for_keys_keeps_what_needs_them_and_answers_the_rest() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    let ahead = hostile.next[1];
    hostile.send(Level::Handshake, &[Frame::Ping]);
    hostile.send(Level::Initial, &[Frame::Ping]);
    let heard = std::mem::take(&mut hostile.heard);
    assert!(heard.iter().all(|packet| packet.level == Level::Initial));
    assert!(heard.iter().flat_map(|packet| &packet.frames).any(|frame| matches!(frame, Frame::Ack(_))));
    let flight: Vec<_> = hostile.pair.client.inbox.drain(..).map(|(_, datagram)| datagram).collect();
    for datagram in flight {
        hostile.deliver(datagram);
    }
    let acks = |packet: &Heard| {
        packet.level == Level::Handshake
            && packet.frames.iter().any(|frame| {
                matches!(frame, Frame::Ack(ack) if ack.ranges.iter().any(|range| range.contains(&ahead)))
            })
    };
    assert!(hostile.heard.iter().any(acks), "the packet that was ahead is acknowledged");
    assert!(hostile.victim().connected());
}

// covers: R9001-5.7-01 R9001-5.7-03
#[test]
fn a_client_keeps_application_data_until_the_handshake_is_complete() {
    let mut hostile = Hostile::new(Side::Client, Stage::ServerHello);
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    let stream = Stream { id, offset: 0, fin: false, data: Bytes::from_static(b"early") };
    hostile.send(Level::OneRtt, &[stream.into()]);
    let bad = hostile.packet(Level::OneRtt, &poison());
    hostile.deliver(bad);
    hostile.assert_open();
    assert!(hostile.victim().received.is_empty());
    let flight: Vec<_> = hostile.pair.client.inbox.drain(..).map(|(_, datagram)| datagram).collect();
    assert!(!hostile.victim().connected());
    for datagram in flight {
        hostile.deliver(datagram);
    }
    // The rest of the flight was in the datagram that brought the ServerHello: the server sends it again.
    hostile.wait(MS * 100);
    let now = hostile.pair.now;
    for datagram in resent(&mut hostile, now) {
        hostile.deliver(datagram);
    }
    assert!(hostile.victim().connected());
    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
}

/// What a server whose flight got no answer sends again.
fn resent(hostile: &mut Hostile, now: std::time::Instant) -> Vec<Vec<u8>> {
    let server = hostile.pair.server();
    server.connection.handle_timeout(now + MS * 2000);
    server.drain(now)
}

/// A server has the keys of all three levels when it answers; what the application says goes with the highest.
// covers: R9001-4.9-02
#[test]
fn new_data_are_sent_at_the_highest_level() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    hostile.victim().connection.streams().write(id, Bytes::from_static(b"half a round trip early"));
    hostile.heard.clear();
    hostile.send(Level::Initial, &[Frame::Ping]);
    let sent = hostile.heard.iter().filter(|packet| {
        packet.frames.iter().any(|frame| matches!(frame, Frame::Stream(stream) if stream.id == id))
    });
    let levels: Vec<_> = sent.map(|packet| packet.level).collect();
    assert_eq!(levels, [Level::OneRtt]);
    // Also tickets of the session, which only 1-RTT packets may carry.
    for datagram in finished(&mut hostile) {
        hostile.deliver(datagram);
    }
    hostile.send(Level::OneRtt, &[ack(&[0..=0])]);
    let crypto = |packet: &&Heard| packet.frames.iter().any(|frame| matches!(frame, Frame::Crypto(_)));
    let tickets = hostile.heard.iter().rfind(crypto).unwrap();
    assert_eq!(tickets.level, Level::OneRtt);
}
