use std::time::Duration;

use crate::config::AckFrequency;
use crate::packet::{CongestionControl, epoch};
use crate::proto::recovery::reordering::Late;
use crate::proto::recovery::{AckRequests, PathCc};
use crate::wire::frame::AckFrequency as Frame;

const MS: Duration = Duration::from_millis(1);

/// A path whose window holds so many packets.
fn path(packets: u64, rtt: Duration) -> PathCc {
    let mut path =
        PathCc::new(epoch(), &CongestionControl::NewReno, Some(packets * 1_200), rtt, 1_200, false, || 1);
    path.rtt.update(epoch(), rtt, Duration::ZERO);
    path
}

fn requests() -> AckRequests {
    let mut requests = AckRequests::default();
    requests.set_max_ack_delay(25 * MS);
    requests.enable(Some(MS));
    requests
}

/// What is asked for at a certain time, if anything.
fn review(requests: &mut AckRequests, at: Duration, setting: AckFrequency, path: &PathCc) -> Option<Frame> {
    requests.review(epoch() + at, setting, path);
    let frame = requests.next_frame();
    assert_eq!(requests.is_due(), frame.is_some());
    if frame.is_some() {
        requests.on_sent();
    }
    frame
}

fn frame(sequence: u64, packets: u64, delay: Duration, reordering_threshold: u64) -> Frame {
    let max_ack_delay = delay.as_micros() as u64;
    Frame { sequence, eliciting_threshold: packets - 1, max_ack_delay, reordering_threshold }
}

#[test]
fn small_windows_and_peers_that_do_not_want_to_are_asked_for_nothing() {
    let mut requests = requests();
    assert_eq!(review(&mut requests, MS, AckFrequency::Adaptive, &path(63, 40 * MS)), None);
    assert_eq!(review(&mut requests, 99 * MS, AckFrequency::Unasked, &path(6_000, 40 * MS)), None);
    let mut requests = AckRequests::default();
    assert!(!requests.are_taken());
    assert_eq!(review(&mut requests, MS, AckFrequency::Adaptive, &path(6_000, 40 * MS)), None);
}

// covers: D-ack-frequency-4-01
#[test]
fn requests_follow_the_window_and_the_round_trip() {
    let mut requests = requests();
    let mut sequence = 0;
    let mut next = |at: u32, packets, rtt| {
        let asked = review(&mut requests, at * 1_000 * MS, AckFrequency::Adaptive, &path(packets, rtt));
        if asked.is_some() {
            requests.on_acked(sequence);
            sequence += 1;
        }
        asked
    };
    assert_eq!(next(1, 64, 40 * MS), Some(frame(0, 2, 10 * MS, 3)));
    assert_eq!(next(2, 95, 40 * MS), None);
    assert_eq!(next(3, 96, 40 * MS), Some(frame(1, 3, 10 * MS, 3)));
    assert_eq!(next(4, 96, 36 * MS), None);
    assert_eq!(next(5, 96, 20 * MS), Some(frame(2, 3, 5 * MS, 3)));
    assert_eq!(next(6, 100_000, 400 * MS), Some(frame(3, 64, 25 * MS, 3)), "no longer than the peer's own");
    assert_eq!(next(7, 100_000, MS / 10), Some(frame(4, 64, MS, 3)), "no shorter than the peer can");
    assert_eq!(next(8, 40, 40 * MS), Some(frame(5, 2, 10 * MS, 3)));
    assert_eq!(next(9, 31, 40 * MS), Some(frame(6, 2, 25 * MS, 1)), "as if nothing had been asked");
    assert_eq!(next(10, 63, 40 * MS), None);
}

/// An acknowledgment for more would make trains of a steady flow.
#[test]
fn no_acknowledgment_stands_for_more_than_the_pacer_lets_out_at_once() {
    for (window, rtt, packets) in [(400, 200, 10), (2_000, 200, 25), (4_000, 200, 50), (20_000, 200, 64)] {
        let asked = review(&mut requests(), MS, AckFrequency::Adaptive, &path(window, rtt * MS));
        assert_eq!(asked, Some(frame(0, packets, 25 * MS, 3)), "{window} packets");
    }
    // A larger share of a short round trip leaves at once.
    let asked = review(&mut requests(), MS, AckFrequency::Adaptive, &path(800, 20 * MS));
    assert_eq!(asked, Some(frame(0, 25, 5 * MS, 3)));
}

