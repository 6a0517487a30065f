//! Receive windows that tune themselves.

use super::*;

const ME: Side = Side::Server;
const PEER: Side = Side::Client;
/// That of `packet_at`.
const ROUND_TRIP: Duration = Duration::from_millis(100);

fn tuned() -> StreamLimits {
    StreamLimits { max_receive_window: 100_000, max_stream_window: 50_000, ..limits() }
}

fn receiver() -> Streams {
    let mut s = Streams::new(ME, tuned());
    s.set_peer_limits(as_peer_limits(limits()));
    s
}

/// The peer sends so many bytes more, and they are read.
fn transfer(s: &mut Streams, id: StreamId, bytes: u64) {
    let offset = s.table.find(id).map_or(0, |slot| s.table.get(slot).unwrap().recv.highest());
    s.on_stream(id, offset, false, zeroes(usize::try_from(bytes).unwrap())).unwrap();
    while let Some(RecvChunk::Data(data)) = s.read(id) {
        s.consumed(id, data.len() as u64);
    }
    events(s);
}

/// The windows of the stream and of the connection after `rounds` of reading a quarter of the stream's window, each `pace`
/// after the one before.
fn after(s: &mut Streams, id: StreamId, rounds: u32, pace: Duration) -> (u64, u64) {
    transfer(s, id, 1);
    let window = |s: &Streams| s.stream_receive_window(id).unwrap();
    let mut now = start();
    for _ in 0..rounds {
        let bytes = window(s).min(s.receive_window()) / 4;
        transfer(s, id, bytes);
        now += pace;
        packet_at(s, now, 1000);
    }
    (window(s), s.receive_window())
}

#[test]
fn a_window_doubles_when_a_quarter_is_read_within_a_round_trip() {
    let (stream, connection) = after(&mut receiver(), bi(PEER, 0), 2, ROUND_TRIP);
    assert_eq!((stream, connection), (2000, 3000), "the second quarter is the first that is measured");
    let (stream, connection) = after(&mut receiver(), bi(PEER, 0), 40, ROUND_TRIP / 10);
    assert_eq!((stream, connection), (50_000, 100_000), "as far as it may");
}

#[test]
fn a_reader_that_takes_longer_does_not_make_it_grow() {
    let windows = after(&mut receiver(), bi(PEER, 0), 100, ROUND_TRIP + Duration::from_millis(1));
    assert_eq!(windows, (1000, 3000));
}

#[test]
fn the_window_ends_between_four_and_eight_times_what_is_read_per_round_trip() {
    let mut s = receiver();
    let id = bi(PEER, 0);
    for round in 0..200 {
        for part in 0..4 {
            transfer(&mut s, id, 250);
            packet_at(&mut s, start() + ROUND_TRIP * round + ROUND_TRIP / 4 * part, 1000);
        }
    }
    assert!((4000..=8000).contains(&s.stream_receive_window(id).unwrap()));
    assert!((4000..=8000).contains(&s.receive_window()));
}

#[test]
fn what_waited_for_its_reader_does_not_count_as_fast() {
    let mut s = receiver();
    let id = bi(PEER, 0);
    let mut offset = 0;
    for second in 0..20 {
        // The peer fills the window; a second later all of it is read at once, credit going out after every piece.
        let window = s.stream_receive_window(id).unwrap_or(1000);
        s.on_stream(id, offset, false, zeroes(usize::try_from(window).unwrap())).unwrap();
        offset += window;
        while s.read(id).is_some() {}
        let now = start() + Duration::from_secs(second);
        for _ in 0..4 {
            s.consumed(id, window / 4);
            packet_at(&mut s, now, 1000);
        }
    }
    assert_eq!((s.stream_receive_window(id), s.receive_window()), (Some(1000), 3000));
}

#[test]
fn a_fixed_window_stays() {
    let mut s = Streams::new(ME, limits());
    s.set_peer_limits(as_peer_limits(limits()));
    assert_eq!(after(&mut s, bi(PEER, 0), 20, ROUND_TRIP), (1000, 3000));
    let mut s = receiver();
    s.set_receive_window(5000);
    let (stream, connection) = after(&mut s, bi(PEER, 0), 20, ROUND_TRIP);
    assert!(stream > 1000 && connection == 5000);
    assert_eq!(s.wanted_receive_window(), None, "nothing holds it back but its owner");
}

#[test]
fn a_new_stream_begins_to_grow_where_others_are() {
    let mut s = receiver();
    after(&mut s, bi(PEER, 0), 20, ROUND_TRIP);
    assert_eq!(after(&mut s, bi(PEER, 1), 2, ROUND_TRIP).0, 50_000);
}

// covers: R9000-4.1-03
#[test]
fn a_ceiling_holds_the_window_back_and_takes_no_credit_back() {
    let mut s = receiver();
    s.set_receive_window_ceiling(3000);
    let id = bi(PEER, 0);
    assert_eq!(after(&mut s, id, 20, ROUND_TRIP).1, 3000);
    assert_eq!(s.wanted_receive_window(), Some(6000));
    s.set_receive_window_ceiling(6000);
    assert_eq!((s.receive_window(), s.wanted_receive_window()), (6000, None));
    let promised = |packet: &Packet| {
        packet.frames.iter().find_map(|frame| match frame {
            Frame::MaxData(f) => Some(f.maximum),
            _ => None,
        })
    };
    let granted = packet(&mut s, 1000).and_then(|sent| promised(&sent)).expect("MAX_DATA at once");
    s.set_receive_window_ceiling(1000);
    assert_eq!((s.receive_window(), s.committed()), (1000, 6000), "promised is promised");
    let mut left = 6000;
    while left > 1000 {
        transfer(&mut s, id, 500);
        left -= 500;
        assert_eq!(s.committed(), left);
        assert_eq!(packet(&mut s, 1000).and_then(|sent| promised(&sent)), None);
    }
    transfer(&mut s, id, 500);
    assert_eq!(packet(&mut s, 1000).and_then(|sent| promised(&sent)), Some(granted + 500));
    transfer(&mut s, id, 1000);
}

#[test]
fn streams_that_are_read_a_little_each_credit_the_connection() {
    let mut s = receiver();
    for index in 0..10 {
        s.on_stream(uni(PEER, index), 0, false, zeroes(200)).unwrap();
        while s.read(uni(PEER, index)).is_some() {}
    }
    events(&mut s);
    assert!(!s.wants_to_send());
    s.consumed_of_connection(2000);
    assert!(matches!(flush(&mut s).frames[..], [Frame::MaxData(f)] if f.maximum == 5000));
    for index in 0..10 {
        s.consumed_of_stream(uni(PEER, index), 200);
    }
    assert_quiet(&mut s);
    assert_eq!((s.unread(), s.committed()), (0, 3000));
}
