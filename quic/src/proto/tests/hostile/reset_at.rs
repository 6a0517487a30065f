//! What is forbidden about resets that leave the beginning of a stream (draft-ietf-quic-reliable-stream-reset-10).

use super::streams::{attack, attack_with, id, reset, stream};
use super::*;
use crate::config::TransportConfig;
use crate::packet::{Dir, StreamId};
use crate::wire::frame::ResetStreamAt;

fn reset_at(id: StreamId, final_size: u64, reliable_size: u64) -> Frame {
    ResetStreamAt { id, error_code: VarInt::from_u32(1), final_size, reliable_size }.into()
}

fn with_code(id: StreamId, code: u32, final_size: u64, reliable_size: u64) -> Frame {
    ResetStreamAt { id, error_code: VarInt::from_u32(code), final_size, reliable_size }.into()
}

// covers: D-reset-stream-at-4-01
#[test]
fn a_reliable_size_above_the_final_size() {
    for victim in [Side::Client, Side::Server] {
        let uni = id(victim.peer(), Dir::Uni, 0);
        attack(victim, &[reset_at(uni, 10, 11)], Code::FRAME_ENCODING_ERROR);
        attack(victim, &[stream(uni, 0, true, 10), reset_at(uni, 10, 1 << 61)], Code::FRAME_ENCODING_ERROR);
    }
}

// covers: D-reset-stream-at-4-03
#[test]
fn a_final_size_beyond_the_credit() {
    let config =
        TransportConfig::builder().stream_receive_window(10_000).receive_window(15_000).build().unwrap();
    for victim in [Side::Client, Side::Server] {
        let [one, two] = [0, 1].map(|index| id(victim.peer(), Dir::Uni, index));
        let over = |frames: &[Frame]| attack_with(config.clone(), victim, frames, Code::FLOW_CONTROL_ERROR);
        over(&[reset_at(one, 10_001, 0)]);
        over(&[reset_at(one, (1 << 62) - 1, 10_000)]);
        over(&[reset_at(one, 10_000, 1), reset_at(two, 5_001, 0)]);
        over(&[stream(one, 0, false, 10), reset_at(one, 10_000, 20), reset_at(two, 5_001, 5_001)]);
    }
}

// covers: D-reset-stream-at-5.2-06
#[test]
fn a_final_size_or_a_code_that_changes() {
    for victim in [Side::Client, Side::Server] {
        let bi = id(victim.peer(), Dir::Bi, 0);
        for frames in [
            [reset_at(bi, 10, 5), reset_at(bi, 11, 5)],
            [reset_at(bi, 10, 5), reset_at(bi, 9, 5)],
            [reset_at(bi, 10, 5), reset(bi, 11)],
            [reset(bi, 10), reset_at(bi, 11, 0)],
            [reset_at(bi, 10, 5), stream(bi, 0, true, 9)],
            [reset_at(bi, 10, 5), stream(bi, 5, false, 6)],
            [stream(bi, 0, true, 10), reset_at(bi, 11, 5)],
            [stream(bi, 20, false, 10), reset_at(bi, 29, 5)],
        ] {
            attack(victim, &frames, Code::FINAL_SIZE_ERROR);
        }
        for frames in [
            [reset_at(bi, 10, 5), with_code(bi, 2, 10, 5)],
            [reset_at(bi, 10, 5), with_code(bi, 2, 10, 3)],
            [with_code(bi, 2, 10, 5), reset(bi, 10)],
            [reset(bi, 10), with_code(bi, 2, 10, 0)],
        ] {
            attack(victim, &frames, Code::STREAM_STATE_ERROR);
        }
    }
}

#[test]
fn streams_that_are_not_the_peers_to_reset() {
    for victim in [Side::Client, Side::Server] {
        let peer = victim.peer();
        attack(victim, &[reset_at(id(victim, Dir::Uni, 0), 0, 0)], Code::STREAM_STATE_ERROR);
        attack(victim, &[reset_at(id(victim, Dir::Bi, 0), 0, 0)], Code::STREAM_STATE_ERROR);
        attack(victim, &[reset_at(id(peer, Dir::Bi, 100), 0, 0)], Code::STREAM_LIMIT_ERROR);
    }
}

// covers: D-reset-stream-at-4-04
#[test]
fn it_belongs_into_the_application_data_space() {
    for victim in [Side::Client, Side::Server] {
        for (stage, level) in [(Stage::First, Level::Initial), (Stage::Complete, Level::Handshake)] {
            if !stages(victim).contains(&stage) {
                continue;
            }
            let mut hostile = Hostile::new(victim, stage);
            let frame = reset_at(id(victim.peer(), Dir::Uni, 0), 0, 0);
            hostile.send(level, std::slice::from_ref(&frame));
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(frame.frame_type()));
        }
    }
}

#[test]
fn it_is_unknown_to_an_end_that_did_not_offer_it() {
    let config = TransportConfig::builder().reset_stream_at(false).build().unwrap();
    for victim in [Side::Client, Side::Server] {
        let frame = reset_at(id(victim.peer(), Dir::Uni, 0), 0, 0);
        attack_with(config.clone(), victim, &[frame], Code::FRAME_ENCODING_ERROR);
    }
}

// covers: D-reset-stream-at-5.2-04
#[test]
fn a_promise_that_grows_is_ignored() {
    for victim in [Side::Client, Side::Server] {
        let uni = id(victim.peer(), Dir::Uni, 0);
        let mut hostile = Hostile::new(victim, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[stream(uni, 0, false, 10), reset_at(uni, 100, 20)]);
        hostile.send(Level::OneRtt, &[reset_at(uni, 100, 30), stream(uni, 10, false, 15)]);
        hostile.send(Level::OneRtt, &[reset_at(uni, 100, 40)]);
        hostile.assert_open();
        let received = &hostile.victim().received;
        assert!(
            matches!(&received[..], [(id, data, false)] if *id == uni && data.len() == 20),
            "{received:?}"
        );
        assert!(hostile.victim().connection.streams().is_empty());
    }
}

/// Resets that promise what never comes: their streams stay, within the limit, and so does their data.
#[test]
fn promises_that_are_not_kept_cost_no_more_than_streams_do() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    for index in 0..100 {
        let uni = id(Side::Client, Dir::Uni, index);
        hostile.send(Level::OneRtt, &[stream(uni, 1, false, 10), reset_at(uni, 1_000, 1_000)]);
        hostile.send(Level::OneRtt, &[stream(uni, 999, false, 1)]);
    }
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.streams().len(), 100);
    let over = stream(id(Side::Client, Dir::Uni, 100), 0, false, 1);
    hostile.send(Level::OneRtt, std::slice::from_ref(&over));
    hostile.assert_closed(Code::STREAM_LIMIT_ERROR, Some(over.frame_type()));
}
