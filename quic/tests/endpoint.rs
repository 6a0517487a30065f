//! Endpoints: admission, endings, and what goes wrong.

mod common;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::{ALPN, Pair, configs, in_time, localhost, pattern};
use gannet::config::{ClientConfig, EndpointConfig, RetryPolicy, TransportConfig};
use gannet::error::{ClosedBy, ConnectError};
use gannet::{ConnectionError, Endpoint, Incoming, VarInt};

fn transport() -> gannet::config::TransportConfigBuilder {
    TransportConfig::builder()
}

async fn failure(pair: &Pair) -> ConnectionError {
    in_time(pair.client.connect(pair.addr(), "localhost").unwrap()).await.unwrap_err()
}

/// Accepts whatever comes, and keeps it.
fn accept_all(server: &Endpoint) {
    let server = server.clone();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Some(incoming) = server.accept().await {
            connections.extend(incoming.accept().await.ok());
        }
    });
}

#[tokio::test]
async fn an_application_may_refuse_ignore_or_ask_for_a_retry() {
    let pair = Pair::with(transport().handshake_timeout(Duration::from_secs(5)).build().unwrap());
    let decide = async {
        let mut incoming = pair.server.accept().await.unwrap();
        let hello = incoming.client_hello().unwrap();
        assert_eq!(hello.server_name(), Some("localhost"));
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [ALPN]);
        assert!(!incoming.is_validated());
        incoming.refuse();
    };
    let (error, ()) = tokio::join!(failure(&pair), in_time(decide));
    assert_eq!(error, ConnectionError::Refused);

    let (error, ()) = tokio::join!(failure(&pair), async { drop(in_time(pair.server.accept()).await) });
    assert_eq!(error, ConnectionError::Refused, "dropped");

    let retried = async {
        pair.server.accept().await.unwrap().ignore();
        let again = pair.server.accept().await.unwrap();
        again.retry().unwrap();
        let validated = pair.server.accept().await.unwrap();
        assert!(validated.is_validated());
        let refused = validated.retry().unwrap_err().into_incoming();
        refused.accept().await.unwrap()
    };
    let connect = pair.client.connect(pair.addr(), "localhost").unwrap();
    let (client, server) = in_time(async { tokio::join!(connect, retried) }).await;
    assert_eq!(client.unwrap().handshake_data().unwrap().alpn.as_deref(), Some(ALPN));
    assert_eq!(server.handshake_data().unwrap().server_name.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn a_server_can_demand_a_retry_of_everybody() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let server = Endpoint::server(server_config.use_retry(RetryPolicy::Always), localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let pair = Pair { client, server };
    let (_client, server) = pair.connect().await;
    assert_eq!(server.remote_address(), pair.client.local_addr().unwrap());
}

#[tokio::test]
async fn what_goes_wrong_in_tls_has_a_name() {
    let pair = Pair::with(TransportConfig::default());
    accept_all(&pair.server);
    let wrong_name = pair.client.connect(pair.addr(), "example.org").unwrap();
    let error = in_time(wrong_name).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Transport { by: ClosedBy::Local, .. }), "{error}");
    assert_eq!(error.tls_alert(), Some(42), "{error}");

    let (stranger, _) = configs(TransportConfig::default());
    pair.client.set_client_config(stranger);
    let error = failure(&pair).await;
    assert!(error.tls_alert().is_some(), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);

    let roots = rustls::RootCertStore::empty();
    pair.client.set_client_config(ClientConfig::with_roots(roots, &[b"other"]).unwrap());
    let error = failure(&pair).await;
    assert!(matches!(error, ConnectionError::Transport { by: ClosedBy::Peer, .. }), "{error}");
    assert_eq!(error.tls_alert(), Some(120), "no_application_protocol: {error}");
}

#[tokio::test]
async fn nobody_there() {
    let client = Endpoint::client(localhost()).unwrap();
    let addr: SocketAddr = UdpSocket::bind(localhost()).unwrap().local_addr().unwrap();
    assert_eq!(client.connect(addr, "localhost").unwrap_err(), ConnectError::NoClientConfig);
    let quick = transport().handshake_timeout(Duration::from_millis(300)).build().unwrap();
    client.set_client_config(configs(quick).0);
    let error = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap_err();
    if cfg!(target_os = "linux") {
        assert_eq!(error, ConnectionError::Unreachable(io::ErrorKind::ConnectionRefused));
    }
    let silent = UdpSocket::bind(localhost()).unwrap();
    let error =
        in_time(client.connect(silent.local_addr().unwrap(), "localhost").unwrap()).await.unwrap_err();
    assert_eq!(error, ConnectionError::HandshakeTimeout);
    let nowhere: SocketAddr = "0.0.0.0:1".parse().unwrap();
    assert_eq!(client.connect(nowhere, "x").unwrap_err(), ConnectError::InvalidRemoteAddress(nowhere));
    let bad_name = client.connect(addr, "no name").unwrap_err();
    assert_eq!(bad_name, ConnectError::InvalidServerName("no name".into()));
    in_time(client.wait_idle()).await;
}

