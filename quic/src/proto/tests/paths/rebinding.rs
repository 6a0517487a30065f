//! The network gives the client another address, and the client does not know (RFC 9000 §9.3).

use super::{MS, Setup, Side, World, client, host, port, tuple};
use crate::wire::frame::Frame;

// covers: R9000-9-04 R9000-9.3-01 R9000-9.4-02
#[test]
fn another_port_keeps_what_is_known_of_the_path() {
    let mut world = World::connected(Setup::default());
    world.send(Side::Server, 200_000);
    world.run_for(500 * MS);
    let before = world.connection(Side::Server).stats();
    assert!(before.congestion_window > 20_000 && before.rtt < 40 * MS);
    world.forget();
    world.nat.insert(0, port(5555));
    let id = world.send(Side::Client, 10_000);
    world.run_for(100 * MS);
    world.assert_received(Side::Server, id, 10_000);
    assert_eq!(world.path_events(Side::Server), [(true, tuple(0, port(5555)))]);
    let server = world.connection(Side::Server);
    assert_eq!(server.path().remote, port(5555));
    assert!(server.paths.active.validated && server.paths.active.validation.is_none());
    let after = world.connection(Side::Server).stats();
    assert!(after.congestion_window >= before.congestion_window && after.rtt < 40 * MS, "{after:?}");
    assert!(world.path_events(Side::Client).is_empty());
    world.assert_open();
}

// covers: R9000-9.4-01 R9000-9.4-02
#[test]
fn another_address_begins_with_initial_values() {
    let mut world = World::connected(Setup::default());
    world.send(Side::Server, 200_000);
    world.run_for(500 * MS);
    world.forget();
    world.nat.insert(0, host(7));
    let down = world.send(Side::Server, 300_000);
    let up = world.send(Side::Client, 10_000);
    world.run_for(15 * MS);
    let server = world.connection(Side::Server);
    assert_eq!(server.path().remote, host(7));
    assert_eq!((server.stats().congestion_window, server.rtt()), (12_000, 333 * MS));
    world.run_for(1_000 * MS);
    world.assert_received(Side::Server, up, 10_000);
    world.assert_received(Side::Client, down, 300_000);
    let server = world.connection(Side::Server);
    assert!(server.rtt() < 40 * MS && server.paths.active.validated);
}

// covers: R9000-8.2.1-01 R9000-8.2.1-03 R9000-8.2.1-04
#[test]
fn challenges_are_full_and_never_the_same() {
    let mut world = World::connected(Setup::default());
    world.nat.insert(0, host(7));
    // The new address sends much and answers nothing.
    world.tap = Box::new(|flying| !flying.responds());
    world.send(Side::Client, 20_000);
    world.run_for(2_500 * MS);
    let challenges: Vec<_> = world.sent(Side::Server).filter(|flying| flying.challenges()).collect();
    let mut data = Vec::new();
    for flying in &challenges {
        assert!(flying.bytes.len() >= 1_200, "{} bytes", flying.bytes.len());
        let seen = flying.seen.as_ref().unwrap();
        let in_it: Vec<_> = seen.frames.iter().filter(|f| matches!(f, Frame::PathChallenge(_))).collect();
        assert_eq!(in_it.len(), 1);
        assert!(!data.contains(in_it[0]));
        data.extend(in_it.into_iter().cloned());
    }
    let to = |remote| challenges.iter().filter(|flying| flying.leaves.remote == remote).count();
    assert_eq!((to(host(7)), data.len()), (3, to(host(7)) + to(client())), "as often as Initials");
}

// covers: R9000-9.3.3-01
#[test]
fn the_old_address_is_asked_for_a_sign_of_life() {
    let mut world = World::connected(Setup::default());
    world.nat.insert(0, host(7));
    world.send(Side::Client, 1_000);
    world.run_for(10_000 * MS);
    let old = world.sent(Side::Server).filter(|flying| flying.leaves.remote == client());
    let old: Vec<_> = old.collect();
    assert!(!old.is_empty() && old.iter().all(|flying| flying.challenges() && flying.probes()));
    assert!(world.connection(Side::Server).paths.others().is_empty(), "it gave none, and is forgotten");
    world.assert_open();
}

// covers: R9000-9.3-02 R9000-8.2.1-05 R9000-8.2.3-01
#[test]
fn a_client_that_says_little_is_asked_twice() {
    let mut world = World::connected(Setup::default());
    let down = world.send(Side::Server, 300_000);
    world.run_for(5 * MS);
    // Only acknowledgments come from the new address: small packets, and three times that may be sent.
    world.nat.insert(0, host(7));
    world.run_for(3_000 * MS);
    world.assert_received(Side::Client, down, 300_000);
    let sizes: Vec<usize> = world
        .sent(Side::Server)
        .filter(|flying| flying.challenges() && flying.leaves.remote == host(7))
        .map(|flying| flying.bytes.len())
        .collect();
    assert!(sizes.len() == 2 && sizes[0] < 1_200 && sizes[1] >= 1_200, "{sizes:?}");
    assert!(world.connection(Side::Server).paths.active.validated);
}

