use super::{AckInfo, End, MAX_ACK_DELAY, TimeoutOutcome, ms};
use crate::packet::SpaceId;

/// smoothed_rtt + kGranularity on a path without variation.
const PTO: std::time::Duration = ms_const(41);

const fn ms_const(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

// covers: R9002-6.2-01 R9002-6.2.1-01 R9002-6.2.1-05 R9002-6.2.4-01
#[test]
fn a_timeout_asks_for_probes_doubles_and_loses_nothing() {
    let mut end = End::new();
    end.settle_rtt(40);
    end.send();
    assert_eq!(end.due(), Some(PTO + MAX_ACK_DELAY));
    let probe = TimeoutOutcome::Probe { space: SpaceId::Data, datagrams: 2 };
    assert_eq!(end.fire(), probe);
    assert_eq!((end.lost(), end.path.in_flight()), (vec![], 1200));
    end.send();
    assert_eq!(end.due(), Some(2 * (PTO + MAX_ACK_DELAY)));
    assert_eq!(end.fire(), probe);
    end.send();
    assert_eq!(end.due(), Some(4 * (PTO + MAX_ACK_DELAY)));
    assert_eq!(end.recovery.stats.probe_timeouts, 2);
}

// covers: R9002-6.2.1-04
#[test]
fn each_packet_and_each_acknowledgment_starts_the_timer_anew() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    end.wait(20);
    end.send();
    assert_eq!(end.due(), Some(PTO + MAX_ACK_DELAY));
    end.fire();
    let probe = end.send();
    end.wait(40);
    end.ack(pn);
    assert_eq!(end.recovery.pto_count(), 0);
    assert!(end.due().is_some_and(|due| due < 2 * (PTO + MAX_ACK_DELAY)));
    end.ack_ranges(SpaceId::Data, &[pn..=probe], AckInfo::default()).unwrap();
    assert_eq!(end.due(), None, "nothing is in flight");
}

// covers: R9002-6.2.1-06
#[test]
fn the_loss_timer_goes_first() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    end.send();
    end.send();
    end.wait(40);
    end.ack(pn + 1);
    assert_eq!(end.due(), Some(ms(5)));
    assert_eq!(end.fire(), TimeoutOutcome::Lost { space: SpaceId::Data });
    assert_eq!(end.due(), Some(PTO + MAX_ACK_DELAY - ms(45)), "the third packet");
}

// covers: R9002-6.2.1-02
#[test]
fn the_earlier_space_of_the_handshake_counts() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.wait(300);
    end.context.has_handshake_keys = true;
    end.send_in(SpaceId::Handshake);
    assert_eq!(end.due(), Some(ms(699)));
    assert_eq!(end.fire(), TimeoutOutcome::Probe { space: SpaceId::Initial, datagrams: 2 });
}

// covers: R9002-6.2.1-03
#[test]
fn application_data_waits_for_confirmation() {
    let mut end = End::new();
    end.context.handshake_confirmed = false;
    end.send();
    assert_eq!(end.due(), None);
    end.context.handshake_confirmed = true;
    assert_eq!(end.due(), Some(ms(999) + MAX_ACK_DELAY));
}

/// As above, and the rest of the handshake, which was lost, waits behind those data: only a probe can take it along.
#[test]
fn a_handshake_that_waits_behind_application_data_has_a_timer() {
    let mut end = End::new();
    end.context.handshake_confirmed = false;
    end.send_in(SpaceId::Handshake);
    end.wait(40);
    end.ack_in(SpaceId::Handshake, 0);
    end.send();
    assert_eq!(end.due(), None);
    end.context.crypto_waits = [false, true];
    assert_eq!(end.due(), Some(ms(120)));
    assert_eq!(end.fire(), TimeoutOutcome::Probe { space: SpaceId::Handshake, datagrams: 2 });
    assert_eq!(end.due(), Some(ms(240)), "it backs off as others do");
}

// covers: R9002-6.2.2-03
#[test]
fn discarded_keys_reset_the_timers() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.fire();
    assert_eq!(end.recovery.pto_count(), 1);
    end.context.has_handshake_keys = true;
    end.send_in(SpaceId::Handshake);
    let initial = end.spaces.discard(SpaceId::Initial).unwrap();
    end.recovery.discard_space(end.now, &initial, &mut end.path);
    assert_eq!(end.due(), Some(ms(999)), "one period from the Handshake packet");
    assert_eq!(end.fire(), TimeoutOutcome::Probe { space: SpaceId::Handshake, datagrams: 2 });
}

// covers: R9002-6.2.2.1-01
#[test]
fn a_server_that_may_not_send_sets_no_timer() {
    let mut end = End::new();
    end.context.handshake_confirmed = false;
    end.context.amplification_limited = true;
    end.send_in(SpaceId::Initial);
    assert_eq!(end.due(), None);
    end.wait(2000);
    assert_eq!(end.timeout(), TimeoutOutcome::Nothing);
    end.context.amplification_limited = false;
    assert_eq!(end.due(), Some(ms(0)), "a datagram of the client makes up for it at once");
    assert_eq!(end.timeout(), TimeoutOutcome::Probe { space: SpaceId::Initial, datagrams: 2 });
}

// covers: R9002-6.2.2.1-02 R9002-6.2.2.1-03
#[test]
fn a_client_keeps_the_server_able_to_send() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.wait(40);
    end.ack_in(SpaceId::Initial, 0);
    assert_eq!(end.path.in_flight(), 0);
    assert_eq!(end.due(), Some(ms(120)), "though nothing is in flight");
    assert_eq!(end.fire(), TimeoutOutcome::Probe { space: SpaceId::Initial, datagrams: 1 });
    assert_eq!(end.due(), Some(ms(240)));
    end.context.has_handshake_keys = true;
    assert_eq!(end.fire(), TimeoutOutcome::Probe { space: SpaceId::Handshake, datagrams: 1 });
    // Early application data alone must not silence it either.
    end.send();
    assert_eq!(end.due(), Some(ms(480)));
    end.context.peer_completed_address_validation = true;
    assert_eq!(end.due(), None);
}

#[test]
fn acknowledged_initials_do_not_reset_the_backoff_of_a_client() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.fire();
    end.send_in(SpaceId::Initial);
    end.wait(40);
    end.ack_in(SpaceId::Initial, 1);
    assert_eq!(end.recovery.pto_count(), 1);
    end.context.has_handshake_keys = true;
    end.send_in(SpaceId::Handshake);
    end.wait(40);
    end.ack_in(SpaceId::Handshake, 0);
    assert_eq!(end.recovery.pto_count(), 0);
}

// covers: R9002-7.5-02
#[test]
fn probes_count_as_in_flight_beyond_the_window() {
    let mut end = End::new();
    while end.path.in_flight() < end.path.window() {
        end.send();
    }
    end.fire();
    let before = end.path.in_flight();
    end.send();
    assert_eq!(end.path.in_flight(), before + 1200);
}

#[test]
fn the_backoff_does_not_overflow() {
    let mut end = End::new();
    end.send();
    for _ in 0..100 {
        assert!(matches!(end.fire(), TimeoutOutcome::Probe { .. }));
        end.send();
    }
}
