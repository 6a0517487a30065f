//! PATH_CHALLENGE floods, answers in the right size and to the right place, and peers that are everywhere at once.

use super::{Hostile, MS, Stage, ack, encode};
use crate::error::ConnectionError;
use crate::packet::{
    ConnectionId, FourTuple, Level, MIN_DATAGRAM_SIZE, ResetToken, Rng, Side, TransportErrorCode as Code,
};
use crate::proto::tests::pair::{Setup, tuple};
use crate::wire::frame::{Frame, NewConnectionId, PathChallenge, PathResponse, RetireConnectionId};

fn challenge(n: u64) -> Frame {
    PathChallenge { data: n.to_be_bytes() }.into()
}

fn answered(frames: &[Frame]) -> Vec<u64> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::PathResponse(response) => Some(u64::from_be_bytes(response.data)),
            _ => None,
        })
        .collect()
}

// covers: R9000-8.2.2-01 R9000-8.2.2-05 R9000-19.17-01
#[test]
fn an_answer_fills_its_datagram() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.send(Level::OneRtt, &[challenge(5)]);
        let answer = hostile.heard.iter().find(|packet| answered(&packet.frames) == [5]).unwrap();
        assert!(answer.datagram_len >= MIN_DATAGRAM_SIZE, "{} bytes", answer.datagram_len);
    }
}

/// CVE-2023-49295, CVE-2023-6193.
// covers: R9000-8.2.2-07
#[test]
fn a_flood_of_challenges_gets_a_few_answers() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let frames: Vec<Frame> = (0..100).map(challenge).collect();
        hostile.send(Level::OneRtt, &frames);
        let answers = answered(&hostile.frames());
        assert_eq!(answers, [96, 97, 98, 99], "the newest");
        // One burst of many.
        let mut datagrams = Vec::new();
        for n in 0..60 {
            let payload = super::encode(&(0..100).map(|k| challenge(n * 100 + k)).collect::<Vec<_>>());
            datagrams.push(hostile.packet(Level::OneRtt, &payload));
        }
        hostile.deliver_burst(&datagrams);
        assert!(answered(&hostile.frames()).len() <= 4);
        assert_eq!(hostile.victim().connection.stats().path_challenges_dropped, 96 + 5_996);
        hostile.wait(500 * MS);
        assert_eq!(answered(&hostile.frames()), [0; 0], "answers are not repeated");
        hostile.assert_open();
    }
}

// covers: R9000-8.2.2-03 R9000-9.5-01 R9000-9.5-02
#[test]
fn a_challenge_from_elsewhere_is_answered_there_and_only_there() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let (here, cids) = (hostile.path, hostile.spare_dcids());
    let used = hostile.victim().connection.paths.active.remote_cid.id;
    hostile.path = tuple(6666);
    hostile.header.dcid = Some(cids[0]);
    hostile.send_padded(&[challenge(5)]);
    hostile.assert_open();
    let answers: Vec<_> = hostile.heard.iter().filter(|packet| answered(&packet.frames) == [5]).collect();
    assert_eq!((answers.len(), answers[0].path), (1, hostile.path));
    assert!(answers[0].datagram_len >= MIN_DATAGRAM_SIZE && answers[0].dcid != used);
    assert!(answers[0].frames.iter().all(Frame::is_probing), "{:?}", answers[0].frames);
    assert_eq!(hostile.victim().connection.path(), here, "a probe moves nobody");
}

#[test]
fn answers_to_questions_that_nobody_asked_do_nothing() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        for n in 0..100u8 {
            hostile.send(Level::OneRtt, &[PathResponse { data: [n; 8] }.into()]);
        }
        hostile.assert_open();
    }
}

/// A client that is known to be somewhere else gets tokens for that address, and one behind another port has them.
// covers: R9000-8.1.4-04 R9000-9.3-03
#[test]
fn tokens_for_a_new_address_come_when_it_is_validated() {
    let setup = Setup { new_tokens: 2, ..Setup::default() };
    let mut hostile = Hostile::with(setup, Side::Server, Stage::Confirmed);
    let tokens = |frames: &[Frame]| frames.iter().filter(|frame| matches!(frame, Frame::NewToken(_))).count();
    let cids = hostile.spare_dcids();
    for (n, (remote, given)) in [("127.0.0.1:6666", 0), ("127.0.0.2:5000", 2)].into_iter().enumerate() {
        hostile.frames();
        hostile.path.remote = remote.parse().unwrap();
        hostile.header.dcid = Some(cids[n]);
        hostile.send_padded(&[Frame::Ping]);
        let frames = hostile.frames();
        assert_eq!(tokens(&frames), 0, "before {remote} is validated");
        let challenge = frames.iter().find_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(PathResponse { data: challenge.data }.into()),
            _ => None,
        });
        hostile.send_padded(&[challenge.unwrap()]);
        assert_eq!(hostile.victim().connection.path(), hostile.path);
        assert_eq!(tokens(&hostile.frames()), given, "{remote}");
    }
}

