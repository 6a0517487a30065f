//! Reading without order.

use super::*;

const ME: Side = Side::Server;
const PEER: Side = Side::Client;

fn bytes(range: std::ops::Range<u64>) -> Bytes {
    range.map(|at| at as u8).collect()
}

/// All that is there: where each piece begins and ends, and the end of the stream.
fn read(s: &mut Streams, id: StreamId) -> (Vec<(u64, u64)>, Option<RecvChunk>) {
    let mut pieces = Vec::new();
    while let Some((offset, chunk)) = s.read_unordered(id) {
        match chunk {
            RecvChunk::Data(data) => {
                let end = offset + data.len() as u64;
                assert_eq!(data, bytes(offset..end));
                s.consumed(id, data.len() as u64);
                pieces.push((offset, end));
            }
            end => return (pieces, Some(end)),
        }
    }
    (pieces, None)
}

fn receive_at(s: &mut Streams, id: StreamId, range: std::ops::Range<u64>, fin: bool) -> Vec<StreamEvent> {
    s.on_stream(id, range.start, fin, bytes(range)).unwrap();
    events(s)
}

#[test]
fn pieces_come_as_they_arrive_and_the_end_when_all_were_read() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    receive_at(&mut s, id, 0..10, false);
    assert_eq!(s.read(id), Some(RecvChunk::Data(bytes(0..10))));
    s.consumed(id, 10);
    receive_at(&mut s, id, 10..20, false);
    receive_at(&mut s, id, 500..600, false);
    assert_eq!(read(&mut s, id), (vec![(10, 20), (500, 600)], None), "what waited behind a gap as well");
    assert_eq!(receive_at(&mut s, id, 550..650, true), [StreamEvent::Readable(id)]);
    assert_eq!(read(&mut s, id), (vec![(600, 650)], None));
    assert_eq!(receive_at(&mut s, id, 500..650, true), [], "nothing new");
    assert_eq!(receive_at(&mut s, id, 0..500, false), [StreamEvent::Readable(id)]);
    assert_eq!(read(&mut s, id), (vec![(20, 500)], Some(RecvChunk::Finished)));
    assert!(s.is_empty());
    assert_eq!((s.received.received(), s.received.consumed()), (650, 650));
}

#[test]
fn a_reader_ahead_of_a_gap_gives_credit_when_it_is_filled() {
    let mut s = end(ME);
    let id = bi(PEER, 0);
    receive_at(&mut s, id, 100..1000, false);
    assert_eq!(read(&mut s, id).0, [(100, 1000)]);
    let frames = flush(&mut s).frames;
    assert!(
        matches!(frames[..], [Frame::MaxData(f)] if f.maximum == 3900),
        "on the stream, nothing: {frames:?}"
    );
    assert_eq!(
        s.on_stream(id, 1000, false, bytes(1000..1001)).unwrap_err().code,
        TransportErrorCode::FLOW_CONTROL_ERROR
    );
    let mut s = end(ME);
    receive_at(&mut s, id, 100..1000, false);
    read(&mut s, id);
    flush(&mut s);
    receive_at(&mut s, id, 0..100, false);
    assert!(matches!(flush(&mut s).frames[..], [Frame::MaxStreamData(f)] if f.maximum == 1900));
    assert_eq!(read(&mut s, id).0, [(0, 100)]);
}

#[test]
fn a_reset_overtakes_and_one_with_a_promise_waits_for_it() {
    let mut s = end(ME);
    let (plain, promising) = (uni(PEER, 0), uni(PEER, 1));
    for id in [plain, promising] {
        receive_at(&mut s, id, 300..600, false);
        assert_eq!(read(&mut s, id).0, [(300, 600)]);
        receive_at(&mut s, id, 700..800, false);
    }
    s.on_reset_stream(plain, code(3), 900).unwrap();
    assert_eq!(read(&mut s, plain), (vec![], Some(RecvChunk::Reset(code(3)))));
    s.on_reset_stream_at(promising, code(3), 900, 400).unwrap();
    assert_eq!(read(&mut s, promising), (vec![(700, 800)], None));
    receive_at(&mut s, promising, 0..300, false);
    assert_eq!(read(&mut s, promising), (vec![(0, 300)], Some(RecvChunk::ResetAt(code(3)))));
    for id in [plain, promising] {
        s.release(id);
    }
    assert!(s.is_empty());
    assert_eq!((s.received.received(), s.received.consumed()), (1800, 1800));
}

#[test]
fn a_stop_throws_away_what_was_not_read() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    receive_at(&mut s, id, 300..600, false);
    read(&mut s, id);
    receive_at(&mut s, id, 700..900, false);
    s.stop(id, code(1));
    assert_eq!(s.read_unordered(id), None);
    s.on_reset_stream(id, code(1), 1000).unwrap();
    flush(&mut s);
    assert!(s.is_empty());
    assert_eq!((s.received.received(), s.received.consumed()), (1000, 1000));
}
