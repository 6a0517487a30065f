//! What is forbidden in and about 0-RTT.

use super::*;
use crate::crypto::tls::EarlyData;
use crate::packet::{Dir, StreamId};
use crate::proto::Event;
use crate::proto::tests::early::{acquainted, early, remembering};
use crate::wire::frame::{Crypto, MaxData, NewToken, PathResponse, RetireConnectionId, Stream};

/// A server that takes early data, and a hostile client that has sent none yet.
fn against_server() -> Hostile {
    let tls = acquainted(Setup::default);
    let mut pair = Pair::with(Setup::default(), tls);
    pair.run_for(15 * MS);
    Hostile::over(pair, Side::Server)
}

// covers: R9000-12.5-02 R9000-12.4-03 R9001-8.3-02 R9000-12.5-01
#[test]
fn frames_that_early_data_cannot_hold() {
    let frames: [Frame; 6] = [
        ack(&[0..=0]),
        Crypto { offset: 0, data: Bytes::from_static(b"hello") }.into(),
        Frame::HandshakeDone,
        NewToken { token: Bytes::from_static(b"token") }.into(),
        PathResponse { data: [1; 8] }.into(),
        RetireConnectionId { sequence: 0 }.into(),
    ];
    for frame in frames {
        let mut hostile = against_server();
        hostile.send(Level::ZeroRtt, std::slice::from_ref(&frame));
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(frame.frame_type()));
    }
    let mut hostile = against_server();
    hostile.send(Level::ZeroRtt, &[Frame::Ping, MaxData { maximum: 1 << 30 }.into()]);
    hostile.assert_open();
    assert_eq!(hostile.victim().connection.stats().early_packets_received, 1);
}

fn data(id: StreamId, offset: u64) -> Frame {
    Stream { id, offset, fin: false, data: Bytes::from_static(b"data") }.into()
}

// covers: R9000-17.2.3-05
#[test]
fn limits_hold_for_early_data() {
    let stream = |index| StreamId::new(Side::Client, Dir::Bi, index);
    for (frame, code) in [
        (data(stream(0), 1 << 40), Code::FLOW_CONTROL_ERROR),
        (data(stream(1 << 30), 0), Code::STREAM_LIMIT_ERROR),
        (data(StreamId::new(Side::Server, Dir::Bi, 0), 0), Code::STREAM_STATE_ERROR),
    ] {
        let mut hostile = against_server();
        hostile.send(Level::ZeroRtt, std::slice::from_ref(&frame));
        hostile.assert_closed(code, Some(frame.frame_type()));
    }
}

// covers: R9001-4.6.2-02
#[test]
fn a_server_cannot_acknowledge_what_it_did_not_take() {
    for acknowledged in [0..=0, 0..=100] {
        let mut tls = acquainted(Setup::default);
        tls.server_sessions.early_data = None;
        let mut pair = early(Setup::default(), &tls, 5_000);
        pair.run_for(200 * MS);
        assert!(pair.client.events.iter().any(|event| matches!(event, Event::EarlyData { accepted: false })));
        let mut hostile = Hostile::over(pair, Side::Client);
        hostile.send(Level::OneRtt, &[ack(&[acknowledged])]);
        hostile.assert_closed(Code::PROTOCOL_VIOLATION, Some(0x02));
    }
}

