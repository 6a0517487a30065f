//! Datagrams between two ends (RFC 9221).

use std::time::Duration;

use bytes::Bytes;

use super::early::{acquainted, remembering};
use super::pair::{Pair, Peer, Setup, bytes};
use crate::config::{DatagramPolicy, TransportConfig, TransportConfigBuilder};
use crate::error::{ClosedBy, ConnectionError, SendDatagramError};
use crate::packet::{DatagramFate, Dir, Side, StreamId, TransportErrorCode as Code};
use crate::proto::{DatagramEvent, Event, OutgoingDatagram, Output};
use crate::wire::transport_parameters::TransportParameters;

const MS: Duration = Duration::from_millis(1);

fn setup(client: TransportConfigBuilder, server: TransportConfigBuilder) -> Setup {
    let build = |config: TransportConfigBuilder| config.mtu_upper_bound(None).build().unwrap();
    Setup { client: build(client), server: build(server), ..Setup::default() }
}

fn connected() -> Pair {
    connect(Setup::default())
}

fn connect(setup: Setup) -> Pair {
    let mut pair = Pair::new(setup);
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
    pair
}

fn send(peer: &mut Peer, data: impl Into<Bytes>) -> Result<(), SendDatagramError> {
    let datagram = OutgoingDatagram { data: data.into(), ..OutgoingDatagram::default() };
    peer.connection.send_datagram(datagram, DatagramPolicy::DropOldest)
}

fn track(peer: &mut Peer, track: u64, data: Bytes) {
    let datagram = OutgoingDatagram { data, track: Some(track), ..OutgoingDatagram::default() };
    peer.connection.send_datagram(datagram, DatagramPolicy::DropOldest).unwrap();
}

fn read(peer: &mut Peer) -> Vec<Bytes> {
    std::iter::from_fn(|| peer.connection.datagrams().read()).collect()
}

fn fates(peer: &Peer) -> Vec<(u64, DatagramFate)> {
    let told = peer.events.iter().filter_map(|event| match event {
        Event::Datagram(DatagramEvent::Fate { track, fate }) => Some((*track, *fate)),
        _ => None,
    });
    told.collect()
}

// covers: R9221-5-01 R9221-5-02
#[test]
fn datagrams_of_all_sizes_arrive_in_order() {
    let mut pair = connected();
    let max = pair.client.connection.max_datagram_size().unwrap();
    assert_eq!(max, 1200 - 1 - 8 - 4 - 16 - 1);
    let sent: Vec<Bytes> =
        [0, 1, 63, 64, max, 700, 0, max - 1, max - 2, max - 3, max].into_iter().map(bytes).collect();
    for data in &sent {
        send(&mut pair.client, data.clone()).unwrap();
        send(pair.server(), data.clone()).unwrap();
    }
    let too_large = send(&mut pair.client, bytes(max + 1));
    assert_eq!(too_large, Err(SendDatagramError::TooLarge { max }));
    pair.run_for(11 * MS);
    assert!(pair.server().events.iter().any(|e| matches!(e, Event::Datagram(DatagramEvent::Readable))));
    assert_eq!(read(pair.server()), sent, "at once");
    assert_eq!(read(&mut pair.client), sent);
    pair.run_for(300 * MS);
    let stats = pair.client.connection.stats();
    assert_eq!((stats.datagram_frames_sent, stats.datagram_frames_received), (11, 11));
    assert_eq!((stats.packets_lost, pair.client.connection.datagrams().queued()), (0, 0));
}

// covers: R9221-3-01 R9221-3-05
#[test]
fn each_direction_is_agreed_on_alone() {
    let none = TransportConfig::builder().datagram_receive_buffer_size(0);
    let mut pair = Pair::new(setup(TransportConfig::builder(), none));
    assert_eq!(pair.client.connection.max_datagram_size(), None, "nothing is known yet");
    assert_eq!(send(&mut pair.client, bytes(1)), Err(SendDatagramError::UnsupportedByPeer));
    pair.run_for(300 * MS);
    assert_eq!(pair.client.connection.max_datagram_size(), None);
    assert_eq!(send(&mut pair.client, bytes(1)), Err(SendDatagramError::UnsupportedByPeer));
    send(pair.server(), bytes(10)).unwrap();
    pair.run_for(20 * MS);
    assert_eq!(read(&mut pair.client), [bytes(10)]);
    assert_eq!(pair.server().connection.handshake.peer_datagram_frame_size(), 65_535);

    let mut pair = connect(setup(
        TransportConfig::builder().datagram_send_buffer_size(0),
        TransportConfig::builder().max_datagram_frame_size(0),
    ));
    assert_eq!(send(&mut pair.client, bytes(1)), Err(SendDatagramError::Disabled));
    assert_eq!(pair.server().connection.stats().datagram_frames_received, 0);
}

