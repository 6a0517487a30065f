//! ECN and the spin bit are matters of a path.

use super::{Flying, MS, Setup, Side, World, host, server};
use crate::config::TransportConfig;
use crate::packet::Ecn;

fn marks(world: &World, from: Side, goes: impl Fn(&Flying) -> bool) -> Vec<bool> {
    world.sent(from).filter(|flying| goes(flying)).map(|flying| flying.marked).collect()
}

// covers: R9000-13.4.2.2-01 R9000-13.4.2.2-02
#[test]
fn a_path_that_clears_marks_is_found_out_and_the_next_gets_its_chance() {
    let mut world = World::connected(Setup::default());
    assert!(world.connection(Side::Server).stats().ecn_capable);
    world.tap = Box::new(|flying| {
        if flying.leaves.remote == host(7) {
            flying.ecn = None;
        }
        true
    });
    world.nat.insert(0, host(7));
    world.send(Side::Client, 3_000);
    world.run_for(500 * MS);
    world.send(Side::Server, 300_000);
    world.run_for(2_000 * MS);
    assert!(!world.connection(Side::Server).stats().ecn_capable);
    let new = marks(&world, Side::Server, |flying| flying.leaves.remote == host(7) && !flying.probes());
    assert!(new.iter().take(5).any(|marked| *marked), "it is tried");
    assert!(new.iter().rev().take(50).all(|marked| !marked), "and given up");
    world.nat.insert(0, host(8));
    world.send(Side::Client, 3_000);
    world.run_for(500 * MS);
    world.send(Side::Server, 300_000);
    world.run_for(2_000 * MS);
    assert!(world.connection(Side::Server).stats().ecn_capable, "here they arrive");
    world.assert_open();
}

#[test]
fn congestion_that_the_network_marks_on_the_old_path_does_not_slow_the_new_one() {
    let mut world = World::connected(Setup::default());
    world.send(Side::Server, 300_000);
    world.tap = Box::new(|flying| {
        if flying.leaves.remote == super::client() && flying.ecn.is_some() {
            flying.ecn = Some(Ecn::Ce);
        }
        true
    });
    world.run_for(9 * MS);
    world.nat.insert(0, host(7));
    world.send(Side::Client, 1_000);
    world.run_for(12 * MS);
    let before = world.connection(Side::Server).stats();
    assert_eq!(before.congestion_window, 12_000);
    world.run_for(60 * MS);
    let after = world.connection(Side::Server).stats();
    assert_eq!(after.congestion_events, before.congestion_events);
    assert!(after.congestion_window >= 12_000);
}

/// How often the bit changes in what an end sends in half a second of conversation.
fn edges(world: &mut World, from: Side) -> usize {
    world.forget();
    for _ in 0..50 {
        world.send(Side::Client, 100);
        world.send(Side::Server, 100);
        world.run_for(10 * MS);
    }
    let bits: Vec<bool> =
        world.sent(from).filter_map(|flying| flying.seen.as_ref()).map(|seen| seen.spin).collect();
    bits.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

fn spinning(world: &mut World) {
    for side in [Side::Client, Side::Server] {
        world.connection(side).paths.active.spin = crate::proto::path::SpinBit::spinning();
    }
}

#[test]
fn the_bit_turns_once_a_round_trip() {
    let mut world = World::connected(Setup::default());
    spinning(&mut world);
    for side in [Side::Client, Side::Server] {
        let edges = edges(&mut world, side);
        assert!((23..=26).contains(&edges), "{edges} in 25 round trips");
    }
}

// covers: R9000-17.4-02 R9000-17.4-04
#[test]
fn one_end_that_does_not_spin_stops_it() {
    let off = TransportConfig::builder().spin_bit(false).build().unwrap();
    let mut world = World::connected(Setup { server: off, ..Setup::default() });
    world.connection(Side::Client).paths.active.spin = crate::proto::path::SpinBit::spinning();
    for side in [Side::Client, Side::Server] {
        assert!(edges(&mut world, side) <= 1);
    }
}

/// The bit tells nothing that would connect the two paths.
#[test]
fn a_new_path_begins_at_zero() {
    let mut world = World::connected(Setup::default());
    spinning(&mut world);
    edges(&mut world, Side::Client);
    world.migrate(1);
    let spin = crate::proto::path::SpinBit::spinning();
    let paths = &mut world.connection(Side::Client).paths;
    paths.iter_mut().filter(|path| path.tuple.socket.0 == 1).for_each(|path| path.spin = spin);
    world.run_for(100 * MS);
    let first =
        world.sent(Side::Client).find(|f| f.leaves.socket.0 == 1 && f.leaves.remote == server()).unwrap();
    assert!(!first.seen.as_ref().unwrap().spin);
    // Whether the server's end of it spins was left to chance.
    spinning(&mut world);
    assert!(edges(&mut world, Side::Client) >= 1);
}
