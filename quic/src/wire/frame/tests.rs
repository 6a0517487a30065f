//! Every frame there and back, and every way in which a frame can be wrong.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::packet::{ConnectionId, Dir, ResetToken, StreamId, TransportErrorCode as Code};
use crate::wire::VarInt;

const MAX: u64 = (1 << 62) - 1;

fn encoded(frame: &impl EncodeFrame) -> Vec<u8> {
    // What is in the buffer already stays there.
    let mut out = vec![0xaa];
    frame.encode(&mut out);
    assert_eq!(out.len() - 1, frame.size());
    assert_eq!(out[0], 0xaa);
    out.split_off(1)
}

fn all(payload: &[u8]) -> Result<Vec<Frame>, TransportError> {
    let mut frames = Frames::new(Bytes::copy_from_slice(payload));
    let mut all = Vec::new();
    while let Some(frame) = frames.next()? {
        all.push(frame);
    }
    Ok(all)
}

fn one(payload: &[u8]) -> Result<Frame, TransportError> {
    let mut frames = Frames::new(Bytes::copy_from_slice(payload));
    let frame = frames.next()?.expect("a frame");
    assert_eq!(frames.next(), Ok(None), "one frame");
    Ok(frame)
}

/// A malformed frame: the code, and the frame that is blamed.
fn refused(payload: &[u8]) -> (Code, Option<u64>) {
    let mut frames = Frames::new(Bytes::copy_from_slice(payload));
    let error = frames.next().expect_err("refused");
    assert_eq!(frames.next(), Ok(None), "nothing follows an error");
    assert!(!error.reason.is_empty());
    (error.code, error.frame_type)
}

fn id(id: u64) -> StreamId {
    StreamId::from_u64(id)
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap()
}

fn ack(ranges: &[(u64, u64)], delay: u64, ecn: Option<EcnCounts>) -> Ack {
    let mut out = Vec::new();
    let written = encode_ack(ranges.iter().map(|(low, high)| *low..=*high), delay, ecn, usize::MAX, &mut out);
    assert_eq!(written, ranges.len());
    match one(&out).unwrap() {
        Frame::Ack(ack) => ack,
        frame => panic!("{frame:?}"),
    }
}

/// One frame of each type, with fields that take several bytes.
fn samples() -> Vec<Frame> {
    let new_id = NewConnectionId {
        sequence: 300,
        retire_prior_to: 20_000,
        id: ConnectionId::try_from(&[7; 20][..]).unwrap(),
        reset_token: ResetToken([9; 16]),
    };
    let new_id = NewConnectionId { retire_prior_to: new_id.sequence, ..new_id };
    let data = Bytes::from_static(b"some data");
    let ecn = EcnCounts { ect0: 1, ect1: 70, ce: 1 << 20 };
    let mut frames = vec![
        Frame::Padding(1),
        Frame::Ping,
        Frame::HandshakeDone,
        ack(&[(90, 100)], 5000, None).into(),
        ack(&[(90_000, 100_000), (70, 80), (1, 68)], 3, Some(ecn)).into(),
        ResetStream { id: id(400), error_code: varint(MAX), final_size: 70_000 }.into(),
        StopSending { id: id(4), error_code: varint(1 << 40) }.into(),
        Crypto { offset: 1 << 35, data: data.clone() }.into(),
        NewToken { token: data.clone() }.into(),
        MaxData { maximum: MAX }.into(),
        MaxStreamData { id: id(77), maximum: 1 << 29 }.into(),
        DataBlocked { limit: 1 << 13 }.into(),
        StreamDataBlocked { id: id(1 << 20), limit: 100 }.into(),
        new_id.into(),
        RetireConnectionId { sequence: 1 << 14 }.into(),
        PathChallenge { data: *b"12345678" }.into(),
        PathResponse { data: *b"87654321" }.into(),
        Datagram { data: data.clone(), with_len: true }.into(),
        ResetStreamAt { id: id(400), error_code: varint(MAX), final_size: 70_000, reliable_size: 70_000 }
            .into(),
        Frame::ImmediateAck,
        AckFrequency {
            sequence: 1 << 31,
            eliciting_threshold: 99,
            max_ack_delay: 1 << 20,
            reordering_threshold: MAX,
        }
        .into(),
    ];
    for offset in [0, 1 << 33] {
        for fin in [false, true] {
            frames.push(Stream { id: id(1 << 15), offset, fin, data: data.clone() }.into());
        }
    }
    for dir in Dir::ALL {
        frames.push(MaxStreams { dir, maximum: 1 << 60 }.into());
        frames.push(StreamsBlocked { dir, limit: 1 << 60 }.into());
    }
    for error in [
        CloseError::Transport { code: Code::crypto(120), frame_type: Some(0x1e) },
        CloseError::Application { code: varint(MAX) },
    ] {
        frames.push(ConnectionClose { error, reason: data.clone() }.into());
    }
    frames
}

