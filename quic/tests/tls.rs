//! TLS as an application sees it: keys, certificates, protocols.

mod common;

use std::time::Duration;

use common::{ALPN, Pair, in_time, localhost, pattern};
use gannet::config::{
    CertificatePin, ClientConfig, RustlsClient, RustlsClientBuilder, RustlsServer, RustlsServerBuilder,
    ServerConfig, TransportConfig,
};
use gannet::error::ClosedBy;
use gannet::{ConnectionError, Endpoint, KeyUpdateError};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

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

/// A client and a server that trusts it, made with the builders.
fn tls_pair(
    client: impl FnOnce(RustlsClientBuilder) -> RustlsClientBuilder,
    server: impl FnOnce(RustlsServerBuilder) -> RustlsServerBuilder,
) -> Pair {
    let (chain, key, roots) = certificate();
    let client = client(RustlsClient::builder().alpn(&[ALPN]).roots(roots)).build().unwrap();
    let server = server(RustlsServer::builder().alpn(&[ALPN]).cert(chain, key)).build().unwrap();
    let endpoint = Endpoint::client(localhost()).unwrap();
    endpoint.set_client_config(ClientConfig::new(client));
    Pair { client: endpoint, server: Endpoint::server(ServerConfig::new(server), localhost()).unwrap() }
}

fn certificate() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    (vec![made.cert.der().clone()], key, roots)
}

#[tokio::test]
async fn a_server_learns_who_its_client_is() {
    let (chain, key, roots) = certificate();
    let shown = chain.clone();
    let pair = tls_pair(|client| client.client_cert(shown, key), |server| server.require_client_certs(roots));
    let (client, server) = pair.connect().await;
    in_time(client.handshake_confirmed()).await.unwrap();
    assert_eq!(*server.peer_identity().unwrap(), chain);
}

/// For the client the handshake is over before the server has seen that there is no certificate.
#[tokio::test]
async fn a_client_without_the_certificate_it_needs_learns_why_it_is_refused() {
    let (_, _, roots) = certificate();
    let pair = tls_pair(|client| client, |server| server.require_client_certs(roots));
    let accepting = async { pair.server.accept().await.unwrap().accept().await.unwrap_err() };
    let connecting = async {
        match pair.client.connect(pair.addr(), "localhost").unwrap().await {
            Ok(connection) => connection.handshake_confirmed().await.unwrap_err(),
            Err(error) => error,
        }
    };
    let (refusal, refused) = in_time(async { tokio::join!(accepting, connecting) }).await;
    for (error, whose) in [(refusal, ClosedBy::Local), (refused, ClosedBy::Peer)] {
        assert!(matches!(&error, ConnectionError::Transport { by, .. } if *by == whose), "{error}");
        assert_eq!(error.tls_alert_name(), Some("certificate_required"), "{error}");
    }
}

#[tokio::test]
async fn a_pin_decides_in_the_end() {
    let (chain, key, _) = certificate();
    let pin = CertificatePin::public_key_of(&chain[0]).unwrap();
    let pair = tls_pair(|client| client.pin(pin), |server| server);
    let accepting = async { pair.server.accept().await.unwrap().accept().await };
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let (_, refused) = in_time(async { tokio::join!(accepting, connecting) }).await;
    assert_eq!(refused.unwrap_err().tls_alert_name(), Some("certificate_unknown"));

    // Alone it is all the trust there is.
    let (pinned, server) =
        (RustlsClient::builder().alpn(&[ALPN]).pin(pin), RustlsServer::builder().alpn(&[ALPN]));
    let server = ServerConfig::new(server.cert(chain, key).build().unwrap());
    let pair = Pair {
        client: Endpoint::client(localhost()).unwrap(),
        server: Endpoint::server(server, localhost()).unwrap(),
    };
    pair.client.set_client_config(ClientConfig::new(pinned.build().unwrap()));
    pair.connect().await;
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let (chain, key, _) = certificate();
    let other = rcgen::generate_simple_self_signed(["other.example".into()]).unwrap();
    let other_key = PrivatePkcs8KeyDer::from(other.signing_key.serialize_der()).into();
    let tls = RustlsServer::builder().alpn(&[ALPN]).cert_for(&["localhost"], chain.clone(), key).cert_for(
        &["other.example"],
        vec![other.cert.der().clone()],
        other_key,
    );
    let server = Endpoint::server(ServerConfig::new(tls.build().unwrap()), localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    let anybody = RustlsClient::builder().alpn(&[ALPN]).dangerous().no_verification().build().unwrap();
    client.set_client_config(ClientConfig::new(anybody));
    let addr = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Some(incoming) = server.accept().await {
            connections.extend(incoming.accept().await);
        }
    });
    for (name, expected) in [("localhost", &chain[0]), ("other.example", other.cert.der())] {
        let connection = in_time(client.connect(addr, name).unwrap()).await.unwrap();
        assert_eq!(connection.peer_identity().unwrap()[0], *expected);
    }
    let error = in_time(client.connect(addr, "third.example").unwrap()).await.unwrap_err();
    assert_eq!(error.tls_alert_name(), Some("unrecognized_name"));
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn post_quantum_key_exchange_between_two_endpoints() {
    use gannet::config::aws_lc_rs_provider;
    let pair = tls_pair(
        |client| client.provider(aws_lc_rs_provider()),
        |server| server.provider(aws_lc_rs_provider()),
    );
    let accepting = async {
        let mut incoming = pair.server.accept().await.unwrap();
        // The ClientHello takes two datagrams; the second one may be on its way.
        let hello = loop {
            match incoming.client_hello() {
                Some(hello) => break hello,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(hello.server_name(), Some("localhost"));
        incoming.accept().await
    };
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let (client, server) = in_time(async { tokio::join!(connecting, accepting) }).await;
    for connection in [client.unwrap(), server.unwrap()] {
        assert_eq!(connection.handshake_data().unwrap().key_exchange_group, 0x11ec);
    }
}
