//! What makes no sense and does no harm: it changes nothing, and is acknowledged like anything else.

use bytes::Bytes;

use super::{Heard, Hostile, MS, Stage, ack, encode};
use crate::packet::{
    Burst, Dir, Level, MIN_DATAGRAM_SIZE, PacketNumber, Side, StreamId, TransportErrorCode as Code,
};
use crate::proto::space::SentPackets;
use crate::proto::tests::pair::{bytes, tuple};
use crate::wire::frame::{
    Ack, Crypto, Frame, MaxData, MaxStreamData, MaxStreams, PathChallenge, PathResponse,
};

/// Data of streams that the victim sent since the last call, bytes.
fn stream_bytes(hostile: &mut Hostile) -> usize {
    let data = |frame| if let Frame::Stream(frame) = frame { frame.data.len() } else { 0 };
    hostile.frames().into_iter().map(data).sum()
}

pub(super) fn acks(heard: &[Heard]) -> impl Iterator<Item = &Ack> {
    let frames = heard.iter().flat_map(|packet| &packet.frames);
    frames.filter_map(|frame| if let Frame::Ack(ack) = frame { Some(ack) } else { None })
}

fn acknowledges(heard: &[Heard], pn: PacketNumber) -> bool {
    acks(heard).any(|ack| ack.ranges.iter().any(|range| range.contains(&pn)))
}

// covers: R9000-13.3-05
#[test]
fn limits_that_are_lower_than_before_change_nothing() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let id = StreamId::new(side, Dir::Uni, 300);
        let limits = |maximum: u64| -> [Frame; 4] {
            [
                MaxData { maximum }.into(),
                MaxStreamData { id, maximum }.into(),
                MaxStreams { dir: Dir::Uni, maximum }.into(),
                MaxStreams { dir: Dir::Bi, maximum }.into(),
            ]
        };
        let (high, low) = (1 << 40, 0);
        let (uni, others): (Vec<_>, Vec<_>) =
            limits(high).into_iter().partition(|frame| matches!(frame, Frame::MaxStreams(_)));
        hostile.send(Level::OneRtt, &uni);
        hostile.victim().connection.streams().write(id, Bytes::from_static(b"open"));
        hostile.listen();
        hostile.send(Level::OneRtt, &others);
        hostile.frames();
        hostile.send(Level::OneRtt, &limits(low));
        let pn = hostile.next[2] - 1;
        hostile.wait(30 * MS);
        assert!(acknowledges(&hostile.heard, pn));
        hostile.victim().connection.streams().write(id, bytes(5_000));
        let another = StreamId::new(side, Dir::Bi, 700);
        hostile.victim().connection.streams().write(another, bytes(1_000));
        hostile.listen();
        assert_eq!(stream_bytes(&mut hostile), 6_000);
        hostile.assert_open();
    }
}

// covers: R9000-7.5-03
#[test]
fn tls_data_that_is_dropped_is_acknowledged() {
    for (side, stage, level) in [
        (Side::Client, Stage::ServerHello, Level::Initial),
        (Side::Server, Stage::First, Level::Initial),
        (Side::Client, Stage::Complete, Level::Handshake),
        (Side::Client, Stage::Confirmed, Level::OneRtt),
    ] {
        let mut hostile = Hostile::new(side, stage);
        hostile.heard.clear();
        // Other bytes than those that were read: nobody looks at them.
        hostile.send(level, &[Crypto { offset: 0, data: Bytes::from_static(&[9; 20]) }.into()]);
        let pn = hostile.next[level.space().index()] - 1;
        hostile.wait(30 * MS);
        hostile.assert_open();
        assert!(acknowledges(&hostile.heard, pn), "{side:?} {stage:?} {level:?}");
    }
}

