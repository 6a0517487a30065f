//! Handshakes without loss, and a first stream.

use std::time::Duration;

use super::pair::{Pair, Setup, bytes};
use crate::packet::{Dir, Side, SpaceId, StreamId};

#[test]
fn both_ends_connect_and_confirm_in_two_round_trips() {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(Duration::from_millis(41));
    assert!(pair.client.connected(), "{:?}", pair.client.events);
    assert!(pair.server().connected() && pair.server().confirmed());
    pair.run_for(Duration::from_millis(20));
    assert!(pair.client.confirmed());
    assert_eq!(pair.client.connection.handshake_data().unwrap().alpn.unwrap(), b"test");
    assert!(pair.client.connection.peer_identity().is_some());
}

#[test]
fn a_retry_costs_one_round_trip() {
    let mut pair = Pair::new(Setup { retry: true, ..Setup::default() });
    pair.run_for(Duration::from_millis(80));
    assert!(pair.client.confirmed() && pair.server().confirmed());
}

/// A probe that has nothing new to say repeats the ClientHello: servers want the first packet to hold it.
#[test]
fn every_probe_of_the_first_flight_can_begin_the_handshake() {
    for lost in 1..=4 {
        let mut pair = Pair::new(Setup::default());
        pair.to_server = Box::new(move |index, _| index >= lost);
        // The first probe timeout is 999 ms, the second twice that; two datagrams leave at each.
        pair.run_for(Duration::from_millis(if lost <= 2 { 1_100 } else { 3_100 }));
        assert!(pair.server.is_some(), "datagram {lost} had no ClientHello");
        assert!(pair.client.connected(), "datagrams before {lost} were lost: {:?}", pair.client.events);
    }
}

/// A probe timeout of a server is about both spaces: the client has neither of its flights. Each datagram brings both, and
/// the acknowledgment of the ClientHello.
#[test]
fn one_probe_brings_both_flights_of_a_server() {
    for lost in 1..=2 {
        let mut pair = Pair::new(Setup::default());
        pair.to_client = Box::new(move |index, _| index >= lost);
        // The flight leaves after 10 ms, the probe timeout is 999 ms, and its two datagrams take 10 ms.
        pair.run_for(Duration::from_millis(1_019));
        assert!(pair.client.connected(), "datagrams before {lost} were lost: {:?}", pair.client.events);
        assert!(
            pair.client.connection.paths.active.cc.largest_acked[0].is_some(),
            "datagram {lost} had no ACK frame"
        );
    }
}

/// A probe of the client brings the server's flights back before the server's own timer does, but not while they may still
/// be on their way.
#[test]
fn a_client_that_asks_again_gets_the_flights_again() {
    for (asks_after, answered) in [(100, false), (500, true)] {
        let mut pair = Pair::new(Setup::default());
        let mut lost = false;
        pair.to_client =
            Box::new(move |_, datagram| datagram.len() < 1200 || std::mem::replace(&mut lost, true));
        pair.run_for(Duration::from_millis(asks_after));
        pair.client.connection.pending.set_probes(SpaceId::Initial, 1);
        pair.run_for(Duration::from_millis(20));
        assert_eq!(pair.client.connected(), answered, "after {asks_after} ms: {:?}", pair.client.events);
    }
}

#[test]
fn a_megabyte_arrives_intact_both_ways() {
    let mut pair = Pair::new(Setup::default());
    let data = bytes(1 << 20);
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    pair.run_for(Duration::from_millis(100));
    pair.client.connection.streams().write(id, data.clone());
    pair.client.connection.streams().finish(id);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.server().received.len(), 1);
    assert!(pair.server().received[0].1 == data && pair.server().received[0].2);
    pair.server().connection.streams().write(id, data.clone());
    pair.server().connection.streams().finish(id);
    pair.run_for(Duration::from_secs(5));
    assert!(pair.client.received[0].1 == data && pair.client.received[0].2);
    assert!(pair.client.connection.streams().is_empty() && pair.server().connection.streams().is_empty());
}
