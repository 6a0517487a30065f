//! The closing and draining states, and in which packets a connection says that it is over (RFC 9000 §10.2).

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Setup};
use crate::packet::{Burst, Level, TxBatch};
use crate::proto::Output;
use crate::wire::VarInt;
use crate::wire::header;

const MS: Duration = Duration::from_millis(1);

/// A pair this long after the client's first datagram left; 10 ms is the way from one to the other.
fn after(millis: u32) -> Pair {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(millis * MS);
    pair
}

fn levels(datagram: &[u8]) -> Vec<Level> {
    let (mut levels, mut rest) = (Vec::new(), datagram);
    while let Ok(packet) = header::parse_greased(rest, 8) {
        levels.push(packet.header.level().unwrap());
        rest = &rest[packet.len.min(rest.len())..];
    }
    levels
}

/// What the closing end sends: once, and in one datagram.
fn last_words(peer: &mut super::pair::Peer, now: std::time::Instant) -> Vec<Level> {
    peer.drain(now);
    peer.connection.close(now, VarInt::from_u32(1), Bytes::new());
    let words = peer.drain(now);
    assert_eq!(words.len(), 1, "one datagram");
    assert!(peer.drain(now).is_empty(), "and that is all");
    levels(&words[0])
}

// covers: R9000-10.2.3-02 R9000-10.2.3-03 R9000-10.2.3-04
#[test]
fn a_close_during_the_handshake_is_told_at_each_level_that_may_be_read() {
    let mut pair = after(1);
    assert_eq!(last_words(&mut pair.client, pair.now), [Level::Initial], "nothing else is known yet");
    let mut pair = after(11);
    let now = pair.now;
    let all = [Level::Initial, Level::Handshake, Level::OneRtt];
    assert_eq!(last_words(pair.server(), now), all);
    let mut pair = after(21);
    assert!(pair.client.connected() && !pair.client.confirmed());
    assert_eq!(last_words(&mut pair.client, pair.now), [Level::Handshake, Level::OneRtt]);
}

// covers: R9000-10.2.3-01
#[test]
fn a_close_after_the_handshake_is_told_in_a_1rtt_packet() {
    let mut pair = after(200);
    assert!(pair.client.confirmed());
    assert_eq!(last_words(&mut pair.client, pair.now), [Level::OneRtt]);
    let mut pair = after(200);
    let now = pair.now;
    assert_eq!(last_words(pair.server(), now), [Level::OneRtt]);
}

// covers: R9000-10.2.2-01 R9000-10.2.2-02 R9000-10.2-01
#[test]
fn whoever_drains_says_nothing_more() {
    let mut pair = after(200);
    pair.client.connection.close(pair.now, VarInt::from_u32(1), Bytes::new());
    pair.run_for(15 * MS);
    let now = pair.now;
    // Both ended less than 20 ms ago.
    let lasts = |peer: &super::pair::Peer| {
        peer.connection.tombstone().unwrap().until >= now + 3 * peer.connection.pto() - 20 * MS
    };
    assert!(lasts(&pair.client));
    let path = pair.server().connection.path();
    assert!(pair.server().closed().is_some());
    let repeated = pair.client.connection.tombstone().unwrap().close.unwrap();
    let server = pair.server();
    for _ in 0..100 {
        let burst = Burst::single(now, path, None, repeated.to_vec());
        server.connection.handle_burst(now, burst);
        server.connection.handle_timeout(now + Duration::from_secs(1));
        let output = server.connection.poll_output(now, Some(&mut TxBatch::new(1)));
        assert!(matches!(output, Output::Timeout(None)), "{output:?}");
    }
    let grave = server.connection.tombstone().unwrap();
    assert!(grave.close.is_none(), "nor does what is left of it");
    assert!(lasts(server));
}

// covers: R9000-10.2.1-03
#[test]
fn what_is_left_may_say_no_more_than_the_connection_might() {
    let mut pair = after(11);
    let now = pair.now;
    let server = pair.server();
    server.connection.close(now, VarInt::from_u32(1), Bytes::new());
    server.drain(now);
    let (stats, grave) = (server.connection.stats(), server.connection.tombstone().unwrap());
    assert_eq!(grave.credit, 3 * stats.bytes_received - stats.bytes_sent, "the client may be somebody else");
    let mut pair = after(200);
    let now = pair.now;
    let server = pair.server();
    server.connection.close(now, VarInt::from_u32(1), Bytes::new());
    server.drain(now);
    assert_eq!(server.connection.tombstone().unwrap().credit, 3 * 1200);
}
