//! Resets that leave the beginning of a stream (draft-ietf-quic-reliable-stream-reset-10), at both ends.

use super::*;

const ME: Side = Side::Client;
const PEER: Side = Side::Server;

fn bytes(range: std::ops::Range<u64>) -> Bytes {
    range.map(|at| at as u8).collect()
}

/// The only frame of a packet.
fn reset_frame(packet: &Packet) -> (u32, u64, u64) {
    match packet.frames[..] {
        [Frame::ResetStreamAt(f)] => (f.error_code.into_inner() as u32, f.final_size, f.reliable_size),
        _ => panic!("{:?}", packet.frames),
    }
}

fn at(final_size: u64, reliable_size: u64) -> (u32, u64, u64) {
    (7, final_size, reliable_size)
}

/// An end that has sent so many bytes on a stream, all in one packet.
fn after_sending(id: StreamId, len: usize) -> (Streams, Packet) {
    let mut s = end(ME);
    s.write(id, zeroes(len));
    let sent = flush(&mut s);
    (s, sent)
}

/// An end that has received so many bytes on a stream.
fn after_receiving(len: u64) -> (Streams, StreamId) {
    let (mut s, id) = (end(ME), uni(PEER, 0));
    s.on_stream(id, 0, false, bytes(0..len)).unwrap();
    (s, id)
}

#[test]
fn a_peer_that_does_not_know_it_is_not_sent_any() {
    let mut s = Streams::new(ME, limits());
    s.set_peer_limits(PeerLimits { reset_stream_at: false, ..as_peer_limits(limits()) });
    s.write(uni(ME, 0), zeroes(10));
    assert!(!s.peer_supports_reset_at() && !s.reset_at(uni(ME, 0), code(7), 5));
    assert_eq!(stream_frames(&flush(&mut s)), [(uni(ME, 0), 0, 10, false)]);
}

// covers: D-reset-stream-at-5-01, D-reset-stream-at-5-02, D-reset-stream-at-5-03, D-reset-stream-at-4-05
#[test]
fn what_was_promised_is_sent_again_and_the_rest_is_not() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, bytes(0..300));
    let first = packet(&mut s, 120).unwrap();
    let second = flush(&mut s);
    let split = stream_frames(&first)[0].2 as u64;
    assert!(s.reset_at(id, code(7), split + 10));
    s.write(id, data("late"));
    s.finish(id);
    let reset = flush(&mut s);
    assert_eq!(reset_frame(&reset), at(300, split + 10));
    assert_eq!(events(&mut s), [StreamEvent::Acked { id, bytes: 300 - split - 10 }], "not kept");
    for sent in [&first, &second] {
        lost(&mut s, sent);
    }
    let again = flush(&mut s);
    assert_eq!(stream_frames(&again), [(id, 0, split as usize + 10, false)]);
    assert!(matches!(&again.frames[0], Frame::Stream(f) if f.data == bytes(0..split + 10)));
    lost(&mut s, &reset);
    let reset = flush(&mut s);
    assert_eq!(reset_frame(&reset), at(300, split + 10));
    acked(&mut s, &reset);
    assert_quiet(&mut s);
    acked(&mut s, &again);
    let told = [StreamEvent::Acked { id, bytes: split + 10 }, StreamEvent::ResetAcked(id)];
    assert_eq!(events(&mut s), told);
    assert!(s.is_empty());
    for sent in [&first, &second, &reset, &again] {
        lost(&mut s, sent);
        acked(&mut s, sent);
    }
    assert_quiet(&mut s);
}

