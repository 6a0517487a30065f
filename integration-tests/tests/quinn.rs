//! quinn as a peer, in both roles, over loopback.

mod support;

use gannet::config::{ClientConfig, EndpointConfig, RandomConnectionIds, RetryPolicy, ServerConfig};
use support::{ALPN, Identity, identity, in_time, localhost, quinn_client, quinn_server_config};

const SIZE: usize = 5_000_000;
const REQUESTS: usize = 1000;

fn quinn_server(identity: &Identity) -> quinn::Endpoint {
    quinn::Endpoint::server(quinn_server_config(identity, false), localhost()).unwrap()
}

fn gannet_server(identity: &Identity, retry: RetryPolicy) -> gannet::Endpoint {
    let config =
        ServerConfig::with_single_cert(vec![identity.cert.clone()], identity.key.clone_key(), &[ALPN]);
    gannet::Endpoint::server(config.unwrap().use_retry(retry), localhost()).unwrap()
}

fn gannet_client(identity: &Identity, config: EndpointConfig) -> gannet::Endpoint {
    let client = ClientConfig::with_roots(identity.roots.clone(), &[ALPN]).unwrap();
    gannet::Endpoint::builder().config(config).client(client).bind(localhost()).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i >> 12) as u8).collect()
}

/// Echoes every stream until the connection ends.
async fn quinn_echo(connection: quinn::Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.unwrap() {
                send.write_chunk(chunk.bytes).await.unwrap();
            }
            send.finish().unwrap();
            let _ = send.stopped().await;
        });
    }
}

/// Echoes every stream until the connection ends.
async fn gannet_echo(connection: gannet::Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
                send.write_chunk(chunk).await.unwrap();
            }
            send.finish().await.unwrap();
        });
    }
}

async fn exchange_as_gannet(connection: &gannet::Connection, body: &[u8]) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let write = async {
        send.write_all(body).await.unwrap();
        send.finish().await.unwrap();
    };
    let (_, back) = tokio::join!(write, recv.read_to_end(body.len()));
    assert!(back.unwrap() == body);
}

async fn exchange_as_quinn(connection: &quinn::Connection, body: &[u8]) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let write = async {
        send.write_all(body).await.unwrap();
        send.finish().unwrap();
    };
    let (_, back) = tokio::join!(write, recv.read_to_end(body.len()));
    assert!(back.unwrap() == body);
}

