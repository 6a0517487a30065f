//! Acknowledgments of those who only receive.

use std::time::Duration;

use super::pair::{Pair, Setup, bytes};
use crate::packet::{Dir, Side, SpaceId, StreamId};

const DATA: usize = SpaceId::Data as usize;

// covers: R9000-13.2.1-06 R9000-13.2.3-02
#[test]
fn who_only_receives_asks_for_acknowledgments_now_and_then() {
    let mut setup = Setup::default();
    // So large that no window update asks for one.
    (setup.server.receive_window, setup.server.stream_receive_window) = (1 << 30, 1 << 30);
    let mut pair = Pair::new(setup);
    pair.run_for(Duration::from_millis(100));
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    for _ in 0..20 {
        pair.client.connection.streams().write(id, bytes(100_000));
        pair.run_for(Duration::from_millis(500));
    }
    let server = &pair.server().connection;
    let sent = &server.spaces[DATA].sent;
    assert!(sent.next() > 200);
    assert!(sent.memory() < 8000, "{} bytes for {} packets", sent.memory(), sent.next());
    let pings = server.stats().frames_sent - sent.next();
    assert!(pings * 10 < sent.next(), "{pings} in {} packets", sent.next());
}

#[test]
fn a_peer_that_acknowledges_nothing_costs_bounded_memory() {
    let mut setup = Setup::default();
    (setup.client.max_idle_timeout, setup.server.max_idle_timeout) = (None, None);
    let mut pair = Pair::new(setup);
    pair.run_for(Duration::from_millis(100));
    pair.to_client = Box::new(|_, _| false);
    for _ in 0..20_000 {
        pair.client.connection.pending.ping = true;
        pair.run_for(Duration::from_millis(30));
        // Nothing comes back, and the client behaves as if that were fine.
        let client = &mut pair.client.connection;
        let now = pair.now;
        client.recovery.retract_space(
            now,
            &mut client.spaces[DATA],
            &mut client.paths.active.cc,
            &mut client.fates,
        );
        client.fates.lost.clear();
        assert!(!client.is_closed());
    }
    let server = &pair.server().connection;
    assert!(!server.is_closed());
    assert!(server.stats().packets_received > 20_000);
    assert!(server.spaces[DATA].sent.memory() < 1 << 19, "{}", server.spaces[DATA].sent.memory());
}
