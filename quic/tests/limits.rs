//! What is limited, and counted, as an application sees it.

mod common;

use std::time::Duration;

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::{EndpointConfig, RetryPolicy, TransportConfig};
use gannet::error::ClosedBy;
use gannet::{Connection, ConnectionError, Endpoint, TransportErrorCode, VarInt};

/// Takes streams and lets go of them, as a server does whose client has given up.
async fn take_and_drop(connection: Connection) {
    while let Ok(streams) = connection.accept_bi().await {
        drop(streams);
    }
}

// covers: R9000-21.9-01
#[tokio::test]
async fn a_client_that_opens_and_resets_without_end_is_told_so_and_others_go_on() {
    let transport = TransportConfig::builder().max_resets_per_second(50).build().unwrap();
    let pair = Pair::with(transport);
    let (hasty, at_server) = pair.connect().await;
    let (calm, other) = pair.connect().await;
    tokio::spawn(take_and_drop(at_server.clone()));
    let flood = async {
        while let Ok((mut send, recv)) = hasty.open_bi().await {
            let _ = send.write_all(b"x").await;
            let _ = send.reset(VarInt::from_u32(1));
            drop(recv);
        }
    };
    in_time(flood).await;
    match in_time(hasty.closed()).await {
        ConnectionError::Transport { by: ClosedBy::Peer, error } => {
            assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        }
        other => panic!("{other:?}"),
    }
    let resets = at_server.stats().resets_received;
    assert!(resets > 100, "{resets}");
    let mut send = calm.open_uni().await.unwrap();
    send.write_all(&pattern(10_000)).await.unwrap();
    drop(send.finish());
    let mut recv = in_time(other.accept_uni()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(10_000)).await.unwrap(), pattern(10_000));
}

#[tokio::test]
async fn an_endpoint_counts_what_it_does() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let server_config = server_config.use_retry(RetryPolicy::Never);
    let server = Endpoint::server(server_config, localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let addr = server.local_addr().unwrap();
    let connect = || client.connect(addr, "localhost").unwrap();

    let first = connect();
    let incoming = in_time(server.accept()).await.unwrap();
    let stats = server.stats();
    assert_eq!((stats.handshakes, stats.accepted), (1, 0));
    assert!(stats.unauthenticated_memory > 1200 && stats.routes == 1, "{stats:?}");
    let (a, b) = in_time(async { tokio::join!(first, incoming.accept()) }).await;
    let (a, b) = (a.unwrap(), b.unwrap());
    in_time(b.handshake_completed()).await.unwrap();
    let stats = server.stats();
    assert_eq!((stats.handshakes, stats.unauthenticated_memory, stats.accepted), (0, 0, 1), "{stats:?}");

    let second = connect();
    in_time(server.accept()).await.unwrap().refuse();
    assert_eq!(in_time(second).await, Err(ConnectionError::Refused));
    let third = connect();
    in_time(server.accept()).await.unwrap().retry().unwrap();
    in_time(server.accept()).await.unwrap().ignore();
    drop(third);
    let stats = server.stats();
    assert_eq!((stats.refused, stats.retries, stats.ignored, stats.turned_away), (1, 1, 1, 0), "{stats:?}");
    assert_eq!(client.stats().opened, 3);

    // What is closed is remembered for a while, and then forgotten.
    a.close(VarInt::default(), b"");
    in_time(b.closed()).await;
    in_time(async {
        while client.stats().closed_connections > 0 || server.stats().routes > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_are_limited_and_the_limit_is_named() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let config = EndpointConfig::builder().max_connections(1).build().unwrap();
    let server = Endpoint::builder().config(config).server(server_config).bind(localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let addr = server.local_addr().unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let first = client.connect(addr, "localhost").unwrap();
    let (first, accepted) = in_time(async { tokio::join!(first, accepting) }).await;
    let first = first.unwrap();
    let second = in_time(client.connect(addr, "localhost").unwrap()).await;
    assert_eq!(second, Err(ConnectionError::Refused));
    let stats = server.stats();
    assert_eq!((stats.turned_away_by.connections, stats.turned_away), (2, 2), "a Retry, and then a refusal");
    assert_eq!((stats.retries, stats.refused), (1, 1));
    first.close(VarInt::default(), b"");
    in_time(accepted.closed()).await;
    drop(accepted);
    in_time(server.wait_idle()).await;
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let third = client.connect(addr, "localhost").unwrap();
    let (third, _accepted) = in_time(async { tokio::join!(third, accepting) }).await;
    third.unwrap();
}
