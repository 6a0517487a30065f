//! PATH_CHALLENGE floods, and answers in the right size and to the right place.

use super::{Hostile, MS, Stage};
use crate::packet::{Level, MIN_DATAGRAM_SIZE, Side};
use crate::proto::tests::pair::{Setup, tuple};
use crate::wire::frame::{Frame, PathChallenge, PathResponse};

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
// covers: R9000-8.1.4-04
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