// covers: D-reset-stream-at-4-02
#[test]
fn the_frame_waits_until_flow_control_has_let_its_data_through() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, zeroes(3000));
    assert!(s.reset_at(id, code(7), 1500));
    let sent = packet(&mut s, 5000).unwrap();
    assert_eq!(stream_frames(&sent), [(id, 0, 1000, false)]);
    assert!(matches!(flush(&mut s).frames[..], [Frame::StreamDataBlocked(f)] if f.limit == 1000));
    assert_eq!(events(&mut s), [StreamEvent::Acked { id, bytes: 1500 }]);
    s.on_max_stream_data(id, 4000).unwrap();
    let rest = packet(&mut s, 5000).unwrap();
    assert_eq!(stream_frames(&rest), [(id, 1000, 500, false)], "and no more, whatever the credit");
    let reset = flush(&mut s);
    assert_eq!(reset_frame(&reset), at(1500, 1500));
    // The same for the credit of the connection: half of it is left.
    let other = uni(ME, 1);
    s.write(other, zeroes(900));
    s.write(uni(ME, 2), zeroes(900));
    assert!(s.reset_at(uni(ME, 2), code(7), 900));
    let sent = packet(&mut s, 5000).unwrap();
    assert_eq!(stream_frames(&sent).iter().map(|(_, _, len, _)| len).sum::<usize>(), 1500);
    assert!(matches!(flush(&mut s).frames[..], [Frame::DataBlocked(f)] if f.limit == 3000));
    s.on_max_data(4000);
    packet(&mut s, 5000).unwrap();
    assert_eq!(reset_frame(&flush(&mut s)), at(900, 900));
}

// covers: D-reset-stream-at-5.2-01, D-reset-stream-at-5.2-02, D-reset-stream-at-5.2-05
#[test]
fn a_promise_only_becomes_smaller() {
    let id = uni(ME, 0);
    let (mut s, sent) = after_sending(id, 500);
    assert!(s.reset_at(id, code(7), 300));
    let first = flush(&mut s);
    for (other, size) in [(8, 300), (9, 400), (7, u64::MAX)] {
        assert!(s.reset_at(id, code(other), size));
        assert!(!s.wants_to_send(), "{size} is not smaller");
    }
    assert!(s.reset_at(id, code(8), 200));
    let second = flush(&mut s);
    assert_eq!(
        (reset_frame(&first), reset_frame(&second)),
        (at(500, 300), at(500, 200)),
        "code and size stay"
    );
    lost(&mut s, &first);
    assert!(!s.wants_to_send(), "what is out of date is not sent again");
    acked(&mut s, &first);
    lost(&mut s, &second);
    let second = flush(&mut s);
    assert_eq!(reset_frame(&second), at(500, 200));
    events(&mut s);
    lost(&mut s, &sent);
    let again = flush(&mut s);
    assert_eq!(stream_frames(&again), [(id, 0, 200, false)]);
    acked(&mut s, &again);
    assert_eq!(
        events(&mut s),
        [StreamEvent::Acked { id, bytes: 200 }],
        "not the end: the smallest is under way"
    );
    acked(&mut s, &second);
    assert_eq!(events(&mut s), [StreamEvent::ResetAcked(id)]);
    assert!(s.is_empty());
}

// covers: D-reset-stream-at-5.2-05
#[test]
fn a_plain_reset_may_follow_and_says_the_same() {
    let id = uni(ME, 0);
    let (mut s, sent) = after_sending(id, 500);
    assert!(s.reset_at(id, code(7), 300));
    let first = flush(&mut s);
    s.reset(id, code(9));
    let reset = flush(&mut s);
    assert!(
        matches!(reset.frames[..], [Frame::ResetStream(f)] if f.error_code == code(7) && f.final_size == 500)
    );
    lost(&mut s, &sent);
    lost(&mut s, &first);
    assert!(s.reset_at(id, code(7), 1) && !s.wants_to_send(), "that is over");
    acked(&mut s, &reset);
    assert_eq!(events(&mut s).last(), Some(&StreamEvent::ResetAcked(id)));
    assert!(s.is_empty());
}

#[test]
fn a_promise_that_was_not_told_yet_can_shrink_below_what_was_sent() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, zeroes(500));
    packet(&mut s, 120).unwrap();
    assert!(s.reset_at(id, code(7), 400));
    let sent = packet(&mut s, 120).unwrap();
    let size = stream_frames(&sent).iter().map(|(_, offset, len, _)| offset + *len as u64).max().unwrap();
    assert!(s.reset_at(id, code(7), 50));
    assert_eq!(reset_frame(&flush(&mut s)), at(size, 50), "what nobody needs is not sent any more");
}