#[test]
fn each_frame_survives() {
    let samples = samples();
    let mut types: Vec<u64> = samples.iter().map(Frame::frame_type).collect();
    let mut packet = Vec::new();
    for frame in &samples {
        let bytes = encoded(frame);
        assert_eq!(varint::peek(&bytes).map(|(ty, _)| ty), Some(frame.frame_type()));
        assert_eq!(&one(&bytes).unwrap(), frame);
        packet.extend(bytes);
    }
    assert_eq!(all(&packet).unwrap(), samples, "and all of them in one packet");
    types.sort_unstable();
    types.dedup();
    let expected: Vec<u64> =
        (0..=0x1f).filter(|ty| ![0x08, 0x09, 0x0c, 0x0d].contains(ty)).chain([0x24, 0x31, 0xaf]).collect();
    assert_eq!(types, expected, "no type is missing but those that run to the end of the packet");
}

#[test]
fn each_frame_cut_anywhere_is_refused() {
    for frame in samples() {
        let bytes = encoded(&frame);
        for len in 1..bytes.len() {
            // A type may be cut off, too.
            let blamed = (len >= varint::size(frame.frame_type())).then_some(frame.frame_type());
            let expected = (Code::FRAME_ENCODING_ERROR, blamed);
            assert_eq!(refused(&bytes[..len]), expected, "{frame:?} cut to {len}");
        }
    }
}

/// All types of one and two bytes, and some of each longer form, cut off at every byte of a few fields that follow.
#[test]
fn every_type_cut_off_anywhere_is_a_frame_or_an_error() {
    // Those of drafts among them.
    let known = |ty: u64| ty <= 0x1f || matches!(ty, 0x24 | 0x30 | 0x31 | 0xaf);
    let longer = (14..62).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 7]).chain([MAX]);
    for ty in (0..1 << 14).chain(longer) {
        let mut bytes = encoded_varint(ty);
        let own = bytes.len();
        bytes.extend([0x40, 0x41, 0xc0, 0, 0, 0, 0, 0, 0, 9, 0x80, 0, 1, 0, 5, 0, 1, 2, 3]);
        for len in 1..=bytes.len() {
            let mut frames = Frames::new(Bytes::copy_from_slice(&bytes[..len]));
            let mut steps = 0;
            let error = loop {
                steps += 1;
                assert!(steps <= len + 1, "{ty:#x} cut to {len}: each step takes a byte at least");
                match frames.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            if let Some(error) = &error {
                assert!(
                    matches!(error.code, Code::FRAME_ENCODING_ERROR | Code::PROTOCOL_VIOLATION),
                    "{error}"
                );
            }
            if len < own {
                let error = error.unwrap_or_else(|| panic!("{ty:#x}: a type that is cut off"));
                assert_eq!((error.code, error.frame_type), (Code::FRAME_ENCODING_ERROR, None));
            } else if !known(ty) {
                let error = error.unwrap_or_else(|| panic!("{ty:#x} is no frame"));
                assert_eq!((error.code, error.frame_type), (Code::FRAME_ENCODING_ERROR, Some(ty)));
            }
        }
    }
}