async fn client_against_quinn(config: EndpointConfig) {
    let identity = identity();
    let server = quinn_server(&identity);
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        quinn_echo(server.accept().await.unwrap().await.unwrap()).await;
        server.wait_idle().await;
    });
    let client = gannet_client(&identity, config);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    in_time(exchange_as_gannet(&connection, &pattern(SIZE))).await;
    for i in 0..REQUESTS {
        in_time(exchange_as_gannet(&connection, &pattern(i))).await;
    }
    let mut concurrent = tokio::task::JoinSet::new();
    for i in 0..64 {
        let connection = connection.clone();
        concurrent.spawn(async move { exchange_as_gannet(&connection, &pattern(100_000 + i)).await });
    }
    while let Some(done) = in_time(concurrent.join_next()).await {
        done.unwrap();
    }
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_and_quinns_server() {
    client_against_quinn(EndpointConfig::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_with_empty_connection_ids_and_quinns_server() {
    let config = EndpointConfig::builder().connection_ids(RandomConnectionIds::new(0)).build().unwrap();
    client_against_quinn(config).await;
}

async fn server_against_quinn(retry: RetryPolicy) {
    let identity = identity();
    let server = gannet_server(&identity, retry);
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        let incoming = server.accept().await.unwrap();
        assert_eq!(incoming.is_validated(), retry == RetryPolicy::Always);
        gannet_echo(incoming.accept().await.unwrap()).await;
        server.wait_idle().await;
    });
    let client = quinn_client(&identity);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    in_time(exchange_as_quinn(&connection, &pattern(SIZE))).await;
    for i in 0..REQUESTS {
        in_time(exchange_as_quinn(&connection, &pattern(i))).await;
    }
    let mut concurrent = tokio::task::JoinSet::new();
    for i in 0..64 {
        let connection = connection.clone();
        concurrent.spawn(async move { exchange_as_quinn(&connection, &pattern(100_000 + i)).await });
    }
    while let Some(done) = in_time(concurrent.join_next()).await {
        done.unwrap();
    }
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn quinns_client_and_our_server() {
    server_against_quinn(RetryPolicy::Never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quinns_client_and_our_server_with_retry() {
    server_against_quinn(RetryPolicy::Always).await;
}

/// Where a Retry would be asked for, quinn shows a token that it was given before.
#[tokio::test(flavor = "multi_thread")]
async fn quinns_client_shows_our_tokens() {
    let identity = identity();
    let server = gannet_server(&identity, RetryPolicy::Always);
    let client = quinn_client(&identity);
    let addr = server.local_addr().unwrap();
    in_time(async {
        let mut followed_retry = false;
        loop {
            let connecting = client.connect(addr, "localhost").unwrap();
            let accepting = async {
                let incoming = server.accept().await.unwrap();
                assert!(incoming.is_validated());
                let may_retry = incoming.may_retry();
                (may_retry, incoming.accept().await.unwrap())
            };
            let (connection, (may_retry, _other)) = tokio::join!(connecting, accepting);
            connection.unwrap().close(0_u8.into(), b"");
            if may_retry {
                assert!(followed_retry);
                return;
            }
            followed_retry = true;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_crosses_with_code_and_reason() {
    let identity = identity();
    let server = gannet_server(&identity, RetryPolicy::Never);
    let addr = server.local_addr().unwrap();
    let accept = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        connection.close(42_u8.into(), b"enough");
        server.wait_idle().await;
    });
    let client = quinn_client(&identity);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    let quinn::ConnectionError::ApplicationClosed(close) = in_time(connection.closed()).await else {
        panic!()
    };
    assert_eq!((close.error_code.into_inner(), &close.reason[..]), (42, &b"enough"[..]));
    in_time(accept).await.unwrap();
}

/// Exchanges go on while our end updates its keys, and the peer's answers show that it follows.
#[tokio::test(flavor = "multi_thread")]
async fn quinn_follows_our_key_updates() {
    let identity = identity();
    let server = quinn_server(&identity);
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        quinn_echo(server.accept().await.unwrap().await.unwrap()).await;
        server.wait_idle().await;
    });
    let client = gannet_client(&identity, EndpointConfig::default());
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    in_time(connection.handshake_confirmed()).await.unwrap();
    let body = pattern(200_000);
    let mut updates = 0;
    in_time(async {
        while updates < 4 {
            let (updated, ()) =
                tokio::join!(connection.update_keys(), exchange_as_gannet(&connection, &body));
            updates += u32::from(updated.is_ok());
        }
    })
    .await;
    let stats = connection.stats();
    assert_eq!((stats.key_updates, stats.authentication_failures), (4, 0));
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn we_follow_quinns_key_updates() {
    let identity = identity();
    let server = gannet_server(&identity, RetryPolicy::Never);
    let addr = server.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        tell.send(connection.clone()).unwrap();
        gannet_echo(connection).await;
        server.wait_idle().await;
    });
    let client = quinn_client(&identity);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    let ours = in_time(told).await.unwrap();
    let body = pattern(200_000);
    in_time(async {
        while ours.stats().key_updates < 4 {
            // quinn does so once the last one is settled.
            connection.force_key_update();
            exchange_as_quinn(&connection, &body).await;
        }
    })
    .await;
    assert_eq!(ours.stats().authentication_failures, 0);
    drop(ours);
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}

/// quinn's server follows our client to another address of this host, with all that is under way.
#[tokio::test(flavor = "multi_thread")]
async fn quinn_follows_our_client_to_another_address() {
    let identity = identity();
    let server = quinn_server(&identity);
    let addr = server.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        tell.send(connection.clone()).unwrap();
        quinn_echo(connection).await;
        server.wait_idle().await;
    });
    let client = gannet_client(&identity, EndpointConfig::default());
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    in_time(connection.handshake_confirmed()).await.unwrap();
    let theirs = in_time(told).await.unwrap();
    let body = pattern(SIZE);
    for _ in 0..2 {
        let socket = std::net::UdpSocket::bind(localhost()).unwrap();
        let moved = socket.local_addr().unwrap();
        let (migrated, ()) = in_time(async {
            tokio::join!(connection.migrate(socket), exchange_as_gannet(&connection, &body))
        })
        .await;
        migrated.unwrap();
        in_time(exchange_as_gannet(&connection, &body)).await;
        assert_eq!(theirs.remote_address(), moved);
    }
    drop(theirs);
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}

/// Our server follows quinn's client, whose socket is replaced in the middle of a transfer.
#[tokio::test(flavor = "multi_thread")]
async fn we_follow_quinns_client_to_another_address() {
    let identity = identity();
    let server = gannet_server(&identity, RetryPolicy::Never);
    let addr = server.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        tell.send(connection.clone()).unwrap();
        gannet_echo(connection).await;
        server.wait_idle().await;
    });
    let client = quinn_client(&identity);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    let ours = in_time(told).await.unwrap();
    let body = pattern(SIZE);
    in_time(exchange_as_quinn(&connection, &pattern(1_000))).await;
    for _ in 0..3 {
        let socket = std::net::UdpSocket::bind(localhost()).unwrap();
        let moved = socket.local_addr().unwrap();
        let rebind = async { client.rebind(socket).unwrap() };
        in_time(async { tokio::join!(rebind, exchange_as_quinn(&connection, &body)) }).await;
        in_time(exchange_as_quinn(&connection, &body)).await;
        assert_eq!(ours.remote_address(), moved);
    }
    drop(ours);
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}
