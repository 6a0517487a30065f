//! NEW_CONNECTION_ID and RETIRE_CONNECTION_ID: floods and misuse.

use super::{Hostile, MS, Stage, ack};
use crate::packet::{ConnectionId, Dir, Level, ResetToken, Rng, Side, StreamId, TransportErrorCode as Code};
use crate::proto::RouteChange;
use crate::proto::tests::pair::{Pair, Setup, bytes};
use crate::wire::frame::{Frame, MaxData, MaxStreamData, MaxStreams, NewConnectionId, RetireConnectionId};

fn new(sequence: u64, retire_prior_to: u64) -> Frame {
    let bytes = sequence.to_be_bytes();
    let mut token = [0xdd; 16];
    token[..8].copy_from_slice(&sequence.to_be_bytes());
    let id = ConnectionId::try_from(&bytes[..]).unwrap();
    NewConnectionId { sequence, retire_prior_to, id, reset_token: ResetToken(token) }.into()
}

fn retire(sequence: u64) -> Frame {
    RetireConnectionId { sequence }.into()
}

/// Acknowledges every 1-RTT packet heard since the last call, and forgets them.
fn acknowledge(hostile: &mut Hostile) -> Vec<Frame> {
    let heard = std::mem::take(&mut hostile.heard);
    for packet in heard.iter().filter(|packet| packet.level == Level::OneRtt) {
        let frame = ack(&[packet.pn..=packet.pn]);
        let packet = hostile.packet(Level::OneRtt, &super::encode(&[frame]));
        let (now, path) = (hostile.pair.now, hostile.path);
        let burst = crate::packet::Burst::single(now, path, None, packet);
        hostile.victim().connection.handle_burst(now, burst);
    }
    heard.into_iter().flat_map(|packet| packet.frames).collect()
}

// covers: R9000-5.1.1-05
#[test]
fn more_ids_than_the_limit() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        // The real peer has issued as many as the limit of 4 allows.
        hostile.send(Level::OneRtt, &[new(4, 1)]);
        hostile.assert_open();
        hostile.send(Level::OneRtt, &[new(5, 0)]);
        hostile.assert_closed(Code::CONNECTION_ID_LIMIT_ERROR, Some(0x18));
    }
}

// covers: R9000-19.15-04
#[test]
fn an_id_that_is_issued_twice_must_be_the_same() {
    let frame = |sequence, id: u8, token: u8| -> Frame {
        let id = ConnectionId::try_from(&[id; 8][..]).unwrap();
        NewConnectionId { sequence, retire_prior_to: 9, id, reset_token: ResetToken([token; 16]) }.into()
    };
    for (second, fine) in [
        (frame(9, 1, 1), true),
        (frame(9, 2, 1), false),
        (frame(9, 1, 2), false),
        (frame(10, 1, 1), false),
        (frame(10, 2, 1), false),
        (frame(10, 2, 2), true),
    ] {
        let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[frame(9, 1, 1)]);
        hostile.send(Level::OneRtt, &[second]);
        if fine {
            hostile.assert_open();
        } else {
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x18));
        }
    }
}

// covers: R9000-5.1.2-03 R9000-5.1.2-06 R9000-19.15-07 R9000-19.15-08
#[test]
fn retire_prior_to_is_obeyed_and_late_ids_are_retired_at_once() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    hostile.send(Level::OneRtt, &[new(20, 20)]);
    let told = |frames: &[Frame]| {
        let mut told: Vec<u64> = frames
            .iter()
            .filter_map(|f| if let Frame::RetireConnectionId(f) = f { Some(f.sequence) } else { None })
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(told(&hostile.frames()), [0, 1, 2, 3]);
    hostile.send(Level::OneRtt, &[new(7, 0), new(8, 5)]);
    assert_eq!(told(&hostile.frames()), [7, 8]);
    hostile.send(Level::OneRtt, &[new(7, 0)]);
    hostile.assert_open();
}

/// CVE-2024-22189, CVE-2024-1410: each frame retires the one before, and nothing is ever acknowledged.
// covers: R9000-5.1.2-04
#[test]
fn a_flood_of_retirements_that_nobody_acknowledges_closes() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let mut sequence = 10;
        while hostile.victim().closed().is_none() {
            let frames: Vec<Frame> = (0..20).map(|n| new(sequence + n, sequence + n)).collect();
            hostile.send(Level::OneRtt, &frames);
            sequence += 20;
            assert!(sequence < 1_000);
        }
        hostile.assert_closed(Code::CONNECTION_ID_LIMIT_ERROR, Some(0x18));
    }
}

