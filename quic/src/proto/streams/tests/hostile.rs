//! Everything a peer may not do, and the code that it is told.

use proptest::prelude::*;

use super::*;

const ME: Side = Side::Server;
const PEER: Side = Side::Client;

fn error<T: std::fmt::Debug>(result: Result<T, TransportError>) -> TransportErrorCode {
    result.expect_err("a violation").code
}

const STATE: TransportErrorCode = TransportErrorCode::STREAM_STATE_ERROR;
const LIMIT: TransportErrorCode = TransportErrorCode::STREAM_LIMIT_ERROR;
const FINAL_SIZE: TransportErrorCode = TransportErrorCode::FINAL_SIZE_ERROR;
const FLOW: TransportErrorCode = TransportErrorCode::FLOW_CONTROL_ERROR;
const ENCODING: TransportErrorCode = TransportErrorCode::FRAME_ENCODING_ERROR;

// covers: R9000-19.8-01, R9000-19.4-01, R9000-19.13-02
#[test]
fn frames_of_a_sender_on_our_send_only_stream() {
    let mut s = end(ME);
    let id = uni(ME, 0);
    s.write(id, data("x"));
    assert_eq!(error(s.on_stream(id, 0, false, data("x"))), STATE);
    assert_eq!(error(s.on_reset_stream(id, code(1), 0)), STATE);
    assert_eq!(error(s.on_stream_data_blocked(id, 0)), STATE);
}

// covers: R9000-19.5-02, R9000-19.10-02
#[test]
fn frames_of_a_receiver_on_our_receive_only_stream() {
    let mut s = end(ME);
    for open in [false, true] {
        if open {
            s.on_stream(uni(PEER, 0), 0, false, data("x")).unwrap();
        }
        assert_eq!(error(s.on_stop_sending(uni(PEER, 0), code(1))), STATE);
        assert_eq!(error(s.on_max_stream_data(uni(PEER, 0), 1)), STATE);
    }
}

// covers: R9000-19.8-01, R9000-19.5-01, R9000-19.10-01
#[test]
fn frames_on_our_streams_that_we_have_not_opened() {
    let mut s = end(ME);
    s.write(bi(ME, 0), data("x"));
    assert_eq!(error(s.on_stream(bi(ME, 1), 0, false, data("x"))), STATE);
    assert_eq!(error(s.on_reset_stream(bi(ME, 1), code(1), 0)), STATE);
    assert_eq!(error(s.on_stop_sending(bi(ME, 1), code(1))), STATE);
    assert_eq!(error(s.on_stop_sending(uni(ME, 0), code(1))), STATE);
    assert_eq!(error(s.on_max_stream_data(uni(ME, 0), 1)), STATE);
    assert_eq!(error(s.on_stream_data_blocked(bi(ME, 1), 1)), STATE);
    assert_eq!(s.len(), 1, "nothing is created by that");
}

#[test]
fn our_streams_below_one_in_use_are_open() {
    let mut s = end(ME);
    s.write(bi(ME, 3), data("x"));
    s.on_stream(bi(ME, 1), 0, false, data("early")).unwrap();
    s.on_max_stream_data(bi(ME, 2), 5000).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(bi(ME, 1))]);
    assert_eq!(s.len(), 3);
    assert_eq!(s.read(bi(ME, 1)), Some(RecvChunk::Data(data("early"))));
}

// covers: R9000-4.6-03, R9000-19.11-04
#[test]
fn more_streams_than_permitted() {
    let mut s = end(ME);
    for id in [bi(PEER, 10), uni(PEER, 10), bi(PEER, (1 << 60) - 1)] {
        assert_eq!(error(s.on_stream(id, 0, false, data("x"))), LIMIT);
        assert_eq!(error(s.on_reset_stream(id, code(1), 0)), LIMIT);
        assert_eq!(error(s.on_stream_data_blocked(id, 0)), LIMIT);
    }
    assert_eq!(error(s.on_stop_sending(bi(PEER, 10), code(1))), LIMIT);
    assert_eq!(error(s.on_max_stream_data(bi(PEER, 10), 1)), LIMIT);
    s.on_stream(bi(PEER, 9), 0, false, data("x")).unwrap();
    s.on_stream(uni(PEER, 9), 0, false, data("x")).unwrap();
    assert_eq!(s.len(), 2, "the lower ones cost nothing");
}

