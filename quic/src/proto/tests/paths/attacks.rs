//! Somebody on or off the path copies packets and sends them from elsewhere (RFC 9000 §9.3.1 to §9.3.3).

use std::cell::RefCell;
use std::rc::Rc;

use super::{Flying, MS, Setup, Side, World, client, host, port, tuple};
use crate::config::TransportConfig;
use crate::packet::{Burst, SocketId};

/// Copies of the client's packets arrive from another address a millisecond before the originals, while `active`.
fn forwarder(world: &mut World, from: std::net::SocketAddr, limit: usize) -> Rc<RefCell<usize>> {
    let copied = Rc::new(RefCell::new(0));
    let count = copied.clone();
    world.tap = Box::new(move |flying: &mut Flying| {
        if flying.from == crate::packet::Side::Client && *count.borrow() < limit {
            *count.borrow_mut() += 1;
            flying.arrives.remote = from;
            flying.at -= MS;
        }
        true
    });
    copied
}

/// One copy that overtakes the original moves the server; what the client says next moves it back.
// covers: R9000-9.3.2-01 R9000-9.3.3-01 R9000-9.3.3-02
#[test]
fn one_forged_source_is_soon_corrected() {
    for from in [port(6666), host(66)] {
        let mut world = World::connected(Setup::default());
        let before = world.connection(Side::Server).stats();
        let _copied = forwarder(&mut world, from, 1);
        world.send(Side::Client, 500);
        world.run_for(9 * MS);
        assert_eq!(world.connection(Side::Server).path().remote, from);
        // The client says nothing of its own accord, but the challenge makes it speak.
        world.run_for(100 * MS);
        assert_eq!(world.connection(Side::Server).path().remote, client());
        let after = world.connection(Side::Server).stats();
        assert_eq!(after.congestion_window, before.congestion_window);
        assert!(after.rtt < 50 * MS, "what was known of the path is restored");
        let id = world.send(Side::Server, 100_000);
        world.run_for(1_000 * MS);
        world.assert_received(Side::Client, id, 100_000);
        let (down, up) = world.bytes_with(from);
        assert!(down <= 3 * up.max(1_000), "{down} bytes to whom it does not concern");
        world.run_for(10_000 * MS);
        assert!(world.connection(Side::Server).paths.is_quiet());
        world.assert_open();
    }
}

/// The attacker takes all datagrams for a while, in one direction, and knows no keys.
// covers: R9000-9.3.2-01
#[test]
fn a_lasting_attack_ends_with_the_attacker() {
    let mut world = World::connected(Setup::default());
    let _copied = forwarder(&mut world, host(66), 12);
    let (down, up) = (world.send(Side::Server, 200_000), world.send(Side::Client, 200_000));
    world.run_for(20_000 * MS);
    world.assert_received(Side::Client, down, 200_000);
    world.assert_received(Side::Server, up, 200_000);
    assert_eq!(world.connection(Side::Server).path().remote, client());
    world.assert_open();
}

/// A whole path through the attacker that works both ways cannot be told from a NAT; nothing breaks when it ends.
#[test]
fn a_path_by_way_of_the_attacker_is_left_when_it_ends() {
    let mut world = World::connected(Setup::default());
    world.nat.insert(0, host(66));
    world.send(Side::Client, 1_000);
    world.run_for(200 * MS);
    assert!(world.connection(Side::Server).paths.active.validated);
    world.nat.insert(0, client());
    let id = world.send(Side::Client, 1_000);
    world.run_for(200 * MS);
    world.assert_received(Side::Server, id, 1_000);
    assert_eq!(world.connection(Side::Server).path().remote, client());
}

/// The newest packet decides, not the last to arrive.
// covers: R9000-9.3-01
#[test]
fn a_late_packet_from_the_old_address_moves_nobody_back() {
    let mut world = World::connected(Setup::default());
    let mut held = true;
    world.tap = Box::new(move |flying| {
        if flying.from == crate::packet::Side::Client && std::mem::take(&mut held) {
            flying.at += 40 * MS;
        }
        true
    });
    let first = world.send(Side::Client, 100);
    world.run_for(MS);
    world.nat.insert(0, port(5555));
    let second = world.send(Side::Client, 100);
    world.run_for(30 * MS);
    assert_eq!(world.connection(Side::Server).path().remote, port(5555));
    world.run_for(300 * MS);
    world.assert_received(Side::Server, first, 100);
    world.assert_received(Side::Server, second, 100);
    assert_eq!(world.path_events(Side::Server), [(true, tuple(0, port(5555)))]);
}

// covers: R9000-9-04
#[test]
fn a_replayed_packet_moves_nobody() {
    let mut world = World::connected(Setup::default());
    world.send(Side::Client, 500);
    world.run_for(100 * MS);
    let old: Vec<_> = world.sent(Side::Client).map(|flying| flying.bytes.clone()).collect();
    let now = world.pair.now;
    for bytes in old {
        let burst = Burst::single(now, tuple(0, host(66)), None, bytes);
        world.connection(Side::Server).handle_burst(now, burst);
    }
    world.run_for(100 * MS);
    assert_eq!(world.bytes_with(host(66)).0, 0);
    assert!(world.connection(Side::Server).paths.is_quiet());
}

// covers: R9000-9-05 R9000-9.6-01
#[test]
fn a_client_ignores_servers_that_it_does_not_know() {
    let mut world = World::connected(Setup::default());
    let dropped = world.connection(Side::Client).stats().packets_dropped;
    world.tap = Box::new(|flying| {
        if flying.from == crate::packet::Side::Server {
            flying.arrives.remote = host(66);
        }
        true
    });
    let id = world.send(Side::Server, 500);
    world.run_for(100 * MS);
    assert!(world.connection(Side::Client).stats().packets_dropped > dropped);
    assert!(world.pair.client.received.iter().all(|(known, ..)| *known != id));
    world.tap = Box::new(|_| true);
    world.run_for(1_000 * MS);
    world.assert_received(Side::Client, id, 500);
}

// covers: R9000-9-03
#[test]
fn where_migration_is_off_other_addresses_get_nothing() {
    let fixed = TransportConfig::builder().migration(false).build().unwrap();
    let mut world = World::connected(Setup { server: fixed, ..Setup::default() });
    world.nat.insert(0, port(5555));
    let id = world.send(Side::Client, 500);
    world.run_for(300 * MS);
    assert_eq!(world.bytes_with(port(5555)).0, 0, "no reset, no close, nothing");
    world.nat.insert(0, client());
    world.run_for(1_000 * MS);
    world.assert_received(Side::Server, id, 500);
    world.assert_open();
}

/// During the handshake addresses stay what they are.
#[test]
fn packets_from_elsewhere_before_confirmation_are_dropped() {
    let mut world = World::new(Setup::default());
    world.run_for(15 * MS);
    let bytes: Vec<_> = world.sent(Side::Client).map(|flying| flying.bytes.clone()).collect();
    let now = world.pair.now;
    for datagram in bytes {
        let path = crate::packet::FourTuple { socket: SocketId(0), ..tuple(0, host(66)) };
        world.connection(Side::Server).handle_burst(now, Burst::single(now, path, None, datagram));
    }
    world.run_for(300 * MS);
    assert_eq!(world.bytes_with(host(66)).0, 0);
    assert!(world.pair.server().confirmed());
}
