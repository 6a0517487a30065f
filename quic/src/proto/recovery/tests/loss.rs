use super::{AckInfo, End, PathCc, TimeoutOutcome, ms};
use crate::packet::{SpaceId, TransportErrorCode};
use crate::proto::recovery::PathId;
use crate::proto::space::SentPacket;

// covers: R9002-6.1.1-01 R9002-6.1.1-02
#[test]
fn three_packets_behind_is_lost_two_is_not() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    for _ in 0..3 {
        end.send();
    }
    end.wait(40);
    end.ack(pn + 2);
    assert!(end.lost().is_empty());
    end.ack(pn + 3);
    assert_eq!((end.lost(), end.acked()), (vec![pn], vec![pn + 2, pn + 3]));
    assert_eq!(end.recovery.stats.packets_lost, 1);
}

// covers: R9002-6.1.2-01 R9002-6.1.2-03 R9002-6.1.2-04
#[test]
fn a_packet_is_lost_nine_eighths_of_a_round_trip_after_it_was_sent() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    end.send();
    end.wait(40);
    end.ack(pn + 1);
    assert!(end.lost().is_empty());
    assert_eq!(end.due(), Some(ms(5)), "45 after it was sent");
    end.wait(4);
    assert_eq!(end.timeout(), TimeoutOutcome::Nothing);
    end.wait(1);
    assert_eq!(end.timeout(), TimeoutOutcome::Lost { space: SpaceId::Data });
    assert_eq!(end.lost(), [pn]);
    assert_eq!(end.due(), None);
    assert_eq!(end.path.in_flight(), 0);
}

// covers: R9002-6.1.2-02 R9002-6.1.2-05
#[test]
fn the_time_threshold_is_at_least_a_millisecond() {
    let mut end = End::new();
    end.settle_rtt(0);
    let pn = end.send();
    end.send();
    end.ack(pn + 1);
    assert!(end.lost().is_empty());
    assert_eq!(end.due(), Some(ms(1)));
}

// covers: R9000-13.1-02
#[test]
fn acknowledging_what_was_never_sent_ends_the_connection() {
    let mut end = End::new();
    let code = |result: Result<(), crate::packet::TransportError>| result.unwrap_err().code;
    let nothing = end.ack_ranges(SpaceId::Data, &[0..=0], AckInfo::default());
    assert_eq!(code(nothing), TransportErrorCode::PROTOCOL_VIOLATION);
    end.send();
    end.spaces[2].sent.skip();
    end.send();
    let skipped = end.ack_ranges(SpaceId::Data, &[0..=2], AckInfo::default());
    assert_eq!(code(skipped), TransportErrorCode::PROTOCOL_VIOLATION);
    end.ack_ranges(SpaceId::Data, &[2..=2, 0..=0], AckInfo::default()).unwrap();
}

#[test]
fn a_late_acknowledgment_is_recognised_for_a_while() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    for _ in 0..3 {
        end.send();
    }
    end.wait(40);
    end.ack(pn + 3);
    assert_eq!((end.lost(), end.acked()), (vec![pn], vec![pn + 3]));
    end.wait(5);
    end.ack_ranges(SpaceId::Data, &[pn..=pn + 3], AckInfo::default()).unwrap();
    assert_eq!(end.acked(), [pn, pn + 1, pn + 2]);
    assert_eq!(end.recovery.stats.spurious_losses, 1);
    assert_eq!(end.path.in_flight(), 0, "left the network once");
}

#[test]
fn after_a_probe_timeout_a_lost_packet_is_forgotten() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    for _ in 0..3 {
        end.send();
    }
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[pn + 1..=pn + 3], AckInfo::default()).unwrap();
    end.wait(200);
    let next = end.send();
    end.ack(next);
    end.acked();
    end.ack(pn);
    assert!(end.acked().is_empty());
    assert_eq!(end.recovery.stats.spurious_losses, 0);
}

// covers: R9002-6.4-01
#[test]
fn a_discarded_space_leaves_nothing_in_flight() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.send_in(SpaceId::Handshake);
    assert_eq!(end.path.in_flight(), 2400);
    let initial = end.spaces.discard(SpaceId::Initial).unwrap();
    end.recovery.discard_space(end.now, &initial, &mut end.path);
    assert_eq!(end.path.in_flight(), 1200);
    assert_eq!((end.lost(), end.acked()), (vec![], vec![]));
}