/// The window is as small as it gets, and so hardly anything leaves: what waits is bounded all the same.
// covers: R9000-5.1.2-04
#[test]
fn a_flood_of_retirements_while_the_window_is_collapsed_closes() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    hostile.send(
        Level::OneRtt,
        &[MaxStreams { dir: Dir::Uni, maximum: 1 }.into(), MaxData { maximum: 1 << 30 }.into()],
    );
    hostile.victim().connection.streams().write(id, bytes(1 << 20));
    hostile.send(Level::OneRtt, &[MaxStreamData { id, maximum: 1 << 30 }.into()]);
    let window = |hostile: &mut Hostile| hostile.victim().connection.stats().congestion_window;
    let before = window(&mut hostile);
    // All but the last probe is lost, over a long time.
    hostile.wait(5_000 * MS);
    let heard = hostile.heard.len();
    while hostile.heard.len() == heard {
        hostile.wait(5 * MS);
    }
    let last = hostile.heard.iter().map(|packet| packet.pn).max().unwrap();
    hostile.send(Level::OneRtt, &[ack(&[last..=last])]);
    let after = window(&mut hostile);
    assert!(after < before / 3, "{before} {after}");
    hostile.assert_open();
    let mut sequence = 10;
    while hostile.victim().closed().is_none() {
        hostile.send(Level::OneRtt, &[new(sequence, sequence)]);
        sequence += 1;
        let waiting = hostile.victim().connection.remote_cids.retiring();
        assert!(waiting <= 65 && sequence < 200, "{waiting}");
    }
    hostile.assert_closed(Code::CONNECTION_ID_LIMIT_ERROR, Some(0x18));
}

/// The same at a speed that the answers keep up with is a waste of time and no harm.
#[test]
fn retirements_that_are_acknowledged_may_go_on() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    for sequence in 10..2_000 {
        hostile.send(Level::OneRtt, &[new(sequence, sequence)]);
        acknowledge(&mut hostile);
        hostile.wait(30 * MS);
    }
    hostile.assert_open();
    let tokens = |add: bool, routes: &[RouteChange]| {
        routes
            .iter()
            .filter(|route| match route {
                RouteChange::AddResetToken(..) => add,
                RouteChange::RemoveResetToken(..) => !add,
                _ => false,
            })
            .count()
    };
    let routes = &hostile.victim().routes;
    assert_eq!(tokens(true, routes), tokens(false, routes) + 1, "one token is routed at a time");
}

// covers: R9000-19.16-01
#[test]
fn retiring_what_was_never_issued_is_a_violation() {
    for side in [Side::Client, Side::Server] {
        for sequence in [4, 5, 1 << 40, (1 << 62) - 1] {
            let mut hostile = Hostile::new(side, Stage::Confirmed);
            hostile.send(Level::OneRtt, &[retire(sequence)]);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x19));
        }
        // Made, but not sent: the peer cannot know it.
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[retire(1), retire(2), retire(3), retire(4)]);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x19));
    }
}

// covers: R9000-19.16-02
#[test]
fn retiring_the_id_of_the_packet_itself_is_a_violation() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[retire(0)]);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x19));
    }
}

/// The peer retires as fast as it is given new ones, for as long as it likes.
// covers: R9000-5.1.1-03 R9000-5.1.1-04 R9000-5.1.1-06
#[test]
fn a_churn_of_ids_stays_bounded() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut retired = 0;
    for _ in 0..300 {
        let frames: Vec<Frame> = (1..4).map(|n| retire(retired + n)).collect();
        retired += 3;
        hostile.send(Level::OneRtt, &frames);
        hostile.assert_open();
        let issued = acknowledge(&mut hostile);
        assert_eq!(issued.iter().filter(|f| matches!(f, Frame::NewConnectionId(_))).count(), 3);
        hostile.wait(30 * MS);
    }
    let routed = |routes: &[RouteChange]| {
        let added = routes.iter().filter(|r| matches!(r, RouteChange::AddCid(_))).count();
        added - routes.iter().filter(|r| matches!(r, RouteChange::RemoveCid(_))).count()
    };
    assert!(routed(&hostile.victim().routes) <= 40);
}

/// While nothing may be sent, guessed numbers do not pile up.
#[test]
fn ids_that_were_not_announced_cannot_be_retired_in_advance() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    // One packet with many: the first three are known, those that take their place are not.
    let frames: Vec<Frame> = (1..300).map(retire).collect();
    hostile.send(Level::OneRtt, &frames);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x19));
    assert!(hostile.victim().routes.len() < 20);
}

// covers: R9000-5.1.1-02
#[test]
fn every_id_that_was_issued_leads_to_the_connection_until_it_is_retired() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let ids: Vec<ConnectionId> = hostile
            .victim()
            .routes
            .iter()
            .filter_map(|route| if let RouteChange::AddCid(id) = route { Some(*id) } else { None })
            .collect();
        assert!(ids.len() >= 4, "{side:?}: {ids:?}");
        let ping = super::encode(&[Frame::Ping, Frame::Padding(20)]);
        for round in 0..3 {
            for id in &ids {
                hostile.header.dcid = Some(*id);
                let before = hostile.victim().connection.stats().packets_received;
                let packet = hostile.packet(Level::OneRtt, &ping);
                hostile.deliver(packet);
                let received = hostile.victim().connection.stats().packets_received;
                assert_eq!(received, before + 1, "{side:?} {round} {id:?}");
            }
            hostile.wait(1_000 * MS);
        }
        hostile.assert_open();
    }
}

