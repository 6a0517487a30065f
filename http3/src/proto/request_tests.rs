//! Messages in every order of frames, and cut at every byte.

use proptest::prelude::*;

use super::*;
use crate::proto::frame::{encode_data_header, encode_headers, encode_reserved};

/// Frames of a request stream.
#[derive(Debug, Clone)]
enum Item {
    Headers(&'static [u8]),
    Data(&'static [u8]),
    Reserved(u64),
}
use Item::{Data, Headers, Reserved};

fn encode(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Headers(section) => encode_headers(&mut out, |out| {
                out.extend_from_slice(section);
                Ok::<_, ()>(())
            })
            .unwrap(),
            Data(data) => {
                encode_data_header(data.len() as u64, &mut out);
                out.extend_from_slice(data);
            }
            Reserved(seed) => encode_reserved(*seed, &mut out),
        }
    }
    out
}

/// All events up to the end or a fault, the stream arriving in pieces of `piece` bytes. The content of each head is
/// given; a head beyond these is one too many.
fn read(side: Side, heads: &[Option<Content>], stream: &[u8], piece: usize) -> (Vec<Event>, Option<Fault>) {
    let mut reader = MessageReader::new(side, 1000);
    let mut heads = heads.iter();
    let mut pieces = stream.chunks(piece);
    let mut events = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Event::End)) => {
                events.push(Event::End);
                return (events, None);
            }
            Ok(Some(event)) => {
                if let Event::Head(_) = event {
                    match heads.next().expect("a head more than expected") {
                        Some(content) => reader.head_done(*content),
                        None => reader.interim().expect("few interim responses"),
                    }
                }
                match (events.last_mut(), event) {
                    (Some(Event::Data(so_far)), Event::Data(more)) => {
                        *so_far = [&so_far[..], &more].concat().into();
                    }
                    (_, event) => events.push(event),
                }
            }
            Ok(None) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => reader.finish(),
            },
            Err(fault) => return (events, Some(fault)),
        }
    }
}

fn head(section: &'static [u8]) -> Event {
    Event::Head(Bytes::from_static(section))
}

fn data(data: &'static [u8]) -> Event {
    Event::Data(Bytes::from_static(data))
}

fn code(fault: Option<Fault>) -> Option<(bool, Code)> {
    match fault? {
        Fault::Connection(violation) => Some((true, violation.code)),
        Fault::Malformed(_) => Some((false, Code::H3_MESSAGE_ERROR)),
        Fault::Incomplete => Some((false, Code::H3_REQUEST_INCOMPLETE)),
        Fault::SectionTooLarge => None,
    }
}

const UNEXPECTED: Option<(bool, Code)> = Some((true, Code::H3_FRAME_UNEXPECTED));
const MALFORMED: Option<(bool, Code)> = Some((false, Code::H3_MESSAGE_ERROR));

#[test]
fn a_whole_message_arrives_however_it_is_cut() {
    let items = [
        Reserved(3),
        Headers(b"head"),
        Reserved(7),
        Data(b"12345"),
        Data(b""),
        Data(b"678"),
        Headers(b"trail"),
    ];
    let stream = encode(&items);
    for piece in 1..=stream.len() {
        let (events, fault) = read(Side::Server, &[Some(Content::Exactly(8))], &stream, piece);
        let trailers = Event::Trailers(Bytes::from_static(b"trail"));
        assert_eq!(events, [head(b"head"), data(b"12345678"), trailers, Event::End], "pieces of {piece}");
        assert_eq!(fault, None);
    }
}

#[test]
fn what_is_peeked_is_still_to_come() {
    let stream = encode(&[Headers(b"head"), Reserved(1), Data(b""), Data(b"12345678")]);
    let mut reader = MessageReader::new(Side::Server, 1000);
    reader.push(stream.into());
    assert_eq!(reader.next(), Ok(Some(head(b"head"))));
    reader.head_done(Content::Exactly(8));
    assert_eq!(reader.remaining(), Some(8));
    for _ in 0..2 {
        assert_eq!(reader.peek(), Ok(Some(&data(b"12345678"))));
        assert_eq!(reader.remaining(), Some(8));
    }
    assert_eq!(reader.next(), Ok(Some(data(b"12345678"))));
    assert_eq!(reader.remaining(), Some(0));
    assert_eq!(reader.peek(), Ok(None));
    reader.finish();
    assert_eq!(reader.peek(), Ok(Some(&Event::End)));
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let stream = encode(&[Headers(b"100"), Headers(b"103"), Headers(b"200"), Data(b"x")]);
    let (events, fault) = read(Side::Client, &[None, None, Some(Content::Unknown)], &stream, 4);
    assert_eq!(events, [head(b"100"), head(b"103"), head(b"200"), data(b"x"), Event::End]);
    assert_eq!(fault, None);
}