#[tokio::test]
async fn silence_ends_a_connection_and_keep_alive_prevents_it() {
    let idle = Duration::from_millis(400);
    let pair = Pair::with(transport().max_idle_timeout(Some(idle)).build().unwrap());
    let (client, server) = pair.connect().await;
    assert_eq!(client.idle_timeout(), Some(idle));
    assert_eq!(in_time(client.closed()).await, ConnectionError::TimedOut);
    assert_eq!(in_time(server.closed()).await, ConnectionError::TimedOut);

    let keep = transport().max_idle_timeout(Some(idle)).keep_alive_interval(Some(idle / 4)).build().unwrap();
    let pair = Pair::with(keep);
    let (client, server) = pair.connect().await;
    tokio::time::sleep(4 * idle).await;
    assert_eq!((client.close_reason(), server.close_reason()), (None, None));
}

#[tokio::test]
async fn an_endpoint_closes_everything_it_has() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let (other, _other) = pair.connect().await;
    assert_eq!(pair.server.connections(), 2);
    in_time(pair.server.close(VarInt::from_u32(9), b"shutting down")).await;
    assert_eq!(pair.server.connections(), 0);
    let expected = ConnectionError::Application { code: 9_u8.into(), reason: "shutting down".into() };
    assert_eq!(in_time(client.closed()).await, expected);
    assert_eq!(in_time(other.closed()).await, expected);
    assert_eq!(server.close_reason(), Some(ConnectionError::LocallyClosed));
    assert!(in_time(pair.server.accept()).await.is_none());
    in_time(pair.client.wait_idle()).await;
    let gone = pair.server.connect(pair.client.local_addr().unwrap(), "localhost");
    assert_eq!(gone.unwrap_err(), ConnectError::NoClientConfig);
}

#[tokio::test]
async fn the_last_handle_closes_the_connection_and_a_dropped_attempt_ends() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let stream = client.open_uni().await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.close_reason(), None, "a stream is a handle as well");
    drop(stream);
    let expected = ConnectionError::Application { code: VarInt::default(), reason: "".into() };
    assert_eq!(in_time(server.closed()).await, expected);
    drop(server);
    drop(pair.client.connect(pair.addr(), "localhost").unwrap());
    in_time(pair.client.wait_idle()).await;
}

#[tokio::test]
async fn an_endpoint_is_client_and_server_at_once() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let make = || {
        let builder = Endpoint::builder().client(client_config.clone()).server(server_config.clone());
        builder.bind(localhost()).unwrap()
    };
    let (a, b) = (make(), make());
    accept_all(&a);
    accept_all(&b);
    let there = a.connect(b.local_addr().unwrap(), "localhost").unwrap();
    let back = b.connect(a.local_addr().unwrap(), "localhost").unwrap();
    let (there, back) = in_time(async { tokio::join!(there, back) }).await;
    assert_ne!(there.unwrap().stable_id(), back.unwrap().stable_id());
    let itself = a.connect(a.local_addr().unwrap(), "localhost").unwrap();
    in_time(itself).await.unwrap();
}

// covers: R9000-10.3.2-02
#[tokio::test]
async fn a_server_that_has_forgotten_everything_resets() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let config = EndpointConfig::builder().reset_key([7; 32]).build().unwrap();
    let builder = Endpoint::builder().config(config).server(server_config);
    let socket = UdpSocket::bind(localhost()).unwrap();
    let addr = socket.local_addr().unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);

    // A first life that stops in the middle, as a process that is killed: its runtime never runs again.
    let first_life = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ready, told) = tokio::sync::oneshot::channel();
    let (first, copy) = (builder.clone(), socket.try_clone().unwrap());
    let dead = std::thread::spawn(move || {
        first_life.block_on(async {
            let server = first.udp_socket(copy).unwrap();
            let connection = server.accept().await.unwrap().accept().await.unwrap();
            connection.handshake_confirmed().await.unwrap();
            std::mem::forget((server, connection));
        });
        ready.send(()).unwrap();
        first_life
    });
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    in_time(connection.handshake_confirmed()).await.unwrap();
    in_time(told).await.unwrap();
    let _second_life = builder.udp_socket(socket).unwrap();
    let mut send = connection.open_uni().await.unwrap();
    send.write_all(&pattern(1000)).await.unwrap();
    assert_eq!(in_time(connection.closed()).await, ConnectionError::Reset);
    std::mem::forget(dead.join().unwrap());
}

