//! Resumption and 0-RTT with quinn, in both roles, over loopback.

mod support;

use gannet::config::{ClientConfig, EarlyDataPolicy, RetryPolicy, ServerConfig};
use support::{ALPN, identity, in_time, localhost, quinn_client, quinn_server_config};

/// Answers each stream with what came on it.
fn serve_as_quinn(endpoint: quinn::Endpoint) {
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Ok((connection, _)) = incoming.accept().unwrap().into_0rtt() else { panic!("not a server") };
            tokio::spawn(async move {
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let Ok(data) = recv.read_to_end(1 << 20).await else { break };
                    send.write_all(&data).await.unwrap();
                    send.finish().unwrap();
                }
            });
        }
    });
}

fn serve_as_gannet(endpoint: gannet::Endpoint) {
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let (connection, _) = incoming.accept().into_0rtt().unwrap();
            tokio::spawn(async move {
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let Ok(data) = recv.read_to_end(1 << 20).await else { break };
                    send.write_all(&data).await.unwrap();
                    drop(send.finish());
                }
            });
        }
    });
}

async fn ask_as_gannet(connection: &gannet::Connection) -> (gannet::SendStream, gannet::RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[7; 3000]).await.unwrap();
    drop(send.finish());
    (send, recv)
}

async fn ask_as_quinn(connection: &quinn::Connection) -> quinn::RecvStream {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[7; 3000]).await.unwrap();
    send.finish().unwrap();
    recv
}

#[tokio::test]
async fn early_data_for_quinn() {
    let identity = identity();
    let server = quinn::Endpoint::server(quinn_server_config(&identity, true), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    serve_as_quinn(server.clone());
    let client = gannet::Endpoint::client(localhost()).unwrap();
    client.set_client_config(ClientConfig::with_roots(identity.roots.clone(), &[ALPN]).unwrap());
    for round in 0..6 {
        if round == 4 {
            // The sessions are gone with the configuration, and early data with them.
            server.set_server_config(Some(quinn_server_config(&identity, false)));
        }
        let connecting = client.connect(addr, "localhost").unwrap();
        let connection = match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                let (_send, mut recv) = ask_as_gannet(&connection).await;
                let taken = in_time(accepted).await;
                assert_eq!(taken, (1..4).contains(&round), "{round}");
                assert_eq!(in_time(recv.read_to_end(1 << 20)).await.is_ok(), taken);
                connection
            }
            Err(connecting) => {
                assert!(round == 0 || round == 5, "{round}");
                in_time(connecting).await.unwrap()
            }
        };
        let (_send, mut recv) = ask_as_gannet(&connection).await;
        assert_eq!(in_time(recv.read_to_end(1 << 20)).await.unwrap(), [7; 3000]);
        let resumed = connection.handshake_data().unwrap().resumed;
        assert_eq!(resumed, !matches!(round, 0 | 4), "{round}");
        connection.close(gannet::VarInt::default(), b"");
    }
}

#[tokio::test]
async fn early_data_from_quinn() {
    let identity = identity();
    let config =
        ServerConfig::with_single_cert(vec![identity.cert.clone()], identity.key.clone_key(), &[ALPN]);
    let config = config.unwrap().early_data(EarlyDataPolicy::new());
    let server = gannet::Endpoint::server(config.clone(), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    serve_as_gannet(server.clone());
    let client = quinn_client(&identity);
    for round in 0..6 {
        match round {
            3 => server.set_server_config(config.clone().use_retry(RetryPolicy::Always)).unwrap(),
            4 => server.set_server_config(config.clone().early_data(None)).unwrap(),
            _ => {}
        }
        let connecting = client.connect(addr, "localhost").unwrap();
        let connection = match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                let mut recv = ask_as_quinn(&connection).await;
                let taken = in_time(accepted).await;
                assert_eq!(taken, (1..4).contains(&round), "{round}");
                assert_eq!(in_time(recv.read_to_end(1 << 20)).await.is_ok(), taken, "{round}");
                connection
            }
            Err(connecting) => in_time(connecting).await.unwrap(),
        };
        let mut recv = ask_as_quinn(&connection).await;
        assert_eq!(in_time(recv.read_to_end(1 << 20)).await.unwrap(), [7; 3000]);
        connection.close(0u32.into(), b"");
    }
}
