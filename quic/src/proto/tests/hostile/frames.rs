//! Every frame at every level in every state of the handshake, cut off anywhere; and frames that do not exist.

use bytes::Bytes;

use super::{Hostile, Stage, ack, encode, stages, varint};
use crate::error::ConnectionError;
use crate::packet::{
    ConnectionId, Dir, Level, MIN_DATAGRAM_SIZE, ResetToken, Rng, Side, StreamId, TransportErrorCode as Code,
};
use crate::wire::VarInt;
use crate::wire::frame::*;

const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

/// A frame of each type, such that a peer with keys may send it at the right time.
fn samples(hostile: Side) -> Vec<Frame> {
    let bi = StreamId::new(hostile, Dir::Bi, 0);
    let code = VarInt::from_u32(0x4000);
    let id = ConnectionId::try_from(&[0xcd; 8][..]).unwrap();
    let close = |error| ConnectionClose { error, reason: Bytes::from_static(b"why") };
    let data = Bytes::from_static(b"some data");
    let mut frames: Vec<Frame> = vec![
        Frame::Padding(3),
        Frame::Ping,
        ack(&[0..=0]),
        ResetStream { id: bi, error_code: code, final_size: 70_000 }.into(),
        StopSending { id: bi, error_code: code }.into(),
        Crypto { offset: 0, data: Bytes::new() }.into(),
        NewToken { token: data.clone() }.into(),
        MaxData { maximum: 1 << 40 }.into(),
        MaxStreamData { id: bi, maximum: 1 << 40 }.into(),
        MaxStreams { dir: Dir::Bi, maximum: 1 << 60 }.into(),
        MaxStreams { dir: Dir::Uni, maximum: 1 << 60 }.into(),
        DataBlocked { limit: 1 << 40 }.into(),
        StreamDataBlocked { id: bi, limit: 1 << 40 }.into(),
        StreamsBlocked { dir: Dir::Bi, limit: 1 << 60 }.into(),
        StreamsBlocked { dir: Dir::Uni, limit: 1 << 60 }.into(),
        NewConnectionId { sequence: 1 << 20, retire_prior_to: 1 << 20, id, reset_token: ResetToken([1; 16]) }
            .into(),
        RetireConnectionId { sequence: 1 }.into(),
        PathChallenge { data: [1; 8] }.into(),
        PathResponse { data: [1; 8] }.into(),
        close(CloseError::Transport { code: Code::INTERNAL_ERROR, frame_type: Some(0x4000) }).into(),
        close(CloseError::Application { code }).into(),
        Frame::HandshakeDone,
        Datagram { data: data.clone(), with_len: true }.into(),
        Frame::ImmediateAck,
        AckFrequency { sequence: 0, eliciting_threshold: 5, max_ack_delay: 20_000, reordering_threshold: 3 }
            .into(),
    ];
    for (offset, fin) in [(0, false), (0, true), (70_000, false), (70_000, true)] {
        frames.push(Stream { id: bi, offset, fin, data: data.clone() }.into());
    }
    frames
}

/// Whether the victim opens packets of this level at this stage, and handles their frames.
pub fn processes(victim: Side, stage: Stage, level: Level) -> bool {
    match (victim, stage) {
        (Side::Server, Stage::First) => level != Level::OneRtt,
        (Side::Client, Stage::First) => level == Level::Initial,
        (Side::Client, Stage::ServerHello) => level != Level::OneRtt,
        (Side::Client, Stage::Complete) => level != Level::Initial,
        _ => level == Level::OneRtt,
    }
}

