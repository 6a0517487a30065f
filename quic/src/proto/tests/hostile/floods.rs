//! Floods of what is allowed now and then: it ends the connection once it is clear that nothing else is to come.

use std::time::Duration;

use bytes::Bytes;

use super::{Hostile, MS, Stage, ack};
use crate::config::TransportConfig;
use crate::packet::{
    ConnectionId, Dir, FourTuple, Level, ResetToken, Side, StreamId, TransportErrorCode as Code,
};
use crate::proto::tests::pair::{Setup, tuple};
use crate::wire::VarInt;
use crate::wire::frame::*;

const BOTH: [Side; 2] = [Side::Client, Side::Server];

fn uni(initiator: Side, index: u64) -> StreamId {
    StreamId::new(initiator, Dir::Uni, index)
}

fn data(id: StreamId, offset: u64, len: usize) -> Frame {
    Stream { id, offset, fin: false, data: Bytes::from(vec![7; len]) }.into()
}

fn reset(id: StreamId) -> Frame {
    ResetStream { id, error_code: VarInt::from_u32(1), final_size: 0 }.into()
}

fn stop(id: StreamId) -> Frame {
    StopSending { id, error_code: VarInt::from_u32(1) }.into()
}

/// Opens a stream and gives it up. The application of the victim hears of it and lets go of it at once.
fn open_and_reset(hostile: &mut Hostile, index: u64) {
    let id = uni(Side::Client, index);
    hostile.send(Level::OneRtt, &[data(id, 0, 0), reset(id)]);
}

/// Streams that are opened and reset as fast as the peer can.
// covers: R9000-21.9-01
#[test]
fn a_rapid_reset_closes_the_connection() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut resets = 0;
    while hostile.victim().closed().is_none() {
        open_and_reset(&mut hostile, resets);
        resets += 1;
        assert!(resets < 3_000);
    }
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x04));
    assert_eq!(resets, 2_001);
}

/// A request as a whole, and nobody wants the answer: what a client of HTTP/3 can do without a single RESET_STREAM
/// (CVE-2023-44487).
// covers: R9000-21.9-01
#[test]
fn a_rapid_reset_with_stop_sending_closes_the_connection() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut requests = 0;
    while hostile.victim().closed().is_none() {
        let id = StreamId::new(Side::Client, Dir::Bi, requests);
        let request = Stream { id, offset: 0, fin: true, data: Bytes::from_static(b"GET") };
        hostile.send(Level::OneRtt, &[request.into(), stop(id)]);
        acknowledge_all(&mut hostile);
        requests += 1;
        assert!(requests < 3_000);
    }
    assert_eq!(requests, 2_001);
}

/// What HTTP/3 does with a request that nobody wants any more.
fn cancel(hostile: &mut Hostile, index: u64) -> StreamId {
    let id = StreamId::new(Side::Client, Dir::Bi, index);
    hostile.send(Level::OneRtt, &[data(id, 0, 200)]);
    hostile.victim().connection.streams().write(id, Bytes::from(vec![1; 500]));
    let end = ResetStream { id, error_code: VarInt::from_u32(0x10c), final_size: 200 };
    hostile.send(Level::OneRtt, &[end.into(), stop(id)]);
    id
}

/// Each is one, though two frames say so.
#[test]
fn nine_hundred_cancelled_requests_a_second_are_fine_for_as_long_as_one_likes() {
    let config = TransportConfig::builder().max_idle_frames_per_second(1).build().unwrap();
    let setup = Setup { server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    for tenth in 0..50 {
        for n in 0..90 {
            cancel(&mut hostile, 90 * tenth + n);
        }
        acknowledge_all(&mut hostile);
        hostile.wait(Duration::from_millis(100));
    }
    hostile.assert_open();
    let stats = hostile.victim().connection.stats();
    assert_eq!((stats.resets_received, stats.idle_frames_received), (4_500, 0));
}

/// What is said again of a stream, while it is there or when it is gone, counts as idle and not as one more.
#[test]
fn ends_that_are_said_again_are_idle_frames() {
    let config = TransportConfig::builder().max_idle_frames_per_second(500).build().unwrap();
    for gone in [false, true] {
        for kind in 0..3 {
            let setup = Setup { server: config.clone(), ..Setup::default() };
            let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
            let id = cancel(&mut hostile, 0);
            if gone {
                acknowledge_all(&mut hostile);
            }
            let again: [Frame; 3] = [
                stop(id),
                ResetStream { id, error_code: VarInt::from_u32(0x10c), final_size: 200 }.into(),
                ResetStreamAt { id, error_code: VarInt::from_u32(0x10c), final_size: 200, reliable_size: 0 }
                    .into(),
            ];
            let packet = vec![again[kind].clone(); 20];
            let mut packets = 0;
            while hostile.victim().closed().is_none() {
                hostile.send(Level::OneRtt, &packet);
                packets += 1;
                assert!(packets < 60, "{kind}");
            }
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
            assert!(packets >= 50, "{kind}: {packets}");
            assert_eq!(hostile.victim().connection.stats().resets_received, 1);
        }
    }
}

/// Nor does a promise that shrinks byte by byte bring anything.
#[test]
fn a_reset_that_is_moved_again_and_again_is_idle() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let id = uni(Side::Client, 0);
    let mut moved = 0;
    while hostile.victim().closed().is_none() {
        let reliable_size = 100_000 - moved;
        let reset = ResetStreamAt { id, error_code: VarInt::from_u32(1), final_size: 200_000, reliable_size };
        hostile.send(Level::OneRtt, &[reset.into()]);
        moved += 1;
        assert!(moved < 40_000);
    }
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
    assert_eq!(hostile.victim().connection.stats().resets_received, 1);
}

