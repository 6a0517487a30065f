//! Datagrams that were not asked for (RFC 9221 §3).

use super::*;
use crate::config::TransportConfig;
use crate::wire::frame::Datagram;

fn taking(frame_size: u64) -> Setup {
    let config = TransportConfig::builder().max_datagram_frame_size(frame_size).build().unwrap();
    Setup { client: config.clone(), server: config, ..Setup::default() }
}

fn datagram(len: usize, with_len: bool) -> Frame {
    Datagram { data: vec![7; len].into(), with_len }.into()
}

// covers: R9221-3-03
#[test]
fn whoever_takes_none_closes() {
    for victim in [Side::Client, Side::Server] {
        for (len, with_len, frame_type) in [(0, false, 0x30), (100, false, 0x30), (0, true, 0x31)] {
            let mut hostile = Hostile::with(taking(0), victim, Stage::Confirmed);
            hostile.send(Level::OneRtt, &[datagram(len, with_len)]);
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(frame_type));
        }
    }
}

// covers: R9221-3-04
#[test]
fn type_and_length_count_towards_the_limit() {
    for victim in [Side::Client, Side::Server] {
        for (len, with_len) in [(99, false), (97, true)] {
            let mut hostile = Hostile::with(taking(100), victim, Stage::Confirmed);
            hostile.send(Level::OneRtt, &[datagram(len, with_len)]);
            hostile.assert_open();
            assert_eq!(hostile.victim().connection.datagrams().read().map(|data| data.len()), Some(len));
            let larger = datagram(len + 1, with_len);
            hostile.send(Level::OneRtt, std::slice::from_ref(&larger));
            hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(larger.frame_type()));
        }
    }
}

/// A peer that sends many and acknowledges nothing: they cost what the queue holds, and are answered by few packets.
#[test]
fn a_flood_is_bounded_and_counted() {
    let server = TransportConfig::builder().datagram_receive_buffer_size(10_000).build().unwrap();
    let mut hostile = Hostile::with(Setup { server, ..Setup::default() }, Side::Server, Stage::Confirmed);
    for _ in 0..2_000 {
        hostile.send(Level::OneRtt, &vec![datagram(50, true); 20]);
    }
    hostile.assert_open();
    let connection = &mut hostile.victim().connection;
    let stats = connection.stats();
    let kept = std::iter::from_fn(|| connection.datagrams().read()).count() as u64;
    assert_eq!((stats.datagram_frames_received, kept), (40_000, 10_000 / 114));
    assert_eq!(stats.datagrams_unread, 40_000 - kept);
}