// covers: R9000-4.1-02, R9000-19.10-04
#[test]
fn more_data_than_the_stream_permits() {
    let mut s = end(ME);
    s.on_stream(bi(PEER, 0), 0, false, zeroes(1000)).unwrap();
    assert_eq!(error(s.on_stream(bi(PEER, 0), 1000, false, zeroes(1))), FLOW);
    assert_eq!(error(s.on_stream(bi(PEER, 1), 1000, false, zeroes(1))), FLOW, "gaps count");
    assert_eq!(error(s.on_reset_stream(bi(PEER, 2), code(1), 1001)), FLOW);
    assert_eq!(error(s.on_stream(bi(PEER, 3), 1001, true, zeroes(0))), FLOW);
    // covers: R9000-19.8-02
    assert_eq!(error(s.on_stream(bi(PEER, 4), VarInt::MAX.into_inner(), false, zeroes(1))), FLOW);
}

// covers: R9000-4.1-02, R9000-19.9-01, R9000-19.9-02, R9000-4.5-01
#[test]
fn more_data_than_the_connection_permits() {
    let mut s = end(ME);
    s.on_stream(bi(PEER, 0), 900, false, zeroes(100)).unwrap();
    s.on_stream(bi(PEER, 1), 0, true, zeroes(900)).unwrap();
    s.on_reset_stream(uni(PEER, 2), code(1), 1000).unwrap();
    s.on_stream(bi(PEER, 3), 0, false, zeroes(100)).unwrap();
    // The credit of the reset stream is back, but the peer has not been told yet.
    assert_eq!(error(s.on_stream(bi(PEER, 4), 0, false, zeroes(1))), FLOW);
}

#[test]
fn a_reset_counts_its_final_size_against_the_connection() {
    let mut s = end(ME);
    for index in 0..3 {
        s.on_stream(uni(PEER, index), 0, false, zeroes(999)).unwrap();
    }
    assert_eq!(error(s.on_reset_stream(uni(PEER, 3), code(1), 4)), FLOW);
}

// covers: R9000-4.5-03, R9000-4.5-04, R9000-4.5-02
#[test]
fn final_sizes_that_change() {
    let known = || {
        let mut s = end(ME);
        s.on_stream(bi(PEER, 0), 5, true, zeroes(5)).unwrap();
        s
    };
    let mut s = known();
    s.on_stream(bi(PEER, 0), 0, false, zeroes(10)).unwrap();
    s.on_stream(bi(PEER, 0), 10, true, zeroes(0)).unwrap();
    s.on_reset_stream(bi(PEER, 0), code(1), 10).unwrap();
    assert_eq!(error(known().on_stream(bi(PEER, 0), 9, false, zeroes(2))), FINAL_SIZE);
    assert_eq!(error(known().on_stream(bi(PEER, 0), 0, true, zeroes(9))), FINAL_SIZE);
    assert_eq!(error(known().on_stream(bi(PEER, 0), 5, true, zeroes(6))), FINAL_SIZE);
    assert_eq!(error(known().on_reset_stream(bi(PEER, 0), code(1), 9)), FINAL_SIZE);
    assert_eq!(error(known().on_reset_stream(bi(PEER, 0), code(1), 11)), FINAL_SIZE);

    let open = || {
        let mut s = end(ME);
        s.on_stream(bi(PEER, 0), 5, false, zeroes(5)).unwrap();
        s
    };
    assert_eq!(error(open().on_stream(bi(PEER, 0), 0, true, zeroes(9))), FINAL_SIZE);
    assert_eq!(error(open().on_reset_stream(bi(PEER, 0), code(1), 9)), FINAL_SIZE);

    let reset = || {
        let mut s = open();
        s.on_reset_stream(bi(PEER, 0), code(1), 20).unwrap();
        s
    };
    reset().on_stream(bi(PEER, 0), 10, true, zeroes(10)).unwrap();
    assert_eq!(error(reset().on_stream(bi(PEER, 0), 20, false, zeroes(1))), FINAL_SIZE);
    assert_eq!(error(reset().on_reset_stream(bi(PEER, 0), code(1), 21)), FINAL_SIZE);

    let stopped = || {
        let mut s = known();
        s.stop(bi(PEER, 0), code(1));
        s
    };
    assert_eq!(error(stopped().on_stream(bi(PEER, 0), 10, false, zeroes(1))), FINAL_SIZE);
}

// covers: R9000-19.11-01, R9000-4.6-01, R9000-19.14-02
#[test]
fn stream_counts_above_the_maximum() {
    let mut s = end(ME);
    for dir in Dir::ALL {
        assert_eq!(error(s.on_max_streams(dir, (1 << 60) + 1)), ENCODING);
        assert_eq!(error(s.on_streams_blocked(dir, (1 << 60) + 1)), ENCODING);
        s.on_max_streams(dir, 1 << 60).unwrap();
        s.on_streams_blocked(dir, 1 << 60).unwrap();
    }
}

