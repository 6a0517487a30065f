//! The sending part, through all of its states, and what holds it back.

use super::*;

const ME: Side = Side::Client;

#[test]
fn data_and_fin_leave_in_one_frame_and_are_told_when_acknowledged() {
    let mut s = end(ME);
    s.write(bi(ME, 0), data("hello "));
    s.write(bi(ME, 0), data("world"));
    s.finish(bi(ME, 0));
    let sent = flush(&mut s);
    assert!(matches!(&sent.frames[..], [Frame::Stream(f)] if f.fin && &f.data[..] == b"hello world"));
    assert_quiet(&mut s);
    acked(&mut s, &sent);
    let id = bi(ME, 0);
    assert_eq!(events(&mut s), [StreamEvent::Acked { id, bytes: 11 }, StreamEvent::Finished(id)]);
    assert_eq!(s.len(), 1, "the peer may still send");
}

#[test]
fn a_unidirectional_stream_is_gone_when_it_is_acknowledged() {
    let mut s = end(ME);
    s.write(uni(ME, 0), data("x"));
    let first = flush(&mut s);
    s.finish(uni(ME, 0));
    let second = flush(&mut s);
    assert_eq!(stream_frames(&second), [(uni(ME, 0), 1, 0, true)]);
    acked(&mut s, &second);
    assert_quiet(&mut s);
    acked(&mut s, &first);
    assert_eq!(events(&mut s).last(), Some(&StreamEvent::Finished(uni(ME, 0))));
    assert!(s.is_empty());
}

// covers: R9000-3.3-02
#[test]
fn a_reset_replaces_data_until_it_is_acknowledged() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, zeroes(500));
    let sent = packet(&mut s, 100).unwrap();
    let size = stream_frames(&sent)[0].2 as u64;
    s.reset(id, code(7));
    s.reset(id, code(8));
    s.write(id, data("late"));
    s.finish(id);
    for _ in 0..3 {
        let reset = flush(&mut s);
        assert!(
            matches!(reset.frames[..], [Frame::ResetStream(f)] if f.error_code == code(7) && f.final_size == size),
        );
        lost(&mut s, &sent);
        lost(&mut s, &reset);
    }
    let reset = flush(&mut s);
    acked(&mut s, &sent);
    assert_quiet(&mut s);
    acked(&mut s, &reset);
    assert_eq!(events(&mut s), [StreamEvent::ResetAcked(id)]);
    assert!(s.is_empty());
    lost(&mut s, &reset);
    assert_quiet(&mut s);
}

#[test]
fn a_reset_may_be_the_first_frame_of_a_stream() {
    let mut s = end(ME);
    s.reset(bi(ME, 0), code(1));
    assert!(matches!(flush(&mut s).frames[..], [Frame::ResetStream(f)] if f.final_size == 0));
}

// covers: R9000-3.5-02, R9000-3.5-03, R9000-3.5-04
#[test]
fn stop_sending_is_answered_with_a_reset() {
    for fin in [false, true] {
        for sent in [false, true] {
            let mut s = end(ME);
            let id = bi(ME, 0);
            s.write(id, data("hello"));
            if fin {
                s.finish(id);
            }
            let before = sent.then(|| flush(&mut s));
            s.on_stop_sending(id, code(9)).unwrap();
            s.on_stop_sending(id, code(10)).unwrap();
            let size = if sent { 5 } else { 0 };
            let reset = flush(&mut s);
            assert!(
                matches!(reset.frames[..], [Frame::ResetStream(f)] if f.error_code == code(9) && f.final_size == size)
            );
            if let Some(before) = before {
                lost(&mut s, &before);
                assert!(!s.wants_to_send());
            }
            assert_eq!(events(&mut s), [StreamEvent::Stopped { id, code: code(9) }]);
            s.write(id, data("late"));
            assert_quiet(&mut s);
        }
    }
}

#[test]
fn stop_sending_after_everything_is_acknowledged_changes_nothing() {
    let mut s = end(ME);
    let id = bi(ME, 0);
    s.write(id, data("hello"));
    s.finish(id);
    let sent = flush(&mut s);
    acked(&mut s, &sent);
    events(&mut s);
    s.on_stop_sending(id, code(9)).unwrap();
    assert_quiet(&mut s);
}

#[test]
fn stop_sending_before_any_other_frame_opens_the_stream() {
    let mut s = end(Side::Server);
    let id = bi(ME, 0);
    s.on_stop_sending(id, code(9)).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(id), StreamEvent::Stopped { id, code: code(9) }]);
    assert!(matches!(flush(&mut s).frames[..], [Frame::ResetStream(f)] if f.final_size == 0));
    s.on_stream(id, 0, true, data("question")).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(id)]);
}