// covers: R9000-5.2.2-01
#[tokio::test]
async fn unknown_versions_are_answered_and_noise_changes_nothing() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let noise = UdpSocket::bind(localhost()).unwrap();
    noise.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut unknown = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 3, 1, 2, 3, 2, 8, 9];
    unknown.resize(1200, 0);
    noise.send_to(&unknown, pair.addr()).unwrap();
    let answered = tokio::task::spawn_blocking({
        let noise = noise.try_clone().unwrap();
        move || {
            let mut buf = [0; 100];
            let len = noise.recv(&mut buf).unwrap();
            buf[..len].to_vec()
        }
    });
    let answer = in_time(answered).await.unwrap();
    assert_eq!(answer[1..12], [0, 0, 0, 0, 2, 8, 9, 3, 1, 2, 3], "version 0, the IDs swapped");

    let transfer = async {
        let mut send = client.open_uni().await.unwrap();
        send.write_all(&pattern(2_000_000)).await.unwrap();
        send.finish().await.unwrap();
    };
    let receive = async {
        let mut recv = server.accept_uni().await.unwrap();
        assert!(recv.read_to_end(2_000_000).await.unwrap() == pattern(2_000_000));
    };
    let disturb = async {
        let mut seed = 1_u32;
        for i in 0..10_000_u32 {
            let datagram: Vec<u8> = (0..i % 1400)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            // A full buffer is no reason to stop.
            let _ = noise.send_to(&datagram, pair.addr());
            if i % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    in_time(async { tokio::join!(transfer, receive, disturb) }).await;
    assert!(pair.server.stats().malformed > 0);
}

/// Nothing that arrives for nobody is answered with as much as it was, and most of it not at all.
// covers: R9000-10.3-06 R9000-10.3.3-01 R9000-5.2.2-05 R9000-5.2.2-06
#[tokio::test]
async fn what_belongs_to_no_connection_is_answered_with_less() {
    let pair = Pair::with(TransportConfig::default());
    let raw = tokio::net::UdpSocket::bind(localhost()).await.unwrap();
    raw.connect(pair.addr()).await.unwrap();
    let mut buf = [0; 2000];
    for len in [1200, 100, 44, 43, 30, 23, 22] {
        raw.send(&vec![0x41; len]).await.unwrap();
        let answer = in_time(raw.recv(&mut buf)).await.unwrap();
        assert!((21..len).contains(&answer) && answer <= 64, "{answer} for {len}");
        assert_eq!(buf[0] & 0xc0, 0x40);
        // The same once more: the token is that of the connection ID, and the rest of it never the same.
        let first = buf;
        raw.send(&vec![0x41; len]).await.unwrap();
        let again = in_time(raw.recv(&mut buf)).await.unwrap();
        assert_eq!(buf[again - 16..again], first[answer - 16..answer]);
        assert_ne!(buf[..5], first[..5]);
    }
    let long = |first: u8, len: usize| {
        let mut datagram = vec![first, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x44, 0];
        datagram.resize(len, 7);
        datagram
    };
    for silent in [
        vec![0x41; 21],
        vec![0x41; 9],
        vec![0x41],
        vec![0; 20],
        long(0xe0, 1200),
        long(0xd0, 1200),
        long(0xf0, 1200),
        long(0xc0, 1199),
        long(0xc0, 1200),
    ] {
        raw.send(&silent).await.unwrap();
        raw.send(&[0x41; 33]).await.unwrap();
        let answer = in_time(raw.recv(&mut buf)).await.unwrap();
        assert_eq!(answer, 32, "one answer, to what followed: {silent:x?}");
    }
    assert!(raw.try_recv(&mut buf).is_err());
}

#[tokio::test]
async fn a_full_queue_turns_clients_away_and_counts_them() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let config = EndpointConfig::builder().max_incoming(1).build().unwrap();
    let server = Endpoint::builder().config(config).server(server_config).bind(localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let addr = server.local_addr().unwrap();
    let first = client.connect(addr, "localhost").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = in_time(client.connect(addr, "localhost").unwrap()).await;
    assert_eq!(second, Err(ConnectionError::Refused), "asked to come again, and then refused");
    assert_eq!(server.stats().turned_away, 2);
    let accepted = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (first, _accepted) = in_time(async { tokio::join!(first, accepted) }).await;
    first.unwrap();
}

#[tokio::test]
async fn key_material_is_the_same_on_both_ends() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let a = in_time(client.export_keying_material(32, b"label", b"context")).await.unwrap();
    let b = in_time(server.export_keying_material(32, b"label", b"context")).await.unwrap();
    assert_eq!((a.len(), &a), (32, &b));
    assert_ne!(in_time(server.export_keying_material(32, b"label", b"other")).await.unwrap(), a);
    client.close(VarInt::default(), b"");
    in_time(client.export_keying_material(32, b"label", b"context")).await.unwrap_err();
    assert!(client.peer_identity().is_some_and(|chain| chain.len() == 1));
    assert!(server.peer_identity().is_none());
}

