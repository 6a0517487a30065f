//! The client moves by its application's wish (RFC 9000 §9.2), or its socket is replaced.

use super::{MS, Setup, Side, World, client, host, local, port, server, tuple};
use crate::config::TransportConfig;
use crate::error::{ConnectionError, MigrateError};
use crate::packet::TransportErrorCode as Code;
use crate::proto::RouteChange;
use crate::wire::frame::{AckFrequency, Frame};

// covers: R9000-9.5-01 R9000-9.5-02 R9000-9.5-05 R9000-5.1.1-03 R9000-5.1.1-07 R9000-5.1.2-01 R9000-9.4-02
#[test]
fn a_client_moves_and_nothing_is_lost() {
    let mut world = World::connected(Setup::default());
    let (down, up) = (world.send(Side::Server, 500_000), world.send(Side::Client, 500_000));
    world.run_for(100 * MS);
    world.forget();
    world.migrate(1);
    world.run_for(30 * MS);
    assert_eq!(world.path_events(Side::Client), [(true, tuple(1, server()))]);
    assert_eq!(world.connection(Side::Client).stats().path_changes, 1);
    world.run_for(3_000 * MS);
    assert_eq!(world.path_events(Side::Server), [(true, tuple(0, host(1)))]);
    world.assert_received(Side::Client, down, 500_000);
    world.assert_received(Side::Server, up, 500_000);
    world.run_for(1_000 * MS);
    for side in [Side::Client, Side::Server] {
        world.assert_unlinkable(side, |_| false);
        let retired = |f: &Frame| matches!(f, Frame::RetireConnectionId(_));
        assert!(world.sent(side).any(|flying| flying.has(retired)), "what is not used is given back");
        assert!(world.connection(side).paths.is_quiet());
    }
    world.assert_open();
}

/// Whose acknowledgments are not of what it received is soon found out on another path, too.
#[test]
fn numbers_are_left_out_soon_after_a_move() {
    for seed in 0..8 {
        let mut world = World::connected(Setup { seed, ..Setup::default() });
        world.migrate(1);
        world.send(Side::Client, 100_000);
        world.send(Side::Server, 100_000);
        let before = [Side::Client, Side::Server].map(|side| world.connection(side).spaces[2].sent.next());
        world.run_for(1_000 * MS);
        for (side, before) in [Side::Client, Side::Server].into_iter().zip(before) {
            assert_eq!(world.connection(side).stats().path_changes, 1);
            let sent = &world.connection(side).spaces[2].sent;
            let skipped = |pn: &u64| sent.check(std::iter::once(*pn..=*pn)).is_err();
            assert!((before..sent.next()).any(|pn| skipped(&pn)), "{side:?} from {before}");
        }
        world.assert_open();
    }
}

/// On a path of which nothing is known, the peer acknowledges as often as it would unasked.
#[test]
fn on_another_path_acknowledgments_come_more_often_again() {
    let mut world = World::connected(Setup::default());
    let asks = |world: &World| -> Vec<AckFrequency> {
        let frames = world.sent(Side::Client).filter_map(|flying| flying.seen.as_ref());
        let asks = frames.flat_map(|seen| &seen.frames).filter_map(|frame| match frame {
            Frame::AckFrequency(frame) => Some(*frame),
            _ => None,
        });
        asks.collect()
    };
    world.send(Side::Client, 1_000_000);
    world.run_for(1_000 * MS);
    let before = asks(&world);
    assert!(before.last().unwrap().eliciting_threshold > 2, "{before:?}");
    world.forget();
    world.migrate(1);
    world.send(Side::Client, 2_000);
    world.run_for(200 * MS);
    let after = asks(&world);
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].eliciting_threshold, after[0].reordering_threshold), (1, 1));
    assert!(after[0].sequence > before.last().unwrap().sequence);
    world.assert_open();
}

