//! The server's preferred address (RFC 9000 §9.6).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use super::{Flying, MS, Setup, Side, World, client, host, preferred, server, tuple};
use crate::config::TransportConfig;
use crate::packet::{PreferredAddress, SocketId};
use crate::proto::Event;
use crate::wire::frame::{Frame, NewConnectionId};

fn v4() -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 9), 4444))
}

fn v6() -> Option<SocketAddrV6> {
    Some(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 4444, 0, 0))
}

fn setup() -> Setup {
    Setup { preferred_address: Some(PreferredAddress { v4: v4(), v6: v6() }), ..Setup::default() }
}

fn announces_first(frame: &Frame) -> bool {
    matches!(frame, Frame::NewConnectionId(NewConnectionId { sequence: 1, .. }))
}

// covers: R9000-9.6.1-01 R9000-9.6.1-02 R9000-9.6.2-01 R9000-9.6.2-02 R9000-9.6.2-03 R9000-9.5-01 R9000-9.5-02
// covers: R9000-21.5.3-01
#[test]
fn a_client_moves_once_both_ends_know_the_path() {
    let mut world = World::new(setup());
    let at_preferred =
        |flying: &&Flying| flying.leaves.remote == preferred() || flying.arrives.remote == preferred();
    while world.path_events(Side::Client).is_empty() {
        assert!(world.log.iter().filter(at_preferred).all(Flying::probes), "probes only");
        world.run_for(MS);
    }
    assert!(world.pair.client.confirmed(), "and not before that");
    let sequences = |flying: &&Flying| flying.leaves.remote == preferred();
    assert!(world.sent(Side::Client).any(|flying| sequences(&flying) && flying.challenges()));
    world.run_for(300 * MS);
    assert_eq!(world.path_events(Side::Client), [(true, tuple(0, preferred()))]);
    assert_eq!(world.path_events(Side::Server), [(true, tuple(1, client()))]);
    // Where the server sent anything but probes from there, it had seen such a packet and an answer.
    let mut heard = [false; 2];
    for flying in &world.log {
        if flying.from == Side::Client && flying.leaves.remote == preferred() {
            heard[0] |= !flying.probes();
            heard[1] |= flying.responds();
        } else if flying.leaves.socket.0 == 1 {
            assert!(flying.probes() || heard == [true; 2]);
        }
    }
    assert!(world.log.iter().any(|flying| flying.leaves.socket.0 == 1 && flying.challenges()));
    assert!(!world.log.iter().any(|flying| flying.has(announces_first)), "the parameters announce it");
    for side in [Side::Client, Side::Server] {
        world.assert_unlinkable(side, |_| false);
    }
    world.forget();
    let (down, up) = (world.send(Side::Server, 100_000), world.send(Side::Client, 100_000));
    world.run_for(1_000 * MS);
    world.assert_received(Side::Client, down, 100_000);
    world.assert_received(Side::Server, up, 100_000);
    assert!(world.sent(Side::Client).all(|flying| flying.leaves.remote == preferred()));
    assert!(world.sent(Side::Server).all(|flying| flying.leaves.socket.0 == 1 || flying.probes()));
    world.run_for(5_000 * MS);
    for side in [Side::Client, Side::Server] {
        assert!(world.connection(side).paths.is_quiet());
    }
    world.assert_open();
}

// covers: R9000-9.6.1-03
#[test]
fn an_address_that_cannot_be_reached_is_left_alone() {
    for answers in [false, true] {
        let mut world = World::new(setup());
        world.tap = Box::new(move |flying| match flying.from {
            crate::packet::Side::Client => answers || flying.leaves.remote != preferred(),
            crate::packet::Side::Server => flying.leaves.socket.0 != 1,
        });
        world.run_for(5_000 * MS);
        assert!(world.path_events(Side::Client).is_empty() && world.path_events(Side::Server).is_empty());
        let (down, up) = (world.send(Side::Server, 100_000), world.send(Side::Client, 100_000));
        world.run_for(2_000 * MS);
        world.assert_received(Side::Client, down, 100_000);
        world.assert_received(Side::Server, up, 100_000);
        let used = world.sent(Side::Client).filter(|flying| flying.leaves.remote == preferred());
        assert!(used.into_iter().all(Flying::probes));
        assert!(world.connection(Side::Client).paths.is_quiet());
        world.assert_open();
    }
}

