//! Peers that ask each other for fewer acknowledgments (draft-ietf-quic-ack-frequency-12).

use std::time::Duration;

use super::early::{acquainted, early};
use super::pair::{Pair, Setup, bytes};
use crate::config::{AckFrequency, TransportConfig, TransportConfigBuilder};
use crate::packet::{Dir, Side, StreamId};
use crate::proto::Connection;
use crate::wire::draft;

const MS: Duration = Duration::from_millis(1);

fn setup(client: impl FnOnce(TransportConfigBuilder) -> TransportConfigBuilder) -> Setup {
    let builder = TransportConfig::builder().mtu_upper_bound(None);
    Setup { client: client(builder).build().unwrap(), ..Setup::default() }
}

/// The client sends so much; what was sent by then: ACK frames of the server, ACK_FREQUENCY frames of the client.
fn upload(setup: Setup, len: usize) -> (Pair, u64, u64) {
    let mut pair = Pair::new(setup);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    pair.run_for(100 * MS);
    for _ in 0..100 {
        pair.client.connection.streams().write(id, bytes(len / 100));
        pair.run_for(20 * MS);
    }
    pair.run_for(500 * MS);
    assert_eq!(pair.server().received[0].1.len(), len);
    let acks = pair.server().connection.frames_sent().of(0x02);
    let requests = pair.client.connection.frames_sent().of(draft::ACK_FREQUENCY);
    (pair, acks, requests)
}

#[test]
fn only_peers_that_take_requests_get_them_and_from_fast_senders() {
    const LEN: usize = 2_000_000;
    let requests = |setup| upload(setup, LEN).2;
    assert!((1..10).contains(&requests(setup(|c| c))));
    assert_eq!(requests(setup(|c| c.ack_frequency(AckFrequency::Unasked))), 0);
    let mut deaf = setup(|c| c);
    deaf.server.min_ack_delay = None;
    assert_eq!(requests(deaf), 0);
    assert_eq!(upload(setup(|c| c), 100_000).2, 0);
}

#[test]
fn what_is_fixed_is_asked_for_from_the_beginning() {
    let fixed = AckFrequency::Fixed { packets: 40, max_ack_delay: Some(7 * MS) };
    let (pair, acks, requests) = upload(setup(|c| c.ack_frequency(fixed)), 1_000_000);
    assert_eq!(requests, 1);
    assert_eq!(pair.client.connection.recovery.ack_requests.max_ack_delay(), 7 * MS);
    // A hundred pieces of ten packets, none of which waits for 40.
    assert!((100..150).contains(&acks), "{acks}");
}

// covers: D-ack-frequency-4-01
#[test]
fn a_request_that_is_lost_is_made_again() {
    for lost in 2..6 {
        let fixed = AckFrequency::Fixed { packets: 40, max_ack_delay: Some(7 * MS) };
        let mut pair = Pair::new(setup(|c| c.ack_frequency(fixed)));
        pair.to_server = Box::new(move |index, _| !(2..lost).contains(&index));
        pair.run_for(3_000 * MS);
        assert!(pair.client.confirmed());
        let requests = &pair.client.connection.recovery.ack_requests;
        assert_eq!((requests.max_ack_delay(), requests.is_due()), (7 * MS, false), "{lost}");
    }
}

// covers: D-ack-frequency-3-03
#[test]
fn that_requests_are_taken_is_not_remembered() {
    let takes = |connection: &Connection| connection.recovery.ack_requests.are_taken();
    let fixed = || setup(|c| c.ack_frequency(AckFrequency::Fixed { packets: 40, max_ack_delay: None }));
    let tls = acquainted(fixed);
    let mut deaf = fixed();
    deaf.server.min_ack_delay = None;
    let mut pair = early(deaf, &tls, 5_000);
    assert!(!takes(&pair.client.connection));
    pair.run_for(500 * MS);
    assert!(!takes(&pair.client.connection) && pair.client.confirmed());
    assert_eq!(pair.client.connection.frames_sent().of(draft::ACK_FREQUENCY), 0);
    // Early packets carry no requests even if they are taken in the end.
    let mut pair = early(fixed(), &tls, 5_000);
    pair.run_for(5 * MS);
    assert_eq!(pair.client.connection.frames_sent().of(draft::ACK_FREQUENCY), 0);
    pair.run_for(500 * MS);
    assert!(takes(&pair.client.connection));
    assert_eq!(pair.client.connection.frames_sent().of(draft::ACK_FREQUENCY), 1);
    assert!(pair.server().closed().is_none());
}

#[test]
fn probes_are_answered_at_once() {
    for (takes, expected) in [(true, true), (false, false)] {
        let mut setup = setup(|c| c);
        setup.server.min_ack_delay = setup.server.min_ack_delay.filter(|_| takes);
        let mut pair = Pair::new(setup);
        pair.run_for(300 * MS);
        pair.client.connection.pending.ping = true;
        pair.to_server = Box::new(|_, _| false);
        pair.run_for(2_000 * MS);
        assert!(pair.client.connection.stats().probe_timeouts > 0);
        let hurried = pair.client.connection.frames_sent().of(draft::IMMEDIATE_ACK);
        assert_eq!(hurried > 0, expected, "{hurried}");
    }
}