/// An address in the same network, or in another one.
fn elsewhere(n: u8) -> FourTuple {
    let remote =
        if n.is_multiple_of(2) { ([127, 0, 0, 1], 7000 + u16::from(n)) } else { ([10, 0, 0, n], 7000) };
    FourTuple { remote: remote.into(), ..tuple(0) }
}

// covers: R9000-8.2.2-02 R9000-9.3.3-02
#[test]
fn an_answer_on_the_path_in_use_shows_that_it_is() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        hostile.send_padded(&[challenge(5)]);
        let answer = hostile.heard.iter().find(|packet| answered(&packet.frames) == [5]).expect("at once");
        assert!(!answer.frames.iter().all(Frame::is_probing), "{:?}", answer.frames);
    }
}

// covers: R9000-8.2.1-06 R9000-8.2.2-06
#[test]
fn a_small_challenge_from_elsewhere_gets_a_small_answer() {
    for len in [0usize, 100, 300, 390, 410] {
        let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
        hostile.path = elsewhere(7);
        let packet = hostile.packet(Level::OneRtt, &encode(&[challenge(5), Frame::Padding(len.max(1))]));
        let received = packet.len();
        hostile.deliver(packet);
        let path = hostile.path;
        let sent: usize = hostile.heard.iter().filter(|p| p.path == path).map(|p| p.datagram_len).sum();
        assert!(sent <= 3 * received, "{sent} bytes for {received}");
        let answer = hostile.heard.iter().find(|p| answered(&p.frames) == [5]).expect("an answer");
        assert_eq!(answer.datagram_len >= MIN_DATAGRAM_SIZE, 3 * received >= MIN_DATAGRAM_SIZE);
    }
}

/// A peer that asks from everywhere and never moves: a few paths, a few IDs, no growth.
#[test]
fn probes_from_everywhere_are_few_paths() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let home = hostile.path;
    let cids = hostile.spare_dcids();
    for n in 0..250u8 {
        hostile.path = elsewhere(n);
        hostile.header.dcid = Some(cids[usize::from(n) % cids.len()]);
        hostile.send_padded(&[challenge(n.into()), challenge(1000 + u64::from(n))]);
        let connection = &hostile.victim().connection;
        assert!(connection.paths.others().len() <= 3);
        assert_eq!(connection.path(), home);
        if n % 10 == 0 {
            hostile.wait(50 * MS);
        }
    }
    let retired = hostile.heard.iter().flat_map(|packet| &packet.frames);
    let retired = retired.filter(|frame| matches!(frame, Frame::RetireConnectionId(_))).count();
    assert!(retired <= 3 * 8, "three spare IDs, each given back once: {retired}");
    hostile.wait(10_000 * MS);
    let connection = &hostile.victim().connection;
    assert!(connection.paths.is_quiet(), "what did not answer is forgotten");
    hostile.path = home;
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    hostile.assert_open();
}

/// A peer that looks at three ways, finds them good and takes none; then it is somewhere else again.
#[test]
fn ways_that_were_only_probed_make_room_for_the_one_that_is_taken() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let cids = hostile.spare_dcids();
    for n in 1..=3u8 {
        hostile.path = elsewhere(n);
        hostile.header.dcid = Some(cids[usize::from(n) - 1]);
        hostile.send_padded(&[challenge(n.into())]);
        for frame in hostile.frames() {
            if let Frame::PathChallenge(PathChallenge { data }) = frame {
                hostile.send_padded(&[PathResponse { data }.into()]);
            }
        }
    }
    let others = hostile.victim().connection.paths.others();
    assert!(others.len() == 3 && others.iter().all(|path| path.validated), "{others:?}");
    assert!(hostile.victim().connection.remote_cids.take_unused().is_none(), "all of its IDs are taken");
    // For good, and of its own will: not under the ID of the path in use.
    hostile.path = elsewhere(4);
    hostile.header.dcid = Some(cids[0]);
    hostile.send_padded(&[Frame::Ping]);
    let retired = hostile.frames().iter().any(|frame| matches!(frame, Frame::RetireConnectionId(_)));
    assert!(retired, "an ID goes back");
    let id = ConnectionId::try_from(&[9; 8][..]).unwrap();
    let new = NewConnectionId { sequence: 9, retire_prior_to: 0, id, reset_token: ResetToken([9; 16]) };
    hostile.send_padded(&[new.into(), Frame::Ping]);
    hostile.send_padded(&[Frame::Ping]);
    assert_eq!(hostile.victim().connection.path(), elsewhere(4));
}