#[test]
fn frames_out_of_order_close_the_connection() {
    // covers: R9114-4.1-03
    let one = &[Some(Content::Unknown)][..];
    let interim = &[None][..];
    for (heads, items) in [
        (one, &[Data(b"early")][..]),
        (one, &[Data(b"")]),
        (one, &[Headers(b"h"), Headers(b"t"), Data(b"late")]),
        (one, &[Headers(b"h"), Headers(b"t"), Data(b"")]),
        (one, &[Headers(b"h"), Headers(b"t"), Headers(b"t")]),
        (one, &[Headers(b"h"), Data(b"d"), Headers(b"t"), Reserved(1), Headers(b"t")]),
        (interim, &[Headers(b"100"), Data(b"d")]),
    ] {
        for side in [Side::Client, Side::Server] {
            let (_, fault) = read(side, heads, &encode(items), 100);
            assert_eq!(code(fault), UNEXPECTED, "{items:?}");
        }
    }
}

#[test]
fn frames_of_other_streams_close_the_connection() {
    // covers: R9114-7.2.3-06 R9114-7.2.4-03 R9114-7.2.4-04 R9114-7.2.5-10 R9114-7.2.6-02 R9114-7.2.7-01 R9114-7.2.8-02
    for kind in [0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0d] {
        for items in [&[][..], &[Headers(b"h")], &[Headers(b"h"), Headers(b"t")]] {
            let stream = [encode(items), vec![kind, 1, 0]].concat();
            for side in [Side::Client, Side::Server] {
                let (_, fault) = read(side, &[Some(Content::Unknown)], &stream, 100);
                let pushed = kind == 0x05 && side == Side::Client;
                let expected = if pushed { Some((true, Code::H3_ID_ERROR)) } else { UNEXPECTED };
                assert_eq!(code(fault), expected, "{kind:#x}");
            }
        }
    }
}

#[test]
fn content_is_what_the_content_length_says() {
    // covers: R9114-4.1.2-02
    // The stream is finished apart from its last data: the FIN that betrays a short message is an empty one.
    for (length, items, expected) in [
        (5, &[Headers(b"h"), Data(b"12345")][..], None),
        (5, &[Headers(b"h"), Data(b"123"), Data(b"45"), Headers(b"t")], None),
        (5, &[Headers(b"h"), Data(b"1234")], MALFORMED),
        (5, &[Headers(b"h"), Data(b"1234"), Data(b"")], MALFORMED),
        (5, &[Headers(b"h"), Data(b"1234"), Headers(b"t")], MALFORMED),
        (5, &[Headers(b"h"), Data(b"12345"), Data(b"6")], MALFORMED),
        (5, &[Headers(b"h")], MALFORMED),
        (5, &[Headers(b"h"), Headers(b"t")], MALFORMED),
        (0, &[Headers(b"h")], None),
        (0, &[Headers(b"h"), Data(b"")], None),
        (0, &[Headers(b"h"), Data(b"1")], MALFORMED),
        (u64::MAX, &[Headers(b"h"), Data(b"1")], MALFORMED),
    ] {
        for side in [Side::Client, Side::Server] {
            for piece in [1, 3, 100] {
                let (events, fault) = read(side, &[Some(Content::Exactly(length))], &encode(items), piece);
                assert_eq!(code(fault), expected, "{length} {items:?}");
                assert_eq!(events.last() == Some(&Event::End), expected.is_none());
            }
        }
    }
}

#[test]
fn too_much_content_is_not_handed_out() {
    let stream = encode(&[Headers(b"h"), Data(b"1234567")]);
    let (events, fault) = read(Side::Server, &[Some(Content::Exactly(5))], &stream, 100);
    assert_eq!((events, code(fault)), (vec![head(b"h")], MALFORMED));
}