// covers: R9000-12.4-03 R9000-12.5-01 R9000-12.5-02 R9000-19.7-04 R9000-19.20-02
#[test]
fn every_frame_at_every_level_in_every_state() {
    let mut seen = 0;
    for victim in [Side::Client, Side::Server] {
        for &stage in stages(victim) {
            for level in LEVELS {
                for frame in samples(victim.peer()) {
                    seen += usize::from(one_frame(victim, stage, level, &frame));
                }
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

/// False if the peer has no keys to try it with.
fn one_frame(victim: Side, stage: Stage, level: Level, frame: &Frame) -> bool {
    let mut hostile = Hostile::new(victim, stage);
    if !hostile.has_keys(level) {
        return false;
    }
    let context = format!("{victim:?} {stage:?} {level:?} {frame:?}");
    let ty = frame.frame_type();
    let unsent =
        hostile.victim().connection.spaces.get(level.space()).is_some_and(|space| space.sent.next() == 0);
    hostile.send(level, std::slice::from_ref(frame));
    let forbidden = !frame.allowed_in(level) || !frame.allowed_from(victim.peer());
    if !processes(victim, stage, level) {
        assert_eq!(hostile.victim().closed(), None, "{context}");
    } else if forbidden {
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(ty));
    } else if let Frame::ConnectionClose(_) = frame {
        let closed = hostile.victim().closed();
        let by_peer = matches!(
            closed,
            Some(ConnectionError::Transport { by: crate::error::ClosedBy::Peer, .. })
                | Some(ConnectionError::Application { .. })
        );
        assert!(by_peer, "{context}: {closed:?}");
    } else if matches!(frame, Frame::Ack(_)) && unsent {
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(ty));
    } else {
        assert_eq!(hostile.victim().closed(), None, "{context}");
    }
    true
}

// covers: R9001-8.3-02
#[test]
fn what_the_levels_forbid_early_data() {
    for frame in samples(Side::Client) {
        let allowed = !matches!(
            frame,
            Frame::Ack(_)
                | Frame::Crypto(_)
                | Frame::NewToken(_)
                | Frame::PathResponse(_)
                | Frame::RetireConnectionId(_)
                | Frame::HandshakeDone
                | Frame::ImmediateAck
                | Frame::AckFrequency(_)
        );
        assert_eq!(frame.allowed_in(Level::ZeroRtt), allowed, "{frame:?}");
    }
}

#[test]
fn every_frame_cut_off_at_every_byte() {
    let (mut seen, mut whole) = (0, Vec::new());
    for (victim, stage) in [(Side::Server, Stage::Confirmed), (Side::Client, Stage::Confirmed)] {
        for frame in samples(victim.peer()) {
            let bytes = encode(std::slice::from_ref(&frame));
            for len in 1..bytes.len() {
                let mut hostile = Hostile::new(victim, stage);
                let packet = hostile.packet(Level::OneRtt, &[&[1, 1, 1], &bytes[..len]].concat());
                hostile.deliver(packet);
                if matches!(frame, Frame::Padding(_)) {
                    hostile.assert_open();
                } else {
                    // Of the types, one takes two bytes.
                    let blamed = (len > 1 || frame.frame_type() < 0x40).then_some(frame.frame_type());
                    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, blamed);
                }
                seen += 1;
            }
            whole.push(bytes);
        }
    }
    assert!(seen > 400, "{seen}");
}

#[test]
fn frames_of_the_handshake_cut_off_at_every_byte() {
    for (victim, stage, level) in [
        (Side::Server, Stage::First, Level::Initial),
        (Side::Server, Stage::First, Level::Handshake),
        (Side::Client, Stage::First, Level::Initial),
        (Side::Client, Stage::ServerHello, Level::Handshake),
    ] {
        for frame in samples(victim.peer()).iter().filter(|frame| frame.allowed_in(level)) {
            let bytes = encode(std::slice::from_ref(frame));
            for len in 1..bytes.len() {
                let mut hostile = Hostile::new(victim, stage);
                let payload = [&[0; MIN_DATAGRAM_SIZE][..], &bytes[..len]].concat();
                let packet = hostile.packet(level, &payload);
                hostile.deliver(packet);
                if !matches!(frame, Frame::Padding(_)) {
                    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(frame.frame_type()));
                }
            }
        }
    }
}

// covers: R9000-12.4-04
#[test]
fn unknown_frame_types_are_an_encoding_error() {
    let mut rng = Rng::from_u64(1);
    let mut types: Vec<u64> = (0x20..0x24).chain(0x25..0x30).chain(0x32..0x80).collect();
    types.extend([0x3fff, 0x4000, (1 << 30) - 1, 1 << 30, (1 << 62) - 1]);
    types.extend((0..50).map(|_| rng.below(1 << 62).max(0x40)));
    for (victim, stage, level) in [
        (Side::Server, Stage::First, Level::Initial),
        (Side::Server, Stage::First, Level::Handshake),
        (Side::Server, Stage::Confirmed, Level::OneRtt),
        (Side::Client, Stage::Complete, Level::Handshake),
        (Side::Client, Stage::Confirmed, Level::OneRtt),
    ] {
        for &ty in &types {
            let mut payload = varint(ty);
            payload.resize(MIN_DATAGRAM_SIZE, 0);
            let mut hostile = Hostile::new(victim, stage);
            let packet = hostile.packet(level, &payload);
            hostile.deliver(packet);
            hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(ty));
        }
    }
}

