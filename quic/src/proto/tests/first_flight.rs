//! First flights of every shape, and servers that have to make sense of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Setup};
use crate::config::{
    ClientVersions, FirstFlight, FirstFlightBuilder, PaddingPlace, PieceOrder, ServerVersions,
};
use crate::crypto::initial_keys;
use crate::packet::{Burst, MIN_DATAGRAM_SIZE, Side};
use crate::wire::frame::{Frame, Frames};
use crate::wire::header::{self, ProtectedHeader};
use crate::wire::packet_number;

const MS: Duration = Duration::from_millis(1);

/// The frames of the client's Initial at the front of a datagram.
fn frames(datagram: &[u8]) -> Vec<Frame> {
    let partial = header::parse(datagram, 8).unwrap();
    let ProtectedHeader::Initial { version, dcid, .. } = partial.header else { panic!("{partial:?}") };
    let keys = initial_keys(version, &dcid, Side::Server).remote;
    let mut packet = datagram[..partial.len].to_vec();
    let (_, truncated, pn_len) = keys.header.unprotect(&mut packet, partial.pn_offset).unwrap();
    let pn = packet_number::decode(truncated, pn_len, 0);
    let (header, payload) = packet.split_at_mut(partial.pn_offset + pn_len);
    let len = keys.packet.open(pn, header, payload).unwrap();
    let mut frames = Frames::new(Bytes::copy_from_slice(&payload[..len]));
    std::iter::from_fn(|| frames.next().unwrap()).collect()
}

fn pieces(datagrams: &[Vec<u8>]) -> Vec<(u64, Bytes)> {
    let all = datagrams.iter().flat_map(|datagram| frames(datagram));
    all.filter_map(|frame| match frame {
        Frame::Crypto(crypto) => Some((crypto.offset, crypto.data)),
        _ => None,
    })
    .collect()
}

fn shaped(builder: FirstFlightBuilder) -> Setup {
    Setup { first_flight: builder.build().unwrap(), ..Setup::default() }
}

/// Makes the ClientHello longer than a datagram.
fn large(mut params: Vec<u8>) -> Vec<u8> {
    params.extend([27, 0x45, 0xdc]);
    params.extend([0; 1500]);
    params
}

// covers: R9000-14.1-01
#[test]
fn every_shape_is_understood() {
    let mut seed = 0;
    for order in [PieceOrder::Random, PieceOrder::Forward, PieceOrder::Backward] {
        for padding in [PaddingPlace::Scattered, PaddingPlace::Front, PaddingPlace::Back] {
            for (datagrams, size) in [(1, 1200), (2, 1200), (4, 1350)] {
                for client_params in [large, |params| params] {
                    let builder = FirstFlight::builder().piece_order(order).padding(padding);
                    let builder =
                        builder.datagrams(datagrams).datagram_size(size).pieces(1..=12).pings(0..=3);
                    seed += 1;
                    let mut pair = Pair::new(Setup { seed, client_params, ..shaped(builder) });
                    let flight = pair.client.drain(pair.now);
                    assert!(flight.len() >= usize::from(datagrams));
                    assert!(flight.iter().all(|datagram| datagram.len() == usize::from(size)));
                    let (mut ends, mut pieces) = (0, pieces(&flight));
                    pieces.sort_by_key(|(offset, _)| *offset);
                    for (offset, data) in pieces {
                        assert_eq!(offset, ends);
                        ends += data.len() as u64;
                    }
                    flight.into_iter().for_each(|datagram| pair.arrive(datagram));
                    pair.run_for(100 * MS);
                    assert!(pair.client.confirmed() && pair.server().confirmed());
                    assert_eq!(pair.server().connection.stats().packets_dropped, 0);
                }
            }
        }
    }
}

#[test]
fn by_default_hardly_two_look_alike_and_no_packet_shows_the_name() {
    let mut shapes = Vec::new();
    for seed in 0..40 {
        let mut pair = Pair::new(Setup { seed, ..shaped(FirstFlight::builder()) });
        let flight = pair.client.drain(pair.now);
        assert_eq!((flight.len(), flight[0].len()), (1, MIN_DATAGRAM_SIZE));
        let pieces = pieces(&flight);
        let name = b"localhost";
        assert!(pieces.iter().all(|(_, data)| data.windows(name.len()).all(|window| window != name)));
        shapes.push(pieces.iter().map(|(offset, data)| (*offset, data.len())).collect::<Vec<_>>());
    }
    shapes.sort();
    shapes.dedup();
    // Two may agree by chance, which TLS has a part in.
    assert!(shapes.len() >= 36, "{}", shapes.len());
}