#[test]
fn it_may_come_after_fin_and_before_any_data() {
    let mut s = end(ME);
    let (finished, empty) = (uni(ME, 0), uni(ME, 1));
    s.write(finished, zeroes(100));
    s.finish(finished);
    let sent = flush(&mut s);
    assert!(s.reset_at(finished, code(7), 40));
    let reset = flush(&mut s);
    assert_eq!(reset_frame(&reset), at(100, 40));
    lost(&mut s, &sent);
    let again = flush(&mut s);
    assert_eq!(stream_frames(&again), [(finished, 0, 40, false)], "no FIN any more");
    acked(&mut s, &sent);
    acked(&mut s, &reset);
    assert_eq!(events(&mut s).last(), Some(&StreamEvent::ResetAcked(finished)));
    assert!(s.reset_at(empty, code(7), 40));
    assert_eq!(reset_frame(&flush(&mut s)), at(0, 0));
}

#[test]
fn it_is_too_late_once_everything_is_acknowledged() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, zeroes(100));
    s.finish(id);
    let sent = flush(&mut s);
    acked(&mut s, &sent);
    assert!(s.reset_at(id, code(7), 40));
    assert_eq!(events(&mut s).last(), Some(&StreamEvent::Finished(id)));
    assert_quiet(&mut s);
}

#[test]
fn more_may_be_acknowledged_already_than_is_promised() {
    let id = uni(ME, 0);
    let (mut s, sent) = after_sending(id, 100);
    acked(&mut s, &sent);
    s.write(id, zeroes(100));
    flush(&mut s);
    events(&mut s);
    assert!(s.reset_at(id, code(7), 40));
    let reset = flush(&mut s);
    assert_eq!(reset_frame(&reset), at(200, 40));
    acked(&mut s, &reset);
    assert_eq!(events(&mut s), [StreamEvent::Acked { id, bytes: 100 }, StreamEvent::ResetAcked(id)]);
    assert!(s.is_empty());
}

// covers: D-reset-stream-at-5.4-01
#[test]
fn stop_sending_is_answered_with_a_plain_reset() {
    let id = bi(ME, 0);
    let (mut s, sent) = after_sending(id, 100);
    assert!(s.reset_at(id, code(7), 40));
    flush(&mut s);
    s.on_stop_sending(id, code(3)).unwrap();
    assert!(
        matches!(flush(&mut s).frames[..], [Frame::ResetStream(f)] if f.error_code == code(7) && f.final_size == 100)
    );
    assert_eq!(events(&mut s).last(), Some(&StreamEvent::Stopped { id, code: code(3) }));
    lost(&mut s, &sent);
    assert_quiet(&mut s);
}

/// Reads all there is: the bytes, and the end.
fn read(s: &mut Streams, id: StreamId) -> (Vec<u8>, Option<RecvChunk>) {
    let mut all = Vec::new();
    while let Some(chunk) = s.read(id) {
        match chunk {
            RecvChunk::Data(data) => {
                s.consumed(id, data.len() as u64);
                all.extend_from_slice(&data);
            }
            end => return (all, Some(end)),
        }
    }
    (all, None)
}

#[test]
fn the_reader_gets_what_was_promised_and_then_the_reset() {
    let id = uni(PEER, 0);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut s = end(ME);
        for step in order {
            match step {
                0 => s.on_stream(id, 0, false, bytes(0..50)).unwrap(),
                1 => s.on_stream(id, 50, false, bytes(50..200)).unwrap(),
                _ => s.on_reset_stream_at(id, code(7), 500, 120).map(drop).unwrap(),
            }
        }
        assert!(events(&mut s).contains(&StreamEvent::Readable(id)));
        assert_eq!(
            read(&mut s, id),
            (bytes(0..120).to_vec(), Some(RecvChunk::ResetAt(code(7)))),
            "{order:?}"
        );
        assert_eq!(s.read(id), None);
        assert_eq!(s.len(), 1, "the application has yet to see the end");
        s.release(id);
        assert!(s.is_empty());
        assert_eq!((s.received.received(), s.received.consumed()), (500, 500));
    }
}

