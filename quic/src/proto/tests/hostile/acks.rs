//! Acknowledgments of what was never sent, or never received; and none at all.

use super::frames::processes;
use super::{Hostile, MS, Stage, ack, stages, varint};
use crate::config::TransportConfig;
use crate::packet::{Dir, Level, Side, SpaceId, StreamId, TransportErrorCode as Code};
use crate::proto::Event;
use crate::proto::streams::StreamEvent;
use crate::proto::tests::pair::{Setup, bytes};
use crate::wire::frame::{Frame, MaxData, MaxStreamData, MaxStreams};

// covers: R9000-13.1-02
#[test]
fn acknowledging_what_was_never_sent_is_a_violation() {
    for side in [Side::Client, Side::Server] {
        for &stage in stages(side) {
            for (level, space) in [
                (Level::Initial, SpaceId::Initial),
                (Level::Handshake, SpaceId::Handshake),
                (Level::OneRtt, SpaceId::Data),
            ] {
                for ahead in [0, 1, 1_000_000, (1 << 61)] {
                    if !processes(side, stage, level) {
                        continue;
                    }
                    let mut hostile = Hostile::new(side, stage);
                    let next = hostile.victim().connection.spaces[space.index()].sent.next();
                    hostile.send(level, &[ack(&[next + ahead..=next + ahead])]);
                    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x02));
                }
            }
        }
    }
}

/// The hostile peer of a server that has much to send.
fn busy_server() -> (Hostile, StreamId) {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let id = StreamId::new(Side::Server, Dir::Uni, 0);
    hostile.send(Level::OneRtt, &[MaxStreams { dir: Dir::Uni, maximum: 10 }.into()]);
    hostile.send(Level::OneRtt, &[MaxData { maximum: 1 << 40 }.into()]);
    hostile.victim().connection.streams().write(id, bytes(64 << 20));
    hostile.listen();
    (hostile, id)
}

// covers: R9000-13.1-02
#[test]
fn a_peer_that_acknowledges_before_it_receives_is_caught() {
    let (mut hostile, id) = busy_server();
    hostile.send(Level::OneRtt, &[MaxStreamData { id, maximum: 1 << 40 }.into()]);
    // It acknowledges everything that may be under way, and opens none of it.
    for _ in 0..2_000 {
        let next = hostile.victim().connection.spaces[2].sent.next();
        hostile.send(Level::OneRtt, &[ack(&[0..=next - 1])]);
        hostile.wait(MS);
        hostile.heard.retain(|packet| packet.frames.iter().any(|f| matches!(f, Frame::ConnectionClose(_))));
        if hostile.victim().closed().is_some() {
            break;
        }
    }
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x02));
}

/// Who acknowledges only what it received never meets a skipped number.
#[test]
fn honest_acknowledgments_of_a_long_transfer_are_fine() {
    let (mut hostile, id) = busy_server();
    hostile.send(Level::OneRtt, &[MaxStreamData { id, maximum: 1 << 40 }.into()]);
    let mut received = Vec::new();
    for _ in 0..400 {
        let heard = std::mem::take(&mut hostile.heard);
        received.extend(heard.iter().filter(|packet| packet.level == Level::OneRtt).map(|packet| packet.pn));
        received.sort_unstable();
        let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        for &pn in &received {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == pn => *last = *last.start()..=pn,
                Some(last) if *last.end() == pn => {}
                _ => ranges.push(pn..=pn),
            }
        }
        ranges.reverse();
        if !ranges.is_empty() {
            hostile.send(Level::OneRtt, &[ack(&ranges[..ranges.len().min(60)])]);
        }
        hostile.wait(MS);
        hostile.assert_open();
    }
    let connection = &hostile.victim().connection;
    assert!(connection.stats().packets_sent > 10_000, "{:?}", connection.stats());
    assert_eq!(connection.stats().packets_lost, 0);
}

#[test]
fn the_same_acknowledgment_again_changes_nothing() {
    let (mut hostile, id) = busy_server();
    let first = hostile.heard.iter().filter(|p| p.level == Level::OneRtt).map(|p| p.pn).min().unwrap();
    let window = hostile.victim().connection.congestion_window();
    hostile.send(Level::OneRtt, &[MaxStreamData { id, maximum: 1 << 40 }.into()]);
    hostile.send(Level::OneRtt, &[ack(&[first..=first])]);
    let after = hostile.victim().connection.congestion_window();
    let in_flight = hostile.victim().connection.stats().bytes_in_flight;
    for _ in 0..100 {
        hostile.send(Level::OneRtt, &[ack(&[first..=first])]);
    }
    let connection = &hostile.victim().connection;
    assert!(after <= window + 1_500);
    assert_eq!(connection.congestion_window(), after);
    assert!(connection.stats().bytes_in_flight >= in_flight.min(after));
    hostile.assert_open();
}