// covers: R9000-2.2-02
#[test]
fn lost_data_is_sent_again_as_it_was_and_ahead_of_new_data() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, (0..200).collect());
    let first = packet(&mut s, 60).unwrap();
    let second = packet(&mut s, 60).unwrap();
    s.write(uni(ME, 1), zeroes(10));
    acked(&mut s, &second);
    lost(&mut s, &first);
    let again = packet(&mut s, 120).unwrap();
    let (Frame::Stream(before), Frame::Stream(after)) = (&first.frames[0], &again.frames[0]) else {
        panic!()
    };
    assert_eq!((before.offset, &before.data), (after.offset, &after.data));
    acked(&mut s, &first);
    lost(&mut s, &again);
    let next = flush(&mut s);
    assert!(stream_frames(&next).iter().all(|(_, offset, ..)| *offset != 0 || next.frames.len() > 1));
    acked(&mut s, &next);
    assert!(events(&mut s).contains(&StreamEvent::Acked { id, bytes: 200 }));
}

// covers: R9000-4.1-01, R9000-4.1-04, R9000-19.13-01, R9000-19.10-03
#[test]
fn a_stream_stops_at_its_limit_and_says_so_once() {
    let mut s = end(ME);
    let id = bi(ME, 0);
    s.write(id, zeroes(1500));
    assert_eq!(stream_frames(&packet(&mut s, 2000).unwrap()), [(id, 0, 1000, false)]);
    let sent = flush(&mut s);
    assert!(matches!(sent.frames[..], [Frame::StreamDataBlocked(f)] if f.id == id && f.limit == 1000));
    lost(&mut s, &sent);
    let again = flush(&mut s);
    assert!(matches!(again.frames[..], [Frame::StreamDataBlocked(_)]));
    assert_quiet(&mut s);
    // covers: R9000-4.1-03
    s.on_max_stream_data(id, 900).unwrap();
    assert_quiet(&mut s);
    s.on_max_stream_data(id, 1200).unwrap();
    assert_eq!(stream_frames(&packet(&mut s, 2000).unwrap()), [(id, 1000, 200, false)]);
    assert!(matches!(flush(&mut s).frames[..], [Frame::StreamDataBlocked(f)] if f.limit == 1200));
    s.on_max_stream_data(id, 5000).unwrap();
    lost(&mut s, &again);
    let rest = flush(&mut s);
    assert_eq!(
        (stream_frames(&rest), rest.frames.len()),
        (vec![(id, 1200, 300, false)], 1),
        "no longer blocked"
    );
}

// covers: R9000-4.1-01, R9000-4.1-04, R9000-19.12-01
#[test]
fn all_streams_together_stop_at_the_limit_of_the_connection() {
    let mut s = end(ME);
    for index in 0..4 {
        s.write(bi(ME, index), zeroes(900));
        s.finish(bi(ME, index));
    }
    let sent = packet(&mut s, 10_000).unwrap();
    let frames = stream_frames(&sent);
    assert_eq!(frames.iter().map(|(_, _, len, _)| len).sum::<usize>(), 3000);
    assert_eq!(frames.last(), Some(&(bi(ME, 3), 0, 300, false)));
    let blocked = flush(&mut s);
    assert!(matches!(blocked.frames[..], [Frame::DataBlocked(f)] if f.limit == 3000));
    assert_quiet(&mut s);
    lost(&mut s, &blocked);
    assert!(matches!(flush(&mut s).frames[..], [Frame::DataBlocked(_)]));
    // What was lost needs no credit.
    lost(&mut s, &sent);
    assert_eq!(stream_frames(&flush(&mut s)), frames);
    // covers: R9000-4.1-03
    s.on_max_data(2000);
    assert_quiet(&mut s);
    s.on_max_data(3100);
    assert_eq!(stream_frames(&packet(&mut s, 2000).unwrap()), [(bi(ME, 3), 300, 100, false)]);
    s.on_max_data(10_000);
    assert_eq!(stream_frames(&flush(&mut s)), [(bi(ME, 3), 400, 500, true)]);
}

// covers: R9000-4.1-05
#[test]
fn a_sender_that_stays_blocked_can_say_so_again() {
    let mut s = end(ME);
    assert!(!s.repeat_blocked());
    s.write(bi(ME, 0), zeroes(1001));
    packet(&mut s, 2000);
    flush(&mut s);
    assert!(s.repeat_blocked());
    assert!(matches!(flush(&mut s).frames[..], [Frame::StreamDataBlocked(_)]));
    for index in 1..4 {
        s.write(bi(ME, index), zeroes(900));
    }
    packet(&mut s, 10_000);
    flush(&mut s);
    assert!(s.repeat_blocked());
    assert!(matches!(flush(&mut s).frames[..], [Frame::DataBlocked(_)]));
}