#[test]
fn a_client_stays_where_it_was_told_to_or_has_no_choice() {
    let stay = TransportConfig::builder().use_preferred_address(false).build().unwrap();
    let other_family = Some(PreferredAddress { v4: None, v6: v6() });
    let nowhere = Some(PreferredAddress { v4: v4().map(|at| SocketAddrV4::new(*at.ip(), 0)), v6: None });
    for setup in [
        Setup { client: stay, ..setup() },
        Setup { preferred_address: other_family, ..Setup::default() },
        Setup { preferred_address: nowhere, ..Setup::default() },
        Setup { cid_len: [8, 0], ..setup() },
    ] {
        let mut world = World::new(setup);
        world.run_for(1_000 * MS);
        assert!(world.pair.client.confirmed());
        assert!(world.sent(Side::Client).all(|flying| flying.leaves.remote == server()));
        assert!(world.path_events(Side::Client).is_empty());
        world.assert_open();
    }
}

// covers: R9000-9.6.2-04
#[test]
fn what_is_new_on_the_old_address_is_dropped_what_is_late_is_not() {
    let mut world = World::new(setup());
    world.run_for(500 * MS);
    let moved = world.connection(Side::Server).path();
    assert_eq!(moved.socket.0, 1);
    // The client's next packets arrive at the address that the server left; one is held up until others arrived.
    let mut first = true;
    world.tap = Box::new(move |flying| {
        if flying.from == crate::packet::Side::Client && std::mem::take(&mut first) {
            flying.arrives.socket = crate::packet::SocketId(0);
            flying.at += 5 * MS;
        }
        true
    });
    let id = world.send(Side::Client, 5_000);
    world.run_for(500 * MS);
    world.assert_received(Side::Server, id, 5_000);
    assert_eq!(world.connection(Side::Server).stats().packets_lost, 0);
    let dropped = world.connection(Side::Server).stats().packets_dropped;
    world.tap = Box::new(|flying| {
        if flying.from == crate::packet::Side::Client {
            flying.arrives.socket = crate::packet::SocketId(0);
        }
        true
    });
    let id = world.send(Side::Client, 500);
    world.run_for(100 * MS);
    assert!(world.connection(Side::Server).stats().packets_dropped > dropped);
    assert!(!world.pair.server().received.iter().any(|(known, ..)| *known == id));
    assert_eq!(world.connection(Side::Server).path(), moved);
}

/// The network gives the client another address on the way to the preferred one.
// covers: R9000-9.6.3-03 R9000-9.6.3-04
#[test]
fn another_source_address_at_the_preferred_one_is_validated() {
    let mut world = World::new(setup());
    world.nat.insert(7, host(7));
    world.tap = Box::new(|flying| {
        if flying.from == crate::packet::Side::Client && flying.leaves.remote == preferred() {
            flying.arrives.remote = host(7);
        } else if flying.leaves.remote == host(7) {
            flying.arrives.socket = crate::packet::SocketId(0);
        }
        true
    });
    world.run_for(15 * MS);
    while world.path_events(Side::Server).is_empty() {
        world.run_for(MS);
        let (down, up) = (world.bytes_with(host(7)).0, world.bytes_with(host(7)).1);
        assert!(
            down <= 3 * up
                || world.log.iter().any(|flying| flying.leaves.remote == preferred() && flying.responds())
        );
        assert!(world.pair.now < crate::packet::epoch() + 2_000 * MS);
    }
    assert!(world.log.iter().any(|flying| flying.leaves.remote == host(7) && flying.challenges()));
    assert_eq!(world.path_events(Side::Server), [(true, tuple(1, host(7)))]);
    let id = world.send(Side::Client, 50_000);
    world.run_for(1_000 * MS);
    world.assert_received(Side::Server, id, 50_000);
    world.assert_open();
}

// covers: R9000-9.6.3-01 R9000-9.6.3-02 R9000-9.6.3-05
#[test]
fn a_client_that_moves_meanwhile_tries_both_addresses() {
    for reachable in [true, false] {
        let mut world = World::new(setup());
        // Until the client moves, its probes of the preferred address get lost.
        world.tap = Box::new(|flying| flying.leaves.remote != preferred());
        world.run_for(100 * MS);
        let answers = world.sent(Side::Client).any(|flying| flying.leaves.remote == preferred());
        assert!(answers && world.path_events(Side::Client).is_empty());
        if reachable {
            world.tap = Box::new(|_| true);
        }
        world.log.clear();
        world.migrate(1);
        world.run_for(15 * MS);
        for remote in [server(), preferred()] {
            let probes = |f: &&Flying| f.leaves.socket.0 == 1 && f.leaves.remote == remote && f.challenges();
            assert!(world.sent(Side::Client).any(|flying| probes(&flying)), "{remote}");
        }
        world.run_for(5_000 * MS);
        let end = if reachable { tuple(1, preferred()) } else { tuple(1, server()) };
        assert_eq!(world.connection(Side::Client).path(), end);
        assert_eq!(world.path_events(Side::Client).last(), Some(&(true, end)));
        assert!(world.path_events(Side::Client).iter().all(|(changed, _)| *changed));
        let seen = world.connection(Side::Server).path();
        assert_eq!((seen.remote, seen.socket.0), (host(1), u16::from(reachable)));
        world.assert_unlinkable(Side::Client, |_| false);
        let id = world.send(Side::Client, 50_000);
        world.run_for(1_000 * MS);
        world.assert_received(Side::Server, id, 50_000);
        world.assert_open();
    }
}