/// An ACK that goes below zero, or has more ranges than fit.
// covers: R9000-19.3.1-01
#[test]
fn impossible_ranges_are_an_encoding_error() {
    for payload in [
        &[0x02, 0, 0, 0, 1][..],
        &[0x02, 10, 0, 1, 5, 4, 0],
        &[0x02, 10, 0, 1, 0, 7, 2],
        &[0x02, 10, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
    ] {
        let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
        let packet = hostile.packet(Level::OneRtt, payload);
        hostile.deliver(packet);
        hostile.assert_closed(Code::FRAME_ENCODING_ERROR, Some(0x02));
    }
}

/// The delay is a matter of the peer; no value of it does harm.
#[test]
fn an_absurd_ack_delay_changes_the_rtt_by_little() {
    for stage in [Stage::Complete, Stage::Confirmed] {
        let mut hostile = Hostile::new(Side::Client, stage);
        for delay in [1 << 20, 1 << 44, 1 << 59, (1 << 62) - 1] {
            hostile.victim().connection.pending.ping = true;
            hostile.listen();
            let largest = hostile.victim().connection.spaces[2].sent.next() - 1;
            hostile.wait(20 * MS);
            let mut payload = vec![0x02];
            for value in [largest, delay, 0, 0] {
                payload.extend(varint(value));
            }
            let packet = hostile.packet(Level::OneRtt, &payload);
            hostile.deliver(packet);
            hostile.assert_open();
            let rtt = hostile.victim().connection.rtt();
            assert!(rtt > 15 * MS && rtt < 60 * MS, "{rtt:?} after {delay:#x}");
        }
    }
}

/// A peer that never acknowledges our acknowledgments must not make us remember all of them.
#[test]
fn who_never_acknowledges_costs_bounded_memory() {
    // Otherwise so many PINGs would be too many.
    let config = TransportConfig::builder().max_idle_frames_per_second(u32::MAX).build().unwrap();
    let setup = Setup { server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    let mut most = 0;
    for _ in 0..30_000 {
        let packet = hostile.packet(Level::OneRtt, &[1]);
        hostile.deliver(packet);
        hostile.heard.clear();
        most = most.max(hostile.victim().connection.spaces[2].sent.remembered());
    }
    hostile.assert_open();
    assert!(most <= 6_000, "{most} packets are remembered");
    // The connection still answers those who acknowledge.
    let first = hostile.victim().connection.spaces[2].sent.next() - 1;
    hostile.send(Level::OneRtt, &[ack(&[first..=first]), Frame::Ping]);
    hostile.assert_open();
}

/// No timer runs in circles while acknowledgments are held back.
#[test]
fn time_passes_while_acknowledgments_are_held_back() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    for _ in 0..12_000 {
        let packet = hostile.packet(Level::OneRtt, &[1]);
        hostile.deliver(packet);
    }
    hostile.wait(5_000 * MS);
    let (now, timeout) = (hostile.pair.now, hostile.victim().timeout);
    assert!(timeout.is_none_or(|at| at > now) || hostile.victim().closed().is_some());
    let stream_events = |e: &Event| matches!(e, Event::Stream(StreamEvent::Opened(_)));
    assert!(!hostile.victim().events.iter().any(stream_events));
}

/// A peer that says nothing: what comes after the first packet are probes, and each asks for an answer.
// covers: R9002-6.2.4-02
#[test]
fn every_probe_asks_for_an_acknowledgment() {
    for side in [Side::Client, Side::Server] {
        for &stage in stages(side) {
            let mut hostile = Hostile::new(side, stage);
            hostile.victim().connection.pending.ping = true;
            hostile.listen();
            hostile.heard.clear();
            hostile.wait(3_000 * MS);
            let probes = hostile.victim().connection.stats().probe_timeouts;
            assert!(probes > 0, "{side:?} {stage:?}");
            for packet in &hostile.heard {
                assert!(packet.frames.iter().any(Frame::is_ack_eliciting), "{side:?} {stage:?} {packet:?}");
            }
        }
    }
}
