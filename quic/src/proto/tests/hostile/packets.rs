//! Packets that are sealed properly and yet not as they should be: empty, short, doubled, in the wrong place.

use bytes::Bytes;

use super::frames::processes;
use super::{Hostile, MS, Overrides, Stage, stages};
use crate::config::TransportConfig;
use crate::packet::{
    ConnectionId, Dir, Level, MIN_DATAGRAM_SIZE, Side, StreamId, TransportErrorCode as Code,
};
use crate::proto::tests::pair::{Setup, tuple};
use crate::wire::frame::{Frame, PathChallenge, Stream};

const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

/// A payload that closes the connection of whoever processes it.
fn poison() -> Vec<u8> {
    let mut payload = vec![0x3f];
    payload.resize(MIN_DATAGRAM_SIZE, 0);
    payload
}

/// All victims, stages and levels where packets are processed.
fn cases() -> impl Iterator<Item = (Side, Stage, Level)> {
    [Side::Client, Side::Server].into_iter().flat_map(|side| {
        stages(side).iter().flat_map(move |&stage| {
            LEVELS
                .into_iter()
                .filter(move |&level| processes(side, stage, level))
                .map(move |l| (side, stage, l))
        })
    })
}

fn cid(byte: u8) -> ConnectionId {
    ConnectionId::try_from(&[byte; 8][..]).unwrap()
}

// covers: R9000-11.1-01
#[test]
fn the_poison_works() {
    for (side, stage, level) in cases() {
        let mut hostile = Hostile::new(side, stage);
        let packet = hostile.packet(level, &poison());
        hostile.deliver(packet);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
    }
}

// covers: R9000-12.4-02
#[test]
fn a_packet_without_frames_is_a_violation() {
    for (side, stage, level) in cases() {
        let mut hostile = Hostile::new(side, stage);
        let mut datagram = hostile.packet(level, &[]);
        if level != Level::OneRtt {
            // What follows the packet belongs to nobody.
            datagram.resize(MIN_DATAGRAM_SIZE, 0);
        }
        hostile.deliver(datagram);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
    }
}

// covers: R9000-17.2-09 R9000-17.3.1-03
#[test]
fn reserved_bits_are_a_violation_once_the_packet_is_genuine() {
    for (side, stage, level) in cases() {
        let bits: [u8; 3] = if level == Level::OneRtt { [0x08, 0x10, 0x18] } else { [0x04, 0x08, 0x0c] };
        for first_byte in bits {
            let mut hostile = Hostile::new(side, stage);
            hostile.header.first_byte = first_byte;
            let mut forged = hostile.packet(level, &[0; MIN_DATAGRAM_SIZE]);
            *forged.last_mut().unwrap() ^= 1;
            hostile.deliver(forged);
            hostile.assert_open();
            let packet = hostile.packet(level, &[0; MIN_DATAGRAM_SIZE]);
            hostile.deliver(packet);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
        }
    }
}

// covers: R9000-12.3-04 R9000-12.3-05
#[test]
fn a_packet_number_counts_once() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let challenge = Frame::from(PathChallenge { data: [7; 8] });
        let packet = hostile.packet(Level::OneRtt, &super::encode(&[challenge]));
        for _ in 0..5 {
            hostile.deliver(packet.clone());
        }
        let answers = hostile.frames().iter().filter(|f| matches!(f, Frame::PathResponse(_))).count();
        assert_eq!(answers, 1);
        // Another content under the same number, and under numbers that are long past.
        let pn = hostile.next[2] - 1;
        let packet = hostile.packet_numbered(Level::OneRtt, pn, &poison());
        hostile.deliver(packet);
        let packet = hostile.packet_numbered(Level::OneRtt, 0, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
        let before = hostile.victim().connection.stats().packets_dropped;
        assert!(before >= 6);
    }
}

#[test]
fn packet_numbers_with_many_gaps_stay_bounded_and_old_ones_are_refused() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    for n in 0..2_000 {
        let packet = hostile.packet_numbered(Level::OneRtt, 1_000 + 3 * n, &[1]);
        hostile.deliver(packet);
    }
    hostile.assert_open();
    let ranges = hostile.victim().connection.spaces[2].received.ranges().count();
    assert!(ranges <= 64, "{ranges}");
    let packet = hostile.packet_numbered(Level::OneRtt, 1_001, &poison());
    hostile.deliver(packet);
    hostile.assert_open();
}