/// Acknowledges what was heard, packet by packet; returns how many there were.
fn acknowledge_all(hostile: &mut Hostile) -> usize {
    let heard = std::mem::take(&mut hostile.heard);
    for packet in &heard {
        hostile.send(Level::OneRtt, &[ack(&[packet.pn..=packet.pn])]);
    }
    heard.len()
}

#[test]
fn as_many_resets_as_the_setting_says_are_fine_for_as_long_as_one_likes() {
    let config = TransportConfig::builder().max_resets_per_second(100).build().unwrap();
    let setup = Setup { server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    for second in 0..10 {
        for n in 0..100 {
            open_and_reset(&mut hostile, 100 * second + n);
        }
        acknowledge_all(&mut hostile);
        hostile.wait(Duration::from_secs(1));
    }
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().resets_received, 1_000);
}

/// Whoever is asked for an end has to reset the stream (RFC 9000 §3.5): that is neither a flood nor without effect.
#[test]
fn resets_that_were_asked_for_cost_nothing() {
    let config =
        TransportConfig::builder().max_resets_per_second(1).max_idle_frames_per_second(1).build().unwrap();
    let setup = Setup { server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    for index in 0..300 {
        let id = uni(Side::Client, index);
        hostile.send(Level::OneRtt, &[data(id, 0, 10)]);
        hostile.victim().connection.streams().stop(id, VarInt::from_u32(7));
        let answer = ResetStream { id, error_code: VarInt::from_u32(7), final_size: 10 };
        hostile.send(Level::OneRtt, &[answer.into()]);
        hostile.assert_open();
    }
    let stats = hostile.victim().connection.stats();
    assert_eq!((stats.resets_received, stats.idle_frames_received), (0, 0));
}

/// Streams that the victim opened are another matter: there are only as many as it likes.
#[test]
fn what_the_victim_has_opened_may_be_stopped_as_often_as_it_opens() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    hostile.send(Level::OneRtt, &[MaxStreams { dir: Dir::Uni, maximum: 5_000 }.into()]);
    for index in 0..5_000 {
        let id = uni(Side::Server, index);
        hostile.victim().connection.streams().write(id, Bytes::from_static(b"x"));
        hostile.send(Level::OneRtt, &[stop(id)]);
    }
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().resets_received, 0);
}

/// Frames that change nothing, at a victim that has one stream of the peer's.
fn idle_frames(hostile: Side) -> Vec<Frame> {
    let (known, ours) = (uni(hostile, 0), uni(hostile.peer(), 0));
    let bi = StreamId::new(hostile, Dir::Bi, 0);
    let mut frames = vec![
        Frame::Ping,
        data(known, 0, 0),
        data(known, 3, 0),
        data(known, 0, 1),
        data(known, 0, 5),
        Crypto { offset: 0, data: Bytes::new() }.into(),
        MaxData { maximum: 1 }.into(),
        MaxStreamData { id: bi, maximum: 1 }.into(),
        MaxStreams { dir: Dir::Bi, maximum: 1 }.into(),
        MaxStreams { dir: Dir::Uni, maximum: 1 }.into(),
        DataBlocked { limit: 1 }.into(),
        StreamDataBlocked { id: known, limit: 1 }.into(),
        StreamsBlocked { dir: Dir::Bi, limit: 1 }.into(),
        StreamsBlocked { dir: Dir::Uni, limit: 1 }.into(),
        Frame::ImmediateAck,
        PathChallenge { data: [1; 8] }.into(),
        PathResponse { data: [1; 8] }.into(),
        stop(ours),
        ack(&[0..=0]),
    ];
    if hostile.is_server() {
        frames.push(NewToken { token: Bytes::from_static(b"token") }.into());
        frames.push(Frame::HandshakeDone);
        // The tickets have come.
        frames.push(Crypto { offset: 0, data: Bytes::from_static(b"x") }.into());
    }
    frames
}

