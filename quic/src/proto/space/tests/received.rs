use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::packet::{Ecn, EcnCounts, SpaceId, epoch};
use crate::proto::space::{AckPolicy, Received};

const NONE: [u64; 0] = [];

const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// Timers fire late.
const WAIT: Duration = Duration::from_millis(24);

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

// covers: R9000-13.2.2-01 R9000-13.2.1-01 R9000-18.2-02
#[test]
fn every_second_packet_is_acknowledged_and_one_alone_waits() {
    let now = epoch();
    let mut received = data();
    received.on_packet(now, 0, None, true);
    assert!(received.can_ack() && !received.must_ack(now));
    assert_eq!(received.ack_deadline(), Some(now + WAIT));
    assert!(!received.must_ack(now + WAIT - Duration::from_nanos(1)) && received.must_ack(now + WAIT));
    let later = now + Duration::from_millis(3);
    received.on_packet(later, 1, None, true);
    assert!(received.must_ack(later));
    assert_eq!(received.ack_deadline(), Some(now + WAIT), "the first one counts");
    assert_eq!(received.ack_delay(later + MAX_ACK_DELAY), MAX_ACK_DELAY, "measured from the largest");
}

// covers: R9000-13.2.1-03
#[test]
fn an_acknowledgment_is_sent_once() {
    let now = epoch();
    let mut received = data();
    received.on_packet(now, 0, None, true);
    received.on_packet(now, 1, None, true);
    received.on_ack_sent(1);
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
        received.on_ack_sent(received.largest().unwrap());
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

fn policy(eliciting_threshold: u64, reordering_threshold: u64) -> AckPolicy {
    AckPolicy { eliciting_threshold, max_ack_delay: MAX_ACK_DELAY, reordering_threshold }
}

/// Which of the packets, received one by one, are acknowledged at once.
fn immediate(policy: AckPolicy, packets: &[u64]) -> Vec<u64> {
    let now = epoch();
    let mut received = data();
    received.set_policy(0, policy);
    let mut at_once = Vec::new();
    for &pn in packets {
        received.on_packet(now, pn, None, true);
        if received.must_ack(now) {
            received.on_ack_sent(received.largest().unwrap());
            at_once.push(pn);
        }
    }
    at_once
}

/// The tables of draft-ietf-quic-ack-frequency-12 §6.2.1, and what follows them.
// covers: D-ack-frequency-6.2-02
#[test]
fn reordering_beyond_the_threshold_is_reported_at_once() {
    assert_eq!(immediate(policy(1_000, 3), &[0, 1, 3, 4, 5, 8, 9, 10]), [5, 9, 10]);
    assert_eq!(immediate(policy(1_000, 5), &[0, 1, 3, 5, 6, 7, 8, 9]), [7, 9]);
    // What fills a gap in time is no news; what the peer has given up by then is.
    assert_eq!(immediate(policy(1_000, 3), &[0, 1, 3, 4, 2, 5, 6, 7, 8]), NONE);
    assert_eq!(immediate(policy(1_000, 3), &[0, 1, 3, 4, 5, 2, 6, 7, 8]), [5, 2]);
    // The first packet of all may be missing; and a large jump is a large gap.
    assert_eq!(immediate(policy(1_000, 2), &[1, 2, 3]), [2]);
    assert_eq!(immediate(policy(1_000, u64::MAX >> 2), &[0, 5, 1_000_000]), NONE);
    assert_eq!(immediate(policy(1_000, 4), &[0, 1_000_000]), [1_000_000]);
    // 1 is what RFC 9000 has.
    assert_eq!(immediate(policy(1_000, 1), &[0, 1, 3, 4, 2, 5]), [3, 2]);
}

// covers: D-ack-frequency-6.2-01
#[test]
fn who_does_not_mind_reordering_hears_of_it_later() {
    assert_eq!(immediate(policy(1_000, 0), &[9, 3, 7, 1, 20, 5, 19]), NONE);
    assert_eq!(immediate(policy(3, 0), &[9, 3, 7, 1, 20, 5, 19, 2, 4]), [1, 2]);
}

// covers: D-ack-frequency-4-02 D-ack-frequency-4-03
#[test]
fn a_policy_is_in_force_at_once() {
    let now = epoch();
    let ms = Duration::from_millis;
    let mut received = data();
    received.on_packet(now, 0, None, true);
    let slow = AckPolicy { eliciting_threshold: 9, max_ack_delay: ms(400), reordering_threshold: 3 };
    received.set_policy(5, slow);
    assert_eq!(received.ack_deadline(), Some(now + ms(399)), "also for what waits");
    for pn in 1..9 {
        received.on_packet(now, pn, None, true);
    }
    assert!(!received.must_ack(now + ms(398)) && received.must_ack(now + ms(399)));
    received.on_packet(now, 9, None, true);
    assert!(received.must_ack(now));
    received.on_ack_sent(9);
    received.on_packet(now, 10, None, true);
    received.on_packet(now, 11, None, true);
    assert!(!received.must_ack(now));
    received.set_policy(6, AckPolicy { eliciting_threshold: 0, ..slow });
    assert!(received.must_ack(now), "too many wait already");
    received.on_ack_sent(11);
    received.on_packet(now, 12, None, true);
    assert!(received.must_ack(now), "every packet");
    assert_eq!([5, 6, 7].map(|sequence| received.is_news(sequence)), [false, false, true]);
    // A delay that timers cannot keep is halved, not gone.
    received.on_ack_sent(12);
    received.set_policy(7, AckPolicy { eliciting_threshold: 9, max_ack_delay: ms(1), ..slow });
    received.on_packet(now, 13, None, true);
    assert_eq!(received.ack_deadline(), Some(now + Duration::from_micros(500)));
}

// covers: D-ack-frequency-6.3-01
#[test]
fn the_first_mark_in_a_row_is_reported_at_once() {
    let now = epoch();
    for (threshold, expected) in [(0, vec![0, 1, 2, 3, 4, 5]), (1, vec![1, 2, 4, 5]), (8, vec![1, 4])] {
        let mut received = data();
        received.set_policy(0, policy(threshold, 3));
        let marks = [Ecn::Ect0, Ecn::Ce, Ecn::Ce, Ecn::Ect0, Ecn::Ce, Ecn::Ce];
        let mut at_once = Vec::new();
        for (pn, mark) in (0..).zip(marks) {
            received.on_packet(now, pn, Some(mark), true);
            if received.must_ack(now) {
                received.on_ack_sent(pn);
                at_once.push(pn);
            }
        }
        assert_eq!(at_once, expected, "{threshold}");
    }
}

/// However patient the peer is: what is forgotten was reported before.
#[test]
fn many_gaps_are_reported_before_they_are_forgotten() {
    let now = epoch();
    let mut received = data();
    received.set_policy(0, policy(1 << 40, 0));
    let mut reported = BTreeSet::new();
    for pn in (0..2_000).step_by(2) {
        received.on_packet(now, pn, None, true);
        if received.must_ack(now) {
            reported.extend(received.ranges().flatten());
            received.on_ack_sent(pn);
        }
    }
    assert_eq!(reported.into_iter().collect::<Vec<_>>(), (0..2_000).step_by(2).collect::<Vec<_>>());
}
