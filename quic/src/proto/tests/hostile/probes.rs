//! What a probe timeout sends, and what goes past the pacer (RFC 9002 §6.2.4 and §7.7).

use super::{Hostile, MS, Stage};
use crate::config::TransportConfig;
use crate::packet::{Dir, Level, Side, StreamId};
use crate::proto::tests::pair::{Setup, bytes};
use crate::wire::frame::Frame;

/// The victim has so many bytes in flight, in a packet each, and nobody acknowledges them.
fn unacknowledged(lens: &[usize]) -> Hostile {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    for &len in lens {
        hostile.victim().connection.streams().write(id, bytes(len));
        hostile.listen();
    }
    hostile.heard.clear();
    hostile
}

/// Waits for one probe timeout.
fn expire(hostile: &mut Hostile) {
    let before = hostile.victim().connection.stats().probe_timeouts;
    while hostile.victim().connection.stats().probe_timeouts == before {
        hostile.wait(MS);
    }
}

/// The end of the stream data that was heard.
fn farthest(hostile: &Hostile) -> u64 {
    let ends = hostile.heard.iter().flat_map(|packet| &packet.frames).filter_map(|frame| match frame {
        Frame::Stream(stream) => Some(stream.offset + stream.data.len() as u64),
        _ => None,
    });
    ends.max().unwrap_or(0)
}

// covers: R9002-6.2.4-04
#[test]
fn probes_take_new_data_along() {
    let mut hostile = unacknowledged(&[100, 100]);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    hostile.victim().connection.streams().write(id, bytes(60_000));
    hostile.listen();
    let sent = farthest(&hostile);
    assert!(sent < 60_000, "the window holds the rest back");
    hostile.heard.clear();
    expire(&mut hostile);
    assert_eq!(hostile.heard.len(), 2);
    assert!(hostile.heard[0].frames.iter().any(|frame| matches!(frame, Frame::Stream(s) if s.offset == 0)));
    assert!(farthest(&hostile) > sent, "beside what may be lost");
}

// covers: R9002-6.2.4-05
#[test]
fn with_nothing_to_send_one_small_packet_is_the_probe_and_the_timer_runs_again() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    hostile.victim().connection.pending.ping = true;
    hostile.listen();
    hostile.heard.clear();
    for timeouts in 1..4 {
        expire(&mut hostile);
        assert_eq!(hostile.heard.len(), timeouts, "{:?}", hostile.heard);
        let frames = &hostile.heard.last().unwrap().frames;
        assert!(matches!(frames[0], Frame::Ping | Frame::ImmediateAck), "{frames:?}");
    }
}

// covers: R9002-6.2.4-03
#[test]
fn what_another_space_has_in_flight_goes_along() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    expire(&mut hostile);
    for level in [Level::Initial, Level::Handshake] {
        let eliciting = |packet: &&super::Heard| {
            packet.level == level && packet.frames.iter().any(Frame::is_ack_eliciting)
        };
        assert!(hostile.heard.iter().any(|packet| eliciting(&packet)), "{level:?}: {:?}", hostile.heard);
    }
}

// covers: R9002-7.7-04
#[test]
fn acknowledgments_do_not_wait_for_the_pacer() {
    let client = TransportConfig::builder()
        .mtu_upper_bound(None)
        .initial_congestion_window(Some(1_000_000))
        .build()
        .unwrap();
    let mut hostile = Hostile::with(Setup { client, ..Setup::default() }, Side::Client, Stage::Confirmed);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    hostile.victim().connection.streams().write(id, bytes(900_000));
    hostile.listen();
    let now = hostile.pair.now;
    assert!(hostile.victim().connection.paths.active.cc.paced_until(now).is_some(), "the pacer waits");
    hostile.heard.clear();
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    assert_eq!(hostile.pair.now, now);
    let frames = hostile.frames();
    assert!(matches!(frames[..], [Frame::Ack(_)] | [Frame::Ack(_), Frame::Ack(_)]), "{frames:?}");
}

/// An acknowledgment that came before the keys to open it counts from when it came.
// covers: R9002-5.3-05
#[test]
fn waiting_for_keys_is_no_part_of_the_round_trip() {
    let mut hostile = Hostile::new(Side::Server, Stage::First);
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    hostile.victim().connection.streams().write(id, bytes(100));
    hostile.listen();
    let sent = hostile.heard.iter().find(|packet| packet.level == Level::OneRtt).expect("early words").pn;
    hostile.wait(10 * MS);
    // The rest of the client's handshake is still under way.
    let finished: Vec<_> = hostile.victim().inbox.drain(..).collect();
    hostile.send(Level::OneRtt, &[super::ack(&[sent..=sent])]);
    assert!(hostile.victim().connection.spaces[2].sent.has_ack_eliciting_in_flight(), "not opened yet");
    hostile.wait(70 * MS);
    for (_, datagram) in finished {
        hostile.deliver(datagram);
    }
    assert!(hostile.victim().connection.is_handshake_complete());
    let rtt = hostile.victim().connection.paths.active.cc.rtt.get();
    assert_eq!(rtt.latest, 10 * MS);
}