/// The preferred address is still looked at from where the original one could not be reached: as long the socket is in use.
#[test]
fn a_socket_is_in_use_until_nothing_is_tried_from_it() {
    let mut world = World::new(setup());
    world.tap = Box::new(|flying| flying.leaves.remote != preferred());
    world.run_for(100 * MS);
    // From there nothing arrives.
    world.tap = Box::new(|flying| flying.leaves.socket.0 != 1 || flying.from == crate::packet::Side::Server);
    world.migrate(1);
    let failed = |world: &mut World, of: fn(&Event) -> bool| world.peer(Side::Client).events.iter().any(of);
    let candidate = |event: &Event| matches!(event, Event::MigrationFailed(path) if path.socket.0 == 1);
    let preferred = |event: &Event| matches!(event, Event::PreferredFailed(path) if path.socket.0 == 1);
    for _ in 0..5_000 {
        let tried = !(failed(&mut world, candidate) && failed(&mut world, preferred));
        assert_eq!(world.connection(Side::Client).uses_socket(SocketId(1)), tried);
        if !tried {
            return world.assert_open();
        }
        world.run_for(MS);
    }
    panic!("it never gives up");
}

/// Such a server may take no packets from other addresses where it was, but where it is.
// covers: R9000-9-02
#[test]
fn migration_that_is_disabled_is_allowed_at_the_preferred_address() {
    let fixed = TransportConfig::builder().migration(false).build().unwrap();
    let mut world = World::new(Setup { server: fixed, ..setup() });
    world.run_for(500 * MS);
    assert_eq!(world.connection(Side::Client).path(), tuple(0, preferred()));
    world.migrate(1);
    world.run_for(500 * MS);
    assert_eq!(world.connection(Side::Client).path(), tuple(1, preferred()));
    assert_eq!(world.connection(Side::Server).path(), tuple(1, host(1)));
    world.assert_open();
}

/// The socket is replaced while the preferred address is looked at: that begins anew, under other IDs.
#[test]
fn a_replaced_socket_looks_again() {
    let mut world = World::new(setup());
    world.tap = Box::new(|flying| flying.leaves.remote != preferred());
    world.run_for(100 * MS);
    assert!(world.sent(Side::Client).any(|flying| flying.leaves.remote == preferred()));
    let used = world.connection(Side::Client).paths.iter().map(|path| path.remote_cid.id).collect::<Vec<_>>();
    world.log.clear();
    world.tap = Box::new(|_| true);
    world.nat.insert(0, host(7));
    let now = world.pair.now;
    world.connection(Side::Client).on_rebound(now);
    world.run_for(2_000 * MS);
    assert_eq!(world.connection(Side::Client).path(), tuple(0, preferred()));
    assert_eq!(world.connection(Side::Server).path(), tuple(1, host(7)));
    let cids = world.sent(Side::Client).filter_map(|flying| flying.seen.as_ref()).map(|seen| seen.dcid);
    assert!(cids.into_iter().all(|cid| !used.contains(&cid)));
    let id = world.send(Side::Server, 50_000);
    world.run_for(1_000 * MS);
    world.assert_received(Side::Client, id, 50_000);
    world.assert_open();
}

/// A server without a preferred address may have several all the same; its client need not know why it moved.
#[test]
fn another_address_of_the_server_is_validated_before_it_is_used() {
    let mut world = World::connected(Setup::default());
    world.tap = Box::new(|flying| {
        if flying.from == crate::packet::Side::Client {
            flying.arrives.socket = crate::packet::SocketId(1);
        }
        true
    });
    world.send(Side::Client, 1_000);
    world.run_for(15 * MS);
    assert_eq!(world.connection(Side::Server).path(), tuple(0, client()), "not yet");
    // The client does not know the server there, and drops what comes from it.
    world.run_for(7_000 * MS);
    assert!(world.path_events(Side::Server).is_empty());
    assert!(world.sent(Side::Server).all(|flying| flying.leaves.socket.0 == 0 || flying.probes()));
    world.assert_open();
}
