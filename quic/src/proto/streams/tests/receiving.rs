//! The receiving part, through all of its states, and the credit it gives.

use proptest::prelude::*;

use super::*;

const ME: Side = Side::Server;
const PEER: Side = Side::Client;

#[test]
fn first_frame_data_and_fin_are_told_once() {
    let mut s = end(ME);
    let id = bi(PEER, 0);
    s.on_stream(id, 0, false, data("hello ")).unwrap();
    s.on_stream(id, 6, true, data("world")).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(id), StreamEvent::Readable(id)]);
    assert_eq!(s.read(id), Some(RecvChunk::Data(data("hello "))));
    assert_eq!(s.read(id), Some(RecvChunk::Data(data("world"))));
    assert_eq!(s.read(id), Some(RecvChunk::Finished));
    assert_eq!(s.read(id), None);
    s.on_stream(id, 6, true, data("world")).unwrap();
    assert_quiet(&mut s);
}

// covers: R9000-2.2-01
#[test]
fn data_out_of_order_waits_and_a_late_fin_is_told() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 3, false, data("def")).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(id)]);
    assert_eq!(s.read(id), None);
    s.on_stream(id, 0, false, data("abc")).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(id)]);
    let chunks: Vec<_> = std::iter::from_fn(|| s.read(id)).collect();
    let bytes = chunks.iter().flat_map(|chunk| match chunk {
        RecvChunk::Data(data) => data.to_vec(),
        other => panic!("{other:?}"),
    });
    assert_eq!(bytes.collect::<Vec<_>>(), b"abcdef");
    s.on_stream(id, 6, true, Bytes::new()).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(id)]);
    assert_eq!(s.read(id), Some(RecvChunk::Finished));
    s.consumed(id, 6);
    assert!(s.is_empty());
}

#[test]
fn a_stream_without_data_ends_when_the_application_has_seen_it() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, true, Bytes::new()).unwrap();
    s.release(id);
    assert_eq!(events(&mut s), [StreamEvent::Opened(id), StreamEvent::Readable(id)]);
    assert_eq!(s.read(id), Some(RecvChunk::Finished));
    assert_eq!(s.len(), 1);
    s.release(id);
    assert!(s.is_empty());
}

#[test]
fn a_reset_overtakes_what_was_not_read() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, false, data("abc")).unwrap();
    assert_eq!(s.read(id), Some(RecvChunk::Data(data("abc"))));
    s.on_stream(id, 3, false, data("def")).unwrap();
    s.on_reset_stream(id, code(4), 100).unwrap();
    s.on_stream(id, 6, false, data("late")).unwrap();
    assert_eq!(s.read(id), Some(RecvChunk::Reset(code(4))));
    assert_eq!(s.read(id), None);
    s.on_reset_stream(id, code(5), 100).unwrap();
    events(&mut s);
    s.consumed(id, 3);
    s.release(id);
    assert!(s.is_empty());
    assert_eq!((s.received.received(), s.received.consumed()), (100, 100));
}

#[test]
fn a_reset_after_everything_has_arrived_is_too_late() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, true, data("abc")).unwrap();
    s.on_reset_stream(id, code(4), 3).unwrap();
    assert_eq!(s.read(id), Some(RecvChunk::Data(data("abc"))));
    assert_eq!(s.read(id), Some(RecvChunk::Finished));
    // Without FIN the end is not known to be one, even if the reset adds no bytes.
    let id = uni(PEER, 1);
    s.on_stream(id, 0, false, data("abc")).unwrap();
    s.on_reset_stream(id, code(4), 3).unwrap();
    assert_eq!(s.read(id), Some(RecvChunk::Reset(code(4))));
}

// covers: R9000-3.5-01
#[test]
fn stop_asks_until_the_final_size_is_known_and_credits_everything() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, false, zeroes(10)).unwrap();
    assert!(s.read(id).is_some());
    s.on_stream(id, 20, false, zeroes(10)).unwrap();
    events(&mut s);
    s.stop(id, code(6));
    s.stop(id, code(7));
    for _ in 0..2 {
        let stop = flush(&mut s);
        assert!(matches!(stop.frames[..], [Frame::StopSending(f)] if f.id == id && f.error_code == code(6)));
        lost(&mut s, &stop);
    }
    let stop = flush(&mut s);
    s.on_stream(id, 30, false, zeroes(5)).unwrap();
    assert_eq!((s.read(id), s.received.consumed()), (None, 25));
    s.consumed(id, 10);
    assert_eq!((s.received.received(), s.received.consumed()), (35, 35));
    s.on_reset_stream(id, code(6), 50).unwrap();
    assert_eq!((s.received.received(), s.received.consumed()), (50, 50));
    assert!(s.is_empty());
    lost(&mut s, &stop);
    assert_quiet(&mut s);
}