fn encoded_varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::varint::encode(value, &mut out);
    out
}

#[test]
fn an_empty_payload_has_no_frame() {
    assert_eq!(all(&[]), Ok(vec![]));
}

#[test]
fn padding_is_one_frame_per_run() {
    for run in [1, 2, 15, 16, 17, 18, 33, 1000] {
        let bytes = encoded(&Frame::Padding(run));
        assert_eq!(bytes, vec![0; run]);
        assert_eq!(all(&bytes).unwrap(), [Frame::Padding(run)]);
        let between = [&[1][..], &bytes, &[1]].concat();
        assert_eq!(all(&between).unwrap(), [Frame::Ping, Frame::Padding(run), Frame::Ping]);
    }
}

// covers: R9000-12.4-04
#[test]
fn unknown_types_are_refused() {
    let known = |ty: u64| ty <= 0x1f || matches!(ty, 0x24 | 0x30 | 0x31 | 0xaf);
    let powers = (0..62).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    let spread = (0..10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    for ty in (0..0x5000).chain(powers).chain(spread).chain([MAX]).filter(|ty| !known(*ty)) {
        let mut bytes = Vec::new();
        varint::encode(ty, &mut bytes);
        for tail in [0, 100] {
            bytes.resize(bytes.len() + tail, 0);
            assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(ty)));
        }
        bytes.truncate(varint::size(ty) - 1);
        if !bytes.is_empty() {
            assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, None), "{ty:#x} cut off");
        }
    }
}

// covers: D-reset-stream-at-4-01
#[test]
fn a_reliable_size_is_at_most_the_final_size() {
    let frame = |final_size, reliable_size| {
        encoded(&ResetStreamAt { id: id(4), error_code: varint(1), final_size, reliable_size })
    };
    for (final_size, reliable_size) in [(0, 0), (10, 10), (10, 0), (MAX, MAX)] {
        let expected = ResetStreamAt { id: id(4), error_code: varint(1), final_size, reliable_size };
        assert_eq!(one(&frame(final_size, reliable_size)), Ok(expected.into()));
    }
    for (final_size, reliable_size) in [(0, 1), (9, 10), (MAX - 1, MAX)] {
        assert_eq!(refused(&frame(final_size, reliable_size)), (Code::FRAME_ENCODING_ERROR, Some(0x24)));
    }
}

// covers: R9000-12.4-05
#[test]
fn types_have_their_shortest_encoding() {
    for ty in (0..0x40_u64).chain([0x100, 0x3fff, 0x4000, 0x3fff_ffff]) {
        let encodings = [
            u16::try_from(ty | 0x4000).ok().filter(|_| ty < 0x4000).map(|ty| ty.to_be_bytes().to_vec()),
            u32::try_from(ty | 0x8000_0000).ok().map(|ty| ty.to_be_bytes().to_vec()),
            Some((ty | 0xc000_0000_0000_0000).to_be_bytes().to_vec()),
        ];
        for mut bytes in encodings.into_iter().flatten().filter(|bytes| bytes.len() > varint::size(ty)) {
            bytes.resize(bytes.len() + 100, 0);
            assert_eq!(refused(&bytes), (Code::PROTOCOL_VIOLATION, Some(ty)));
        }
    }
}

