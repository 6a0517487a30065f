use std::sync::Arc;
use std::time::Instant;

use super::{AckInfo, DATAGRAM, End, ms};
use crate::packet::{Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, SpaceId};
use crate::proto::recovery::{Allowance, PathCc, RoundEnd};
use crate::proto::space::SentPacket;

const SIZE: u64 = DATAGRAM as u64;

/// Fills the window, waits a round trip, and acknowledges everything.
fn round(end: &mut End) {
    let first = end.send();
    let mut last = first;
    while end.path.in_flight() + SIZE <= end.path.window() {
        last = end.send();
    }
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[first..=last], AckInfo::default()).unwrap();
}

/// Sends four packets of which the first is lost.
fn lose_one(end: &mut End) {
    let lost = end.send();
    for _ in 0..3 {
        end.send();
    }
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[lost + 1..=lost + 3], AckInfo::default()).unwrap();
    assert!(end.lost().contains(&lost));
}

// covers: R9002-7.2-01 R9002-7.2-02 R9002-7.2-03 R9002-7.2-04
#[test]
fn the_first_window() {
    for (size, window) in [(1200, 12_000), (1452, 14_520), (1500, 14_720), (9000, 18_000)] {
        let end = End::new();
        let mut path = PathCc::new(end.now, &CongestionControl::NewReno, None, ms(333), size, false, || 0);
        assert_eq!(path.window(), window);
        path.set_max_datagram_size(1452);
        assert_eq!(
            path.window(),
            window.min(14_520),
            "counted anew while nothing happened, and never raised by that"
        );
    }
}

// covers: R9000-13.3-07 R9002-7.3.1-01 R9002-7.3.2-01 R9002-7.3.2-02
#[test]
fn slow_start_doubles_until_a_loss_halves() {
    let mut end = End::new();
    let window = end.path.window();
    round(&mut end);
    assert_eq!(end.path.window(), 2 * window);
    end.path.end_round(end.now, RoundEnd::OutOfData);
    lose_one(&mut end);
    assert_eq!(end.path.window(), window);
}

// covers: R9002-7.3.3-01
#[test]
fn after_a_loss_the_window_grows_by_a_datagram_a_round() {
    let mut end = End::new();
    round(&mut end);
    lose_one(&mut end);
    let window = end.path.window();
    for rounds in 1..5 {
        round(&mut end);
        assert!(end.path.window() <= window + rounds * SIZE);
    }
    assert!(end.path.window() >= window + 2 * SIZE);
}

#[test]
fn one_episode_of_loss_is_one_reduction() {
    let mut end = End::new();
    round(&mut end);
    let first = end.send();
    for _ in 0..9 {
        end.send();
    }
    end.wait(40);
    let window = end.path.window();
    for acked in [3, 5, 7] {
        end.ack(first + acked);
        end.wait(1);
    }
    assert!(end.recovery.stats.packets_lost >= 3);
    assert_eq!((end.recovery.stats.congestion_events, end.path.window()), (1, window / 2));
    // What is sent after the reduction may cause the next one.
    lose_one(&mut end);
    assert_eq!(end.recovery.stats.congestion_events, 2);
}

// covers: R9002-7-02 R9002-7.5-01
#[test]
fn the_window_bounds_what_is_in_flight_but_for_one_datagram_at_the_start_of_recovery() {
    let mut end = End::new();
    round(&mut end);
    let first = end.send();
    while matches!(end.path.allowance(end.now + ms(1000)), Allowance::Bytes(_)) {
        end.send();
    }
    assert!(end.path.in_flight() <= end.path.window());
    assert!(end.path.in_flight() + SIZE > end.path.window());
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[first + 1..=first + 3], AckInfo::default()).unwrap();
    assert!(end.path.in_flight() > end.path.window());
    assert_eq!(end.path.allowance(end.now), Allowance::Bytes(SIZE));
    end.send();
    assert_eq!(end.path.allowance(end.now), Allowance::Window);
}

