//! Frames: where they may stand, wherever they are cut, and what must be refused.

use proptest::prelude::*;

use super::*;

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_header(kind, payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

fn decode(decoder: &mut FrameDecoder, bytes: &[u8]) -> Result<Vec<Frame>, Violation> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(&mut input)? {
        frames.push(frame);
    }
    assert!(input.is_empty());
    Ok(frames)
}

fn on_request(side: Side, bytes: &[u8]) -> Result<Vec<Frame>, Code> {
    decode(&mut FrameDecoder::request(side, 100), bytes).map_err(|violation| violation.code)
}

/// Behind an empty SETTINGS frame, which is taken off again.
fn on_control(side: Side, bytes: &[u8]) -> Result<Vec<Frame>, Code> {
    let mut decoder = FrameDecoder::control(side);
    assert_eq!(decode(&mut decoder, &frame(SETTINGS, &[])), Ok(vec![Frame::Settings(Settings::default())]));
    decode(&mut decoder, bytes).map_err(|violation| violation.code)
}

/// Joins the pieces of DATA, which depend on how the input was cut.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for frame in frames {
        match (joined.last_mut(), frame) {
            (Some(Frame::Data(last)), Frame::Data(next)) => *last = [&last[..], &next[..]].concat().into(),
            (_, frame) => joined.push(frame),
        }
    }
    joined
}

