//! Datagrams to and from quinn (RFC 9221).

mod support;

use bytes::Bytes;
use gannet::config::{ClientConfig, ServerConfig, TransportConfig};
use gannet::{DatagramFate, DatagramOptions};
use support::{ALPN, Identity, identity, in_time, localhost, quinn_client, quinn_server_config};

const ROUNDS: usize = 200;

fn gannet_client(identity: &Identity, transport: TransportConfig) -> gannet::Endpoint {
    let client = ClientConfig::with_roots(identity.roots.clone(), &[ALPN]).unwrap();
    let endpoint = gannet::Endpoint::client(localhost()).unwrap();
    endpoint.set_client_config(client.transport(transport));
    endpoint
}

async fn quinn_echo(connection: quinn::Connection) {
    while let Ok(data) = connection.read_datagram().await {
        connection.send_datagram(data).unwrap();
    }
}

async fn gannet_echo(connection: gannet::Connection) {
    while let Ok(data) = connection.read_datagram().await {
        connection.send_datagram(data).unwrap();
    }
}

/// Sizes from nothing to the most, with all that is special between.
fn sizes(max: usize) -> impl Iterator<Item = usize> {
    [0, 1, 62, 63, 64, 65, 500, max - 3, max - 2, max - 1, max].into_iter().cycle().take(ROUNDS)
}

#[tokio::test]
async fn our_client() {
    let identity = identity();
    let server = quinn::Endpoint::server(quinn_server_config(&identity, false), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move { quinn_echo(server.accept().await.unwrap().await.unwrap()).await });
    // Datagrams of one size, so that the largest fit both ways.
    let transport = TransportConfig::builder().mtu_upper_bound(None).build().unwrap();
    let client = gannet_client(&identity, transport);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    let max = connection.max_datagram_size().unwrap().min(1150);
    for len in sizes(max) {
        let data = Bytes::from(vec![len as u8; len]);
        let mut tracker = connection.send_datagram_tracked(data.clone(), DatagramOptions::new()).unwrap();
        assert_eq!(in_time(connection.read_datagram()).await.unwrap(), data);
        assert_eq!(in_time(tracker.settled()).await, DatagramFate::Acknowledged);
    }
    connection.close(0_u8.into(), b"");
    in_time(serve).await.unwrap();
}

#[tokio::test]
async fn our_server() {
    let identity = identity();
    let config =
        ServerConfig::with_single_cert(vec![identity.cert.clone()], identity.key.clone_key(), &[ALPN]);
    let server = gannet::Endpoint::server(config.unwrap(), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        gannet_echo(server.accept().await.unwrap().accept().await.unwrap()).await;
    });
    let client = quinn_client(&identity);
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    let max = connection.max_datagram_size().unwrap().min(1150);
    for len in sizes(max) {
        let data = Bytes::from(vec![len as u8; len]);
        connection.send_datagram(data.clone()).unwrap();
        assert_eq!(in_time(connection.read_datagram()).await.unwrap(), data);
    }
    connection.close(0_u8.into(), b"");
    in_time(serve).await.unwrap();
}

/// Both ends know that quinn takes none.
#[tokio::test]
async fn a_peer_that_takes_none() {
    let identity = identity();
    let mut config = quinn_server_config(&identity, false);
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    config.transport_config(transport.into());
    let server = quinn::Endpoint::server(config, localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move { server.accept().await.unwrap().await.unwrap().closed().await });
    let client = gannet_client(&identity, TransportConfig::default());
    let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    assert_eq!(connection.max_datagram_size(), None);
    let refused = connection.send_datagram(Bytes::new());
    assert_eq!(refused, Err(gannet::SendDatagramError::UnsupportedByPeer));
    connection.close(0_u8.into(), b"");
    in_time(serve).await.unwrap();
}