/// The server's parameters arrive before the end of its flight: early data makes no use of them.
// covers: R9000-7.4.1-09
#[test]
fn new_limits_are_not_for_early_data() {
    let tls = remembering(|params| params.initial_max_data = 2_000);
    let mut pair = early(Setup::default(), &tls, 9_000);
    pair.run_for(15 * MS);
    let crypto = pair.server().connection.handshake.crypto(SpaceId::Handshake).unwrap();
    crypto.repeat();
    let (offset, flight) = crypto.next().map(|(offset, bytes)| (offset, bytes.to_vec())).unwrap();
    let mut hello = pair.client.inbox.pop_front().unwrap().1;
    hello.truncate(header::parse_greased(&hello, 8).unwrap().len);
    let mut hostile = Hostile::over(pair, Side::Client);
    hostile.deliver(hello);
    let sent = hostile.victim().connection.stats().early_packets_sent;

    let extensions = 4 + usize::from(u16::from_be_bytes([flight[2], flight[3]]));
    assert_eq!((offset, flight[0]), (0, 8), "EncryptedExtensions");
    let piece = |from: usize, to: usize| -> Frame {
        Crypto { offset: from as u64, data: Bytes::copy_from_slice(&flight[from..to]) }.into()
    };
    hostile.send(Level::Handshake, &[piece(0, extensions)]);
    let connection = &hostile.victim().connection;
    assert!(connection.early_data() == EarlyData::Accepted && !connection.is_handshake_complete());
    assert_eq!(connection.stats().early_packets_sent, sent, "no more than was remembered");
    hostile.send(Level::Handshake, &[piece(extensions, flight.len())]);
    let connection = &hostile.victim().connection;
    assert!(connection.is_handshake_complete());
    assert_eq!(connection.stats().early_packets_sent, sent);
    let late = hostile.frames().into_iter().map(|frame| match frame {
        Frame::Stream(stream) => stream.data.len(),
        _ => 0,
    });
    assert_eq!(late.sum::<usize>(), 7_000, "the rest is for 1-RTT packets");
}

// covers: R9001-5.6-05
#[test]
fn a_client_takes_no_early_data() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup::default(), &tls, 1_000);
    pair.run_for(5 * MS);
    pair.server = None;
    let connection = &pair.client.connection;
    let dcid = connection.local_cids.initial();
    let header = LongHeader {
        ty: LongType::ZeroRtt,
        version: VERSION_1,
        dcid,
        scid: ConnectionId::default(),
        token: &[],
    };
    let mut packet = Vec::new();
    let layout = header.encode(&mut packet, 0, 4);
    packet.extend_from_slice(&[1; 100]);
    packet.resize(packet.len() + PacketKey::TAG_LEN, 0);
    layout.fill_length(&mut packet);
    let keys = connection.keys.local(Level::ZeroRtt).unwrap();
    seal(&mut packet, &layout, 0, &keys.header, &keys.packet);
    let (before, now) = (connection.stats(), pair.now);
    pair.client.connection.handle_burst(now, Burst::single(now, tuple(4433), None, packet));
    let after = pair.client.connection.stats();
    assert_eq!(after.packets_dropped, before.packets_dropped + 1);
    assert_eq!((after.packets_received, after.authentication_failures), (0, 0));
}

// covers: R9001-4.9.3-02
#[test]
fn early_data_that_is_too_late_is_dropped() {
    let tls = acquainted(Setup::default);
    let mut pair = early(Setup::default(), &tls, 1_000);
    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = kept.clone();
    pair.to_server = Box::new(move |_, datagram| {
        keep.borrow_mut().push(datagram.clone());
        true
    });
    pair.run_for(1_000 * MS);
    assert!(pair.server().confirmed());
    let before = pair.server().connection.stats();
    let now = pair.now;
    let early: Vec<_> = kept.borrow().iter().filter(|bytes| bytes[0] & 0xb0 == 0x90).cloned().collect();
    assert!(!early.is_empty());
    for datagram in &early {
        let burst = Burst::single(now, tuple(5000), None, datagram.clone());
        pair.server().connection.handle_burst(now, burst);
    }
    let after = pair.server().connection.stats();
    assert_eq!(after.packets_received, before.packets_received);
    assert_eq!(after.packets_dropped, before.packets_dropped + early.len() as u64);
    assert_eq!(pair.server().closed(), None);
}

#[test]
fn early_frames_that_are_cut_off_or_unknown() {
    for payload in
        [&[0x3f][..], &[0x40], &[0x08, 0x06], &[0x04, 0x06, 0x80], &[0x18, 1, 0, 8, 1, 2], &[0xff; 8]]
    {
        let mut hostile = against_server();
        let packet = hostile.packet(Level::ZeroRtt, &[&[1, 1, 1, 1], payload].concat());
        hostile.deliver(packet);
        let told = hostile.close().map(|(code, _)| code);
        // 0x08 and 0x06: a stream whose frame ends with its ID is fine.
        let expected = (payload != [0x08, 0x06]).then_some(Code::FRAME_ENCODING_ERROR);
        assert_eq!(told, expected, "{payload:x?}");
    }
}