// covers: R9221-3-02
#[test]
fn no_frame_is_larger_than_the_peer_takes() {
    for limit in [2, 3, 64, 65, 66, 67, 68, 500] {
        let server = TransportConfig::builder().max_datagram_frame_size(limit);
        let mut pair = connect(setup(TransportConfig::builder(), server));
        let max = pair.client.connection.max_datagram_size().unwrap();
        assert!(max < limit as usize && max + 4 > limit as usize, "{max} {limit}");
        for len in 0..=max {
            send(&mut pair.client, bytes(len)).unwrap();
        }
        assert!(send(&mut pair.client, bytes(max + 1)).is_err());
        pair.run_for(300 * MS);
        assert_eq!(pair.server().closed(), None);
        assert_eq!(read(pair.server()).len(), max + 1);
    }
    let server = TransportConfig::builder().max_datagram_frame_size(1);
    assert_eq!(
        connect(setup(TransportConfig::builder(), server)).client.connection.max_datagram_size(),
        None
    );
}

#[test]
fn what_is_lost_is_told_and_not_sent_again() {
    let mut pair = connected();
    let mut next = 0;
    pair.to_server = Box::new(move |_, _| {
        next += 1;
        next > 2
    });
    let max = pair.client.connection.max_datagram_size().unwrap();
    for number in 0..6 {
        track(&mut pair.client, number, bytes(max));
    }
    pair.run_for(500 * MS);
    assert_eq!(read(pair.server()).len(), 4);
    let told = fates(&pair.client);
    assert_eq!(told[..6], [0, 1, 2, 3, 4, 5].map(|number| (number, DatagramFate::Sent)));
    for number in 0..6 {
        let fate = if number < 2 { DatagramFate::Lost } else { DatagramFate::Acknowledged };
        assert!(told[6..].contains(&(number, fate)), "{told:?}");
    }
    assert_eq!(told.len(), 12);
    assert_eq!(pair.client.connection.stats().datagram_frames_sent, 6);
}

/// A probe timeout repeats no datagram, and does not call it lost.
#[test]
fn a_probe_timeout_is_no_loss() {
    let mut pair = connected();
    pair.to_client = Box::new(|_, _| false);
    track(&mut pair.client, 1, bytes(100));
    pair.run_for(200 * MS);
    let stats = pair.client.connection.stats();
    assert!(stats.probe_timeouts > 0);
    assert_eq!(fates(&pair.client), [(1, DatagramFate::Sent)]);
    pair.to_client = Box::new(|_, _| true);
    pair.run_for(2000 * MS);
    assert_eq!(fates(&pair.client), [(1, DatagramFate::Sent), (1, DatagramFate::Acknowledged)]);
    assert_eq!(read(pair.server()), [bytes(100)]);
    assert_eq!(pair.client.connection.stats().datagram_frames_sent, 1);
}

/// Whoever does not ask for fates does not pay for them.
#[test]
fn without_a_number_nothing_is_told() {
    let mut pair = connected();
    for _ in 0..20 {
        send(&mut pair.client, bytes(300)).unwrap();
    }
    let mut next = 0;
    pair.to_server = Box::new(move |_, _| {
        next += 1;
        next > 3
    });
    pair.run_for(500 * MS);
    assert!(pair.client.connection.stats().packets_lost > 0);
    assert!(!pair.client.events.iter().any(|event| matches!(event, Event::Datagram(_))));
}

