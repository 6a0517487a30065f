//! quinn and we ask each other for fewer acknowledgments: its code points are those of the draft that we build.

mod support;

use std::sync::Arc;
use std::time::Duration;

use gannet::config::{AckFrequency, ClientConfig, ServerConfig, TransportConfig};
use support::{ALPN, identity, in_time, localhost, quinn_client, quinn_server_config};

const LEN: usize = 8_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn quinn_does_what_we_ask() {
    for packets in [2, 30] {
        let identity = identity();
        let server = quinn::Endpoint::server(quinn_server_config(&identity, false), localhost()).unwrap();
        let addr = server.local_addr().unwrap();
        let serve = tokio::spawn(async move {
            let connection = server.accept().await.unwrap().await.unwrap();
            let mut recv = connection.accept_uni().await.unwrap();
            assert_eq!(recv.read_to_end(LEN).await.unwrap().len(), LEN);
            connection.closed().await;
            connection.stats()
        });
        let fixed = AckFrequency::Fixed { packets, max_ack_delay: Some(Duration::from_millis(20)) };
        // Small datagrams, of which there are many.
        let transport =
            TransportConfig::builder().mtu_upper_bound(None).ack_frequency(fixed).build().unwrap();
        let config = ClientConfig::with_roots(identity.roots.clone(), &[ALPN]).unwrap().transport(transport);
        let client = gannet::Endpoint::client(localhost()).unwrap();
        client.set_client_config(config);
        let connection = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
        let mut send = connection.open_uni().await.unwrap();
        in_time(send.write_all(&vec![7; LEN])).await.unwrap();
        in_time(send.finish()).await.unwrap();
        connection.close(0_u8.into(), b"");
        let stats = in_time(serve).await.unwrap();
        let asked = stats.frame_rx.ack_frequency;
        if packets == 2 {
            assert_eq!(asked, 1);
        } else {
            // As many as the window allows for: more when it has grown.
            assert!((1..30).contains(&asked), "{asked}");
            let received = stats.udp_rx.datagrams;
            assert!(stats.frame_tx.acks * 10 < received, "{} of {received}", stats.frame_tx.acks);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_do_what_quinn_asks() {
    let identity = identity();
    let config =
        ServerConfig::with_single_cert(vec![identity.cert.clone()], identity.key.clone_key(), &[ALPN]);
    let server = gannet::Endpoint::server(config.unwrap(), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        let mut recv = connection.accept_uni().await.unwrap();
        assert_eq!(recv.read_to_end(LEN).await.unwrap().len(), LEN);
        connection.closed().await;
        server.wait_idle().await;
    });
    let mut asks = quinn::AckFrequencyConfig::default();
    asks.ack_eliciting_threshold(29_u8.into()).max_ack_delay(Some(Duration::from_millis(20)));
    let mut transport = quinn::TransportConfig::default();
    transport.ack_frequency_config(Some(asks)).mtu_discovery_config(None);
    let mut config = support::quinn_client_config(&identity);
    config.transport_config(Arc::new(transport));
    let client = quinn_client(&identity);
    let connection = in_time(client.connect_with(config, addr, "localhost").unwrap()).await.unwrap();
    let mut send = connection.open_uni().await.unwrap();
    in_time(send.write_all(&vec![7; LEN])).await.unwrap();
    send.finish().unwrap();
    in_time(send.stopped()).await.unwrap();
    let stats = connection.stats();
    assert!(stats.frame_tx.ack_frequency >= 1);
    let sent = stats.udp_tx.datagrams;
    assert!(stats.frame_rx.acks * 10 < sent, "{} of {sent}", stats.frame_rx.acks);
    connection.close(0_u8.into(), b"");
    in_time(client.wait_idle()).await;
    in_time(serve).await.unwrap();
}
