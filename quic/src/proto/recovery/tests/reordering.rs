//! Losses that were none: thresholds that learn, and reductions that are taken back.

use super::{AckInfo, End, ms};
use crate::packet::{PacketNumber, SpaceId};

fn ack(end: &mut End, from: PacketNumber, to: PacketNumber) {
    end.ack_ranges(SpaceId::Data, &[from..=to], AckInfo::default()).unwrap();
}

/// Sends so many packets at once; the number of the first.
fn send(end: &mut End, packets: u64) -> PacketNumber {
    let first = end.send();
    for _ in 1..packets {
        end.send();
    }
    first
}

/// At 40 ms of round-trip time, with a window that has seen no loss.
fn end() -> End {
    let mut end = End::new();
    end.settle_rtt(40);
    end
}

/// The first of `behind + 1` packets arrives after all others.
fn overtake(end: &mut End, behind: u64) {
    let first = send(end, behind + 1);
    end.wait(40);
    ack(end, first + 1, first + behind);
    end.wait(1);
    end.ack(first);
}

// covers: R9002-6.1.1-02
#[test]
fn a_packet_that_many_overtook_raises_the_packet_threshold() {
    let mut end = end();
    overtake(&mut end, 7);
    assert_eq!(end.recovery.stats.packets_lost, 1);
    assert_eq!(end.path.packet_threshold(), 8);
    overtake(&mut end, 7);
    assert_eq!(end.recovery.stats.packets_lost, 1, "that is no loss any more");
    overtake(&mut end, 8);
    assert_eq!((end.recovery.stats.packets_lost, end.path.packet_threshold()), (2, 9));
}

#[test]
fn the_packet_threshold_has_a_bound_and_never_falls_below_three() {
    let mut end = end();
    assert_eq!(end.path.packet_threshold(), 3);
    overtake(&mut end, 2000);
    assert_eq!(end.path.packet_threshold(), 256);
}

// covers: R9002-6.1.2-02
#[test]
fn a_packet_that_was_very_late_raises_the_time_threshold_up_to_two_round_trips() {
    let mut end = end();
    let delay = |end: &End| end.path.loss_delay();
    let eighths = |end: &End| {
        let rtt = end.path.rtt.get();
        (delay(end).as_micros() * 8).div_ceil(rtt.smoothed.max(rtt.latest).as_micros())
    };
    assert_eq!(eighths(&end), 9);
    for expected in [10, 12, 16, 16] {
        let late = end.send();
        end.wait(5);
        let next = end.send();
        end.wait(40);
        end.ack(next);
        while end.lost().is_empty() {
            end.fire();
        }
        end.wait(30);
        ack(&mut end, late, next);
        assert_eq!(eighths(&end), expected);
        end.wait(100);
    }
}

#[test]
fn it_is_raised_once_a_round_trip() {
    let mut end = end();
    let first = send(&mut end, 6);
    end.wait(5);
    let next = end.send();
    end.wait(40);
    end.ack(next);
    end.wait(30);
    for pn in first..next {
        end.ack_ranges(SpaceId::Data, &[next..=next, pn..=pn], AckInfo::default()).unwrap();
    }
    let rtt = end.path.rtt.get();
    assert!(end.path.loss_delay() <= rtt.smoothed.max(rtt.latest) * 10 / 8);
}

#[test]
fn sixteen_episodes_of_real_losses_make_it_forget() {
    let mut end = end();
    overtake(&mut end, 20);
    assert_eq!(end.path.packet_threshold(), 21);
    for episode in 1..=16 {
        let first = send(&mut end, 40);
        end.wait(40);
        ack(&mut end, first + 1, first + 39);
        end.wait(500);
        let expected = if episode < 16 { 21 } else { 3 };
        assert_eq!(end.path.packet_threshold(), expected, "after {episode}");
    }
}

#[test]
fn a_reduction_is_taken_back_when_all_that_was_lost_has_arrived() {
    let mut end = end();
    let window = end.path.window();
    let first = send(&mut end, 8);
    end.wait(40);
    ack(&mut end, first + 2, first + 7);
    assert!(end.path.window() < window);
    assert_eq!((end.recovery.stats.packets_lost, end.recovery.stats.congestion_events), (2, 1));
    end.wait(1);
    end.ack(first);
    assert!(end.path.window() < window, "one is missing");
    end.wait(1);
    end.ack(first + 1);
    assert!(end.path.window() >= window, "{} of {window}", end.path.window());
    assert_eq!((end.recovery.stats.spurious_losses, end.recovery.stats.spurious_congestions), (2, 1));
}

#[test]
fn what_gets_lost_after_that_counts_and_can_be_taken_back_again() {
    let mut end = end();
    let window = end.path.window();
    let first = send(&mut end, 10);
    end.wait(40);
    ack(&mut end, first + 1, first + 5);
    end.ack(first);
    assert_eq!(end.recovery.stats.spurious_congestions, 1);
    assert!(end.path.window() >= window);
    // Sent before the episode that was none, and still missing.
    let window = end.path.window();
    let last = send(&mut end, 10) + 9;
    end.wait(20);
    ack(&mut end, first + 7, last);
    assert!(end.path.window() < window);
    end.ack(first + 6);
    assert!(end.path.window() >= window);
    assert_eq!(end.recovery.stats.spurious_congestions, 2);
}

#[test]
fn a_loss_that_stays_one_keeps_the_reduction() {
    let mut end = end();
    let window = end.path.window();
    let first = send(&mut end, 8);
    end.wait(40);
    ack(&mut end, first + 2, first + 7);
    end.ack(first + 1);
    // Later losses of the episode count as well, and what is forgotten is lost.
    for _ in 0..20 {
        end.wait(40);
        let pn = end.send();
        end.wait(40);
        end.ack(pn);
    }
    end.ack(first);
    assert!(end.path.window() < window);
    assert_eq!((end.recovery.stats.spurious_losses, end.recovery.stats.spurious_congestions), (1, 0));
}

#[test]
fn a_late_packet_of_an_earlier_episode_takes_nothing_back() {
    let mut end = end();
    let first = send(&mut end, 8);
    end.wait(40);
    ack(&mut end, first + 1, first + 7);
    end.wait(1);
    let second = send(&mut end, 8);
    end.wait(40);
    ack(&mut end, second + 1, second + 7);
    let window = end.path.window();
    assert_eq!(end.recovery.stats.congestion_events, 2);
    end.wait(1);
    end.ack(first);
    assert_eq!((end.path.window(), end.recovery.stats.spurious_congestions), (window, 0));
    end.ack(second);
    assert!(end.path.window() > window);
    assert_eq!(end.recovery.stats.spurious_congestions, 1);
}

#[test]
fn a_mark_of_the_network_proves_congestion_whatever_arrives_late() {
    let mut end = end();
    let first = send(&mut end, 8);
    end.wait(40);
    ack(&mut end, first + 1, first + 7);
    let window = end.path.window();
    let event =
        crate::packet::CongestionEvent { now: end.now, sent: end.now - ms(40), lost_bytes: 0, ecn: true };
    end.path.on_congestion_event(&event, 0);
    end.wait(1);
    end.ack(first);
    assert_eq!((end.path.window(), end.recovery.stats.spurious_congestions), (window, 0));
}