/// As long as the address is not known to be good, it gets three times what it sent.
// covers: R9000-9.3-02 R9000-8-01
#[test]
fn the_amplification_limit_holds_on_the_new_address() {
    for first in [20, 200, 1_000, 5_000] {
        let mut world = World::connected(Setup::default());
        world.nat.insert(0, host(7));
        world.tap = Box::new(|flying| !flying.responds());
        world.send(Side::Server, 100_000);
        world.send(Side::Client, first);
        for _ in 0..300 {
            world.run_for(10 * MS);
            let (down, up) = world.bytes_with(host(7));
            assert!(down <= 3 * up, "{down} bytes for {up}");
        }
        let (down, _) = world.bytes_with(host(7));
        assert!(down > 0);
    }
}

// covers: R9000-9.3.2-01
#[test]
fn an_address_that_does_not_answer_is_left_again() {
    let mut world = World::connected(Setup::default());
    world.nat.insert(0, host(7));
    world.tap = Box::new(|flying| flying.leaves.remote != host(7));
    world.send(Side::Client, 3_000);
    world.run_for(100 * MS);
    assert_eq!(world.connection(Side::Server).path().remote, host(7));
    world.nat.insert(0, client());
    world.run_for(4_000 * MS);
    let changes = world.path_events(Side::Server);
    assert_eq!(changes.last(), Some(&(true, tuple(0, client()))));
    let id = world.send(Side::Server, 50_000);
    world.run_for(1_000 * MS);
    world.assert_received(Side::Client, id, 50_000);
    assert!(world.connection(Side::Server).paths.is_quiet());
}

/// How long the server asks before it goes back, if nobody answers on either address.
fn patience(world: &mut World) -> std::time::Duration {
    world.nat.insert(0, host(7));
    world.send(Side::Client, 1_000);
    world.run_for(10 * MS);
    let start = world.pair.now;
    world.nat.insert(0, client());
    world.tap = Box::new(|_| false);
    while world.path_events(Side::Server).len() < 2 {
        world.run_for(MS);
    }
    world.pair.now - start
}

/// Three probe timeouts of 333 ms + 4 * 166.5 ms + max_ack_delay, and as many again since the way back is silent, too.
// covers: R9000-9.3.2-01 R9000-8.2.4-01 R9000-8.2.4-02
#[test]
fn validation_ends_after_three_probe_timeouts() {
    let took = patience(&mut World::connected(Setup::default()));
    assert!((6_140 * MS..6_150 * MS).contains(&took), "{took:?}");
}

/// The network moves a client again and again: one way back is kept, and nothing piles up.
#[test]
fn a_restless_nat_leaves_nothing_behind() {
    let mut world = World::connected(Setup::default());
    for n in 0..60 {
        let address = if n % 3 == 0 { host(n) } else { port(10_000 + u16::from(n)) };
        world.nat.insert(0, address);
        world.send(Side::Client, 100);
        world.run_for(if n % 2 == 0 { 3 * MS } else { 300 * MS });
        assert!(world.connection(Side::Server).paths.others().len() <= 3);
    }
    let id = world.send(Side::Server, 100_000);
    world.run_for(8_000 * MS);
    world.assert_received(Side::Client, id, 100_000);
    assert!(world.connection(Side::Server).paths.is_quiet());
    world.assert_open();
}

#[test]
fn what_is_in_flight_while_the_address_changes_arrives() {
    for address in [port(5555), host(7)] {
        let mut world = World::connected(Setup::default());
        let (down, up) = (world.send(Side::Server, 400_000), world.send(Side::Client, 400_000));
        for n in 0..4 {
            world.run_for(30 * MS);
            world.nat.insert(0, if n % 2 == 0 { address } else { client() });
        }
        world.run_for(5_000 * MS);
        world.assert_received(Side::Client, down, 400_000);
        world.assert_received(Side::Server, up, 400_000);
        let server = world.connection(Side::Server).stats();
        assert_eq!(server.bytes_in_flight, 0);
    }
}

/// Losses on the way change nothing about the outcome: what fails is tried again with the next packet.
#[test]
fn losses_do_not_keep_a_path_from_being_validated() {
    for seed in 0..30u64 {
        let mut world = World::connected(Setup::default());
        let mut rng = crate::packet::Rng::from_u64(seed);
        world.nat.insert(0, host(7));
        world.tap = Box::new(move |_| rng.below(10) >= 2);
        for _ in 0..4 {
            let (down, up) = (world.send(Side::Server, 30_000), world.send(Side::Client, 30_000));
            world.run_for(20_000 * MS);
            world.assert_received(Side::Client, down, 30_000);
            world.assert_received(Side::Server, up, 30_000);
        }
        assert_eq!(world.connection(Side::Server).path().remote, host(7), "seed {seed}");
        assert!(world.connection(Side::Server).paths.active.validated, "seed {seed}");
    }
}

/// Empty IDs do not tell whether the client or its network moved.
#[test]
fn a_server_with_empty_ids_follows_as_well() {
    for spare in [true, false] {
        let mut world = World::connected(Setup { cid_len: [8, 0], ..Setup::default() });
        let server = world.connection(Side::Server);
        while !spare && server.remote_cids.take_unused().is_some() {}
        let before = server.paths.active.remote_cid;
        world.nat.insert(0, host(7));
        let id = world.send(Side::Client, 10_000);
        world.run_for(500 * MS);
        world.assert_received(Side::Server, id, 10_000);
        let active = &world.connection(Side::Server).paths.active;
        assert_eq!((active.tuple.remote, active.remote_cid == before), (host(7), !spare));
        world.assert_open();
    }
}