#[test]
fn the_end_is_told_when_it_can_be_read() {
    let (mut s, id) = after_receiving(50);
    assert_eq!(read(&mut s, id).0.len(), 50);
    events(&mut s);
    s.on_reset_stream_at(id, code(7), 100, 60).unwrap();
    assert_quiet(&mut s);
    assert_eq!(s.read(id), None);
    s.on_stream(id, 70, false, bytes(70..100)).unwrap();
    assert_quiet(&mut s);
    s.on_stream(id, 50, false, bytes(50..70)).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(id)]);
    assert_eq!(read(&mut s, id), (bytes(50..60).to_vec(), Some(RecvChunk::ResetAt(code(7)))));
    // Nothing waits that nobody wants: it is an end without data.
    let other = uni(PEER, 1);
    s.on_reset_stream_at(other, code(8), 100, 0).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(other), StreamEvent::Readable(other)]);
    assert_eq!(read(&mut s, other), (Vec::new(), Some(RecvChunk::ResetAt(code(8)))));
}

// covers: D-reset-stream-at-5.2-03, D-reset-stream-at-5.2-04
#[test]
fn of_several_resets_the_smallest_promise_counts() {
    for sizes in [[80, 50, 60], [50, 80, 60], [60, 50, 100]] {
        let (mut s, id) = after_receiving(40);
        for size in sizes {
            s.on_reset_stream_at(id, code(7), 100, size).unwrap();
        }
        s.on_stream(id, 40, false, bytes(40..100)).unwrap();
        assert_eq!(read(&mut s, id), (bytes(0..50).to_vec(), Some(RecvChunk::ResetAt(code(7)))), "{sizes:?}");
    }
    // RESET_STREAM promises nothing.
    let (mut s, id) = after_receiving(40);
    s.on_reset_stream_at(id, code(7), 100, 80).unwrap();
    s.on_reset_stream(id, code(7), 100).unwrap();
    assert_eq!(read(&mut s, id), (Vec::new(), Some(RecvChunk::Reset(code(7)))));
    s.on_reset_stream_at(id, code(7), 100, 90).unwrap();
    assert_eq!(s.read(id), None);
}

#[test]
fn what_has_arrived_in_full_is_delivered() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, true, bytes(0..40)).unwrap();
    s.on_reset_stream_at(id, code(7), 40, 10).unwrap();
    assert_eq!(read(&mut s, id), (bytes(0..40).to_vec(), Some(RecvChunk::Finished)));
    let id = uni(PEER, 1);
    s.on_stream(id, 0, false, bytes(0..40)).unwrap();
    s.on_reset_stream_at(id, code(7), 50, 40).unwrap();
    s.on_reset_stream_at(id, code(7), 50, 10).unwrap();
    s.on_reset_stream(id, code(7), 50).unwrap();
    assert_eq!(read(&mut s, id), (bytes(0..40).to_vec(), Some(RecvChunk::ResetAt(code(7)))));
}

// covers: D-reset-stream-at-5.2-06
#[test]
fn a_code_that_changes() {
    const STATE: TransportErrorCode = TransportErrorCode::STREAM_STATE_ERROR;
    let id = uni(PEER, 0);
    let one = || {
        let mut s = end(ME);
        s.on_reset_stream_at(id, code(7), 40, 10).unwrap();
        s
    };
    assert_eq!(one().on_reset_stream_at(id, code(8), 40, 5).unwrap_err().code, STATE);
    assert_eq!(one().on_reset_stream(id, code(8), 40).unwrap_err().code, STATE);
    let mut s = end(ME);
    s.on_reset_stream(id, code(7), 40).unwrap();
    assert_eq!(s.on_reset_stream_at(id, code(8), 40, 0).unwrap_err().code, STATE);
}

#[test]
fn a_stopped_stream_ends_with_it() {
    let (mut s, id) = after_receiving(40);
    events(&mut s);
    s.stop(id, code(1));
    s.on_reset_stream_at(id, code(7), 100, 80).unwrap();
    assert!(s.is_empty(), "nothing is left to ask for");
    assert_eq!((s.received.received(), s.received.consumed()), (100, 100));
    assert_quiet(&mut s);
    // The other way round there is still something to ask for.
    let id = uni(PEER, 1);
    s.on_reset_stream_at(id, code(7), 100, 80).unwrap();
    events(&mut s);
    s.stop(id, code(1));
    let sent = packet(&mut s, 1000).unwrap();
    assert!(matches!(sent.frames[..], [Frame::StopSending(f)] if f.id == id));
    assert!(s.is_empty());
    assert_eq!((s.received.received(), s.received.consumed()), (200, 200));
}