// covers: R9221-5.4-01
#[test]
fn datagrams_wait_for_the_congestion_window_or_expire() {
    let mut pair = connected();
    pair.to_client = Box::new(|_, _| false);
    let window = pair.client.connection.congestion_window();
    let max = pair.client.connection.max_datagram_size().unwrap();
    let deadline = Some(pair.now + 30 * MS);
    for number in 0..100 {
        let datagram = OutgoingDatagram { data: bytes(max), deadline, track: Some(number), level: 0 };
        pair.client.connection.send_datagram(datagram, DatagramPolicy::DropOldest).unwrap();
    }
    pair.run_for(29 * MS);
    let stats = pair.client.connection.stats();
    assert!(stats.bytes_in_flight <= window && stats.datagram_frames_sent < 15, "{stats:?}");
    assert!(stats.datagram_frames_sent > 5 && stats.datagrams_expired == 0);
    assert!(pair.client.connection.datagrams().queued() > 80 * max);
    pair.run_for(2 * MS);
    let stats = pair.client.connection.stats();
    assert_eq!(stats.datagrams_expired, 100 - stats.datagram_frames_sent);
    assert_eq!(pair.client.connection.datagrams().queued(), 0);
    let expired = fates(&pair.client).iter().filter(|(_, fate)| *fate == DatagramFate::Expired).count();
    assert_eq!(expired as u64, stats.datagrams_expired);
}

/// Both have more to send than the window takes, for a long time: each gets its share.
#[test]
fn neither_streams_nor_datagrams_starve() {
    for len in [20, 500, 1000, 1170] {
        let mut pair = connected();
        let id = StreamId::new(Side::Client, Dir::Uni, 0);
        pair.client.connection.streams().write(id, bytes(1_000_000));
        let (mut of_stream, mut received) = (0, 0);
        while of_stream + received < 800_000 {
            while pair.client.connection.datagrams().queued() < 300_000 {
                send(&mut pair.client, bytes(len)).unwrap();
            }
            pair.run_for(5 * MS);
            received += read(pair.server()).iter().map(Bytes::len).sum::<usize>();
            of_stream = pair.server().received.first().map_or(0, |(_, data, _)| data.len());
        }
        let share = received as f64 / (received + of_stream) as f64;
        assert!((0.3..0.7).contains(&share), "{len}: {received} of datagrams, {of_stream} of streams");
    }
}

// covers: R9221-5.1-01
#[test]
fn the_higher_level_goes_first_whether_stream_or_datagram() {
    for level in [-1, 1] {
        let mut pair = connected();
        let id = StreamId::new(Side::Client, Dir::Uni, 0);
        pair.client.connection.streams().write(id, bytes(50_000));
        for number in 0..50 {
            let data = vec![number; 1000].into();
            let datagram = OutgoingDatagram { data, level, ..OutgoingDatagram::default() };
            pair.client.connection.send_datagram(datagram, DatagramPolicy::DropOldest).unwrap();
        }
        // The window of the first round trip takes a fifth of it.
        pair.run_for(15 * MS);
        let of_stream = pair.server().received.first().map_or(0, |(_, data, _)| data.len());
        let datagrams = read(pair.server()).len();
        if level > 0 {
            assert!(datagrams > 8 && of_stream < 3_000, "{datagrams} {of_stream}");
        } else {
            assert!(datagrams == 0 && of_stream > 8_000, "{datagrams} {of_stream}");
        }
        pair.run_for(500 * MS);
        assert_eq!(read(pair.server()).len() + datagrams, 50);
        assert_eq!(pair.server().received[0].1.len(), 50_000);
    }
}

/// Two ends that send the largest datagrams to each other: acknowledgments find their room as well.
#[test]
fn large_datagrams_leave_room_for_acknowledgments() {
    let mut pair = connected();
    let max = pair.client.connection.max_datagram_size().unwrap();
    for _ in 0..200 {
        send(&mut pair.client, bytes(max)).unwrap();
        send(pair.server(), bytes(max)).unwrap();
    }
    pair.run_for(2000 * MS);
    assert_eq!((read(pair.server()).len(), read(&mut pair.client).len()), (200, 200));
    let stats = pair.client.connection.stats();
    assert_eq!((stats.packets_lost, stats.probe_timeouts), (0, 0));
}

