//! What many streams cost.

use std::time::{Duration, Instant};

use super::*;

const ME: Side = Side::Server;
const PEER: Side = Side::Client;

fn roomy(streams: u64) -> Streams {
    let limits = StreamLimits {
        receive_window: 1 << 30,
        stream_window_bidi_local: 1 << 24,
        stream_window_bidi_remote: 1 << 24,
        stream_window_uni: 1 << 24,
        max_receive_window: 0,
        max_stream_window: 0,
        max_concurrent_bidi: streams,
        max_concurrent_uni: streams,
    };
    let mut s = Streams::new(ME, limits);
    s.set_peer_limits(as_peer_limits(limits));
    events(&mut s);
    s
}

/// Sends, acknowledges and receives some packets on one stream of each direction.
fn busy(s: &mut Streams, id: StreamId, packets: u64) -> Duration {
    let (out, payload) = (uni(ME, 0), zeroes(1000));
    // The best of some rounds: what the machine does besides is not ours.
    let round = |s: &mut Streams, round: u64| {
        #[expect(clippy::disallowed_methods, reason = "measures the test's own work")]
        let start = Instant::now();
        for n in round * packets..(round + 1) * packets {
            s.write(out, payload.clone());
            let sent = packet(s, 1200).unwrap();
            acked(s, &sent);
            s.on_stream(id, n * 1000, false, payload.clone()).unwrap();
            events(s);
            while let Some(RecvChunk::Data(data)) = s.read(id) {
                s.consumed(id, data.len() as u64);
            }
        }
        start.elapsed()
    };
    (0..5).map(|n| round(s, n)).min().unwrap()
}

/// Single bytes with gaps on many streams, up to the end of all windows: RUSTSEC-2026-0185.
// covers: R9000-21.7-01
#[test]
fn gaps_on_many_streams_cost_little_more_than_the_window_of_the_connection() {
    const WINDOW: u64 = 2 << 20;
    let limits = StreamLimits {
        receive_window: WINDOW,
        max_receive_window: 0,
        max_stream_window: 0,
        stream_window_bidi_local: 256 << 10,
        stream_window_bidi_remote: 256 << 10,
        stream_window_uni: 256 << 10,
        max_concurrent_bidi: 100,
        max_concurrent_uni: 100,
    };
    // Small steps fill the pages, large ones touch as many as there are.
    for step in [2, 513, 4096, 64 << 10] {
        let mut s = Streams::new(ME, limits);
        let mut accepted = 0_u64;
        'streams: for index in 0..100 {
            for at in (1..256 << 10).step_by(step) {
                // The limit of the connection ends it.
                if s.on_stream(uni(PEER, index), at, false, zeroes(1)).is_err() {
                    break 'streams;
                }
                accepted += 1;
            }
        }
        assert!(accepted >= 8 * (256 << 10) / step as u64);
        let memory = s.memory();
        assert!(memory < WINDOW as usize * 3 / 2, "{memory} bytes for {accepted} pieces {step} bytes apart");
    }
}

#[test]
fn idle_streams_cost_nothing_per_packet() {
    let mut few = roomy(20_000);
    let mut many = roomy(20_000);
    for index in 1..10_000 {
        many.on_stream(bi(PEER, index), 0, false, zeroes(1)).unwrap();
        while many.read(bi(PEER, index)).is_some() {}
        many.write(bi(PEER, index), zeroes(1));
    }
    while let Some(sent) = packet(&mut many, 65_536) {
        acked(&mut many, &sent);
    }
    events(&mut many);
    assert_eq!(many.len(), 9_999);
    assert!(many.events.is_empty() && many.control.is_empty() && many.blocked.is_empty());
    assert!(many.repair.is_empty() && many.fresh.is_empty());
    let (alone, crowded) = (busy(&mut few, bi(PEER, 0), 500), busy(&mut many, bi(PEER, 0), 500));
    // Any work per idle stream would make this a thousandfold.
    assert!(crowded < alone * 10, "{alone:?} alone, {crowded:?} among idle streams");
}

#[test]
fn streams_that_are_only_implied_have_no_record() {
    let mut s = roomy(1 << 40);
    s.on_stream(bi(PEER, (1 << 40) - 1), 0, false, data("x")).unwrap();
    s.on_stream(bi(PEER, 1 << 20), 0, false, data("x")).unwrap();
    s.on_stream(bi(PEER, 7), 0, false, data("x")).unwrap();
    assert_eq!(s.len(), 3);
    assert_eq!(events(&mut s).iter().filter(|event| matches!(event, StreamEvent::Opened(_))).count(), 3);
}

#[test]
fn records_are_small() {
    assert!(size_of::<table::Stream>() <= 640, "{}", size_of::<table::Stream>());
    assert!(size_of::<Streams>() <= 1024, "{}", size_of::<Streams>());
}

#[test]
fn many_small_requests_reuse_what_is_there() {
    let mut s = roomy(100);
    for index in 0..10_000 {
        let id = bi(PEER, index);
        s.on_stream(id, 0, true, data("question")).unwrap();
        assert_eq!(events(&mut s), [StreamEvent::Opened(id), StreamEvent::Readable(id)]);
        while s.read(id).is_some() {}
        s.consumed(id, 8);
        s.write(id, data("answer"));
        s.finish(id);
        let answer = packet(&mut s, 1200).unwrap();
        assert!(stream_frames(&answer).contains(&(id, 0, 6, true)));
        acked(&mut s, &answer);
        assert_eq!(events(&mut s), [StreamEvent::Acked { id, bytes: 6 }, StreamEvent::Finished(id)]);
        assert!(s.is_empty());
    }
}
