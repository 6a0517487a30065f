//! How many clients are let in before they have shown who they are.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Client, Server};
use crate::config::{EndpointConfig, EndpointConfigBuilder};
use crate::crypto::{PacketKey, initial_keys};
use crate::packet::{MIN_DATAGRAM_SIZE, Side, VERSION_1};
use crate::wire::frame::{CryptoHeader, EncodeFrame, Frame};
use crate::wire::header::{LongHeader, LongType};
use crate::{Connecting, ConnectionError, Incoming};

fn server(limits: impl FnOnce(EndpointConfigBuilder) -> EndpointConfigBuilder) -> Server {
    Server::new(limits(EndpointConfig::builder()).build().unwrap())
}

fn from(host: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, host), port).into()
}

/// What became of a client.
#[derive(Debug)]
enum Outcome {
    Waits(Box<Incoming>),
    Asked,
    Refused,
    Nothing,
}

/// The newest Initial of a client arrives.
async fn knock(server: &Server, client: &mut Client, from: SocketAddr) -> Outcome {
    let (dcid, initial) = client.initials.last().cloned().unwrap();
    let answers = server.deliver(from, &initial).await;
    if let Some(incoming) = server.next_incoming() {
        assert!(answers.is_empty());
        return Outcome::Waits(Box::new(incoming));
    }
    let Some(answer) = answers.first() else { return Outcome::Nothing };
    if answer[0] & 0xb0 == 0xb0 {
        client.on_retry(answer);
        return Outcome::Asked;
    }
    client.assert_refused(&dcid, &answers);
    Outcome::Refused
}

/// A new client comes.
async fn knock_anew(server: &mut Server, from: SocketAddr) -> Outcome {
    let mut client = server.client();
    knock(server, &mut client, from).await
}