// covers: R9000-12.4-03, R9000-12.5-01, R9000-12.5-02, R9000-17.2.4-01, R9221-5-03, R9221-6-01
#[test]
fn frames_belong_to_their_packets() {
    use Level::{Handshake, Initial, OneRtt, ZeroRtt};
    for frame in samples() {
        let levels: &[Level] = match frame.frame_type() {
            0x00 | 0x01 | 0x1c => &[Initial, ZeroRtt, Handshake, OneRtt],
            0x02 | 0x03 | 0x06 => &[Initial, Handshake, OneRtt],
            0x07 | 0x19 | 0x1b | 0x1e | 0x1f | 0xaf => &[OneRtt],
            _ => &[ZeroRtt, OneRtt],
        };
        for level in [Initial, ZeroRtt, Handshake, OneRtt] {
            assert_eq!(frame.allowed_in(level), levels.contains(&level), "{frame:?} in {level:?}");
        }
        let ty = frame.frame_type();
        assert_eq!(frame.is_ack_eliciting(), !matches!(ty, 0x00 | 0x02 | 0x03 | 0x1c | 0x1d), "{frame:?}");
        assert!(frame.allowed_from(Side::Server));
        assert_eq!(frame.allowed_from(Side::Client), !matches!(ty, 0x07 | 0x1e), "{frame:?}");
    }
}

#[test]
fn stream_data_shares_the_memory_of_the_packet() {
    let mut packet = encoded(&Stream { id: id(0), offset: 5, fin: false, data: Bytes::from_static(b"abc") });
    packet.extend([0x09, 0x04]);
    packet.extend_from_slice(b"to the end");
    let packet = Bytes::from(packet);
    let within = |data: &Bytes| packet.as_ptr_range().contains(&data.as_ptr());
    let mut frames = Frames::new(packet.clone());
    let Ok(Some(Frame::Stream(first))) = frames.next() else { panic!() };
    let Ok(Some(Frame::Stream(last))) = frames.next() else { panic!() };
    assert!(within(&first.data) && within(&last.data));
    assert_eq!((&first.data[..], first.offset, first.fin), (&b"abc"[..], 5, false));
    assert_eq!((&last.data[..], last.offset, last.fin), (&b"to the end"[..], 0, true));
    assert_eq!(frames.next(), Ok(None));
}

#[test]
fn stream_heads_are_those_of_their_frames() {
    let data = Bytes::from_static(b"data");
    for offset in [0, 63, 64, 1 << 40] {
        for fin in [false, true] {
            for len in [None, Some(4)] {
                let mut bytes = encoded(&StreamHeader { id: id(8), offset, fin, len });
                bytes.extend_from_slice(&data);
                assert_eq!(one(&bytes), Ok(Stream { id: id(8), offset, fin, data: data.clone() }.into()));
            }
        }
    }
}

// covers: R9000-19.6-01, R9000-19.8-02
#[test]
fn data_ends_below_2_to_the_62() {
    let data = Bytes::from_static(b"data");
    for (offset, fits) in [(MAX - 4, true), (MAX - 3, false), (MAX, false)] {
        let stream = encoded(&Stream { id: id(0), offset, fin: false, data: data.clone() });
        let crypto = encoded(&Crypto { offset, data: data.clone() });
        for bytes in [stream, crypto] {
            assert_eq!(one(&bytes).is_ok(), fits);
            if !fits {
                assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(bytes[0].into())));
            }
        }
    }
    let mut to_the_end = encoded(&StreamHeader { id: id(0), offset: MAX, fin: true, len: None });
    assert!(one(&to_the_end).is_ok(), "no data at the last offset");
    to_the_end.push(0);
    assert_eq!(refused(&to_the_end), (Code::FRAME_ENCODING_ERROR, Some(0x0d)));
}

// covers: R9000-19.7-01, R9000-19.7-02
#[test]
fn a_token_is_not_empty() {
    assert_eq!(refused(&[0x07, 0x00]), (Code::FRAME_ENCODING_ERROR, Some(0x07)));
}

// covers: R9000-19.11-01, R9000-19.14-02
#[test]
fn stream_limits_end_at_2_to_the_60() {
    for ty in [0x12, 0x13, 0x16, 0x17] {
        for (limit, fits) in [(1 << 60, true), ((1 << 60) + 1, false), (MAX, false)] {
            let mut bytes = vec![ty];
            varint::encode(limit, &mut bytes);
            assert_eq!(one(&bytes).is_ok(), fits);
            if !fits {
                assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(ty.into())));
            }
        }
    }
}