/// The advisory of s2n-quic: the peer moves and has left no ID to follow it with.
// covers: R9000-9.5-01 R9000-9.5-02
#[test]
fn a_peer_that_leaves_no_id_cannot_be_followed() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let home = hostile.path;
    let (cids, own) = (hostile.spare_dcids(), hostile.dcid());
    while hostile.victim().connection.remote_cids.take_unused().is_some() {}
    hostile.heard.clear();
    // Under a new ID, and so of its own will.
    hostile.path = elsewhere(1);
    hostile.header.dcid = Some(cids[0]);
    for n in 0..20 {
        hostile.send_padded(&[challenge(n), Frame::Ping]);
    }
    hostile.wait(500 * MS);
    assert_eq!(hostile.victim().connection.path(), home);
    assert!(hostile.heard.iter().all(|packet| packet.path == home), "nothing can be sent there");
    // A new ID arrives, from there: now it can.
    let id = ConnectionId::try_from(&[9; 8][..]).unwrap();
    let new = NewConnectionId { sequence: 9, retire_prior_to: 4, id, reset_token: ResetToken([9; 16]) };
    hostile.send_padded(&[new.into(), Frame::Ping]);
    // The one in use was retired with the others, so this one is for the path in use.
    assert_eq!(hostile.victim().connection.paths.active.remote_cid.id, id);
    let id = ConnectionId::try_from(&[10; 8][..]).unwrap();
    let new = NewConnectionId { sequence: 10, retire_prior_to: 4, id, reset_token: ResetToken([10; 16]) };
    hostile.send_padded(&[new.into(), Frame::Ping]);
    hostile.send_padded(&[Frame::Ping]);
    let active = &hostile.victim().connection.paths.active;
    assert_eq!((active.tuple, active.remote_cid.id), (elsewhere(1), id));
    hostile.assert_open();

    // The network moved it: the ID may stay.
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    while hostile.victim().connection.remote_cids.take_unused().is_some() {}
    let used = hostile.victim().connection.paths.active.remote_cid.id;
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    hostile.path = elsewhere(2);
    assert_eq!(hostile.dcid(), own);
    hostile.send_padded(&[Frame::Ping]);
    let active = &hostile.victim().connection.paths.active;
    assert_eq!((active.tuple, active.remote_cid.id), (elsewhere(2), used));
}

// covers: R9000-9.3.2-02
#[test]
fn without_a_way_back_the_end_is_silent() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let cids = hostile.spare_dcids();
    hostile.path = elsewhere(1);
    hostile.header.dcid = Some(cids[0]);
    hostile.send_padded(&[Frame::Ping]);
    assert_eq!(hostile.victim().connection.path(), elsewhere(1));
    // All IDs are taken back but one, which the path in use needs.
    let id = ConnectionId::try_from(&[9; 8][..]).unwrap();
    let new = NewConnectionId { sequence: 9, retire_prior_to: 9, id, reset_token: ResetToken([9; 16]) };
    hostile.send_padded(&[new.into()]);
    assert!(hostile.victim().connection.paths.others().is_empty());
    hostile.wait(7_000 * MS);
    match hostile.victim().closed() {
        Some(ConnectionError::Transport { error, .. }) => assert_eq!(error.code, Code::NO_VIABLE_PATH),
        other => panic!("{other:?}"),
    }
    assert_eq!(hostile.close(), None);
    assert!(hostile.victim().connection.tombstone().unwrap().close.is_none());
}

/// A probe that the peer takes back is forgotten at once, and so is the ID that was used for it.
// covers: R9000-5.1.2-01
#[test]
fn a_path_goes_with_the_id_that_led_to_it() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let (home, cids) = (hostile.path, hostile.spare_dcids());
    hostile.path = elsewhere(1);
    hostile.header.dcid = Some(cids[0]);
    hostile.send_padded(&[challenge(1)]);
    assert_eq!(hostile.victim().connection.paths.others().len(), 1);
    hostile.frames();
    (hostile.path, hostile.header.dcid) = (home, None);
    let sequence = (1..5).find(|n| hostile.victim().connection.local_cids.id(*n) == Some(cids[0])).unwrap();
    hostile.send(Level::OneRtt, &[RetireConnectionId { sequence }.into()]);
    assert!(hostile.victim().connection.paths.is_quiet());
    assert!(hostile.frames().iter().any(|frame| matches!(frame, Frame::RetireConnectionId(_))));
}