/// A victim with one stream of the peer's and one of its own, on which there is nothing new any more.
fn settled(victim: Side, config: TransportConfig) -> Hostile {
    let setup = Setup { client: config.clone(), server: config, ..Setup::default() };
    let mut hostile = Hostile::with(setup, victim, Stage::Confirmed);
    let peer = victim.peer();
    hostile.send(Level::OneRtt, &[data(uni(peer, 0), 0, 5), data(StreamId::new(peer, Dir::Bi, 0), 0, 5)]);
    hostile.victim().connection.streams().write(uni(victim, 0), Bytes::from_static(b"x"));
    hostile.send(Level::OneRtt, &[stop(uni(victim, 0)), ack(&[0..=0])]);
    hostile.assert_open();
    hostile
}

// covers: R9000-21.9-01
#[test]
fn frames_that_change_nothing_are_counted_and_end_the_connection_when_there_are_too_many() {
    let config = TransportConfig::builder().max_idle_frames_per_second(500).build().unwrap();
    for victim in BOTH {
        for frame in idle_frames(victim.peer()) {
            let mut hostile = settled(victim, config.clone());
            let before = hostile.victim().connection.stats().idle_frames_received;
            // Padding beside it is no excuse.
            let packet = [vec![frame.clone(); 20], vec![Frame::Padding(50)]].concat();
            let mut packets = 0;
            while hostile.victim().closed().is_none() {
                hostile.send(Level::OneRtt, &packet);
                packets += 1;
                assert!(packets <= 60, "{victim:?} {frame:?}");
            }
            assert!(packets >= 50, "{victim:?} {frame:?}: after {packets} packets");
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
            let counted = hostile.victim().connection.stats().idle_frames_received - before;
            assert!(counted > 1_000, "{frame:?}: {counted}");
        }
    }
}

/// Also when many of them hide behind one that brings something.
#[test]
fn a_packet_full_of_idle_frames_with_a_byte_of_data_counts() {
    let config = TransportConfig::builder().max_idle_frames_per_second(500).build().unwrap();
    let mut hostile = settled(Side::Server, config);
    for n in 0..100 {
        let mut frames = vec![Frame::Ping; 200];
        frames.push(data(uni(Side::Client, 0), 5 + n, 1));
        hostile.send(Level::OneRtt, &frames);
    }
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
}