// covers: R9000-14.1-03
// covers: R9000-14-04
#[test]
fn every_initial_in_a_short_datagram_is_dropped_by_a_server() {
    for len in [1, 100, 1_000, MIN_DATAGRAM_SIZE - 46] {
        let mut hostile = Hostile::new(Side::Server, Stage::First);
        let packet = hostile.packet(Level::Initial, &poison()[..len]);
        if packet.len() >= MIN_DATAGRAM_SIZE {
            continue;
        }
        hostile.deliver(packet);
        hostile.assert_open();
        // Coalesced with a Handshake packet it is as short as before.
        let mut datagram = hostile.packet(Level::Initial, &poison()[..10]);
        datagram.extend(hostile.packet(Level::Handshake, &[1; 10]));
        hostile.deliver(datagram);
        hostile.assert_open();
        assert!(hostile.victim().connection.paths.active.validated, "the Handshake packet counts");
    }
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let packet = hostile.packet(Level::Initial, &poison());
    hostile.deliver(packet);
    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
}

// covers: R9000-14-04
#[test]
fn datagrams_shorter_than_they_should_be_close_nothing() {
    for victim in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(victim, Stage::First);
        let packet = hostile.packet(Level::Initial, &[1, 0, 0, 0]);
        hostile.deliver(packet);
        hostile.assert_open();

        let mut hostile = Hostile::new(victim, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
        for len in [0, 1, 20, 40] {
            hostile.deliver(vec![0x40; len]);
        }
        hostile.assert_open();
    }
}

// covers: R9000-12.2-04 R9000-12.2-05
#[test]
fn coalesced_packets_to_another_id_are_dropped() {
    for (side, stage) in [(Side::Client, Stage::ServerHello), (Side::Server, Stage::First)] {
        let mut hostile = Hostile::new(side, stage);
        let mut datagram = hostile.packet(Level::Initial, &[1; 1_100]);
        hostile.header.dcid = Some(cid(0x77));
        datagram.extend(hostile.packet(Level::Handshake, &poison()));
        hostile.deliver(datagram);
        hostile.assert_open();
        // The first one decides, known or not.
        let mut datagram = hostile.packet(Level::Handshake, &[1; 1_100]);
        hostile.header = Overrides::default();
        datagram.extend(hostile.packet(Level::Handshake, &poison()));
        hostile.deliver(datagram);
        hostile.assert_open();
        let mut datagram = hostile.packet(Level::Initial, &[1; 1_100]);
        datagram.extend(hostile.packet(Level::Handshake, &poison()));
        hostile.deliver(datagram);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
    }
}

// covers: R9000-7.2-03 R9000-7.2-06
#[test]
fn another_source_id_later_on_is_dropped() {
    for (side, stage, level) in cases().filter(|case| case.2 != Level::OneRtt) {
        let mut hostile = Hostile::new(side, stage);
        if (side, stage) == (Side::Client, Stage::First) {
            // The first packet of the server fixes it.
            hostile.send(Level::Initial, &[Frame::Ping]);
        }
        for scid in [cid(0x66), ConnectionId::EMPTY] {
            hostile.header.scid = Some(scid);
            let packet = hostile.packet(level, &poison());
            hostile.deliver(packet);
            hostile.assert_open();
        }
        let current = hostile.victim().connection.paths.active.remote_cid.id;
        assert_ne!(current, cid(0x66));
    }
}