// covers: R9002-7.8-01
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut end = End::new();
    let window = end.path.window();
    for _ in 0..50 {
        let pn = end.send();
        end.path.end_round(end.now, RoundEnd::OutOfData);
        end.wait(40);
        end.ack(pn);
    }
    assert_eq!(end.path.window(), window);
    // Running dry with less than a datagram to spare is using it all.
    while end.path.in_flight() + SIZE <= end.path.window() {
        end.send();
    }
    end.path.end_round(end.now, RoundEnd::OutOfData);
    assert!(!end.path.is_app_limited());
}

// covers: R9002-7.8-01
#[test]
fn a_sender_that_is_busy_with_other_things_does_not_let_the_window_grow() {
    let mut end = End::new();
    for _ in 0..50 {
        let first = end.send();
        let last = (0..19).map(|_| end.send()).last().unwrap();
        end.path.end_round(end.now, RoundEnd::Interrupted);
        end.wait(40);
        end.ack_ranges(SpaceId::Data, &[first..=last], AckInfo::default()).unwrap();
    }
    assert!((20 * SIZE..=60 * SIZE).contains(&end.path.window()), "{}", end.path.window());
}

// covers: R9002-7.8-02
#[test]
fn waiting_for_the_pacer_is_no_lack_of_data() {
    let mut end = End::new();
    let window = end.path.window();
    let pn = end.send();
    end.path.end_round(end.now, RoundEnd::Held);
    end.wait(40);
    end.ack(pn);
    assert!(end.path.window() > window);
}

/// The example of RFC 9002 §7.6.3, with a second for each unit. `acked` is acknowledged at the end along with 9.
fn persistent(acked: Option<u64>) -> End {
    let mut end = End::new();
    // One sample of 0.975 s and no acknowledgment delay gives 0.975 + 4 * 0.4875 + 0.025 = 2.95 s.
    let first = end.send();
    end.wait(975);
    end.ack(first);
    end.wait(25);
    for at in [1000, 2000, 3000, 4000, 5000, 6000, 12_000, 16_000] {
        end.now = end.start + ms(at);
        end.send();
    }
    end.wait(500);
    let last = end.spaces[2].sent.next() - 1;
    let mut ranges = vec![last..=last];
    ranges.extend(acked.map(|pn| pn..=pn));
    end.ack_ranges(SpaceId::Data, &ranges, AckInfo::default()).unwrap();
    end
}

// covers: R9002-7.6.1-01 R9002-7.6.2-04
#[test]
fn losing_everything_for_long_collapses_the_window() {
    let end = persistent(None);
    assert_eq!(end.recovery.stats.persistent_congestions, 1);
    assert_eq!(end.path.window(), 2 * SIZE + SIZE, "the minimum, and the packet that arrived");
}

#[test]
fn an_acknowledged_packet_in_between_saves_it() {
    let end = persistent(Some(6));
    assert_eq!((end.recovery.stats.packets_lost, end.recovery.stats.persistent_congestions), (6, 0));
    assert_eq!(end.path.window(), 11 * SIZE / 2, "half of eleven");
}

// covers: R9002-7.6.2-01
#[test]
fn persistent_congestion_needs_two_packets_that_elicit() {
    let mut end = End::new();
    end.settle_rtt(40);
    for _ in 0..4 {
        let packet = crate::proto::space::SentPacket { ack_eliciting: false, ..end.packet() };
        end.send_packet(SpaceId::Data, packet);
        end.wait(1000);
    }
    let pn = end.send();
    end.wait(40);
    end.ack(pn);
    assert_eq!((end.recovery.stats.packets_lost, end.recovery.stats.persistent_congestions), (4, 0));
}

// covers: R9002-7.6.2-02
#[test]
fn nothing_sent_before_the_first_sample_counts() {
    let mut end = End::new();
    for _ in 0..4 {
        end.send();
        end.wait(10_000);
    }
    let pn = end.send();
    end.wait(40);
    end.ack(pn);
    assert_eq!((end.recovery.stats.packets_lost, end.recovery.stats.persistent_congestions), (4, 0));
}

