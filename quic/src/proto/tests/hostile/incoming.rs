//! The first datagrams of a client, in any order, and the answers that need no connection.

use std::time::Duration;

use bytes::Bytes;

use super::{Hostile, MS, Stage, encode, seal};
use crate::crypto::{PacketKey, TokenKey, initial_keys};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{
    Burst, ConnectionId, MIN_DATAGRAM_SIZE, Rng, Side, SpaceId, TransportErrorCode as Code, VERSION_1,
};
use crate::proto::endpoint::{Class, Incoming, Rejected, classify, refuse};
use crate::proto::tests::pair::{Pair, Setup, tuple};
use crate::wire::frame::{Crypto, Frame};
use crate::wire::header::{LongHeader, LongType};

/// A client made by hand: what it would put into its first Initials.
struct Client {
    dcid: ConnectionId,
    scid: ConnectionId,
    token: Vec<u8>,
    hello: Vec<u8>,
    first_byte: u8,
}

impl Client {
    /// One that says what the client of `pair` would say.
    fn of(pair: &mut Pair) -> Self {
        let connection = &mut pair.client.connection;
        let (dcid, scid) = (connection.handshake.original_dcid, connection.local_cids.initial());
        let hello = connection.handshake.crypto(SpaceId::Initial).unwrap().next().unwrap().1.to_vec();
        Self { dcid, scid, token: Vec::new(), hello, first_byte: 0 }
    }

    fn initial(&self, pn: u64, mut payload: Vec<u8>) -> Vec<u8> {
        payload.resize(payload.len().max(MIN_DATAGRAM_SIZE), 0);
        self.packet(pn, &payload)
    }

    fn packet(&self, pn: u64, payload: &[u8]) -> Vec<u8> {
        let keys = initial_keys(VERSION_1, &self.dcid, Side::Client);
        let Self { dcid, scid, token, first_byte, .. } = self;
        let mut packet = Vec::new();
        let header =
            LongHeader { ty: LongType::Initial, version: VERSION_1, dcid: *dcid, scid: *scid, token };
        let layout = header.encode(&mut packet, pn, 4);
        packet[0] |= first_byte;
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + PacketKey::TAG_LEN, 0);
        layout.fill_length(&mut packet);
        seal(&mut packet, &layout, pn, &keys.local.header, &keys.local.packet);
        packet
    }

    /// The ClientHello in so many Initials.
    fn pieces(&self, count: usize) -> Vec<Vec<u8>> {
        let len = self.hello.len().div_ceil(count);
        let piece = |(n, data): (usize, &[u8])| {
            let data = Bytes::copy_from_slice(data);
            let frame = Frame::from(Crypto { offset: (n * len) as u64, data });
            self.initial(n as u64, encode(&[frame]))
        };
        self.hello.chunks(len).enumerate().map(piece).collect()
    }
}

fn burst(pair: &Pair, datagram: &[u8]) -> Burst {
    Burst::single(pair.now, tuple(5000), None, datagram.to_vec())
}