#[test]
fn a_stopped_stream_ends_with_fin_too() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 5, false, zeroes(10)).unwrap();
    events(&mut s);
    s.stop(id, code(6));
    flush(&mut s);
    s.on_stream(id, 15, true, zeroes(1)).unwrap();
    assert!(s.is_empty(), "what lies in the gap does not matter");
    assert_eq!((s.received.received(), s.received.consumed()), (16, 16));
}

// covers: R9000-3.5-05
#[test]
fn stop_says_nothing_when_there_is_nothing_to_stop() {
    for reset in [false, true] {
        let mut s = end(ME);
        let id = uni(PEER, 0);
        s.on_stream(id, 0, !reset, zeroes(10)).unwrap();
        if reset {
            s.on_reset_stream(id, code(1), 10).unwrap();
        }
        s.stop(id, code(6));
        assert!(!s.wants_to_send());
        events(&mut s);
        assert!(s.is_empty());
        assert_eq!(s.received.consumed(), 10);
    }
    let mut s = end(ME);
    s.on_stream(uni(PEER, 0), 5, true, zeroes(5)).unwrap();
    s.stop(uni(PEER, 0), code(6));
    assert!(matches!(flush(&mut s).frames[..], [Frame::StopSending(_)]), "size known, data missing");
    events(&mut s);
    assert!(s.is_empty());
}

#[test]
fn a_reset_makes_a_waiting_stop_unnecessary() {
    let mut s = end(ME);
    let id = uni(PEER, 0);
    s.on_stream(id, 0, false, zeroes(10)).unwrap();
    s.stop(id, code(6));
    s.on_reset_stream(id, code(1), 10).unwrap();
    assert!(packet(&mut s, 1000).is_none());
    events(&mut s);
    assert!(s.is_empty());
}

// covers: R9000-4.2-01
#[test]
fn credit_follows_consumption_in_quarters() {
    let mut s = end(ME);
    let id = bi(PEER, 0);
    s.on_stream(id, 0, false, zeroes(1000)).unwrap();
    while s.read(id).is_some() {}
    s.consumed(id, 249);
    assert!(!s.wants_to_send());
    s.consumed(id, 1);
    let sent = flush(&mut s);
    assert!(matches!(sent.frames[..], [Frame::MaxStreamData(f)] if f.id == id && f.maximum == 1250));
    s.consumed(id, 500);
    let both = flush(&mut s);
    assert!(matches!(
        both.frames[..],
        [Frame::MaxData(a), Frame::MaxStreamData(b)] if a.maximum == 3750 && b.maximum == 1750
    ));
    lost(&mut s, &sent);
    lost(&mut s, &both);
    assert_eq!(flush(&mut s).frames, both.frames, "the newest values");
    s.on_stream(id, 1000, true, zeroes(750)).unwrap();
    while s.read(id).is_some() {}
    lost(&mut s, &both);
    assert!(
        matches!(flush(&mut s).frames[..], [Frame::MaxData(_)]),
        "a stream with known size needs no more"
    );
    s.consumed(id, 1000);
    assert!(flush(&mut s).frames.iter().all(|frame| matches!(frame, Frame::MaxData(_))));
}

// covers: R9000-4.6-06
#[test]
fn stream_credit_comes_back_as_streams_end() {
    let mut s = end(ME);
    for index in 0..3 {
        s.on_stream(uni(PEER, index), 0, true, zeroes(1)).unwrap();
        while s.read(uni(PEER, index)).is_some() {}
        s.consumed(uni(PEER, index), 1);
        assert_eq!(s.len(), 1, "not before its events were polled");
        events(&mut s);
        assert!(s.is_empty());
        assert_eq!(s.wants_to_send(), index == 1, "a quarter of ten, more or less");
        if s.wants_to_send() {
            let sent = flush(&mut s);
            assert!(
                matches!(sent.frames[..], [Frame::MaxStreams(f)] if f.dir == Dir::Uni && f.maximum == 12)
            );
            lost(&mut s, &sent);
            assert_eq!(flush(&mut s).frames, sent.frames);
        }
    }
    s.set_max_concurrent(Dir::Uni, 20);
    assert!(matches!(flush(&mut s).frames[..], [Frame::MaxStreams(f)] if f.maximum == 23));
    s.set_max_concurrent(Dir::Uni, 0);
    s.set_receive_window(4000);
    assert!(matches!(flush(&mut s).frames[..], [Frame::MaxData(f)] if f.maximum == 4003));
}

