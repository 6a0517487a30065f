//! Resumption and 0-RTT with quinn, in both roles, over loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gannet::config::{ClientConfig, EarlyDataPolicy, RetryPolicy, ServerConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const ALPN: &[u8] = b"test";

struct Identity {
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
}

fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Identity { cert: cert.der().clone(), key, roots }
}

fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn quinn_server_config(identity: &Identity, early: bool) -> quinn::ServerConfig {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.clone()], identity.key.clone_key())
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = if early { u32::MAX } else { 0 };
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

fn quinn_client(identity: &Identity) -> quinn::Endpoint {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(identity.roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.enable_early_data = true;
    let mut endpoint = quinn::Endpoint::client(localhost()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(tls).unwrap(),
    )));
    endpoint
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it takes too long")
}

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