#[test]
fn one_request_is_under_way_and_one_round_trip_apart_from_the_next() {
    let mut requests = requests();
    let next = |requests: &mut AckRequests, at: u32, packets| {
        review(requests, at * MS, AckFrequency::Adaptive, &path(packets, 40 * MS)).is_some()
    };
    assert!(next(&mut requests, 1, 100));
    assert!(!next(&mut requests, 100, 1_000), "under way");
    requests.on_acked(0);
    assert!(next(&mut requests, 110, 1_000));
    requests.on_acked(1);
    assert!(!next(&mut requests, 120, 100), "too soon");
    requests.hurry();
    assert!(next(&mut requests, 121, 100), "but not on another path");
    assert!(!next(&mut requests, 999, 1_000), "under way");
    requests.hurry();
    assert!(!next(&mut requests, 999, 100), "that is under way");
    requests.hurry();
    assert!(next(&mut requests, 999, 2), "or if the window is gone");
}

// covers: D-ack-frequency-7-01 D-ack-frequency-7-02
#[test]
fn the_longest_delay_that_may_be_in_force_counts() {
    let fixed = |ms| AckFrequency::Fixed { packets: 10, max_ack_delay: Some(ms * MS) };
    let path = path(20, 40 * MS);
    let mut requests = requests();
    assert_eq!(requests.max_ack_delay(), 25 * MS);
    assert!(review(&mut requests, 100 * MS, fixed(5), &path).is_some());
    assert_eq!(requests.max_ack_delay(), 25 * MS, "not before the peer has it");
    requests.on_acked(0);
    assert_eq!(requests.max_ack_delay(), 5 * MS);
    assert!(review(&mut requests, 200 * MS, fixed(90), &path).is_some());
    assert_eq!(requests.max_ack_delay(), 90 * MS, "the peer may have it");
    // It seems to be lost, and something else is asked for; the peer may go by either.
    requests.on_lost(1);
    assert_eq!(review(&mut requests, 300 * MS, fixed(20), &path), Some(frame(2, 10, 20 * MS, 3)));
    assert_eq!(requests.max_ack_delay(), 90 * MS);
    // An old frame was not lost: that says nothing about the newest.
    requests.on_acked(1);
    assert_eq!(requests.max_ack_delay(), 90 * MS);
    requests.on_acked(2);
    assert_eq!(requests.max_ack_delay(), 20 * MS);
}

#[test]
fn a_lost_request_is_repeated_with_another_number() {
    let fixed = AckFrequency::Fixed { packets: 10, max_ack_delay: None };
    let path = path(20, 40 * MS);
    let mut requests = requests();
    assert_eq!(review(&mut requests, 100 * MS, fixed, &path), Some(frame(0, 10, 25 * MS, 3)));
    requests.on_lost(0);
    assert_eq!(requests.next_frame(), Some(frame(1, 10, 25 * MS, 3)));
    // Unless it turns out that it was not lost.
    requests.on_acked(0);
    assert_eq!(requests.next_frame(), None);
    assert_eq!(review(&mut requests, 500 * MS, fixed, &path), None);
}

#[test]
fn what_is_fixed_is_asked_once_within_bounds() {
    let path = path(10, 40 * MS);
    for (delay, told) in [(None, 25 * MS), (Some(Duration::ZERO), MS), (Some(16_383 * MS), 16_383 * MS)] {
        let mut requests = requests();
        let fixed = AckFrequency::Fixed { packets: 0, max_ack_delay: delay };
        assert_eq!(review(&mut requests, MS, fixed, &path), Some(frame(0, 1, told, 3)));
        requests.on_acked(0);
        assert_eq!(review(&mut requests, 500 * MS, fixed, &path), None);
    }
}

/// With a threshold beyond the window, each round would wait for the delay to pass.
#[test]
fn what_is_fixed_is_half_a_window_at_most() {
    let fixed = AckFrequency::Fixed { packets: 40, max_ack_delay: None };
    let mut requests = requests();
    for (n, window, packets) in [(0, 10, 5), (1, 30, 15), (2, 2_000, 40), (3, 3, 2)] {
        let at = Duration::from_secs(n + 1);
        let asked = review(&mut requests, at, fixed, &path(window, 40 * MS));
        assert_eq!(asked, Some(frame(n, packets, 25 * MS, 3)));
        requests.on_acked(n);
    }
}

// covers: D-ack-frequency-9-01
#[test]
fn reordering_that_was_no_loss_is_told_to_the_peer() {
    let mut requests = requests();
    let mut path = path(100, 40 * MS);
    assert_eq!(review(&mut requests, MS, AckFrequency::Adaptive, &path), Some(frame(0, 3, 10 * MS, 3)));
    requests.on_acked(0);
    path.on_late(epoch() + 50 * MS, Late { pn: 10, sent: epoch() }, 40);
    assert_eq!(review(&mut requests, 99 * MS, AckFrequency::Adaptive, &path), Some(frame(1, 3, 10 * MS, 31)));
}