/// All orders of `n` things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(n - 1) {
        for at in 0..n {
            let mut order = order.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

// covers: R9000-7.5-01
#[test]
fn a_client_hello_in_several_initials_in_any_order() {
    for count in 1..=4 {
        for order in orders(count) {
            let mut pair = Pair::new(Setup::default());
            let client = Client::of(&mut pair);
            let pieces = client.pieces(count);
            let mut incoming = pair.open(&pieces[order[0]]).unwrap();
            for (n, &index) in order.iter().enumerate().skip(1) {
                assert!(incoming.client_hello().is_none(), "{n} of {count}");
                incoming.absorb(burst(&pair, &pieces[index]));
                // Twice does no harm.
                incoming.absorb(burst(&pair, &pieces[index]));
            }
            let hello = incoming.client_hello().expect("all is there");
            assert_eq!(hello.server_name(), Some("localhost"));
            assert_eq!((incoming.dcid(), incoming.scid()), (client.dcid, client.scid));
            pair.serve(incoming);
            let now = pair.now;
            let answers = pair.server().drain(now);
            assert!(pair.server().connection.keys.handshake.is_some(), "{order:?}");
            assert!(!answers.is_empty());
        }
    }
}

/// Several Initials in one datagram are as good as several datagrams.
#[test]
fn a_client_hello_in_coalesced_initials() {
    let mut pair = Pair::new(Setup::default());
    let client = Client::of(&mut pair);
    let (head, tail) = client.hello.split_at(100);
    let frame = |offset: usize, data: &[u8]| -> Vec<u8> {
        encode(&[Crypto { offset: offset as u64, data: Bytes::copy_from_slice(data) }.into()])
    };
    let mut datagram = client.packet(1, &frame(100, tail));
    datagram.extend(client.initial(0, frame(0, head)));
    let incoming = pair.open(&datagram).unwrap();
    assert_eq!(incoming.client_hello().unwrap().server_name(), Some("localhost"));
    pair.serve(incoming);
    assert!(pair.server().connection.keys.handshake.is_some());
}

/// What a connection would drop is no part of the ClientHello that the application sees.
#[test]
fn pieces_that_do_not_count_are_not_shown() {
    let mut pair = Pair::new(Setup::default());
    let client = Client::of(&mut pair);
    let pieces = client.pieces(2);
    let short = client.packet(
        1,
        &encode(&[Crypto {
            offset: client.hello.len().div_ceil(2) as u64,
            data: Bytes::copy_from_slice(&client.hello[client.hello.len().div_ceil(2)..]),
        }
        .into()]),
    );
    assert!(short.len() < MIN_DATAGRAM_SIZE);
    let other = |n: u8| ConnectionId::try_from(&[n; 8][..]).unwrap();
    let another_scid = Client { scid: other(3), hello: client.hello.clone(), token: Vec::new(), ..client };
    let mut incoming = pair.open(&pieces[0]).unwrap();
    incoming.absorb(burst(&pair, &short));
    incoming.absorb(burst(&pair, &another_scid.pieces(2)[1]));
    incoming.absorb(burst(&pair, &[]));
    assert!(incoming.client_hello().is_none());
    incoming.absorb(burst(&pair, &pieces[1]));
    assert!(incoming.client_hello().is_some());
}

// covers: R9000-7.2-01 R9000-14.1-03 R9000-5.2.2-06
#[test]
fn what_does_not_begin_a_connection() {
    let mut pair = Pair::new(Setup::default());
    let mut client = Client::of(&mut pair);
    let hello = client.hello.clone();
    let first = encode(&[Crypto { offset: 0, data: Bytes::from(hello) }.into()]);
    let drop = |datagram: &[u8]| assert_eq!(pair.open(datagram).err(), Some(Rejected::Drop));
    // No CRYPTO frame, no frame at all, a close.
    drop(&client.initial(0, vec![1]));
    drop(&[&client.packet(0, &[])[..], &[0; MIN_DATAGRAM_SIZE]].concat());
    drop(&client.initial(0, vec![0x1c, 0, 0, 0]));
    // Too short.
    drop(&client.packet(0, &first[..100]));
    // A tag that is wrong.
    let mut forged = client.initial(0, first.clone());
    *forged.last_mut().unwrap() ^= 1;
    drop(&forged);
    // A destination ID of less than 8 bytes.
    for len in 0..8 {
        client.dcid = ConnectionId::try_from(&[1; 8][..len]).unwrap();
        drop(&client.initial(0, first.clone()));
    }
    client.dcid = ConnectionId::try_from(&[1; 20][..]).unwrap();
    assert!(pair.open(&client.initial(0, first)).is_ok());
}

// covers: R9000-17.2-09
#[test]
fn reserved_bits_in_the_very_first_packet() {
    for bits in [0x04, 0x08, 0x0c] {
        let mut pair = Pair::new(Setup::default());
        let mut client = Client::of(&mut pair);
        client.first_byte = bits;
        let incoming = pair.open(&client.pieces(1)[0]).unwrap();
        pair.serve(incoming);
        let now = pair.now;
        assert!(!pair.server().drain(now).is_empty());
        match pair.server().closed() {
            Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => {
                assert_eq!(error.code, Code::PROTOCOL_VIOLATION);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A victim whose first Initial was caught on its way.
fn client_and_initial() -> (Hostile, Vec<u8>) {
    let mut pair = Pair::new(Setup::default());
    let first = Client::of(&mut pair).pieces(1).remove(0);
    (Hostile::new(Side::Client, Stage::First), first)
}

/// The datagrams that a client sends when this one arrives.
fn answers(hostile: &mut Hostile, datagram: Vec<u8>) -> Vec<Vec<u8>> {
    let (now, path) = (hostile.pair.now, hostile.path);
    hostile.victim().connection.handle_burst(now, Burst::single(now, path, None, datagram));
    hostile.victim().drain(now)
}

/// RUSTSEC-2024-0373: whatever was answered before, an answer fits the Initial that it answers.
// covers: R9000-5.2.2-04 R9000-17.2.5.2-05
// covers: R9000-17.2.5.1-01
#[test]
fn refused_and_retried_in_any_order() {
    let (mut hostile, first) = client_and_initial();
    let incoming = hostile.pair.open(&first).unwrap();
    let twin = hostile.pair.open(&first).unwrap();
    // Both twins are good for either answer; what is dropped says nothing.
    drop(twin);
    assert!(!incoming.is_validated() && incoming.retry_scid().is_none());
    let retry = hostile.pair.retry(&incoming).unwrap();
    let too_late = refuse(&incoming);
    let second = answers(&mut hostile, retry).remove(0);
    // The refusal of the first Initial is sealed with keys that the client has dropped.
    assert!(answers(&mut hostile, too_late).is_empty());
    hostile.assert_open();
    let again = hostile.pair.open(&second).unwrap();
    assert!(again.is_validated());
    assert_eq!(again.original_dcid(), incoming.dcid());
    assert_eq!(again.retry_scid(), Some(again.dcid()));
    assert_ne!(again.dcid(), incoming.dcid());
    assert_eq!(hostile.pair.retry(&again), None, "a second Retry is not allowed");
    answers(&mut hostile, refuse(&again));
    assert_eq!(hostile.victim().closed(), Some(&ConnectionError::Refused));

    let (mut hostile, first) = client_and_initial();
    let incoming = hostile.pair.open(&first).unwrap();
    let (refusal, retry) = (refuse(&incoming), hostile.pair.retry(&incoming).unwrap());
    answers(&mut hostile, refusal);
    assert_eq!(hostile.victim().closed(), Some(&ConnectionError::Refused));
    assert!(answers(&mut hostile, retry).is_empty());
}

// covers: R9000-8.1.2-02 R9000-8.1.3-10 R9000-8.1.3-11 R9000-8.1.4-02 R9000-8.1.4-03 R9000-8.1.4-07 R9000-21.3-01
#[test]
fn a_retry_token_is_good_for_one_address_one_connection_and_a_short_time() {
    let retried = || {
        let (mut hostile, first) = client_and_initial();
        let incoming = hostile.pair.open(&first).unwrap();
        let retry = hostile.pair.retry(&incoming).unwrap();
        let second = answers(&mut hostile, retry).remove(0);
        (hostile, second)
    };
    let expect_invalid = |mut hostile: Hostile, opened: Result<Incoming, Rejected>| {
        let Err(Rejected::InvalidToken(answer)) = opened else { panic!("{opened:?}") };
        assert!(answer.len() < 200);
        answers(&mut hostile, answer);
        match hostile.victim().closed() {
            Some(ConnectionError::Transport { by: ClosedBy::Peer, error }) => {
                assert_eq!(error.code, Code::INVALID_TOKEN);
            }
            other => panic!("{other:?}"),
        }
    };
    let open = |hostile: &Hostile, datagram: &[u8], port: u16, age: Duration| {
        hostile.pair.open_as(&hostile.pair.tokens, port, age, datagram)
    };
    let (hostile, second) = retried();
    assert!(open(&hostile, &second, 5000, 9 * Duration::from_secs(1)).unwrap().is_validated());
    let opened = open(&hostile, &second, 5001, Duration::ZERO);
    expect_invalid(hostile, opened);
    let (hostile, second) = retried();
    let opened = open(&hostile, &second, 5000, 11 * Duration::from_secs(1));
    expect_invalid(hostile, opened);

    // The token of one connection in the Initial of another: the destination ID tells.
    let (hostile, second) = retried();
    let mut pair = Pair::new(Setup::default());
    let mut client = Client::of(&mut pair);
    client.token = token_of(&second);
    client.dcid = ConnectionId::try_from(&[0x42; 8][..]).unwrap();
    let opened = open(&hostile, &client.pieces(1)[0], 5000, Duration::ZERO);
    assert!(matches!(opened, Err(Rejected::InvalidToken(_))), "{opened:?}");

    // Tokens that are not ours are as good as none.
    let mut rng = Rng::from_u64(8);
    let good = client.token.clone();
    for n in 0..300 {
        client.token = good.clone();
        let len = client.token.len() as u64;
        match n % 3 {
            0 => client.token[rng.below(len) as usize] ^= 1 << rng.below(8),
            1 => client.token.truncate(rng.below(len) as usize),
            _ => client.token = vec![rng.below(256) as u8; rng.below(150) as usize],
        }
        let opened = open(&hostile, &client.pieces(1)[0], 5000, Duration::ZERO);
        assert!(!opened.unwrap().is_validated());
    }
    // Nor those of an endpoint with another key.
    client.token = good;
    let other = TokenKey::new(&[99; 32], Duration::from_secs(3600));
    let opened = hostile.pair.open_as(&other, 5000, Duration::ZERO, &client.pieces(1)[0]);
    assert!(!opened.unwrap().is_validated());
}

fn token_of(initial: &[u8]) -> Vec<u8> {
    match crate::wire::header::parse_greased(initial, 8).unwrap().header {
        crate::wire::header::ProtectedHeader::Initial { token, .. } => initial[token].to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Nobody answers what could be an answer, and nothing but a full datagram.
// covers: R9000-6.1-01 R9000-5.2.2-02 R9000-5.2.2-03
#[test]
fn unknown_versions_are_answered_in_full_datagrams_only() {
    let mut pair = Pair::new(Setup::default());
    let client = Client::of(&mut pair);
    let mut datagram = client.pieces(1).remove(0);
    for version in [2u32, 0x0a0a_0a0a, u32::MAX, 0x6b33_43cf] {
        datagram[1..5].copy_from_slice(&version.to_be_bytes());
        for first in [0x80, 0xc0, 0xff, 0xe3] {
            datagram[0] = first;
            let class = classify(&datagram, 8, &[VERSION_1]);
            assert!(matches!(class, Class::UnsupportedVersion { version: v, .. } if v == version));
            assert_eq!(classify(&datagram[..1_199], 8, &[VERSION_1]), Class::Drop);
        }
    }
    // A Version Negotiation is never answered with one.
    datagram[1..5].copy_from_slice(&[0; 4]);
    assert!(!matches!(classify(&datagram, 8, &[VERSION_1]), Class::UnsupportedVersion { .. }));
    assert!(pair.open(&datagram).is_err());
}

/// What is absorbed before anybody decides is bounded.
#[test]
fn a_flood_before_the_decision_is_bounded() {
    let mut pair = Pair::new(Setup::default());
    let client = Client::of(&mut pair);
    let pieces = client.pieces(2);
    let mut incoming = pair.open(&pieces[0]).unwrap();
    for n in 0..1_000 {
        let junk = client.initial(10 + n, encode(&[Frame::Ping]));
        incoming.absorb(burst(&pair, &junk));
    }
    pair.serve(incoming);
    assert!(pair.server().connection.stats().datagrams_received < 100);
    // The client sends what was dropped again.
    let again = burst(&pair, &pieces[1]);
    let now = pair.now;
    pair.server().connection.handle_burst(now, again);
    pair.run_for(MS);
    assert!(pair.server().connection.keys.handshake.is_some());
}