/// One address has room for so many who have not shown that they are there, and for as many who have.
// covers: R9000-21.6-01
#[tokio::test(start_paused = true)]
async fn handshakes_of_one_address_are_limited_and_forged_ones_keep_nobody_out() {
    let mut server = server(|config| config.max_handshakes_per_network(2));
    let mut waiting = Vec::new();
    for port in 1..=2 {
        match knock_anew(&mut server, from(1, port)).await {
            Outcome::Waits(incoming) => waiting.push(incoming),
            other => panic!("{other:?}"),
        }
    }
    // The room of strangers is taken, by whomever: the real one proves its address and gets in.
    for port in 3..=4 {
        let mut client = server.client();
        assert!(matches!(knock(&server, &mut client, from(1, port)).await, Outcome::Asked));
        match knock(&server, &mut client, from(1, port)).await {
            Outcome::Waits(incoming) if incoming.is_validated() => waiting.push(incoming),
            other => panic!("{other:?}"),
        }
    }
    let mut client = server.client();
    assert!(matches!(knock(&server, &mut client, from(1, 5)).await, Outcome::Asked));
    assert!(matches!(knock(&server, &mut client, from(1, 5)).await, Outcome::Refused));
    let stats = server.endpoint.stats();
    assert_eq!((stats.turned_away_by.network, stats.turned_away), (4, 4));
    assert_eq!((stats.retries, stats.refused, stats.handshakes), (3, 1, 4));
    // Others are not concerned, and who ends makes room.
    assert!(matches!(knock_anew(&mut server, from(2, 1)).await, Outcome::Waits(_)));
    drop(waiting);
    assert!(matches!(knock_anew(&mut server, from(1, 6)).await, Outcome::Waits(_)));
    server.settle(from(1, 6)).await;
    assert_eq!((server.endpoint.stats().handshakes, server.endpoint.stats().unauthenticated_memory), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn handshakes_altogether_are_limited_also_those_that_were_accepted() {
    let mut server = server(|config| config.max_handshakes(3));
    let mut accepted: Vec<Connecting> = Vec::new();
    for host in 1..=3 {
        let Outcome::Waits(incoming) = knock_anew(&mut server, from(host, 1)).await else { panic!() };
        accepted.push(incoming.accept());
        server.settle(from(host, 1)).await;
    }
    let mut client = server.client();
    assert!(matches!(knock(&server, &mut client, from(4, 1)).await, Outcome::Asked));
    assert!(matches!(knock(&server, &mut client, from(4, 1)).await, Outcome::Refused));
    let stats = server.endpoint.stats();
    assert_eq!((stats.turned_away_by.handshakes, stats.accepted, stats.handshakes), (2, 3, 3));
    // They never finish: their time runs out.
    for connecting in accepted {
        assert_eq!(connecting.await.err(), Some(ConnectionError::HandshakeTimeout));
    }
    assert_eq!(server.endpoint.stats().handshakes, 0);
    assert!(matches!(knock_anew(&mut server, from(5, 1)).await, Outcome::Waits(_)));
}

#[tokio::test(start_paused = true)]
async fn memory_of_clients_that_wait_is_limited_and_half_of_it_is_for_validated_ones() {
    let mut server = server(|config| config.unauthenticated_memory(128 << 10));
    let mut waiting = Vec::new();
    let mut host = 1;
    loop {
        match knock_anew(&mut server, from(host, 1)).await {
            Outcome::Waits(incoming) => waiting.push(incoming),
            Outcome::Asked => break,
            other => panic!("{other:?}"),
        }
        host += 1;
    }
    let stats = server.endpoint.stats();
    assert!(stats.unauthenticated_memory <= 32 << 10, "{stats:?}");
    assert!((3..8).contains(&waiting.len()), "{stats:?}");
    // What follows the first Initials counts as well, up to the whole of it.
    let mut client = server.client();
    assert!(matches!(knock(&server, &mut client, from(99, 1)).await, Outcome::Asked));
    assert!(matches!(knock(&server, &mut client, from(99, 1)).await, Outcome::Waits(_)));
    let mut first = server.client();
    let Outcome::Asked = knock(&server, &mut first, from(98, 1)).await else { panic!() };
    let Outcome::Waits(incoming) = knock(&server, &mut first, from(98, 1)).await else { panic!() };
    for _ in 0..100 {
        server.deliver(from(98, 1), &first.initials[1].1).await;
    }
    let stats = server.endpoint.stats();
    assert!(stats.unauthenticated_memory <= 128 << 10 && stats.overflowed > 50, "{stats:?}");
    drop((incoming, waiting));
    assert_eq!(server.endpoint.stats().unauthenticated_memory, 0);
}

/// An Initial of a client with TLS data that are not next.
fn crypto_ahead(client: &Client, pn: u64, offset: u64) -> Vec<u8> {
    let dcid = client.initials[0].0;
    let keys = initial_keys(VERSION_1, &dcid, Side::Client);
    let mut out = Vec::new();
    let header =
        LongHeader { ty: LongType::Initial, version: VERSION_1, dcid, scid: client.scid, token: &[] };
    let layout = header.encode(&mut out, pn, 4);
    let data = [0; 1000];
    CryptoHeader { offset, len: data.len() as u64 }.encode(&mut out);
    out.extend(data);
    out.resize(MIN_DATAGRAM_SIZE, 0);
    layout.fill_length(&mut out);
    let payload = layout.payload();
    assert!(out.len() - PacketKey::TAG_LEN > payload);
    keys.local.packet.seal(pn, &mut out, payload);
    keys.local.header.protect(&mut out, layout.pn);
    out
}

/// TLS data ahead of their turn: each client keeps within its own limit, and together they are too much.
#[tokio::test(start_paused = true)]
async fn handshakes_that_cost_too_much_together_are_refused() {
    let mut server = server(|config| config.unauthenticated_memory(128 << 10));
    let mut clients = Vec::new();
    for host in 1..=3 {
        let mut client = server.client();
        // The ClientHello never comes.
        client.initials[0].1 = crypto_ahead(&client, 0, 2900);
        let Outcome::Waits(incoming) = knock(&server, &mut client, from(host, 1)).await else { panic!() };
        let connecting = incoming.accept();
        server.settle(from(host, 1)).await;
        clients.push((client, from(host, 1), connecting));
    }
    let mut refused = 0;
    'flood: for pn in 100..140 {
        for (client, from, _) in &clients {
            let datagram = crypto_ahead(client, pn, 4000 + 1100 * (pn - 100));
            let answers = server.deliver(*from, &datagram).await;
            let stats = server.endpoint.stats();
            assert!(stats.unauthenticated_memory <= (64 << 10) + 4096, "{stats:?}");
            if stats.overloaded > 0 {
                let initial = answers.last().unwrap();
                let frames = client.open(&client.initials[0].0, initial);
                refused += frames.iter().filter(|frame| matches!(frame, Frame::ConnectionClose(_))).count();
                break 'flood;
            }
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(server.endpoint.stats().overloaded, 1);
    // The others were not touched.
    assert_eq!(server.endpoint.stats().handshakes, 2);
}