// covers: R9000-19.15-01, R9000-19.15-05, R9000-19.15-06
#[test]
fn new_connection_ids_are_checked() {
    let frame = |sequence: u8, retire_prior_to: u8, len: u8| {
        let mut bytes = vec![0x18, sequence, retire_prior_to, len];
        bytes.resize(bytes.len() + usize::from(len) + 16, 1);
        bytes
    };
    for len in 1..=20 {
        assert!(one(&frame(3, 3, len)).is_ok());
    }
    for bytes in [frame(3, 0, 0), frame(3, 0, 21), frame(3, 0, 255), frame(3, 4, 8)] {
        assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(0x18)));
    }
}

#[test]
fn a_close_without_a_frame_type_says_padding() {
    let error = CloseError::Transport { code: Code::NO_ERROR, frame_type: None };
    let close = ConnectionClose { error, reason: Bytes::new() };
    assert_eq!(encoded(&close), [0x1c, 0, 0, 0]);
    assert_eq!(one(&[0x1c, 0, 0, 0]), Ok(close.into()));
}

#[test]
fn the_reason_of_a_close_is_cut_between_characters() {
    let reason = "é".repeat(100);
    let error = CloseError::Application { code: varint(7) };
    for max_size in 3..250 {
        let mut close = ConnectionClose { error, reason: reason.clone().into() };
        close.truncate(max_size);
        assert!(close.size() <= max_size);
        // Two bytes may stay unused: half a character, and one of the length field.
        assert!(close.reason.len() == reason.len() || close.size() + 2 >= max_size);
        assert!(std::str::from_utf8(&close.reason).is_ok());
    }
    let mut close = ConnectionClose { error, reason: Bytes::from_static(&[0x80; 50]) };
    close.truncate(20);
    assert_eq!(close.size(), 20, "what is not UTF-8 is cut anywhere");
}

mod acks {
    use super::*;

    fn ranges(ack: &Ack) -> Vec<(u64, u64)> {
        ack.ranges.iter().map(|range| (*range.start(), *range.end())).collect()
    }

    // covers: R9000-19.3-01
    #[test]
    fn bytes_of_an_ack() {
        let ecn = Some(EcnCounts { ect0: 1, ect1: 2, ce: 3 });
        let mut out = Vec::new();
        assert_eq!(encode_ack([8..=10, 5..=6, 0..=0], 4, ecn, usize::MAX, &mut out), 3);
        assert_eq!(out, [0x03, 10, 4, 2, 2, 0, 1, 3, 0, 1, 2, 3]);
        let Ok(Frame::Ack(ack)) = one(&out) else { panic!() };
        assert_eq!((ack.largest, ack.delay, ack.ecn), (10, 4, ecn));
        assert_eq!(ranges(&ack), [(8, 10), (5, 6), (0, 0)]);
        assert_eq!(format!("{:?}", ack.ranges), "[8..=10, 5..=6, 0..=0]");
    }