// covers: R9000-5.1.1-02 R9000-5.1.2-02
#[test]
fn every_id_that_was_issued_is_good_until_it_is_retired() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    for cid in hostile.spare_dcids() {
        hostile.header.dcid = Some(cid);
        let before = hostile.victim().connection.stats().packets_received;
        hostile.send(Level::OneRtt, &[Frame::Ping]);
        assert_eq!(hostile.victim().connection.stats().packets_received, before + 1);
    }
    hostile.header.dcid = None;
    hostile.send(Level::OneRtt, &[Frame::Ping]);
    hostile.assert_open();
}

/// CVE-2025-29785 and its like: challenges, answers, moves, lost and acknowledged probes, retired IDs, in any order.
// covers: R9000-8-01 R9000-9.3-02
#[test]
fn any_order_of_probes_answers_and_moves() {
    for seed in 0..60 {
        chaos(seed);
    }
}

fn chaos(seed: u64) {
    let mut rng = Rng::from_u64(seed);
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    let home = hostile.path;
    let mut cids = hostile.spare_dcids();
    cids.push(hostile.dcid());
    let mut sequence = 10;
    // Addresses from 4 on never answer.
    let mut bytes = [(0usize, 0usize); 8];
    let mut questions: Vec<[u8; 8]> = Vec::new();
    let (mut unacknowledged, mut retired, mut issued) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..200 {
        let at = rng.below(9) as u8;
        hostile.path = if at == 8 { home } else { elsewhere(at) };
        hostile.header.dcid = Some(cids[rng.below(cids.len() as u64) as usize]);
        let mut frames = std::mem::take(&mut issued);
        for _ in 0..1 + rng.below(3) {
            frames.push(match rng.below(8) {
                0 | 1 => challenge(step),
                2 | 3 => Frame::Ping,
                4 if !questions.is_empty() => {
                    let data = questions.swap_remove(rng.below(questions.len() as u64) as usize);
                    PathResponse { data }.into()
                }
                5 if !unacknowledged.is_empty() => {
                    let pn = unacknowledged.swap_remove(rng.below(unacknowledged.len() as u64) as usize);
                    ack(&[pn..=pn])
                }
                6 => PathResponse { data: rng.array() }.into(),
                _ => Frame::Padding(1),
            });
        }
        let mut payload = encode(&frames);
        if rng.below(2) == 0 {
            payload.resize(MIN_DATAGRAM_SIZE, 0);
        }
        let packet = hostile.packet(Level::OneRtt, &payload);
        if at < 8 {
            bytes[usize::from(at)].0 += packet.len();
        }
        hostile.deliver(packet);
        if rng.below(3) == 0 {
            hostile.wait(rng.below(1_500) as u32 * MS);
        }
        for packet in std::mem::take(&mut hostile.heard) {
            let to = (0..8u8).find(|n| elsewhere(*n) == packet.path);
            if let Some(to) = to {
                bytes[usize::from(to)].1 += packet.datagram_len;
            }
            unacknowledged.push(packet.pn);
            for frame in packet.frames {
                match frame {
                    Frame::PathChallenge(f) if to.is_none_or(|to| to < 4) => questions.push(f.data),
                    // A retired ID is replaced, so that there are paths to come.
                    Frame::RetireConnectionId(f) if !retired.contains(&f.sequence) => {
                        retired.push(f.sequence);
                        sequence += 1;
                        let id =
                            ConnectionId::try_from(&[&[9; 7][..], &[sequence as u8]].concat()[..]).unwrap();
                        let reset_token = ResetToken([sequence as u8; 16]);
                        let new = NewConnectionId { sequence, retire_prior_to: 0, id, reset_token };
                        issued.push(Frame::from(new));
                    }
                    _ => {}
                }
            }
        }
        match hostile.victim().closed() {
            None => {}
            // Too little was acknowledged.
            Some(ConnectionError::Transport { error, .. }) => {
                return assert_eq!(error.code, Code::CONNECTION_ID_LIMIT_ERROR, "seed {seed}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        let connection = &hostile.victim().connection;
        assert!(connection.paths.others().len() <= 3, "seed {seed}");
        for (received, sent) in &bytes[4..] {
            assert!(*sent <= 3 * received, "seed {seed}: {sent} bytes for {received}");
        }
    }
    hostile.wait(20_000 * MS);
    assert_eq!(hostile.victim().closed(), None, "seed {seed}");
}