// covers: R9000-3.3-01
#[test]
fn late_frames_on_ended_streams_change_nothing() {
    let (mut me, mut peer) = (end(ME), end(PEER));
    let id = bi(PEER, 0);
    peer.write(id, data("question"));
    peer.finish(id);
    let question = flush(&mut peer);
    deliver(&question, &mut me);
    me.write(id, data("answer"));
    me.finish(id);
    while me.read(id).is_some() {}
    me.consumed(id, 8);
    let answer = flush(&mut me);
    acked(&mut me, &answer);
    events(&mut me);
    assert!(me.is_empty());
    for _ in 0..2 {
        deliver(&question, &mut me);
        me.on_reset_stream(id, code(3), 8).unwrap();
        me.on_stop_sending(id, code(3)).unwrap();
        me.on_max_stream_data(id, 1 << 40).unwrap();
        me.on_stream_data_blocked(id, 8).unwrap();
        acked(&mut me, &answer);
        lost(&mut me, &answer);
        me.reset(id, code(1));
        me.stop(id, code(1));
        me.write(id, data("more"));
        me.finish(id);
        me.set_priority(id, Priority::integer(1));
        me.release(id);
        assert_eq!(me.read(id), None);
        assert!(me.is_empty());
        assert_quiet(&mut me);
    }
}

#[test]
fn opening_and_resetting_without_end_is_bounded_by_what_the_application_has_seen() {
    let mut s = end(ME);
    for index in 0..10 {
        s.on_reset_stream(uni(PEER, index), code(1), 0).unwrap();
    }
    assert_eq!(error(s.on_reset_stream(uni(PEER, 10), code(1), 0)), LIMIT);
    for index in 0..10 {
        assert_eq!(s.poll_event(), Some(StreamEvent::Opened(uni(PEER, index))));
        assert_eq!(s.poll_event(), Some(StreamEvent::Readable(uni(PEER, index))));
        assert_eq!(s.read(uni(PEER, index)), Some(RecvChunk::Reset(code(1))));
    }
    assert!(s.poll_event().is_none() && !s.wants_to_send(), "handed out, but not seen");
    (0..10).for_each(|index| s.release(uni(PEER, index)));
    assert!(s.is_empty());
    let frames = flush(&mut s).frames;
    assert!(matches!(frames[..], [Frame::MaxStreams(f)] if f.maximum == 20), "{frames:?}");
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..1200, 1 => 0u64..4000, 1 => any::<u64>().prop_map(|n| n >> 2)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever frames come, and whatever the application does meanwhile: no panic, and what is kept stays bounded.
    #[test]
    fn any_frames_at_all(steps in prop::collection::vec((0u8..16, 0u64..44, number(), number(), any::<bool>()), 1..200)) {
        let mut s = end(ME);
        s.write(bi(ME, 0), zeroes(400));
        for (what, id, a, b, flag) in steps {
            let id = StreamId::from_u64(id);
            let known = s.table.find(id).is_some();
            let result = match what {
                0..=3 => s.on_stream(id, a, flag, zeroes(b.min(300) as usize)),
                4 => s.on_reset_stream(id, code(1), a).map(drop),
                5 => s.on_stop_sending(id, code(1)).map(drop),
                6 => s.on_max_stream_data(id, a),
                7 => s.on_max_streams(id.dir(), a),
                8 => s.on_stream_data_blocked(id, a),
                9 => {
                    s.on_max_data(a);
                    Ok(())
                }
                10 if known => {
                    match s.read(id) {
                        Some(RecvChunk::Data(data)) => s.consumed(id, data.len() as u64),
                        Some(_) => s.release(id),
                        None => {}
                    }
                    Ok(())
                }
                11 if known => {
                    s.stop(id, code(2));
                    Ok(())
                }
                12 if known => {
                    s.write(id, zeroes(b.min(500) as usize));
                    Ok(())
                }
                13 if known => {
                    if flag { s.finish(id) } else { s.reset(id, code(3)) }
                    Ok(())
                }
                14 => {
                    if let Some(packet) = packet(&mut s, 200) {
                        if flag { acked(&mut s, &packet) } else { lost(&mut s, &packet) }
                    }
                    Ok(())
                }
                _ => {
                    events(&mut s);
                    Ok(())
                }
            };
            prop_assert!(s.len() <= 2 * (10 + 10) + 1);
            prop_assert!(s.received.received() <= 3000 + s.received.consumed());
            if let Err(error) = result {
                prop_assert!([STATE, LIMIT, FINAL_SIZE, FLOW, ENCODING].contains(&error.code));
                return Ok(());
            }
        }
    }
}