// covers: R9000-8.2.1-04 R9000-8.2.2-01 R9000-8.2.2-03
#[test]
fn nothing_but_probes_takes_the_new_path_before_an_answer() {
    let mut world = World::connected(Setup::default());
    world.send(Side::Client, 500_000);
    world.run_for(50 * MS);
    world.forget();
    world.migrate(1);
    world.run_for(19 * MS);
    assert!(world.path_events(Side::Client).is_empty());
    let new: Vec<_> =
        world.log.iter().filter(|f| f.leaves.socket.0 == 1 || f.leaves.remote == host(1)).collect();
    assert!(new.iter().any(|flying| flying.challenges()) && new.iter().any(|flying| flying.responds()));
    assert!(new.iter().all(|flying| flying.probes() && flying.bytes.len() >= 1_200));
    assert!(world.connection(Side::Server).path().remote == client(), "the server stays, too");
    world.run_for(50 * MS);
    assert_eq!(world.connection(Side::Server).path().remote, host(1));
}

/// A response may take any path: what counts is that the challenge arrived.
// covers: R9000-8.2.2-04
#[test]
fn the_answer_may_come_another_way() {
    let mut world = World::connected(Setup::default());
    world.tap = Box::new(|flying| {
        if flying.from == crate::packet::Side::Server && flying.responds() {
            flying.arrives = tuple(0, server());
        }
        true
    });
    world.migrate(1);
    world.run_for(30 * MS);
    assert_eq!(world.path_events(Side::Client), [(true, tuple(1, server()))]);
}

// covers: R9000-8.2.4-01
#[test]
fn what_does_not_work_is_told_and_the_connection_stays() {
    let mut world = World::connected(Setup::default());
    let (down, up) = (world.send(Side::Server, 300_000), world.send(Side::Client, 300_000));
    world.tap = Box::new(|flying| flying.leaves.socket.0 != 1);
    world.migrate(1);
    world.run_for(2_000 * MS);
    assert!(world.path_events(Side::Client).is_empty(), "not yet");
    world.assert_received(Side::Client, down, 300_000);
    world.assert_received(Side::Server, up, 300_000);
    world.run_for(2_000 * MS);
    assert_eq!(world.path_events(Side::Client), [(false, tuple(1, server()))]);
    assert_eq!(world.connection(Side::Client).path(), tuple(0, server()));
    let active = world.connection(Side::Client).remote_cids.is_active(1);
    assert!(!active, "an ID that was seen there is not used again");
    world.tap = Box::new(|_| true);
    world.forget();
    world.migrate(2);
    world.run_for(1_000 * MS);
    assert_eq!(world.path_events(Side::Client), [(true, tuple(2, server()))]);
    assert_eq!(world.connection(Side::Server).path().remote, host(2));
    world.assert_open();
}

// covers: R9000-9-01 R9000-9-02 R9000-9.5-03
// covers: R9000-18.2-03
#[test]
fn a_client_does_not_move_when_it_may_not() {
    let mut world = World::new(Setup::default());
    let mut refused = |time: u64| {
        world.run_for(time as u32 * MS);
        let now = world.pair.now;
        world.connection(Side::Client).migrate(now, local(1)).unwrap_err()
    };
    assert_eq!(refused(5), MigrateError::HandshakeNotConfirmed);
    assert_eq!(refused(18), MigrateError::HandshakeNotConfirmed, "complete is not enough");
    world.run_for(200 * MS);
    let now = world.pair.now;
    assert_eq!(world.connection(Side::Server).migrate(now, local(1)), Err(MigrateError::Server));
    // Four IDs of the server, one of them in use.
    for socket in [1, 2, 3] {
        world.migrate(socket);
    }
    let result = world.connection(Side::Client).migrate(now, local(1));
    assert_eq!(result, Err(MigrateError::NoConnectionId));
    world.run_for(100 * MS);
    world.migrate(2);
    world.run_for(100 * MS);
    assert_eq!(world.connection(Side::Client).path().socket.0, 2, "the server has sent others");
    let now = world.pair.now;
    world.connection(Side::Client).close(now, crate::wire::VarInt::from_u32(0), bytes::Bytes::new());
    assert_eq!(world.connection(Side::Client).migrate(now, local(1)), Err(MigrateError::Closed));

    let fixed = TransportConfig::builder().migration(false).build().unwrap();
    let mut world = World::connected(Setup { server: fixed, ..Setup::default() });
    let now = world.pair.now;
    assert_eq!(world.connection(Side::Client).migrate(now, local(1)), Err(MigrateError::DisabledByPeer));
    let mut world = World::connected(Setup { cid_len: [8, 0], ..Setup::default() });
    let now = world.pair.now;
    assert_eq!(world.connection(Side::Client).migrate(now, local(1)), Err(MigrateError::NoConnectionId));
}

