use super::{AckInfo, End};
use crate::packet::{Ecn, SpaceId};
use crate::proto::recovery::{EcnValidation, PathId};
use crate::proto::space::SentPacket;

fn end() -> End {
    let mut end = End::new();
    end.path.ecn = EcnValidation::new(true);
    end
}

/// Sends with whatever mark is due.
fn send(end: &mut End) -> u64 {
    let ect0 = end.path.ecn.mark().is_some();
    end.send_packet(SpaceId::Data, SentPacket { ect0, ..end.packet() })
}

#[test]
fn ten_packets_are_marked_until_a_mark_is_reported() {
    let mut end = end();
    for _ in 0..10 {
        assert_eq!(end.path.ecn.mark(), Some(Ecn::Ect0));
        send(&mut end);
    }
    assert_eq!(end.path.ecn.mark(), None);
    end.ack_ecn(0..=1, 2, 0);
    assert!(end.path.ecn.is_capable());
    assert_eq!(end.path.ecn.mark(), Some(Ecn::Ect0));
}

// covers: R9000-13.4.2.2-01 R9000-13.4.2.2-02
#[test]
fn counts_that_cannot_be_end_it() {
    let fails = |ect0, ce, before: bool| {
        let mut end = end();
        for _ in 0..4 {
            send(&mut end);
        }
        if before {
            end.ack_ecn(0..=0, 1, 0);
            assert!(end.path.ecn.is_capable());
        }
        end.ack_ecn(1..=3, ect0, ce);
        end.path.ecn.mark().is_none()
    };
    assert!(!fails(3, 0, false) && !fails(4, 0, true) && !fails(2, 1, false), "plausible");
    assert!(fails(2, 0, false), "fewer than were newly acknowledged");
    assert!(fails(3, 0, true), "fewer than were newly acknowledged");
    assert!(fails(0, 4, true), "a count went down");
    assert!(fails(5, 0, false), "more than were sent");

    let mut end = end();
    let pn = send(&mut end);
    end.ack(pn);
    assert_eq!(end.path.ecn.mark(), None, "not reported at all");
}

// covers: R9000-13.4.2.1-01
#[test]
fn a_reordered_frame_proves_nothing() {
    let mut end = end();
    for _ in 0..4 {
        send(&mut end);
    }
    end.ack_ecn(3..=3, 1, 0);
    end.ack_ranges(SpaceId::Data, &[2..=2], AckInfo::default()).unwrap();
    assert!(end.path.ecn.is_capable());
}

#[test]
fn marks_that_all_vanish_are_given_up() {
    let mut end = end();
    for _ in 0..10 {
        send(&mut end);
    }
    for _ in 0..3 {
        send(&mut end);
    }
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[10..=12], AckInfo::default()).unwrap();
    assert_eq!(end.path.ecn.mark(), None);
    end.ack_ecn(0..=12, 10, 0);
    assert_eq!(end.path.ecn.mark(), None);
}

// covers: R9002-7.3.1-01
#[test]
fn a_mark_of_the_network_is_a_sign_of_congestion() {
    let mut end = end();
    for _ in 0..4 {
        send(&mut end);
    }
    end.wait(40);
    let window = end.path.window();
    end.ack_ecn(0..=3, 3, 1);
    assert_eq!(end.path.window(), window / 2);
    assert_eq!(end.recovery.stats.congestion_events, 1);
    assert!(end.lost().is_empty());
}

#[test]
fn a_mark_does_not_count_for_a_packet_of_another_path() {
    let mut end = end();
    for _ in 0..4 {
        send(&mut end);
    }
    end.wait(40);
    end.ack_ecn(0..=1, 1, 1);
    let window = end.path.window();
    // What is acknowledged of this path was sent before the reduction.
    end.wait(1);
    end.send_packet(SpaceId::Data, SentPacket { path: PathId(7), ..end.packet() });
    end.wait(40);
    end.ack_ecn(2..=4, 2, 2);
    assert_eq!((end.path.window(), end.recovery.stats.congestion_events), (window, 1));
}