#[test]
fn datagrams_that_became_too_large_are_dropped() {
    let config = TransportConfig::builder().loopback_mtu_upper_bound(1452).build().unwrap();
    let mut pair = connect(Setup { client: config.clone(), server: config, ..Setup::default() });
    let large = pair.client.connection.max_datagram_size().unwrap();
    assert_eq!(large, 1452 - 30);
    track(&mut pair.client, 0, bytes(large));
    track(&mut pair.client, 1, bytes(500));
    let (now, path) = (pair.now, pair.client.connection.path());
    // Before they are sent, the system says that it carries no more.
    pair.client.connection.on_datagram_refused(now, path, 1452);
    assert_eq!(pair.client.connection.max_datagram_size(), Some(1200 - 30));
    pair.run_for(50 * MS);
    assert_eq!(read(pair.server()), [bytes(500)]);
    let told = fates(&pair.client);
    assert!(told.contains(&(0, DatagramFate::Dropped)) && !told.contains(&(0, DatagramFate::Sent)));
    assert!(told.contains(&(1, DatagramFate::Acknowledged)));
    assert_eq!(pair.client.connection.stats().datagrams_unsent, 1);
}

/// A receiver of nothing but datagrams need not answer each of them.
// covers: R9221-5.2-01
#[test]
fn acknowledgments_of_datagrams_are_delayed() {
    let mut pair = connected();
    let before = pair.server().connection.stats().packets_sent;
    send(&mut pair.client, bytes(100)).unwrap();
    pair.run_for(20 * MS);
    assert_eq!(read(pair.server()).len(), 1);
    assert_eq!(pair.server().connection.stats().packets_sent, before, "not yet");
    pair.run_for(30 * MS);
    assert_eq!(pair.server().connection.stats().packets_sent, before + 1);
}

/// A batch is not cut short by an acknowledgment that can wait.
#[test]
fn batches_of_large_datagrams_are_full() {
    let mut pair = connected();
    let max = pair.client.connection.max_datagram_size().unwrap();
    send(pair.server(), bytes(10)).unwrap();
    pair.run_for(12 * MS);
    assert_eq!(read(&mut pair.client).len(), 1);
    for _ in 0..8 {
        send(&mut pair.client, bytes(max)).unwrap();
    }
    let mut batch = crate::packet::TxBatch::new(8);
    let mut segments = Vec::new();
    while let Output::Transmit = pair.client.connection.poll_output(pair.now, Some(&mut batch)) {
        segments.push(batch.segments());
        batch.clear();
    }
    assert_eq!(segments[0], 8, "{segments:?}");
}

// covers: R9221-5-03 R9221-6-01
#[test]
fn early_datagrams_are_of_0rtt_packets() {
    let tls = acquainted(Setup::default);
    let mut pair = Pair::with(Setup::default(), tls);
    let max = pair.client.connection.max_datagram_size().unwrap();
    assert_eq!(max, 1200 - (1 + 4 + 1 + 8 + 1 + 8 + 2) - 4 - 16 - 1);
    for (number, len) in [(0, max), (1, 0), (2, 400)] {
        track(&mut pair.client, number, bytes(len));
    }
    pair.run_for(15 * MS);
    assert!(!pair.server().connection.is_handshake_complete());
    assert_eq!(read(pair.server()).len(), 3);
    assert!(pair.client.connection.stats().early_packets_sent > 0);
    pair.run_for(300 * MS);
    let acked = |number: &u64| fates(&pair.client).contains(&(*number, DatagramFate::Acknowledged));
    assert!((0..3).all(|number| acked(&number)));
    assert_eq!(pair.client.connection.stats().datagram_frames_sent, 3);
}

#[test]
fn early_datagrams_that_the_server_does_not_take_are_lost() {
    let mut tls = acquainted(Setup::default);
    tls.server_sessions.early_data = None;
    let mut pair = Pair::with(Setup::default(), tls);
    track(&mut pair.client, 7, bytes(100));
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
    assert_eq!(fates(&pair.client), [(7, DatagramFate::Sent), (7, DatagramFate::Lost)]);
    assert!(read(pair.server()).is_empty());
    track(&mut pair.client, 8, bytes(200));
    pair.run_for(100 * MS);
    assert_eq!(read(pair.server()), [bytes(200)]);
}