#[test]
fn a_second_wish_replaces_the_first() {
    let mut world = World::connected(Setup::default());
    world.migrate(1);
    world.migrate(1);
    world.migrate(2);
    world.run_for(1_000 * MS);
    assert_eq!(world.path_events(Side::Client), [(false, tuple(1, server())), (true, tuple(2, server()))]);
    world.forget();
    world.migrate(2);
    world.run_for(1_000 * MS);
    assert_eq!(world.path_events(Side::Client), [(true, tuple(2, server()))], "it is there");
    world.assert_open();
}

/// The tokens that a datagram is compared with follow the IDs in use.
// covers: R9000-10.3.1-02
#[test]
fn reset_tokens_follow() {
    let mut world = World::connected(Setup::default());
    let tokens = |world: &mut World| {
        let mut tokens = Vec::new();
        for route in &world.pair.client.routes {
            match route {
                RouteChange::AddResetToken(remote, token) => tokens.push((*remote, *token)),
                RouteChange::RemoveResetToken(remote, token) => {
                    let at = tokens.iter().position(|known| *known == (*remote, *token));
                    tokens.remove(at.expect("a token that was never there"));
                }
                _ => {}
            }
        }
        tokens
    };
    let before = tokens(&mut world);
    assert_eq!(before.len(), 1);
    world.migrate(1);
    assert!(world.run_and_count(5, tokens) == 2, "both paths");
    world.run_for(500 * MS);
    let after = tokens(&mut world);
    assert!(after.len() == 1 && after != before);
    // A reset with the old token is noise, one with the new one the end.
    let now = world.pair.now;
    for (token, ends) in [(before[0].1, false), (after[0].1, true)] {
        let mut datagram = vec![0x40; 50];
        datagram[34..].copy_from_slice(&token.0);
        let burst = crate::packet::Burst::single(now, tuple(1, server()), None, datagram);
        world.connection(Side::Client).handle_burst(now, burst);
        assert_eq!(world.connection(Side::Client).is_closed(), ends);
    }
    world.run_for(MS);
    assert!(tokens(&mut world).is_empty());
    assert_eq!(world.pair.client.closed(), Some(&ConnectionError::Reset));
}

/// The peer takes back the ID that a probe uses, and has no other.
#[test]
fn a_path_whose_id_is_taken_back_gets_another_or_ends() {
    let mut world = World::connected(Setup::default());
    world.tap = Box::new(|flying| flying.leaves.socket.0 != 1);
    world.migrate(1);
    world.run_for(5 * MS);
    let cids = &mut world.connection(Side::Client).remote_cids;
    while cids.take_unused().is_some() {}
    let id = |n: u8| crate::packet::ConnectionId::try_from(&[n; 8][..]).unwrap();
    let token = |n: u8| crate::packet::ResetToken([n; 16]);
    cids.on_new(50, 50, id(50), token(50)).unwrap();
    world.connection(Side::Client).replace_retired_cids();
    assert_eq!(world.connection(Side::Client).paths.active.remote_cid.sequence, 50);
    world.run_for(MS);
    assert_eq!(world.path_events(Side::Client), [(false, tuple(1, server()))]);
    assert!(world.connection(Side::Client).paths.is_quiet());
}

// covers: R9000-9.5-01
#[test]
fn a_replaced_socket_means_another_id_and_a_sign_of_life() {
    for address in [port(5005), host(7)] {
        let mut world = World::connected(Setup::default());
        let down = world.send(Side::Server, 200_000);
        world.run_for(15 * MS);
        world.forget();
        let before = world.connection(Side::Client).paths.active.remote_cid.id;
        let now = world.pair.now;
        world.nat.insert(0, address);
        world.connection(Side::Client).on_rebound(now);
        world.run_for(1_000 * MS);
        assert!(world.sent(Side::Client).all(|flying| flying.seen.as_ref().unwrap().dcid != before));
        assert!(world.sent(Side::Client).next().unwrap().has(Frame::is_ack_eliciting), "at once");
        assert_eq!(world.connection(Side::Server).path().remote, address);
        world.assert_received(Side::Client, down, 200_000);
        assert_eq!(world.path_events(Side::Client), [], "it is the path it was");
        world.assert_unlinkable(Side::Server, |_| false);
        world.assert_open();
    }
}

