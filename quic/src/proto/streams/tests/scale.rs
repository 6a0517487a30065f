//! What many streams cost.

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

/// How often records of streams are looked at while `work` is done.
fn looks(s: &mut Streams, work: impl FnOnce(&mut Streams)) -> u64 {
    let before = s.table.looks.get();
    work(s);
    s.table.looks.get() - before
}

/// Sends, acknowledges and receives some packets on one stream of each direction.
fn busy(s: &mut Streams, id: StreamId, packets: u64) {
    let (out, payload) = (uni(ME, 0), zeroes(1000));
    for n in 0..packets {
        s.write(out, payload.clone());
        let sent = packet(s, 1200).unwrap();
        acked(s, &sent);
        s.on_stream(id, n * 1000, false, payload.clone()).unwrap();
        events(s);
        while let Some(RecvChunk::Data(data)) = s.read(id) {
            s.consumed(id, data.len() as u64);
        }
    }
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
    let (alone, crowded) =
        (looks(&mut few, |s| busy(s, bi(PEER, 0), 500)), looks(&mut many, |s| busy(s, bi(PEER, 0), 500)));
    assert_eq!(alone, crowded, "the same work among idle streams");
}

/// Opens streams that all have much to send, the last one first.
fn active(streams: u64, priority: impl Fn(u64) -> Priority) -> Streams {
    let (mut s, data) = (roomy(20_000), zeroes(400_000));
    for index in (0..streams).rev() {
        s.set_priority(uni(ME, index), priority(index));
        s.write(uni(ME, index), data.clone());
    }
    s
}

/// Looks per packet that is sent and acknowledged, or lost and sent again.
fn looks_per_packet(s: &mut Streams) -> u64 {
    const PACKETS: u64 = 2_000;
    let work = |s: &mut Streams| {
        for n in 0..PACKETS {
            let sent = packet(s, 1200).unwrap();
            if n % 50 == 7 {
                lost(s, &sent);
            } else {
                acked(s, &sent);
            }
            events(s);
        }
    };
    looks(s, work).div_ceil(PACKETS)
}

#[test]
fn active_streams_cost_no_more_per_packet_than_a_few() {
    type Kind = fn(u64) -> Priority;
    let kinds: [(Kind, &str); 3] = [
        (|_| Priority::default(), "in turns"),
        (|index| Priority::urgency((index % 8) as u8, index % 3 == 0), "of all urgencies"),
        (|index| Priority::integer(index as i32), "each of its own level"),
    ];
    for (kind, name) in kinds {
        let few = looks_per_packet(&mut active(10, kind));
        let many = looks_per_packet(&mut active(10_000, kind));
        assert!(many <= few + 2, "{name}: {few} looks with 10 streams, {many} with 10000");
    }
}

#[test]
fn joining_streams_that_go_in_order_costs_the_logarithm_of_their_number() {
    for streams in [10, 100, 1_000, 10_000_u64] {
        let mut s = roomy(20_000);
        // The worst order, and many small ones, each of which leaves as soon as its turn comes.
        let work = |s: &mut Streams| {
            for index in (0..streams).rev() {
                s.set_priority(uni(ME, index), Priority::urgency(3, false));
                s.write(uni(ME, index), zeroes(100));
            }
            while packet(s, 1200).is_some() {}
        };
        let looks = looks(&mut s, work) / streams;
        assert!(looks <= 40 + 6 * u64::from(streams.ilog2()), "{looks} looks per stream of {streams}");
    }
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