    // covers: R9000-19.3.1-01
    #[test]
    fn packet_numbers_do_not_go_below_zero() {
        let negative = [
            &[0x02, 10, 0, 0, 11][..],
            &[0x02, 10, 0, 1, 0, 9, 0],
            &[0x02, 10, 0, 1, 0, 8, 1],
            &[0x02, 10, 0, 2, 0, 4, 1, 2, 0],
            &[0x03, 10, 0, 1, 0, 9, 0, 0, 0, 0],
        ];
        for bytes in negative {
            assert_eq!(refused(bytes), (Code::FRAME_ENCODING_ERROR, Some(bytes[0].into())), "{bytes:?}");
        }
        let Ok(Frame::Ack(ack)) = one(&[0x02, 10, 0, 1, 0, 8, 0]) else { panic!() };
        assert_eq!(ranges(&ack), [(10, 10), (0, 0)]);
        let mut bytes = vec![0x02, 10, 0, 1, 0];
        varint::encode(MAX, &mut bytes);
        varint::encode(MAX, &mut bytes);
        assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(0x02)));
    }

    #[test]
    fn a_range_count_without_ranges_costs_nothing() {
        for count in [1, 1 << 20, MAX] {
            let mut bytes = vec![0x02, 10, 0];
            varint::encode(count, &mut bytes);
            bytes.push(0);
            assert_eq!(refused(&bytes), (Code::FRAME_ENCODING_ERROR, Some(0x02)));
        }
    }

    #[test]
    fn as_many_ranges_are_written_as_fit() {
        let all: Vec<_> = (0..200_u64).rev().map(|n| n * 1000..=n * 1000 + n).collect();
        let ecn = Some(EcnCounts { ect0: 9, ect1: 0, ce: 0 });
        let mut last = 0;
        for max_size in 0..1000 {
            let mut out = vec![1];
            let written = encode_ack(all.clone(), 77, ecn, max_size, &mut out);
            assert!(out.len() - 1 <= max_size);
            assert!(written >= last);
            last = written;
            if written == 0 {
                assert_eq!(out, [1], "nothing is written");
                continue;
            }
            let Ok(Frame::Ack(ack)) = one(&out[1..]) else { panic!() };
            assert_eq!(ack.ranges.iter().collect::<Vec<_>>(), all[..written]);
            assert_eq!(encoded(&ack), out[1..]);
            // The next range, with its place in the count, did not fit.
            assert!(written == all.len() || out.len() - 1 + 5 + 1 > max_size, "{max_size}");
        }
        assert_eq!(last, all.len());
        assert_eq!(encode_ack([], 0, None, 100, &mut Vec::new()), 0);
    }

    #[test]
    fn counts_of_any_size() {
        for n in [63, 64, 65, 66, 16_384, 16_385, 16_386, 20_000] {
            let ranges = (0..n).rev().map(|n| n * 2..=n * 2);
            let mut out = Vec::new();
            assert_eq!(encode_ack(ranges.clone(), 0, None, usize::MAX, &mut out) as u64, n);
            let Ok(Frame::Ack(ack)) = one(&out) else { panic!() };
            assert!(ack.ranges.iter().eq(ranges));
            assert_eq!(encoded(&ack), out);
        }
    }
}

fn any_varint() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..64, 0_u64..1 << 14, 0_u64..1 << 30, 0..=MAX]
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn any_id() -> impl Strategy<Value = StreamId> {
    any_varint().prop_map(StreamId::from_u64)
}

fn any_dir() -> impl Strategy<Value = Dir> {
    prop_oneof![Just(Dir::Bi), Just(Dir::Uni)]
}

fn any_ack() -> impl Strategy<Value = Frame> {
    let ecn = proptest::option::of((any_varint(), any_varint(), any_varint()));
    let ranges = vec((0_u64..1 << 16, 0_u64..1 << 20), 1..100);
    (ranges, any_varint(), 0_u64..1 << 40, ecn).prop_map(|(steps, delay, lowest, ecn)| {
        let mut next = lowest;
        let mut ranges = Vec::new();
        for (len, gap) in steps {
            ranges.push((next, next + len));
            next += len + gap + 2;
        }
        ranges.reverse();
        ack(&ranges, delay, ecn.map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce })).into()
    })
}