// covers: R9000-13.1-01
#[test]
fn what_is_forged_or_wrong_is_not_acknowledged() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let first = hostile.next[2];
        let mut forged = hostile.packet(Level::OneRtt, &encode(&[Frame::Ping]));
        *forged.last_mut().unwrap() ^= 1;
        hostile.deliver(forged);
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        let wrong = hostile.packet(Level::OneRtt, &[0x01, 0x3f]);
        hostile.deliver(wrong);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
        assert!(acknowledges(&hostile.heard, first + 1));
        assert!(!acknowledges(&hostile.heard, first) && !acknowledges(&hostile.heard, first + 2));
    }
}

/// What stands before the error has been processed: it cannot be taken back, and so ends the connection, also in packets that
/// anybody could have made.
// covers: R9000-5.2-01
#[test]
fn an_initial_that_is_wrong_in_the_middle_ends_the_connection() {
    for (side, stage) in [(Side::Client, Stage::ServerHello), (Side::Server, Stage::First)] {
        let mut hostile = Hostile::new(side, stage);
        let mut payload = encode(&[ack(&[0..=0]), Frame::Ping]);
        payload.extend([0x3f; 1_200]);
        let packet = hostile.packet(Level::Initial, &payload);
        hostile.deliver(packet);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x3f));
    }
}

// covers: R9000-13.2.1-06
#[test]
fn acknowledgments_alone_are_not_answered() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.wait(500 * MS);
        hostile.victim().connection.pending.ping = true;
        hostile.listen();
        let largest = hostile.heard.last().unwrap().pn;
        hostile.heard.clear();
        for _ in 0..2_000 {
            hostile.send(Level::OneRtt, &[ack(&[largest..=largest])]);
            hostile.wait(MS);
        }
        assert!(hostile.heard.len() < 10, "{}", hostile.heard.len());
        hostile.assert_open();
    }
}

/// The delay counts from when the datagram came in, as the driver tells it, to when the ACK leaves.
// covers: R9000-13.2.5-01
#[test]
fn the_delay_of_an_acknowledgment_is_our_own() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let scale = 1 << hostile.victim().connection.config.ack_delay_exponent;
    for waited in [0, 3, 20] {
        hostile.heard.clear();
        let (now, path) = (hostile.pair.now, hostile.path);
        for _ in 0..2 {
            let packet = hostile.packet(Level::OneRtt, &encode(&[Frame::Ping]));
            let burst = Burst::single(now - waited * MS, path, None, packet);
            hostile.victim().connection.handle_burst(now, burst);
        }
        hostile.listen();
        let delays: Vec<u64> = acks(&hostile.heard).map(|ack| ack.delay * scale).collect();
        assert_eq!(delays, [u64::from(waited) * 1_000]);
        hostile.wait(100 * MS);
    }
}

// covers: R9000-13.3-03 R9001-4.1.2-01
#[test]
fn handshake_done_is_repeated_until_it_is_acknowledged() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let finished: Vec<_> = hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect();
    finished.into_iter().for_each(|datagram| hostile.deliver(datagram));
    assert!(hostile.victim().confirmed());
    let told = |hostile: &mut Hostile| -> Option<PacketNumber> {
        let heard = std::mem::take(&mut hostile.heard);
        heard.iter().rfind(|packet| packet.frames.contains(&Frame::HandshakeDone)).map(|packet| packet.pn)
    };
    let mut last = told(&mut hostile).expect("told at once");
    for _ in 0..5 {
        // Later packets arrive, this one is lost.
        let mut newest = last;
        for _ in 0..3 {
            hostile.victim().connection.pending.ping = true;
            hostile.listen();
            newest = hostile.heard.last().unwrap().pn;
        }
        assert!(newest >= last + 3);
        hostile.send(Level::OneRtt, &[ack(&[newest..=newest])]);
        last = told(&mut hostile).expect("told again");
    }
    hostile.send(Level::OneRtt, &[ack(&[last..=last])]);
    hostile.wait(5_000 * MS);
    assert_eq!(told(&mut hostile), None);
    hostile.assert_open();
}

