use std::time::Duration;

use super::*;
use crate::packet::{datagram_weight, epoch};

const MS: Duration = Duration::from_millis(1);

fn config(bytes: usize, policy: DatagramPolicy) -> TransportConfig {
    TransportConfig::builder()
        .datagram_send_buffer_size(bytes)
        .datagram_receive_buffer_size(bytes)
        .datagram_receive_policy(policy)
        .build()
        .unwrap()
}

fn numbered(number: u64, len: usize) -> OutgoingDatagram {
    OutgoingDatagram {
        data: vec![number as u8; len].into(),
        track: Some(number),
        ..OutgoingDatagram::default()
    }
}

fn fates(datagrams: &mut Datagrams) -> Vec<(u64, DatagramFate)> {
    std::iter::from_fn(|| datagrams.send.poll_fate()).collect()
}

fn queued(datagrams: &mut Datagrams, now: Instant) -> Vec<u8> {
    let mut found = Vec::new();
    while let Some(next) = datagrams.next(now, Some(1000)) {
        found.push(next.data[0]);
        datagrams.on_sent();
    }
    found
}

#[test]
fn a_full_queue_drops_by_its_policy() {
    let mut datagrams = Datagrams::new(&config(3 * datagram_weight(100), DatagramPolicy::DropOldest));
    for number in 0..3 {
        datagrams.send(numbered(number, 100), DatagramPolicy::DropNewest).unwrap();
    }
    let full = datagrams.send(numbered(3, 1), DatagramPolicy::DropNewest);
    assert_eq!(full, Err(SendDatagramError::Full));
    datagrams.send(numbered(4, 200), DatagramPolicy::DropOldest).unwrap();
    assert_eq!(fates(&mut datagrams), [(0, DatagramFate::Dropped), (1, DatagramFate::Dropped)]);
    assert_eq!(datagrams.queued(), datagram_weight(100) + datagram_weight(200));
    assert_eq!(queued(&mut datagrams, epoch()), [2, 4]);
    assert_eq!((datagrams.queued(), datagrams.counts().unsent), (0, 3));
    datagrams.send(numbered(5, 900), DatagramPolicy::DropNewest).unwrap();
    assert_eq!(queued(&mut datagrams, epoch()), [5], "alone, one may be larger than the queue");
}

#[test]
fn what_is_too_old_or_too_large_is_not_sent() {
    let now = epoch();
    let mut datagrams = Datagrams::new(&config(1 << 20, DatagramPolicy::DropOldest));
    for (number, age) in [(0, 30), (1, 10), (2, 20)] {
        let deadline = Some(now + age * MS);
        let datagram = OutgoingDatagram { deadline, ..numbered(number, 10) };
        datagrams.send(datagram, DatagramPolicy::DropOldest).unwrap();
    }
    datagrams.send(numbered(3, 10), DatagramPolicy::DropOldest).unwrap();
    assert_eq!(datagrams.deadline(), Some(now + 10 * MS));
    datagrams.on_timeout(now + 9 * MS);
    assert!(fates(&mut datagrams).is_empty());
    datagrams.on_timeout(now + 10 * MS);
    assert_eq!(fates(&mut datagrams), [(1, DatagramFate::Expired)]);
    assert_eq!((datagrams.deadline(), datagrams.queued()), (Some(now + 20 * MS), 3 * datagram_weight(10)));
    assert_eq!(queued(&mut datagrams, now + 29 * MS), [0, 3]);
    let told = fates(&mut datagrams);
    assert_eq!(told, [(0, DatagramFate::Sent), (2, DatagramFate::Expired), (3, DatagramFate::Sent)]);
    assert_eq!((datagrams.deadline(), datagrams.counts().expired), (None, 2));
    datagrams.send(numbered(4, 11), DatagramPolicy::DropOldest).unwrap();
    assert_eq!(datagrams.next(now, Some(10)), None);
    datagrams.send(numbered(5, 0), DatagramPolicy::DropOldest).unwrap();
    assert_eq!(datagrams.next(now, None), None, "the peer takes none any more");
    assert_eq!(fates(&mut datagrams), [(4, DatagramFate::Dropped), (5, DatagramFate::Dropped)]);
    assert!(!datagrams.wants_to_send());
}