#[tokio::test]
async fn one_endpoint_serves_several_sockets() {
    let pair = Pair::with(TransportConfig::default());
    accept_all(&pair.server);
    let second = pair.server.add_socket(localhost()).unwrap();
    assert_ne!(second, pair.addr());
    let further = pair.client.connect(second, "localhost").unwrap();
    let further = in_time(further).await.unwrap();
    let main = in_time(pair.client.connect(pair.addr(), "localhost").unwrap()).await.unwrap();
    assert_eq!((further.remote_address(), main.remote_address()), (second, pair.addr()));
    in_time(async { tokio::join!(further.handshake_confirmed(), main.handshake_confirmed()) })
        .await
        .0
        .unwrap();
    in_time(pair.server.close(VarInt::from_u32(1), b"")).await;
    let closed = ConnectionError::Application { code: 1_u8.into(), reason: "".into() };
    assert_eq!(in_time(further.closed()).await, closed);
    assert_eq!(in_time(main.closed()).await, closed);
    drop(pair.server);
    // All sockets go with the endpoint, as soon as the last closed connection is forgotten.
    for addr in [second, main.remote_address()] {
        in_time(async {
            while UdpSocket::bind(addr).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// The same socket once more, by another descriptor: the address stays, the old descriptor is closed.
#[tokio::test]
async fn connections_go_on_over_another_socket() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let socket = UdpSocket::bind(localhost()).unwrap();
    let copy = socket.try_clone().unwrap();
    let server = Endpoint::builder().server(server_config).udp_socket(socket).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let pair = Pair { client, server };
    let (client, server) = pair.connect().await;
    let data = pattern(3_000_000);
    let mut send = server.open_uni().await.unwrap();
    send.write_all(&data[..1_000_000]).await.unwrap();
    pair.server.rebind(copy).unwrap();
    let write = async {
        send.write_all(&data[1_000_000..]).await.unwrap();
        send.finish().await.unwrap();
    };
    let read = async { client.accept_uni().await.unwrap().read_to_end(data.len()).await.unwrap() };
    let ((), received) = in_time(async { tokio::join!(write, read) }).await;
    assert!(received == data);
    let _another = pair.connect().await;
}

#[tokio::test]
async fn an_address_may_be_written_in_another_way_than_it_comes_back() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let server = Endpoint::server(server_config.clone(), localhost()).unwrap();
    let client = Endpoint::client("[::]:0".parse().unwrap()).unwrap();
    client.set_client_config(client_config);
    if client.local_addr().unwrap().is_ipv4() {
        return;
    }
    accept_all(&server);
    let mapped = format!("[::ffff:127.0.0.1]:{}", server.local_addr().unwrap().port());
    let connection = client.connect(mapped.parse().unwrap(), "localhost").unwrap();
    let connection = in_time(connection).await.unwrap();
    assert_eq!(connection.remote_address(), server.local_addr().unwrap());

    let Ok(server) = Endpoint::server(server_config, "[::1]:0".parse().unwrap()) else { return };
    accept_all(&server);
    let SocketAddr::V6(mut labelled) = server.local_addr().unwrap() else { panic!() };
    labelled.set_flowinfo(9);
    let connection = in_time(client.connect(labelled.into(), "localhost").unwrap()).await.unwrap();
    assert_eq!(connection.remote_address(), server.local_addr().unwrap());
}

#[tokio::test]
async fn a_decision_after_the_last_handle_ends_the_endpoint() {
    let accept = |incoming: Incoming| drop(incoming.accept());
    for decide in [Incoming::ignore, Incoming::refuse, accept] {
        let pair = Pair::with(TransportConfig::default());
        let addr = pair.addr();
        let _connecting = pair.client.connect(addr, "localhost").unwrap();
        let incoming = in_time(pair.server.accept()).await.unwrap();
        pair.client.set_client_config(None);
        drop(pair.server);
        tokio::task::yield_now().await;
        assert!(UdpSocket::bind(addr).is_err(), "somebody may still be let in");
        decide(incoming);
        in_time(async {
            while UdpSocket::bind(addr).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