#[test]
fn frames_that_do_not_fit_wait() {
    let mut s = end(ME);
    for index in 0..4 {
        s.on_stream(bi(PEER, index), 0, false, zeroes(500)).unwrap();
        while s.read(bi(PEER, index)).is_some() {}
        s.consumed(bi(PEER, index), 500);
        s.reset(bi(PEER, index), code(1));
        s.stop(bi(PEER, index), code(2));
        s.write(uni(ME, index), zeroes(20));
    }
    s.report_open_blocked(Dir::Bi);
    s.set_max_concurrent(Dir::Bi, 100);
    let (mut small, mut packets) = (Vec::new(), 0);
    while let Some(packet) = packet(&mut s, 24) {
        small.extend(packet.frames.into_iter().filter(|frame| !matches!(frame, Frame::Padding(_))));
        packets += 1;
    }
    assert!(!s.wants_to_send());
    assert!(packets > 5);
    let control = small.iter().filter(|frame| !matches!(frame, Frame::Stream(_))).count();
    assert_eq!(control, 1 + 1 + 4 + 4 + 1, "{small:?}");
}

#[test]
fn a_wasteful_peer_is_copied() {
    let mut s = end(ME);
    let mut pinned = 0;
    for index in 0..10 {
        let burst = zeroes(65_536);
        s.begin_burst(burst.len());
        s.on_stream(uni(PEER, index), 0, false, burst.slice(..1)).unwrap();
        pinned += usize::from(!burst.is_unique());
    }
    assert!(pinned <= 3, "{pinned}");
}

/// An end that takes 100,000 bytes.
fn roomy() -> Streams {
    let window = 100_000;
    Streams::new(ME, StreamLimits { receive_window: window, stream_window_uni: window, ..limits() })
}

fn read_some(s: &mut Streams, id: StreamId, unordered: bool, chunks: usize) {
    for _ in 0..chunks {
        let chunk = if unordered { s.read_unordered(id).map(|(_, chunk)| chunk) } else { s.read(id) };
        match chunk {
            Some(RecvChunk::Data(data)) => s.consumed(id, data.len() as u64),
            _ => return,
        }
    }
}

#[test]
fn what_is_missing_in_gaps_takes_up_no_memory() {
    for unordered in [false, true] {
        let mut s = roomy();
        let id = uni(PEER, 0);
        s.on_stream(id, 0, false, data("x")).unwrap();
        assert_eq!(s.unread(), 1);
        s.on_stream(id, 50_000, false, data("far ahead")).unwrap();
        assert_eq!(s.unread(), 1 + 4096, "a byte, and a page");
        read_some(&mut s, id, unordered, 9);
        assert!(s.unread() <= 4096 + 9);
        s.on_stream(id, 1, false, zeroes(49_999)).unwrap();
        assert!(s.unread() >= 49_999 && s.unread() <= 50_008 + 4096, "{}", s.unread());
        match unordered {
            false => {
                s.on_reset_stream(id, code(1), 60_000).unwrap();
            }
            true => s.stop(id, code(1)),
        }
        assert_eq!(s.unread(), 0);
    }
}

proptest! {
    #[test]
    fn nothing_is_charged_for_streams_that_were_read_and_no_less_than_what_others_hold(
        pieces in prop::collection::vec((0_u64..60_000, 1_usize..3000, 0_usize..4), 0..40),
        unordered: bool,
        ending in 0..3,
    ) {
        let mut s = roomy();
        let id = uni(PEER, 0);
        for (offset, len, reads) in pieces {
            s.on_stream(id, offset, false, zeroes(len)).unwrap();
            read_some(&mut s, id, unordered, reads);
            let slot = s.table.find(id).unwrap();
            let held = s.table.get(slot).unwrap().recv.held_bytes();
            prop_assert!(s.unread() >= held as u64, "{} for {}", s.unread(), held);
            prop_assert!(s.unread() <= 64_000 + 4096 * 17);
        }
        match ending {
            0 => {
                s.on_stream(id, 0, true, zeroes(64_000)).unwrap();
                read_some(&mut s, id, unordered, usize::MAX);
            }
            1 => drop(s.on_reset_stream(id, code(1), 64_000).unwrap()),
            _ => s.stop(id, code(1)),
        }
        prop_assert_eq!(s.unread(), 0);
    }
}