// covers: R9000-12.3-03
#[test]
fn when_packet_numbers_run_out_the_connection_ends_without_a_word() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.wait(500 * MS);
        let first = (1 << 62) - 1_100;
        let space = &mut hostile.victim().connection.spaces[2];
        (space.sent, space.largest_acked) = (SentPackets::starting_at(first), Some(first - 1));
        hostile.expected[2] = first;
        hostile.heard.clear();
        for _ in 0..200 {
            hostile.victim().connection.pending.ping = true;
            hostile.listen();
        }
        assert!(hostile.victim().closed().is_some());
        let last = hostile.heard.last().unwrap().pn;
        assert!(last > first && last < (1 << 62) - 1);
        assert_eq!(hostile.close(), None);
        let tombstone = hostile.victim().connection.tombstone().unwrap();
        assert!(tombstone.close.is_none(), "nothing is answered");
    }
}

// covers: R9000-7.2-02 R9000-7.2-05
#[test]
fn the_first_packets_go_to_the_ids_that_the_handshake_began_with() {
    let hostile = Hostile::new(Side::Client, Stage::First);
    let mut pair = hostile.pair;
    let (scid, dcid) = {
        let connection = &pair.client.connection;
        (connection.local_cids.initial(), connection.handshake.original_dcid)
    };
    // Nothing of the server arrives: the client sticks to what it chose.
    pair.client.inbox.clear();
    let seen = std::rc::Rc::new(std::cell::RefCell::new((Vec::new(), Vec::new())));
    let copy = seen.clone();
    pair.to_server = Box::new(move |_, datagram| {
        copy.borrow_mut().0.push(*crate::wire::header::parse_greased(datagram, 8).unwrap().header.dcid());
        true
    });
    let copy = seen.clone();
    pair.to_client = Box::new(move |_, datagram| {
        copy.borrow_mut().1.push(*crate::wire::header::parse_greased(datagram, 8).unwrap().header.dcid());
        false
    });
    pair.run_for(6_000 * MS);
    let (of_client, of_server) = &*seen.borrow();
    assert!(of_client.len() >= 4 && of_client.iter().all(|id| *id == dcid));
    assert!(of_server.len() >= 4 && of_server.iter().all(|id| *id == scid));
}

// covers: R9000-8.2.1-06 R9000-8.2.2-02 R9000-8.2.2-06
#[test]
fn a_challenge_in_a_small_datagram_is_answered_at_once() {
    let challenge = || encode(&[PathChallenge { data: [5; 8] }.into()]);
    let answer = |hostile: &mut Hostile| {
        let heard = std::mem::take(&mut hostile.heard);
        let answers = |packet: &&Heard| packet.frames.contains(&PathResponse { data: [5; 8] }.into());
        heard.iter().find(answers).expect("an answer").datagram_len
    };
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let packet = hostile.packet(Level::OneRtt, &challenge());
        assert!(packet.len() < 50);
        hostile.deliver(packet);
        assert!(answer(&mut hostile) >= MIN_DATAGRAM_SIZE);
    }
    // Where the address is not known, the answer stays within three times what came from there.
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    hostile.path = tuple(6666);
    let packet = hostile.packet(Level::OneRtt, &challenge());
    let len = packet.len();
    hostile.deliver(packet);
    assert!(answer(&mut hostile) <= 3 * len);
}

/// A connection that lives never says that it is not there.
// covers: R9000-11-03
#[test]
fn what_cannot_be_opened_is_not_answered_at_all() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        for len in 0..200 {
            let mut forged = hostile.packet(Level::OneRtt, &vec![1; len]);
            *forged.last_mut().unwrap() ^= 1;
            let (now, path) = (hostile.pair.now, hostile.path);
            let burst = Burst::single(now, path, None, forged);
            hostile.victim().connection.handle_burst(now, burst);
            assert!(hostile.victim().drain(now).is_empty());
        }
        hostile.assert_open();
        assert_eq!(hostile.victim().connection.stats().authentication_failures, 200);
    }
}
