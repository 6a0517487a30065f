//! Every frame type with the smallest and the largest numbers in all of its fields; lengths that promise too much.

use std::fmt::Write;

use bytes::Bytes;

use super::{Hostile, Stage, varint};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Dir, Level, MIN_DATAGRAM_SIZE, Side, StreamId};
use crate::proto::endpoint::{Class, classify};
use crate::proto::tests::pair::{Pair, Setup};
use crate::wire::frame::{Frame, Stream};

/// Where frames are processed.
const PLACES: [(Side, Stage, Level); 6] = [
    (Side::Server, Stage::First, Level::Initial),
    (Side::Server, Stage::First, Level::Handshake),
    (Side::Server, Stage::Confirmed, Level::OneRtt),
    (Side::Client, Stage::First, Level::Initial),
    (Side::Client, Stage::ServerHello, Level::Handshake),
    (Side::Client, Stage::Confirmed, Level::OneRtt),
];

/// The victim goes on, or ends in an orderly way: with a code that it tells, or with that of the frame.
#[track_caller]
fn assert_orderly(hostile: &mut Hostile, context: &str) -> bool {
    let closed = hostile.victim().closed().cloned();
    match closed {
        None => return true,
        Some(ConnectionError::Transport { by: ClosedBy::Local, .. }) => {
            assert!(hostile.close().is_some(), "{context}: nothing is told");
        }
        Some(ConnectionError::Transport { by: ClosedBy::Peer, .. } | ConnectionError::Application { .. }) => {
        }
        Some(other) => panic!("{context}: {other:?}"),
    }
    false
}

#[test]
fn every_frame_type_with_extreme_numbers() {
    let types: Vec<u8> = (0..0x20).chain([0x30, 0x31]).collect();
    for (victim, stage, level) in PLACES {
        let mut hostile = Hostile::new(victim, stage);
        for &ty in &types {
            for value in [0, 0x40, 1 << 30, (1 << 62) - 1] {
                // With one field of that value, with several; what follows is small.
                for fields in [1, 2, 4] {
                    let mut payload = vec![1, ty];
                    (0..fields).for_each(|_| payload.extend(varint(value)));
                    payload.extend([1; 40]);
                    payload.resize(MIN_DATAGRAM_SIZE, 0);
                    let packet = hostile.packet(level, &payload);
                    hostile.deliver(packet);
                    let mut context = String::new();
                    let _ = write!(context, "{victim:?} {stage:?} {level:?} {ty:#x} {fields} x {value}");
                    if !assert_orderly(&mut hostile, &context) {
                        hostile = Hostile::new(victim, stage);
                    }
                }
            }
        }
    }
}

/// A frame type, or any other number, that is cut off is no PADDING.
#[test]
fn numbers_cut_off_at_the_end_of_a_packet() {
    for (victim, stage, level) in PLACES {
        for cut in
            [&[0x40][..], &[0x80], &[0x80, 0, 0], &[0xc0, 0, 0, 0, 0, 0, 0], &[0x06, 0x40], &[0x02, 0x80, 0]]
        {
            let mut hostile = Hostile::new(victim, stage);
            let payload = [&[0; MIN_DATAGRAM_SIZE][..], cut].concat();
            let packet = hostile.packet(level, &payload);
            hostile.deliver(packet);
            let (code, _) = hostile.close().unwrap_or_else(|| panic!("{victim:?} {level:?} {cut:x?}"));
            assert_eq!(code, crate::packet::TransportErrorCode::FRAME_ENCODING_ERROR);
        }
    }
}

/// Token lengths and packet lengths that the datagram does not hold, and those that it just holds.
#[test]
fn tokens_and_packets_of_any_length() {
    let pair = Pair::new(Setup::default());
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let mut dcid = vec![8];
    dcid.extend_from_slice(hostile.dcid().as_slice());
    let lengths = (0..70).chain(1_140..1_300).chain([0x3fff, 0x4000, 1 << 30, (1 << 62) - 1]);
    for token in lengths {
        for length in [0, 1, 3, 19, 20, 1_100, 1_200, (1 << 62) - 1] {
            let head = [&[0xc0, 0, 0, 0, 1][..], &dcid, &[0], &varint(token)].concat();
            let mut datagram = head.clone();
            datagram.resize(datagram.len() + token.min(1_400) as usize, 7);
            datagram.extend(varint(length));
            datagram.resize(datagram.len().max(MIN_DATAGRAM_SIZE), 0);
            assert!(pair.open(&datagram).is_err());
            let class = classify(&datagram, 8, &[1]);
            if token > 1_400 {
                assert_eq!(class, Class::Drop, "token of {token}");
            }
            hostile.deliver(datagram);
            // Cut off behind each part of the header.
            for len in [5, 14, 15, head.len(), head.len() + 1] {
                hostile.deliver(&head[..len.min(head.len())]);
            }
        }
    }
    hostile.assert_open();
}

/// All streams that the peer may open, and each of them as far as it goes.
#[test]
fn the_last_stream_and_the_last_byte() {
    for victim in [Side::Client, Side::Server] {
        for dir in [Dir::Bi, Dir::Uni] {
            let id = StreamId::new(victim.peer(), dir, (1 << 60) - 1);
            for offset in [0, (1 << 62) - 2] {
                let mut hostile = Hostile::new(victim, Stage::Confirmed);
                let frame = Stream { id, offset, fin: true, data: Bytes::from_static(b"x") };
                hostile.send(Level::OneRtt, &[frame.into(), Frame::Ping]);
                assert!(!assert_orderly(&mut hostile, "the last stream"), "it is not allowed yet");
            }
        }
    }
}