/// What waits when the server turns out to take none is dropped.
#[test]
fn a_server_that_takes_early_data_no_more_takes_no_datagrams_either() {
    let tls = acquainted(Setup::default);
    let none = TransportConfig::builder().max_datagram_frame_size(0);
    let mut pair = Pair::with(setup(TransportConfig::builder(), none), tls);
    for number in 0..200 {
        track(&mut pair.client, number, bytes(1_000));
    }
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed() && pair.client.closed().is_none());
    let ends = fates(&pair.client);
    assert_eq!(ends.iter().filter(|(_, fate)| fate.is_final()).count(), 200);
    assert!(ends.iter().any(|(_, fate)| *fate == DatagramFate::Dropped));
    assert_eq!(pair.client.connection.max_datagram_size(), None);
}

// covers: R9221-3-06
#[test]
fn a_server_that_takes_smaller_datagrams_than_before_takes_no_early_data() {
    let tls = acquainted(Setup::default);
    for (limit, taken) in [(65_535, true), (65_534, false), (0, false)] {
        let server = TransportConfig::builder().max_datagram_frame_size(limit);
        let mut pair = Pair::with(setup(TransportConfig::builder(), server), tls.clone());
        send(&mut pair.client, bytes(100)).unwrap();
        pair.run_for(300 * MS);
        assert!(pair.client.confirmed());
        let told = |event: &Event| matches!(event, Event::EarlyData { accepted } if *accepted == taken);
        assert!(pair.client.events.iter().any(told), "{limit}");
        assert_eq!(read(pair.server()).len(), usize::from(taken));
    }
}

// covers: R9221-3-07
#[test]
fn a_client_does_not_put_up_with_smaller_datagrams_than_before() {
    let larger = |params: &mut TransportParameters| params.max_datagram_frame_size += 1;
    let mut pair = Pair::with(Setup::default(), remembering(larger));
    send(&mut pair.client, bytes(100)).unwrap();
    pair.run_for(300 * MS);
    match pair.client.closed() {
        Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => {
            assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
        }
        other => panic!("{other:?}"),
    }
}

/// A server that took none before is sent none before the handshake.
#[test]
fn nothing_is_sent_early_to_a_server_that_took_none() {
    let none = |params: &mut TransportParameters| params.max_datagram_frame_size = 0;
    let mut pair = Pair::with(Setup::default(), remembering(none));
    assert_eq!(send(&mut pair.client, bytes(1)), Err(SendDatagramError::UnsupportedByPeer));
    pair.run_for(300 * MS);
    send(&mut pair.client, bytes(1)).unwrap();
    pair.run_for(300 * MS);
    assert_eq!(read(pair.server()).len(), 1);
}

/// A hundred thousand datagrams in a second, beside a stream, and nobody reads them.
#[test]
fn a_flood_keeps_the_policy_and_the_memory_of_a_stalled_reader() {
    const BOUND: usize = 100_000;
    for policy in [DatagramPolicy::DropOldest, DatagramPolicy::DropNewest] {
        let server =
            TransportConfig::builder().datagram_receive_buffer_size(BOUND).datagram_receive_policy(policy);
        let mut pair = connect(setup(TransportConfig::builder(), server));
        let stream = StreamId::new(Side::Client, Dir::Uni, 0);
        pair.client.connection.streams().write(stream, bytes(200_000));
        pair.client.connection.streams().finish(stream);
        for number in 0..100_000_u32 {
            send(&mut pair.client, number.to_be_bytes().repeat(20)).unwrap();
            if number % 1_000 == 999 {
                pair.run_for(10 * MS);
            }
        }
        pair.run_for(500 * MS);
        assert!(pair.server().received == [(stream, bytes(200_000).to_vec(), true)]);
        let stats = (pair.client.connection.stats(), pair.server().connection.stats());
        let kept = read(pair.server());
        assert_eq!(kept.len(), BOUND / (80 + 64));
        assert_eq!(stats.1.datagram_frames_received, 100_000 - stats.0.datagrams_unsent);
        assert_eq!(stats.1.datagrams_unread, stats.1.datagram_frames_received - kept.len() as u64);
        let numbers: Vec<u32> =
            kept.iter().map(|data| u32::from_be_bytes(data[..4].try_into().unwrap())).collect();
        assert!(numbers.is_sorted());
        match policy {
            DatagramPolicy::DropOldest => assert_eq!(numbers.last(), Some(&99_999)),
            DatagramPolicy::DropNewest => assert_eq!(numbers.first(), Some(&0)),
        }
    }
}
