//! What the RFC forbids on streams, end to end through a connection.

use bytes::Bytes;

use super::{Hostile, Stage};
use crate::config::TransportConfig;
use crate::packet::{Dir, Level, Side, StreamId, TransportErrorCode as Code};
use crate::proto::tests::pair::Setup;
use crate::wire::VarInt;
use crate::wire::frame::*;

pub(super) fn id(initiator: Side, dir: Dir, index: u64) -> StreamId {
    StreamId::new(initiator, dir, index)
}

pub(super) fn stream(id: StreamId, offset: u64, fin: bool, len: usize) -> Frame {
    Stream { id, offset, fin, data: Bytes::from(vec![7; len]) }.into()
}

pub(super) fn reset(id: StreamId, final_size: u64) -> Frame {
    ResetStream { id, error_code: VarInt::from_u32(1), final_size }.into()
}

fn stop(id: StreamId) -> Frame {
    StopSending { id, error_code: VarInt::from_u32(1) }.into()
}

fn credit(id: StreamId) -> Frame {
    MaxStreamData { id, maximum: 1 << 30 }.into()
}

fn blocked(id: StreamId) -> Frame {
    StreamDataBlocked { id, limit: 1 }.into()
}

/// Sends each frame in a packet of its own; the last one must close the connection.
#[track_caller]
pub(super) fn attack(victim: Side, frames: &[Frame], code: Code) {
    attack_with(TransportConfig::default(), victim, frames, code);
}

#[track_caller]
pub(super) fn attack_with(config: TransportConfig, victim: Side, frames: &[Frame], code: Code) {
    let setup = Setup { client: config.clone(), server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, victim, Stage::Confirmed);
    let (last, first) = frames.split_last().unwrap();
    for frame in first {
        hostile.send(Level::OneRtt, std::slice::from_ref(frame));
        hostile.assert_open();
    }
    hostile.send(Level::OneRtt, std::slice::from_ref(last));
    hostile.assert_closed(code, Some(last.frame_type()));
}

// covers: R9000-4.6-03 R9000-19.11-04
#[test]
fn streams_above_the_limit() {
    for victim in [Side::Client, Side::Server] {
        let peer = victim.peer();
        for index in [100, 101, 1 << 40, (1 << 60) - 1] {
            let (bi, uni) = (id(peer, Dir::Bi, index), id(peer, Dir::Uni, index));
            for frame in [
                stream(bi, 0, false, 1),
                stream(bi, 0, true, 0),
                reset(bi, 0),
                stop(bi),
                credit(bi),
                blocked(bi),
                stream(uni, 0, false, 1),
                reset(uni, 0),
                blocked(uni),
            ] {
                attack(victim, &[frame], Code::STREAM_LIMIT_ERROR);
            }
        }
        let mut hostile = Hostile::new(victim, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[stream(id(peer, Dir::Bi, 99), 0, false, 1)]);
        hostile.send(Level::OneRtt, &[reset(id(peer, Dir::Uni, 99), 0)]);
        hostile.assert_open();
    }
}

// covers: R9000-19.4-01 R9000-19.5-01 R9000-19.5-02 R9000-19.8-01 R9000-19.10-01 R9000-19.10-02 R9000-19.13-02
#[test]
fn frames_that_a_stream_has_no_part_for() {
    for victim in [Side::Client, Side::Server] {
        let peer = victim.peer();
        let (our_uni, our_bi) = (id(victim, Dir::Uni, 0), id(victim, Dir::Bi, 0));
        let their_uni = id(peer, Dir::Uni, 0);
        for frame in [
            // On a stream that only the victim sends on.
            stream(our_uni, 0, false, 1),
            reset(our_uni, 0),
            blocked(our_uni),
            // On a stream that the victim has not opened.
            stream(our_bi, 0, false, 1),
            reset(our_bi, 0),
            stop(our_bi),
            credit(our_bi),
            blocked(our_bi),
            stop(our_uni),
            credit(our_uni),
            // On a stream that only the peer sends on.
            stop(their_uni),
            credit(their_uni),
        ] {
            attack(victim, &[frame], Code::STREAM_STATE_ERROR);
        }
    }
}