// covers: R9000-19.15-02 R9000-19.15-03 R9000-19.16-03
#[test]
fn where_ids_are_empty_none_are_issued_and_none_retired() {
    for side in [Side::Client, Side::Server] {
        // The victim sends to an empty ID.
        let cid_len = if side.is_client() { [8, 0] } else { [0, 8] };
        let mut hostile = Hostile::with(Setup { cid_len, ..Setup::default() }, side, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[new(1, 0)]);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x18));
        // The victim has an empty one itself.
        let cid_len = if side.is_client() { [0, 8] } else { [8, 0] };
        for sequence in [0, 1, 2] {
            let mut hostile = Hostile::with(Setup { cid_len, ..Setup::default() }, side, Stage::Confirmed);
            assert_eq!(hostile.victim().connection.frames_sent().of(0x18), 0);
            hostile.send(Level::OneRtt, &[retire(sequence)]);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x19));
        }
    }
}

/// New IDs that tell the peer to retire the old ones; with them the connection goes on.
// covers: R9000-5.1.1-06 R9000-5.1.2-03 R9000-5.1.2-07
#[test]
fn a_rotation_leaves_no_old_id_in_use() {
    for rounds in 1..4 {
        let mut pair = Pair::new(Setup::default());
        pair.run_for(200 * MS);
        let first = pair.client.connection.paths.active.remote_cid.id;
        let issued = pair.server().connection.frames_sent().of(0x18);
        for _ in 0..rounds {
            pair.server().connection.rotate_connection_ids();
            pair.client.connection.rotate_connection_ids();
        }
        pair.run_for(500 * MS);
        assert_ne!(pair.client.connection.paths.active.remote_cid.id, first);
        let rotations = 1 + u64::from(rounds > 1);
        assert_eq!(pair.server().connection.frames_sent().of(0x18), issued + 4 * rotations);
        let (id, data) = (StreamId::new(Side::Client, Dir::Bi, 0), bytes(100_000));
        pair.client.connection.streams().write(id, data.clone());
        pair.client.connection.streams().finish(id);
        pair.run_for(2_000 * MS);
        assert_eq!(pair.client.closed(), None);
        assert_eq!(pair.server().closed(), None);
        assert!(pair.server().received[0].1 == data);
        let routed = |routes: &[RouteChange]| {
            let added = routes.iter().filter(|route| matches!(route, RouteChange::AddCid(_))).count();
            added - routes.iter().filter(|route| matches!(route, RouteChange::RemoveCid(_))).count()
        };
        assert_eq!((routed(&pair.client.routes), routed(&pair.server().routes)), (4, 4));
    }
}

/// Announcements and retirements get lost like everything else.
// covers: R9000-5.1.1-02 R9000-5.1.2-07
#[test]
fn rotations_survive_losses() {
    for percent in [5, 10, 20] {
        let mut pair = Pair::new(Setup::default());
        pair.run_for(200 * MS);
        let [mut there, mut back] = [1, 2].map(|n| Rng::from_u64(100 * n + percent));
        pair.to_server = Box::new(move |_, _| there.below(100) >= percent);
        pair.to_client = Box::new(move |_, _| back.below(100) >= percent);
        let mut used = Vec::new();
        for n in 0..10 {
            pair.server().connection.rotate_connection_ids();
            pair.client.connection.rotate_connection_ids();
            let id = StreamId::new(Side::Client, Dir::Bi, n);
            pair.client.connection.streams().write(id, bytes(5_000));
            pair.client.connection.streams().finish(id);
            pair.run_for(10_000 * MS);
            used.push(pair.client.connection.paths.active.remote_cid.id);
        }
        assert_eq!(pair.client.closed(), None);
        assert_eq!(pair.server().closed(), None);
        assert!(pair.server().received.iter().all(|(_, data, end)| data.len() == 5_000 && *end));
        used.dedup();
        assert_eq!(used.len(), 10, "each rotation came to its end, losing {percent} %");
    }
}

/// The peer hears of an ID that leads elsewhere: only an end is honest.
#[test]
fn an_id_of_the_handshake_that_is_taken_ends_the_connection() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let (now, cid) = (hostile.pair.now, hostile.victim().connection.local_cids.initial());
    hostile.victim().connection.on_connection_id_taken(now, &cid);
    hostile.listen();
    hostile.assert_closed(Code::INTERNAL_ERROR, None);
}