#[test]
fn a_request_stream_in_one_piece() {
    let bytes =
        [frame(HEADERS, b"section"), frame(DATA, b"body"), frame(DATA, b""), frame(HEADERS, b"")].concat();
    let frames = on_request(Side::Server, &bytes).unwrap();
    let expected = [
        Frame::Headers(Bytes::from_static(b"section")),
        Frame::Data(Bytes::from_static(b"body")),
        Frame::Data(Bytes::new()),
        Frame::Headers(Bytes::new()),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn data_is_not_copied() {
    let mut input = Bytes::from(frame(DATA, &[7; 1000]));
    let payload = input.slice(3..);
    let got = FrameDecoder::request(Side::Client, 0).next(&mut input);
    let Ok(Some(Frame::Data(piece))) = got else { panic!("{got:?}") };
    assert_eq!(piece.as_ptr(), payload.as_ptr());
    assert_eq!(piece.len(), 1000);
}

#[test]
fn a_stream_may_end_between_frames_only() {
    // covers: R9114-7.1-04
    let bytes = [frame(HEADERS, b"abc"), frame(0x21, &[0; 70]), frame(DATA, b"defg")].concat();
    for cut in 0..=bytes.len() {
        let mut decoder = FrameDecoder::request(Side::Server, 100);
        decode(&mut decoder, &bytes[..cut]).unwrap();
        let ends_well = [0, 5, 5 + 73, bytes.len()].contains(&cut);
        let expected = if ends_well { None } else { Some(Code::H3_FRAME_ERROR) };
        assert_eq!(decoder.finish().err().map(|violation| violation.code), expected, "cut at {cut}");
    }
}

#[test]
fn unknown_frames_are_skipped_as_they_arrive() {
    // covers: R9114-7.2.8-01 R9114-9-01
    let mut decoder = FrameDecoder::request(Side::Client, 100);
    let mut header = Vec::new();
    encode_header(0x21, (1 << 62) - 1, &mut header);
    assert_eq!(decode(&mut decoder, &header), Ok(vec![Frame::Unknown { kind: 0x21, length: (1 << 62) - 1 }]));
    for _ in 0..1000 {
        assert_eq!(decode(&mut decoder, &[0; 4096]), Ok(vec![]));
    }
    assert!(matches!(decoder.state, State::Skip { remaining } if remaining == (1 << 62) - 1 - 4_096_000));
}

#[test]
fn frame_types_of_http2_are_refused() {
    // covers: R9114-7.2.8-02
    for kind in [0x02, 0x06, 0x08, 0x09] {
        for side in [Side::Client, Side::Server] {
            assert_eq!(on_request(side, &[kind]), Err(Code::H3_FRAME_UNEXPECTED));
            assert_eq!(on_control(side, &[kind]), Err(Code::H3_FRAME_UNEXPECTED));
        }
    }
}

#[test]
fn frames_of_the_control_stream_stay_there() {
    // covers: R9114-7.2.3-06 R9114-7.2.4-04 R9114-7.2.6-02 R9114-7.2.7-01
    for kind in [CANCEL_PUSH, SETTINGS, GOAWAY, MAX_PUSH_ID] {
        for side in [Side::Client, Side::Server] {
            assert_eq!(on_request(side, &frame(kind, &[0])), Err(Code::H3_FRAME_UNEXPECTED));
        }
    }
}

#[test]
fn frames_of_requests_stay_off_the_control_stream() {
    // covers: R9114-7.2.1-02 R9114-7.2.2-01 R9114-7.2.5-08
    for kind in [DATA, HEADERS, PUSH_PROMISE] {
        for side in [Side::Client, Side::Server] {
            assert_eq!(on_control(side, &frame(kind, &[0])), Err(Code::H3_FRAME_UNEXPECTED));
        }
    }
}

#[test]
fn no_push_is_permitted() {
    // covers: R9114-7.2.5-02 R9114-7.2.5-10
    assert_eq!(on_request(Side::Client, &frame(PUSH_PROMISE, &[0])), Err(Code::H3_ID_ERROR));
    assert_eq!(on_request(Side::Server, &frame(PUSH_PROMISE, &[0])), Err(Code::H3_FRAME_UNEXPECTED));
}

#[test]
fn the_control_stream_begins_with_settings() {
    // covers: R9114-6.2.1-02 R9114-9-03
    for kind in [DATA, HEADERS, CANCEL_PUSH, GOAWAY, MAX_PUSH_ID, 0x21, 0xf0700, 0x02] {
        let got = decode(&mut FrameDecoder::control(Side::Server), &frame(kind, &[0]));
        assert_eq!(got.map_err(|violation| violation.code), Err(Code::H3_MISSING_SETTINGS));
    }
}

#[test]
fn settings_come_once() {
    // covers: R9114-7.2.4-02
    assert_eq!(on_control(Side::Client, &frame(SETTINGS, &[])), Err(Code::H3_FRAME_UNEXPECTED));
}

#[test]
fn max_push_id_comes_from_clients() {
    // covers: R9114-7.2.7-03
    assert_eq!(on_control(Side::Client, &frame(MAX_PUSH_ID, &[5])), Err(Code::H3_FRAME_UNEXPECTED));
    assert_eq!(on_control(Side::Server, &frame(MAX_PUSH_ID, &[5])), Ok(vec![Frame::MaxPushId(5)]));
}

#[test]
fn the_length_is_that_of_the_content() {
    // covers: R9114-7.1-01 R9114-7.1-02 R9114-7.1-03 R9114-10.8-01
    for kind in [CANCEL_PUSH, GOAWAY, MAX_PUSH_ID] {
        for payload in [&[][..], &[0, 0], &[0x40], &[0x80, 0, 0], &[0x40, 0, 0], &[0xc0; 9]] {
            assert_eq!(
                on_control(Side::Server, &frame(kind, payload)),
                Err(Code::H3_FRAME_ERROR),
                "{payload:?}"
            );
        }
    }
    assert_eq!(on_control(Side::Server, &frame(GOAWAY, &[0x40, 0x08])), Ok(vec![Frame::GoAway(8)]));
    assert_eq!(on_control(Side::Server, &frame(CANCEL_PUSH, &[3])), Ok(vec![Frame::CancelPush(3)]));
}

#[test]
fn headers_over_the_bound_are_told_and_skipped() {
    let bytes = [frame(HEADERS, &[1; 101]), frame(DATA, b"x")].concat();
    let expected = vec![Frame::OversizedHeaders { length: 101 }, Frame::Data(Bytes::from_static(b"x"))];
    assert_eq!(on_request(Side::Server, &bytes), Ok(expected));
}

#[test]
fn memory_for_headers_follows_their_arrival() {
    let mut decoder = FrameDecoder::request(Side::Server, 1 << 30);
    let mut header = Vec::new();
    encode_header(HEADERS, 1 << 30, &mut header);
    header.extend_from_slice(&[0; 100]);
    decode(&mut decoder, &header).unwrap();
    assert!(matches!(&decoder.state, State::Collect { collected, .. } if collected.capacity() < 1024));
}

#[test]
fn settings_of_an_unreasonable_size_are_refused() {
    let got = decode(&mut FrameDecoder::control(Side::Server), &[0x04, 0x80, 0, 0x10, 0x01]);
    assert_eq!(got.map_err(|violation| violation.code), Err(Code::H3_EXCESSIVE_LOAD));
}

#[test]
fn headers_are_written_with_their_length() {
    for len in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
        let section = vec![9; len];
        let mut out = vec![0x00, 0x00];
        encode_headers(&mut out, |out| {
            out.extend_from_slice(&section);
            Ok::<_, ()>(())
        })
        .unwrap();
        let got = decode(&mut FrameDecoder::request(Side::Server, 1 << 20), &out).unwrap();
        assert_eq!(got, [Frame::Data(Bytes::new()), Frame::Headers(section.into())]);
    }
    let mut out = vec![0xaa];
    let failed = encode_headers(&mut out, |out| {
        out.push(1);
        Err(())
    });
    assert_eq!((failed, out), (Err(()), vec![0xaa]));
}

#[test]
fn reserved_frames_are_ignored_by_our_own_decoder() {
    for seed in 0..100 {
        let mut out = Vec::new();
        encode_reserved(seed, &mut out);
        let kind = crate::proto::reserved(seed);
        assert_eq!(on_request(Side::Server, &out), Ok(vec![Frame::Unknown { kind, length: seed % 8 }]));
        assert_eq!(on_control(Side::Client, &out), Ok(vec![Frame::Unknown { kind, length: seed % 8 }]));
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(|payload| frame(DATA, &payload)),
        proptest::collection::vec(any::<u8>(), 0..120).prop_map(|payload| frame(HEADERS, &payload)),
        (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(seed, payload)| frame(crate::proto::reserved(seed), &payload)),
    ]
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        frames in proptest::collection::vec(any_frame(), 0..6),
        cuts in proptest::collection::vec(1..40_usize, 1..20),
    ) {
        let bytes = frames.concat();
        let whole = on_request(Side::Server, &bytes).unwrap();
        let mut decoder = FrameDecoder::request(Side::Server, 100);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for len in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at((*len).min(rest.len()));
            pieces.extend(decode(&mut decoder, piece).unwrap());
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(decoder.finish().is_ok());
        prop_assert_eq!(joined(pieces), joined(whole));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>, control: bool, server: bool) {
        let side = if server { Side::Server } else { Side::Client };
        let mut decoder =
            if control { FrameDecoder::control(side) } else { FrameDecoder::request(side, 1000) };
        let _ = decode(&mut decoder, &bytes);
        let _ = decoder.finish();
    }

    #[test]
    fn goaway_is_read_back(id in 0..1_u64 << 62) {
        let mut out = Vec::new();
        encode_goaway(id, &mut out);
        prop_assert_eq!(on_control(Side::Client, &out), Ok(vec![Frame::GoAway(id)]));
    }

    #[test]
    fn settings_are_read_back(max in 0..1_u64 << 62, seed: u64) {
        let settings = Settings { max_field_section_size: Some(max), ..Settings::default() };
        let mut out = Vec::new();
        encode_settings(&settings, seed, &mut out);
        let got = decode(&mut FrameDecoder::control(Side::Client), &out).unwrap();
        prop_assert_eq!(got, [Frame::Settings(settings)]);
    }
}