// covers: R9000-4.6-05, R9000-19.14-01, R9000-4.6-04, R9000-19.11-02, R9000-19.11-03
#[test]
fn stream_limits_are_told_and_waiting_for_one_is_reported_once_per_limit() {
    let mut s = end(ME);
    assert_eq!(s.local_limit(Dir::Uni), 10);
    s.report_open_blocked(Dir::Uni);
    s.report_open_blocked(Dir::Uni);
    let sent = flush(&mut s);
    assert!(matches!(sent.frames[..], [Frame::StreamsBlocked(f)] if f.dir == Dir::Uni && f.limit == 10));
    s.report_open_blocked(Dir::Uni);
    assert_quiet(&mut s);
    lost(&mut s, &sent);
    assert_eq!(flush(&mut s).frames, sent.frames);
    s.on_max_streams(Dir::Uni, 9).unwrap();
    assert_quiet(&mut s);
    s.on_max_streams(Dir::Uni, 11).unwrap();
    s.on_max_streams(Dir::Uni, 12).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Limit { dir: Dir::Uni, streams: 12 }]);
    lost(&mut s, &sent);
    assert_quiet(&mut s);
}

#[test]
fn limits_that_come_late_reach_streams_that_wait() {
    let mut s = Streams::new(ME, limits());
    s.set_peer_limits(PeerLimits { initial_max_streams_bidi: 1, ..PeerLimits::default() });
    s.write(bi(ME, 0), data("early"));
    assert!(stream_frames(&flush(&mut s)).is_empty());
    s.set_peer_limits(as_peer_limits(limits()));
    assert_eq!(stream_frames(&flush(&mut s)), [(bi(ME, 0), 0, 5, false)]);
    s.set_peer_limits(PeerLimits::default());
    assert_eq!(s.local_limit(Dir::Bi), 10, "never lowered");
}

// covers: R9000-2.3-01
#[test]
fn priority_can_change_at_any_time() {
    let mut s = end(ME);
    for index in 0..3 {
        s.write(uni(ME, index), zeroes(60));
    }
    s.set_priority(uni(ME, 1), Priority::integer(-1));
    s.set_priority(uni(ME, 2), Priority::integer(i32::MAX));
    s.set_priority(uni(ME, 3), Priority::integer(5));
    s.write(uni(ME, 3), zeroes(60));
    let order: Vec<_> = stream_frames(&flush(&mut s)).iter().map(|(id, ..)| id.index()).collect();
    assert_eq!(order, [2, 3, 0, 1]);
}

#[test]
fn equals_take_turns_of_some_packets() {
    let mut s = Streams::new(ME, limits());
    let many = PeerLimits {
        initial_max_data: 1 << 30,
        initial_max_stream_data_uni: 1 << 30,
        ..as_peer_limits(limits())
    };
    s.set_peer_limits(many);
    for index in 0..3 {
        s.write(uni(ME, index), zeroes(100_000));
    }
    let mut order = Vec::new();
    let mut sent = [0; 3];
    for _ in 0..100 {
        for (id, _, len, _) in stream_frames(&packet(&mut s, 1200).unwrap()) {
            order.push(id.index());
            sent[id.index() as usize] += len as u64;
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!(most - least <= schedule::TURN + 1200, "{sent:?}");
        }
    }
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((12..=16).contains(&switches), "{order:?}");
}

// covers: R9218-10-03, R9218-12-01
#[test]
fn what_is_not_incremental_leaves_one_after_another() {
    let mut s = end(ME);
    for index in [2, 0, 1] {
        s.set_priority(uni(ME, index), Priority::urgency(3, false));
        s.write(uni(ME, index), zeroes(500));
    }
    let first = packet(&mut s, 700).unwrap();
    assert_eq!(stream_frames(&first)[0], (uni(ME, 0), 0, 500, false));
    s.write(uni(ME, 0), zeroes(300));
    lost(&mut s, &first);
    let order: Vec<_> =
        stream_frames(&flush(&mut s)).iter().map(|(id, offset, ..)| (id.index(), *offset)).collect();
    let split = stream_frames(&first)[1].2 as u64;
    assert_eq!(order, [(0, 0), (1, 0), (0, 500), (1, split), (2, 0)], "what was lost goes first");
}
