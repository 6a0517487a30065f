use super::{AckInfo, End, INITIAL_RTT, MAX_ACK_DELAY, ms};
use crate::packet::SpaceId;
use crate::proto::recovery::RttEstimator;

fn ack_with_delay(end: &mut End, pn: u64, delay: u64) {
    let info = AckInfo { delay: ms(delay), ecn: None };
    end.ack_ranges(SpaceId::Data, &[pn..=pn], info).unwrap();
}

// covers: R9002-6.2.2-01
#[test]
fn before_a_sample_a_third_of_a_second_is_assumed() {
    let rtt = RttEstimator::new(INITIAL_RTT);
    assert_eq!(rtt.pto(), ms(999), "about a second");
    assert_eq!(rtt.first_sample(), None);
}

// covers: R9002-5.2-01 R9002-5.2-02
#[test]
fn the_first_sample_replaces_the_assumption_and_the_minimum_follows_the_least() {
    let mut end = End::new();
    for (sample, min) in [(40, 40), (60, 40), (30, 30)] {
        let pn = end.send();
        end.wait(sample);
        end.ack(pn);
        assert_eq!((end.path.rtt.get().latest, end.path.rtt.get().min), (ms(sample), ms(min)));
    }
    let mut end = End::new();
    let pn = end.send();
    end.wait(40);
    ack_with_delay(&mut end, pn, 10);
    let rtt = end.path.rtt.get();
    assert_eq!((rtt.smoothed, rtt.variation, rtt.min), (ms(40), ms(20), ms(40)));
}

// covers: R9002-5.1-01
#[test]
fn only_a_newly_acknowledged_largest_number_gives_a_sample() {
    let mut end = End::new();
    let (first, second) = (end.send(), end.send());
    end.wait(40);
    end.ack(second);
    end.wait(100);
    let before = end.path.rtt.get();
    end.ack_ranges(SpaceId::Data, &[first..=second], AckInfo::default()).unwrap();
    assert_eq!(end.path.rtt.get(), before);
    end.ack(second);
    assert_eq!(end.path.rtt.get(), before, "a repeated frame");
}

// covers: R9002-5.1-02
#[test]
fn packets_that_elicit_nothing_give_no_sample() {
    let mut end = End::new();
    let pn = end.send_ack_only();
    end.wait(40);
    end.ack(pn);
    assert_eq!(end.path.rtt.first_sample(), None);
    let (first, second) = (end.send(), end.send_ack_only());
    end.wait(40);
    end.ack_ranges(SpaceId::Data, &[first..=second], AckInfo::default()).unwrap();
    assert_eq!(end.path.rtt.get().latest, ms(40), "one that elicits is enough");
}

// covers: R9002-5.3-03 R9002-5.3-04
#[test]
fn the_peers_delay_is_believed_up_to_what_it_promised_and_to_the_minimum() {
    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    end.wait(120);
    ack_with_delay(&mut end, pn, 80);
    let expected = (ms(40) * 7 + ms(120) - MAX_ACK_DELAY) / 8;
    assert_eq!(end.path.rtt.smoothed().as_millis(), expected.as_millis());

    let mut end = End::new();
    end.settle_rtt(40);
    let pn = end.send();
    end.wait(50);
    ack_with_delay(&mut end, pn, 20);
    let expected = (ms(40) * 7 + ms(50)) / 8;
    assert_eq!(end.path.rtt.smoothed().as_millis(), expected.as_millis(), "50 - 20 is below the minimum");
}

// covers: R9002-5.3-01 R9002-5.3-02
#[test]
fn before_confirmation_the_promise_does_not_count() {
    let mut end = End::new();
    end.settle_rtt(40);
    end.context.handshake_confirmed = false;
    let pn = end.send();
    end.wait(120);
    ack_with_delay(&mut end, pn, 80);
    assert_eq!(end.path.rtt.smoothed().as_millis(), 40);
}

#[test]
fn initial_packets_are_acknowledged_without_delay_whatever_the_peer_says() {
    let mut end = End::client_at_start();
    end.send_in(SpaceId::Initial);
    end.wait(40);
    end.ack_in(SpaceId::Initial, 0);
    end.send_in(SpaceId::Initial);
    end.wait(80);
    end.ack_ranges(SpaceId::Initial, &[1..=1], AckInfo { delay: ms(40), ecn: None }).unwrap();
    assert_eq!(end.path.rtt.smoothed(), ms(45));
}

// covers: R9002-5.2-03
#[test]
fn persistent_congestion_starts_the_minimum_anew() {
    let mut rtt = RttEstimator::new(INITIAL_RTT);
    let end = End::new();
    rtt.update(end.now, ms(20), ms(0));
    rtt.update(end.now, ms(200), ms(0));
    rtt.on_persistent_congestion();
    assert_eq!(rtt.get().min, ms(200));
}

// covers: R9002-5.2-04
#[test]
fn the_minimum_is_not_refreshed_by_anything_else() {
    let mut end = End::new();
    end.settle_rtt(40);
    for _ in 0..600 {
        let pn = end.send();
        end.wait(100);
        end.ack(pn);
    }
    assert_eq!(end.path.rtt.get().min, ms(40), "after a minute of longer round trips");
}

// covers: R9002-6.2.2-02
#[test]
fn what_another_measurement_makes_likely_is_no_sample() {
    let mut end = End::new();
    end.path.rtt.assume(ms(80));
    assert_eq!((end.path.rtt.smoothed(), end.path.rtt.first_sample()), (ms(80), None));
    let pn = end.send();
    end.wait(40);
    end.ack(pn);
    assert_eq!(end.path.rtt.get().min, ms(40));
    assert_eq!(end.path.rtt.smoothed(), ms(40), "the first sample replaces it");
    end.path.rtt.assume(ms(80));
    assert_eq!(end.path.rtt.smoothed(), ms(40));
}