#[test]
fn after_a_retry_everything_is_sent_again_under_new_numbers() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.recovery.retract_space(end.now, &mut end.spaces[0], &mut end.path, &mut end.fates);
    assert_eq!(end.lost(), [0]);
    assert_eq!(end.path.in_flight(), 0);
    assert_eq!(end.recovery.stats.congestion_events, 0);
    assert_eq!(end.send_in(SpaceId::Initial), 1);
}

// covers: R9002-7.4-01
#[test]
fn loss_of_packets_sent_after_an_acknowledged_one_counts() {
    let mut end = End::client_at_start();
    for _ in 0..5 {
        end.send_in(SpaceId::Handshake);
    }
    end.wait(40);
    end.ack_in(SpaceId::Handshake, 0);
    end.ack_in(SpaceId::Handshake, 4);
    assert_eq!(end.lost(), [1]);
    assert_eq!(end.recovery.stats.congestion_events, 1);
}

#[test]
fn acknowledgments_of_acknowledgments_set_no_timer_and_move_no_window() {
    let mut end = End::new();
    end.settle_rtt(40);
    let window = end.path.window();
    let pn = end.send_ack_only();
    for _ in 0..3 {
        end.send_ack_only();
    }
    let eliciting = end.send();
    end.wait(40);
    end.ack(eliciting);
    assert_eq!(end.lost(), [pn, pn + 1]);
    assert_eq!((end.due(), end.recovery.stats.packets_lost), (None, 0));
    assert!(end.path.window() >= window);
}

/// Makes the path in use another one, and says what it was.
fn move_to(end: &mut End, id: u16) -> PathCc {
    let mut next = End::new().path;
    next.id = PathId(id);
    std::mem::replace(&mut end.path, next)
}

// covers: R9000-9.4-01
#[test]
fn packets_of_the_old_path_say_nothing_about_the_new_one() {
    let mut end = End::new();
    end.settle_rtt(40);
    let old = [end.send(), end.send(), end.send(), end.send(), end.send()];
    let in_flight = end.path.in_flight();
    let mut before = move_to(&mut end, 1);
    assert_eq!((end.path.in_flight(), end.path.rtt.first_sample()), (0, None));
    let window = end.path.window();
    let new = end.send();
    end.wait(40);
    end.ack(old[1]);
    assert_eq!((end.path.rtt.first_sample(), end.path.window()), (None, window));
    assert_eq!(end.path.in_flight(), 1200);
    end.wait(100);
    end.ack(new);
    assert_eq!(end.path.rtt.smoothed(), ms(140));
    // What is lost with the old path is sent again, and is no sign of congestion.
    assert_eq!(end.lost(), [old[0], old[2]]);
    assert_eq!(end.path.window(), window + 1200);
    end.wait(200);
    end.timeout();
    assert_eq!((end.lost(), end.path.window()), (old[3..].to_vec(), window + 1200));
    assert_eq!(end.recovery.stats.congestion_events, 0);
    for (path, bytes) in end.fates.elsewhere.drain(..) {
        assert_eq!(path, before.id);
        before.on_left_flight(bytes);
    }
    assert_eq!((in_flight, before.in_flight()), (6000, 0));
}

/// A probe on a faster path overtakes what is under way.
// covers: R9000-9.4-01
#[test]
fn an_acknowledgment_from_another_path_makes_nothing_lost_on_this_one() {
    let mut end = End::new();
    end.settle_rtt(40);
    let slow = [end.send(), end.send()];
    end.send_packet(SpaceId::Data, SentPacket { path: PathId(9), ..end.packet() });
    for _ in 0..5 {
        end.send();
    }
    let fast = end.send_packet(
        SpaceId::Data,
        SentPacket { path: PathId(9), ack_eliciting: false, in_flight: false, ..end.packet() },
    );
    end.wait(5);
    end.ack(fast);
    assert_eq!(end.lost(), [slow[1] + 1], "its own path is behind");
    assert_eq!(end.path.rtt.get().latest, ms(40), "and no sample");
    end.wait(35);
    end.ack_ranges(SpaceId::Data, &[slow[0]..=slow[1]], AckInfo::default()).unwrap();
    end.ack(fast - 1);
    assert_eq!(end.lost(), [fast - 5, fast - 4], "as it ever was");
}