#[test]
fn a_replaced_socket_without_a_spare_id_is_the_end() {
    let mut world = World::connected(Setup::default());
    let client = world.connection(Side::Client);
    while client.remote_cids.take_unused().is_some() {}
    let now = world.pair.now;
    world.connection(Side::Client).on_rebound(now);
    world.run_for(10 * MS);
    match world.pair.client.closed() {
        Some(ConnectionError::Transport { error, .. }) => assert_eq!(error.code, Code::NO_VIABLE_PATH),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.sent(Side::Client).count(), 0, "not a word: its ID would tell");
}

#[test]
fn servers_and_handshakes_bear_a_rebound() {
    let mut world = World::new(Setup::default());
    world.run_for(5 * MS);
    let now = world.pair.now;
    world.connection(Side::Client).on_rebound(now);
    world.run_for(300 * MS);
    let now = world.pair.now;
    world.forget();
    world.connection(Side::Server).on_rebound(now);
    world.run_for(300 * MS);
    assert!(world.sent(Side::Server).next().unwrap().has(|frame| *frame == Frame::Ping));
    world.assert_open();
}

#[test]
fn empty_ids_of_the_client_do_not_hinder_it() {
    let mut world = World::connected(Setup { cid_len: [0, 8], ..Setup::default() });
    world.migrate(1);
    world.run_for(500 * MS);
    assert_eq!(world.connection(Side::Server).path().remote, host(1));
    world.nat.insert(1, host(9));
    let id = world.send(Side::Client, 10_000);
    world.run_for(500 * MS);
    world.assert_received(Side::Server, id, 10_000);
    assert_eq!(world.connection(Side::Server).path().remote, host(9));
    world.assert_open();
}

/// NATs that rebind, clients that move, sockets that are replaced, packets that are lost or late: in the end all has
/// arrived, and both ends mean the same path.
#[test]
fn any_order_of_moves_loses_nothing() {
    for seed in 0..40 {
        let mut world = World::connected(Setup { seed, ..Setup::default() });
        let mut rng = crate::packet::Rng::from_u64(seed);
        let mut fate = rng.fork();
        world.tap = Box::new(move |flying| {
            flying.at += fate.below(8) as u32 * MS;
            fate.below(20) != 0
        });
        let mut sent = Vec::new();
        for n in 0..25u8 {
            let socket = rng.below(4) as u16;
            let address = if rng.below(2) == 0 { port(20_000 + u16::from(n)) } else { host(100 + n) };
            let now = world.pair.now;
            match rng.below(4) {
                0 => drop(world.nat.insert(socket, address)),
                1 => {
                    // The server may have left no ID; then it stays.
                    let _ = world.connection(Side::Client).migrate(now, local(socket));
                }
                2 => {
                    let client = world.connection(Side::Client);
                    if client.remote_cids.unused() > 0 {
                        let socket = client.path().socket.0;
                        client.on_rebound(now);
                        world.nat.insert(socket, address);
                    }
                }
                _ => {}
            }
            for side in [Side::Client, Side::Server] {
                let len = rng.below(20_000) as usize;
                sent.push((side.peer(), world.send(side, len), len));
            }
            world.run_for(rng.below(400) as u32 * MS);
        }
        for side in [Side::Client, Side::Server] {
            sent.push((side.peer(), world.send(side, 1_000), 1_000));
        }
        world.run_for(25_000 * MS);
        world.assert_open();
        for (at, id, len) in sent {
            world.assert_received(at, id, len);
        }
        let client = world.connection(Side::Client).path();
        let seen = world.connection(Side::Server).path();
        assert_eq!(seen.remote, world.nat[&client.socket.0], "seed {seed}");
        for side in [Side::Client, Side::Server] {
            let connection = world.connection(side);
            assert_eq!(connection.stats().bytes_in_flight, 0, "seed {seed}");
            assert!(connection.paths.active.validated && connection.paths.active.validation.is_none());
        }
        world.assert_unlinkable(Side::Client, |_| false);
    }
}