fn any_close() -> impl Strategy<Value = Frame> {
    let transport = (any_varint(), proptest::option::of(1..=MAX))
        .prop_map(|(code, frame_type)| CloseError::Transport { code: Code::from_u64(code), frame_type });
    let application = any_varint().prop_map(|code| CloseError::Application { code: varint(code) });
    (prop_oneof![transport, application], any_bytes())
        .prop_map(|(error, reason)| ConnectionClose { error, reason }.into())
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let streams =
        prop_oneof![
            (any_id(), 0..=MAX - 200, any::<bool>(), any_bytes())
                .prop_map(|(id, offset, fin, data)| Stream { id, offset, fin, data }.into()),
            (any_id(), any_varint(), any_varint()).prop_map(|(id, code, final_size)| ResetStream {
                id,
                error_code: varint(code),
                final_size
            }
            .into()),
            (any_id(), any_varint())
                .prop_map(|(id, code)| StopSending { id, error_code: varint(code) }.into()),
            (0..=MAX - 200, any_bytes()).prop_map(|(offset, data)| Crypto { offset, data }.into()),
            any_bytes().prop_map(|data| Datagram { data, with_len: true }.into()),
            vec(any::<u8>(), 1..200).prop_map(|token| NewToken { token: token.into() }.into()),
        ];
    let limits = prop_oneof![
        any_varint().prop_map(|maximum| MaxData { maximum }.into()),
        (any_id(), any_varint()).prop_map(|(id, maximum)| MaxStreamData { id, maximum }.into()),
        (any_dir(), 0..=1_u64 << 60).prop_map(|(dir, maximum)| MaxStreams { dir, maximum }.into()),
        any_varint().prop_map(|limit| DataBlocked { limit }.into()),
        (any_id(), any_varint()).prop_map(|(id, limit)| StreamDataBlocked { id, limit }.into()),
        (any_dir(), 0..=1_u64 << 60).prop_map(|(dir, limit)| StreamsBlocked { dir, limit }.into()),
    ];
    let paths = prop_oneof![
        (any_varint(), any_varint(), vec(any::<u8>(), 1..=20), any::<[u8; 16]>()).prop_map(
            |(a, b, id, token)| {
                let id = ConnectionId::try_from(&id[..]).unwrap();
                let (sequence, retire_prior_to) = (a.max(b), a.min(b));
                NewConnectionId { sequence, retire_prior_to, id, reset_token: ResetToken(token) }.into()
            }
        ),
        any_varint().prop_map(|sequence| RetireConnectionId { sequence }.into()),
        any::<[u8; 8]>().prop_map(|data| PathChallenge { data }.into()),
        any::<[u8; 8]>().prop_map(|data| PathResponse { data }.into()),
    ];
    let signals =
        prop_oneof![Just(Frame::Ping), Just(Frame::HandshakeDone), (1_usize..50).prop_map(Frame::Padding)];
    prop_oneof![streams, limits, paths, signals, any_ack(), any_close()]
}

proptest! {
    #[test]
    fn frames_survive(frames in vec(any_frame(), 1..12)) {
        let mut packet = Vec::new();
        for frame in &frames {
            packet.extend(encoded(frame));
        }
        // Runs of padding join.
        let mut joined: Vec<Frame> = Vec::new();
        for frame in frames {
            match (joined.last_mut(), frame) {
                (Some(Frame::Padding(run)), Frame::Padding(more)) => *run += more,
                (_, frame) => joined.push(frame),
            }
        }
        prop_assert_eq!(all(&packet).unwrap(), joined);
    }

    #[test]
    fn no_payload_does_harm(payload in vec(any::<u8>(), 0..300), first in 0_u8..0x40) {
        for payload in [payload.clone(), [&[first][..], &payload].concat()] {
            let mut frames = Frames::new(payload.into());
            while let Ok(Some(frame)) = frames.next() {
                if let Frame::Ack(ack) = &frame {
                    prop_assert!(ack.ranges.iter().count() <= 300);
                }
                let mut out = Vec::new();
                frame.encode(&mut out);
                prop_assert_eq!(out.len(), frame.size());
            }
        }
    }

    #[test]
    fn a_frame_with_a_wrong_byte_does_no_harm(frame in any_frame(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encoded(&frame);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = all(&bytes);
    }
}