// covers: R9000-4.5-03 R9000-4.5-04
#[test]
fn a_final_size_that_changes() {
    for victim in [Side::Client, Side::Server] {
        let bi = id(victim.peer(), Dir::Bi, 0);
        for frames in [
            [stream(bi, 0, true, 10), stream(bi, 10, false, 1)],
            [stream(bi, 0, true, 10), stream(bi, 5, true, 4)],
            [stream(bi, 0, true, 10), stream(bi, 11, true, 0)],
            [stream(bi, 20, false, 10), stream(bi, 0, true, 10)],
            [stream(bi, 20, false, 10), reset(bi, 29)],
            [stream(bi, 20, true, 10), reset(bi, 31)],
            [stream(bi, 20, true, 10), reset(bi, 29)],
            [reset(bi, 10), stream(bi, 10, false, 1)],
            [reset(bi, 10), stream(bi, 0, true, 9)],
            [reset(bi, 10), reset(bi, 11)],
        ] {
            attack(victim, &frames, Code::FINAL_SIZE_ERROR);
        }
        let mut hostile = Hostile::new(victim, Stage::Confirmed);
        for frame in [stream(bi, 5, true, 5), stream(bi, 0, false, 5), stream(bi, 0, true, 10), reset(bi, 10)]
        {
            hostile.send(Level::OneRtt, &[frame]);
        }
        hostile.assert_open();
    }
}

// covers: R9000-4.1-02 R9000-19.9-02 R9000-19.10-04
#[test]
fn more_data_than_credit() {
    let config =
        TransportConfig::builder().stream_receive_window(10_000).receive_window(25_000).build().unwrap();
    for victim in [Side::Client, Side::Server] {
        let streams: Vec<_> = (0..4).map(|n| id(victim.peer(), Dir::Uni, n)).collect();
        let bi = id(victim.peer(), Dir::Bi, 0);
        let over = |frames: &[Frame]| attack_with(config.clone(), victim, frames, Code::FLOW_CONTROL_ERROR);
        over(&[stream(bi, 9_999, false, 2)]);
        over(&[stream(bi, (1 << 62) - 100, false, 2)]);
        over(&[stream(streams[0], 10_001, true, 0)]);
        over(&[reset(streams[0], 10_001)]);
        over(&[reset(bi, (1 << 62) - 1)]);
        // Two windows and a half for all streams together; nothing is read, so no credit comes back.
        let filled = |n: usize| stream(streams[n], 9_990, false, 10);
        over(&[filled(0), filled(1), stream(streams[2], 4_990, false, 11)]);
        over(&[filled(0), filled(1), reset(streams[3], 5_001)]);
        over(&[filled(0), filled(1), stream(streams[2], 0, false, 1), stream(streams[3], 4_999, true, 1)]);
    }
}

/// Credit of a stream that ended by a reset comes back, and the flood goes on for as long as one likes, if it may.
#[test]
fn resets_leave_nothing_behind() {
    let config = TransportConfig::builder().max_resets_per_second(u32::MAX).build().unwrap();
    let setup = Setup { server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    let mut index = 0;
    for _ in 0..200 {
        for _ in 0..10 {
            let bi = id(Side::Client, Dir::Bi, index);
            hostile.send(Level::OneRtt, &[stream(bi, 0, false, 10), reset(bi, 1_000), stop(bi)]);
            index += 1;
        }
        // All packets so far arrived.
        let received: Vec<u64> = std::mem::take(&mut hostile.heard).iter().map(|packet| packet.pn).collect();
        for pn in received {
            hostile.send(Level::OneRtt, &[ack_of(pn)]);
        }
        hostile.assert_open();
    }
    let connection = &mut hostile.victim().connection;
    assert!(connection.streams().len() <= 100);
    assert_eq!((index, connection.stats().resets_received), (2_000, 2_000));
}

fn ack_of(pn: u64) -> Frame {
    super::ack(&[pn..=pn])
}

/// One-byte pieces with holes between them, on all streams at once.
// covers: R9000-21.7-01
#[test]
fn tiny_pieces_with_gaps_cost_bounded_memory() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    for round in 0..50 {
        for n in 0..20 {
            let uni = id(Side::Client, Dir::Uni, n);
            let frames: Vec<Frame> =
                (0..100).map(|k| stream(uni, 1 + 2 * (round * 100 + k), false, 1)).collect();
            hostile.send(Level::OneRtt, &frames);
        }
    }
    hostile.assert_open();
}
