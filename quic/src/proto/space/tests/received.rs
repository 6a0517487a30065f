use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::packet::{Ecn, EcnCounts, SpaceId, epoch};
use crate::proto::space::Received;

const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

fn data() -> Received {
    Received::new(SpaceId::Data, MAX_ACK_DELAY)
}

fn ranges(received: &Received) -> Vec<(u64, u64)> {
    received.ranges().map(|range| (*range.start(), *range.end())).collect()
}

proptest! {
    #[test]
    fn ranges_are_those_of_a_set(numbers in prop::collection::vec(0u64..120, 1..200)) {
        let mut received = data();
        let mut model = BTreeSet::new();
        for pn in numbers {
            prop_assert_eq!(received.is_duplicate(pn), model.contains(&pn));
            if model.insert(pn) {
                received.on_packet(epoch(), pn, None, true);
            }
            let mut descending: Vec<(u64, u64)> = Vec::new();
            for &pn in model.iter().rev() {
                match descending.last_mut() {
                    Some(range) if range.0 == pn + 1 => range.0 = pn,
                    _ => descending.push((pn, pn)),
                }
            }
            prop_assert_eq!(ranges(&received), descending);
            prop_assert_eq!(received.largest(), model.last().copied());
        }
    }

    // covers: R9000-13.2.3-03
    #[test]
    fn however_many_gaps_memory_is_bounded_and_nothing_is_accepted_twice(
        numbers in prop::collection::vec(0u64..2000, 1..400)
    ) {
        let mut received = data();
        let mut seen = BTreeSet::new();
        for pn in numbers {
            if !received.is_duplicate(pn) {
                prop_assert!(seen.insert(pn), "{} was accepted twice", pn);
                received.on_packet(epoch(), pn, None, true);
            } else {
                received.on_ack_acked(pn);
            }
            prop_assert!(received.ranges().count() <= 64);
        }
    }
}

// covers: R9000-13.2.2-01 R9000-13.2.1-01
#[test]
fn every_second_packet_is_acknowledged_and_one_alone_waits() {
    let now = epoch();
    let mut received = data();
    received.on_packet(now, 0, None, true);
    assert!(received.can_ack() && !received.must_ack(now));
    assert_eq!(received.ack_deadline(), Some(now + MAX_ACK_DELAY));
    assert!(received.must_ack(now + MAX_ACK_DELAY));
    let later = now + Duration::from_millis(3);
    received.on_packet(later, 1, None, true);
    assert!(received.must_ack(later));
    assert_eq!(received.ack_deadline(), Some(now + MAX_ACK_DELAY), "the first one counts");
    assert_eq!(received.ack_delay(later + MAX_ACK_DELAY), MAX_ACK_DELAY, "measured from the largest");
}

// covers: R9000-13.2.1-03
#[test]
fn an_acknowledgment_is_sent_once() {
    let now = epoch();
    let mut received = data();
    received.on_packet(now, 0, None, true);
    received.on_packet(now, 1, None, true);
    received.on_ack_sent();
    assert!(!received.can_ack() && !received.must_ack(now + MAX_ACK_DELAY));
    assert_eq!(received.ack_deadline(), None);
}

// covers: R9000-13.2.1-04
#[test]
fn packets_that_elicit_nothing_are_acknowledged_only_along_with_others() {
    let now = epoch();
    let mut received = data();
    for pn in [0, 5, 3] {
        received.on_packet(now, pn, None, false);
    }
    assert!(!received.can_ack() && !received.must_ack(now + MAX_ACK_DELAY));
    received.on_packet(now, 6, None, true);
    assert!(received.can_ack());
    assert_eq!(ranges(&received), [(5, 6), (3, 3), (0, 0)]);
}

// covers: R9000-13.2.1-02
#[test]
fn the_spaces_of_the_handshake_do_not_wait() {
    let now = epoch();
    for space in [SpaceId::Initial, SpaceId::Handshake] {
        let mut received = Received::new(space, MAX_ACK_DELAY);
        received.on_packet(now, 0, None, true);
        assert!(received.must_ack(now));
    }
}

// covers: R9000-13.2.1-07
#[test]
fn reordering_and_new_gaps_are_reported_at_once() {
    let now = epoch();
    let mut received = data();
    let mut immediate = |pn| {
        received.on_packet(now, pn, None, true);
        let immediate = received.must_ack(now);
        received.on_ack_sent();
        immediate
    };
    assert!(!immediate(0) && !immediate(1));
    assert!(immediate(3), "2 is missing");
    assert!(!immediate(4), "an old gap is no news");
    assert!(immediate(2), "late");
    assert!(!immediate(5));
}

// covers: R9000-13.2.1-08 R9000-13.4.1-01
#[test]
fn ecn_marks_are_counted_and_congestion_is_reported_at_once() {
    let now = epoch();
    let mut received = data();
    received.on_packet(now, 0, None, false);
    assert_eq!(received.ecn_counts(), None);
    received.on_packet(now, 1, Some(Ecn::Ect0), false);
    received.on_packet(now, 2, Some(Ecn::Ect1), true);
    assert!(!received.must_ack(now));
    received.on_packet(now, 3, Some(Ecn::Ce), true);
    assert!(received.must_ack(now));
    assert_eq!(received.ecn_counts(), Some(EcnCounts { ect0: 1, ect1: 1, ce: 1 }));
}

// covers: R9000-13.2.3-02 R9000-13.2.3-04 R9000-13.2.3-05
#[test]
fn what_the_peer_knows_is_not_repeated_but_still_recognised() {
    let now = epoch();
    let mut received = data();
    for pn in [0, 1, 2, 5, 6, 9] {
        received.on_packet(now, pn, None, true);
    }
    received.on_ack_acked(5);
    assert_eq!(ranges(&received), [(9, 9), (6, 6)]);
    assert!([0, 1, 2, 5].into_iter().all(|pn| received.is_duplicate(pn)));
    // A packet that fills an old gap must be reported, and so are those above it.
    assert!(!received.is_duplicate(3));
    received.on_packet(now, 3, None, true);
    assert_eq!(ranges(&received), [(9, 9), (5, 6), (3, 3)]);
    received.on_ack_acked(9);
    assert_eq!(ranges(&received), [(9, 9)], "the largest is always there");
    assert_eq!(received.largest(), Some(9));
}
