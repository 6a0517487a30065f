//! ACK_FREQUENCY and IMMEDIATE_ACK of a peer that may not send them, or asks for too much.

use super::tolerated::acks;
use super::{Hostile, MS, Stage, encode, varint};
use crate::config::TransportConfig;
use crate::packet::{Level, Side, TransportErrorCode as Code};
use crate::proto::tests::pair::Setup;
use crate::wire::draft;
use crate::wire::frame::{AckFrequency, EncodeFrame as _, Frame};

fn request(sequence: u64, eliciting_threshold: u64, max_ack_delay: u64) -> Frame {
    AckFrequency { sequence, eliciting_threshold, max_ack_delay, reordering_threshold: 3 }.into()
}

/// How many of so many PINGs, one by one, are answered at once.
fn answers(hostile: &mut Hostile, pings: u32) -> usize {
    hostile.wait(500 * MS);
    hostile.heard.clear();
    for _ in 0..pings {
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    let answers = acks(&hostile.heard).count();
    hostile.wait(500 * MS);
    answers
}

// covers: D-ack-frequency-4-04
#[test]
fn delays_out_of_bounds_are_a_violation() {
    for side in [Side::Client, Side::Server] {
        for delay in [0, 999, (1 << 14) * 1_000, (1 << 62) - 1] {
            let mut hostile = Hostile::new(side, Stage::Confirmed);
            hostile.send(Level::OneRtt, &[request(0, 10, delay)]);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(draft::ACK_FREQUENCY));
        }
        for delay in [1_000, ((1 << 14) - 1) * 1_000] {
            let mut hostile = Hostile::new(side, Stage::Confirmed);
            hostile.send(Level::OneRtt, &[request(0, (1 << 62) - 1, delay)]);
            hostile.assert_open();
        }
    }
}

/// The bound is what this end told, whatever it is.
// covers: D-ack-frequency-3-01
#[test]
fn what_is_told_is_what_counts() {
    for (min, max, told) in [(5, 25, 5), (30, 25, 25), (1, 0, 0)] {
        let mut setup = Setup::default();
        let config = TransportConfig::builder().min_ack_delay(Some(min * MS)).max_ack_delay(max * MS);
        setup.server = config.mtu_upper_bound(None).build().unwrap();
        let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
        let told = told * 1_000;
        hostile.send(Level::OneRtt, &[request(0, 10, told)]);
        hostile.assert_open();
        if told > 0 {
            hostile.send(Level::OneRtt, &[request(1, 10, told - 1)]);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(draft::ACK_FREQUENCY));
        }
    }
}

#[test]
fn frames_that_were_not_offered_do_not_exist() {
    for side in [Side::Client, Side::Server] {
        for frame in [request(0, 10, 20_000), Frame::ImmediateAck] {
            let mut setup = Setup::default();
            let config = TransportConfig::builder().min_ack_delay(None).mtu_upper_bound(None);
            let config = config.build().unwrap();
            (setup.client, setup.server) = (config.clone(), config);
            let mut hostile = Hostile::with(setup, side, Stage::Confirmed);
            hostile.send(Level::OneRtt, std::slice::from_ref(&frame));
            hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(frame.frame_type()));
        }
    }
}

// covers: D-ack-frequency-4-05 D-ack-frequency-4-02
#[test]
fn old_requests_are_ignored() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    assert_eq!(answers(&mut hostile, 20), 10);
    hostile.send(Level::OneRtt, &[request(7, 9, 20_000)]);
    assert_eq!(answers(&mut hostile, 20), 2);
    // Even what would be wrong if it were new.
    for old in [request(7, 0, 20_000), request(6, 0, 20_000), request(0, 0, 0)] {
        hostile.send(Level::OneRtt, &[old]);
        hostile.assert_open();
        assert_eq!(answers(&mut hostile, 20), 2);
    }
    hostile.send(Level::OneRtt, &[request(8, 0, 20_000)]);
    assert_eq!(answers(&mut hostile, 20), 20);
    hostile.send(Level::OneRtt, &[request((1 << 62) - 1, 4, 20_000)]);
    assert_eq!(answers(&mut hostile, 20), 4);
}

// covers: D-ack-frequency-4-03
#[test]
fn the_delay_asked_for_is_kept() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    for (sequence, delay) in [(0, 5), (1, 300), (2, 60)] {
        hostile.send(Level::OneRtt, &[request(sequence, 100, u64::from(delay) * 1_000)]);
        hostile.wait(500 * MS);
        hostile.heard.clear();
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        hostile.wait((delay - 2) * MS);
        assert_eq!(acks(&hostile.heard).count(), 0, "{delay}");
        hostile.wait(2 * MS);
        assert_eq!(acks(&hostile.heard).count(), 1, "{delay}");
    }
}

// covers: D-ack-frequency-5-01
#[test]
fn whoever_is_in_a_hurry_is_answered_at_once_and_once_for_a_batch() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    hostile.send(Level::OneRtt, &[request(0, 1_000, 200_000)]);
    assert_eq!(answers(&mut hostile, 10), 0);
    hostile.heard.clear();
    hostile.send(Level::OneRtt, &[Frame::ImmediateAck]);
    let pn = hostile.next[2] - 1;
    assert!(acks(&hostile.heard).all(|ack| ack.largest == pn) && acks(&hostile.heard).count() == 1);
    hostile.heard.clear();
    let many: Vec<_> = (0..60)
        .map(|_| hostile.packet(Level::OneRtt, &encode(&[const { Frame::ImmediateAck }; 20])))
        .collect();
    hostile.deliver_burst(&many);
    assert_eq!(acks(&hostile.heard).count(), 1);
    hostile.assert_open();
}

/// A delay that the peer of this end may not name in its transport parameters.
// covers: D-ack-frequency-3-02
#[test]
fn a_least_delay_above_the_longest_ends_the_handshake() {
    for side in [Side::Client, Side::Server] {
        let too_long = |mut params: Vec<u8>| {
            params.extend(varint(draft::MIN_ACK_DELAY));
            params.push(4);
            params.extend(varint(26_000));
            params
        };
        let mut setup = Setup::default();
        let without = TransportConfig::builder().min_ack_delay(None).build().unwrap();
        match side {
            Side::Client => (setup.server, setup.server_params) = (without, too_long),
            Side::Server => (setup.client, setup.client_params) = (without, too_long),
        }
        let mut pair = crate::proto::tests::pair::Pair::new(setup);
        pair.run_for(200 * MS);
        let victim = if side == Side::Client { &pair.client } else { pair.server.as_ref().unwrap() };
        let error = victim.closed().expect("closed").to_string();
        assert!(error.contains("0xff04de1b is above max_ack_delay"), "{error}");
    }
}

/// Memory and timers of an end whose peer asks for the longest delay there is.
#[test]
fn the_most_patient_of_peers_costs_nothing() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let patient = AckFrequency {
        sequence: 0,
        eliciting_threshold: (1 << 62) - 1,
        max_ack_delay: 16_383_000,
        reordering_threshold: 0,
    };
    hostile.send(Level::OneRtt, &[patient.into()]);
    hostile.wait(17_000 * MS);
    for gap in 0..5_000_u64 {
        hostile.next[2] += gap % 3;
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    hostile.assert_open();
    // With so many gaps it is told all the same, before they are forgotten.
    assert!(acks(&hostile.heard).count() > 50);
    assert!(acks(&hostile.heard).all(|ack| ack.ranges.iter().count() <= 64));
}