/// What happens on bad networks: single PINGs, repeated data in full packets, a limit that came twice beside data.
#[test]
fn what_honest_peers_do_is_never_too_much() {
    let config = TransportConfig::builder().max_idle_frames_per_second(10).build().unwrap();
    let mut hostile = settled(Side::Server, config);
    let id = uni(Side::Client, 0);
    for n in 0..200u64 {
        hostile.send(Level::OneRtt, &[data(id, 5 + 1000 * n, 1000)]);
        hostile.send(Level::OneRtt, &[data(id, 5 + 1000 * n, 1000)]);
        hostile.send(
            Level::OneRtt,
            &[MaxData { maximum: 1 }.into(), data(id, 5, 1000), data(id, 1005 + 1000 * n, 10)],
        );
    }
    for _ in 0..20 {
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    hostile.assert_open();
    for _ in 0..100 {
        hostile.wait(100 * MS);
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    hostile.assert_open();
}

/// A victim that sends 4 MiB hears of each packet `times` times; how many acknowledgments were no news.
fn acknowledged_again_and_again(times: usize) -> (Hostile, u64) {
    let config = TransportConfig::builder()
        .max_idle_frames_per_second(100)
        .loopback_mtu_upper_bound(1200)
        .build()
        .unwrap();
    let mut hostile = settled(Side::Server, config);
    let id = uni(Side::Server, 1);
    hostile.send(
        Level::OneRtt,
        &[MaxData { maximum: 1 << 40 }.into(), MaxStreams { dir: Dir::Uni, maximum: 9 }.into()],
    );
    hostile.victim().connection.streams().write(id, Bytes::from(vec![1; 4 << 20]));
    hostile.send(Level::OneRtt, &[MaxStreamData { id, maximum: 1 << 40 }.into()]);
    'all: for _ in 0..400 {
        hostile.wait(5 * MS);
        let heard: Vec<u64> = std::mem::take(&mut hostile.heard).iter().map(|packet| packet.pn).collect();
        for pn in heard {
            for _ in 0..times {
                hostile.send(Level::OneRtt, &[ack(&[pn..=pn])]);
                if hostile.victim().closed().is_some() {
                    break 'all;
                }
            }
        }
    }
    let late = hostile.victim().connection.stats().idle_frames_received;
    (hostile, late)
}

/// Acknowledgments that others overtook: who sends much must take as many of them as it sends packets.
#[test]
fn acknowledgments_that_come_late_are_no_flood_for_who_sends() {
    let (mut hostile, late) = acknowledged_again_and_again(2);
    hostile.assert_open();
    assert!(late > 3_000, "{late}");
}

/// No honest peer sends more (RFC 9000 §13.2.1).
// covers: R9000-21.9-01
#[test]
fn more_acknowledgments_than_packets_are_a_flood() {
    let (mut hostile, late) = acknowledged_again_and_again(4);
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
    assert!(late < 2_000, "{late}");
}

// covers: R9000-21.9-01
#[test]
fn a_churn_of_ids_that_is_too_fast_closes() {
    // The victim's IDs are retired as fast as it issues them.
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let mut sequence = 0;
    while hostile.victim().closed().is_none() {
        sequence += 1;
        hostile.send(Level::OneRtt, &[RetireConnectionId { sequence }.into()]);
        let issued: Vec<u64> = std::mem::take(&mut hostile.heard).iter().map(|packet| packet.pn).collect();
        for pn in issued {
            if hostile.victim().closed().is_some() {
                break;
            }
            hostile.send(Level::OneRtt, &[ack(&[pn..=pn])]);
        }
        assert!(sequence < 300);
    }
    assert!(matches!(
        hostile.victim().closed(),
        Some(crate::ConnectionError::Transport { error, .. }) if error.code == Code::PROTOCOL_VIOLATION
    ));
    assert!(sequence > 190, "{sequence}");
    // And the other way round: each ID retires the one before, and all is acknowledged.
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let mut sequence = 10;
    while hostile.victim().closed().is_none() {
        let id = ConnectionId::try_from(&u64::to_be_bytes(sequence)[..]).unwrap();
        let reset_token = ResetToken([(sequence % 251) as u8; 16]);
        let frame = NewConnectionId { sequence, retire_prior_to: sequence, id, reset_token };
        hostile.send(Level::OneRtt, &[frame.into()]);
        let told: Vec<u64> = hostile.heard.iter().map(|packet| packet.pn).collect();
        for pn in told {
            if hostile.victim().closed().is_some() {
                break;
            }
            hostile.send(Level::OneRtt, &[ack(&[pn..=pn])]);
        }
        if hostile.victim().closed().is_none() {
            hostile.heard.clear();
        }
        sequence += 1;
        assert!(sequence < 400);
    }
    hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x18));
    assert!(sequence > 190, "{sequence}");
}

/// A client that is somewhere else with each packet, by its NAT's doing: it is followed for a while, and then stays.
#[test]
fn a_client_that_is_everywhere_is_not_followed_everywhere() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let home = hostile.path;
    for port in 0..200 {
        hostile.path = FourTuple { remote: ([10, 0, 0, 1], 10_000 + port).into(), ..tuple(0) };
        hostile.send(Level::OneRtt, &[Frame::Ping]);
    }
    hostile.assert_open();
    let stats = hostile.victim().connection.stats();
    assert!((150..170).contains(&stats.paths_refused), "{stats:?}");
    // Later it may move again.
    hostile.wait(Duration::from_secs(1));
    hostile.path = FourTuple { remote: ([10, 0, 0, 2], 1).into(), ..home };
    let refused = hostile.victim().connection.stats().paths_refused;
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    assert_eq!(hostile.victim().connection.stats().paths_refused, refused);
    assert_eq!(hostile.victim().connection.path().remote, hostile.path.remote);
}

/// The answer to a challenge asks for an acknowledgment, and pays for no other challenge.
#[test]
fn challenges_do_not_pay_for_each_other() {
    let config = TransportConfig::builder().max_idle_frames_per_second(500).build().unwrap();
    for victim in BOTH {
        let mut hostile = settled(victim, config.clone());
        let mut packets = 0;
        while hostile.victim().closed().is_none() {
            acknowledge_all(&mut hostile);
            hostile.send(Level::OneRtt, &[PathChallenge { data: [1; 8] }.into()]);
            packets += 1;
            assert!(packets < 3_000, "{victim:?}");
        }
        assert!(packets >= 1_000, "{victim:?}: {packets}");
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, None);
    }
}