#[test]
fn a_plain_one_has_one_piece() {
    let mut pair = Pair::new(Setup::default());
    let flight = pair.client.drain(pair.now);
    let frames = frames(&flight[0]);
    assert!(matches!(&frames[..], [Frame::Crypto(_), Frame::Padding(_)]), "{frames:?}");
}

/// A Retry takes the first flight back: the second has a shape again, and another one.
#[test]
fn after_a_retry_it_is_shaped_again() {
    let builder = FirstFlight::builder().datagrams(3).pieces(6..=6);
    let mut pair = Pair::new(Setup { retry: true, client_params: large, ..shaped(builder) });
    let sent = Arc::new(Mutex::new(Vec::new()));
    let copy = sent.clone();
    pair.to_server = Box::new(move |_, datagram| {
        copy.lock().unwrap().push(datagram.clone());
        true
    });
    pair.run_for(25 * MS);
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 6);
    let (first, second) = (pieces(&sent[..3]), pieces(&sent[3..]));
    assert!(first.len() >= 6 && second.len() >= 6 && first != second);
    pair.run_for(200 * MS);
    assert!(pair.client.confirmed());
}

/// Any of its datagrams may be lost, and any order is as good.
#[test]
fn loss_and_reordering_do_no_harm() {
    let versions = (ClientVersions::default(), ServerVersions::default());
    for retry in [false, true] {
        for lost in 0..6 {
            let builder = FirstFlight::builder().datagrams(3);
            let setup = Setup { retry, client_params: large, versions: versions.clone(), ..shaped(builder) };
            let mut pair = Pair::new(setup);
            pair.to_server = Box::new(move |index, _| index != lost);
            pair.run_for(3_000 * MS);
            assert!(pair.client.confirmed(), "datagram {lost} lost, retry {retry}");
        }
        for rotation in 0..3 {
            let builder = FirstFlight::builder().datagrams(3);
            let mut pair = Pair::new(Setup { retry, client_params: large, ..shaped(builder) });
            let mut flight = pair.client.drain(pair.now);
            flight.rotate_left(rotation);
            flight.into_iter().for_each(|datagram| pair.arrive(datagram));
            pair.run_for(3_000 * MS);
            assert!(pair.client.confirmed(), "rotated by {rotation}, retry {retry}");
        }
    }
}

/// What the path does not carry is sent again in datagrams that it must carry.
#[test]
fn datagrams_that_are_too_long_for_the_path_cost_a_timeout() {
    let mut pair = Pair::new(shaped(FirstFlight::builder().datagram_size(1452)));
    pair.to_server = Box::new(|_, datagram| datagram.len() <= 1200);
    pair.run_for(900 * MS);
    assert!(pair.server.is_none());
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
}

/// The endpoint shows what a client asks for once all of it is there, in whatever order it came.
#[test]
fn incoming_puts_the_client_hello_together() {
    for rotation in 0..3 {
        let builder = FirstFlight::builder().datagrams(3).pieces(9..=9);
        let mut pair = Pair::new(Setup { client_params: large, ..shaped(builder) });
        let mut flight = pair.client.drain(pair.now);
        flight.rotate_left(rotation);
        let last = flight.pop().unwrap();
        let mut incoming = pair.open(&flight.remove(0)).unwrap();
        for datagram in flight {
            assert_eq!(incoming.client_hello(), None);
            assert!(incoming.absorb(Burst::single(pair.now, super::pair::tuple(5000), None, datagram)));
        }
        assert_eq!(incoming.client_hello(), None);
        assert!(incoming.absorb(Burst::single(pair.now, super::pair::tuple(5000), None, last)));
        assert_eq!(incoming.client_hello().unwrap().server_name(), Some("localhost"));
        pair.serve(incoming);
        pair.run_for(200 * MS);
        assert!(pair.client.confirmed());
    }
}