#[test]
fn what_matters_more_goes_first_and_stays_longer() {
    let mut datagrams = Datagrams::new(&config(4 * datagram_weight(10), DatagramPolicy::DropOldest));
    let mut send = |number, level| {
        let datagram = OutgoingDatagram { level, ..numbered(number, 10) };
        datagrams.send(datagram, DatagramPolicy::DropOldest)
    };
    for (number, level) in [(0, 0), (1, -3), (2, 7), (3, -3), (4, 0), (5, 7)] {
        send(number, level).unwrap();
    }
    assert_eq!(send(6, -1), Err(SendDatagramError::Full), "less than all that wait");
    let dropped = [(1, DatagramFate::Dropped), (3, DatagramFate::Dropped)];
    assert_eq!(fates(&mut datagrams), dropped);
    assert_eq!(datagrams.level(), Some(7));
    assert_eq!(queued(&mut datagrams, epoch()), [2, 5, 0, 4]);
    assert_eq!((datagrams.level(), datagrams.queued()), (None, 0));
}

#[test]
fn nothing_gives_way_in_vain() {
    let mut datagrams = Datagrams::new(&config(3 * datagram_weight(10), DatagramPolicy::DropOldest));
    for (number, level) in [(0, 0), (1, 7), (2, 7)] {
        let datagram = OutgoingDatagram { level, ..numbered(number, 10) };
        datagrams.send(datagram, DatagramPolicy::DropOldest).unwrap();
    }
    let refused = datagrams.send(numbered(3, 90), DatagramPolicy::DropOldest);
    assert_eq!((refused, fates(&mut datagrams)), (Err(SendDatagramError::Full), vec![]));
    assert_eq!((datagrams.counts().unsent, datagrams.queued()), (1, 3 * datagram_weight(10)));
    assert_eq!(queued(&mut datagrams, epoch()), [1, 2, 0]);
}

fn receive(datagrams: &mut Datagrams, data: impl Into<Bytes>) {
    datagrams.on_frame(Datagram { data: data.into(), with_len: true }).unwrap();
}

#[test]
fn a_reader_that_stalls_loses_by_its_policy() {
    for (policy, kept) in [(DatagramPolicy::DropOldest, 2..5), (DatagramPolicy::DropNewest, 0..3)] {
        let mut datagrams = Datagrams::new(&config(3 * datagram_weight(10), policy));
        for number in 0..5 {
            datagrams.begin_burst(100);
            receive(&mut datagrams, vec![number; 10]);
        }
        assert_eq!(datagrams.poll_event(), Some(DatagramEvent::Readable));
        assert_eq!(datagrams.poll_event(), None, "told once");
        let read = std::iter::from_fn(|| datagrams.read()).map(|data| data[0]);
        assert!(read.eq(kept), "{policy:?}");
        assert_eq!((datagrams.counts().received, datagrams.counts().unread), (5, 2));
        receive(&mut datagrams, vec![7; 2]);
        let mut all = VecDeque::from([Bytes::new()]);
        datagrams.read_all(&mut all);
        assert_eq!((all.len(), datagrams.read()), (2, None));
    }
}

/// A hundred thousand datagrams a second for ten seconds, and nobody reads.
#[test]
fn a_flood_holds_no_more_than_its_bound() {
    const BOUND: usize = 256 << 10;
    for policy in [DatagramPolicy::DropOldest, DatagramPolicy::DropNewest] {
        for (len, per_burst, capacity) in [(1200, 50, 65_536), (0, 64, 65_536), (10, 1, 65_536)] {
            let mut datagrams = Datagrams::new(&config(BOUND, policy));
            for _ in 0..1_000_000 / per_burst {
                datagrams.begin_burst(capacity);
                let buffer = Bytes::from(vec![1; 2048]);
                for _ in 0..per_burst {
                    receive(&mut datagrams, buffer.slice(..len));
                }
                assert!(datagrams.recv.weight() <= BOUND);
            }
            let counts = datagrams.counts();
            let kept = std::iter::from_fn(|| datagrams.read()).count() as u64;
            assert_eq!(counts.received, counts.unread + kept);
            assert_eq!(kept as usize, BOUND / datagram_weight(len));
        }
    }
}
