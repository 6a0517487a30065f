//! A server sends at most three times what it received from an address that it does not know (RFC 9000 §8.1).

use std::cell::Cell;
use std::rc::Rc;

use super::{Hostile, MS, Stage};
use crate::config::TransportConfig;
use crate::packet::{Level, Rng, Side};
use crate::proto::tests::pair::{Pair, Setup};
use crate::wire::frame::Frame;

/// A server whose certificate does not fit into three datagrams.
fn large() -> Setup {
    Setup { more_names: 250, ..Setup::default() }
}

/// A pair that counts; what is lost on the way to the server was not received by it.
fn counting(
    setup: Setup,
    mut to_server: impl FnMut(usize) -> bool + 'static,
    mut to_client: impl FnMut(usize) -> bool + 'static,
) -> (Pair, Rc<Cell<(usize, usize)>>) {
    let mut pair = Pair::new(setup);
    let counts = Rc::new(Cell::new((0, 0)));
    let copy = counts.clone();
    pair.to_server = Box::new(move |index, datagram| {
        let arrives = to_server(index);
        let (received, sent) = copy.get();
        copy.set((received + if arrives { datagram.len() } else { 0 }, sent));
        arrives
    });
    let copy = counts.clone();
    pair.to_client = Box::new(move |index, datagram| {
        let (received, sent) = copy.get();
        copy.set((received, sent + datagram.len()));
        to_client(index)
    });
    (pair, counts)
}

// covers: R9000-8-01 R9000-8.1-01 R9000-8.1-02
#[test]
fn a_client_that_never_answers_gets_three_times_its_bytes() {
    for more_names in [0, 20, 60, 250] {
        let setup = Setup { more_names, ..Setup::default() };
        let (mut pair, counts) = counting(setup, |index| index == 0, |_| true);
        for _ in 0..2_000 {
            pair.run_for(10 * MS);
            let (received, sent) = counts.get();
            assert!(sent <= 3 * received, "{sent} bytes for {received}");
        }
        let (received, sent) = counts.get();
        assert_eq!(received, 1_200);
        assert!(sent > 1_200);
    }
}

/// Whatever comes back short of a Handshake packet raises the limit by three times its size, garbage included.
#[test]
fn garbage_counts_by_its_bytes_only() {
    let mut hostile = Hostile::with(large(), Side::Server, Stage::First);
    let mut rng = Rng::from_u64(5);
    let before = hostile.victim().connection.stats();
    let (mut received, mut sent) = (before.bytes_received, before.bytes_sent);
    for round in 0..500u64 {
        let mut datagram = vec![0; 1 + rng.below(400) as usize];
        rng.fill(&mut datagram);
        let dcid = hostile.dcid();
        if round % 2 == 0 && datagram.len() > 9 {
            datagram[0] = 0x40;
            datagram[1..9].copy_from_slice(dcid.as_slice());
        }
        received += datagram.len() as u64;
        let now = hostile.pair.now;
        let burst = crate::packet::Burst::single(now, hostile.path, None, datagram);
        hostile.victim().connection.handle_burst(now, burst);
        sent += hostile.victim().drain(now).iter().map(|d| d.len() as u64).sum::<u64>();
        assert!(sent <= 3 * received, "{sent} bytes for {received}");
        hostile.pair.now += 10 * MS;
        let now = hostile.pair.now;
        hostile.victim().connection.handle_timeout(now);
        sent += hostile.victim().drain(now).iter().map(|d| d.len() as u64).sum::<u64>();
        assert!(sent <= 3 * received, "{sent} bytes for {received}");
    }
    assert!(!hostile.victim().connection.paths.active.validated);
}

/// Also a connection that closes stays within its limit.
#[test]
fn a_close_counts_as_well() {
    let (mut pair, counts) = counting(large(), |index| index == 0, |_| true);
    pair.run_for(15 * MS);
    let (received, sent) = counts.get();
    assert!(sent > 2 * received);
    let now = pair.now;
    pair.server().connection.close(
        now,
        crate::wire::VarInt::from_u32(1),
        bytes::Bytes::from(vec![b'x'; 2_000]),
    );
    pair.run_for(1_000 * MS);
    let (received, sent) = counts.get();
    assert!(sent <= 3 * received, "{sent} bytes for {received}");
    let grave = pair.server().connection.tombstone().unwrap();
    assert!(grave.close.is_none_or(|close| !close.is_empty()));
}

/// No loss of datagrams leaves both ends waiting for each other, although the server may not send.
// covers: R9002-6.2.2.1-01 R9002-6.2.2.1-02 R9002-6.2.2.1-03 R9000-8.1-04 R9000-8.1-05
#[test]
fn losses_while_the_server_may_not_send_end_in_a_handshake() {
    for more_names in [20, 60, 250] {
        for lost in 1u32..64 {
            let patient = TransportConfig::builder().handshake_timeout(60_000 * MS).build().unwrap();
            let setup = Setup { more_names, client: patient.clone(), server: patient, ..Setup::default() };
            // Which of the first six datagrams in each direction are lost; the first Initial arrives.
            let (mut pair, counts) = counting(
                setup,
                move |index| index == 0 || index > 3 || lost >> index & 1 == 0,
                move |index| index > 5 || lost >> index & 1 == 0,
            );
            let mut validated = false;
            for _ in 0..2_500 {
                pair.run_for(10 * MS);
                validated |= pair.server().connection.paths.active.validated;
                let (received, sent) = counts.get();
                assert!(validated || sent <= 3 * received);
                if pair.client.confirmed() && pair.server().confirmed() {
                    break;
                }
            }
            assert!(
                pair.client.confirmed() && pair.server().confirmed(),
                "{more_names} names, lost {lost:#b}: {:?}",
                pair.client.closed()
            );
        }
    }
}

/// Who followed a Retry is known.
// covers: R9000-8.1.3-12
#[test]
fn a_retry_lifts_the_limit() {
    let (mut pair, counts) =
        counting(Setup { retry: true, more_names: 600, ..Setup::default() }, |index| index < 2, |_| true);
    pair.run_for(1_000 * MS);
    let (received, sent) = counts.get();
    assert!(sent > 3 * received, "{sent} bytes for {received}");
}

/// An Initial is no proof, a Handshake packet is.
// covers: R9000-14.1-04
#[test]
fn only_a_handshake_packet_lifts_the_limit() {
    let mut hostile = Hostile::with(large(), Side::Server, Stage::First);
    hostile.send(Level::Initial, &[Frame::Ping]);
    assert!(!hostile.victim().connection.paths.active.validated);
    let mut forged = hostile.packet(Level::Handshake, &[1; 30]);
    *forged.last_mut().unwrap() ^= 1;
    hostile.deliver(forged);
    assert!(!hostile.victim().connection.paths.active.validated);
    hostile.send(Level::Handshake, &[Frame::Ping]);
    assert!(hostile.victim().connection.paths.active.validated);
}
