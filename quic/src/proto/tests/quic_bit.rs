//! The QUIC bit, once it means nothing any more (RFC 9287).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::early::{acquainted, stream};
use super::pair::{Pair, Setup, bytes};
use crate::config::TransportConfig;
use crate::crypto::initial_keys;
use crate::crypto::tls::EarlyData;
use crate::packet::{Dir, Level, Side, StreamId, VERSION_1};
use crate::wire::header::{self, QUIC_BIT};

const MS: Duration = Duration::from_millis(1);

/// Levels of packets, and whether they had the bit.
type Seen = Arc<Mutex<Vec<(Level, bool)>>>;

fn note(seen: &Seen, datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Ok(packet) = header::parse_greased(rest, 8) {
        let level = packet.header.level().unwrap();
        seen.lock().unwrap().push((level, rest[0] & QUIC_BIT != 0));
        rest = &rest[packet.len..];
    }
    true
}

fn config(grease: bool) -> TransportConfig {
    TransportConfig::builder().grease_quic_bit(grease).build().unwrap()
}

/// A handshake and a megabyte each way: what the client sent, and the server.
fn exchange(client: bool, server: bool) -> [Vec<(Level, bool)>; 2] {
    let mut pair = Pair::new(Setup { client: config(client), server: config(server), ..Setup::default() });
    let seen = [Seen::default(), Seen::default()];
    let [from_client, from_server] = seen.clone();
    pair.to_server = Box::new(move |_, datagram| note(&from_client, datagram));
    pair.to_client = Box::new(move |_, datagram| note(&from_server, datagram));
    pair.run_for(100 * MS);
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    pair.client.connection.streams().write(id, bytes(100_000));
    pair.run_for(1_000 * MS);
    pair.server().connection.streams().write(id, bytes(100_000));
    pair.run_for(1_000 * MS);
    assert!(pair.server().received[0].1 == bytes(100_000) && pair.client.received[0].1 == bytes(100_000));
    for stats in [pair.client.connection.stats(), pair.server().connection.stats()] {
        assert_eq!((stats.packets_dropped, stats.packets_lost), (0, 0));
    }
    seen.map(|seen| seen.lock().unwrap().clone())
}

fn cleared(seen: &[(Level, bool)]) -> usize {
    seen.iter().filter(|(_, set)| !set).count()
}

// covers: R9287-3-02, R9287-3.1-01, R9287-3.1-03
#[test]
fn both_ends_give_it_any_value_once_they_know_the_other_does_not_mind() {
    let [client, server] = exchange(true, true);
    for seen in [&client, &server] {
        let (cleared, all) = (cleared(seen), seen.len());
        assert!(cleared > all / 4 && cleared < all * 3 / 4, "{cleared} of {all}");
    }
    // A client learns it with the first flight of the server; nothing it sent before goes without.
    assert!(client[0].1 && client[1].0 == Level::Initial && client[2].0 == Level::Handshake);
}

// covers: R9287-3.1-05, R9287-3.1-02
#[test]
fn nobody_clears_it_for_a_peer_that_did_not_say_so() {
    let [client, server] = exchange(true, false);
    assert_eq!((cleared(&client), cleared(&server)), (0, 0));
    let [client, server] = exchange(false, true);
    assert_eq!((cleared(&client), cleared(&server)), (0, 0));
}

/// Each connection finds out anew, also one that goes on from an earlier one and sends early data by what it remembers.
// covers: R9287-3.1-04, R9287-3.1-02
#[test]
fn nothing_of_it_is_remembered() {
    for seed in 0..8 {
        let mut pair = Pair::with(Setup { seed, ..Setup::default() }, acquainted(Setup::default));
        assert_eq!(pair.client.connection.early_data(), EarlyData::Offered);
        pair.client.connection.streams().write(stream(0), bytes(10_000));
        let seen = Seen::default();
        for datagram in pair.client.drain(pair.now) {
            note(&seen, &datagram);
        }
        let seen = seen.lock().unwrap().clone();
        assert!(seen.len() > 5 && seen.iter().any(|(level, _)| *level == Level::ZeroRtt));
        assert_eq!(cleared(&seen), 0);
    }
}

/// The datagram with its first packet sealed without the bit.
fn without_bit(datagram: &mut [u8]) {
    let partial = header::parse(datagram, 8).unwrap();
    let dcid = *partial.header.dcid();
    let keys = initial_keys(VERSION_1, &dcid, Side::Client).local;
    let packet = &mut datagram[..partial.len];
    let (_, pn, pn_len) = keys.header.unprotect(packet, partial.pn_offset).unwrap();
    let start = partial.pn_offset + pn_len;
    let (header, payload) = packet.split_at_mut(start);
    keys.packet.open(pn.into(), header, payload).unwrap();
    packet[0] &= !QUIC_BIT;
    keys.packet.seal(pn.into(), packet, start);
    keys.header.protect(packet, partial.pn_offset);
}

/// It may come from a client that remembers (RFC 9287 §3.1); who did not say so has not heard of that (RFC 9000 §17.2).
// covers: R9287-3-02, R9000-17.2-01
#[test]
fn a_server_takes_a_first_packet_without_it_if_it_says_so() {
    for said in [true, false] {
        let mut pair = Pair::new(Setup { server: config(said), ..Setup::default() });
        pair.to_server = Box::new(|index, datagram| {
            if index == 0 {
                without_bit(datagram);
            }
            true
        });
        pair.run_for(100 * MS);
        assert_eq!(pair.client.connected(), said);
        pair.run_for(3_000 * MS);
        assert!(pair.client.connected());
    }
}