// covers: R9000-12.4-05
#[test]
fn frame_types_in_more_bytes_than_needed_are_a_violation() {
    for (bytes, ty) in [(&[0x40, 0x01][..], 1), (&[0x80, 0, 0, 0x06], 6), (&[0xc0, 0, 0, 0, 0, 0, 0, 0], 0)] {
        let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
        let packet = hostile.packet(Level::OneRtt, bytes);
        hostile.deliver(packet);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(ty));
    }
    // Cut off within the type.
    for bytes in [&[0x40][..], &[0x80, 0, 0], &[0xff; 7], &[0xc0]] {
        let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
        let packet = hostile.packet(Level::OneRtt, bytes);
        hostile.deliver(packet);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, None);
    }
}

// covers: R9000-4.6-01 R9000-19.7-02 R9000-19.11-01 R9000-19.14-02 R9000-19.15-01 R9000-19.15-05 R9000-19.15-06 R9000-19.8-02 R9000-19.6-01
#[test]
fn values_that_no_frame_may_have() {
    let too_many = MaxStreams { dir: Dir::Bi, maximum: (1 << 60) + 1 };
    let blocked = StreamsBlocked { dir: Dir::Uni, limit: (1 << 60) + 1 };
    let id = ConnectionId::try_from(&[9; 8][..]).unwrap();
    let token = ResetToken([1; 16]);
    let backwards = NewConnectionId { sequence: 4, retire_prior_to: 5, id, reset_token: token };
    let empty =
        NewConnectionId { sequence: 4, retire_prior_to: 0, id: ConnectionId::EMPTY, reset_token: token };
    let mut long =
        encode(&[NewConnectionId { sequence: 4, retire_prior_to: 0, id, reset_token: token }.into()]);
    long[3] = 21;
    long.extend([0; 13]);
    let last = (1 << 62) - 1;
    let data = Bytes::from_static(b"x");
    let stream = Stream { id: StreamId::from_u64(1), offset: last, fin: false, data: data.clone() };
    let cases: Vec<(Vec<u8>, u64)> = vec![
        (encode(&[too_many.into()]), 0x12),
        (encode(&[blocked.into()]), 0x17),
        (encode(&[backwards.into()]), 0x18),
        (encode(&[empty.into()]), 0x18),
        (long, 0x18),
        (encode(&[stream.into()]), 0x0e),
        (encode(&[Crypto { offset: last, data }.into()]), 0x06),
        (vec![0x07, 0], 0x07),
    ];
    for (payload, ty) in cases {
        let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
        let packet = hostile.packet(Level::OneRtt, &payload);
        hostile.deliver(packet);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(ty));
    }
}

/// What stands before the bad frame counts, what stands behind it does not.
#[test]
fn nothing_is_processed_after_a_bad_frame() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let good = |n: u8| Stream {
        id: StreamId::new(Side::Client, Dir::Uni, n.into()),
        offset: 0,
        fin: false,
        data: Bytes::from(vec![n; 3]),
    };
    let frames = [good(0).into(), Frame::HandshakeDone, good(1).into()];
    hostile.send(Level::OneRtt, &frames);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x1e));
    assert!(hostile.victim().received.is_empty(), "a closed connection has no more stream events");
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    assert_eq!(
        hostile.victim().events.iter().filter(|e| matches!(e, crate::proto::Event::Closed(_))).count(),
        1
    );
}

/// A server that has nothing but tokens to say.
// covers: R9000-19.7-02
#[test]
fn a_flood_of_tokens_is_bounded() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let told = |hostile: &mut Hostile| {
        let events = std::mem::take(&mut hostile.victim().events);
        let tokens = events.into_iter().filter_map(|event| match event {
            crate::proto::Event::NewToken(token) => Some(token),
            _ => None,
        });
        tokens.collect::<Vec<_>>()
    };
    told(&mut hostile);
    let token = |len: usize| Frame::from(NewToken { token: vec![7; len].into() });
    hostile.send(Level::OneRtt, &vec![token(1); 300]);
    assert_eq!(told(&mut hostile).len(), 8);
    hostile.send(Level::OneRtt, &[token(513), token(512)]);
    assert_eq!(told(&mut hostile), [vec![7; 512]], "too long to be of any use");
    hostile.assert_open();
    hostile.send(Level::OneRtt, &[token(0)]);
    hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x07));
}
