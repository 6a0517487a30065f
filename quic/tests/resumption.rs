//! Connections that go on from earlier ones.

mod common;

use std::sync::Arc;

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::{MemorySessionStore, TransportConfig};
use gannet::{Connection, Endpoint};

fn resumed(connection: &Connection) -> bool {
    connection.handshake_data().unwrap().resumed
}

/// Connects, and waits until tickets have come: they arrive with the confirmation of the handshake.
async fn connect(pair: &Pair) -> bool {
    let (client, server) = pair.connect().await;
    in_time(client.handshake_confirmed()).await.unwrap();
    let (mut send, _) = server.open_bi().await.unwrap();
    send.write_all(&pattern(100)).await.unwrap();
    in_time(client.accept_bi()).await.unwrap();
    assert_eq!(resumed(&client), resumed(&server));
    resumed(&client)
}

#[tokio::test]
async fn the_second_connection_resumes() {
    let pair = Pair::with(TransportConfig::default());
    assert!(!connect(&pair).await);
    assert!(connect(&pair).await && connect(&pair).await);
}

#[tokio::test]
async fn another_server_and_another_store_begin_anew() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let (_, stranger) = configs(TransportConfig::default());
    let endpoint = |config| Endpoint::server(config, localhost()).unwrap();
    let pair = Pair { client: Endpoint::client(localhost()).unwrap(), server: endpoint(server_config) };
    pair.client.set_client_config(client_config.clone());
    assert!(!connect(&pair).await);
    pair.client.set_client_config(client_config.clone().session_store(None));
    assert!(!connect(&pair).await);
    let store = Arc::new(MemorySessionStore::default());
    pair.client.set_client_config(client_config.clone().session_store(Some(store as Arc<_>)));
    assert!(!connect(&pair).await && connect(&pair).await);
    pair.client.set_client_config(client_config);
    let pair = Pair { server: endpoint(stranger), ..pair };
    let error = in_time(pair.client.connect(pair.addr(), "localhost").unwrap());
    let accept = async { pair.server.accept().await.unwrap().accept().await };
    let (error, _) = tokio::join!(error, accept);
    assert!(error.unwrap_err().tls_alert().is_some(), "a ticket that nobody knows proves nothing");
}