#[test]
fn responses_without_content_have_none() {
    for (items, expected) in [
        (&[Headers(b"h")][..], None),
        (&[Headers(b"h"), Data(b"")], None),
        (&[Headers(b"h"), Headers(b"t")], None),
        (&[Headers(b"h"), Data(b"1")], MALFORMED),
    ] {
        let (_, fault) = read(Side::Client, &[Some(Content::Forbidden)], &encode(items), 100);
        assert_eq!(code(fault), expected, "{items:?}");
    }
}

#[test]
fn a_tunnel_carries_data_only() {
    // covers: R9114-4.4-02
    let stream = encode(&[Headers(b"h"), Data(b"1"), Reserved(2), Data(b"2")]);
    let (events, fault) = read(Side::Server, &[Some(Content::Tunnel)], &stream, 100);
    assert_eq!((events, fault), (vec![head(b"h"), data(b"12"), Event::End], None));
    let stream = encode(&[Headers(b"h"), Data(b"1"), Headers(b"t")]);
    let (_, fault) = read(Side::Server, &[Some(Content::Tunnel)], &stream, 100);
    assert_eq!(code(fault), UNEXPECTED);
}

#[test]
fn a_stream_that_ends_too_early_is_told_apart() {
    // covers: R9114-4.1-10 R9114-7.1-04
    let heads = &[Some(Content::Unknown)];
    for items in [&[][..], &[Reserved(5)]] {
        let (_, fault) = read(Side::Server, heads, &encode(items), 100);
        assert_eq!(code(fault), Some((false, Code::H3_REQUEST_INCOMPLETE)));
        let (_, fault) = read(Side::Client, heads, &encode(items), 100);
        assert_eq!(code(fault), MALFORMED);
    }
    let (_, fault) = read(Side::Client, &[None], &encode(&[Headers(b"100")]), 100);
    assert_eq!(code(fault), MALFORMED, "an interim response only");

    let stream = encode(&[Headers(b"head"), Data(b"123"), Headers(b"trail")]);
    let between = [encode(&[Headers(b"head")]).len(), encode(&[Headers(b"head"), Data(b"123")]).len()];
    for cut in 1..stream.len() {
        if !between.contains(&cut) {
            let (_, fault) = read(Side::Server, heads, &stream[..cut], 100);
            assert_eq!(code(fault), Some((true, Code::H3_FRAME_ERROR)), "cut at {cut}");
        }
    }
}

#[test]
fn field_sections_over_the_limit_are_not_taken_in() {
    static LARGE: [u8; 1001] = [b'x'; 1001];
    for items in [&[Headers(&LARGE)][..], &[Headers(b"h"), Headers(&LARGE)]] {
        // The header of the frame is enough to tell.
        let stream = encode(items);
        let stream = &stream[..stream.len() - 1001];
        let (_, fault) = read(Side::Server, &[Some(Content::Unknown)], stream, 100);
        assert_eq!(fault, Some(Fault::SectionTooLarge));
    }
}

#[test]
fn floods_of_frames_without_effect_close_the_connection() {
    // covers: R9114-10.5-02
    for item in [Data(b""), Reserved(0)] {
        let mut items = vec![Headers(b"h")];
        items.resize(1 + MAX_IDLE_FRAMES as usize, item.clone());
        let (_, fault) = read(Side::Server, &[Some(Content::Unknown)], &encode(&items), 100);
        assert_eq!(fault, None);
        items.push(item);
        let (_, fault) = read(Side::Server, &[Some(Content::Unknown)], &encode(&items), 100);
        assert_eq!(code(fault), Some((true, Code::H3_EXCESSIVE_LOAD)));
    }
    let mut reader = MessageReader::new(Side::Client, 1000);
    let faults = (0..=MAX_IDLE_FRAMES).filter(|_| reader.interim().is_err()).count();
    assert_eq!(faults, 1, "interim responses are bounded, too");
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_message_or_a_fault(stream: Vec<u8>, piece in 1_usize..50, server: bool) {
        let side = if server { Side::Server } else { Side::Client };
        let heads = [Some(Content::Exactly(10))];
        let _ = read(side, &heads, &stream, piece);
    }
}
