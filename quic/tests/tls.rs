//! TLS as an application sees it: keys, certificates, protocols.

mod common;

use std::time::Duration;

use common::{Pair, in_time, pattern};
use gannet::KeyUpdateError;
use gannet::config::TransportConfig;

#[tokio::test]
async fn keys_are_updated_in_the_middle_of_a_transfer() {
    let transport = TransportConfig::builder().initial_rtt(Duration::from_millis(1)).build();
    let pair = Pair::with(transport.unwrap());
    let (client, server) = pair.connect().await;
    in_time(client.handshake_confirmed()).await.unwrap();
    let data = pattern(20_000);
    let (mut send, mut echo) = {
        let (send, recv) = in_time(client.open_bi()).await.unwrap();
        (send, recv)
    };
    let served = tokio::spawn(async move {
        let (mut send, mut recv) = server.accept_bi().await.unwrap();
        let mut updates = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
            send.write_chunk(chunk).await.unwrap();
            match server.update_keys().await {
                Ok(()) => updates += 1,
                Err(KeyUpdateError::NotAcknowledged | KeyUpdateError::TooSoon(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        send.finish().await.unwrap();
        (server, updates)
    });
    let mut updates = 0;
    let mut read = vec![0; data.len()];
    while updates < 3 {
        in_time(send.write_all(&data)).await.unwrap();
        match client.update_keys().await {
            Ok(()) => updates += 1,
            Err(KeyUpdateError::NotAcknowledged | KeyUpdateError::TooSoon(_)) => {}
            Err(error) => panic!("{error}"),
        }
        in_time(tokio::io::AsyncReadExt::read_exact(&mut echo, &mut read)).await.unwrap();
        assert!(read == data);
    }
    in_time(send.finish()).await.unwrap();
    assert!(in_time(echo.read_to_end(1)).await.unwrap().is_empty());
    let (server, others) = in_time(served).await.unwrap();
    let stats = server.stats();
    assert!(stats.key_updates >= updates && stats.key_updates <= updates + others, "{stats:?}");
    assert_eq!((stats.authentication_failures, client.stats().authentication_failures), (0, 0));

    client.close(0u32.into(), b"");
    assert_eq!(in_time(client.update_keys()).await, Err(KeyUpdateError::Closed));
}
