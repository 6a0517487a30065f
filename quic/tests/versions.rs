//! Versions of QUIC, over sockets.

mod common;

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::Version::{V1, V2};
use gannet::config::{ClientVersions, ServerVersions, TransportConfig, Version};
use gannet::{ConnectionError, Endpoint};

fn pair(client: ClientVersions, server: ServerVersions) -> Pair {
    let (client_config, server_config) = configs(TransportConfig::default());
    let pair = Pair {
        client: Endpoint::client(localhost()).unwrap(),
        server: Endpoint::server(server_config.versions(server), localhost()).unwrap(),
    };
    pair.client.set_client_config(client_config.versions(client));
    pair
}

/// Connects, sends something, and tells the version.
async fn version(pair: &Pair) -> Version {
    let (client, server) = pair.connect().await;
    let (mut send, _) = client.open_bi().await.unwrap();
    send.write_all(&pattern(10_000)).await.unwrap();
    in_time(send.finish()).await.unwrap();
    let (_, mut recv) = in_time(server.accept_bi()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(20_000)).await.unwrap(), pattern(10_000));
    in_time(client.handshake_confirmed()).await.unwrap();
    assert_eq!(client.version(), server.version());
    client.version()
}

#[tokio::test]
async fn who_speaks_both_meets_in_version_2() {
    let both = Pair::with(TransportConfig::default());
    assert_eq!(version(&both).await, V2);
    // The next time it begins there: it has been given tickets.
    assert_eq!(version(&both).await, V2);
    let old_server = pair(ClientVersions::default(), ServerVersions::new(&[V1]).unwrap());
    assert_eq!(version(&old_server).await, V1);
    let old_client = pair(ClientVersions::new(&[V1]).unwrap(), ServerVersions::default());
    assert_eq!(version(&old_client).await, V1);
}

/// The first flight is answered with Version Negotiation; the application does not notice.
// covers: R9000-5.2.2-01, R9000-5.2.2-03
#[tokio::test]
async fn a_client_begins_anew_where_it_has_to() {
    let new_server = pair(ClientVersions::default(), ServerVersions::new(&[V2]).unwrap());
    assert_eq!(version(&new_server).await, V2);
    let begins_with_2 = ClientVersions::new(&[V2, V1]).unwrap().first(V2).unwrap();
    let old_server = pair(begins_with_2, ServerVersions::new(&[V1]).unwrap());
    assert_eq!(version(&old_server).await, V1);
}

#[tokio::test]
async fn without_a_common_version_there_is_no_connection() {
    let pair = pair(ClientVersions::new(&[V2]).unwrap(), ServerVersions::new(&[V1]).unwrap());
    let error = in_time(pair.client.connect(pair.addr(), "localhost").unwrap()).await.unwrap_err();
    let ConnectionError::VersionMismatch { offered } = error else { panic!("{error}") };
    assert!(offered.contains(&V1.as_u32()));
}