// covers: R9002-7.6.2-03
#[test]
fn an_acknowledgment_in_another_space_speaks_against_it() {
    let lose = |acked_elsewhere: bool| {
        let mut end = End::new();
        end.settle_rtt(40);
        let first = end.send();
        end.wait(1000);
        end.send_in(SpaceId::Handshake);
        end.wait(1000);
        end.send();
        end.wait(1000);
        let last = end.send();
        end.wait(40);
        if acked_elsewhere {
            end.ack_in(SpaceId::Handshake, 0);
        }
        assert_eq!(last, first + 2);
        end.ack(last);
        end.recovery.stats.persistent_congestions
    };
    assert_eq!((lose(false), lose(true)), (1, 0));
}

/// Sends a probe for a larger MTU.
fn send_mtu_probe(end: &mut End) -> u64 {
    let probe = SentPacket { size: 1452, mtu_probe: true, ..end.packet() };
    end.send_packet(SpaceId::Data, probe)
}

// covers: R9000-14.4-01
#[test]
fn a_lost_mtu_probe_is_no_sign_of_congestion() {
    let mut end = End::new();
    end.settle_rtt(40);
    let (window, stats) = (end.path.window(), end.recovery.stats);
    let probe = send_mtu_probe(&mut end);
    assert_eq!(end.path.in_flight(), 1452, "it uses the window like any packet");
    let last = (0..3).map(|_| end.send()).last().unwrap();
    end.path.end_round(end.now, RoundEnd::OutOfData);
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[probe + 1..=last], AckInfo::default()).unwrap();
    assert_eq!(end.fates.sizes.probe_lost, Some(probe));
    assert_eq!((end.path.window(), end.path.in_flight()), (window, 0));
    let after = end.recovery.stats;
    assert_eq!((after.packets_lost, after.congestion_events), (stats.packets_lost, stats.congestion_events));
}

// covers: R9000-14.4-01
#[test]
fn lost_mtu_probes_make_no_persistent_congestion() {
    let mut end = End::new();
    end.settle_rtt(40);
    send_mtu_probe(&mut end);
    end.wait(5000);
    send_mtu_probe(&mut end);
    end.wait(10);
    let lost = end.send();
    end.wait(10);
    let last = (0..4).map(|_| end.send()).last().unwrap();
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[lost + 1..=last], AckInfo::default()).unwrap();
    assert_eq!((end.recovery.stats.packets_lost, end.recovery.stats.persistent_congestions), (1, 0));
}

/// Its window is what arrived.
#[derive(Debug)]
struct Sum(u64);

impl Controller for Sum {
    fn on_ack(&mut self, acked: &Acked) {
        self.0 += acked.bytes + acked.late_bytes;
    }
    fn on_congestion_event(&mut self, _event: &CongestionEvent) {}
    fn on_persistent_congestion(&mut self, _now: Instant) {}
    fn on_max_datagram_size(&mut self, _max_datagram_size: u16) {}
    fn window(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Sums;

impl ControllerFactory for Sums {
    fn new_controller(&self, _now: Instant, _max_datagram_size: u16) -> Box<dyn Controller> {
        Box::new(Sum(0))
    }
}

#[test]
fn packets_that_are_late_are_told_of_even_if_nothing_else_arrives() {
    let mut end = End::new();
    end.path =
        PathCc::new(end.now, &CongestionControl::Custom(Arc::new(Sums)), None, ms(40), DATAGRAM, false, || 0);
    lose_one(&mut end);
    assert_eq!(end.path.window(), 3 * SIZE);
    end.wait(1);
    end.ack(0);
    assert_eq!(end.path.window(), 4 * SIZE);
}

#[test]
fn episodes_count_whatever_the_controller_makes_of_them() {
    for control in [CongestionControl::Bbr, CongestionControl::Cubic, CongestionControl::NewReno] {
        let mut end = End::new();
        end.path = PathCc::new(end.now, &control, None, ms(40), DATAGRAM, false, || 0);
        lose_one(&mut end);
        end.wait(1);
        lose_one(&mut end);
        assert_eq!(end.recovery.stats.congestion_events, 2, "{control:?}");
    }
}