#[test]
fn packets_to_an_id_never_issued_are_dropped() {
    for (side, stage, level) in cases().filter(|case| case.2 != Level::OneRtt) {
        let mut hostile = Hostile::new(side, stage);
        hostile.header.dcid = Some(cid(0x55));
        let packet = hostile.packet(level, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
    }
    // The destination ID of the first Initial is good for Initials only.
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    hostile.header.dcid = Some(hostile.pair.client.connection.handshake.original_dcid);
    let packet = hostile.packet(Level::Handshake, &poison());
    hostile.deliver(packet);
    hostile.assert_open();
    let packet = hostile.packet(Level::Initial, &poison());
    hostile.deliver(packet);
    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
}

// covers: R9000-17.2.2-01
#[test]
fn an_initial_with_a_token_from_a_server_is_dropped() {
    for stage in [Stage::First, Stage::ServerHello] {
        let mut hostile = Hostile::new(Side::Client, stage);
        hostile.header.token = vec![1; 20];
        let packet = hostile.packet(Level::Initial, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
    }
}

// covers: R9001-4.9.1-01 R9001-4.9.2-01
#[test]
fn packets_of_levels_that_are_over_are_dropped() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let packet = hostile.packet(Level::Initial, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
    }
    // The client has completed, and so has sent a Handshake packet.
    let mut hostile = Hostile::new(Side::Client, Stage::Complete);
    let packet = hostile.packet(Level::Initial, &poison());
    let late = hostile.packet(Level::Handshake, &poison());
    hostile.deliver(packet);
    hostile.assert_open();
    hostile.send(Level::OneRtt, &[Frame::HandshakeDone]);
    assert!(hostile.victim().confirmed());
    hostile.deliver(late);
    hostile.assert_open();

    // A server takes the first Handshake packet for the end of the Initial level.
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    hostile.send(Level::Handshake, &[Frame::Ping]);
    let packet = hostile.packet(Level::Initial, &poison());
    hostile.deliver(packet);
    hostile.assert_open();
    let late = hostile.packet(Level::Handshake, &poison());
    let finished = hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect::<Vec<_>>();
    finished.into_iter().for_each(|datagram| hostile.deliver(datagram));
    assert!(hostile.victim().confirmed());
    hostile.deliver(late);
    hostile.assert_open();
}

// covers: R9001-5.7-01 R9001-5.7-02
#[test]
fn application_data_waits_until_the_handshake_is_complete() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    let stream = Stream { id, offset: 0, fin: true, data: Bytes::from_static(b"early") };
    hostile.send(Level::OneRtt, &[stream.into()]);
    let bad = hostile.packet(Level::OneRtt, &poison());
    hostile.deliver(bad);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().packets_received, 1);
    let finished = hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect::<Vec<_>>();
    finished.into_iter().for_each(|datagram| hostile.deliver(datagram));
    assert!(hostile.victim().connected());
    // Kept, and processed now.
    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
}

#[test]
fn packets_that_wait_for_keys_are_few() {
    let mut hostile = Hostile::new(Side::Client, Stage::First);
    for _ in 0..1_000 {
        let (one, two) =
            (hostile.packet(Level::Handshake, &poison()), hostile.packet(Level::OneRtt, &poison()));
        hostile.deliver(one);
        hostile.deliver(two);
    }
    hostile.assert_open();
    assert!(hostile.victim().connection.stats().packets_dropped >= 1_980);
}

// covers: R9001-5.6-05
#[test]
fn early_data_without_keys_is_dropped() {
    for (side, stage) in
        [(Side::Server, Stage::First), (Side::Client, Stage::First), (Side::Client, Stage::Complete)]
    {
        let mut hostile = Hostile::new(side, stage);
        let pn = hostile.next[2];
        let (packet, _) = hostile.plain(Level::ZeroRtt, pn, false, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
    }
}

// covers: R9000-17.2-01 R9000-17.3.1-01
#[test]
fn the_quic_bit_counts_unless_we_said_that_it_does_not() {
    for grease in [true, false] {
        for (side, stage, level) in cases() {
            let config = TransportConfig::builder().grease_quic_bit(grease).build().unwrap();
            let setup = Setup { client: config.clone(), server: config, ..Setup::default() };
            let mut hostile = Hostile::with(setup, side, stage);
            hostile.header.first_byte_clear = 0x40;
            let packet = hostile.packet(level, &poison());
            hostile.deliver(packet);
            if grease {
                hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
            } else {
                hostile.assert_open();
            }
        }
    }
}

// covers: R9000-9-05
#[test]
fn packets_from_elsewhere_before_the_handshake_is_confirmed_are_dropped() {
    for (side, stage, level) in cases().filter(|case| case.1 != Stage::Confirmed) {
        let mut hostile = Hostile::new(side, stage);
        hostile.path = tuple(6666);
        let packet = hostile.packet(level, &poison());
        hostile.deliver(packet);
        hostile.assert_open();
    }
    // Servers do not move without being asked to, and so clients take packets from nowhere else.
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    hostile.path = tuple(6666);
    let packet = hostile.packet(Level::OneRtt, &poison());
    hostile.deliver(packet);
    hostile.assert_open();
    hostile.wait(100 * MS);
    hostile.assert_open();
}

/// A whole burst of bad packets closes once, and with the error of the first one.
#[test]
fn the_first_error_of_a_burst_counts() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut datagrams = vec![hostile.packet(Level::OneRtt, &[1; 1_200])];
    datagrams.push(hostile.packet(Level::OneRtt, &[&[0x1e][..], &[0; 1_199]].concat()));
    datagrams.push(hostile.packet(Level::OneRtt, &[&[0x3f][..], &[0; 1_199]].concat()));
    hostile.deliver_burst(&datagrams);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x1e));
}
