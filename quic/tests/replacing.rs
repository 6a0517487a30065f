//! A server's configuration and certificate are replaced while it serves.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{ALPN, Pair, in_time, localhost, pattern};
use gannet::config::{ClientConfig, ServerConfig, TransportConfig};
use gannet::{Connection, ConnectionError, Endpoint};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A server's configuration with a certificate of its own.
fn identity() -> (CertificateDer<'static>, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::with_single_cert(vec![cert.der().clone()], private, &[ALPN]).unwrap();
    (cert.der().clone(), config)
}

fn trusting(certificates: &[&CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add((*certificate).clone()).unwrap();
    }
    ClientConfig::with_roots(roots, &[ALPN]).unwrap()
}

fn shown(connection: &Connection) -> CertificateDer<'static> {
    connection.peer_identity().unwrap()[0].clone()
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load() {
    let identities: Vec<_> = (0..4).map(|_| identity()).collect();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(trusting(&identities.iter().map(|(cert, _)| cert).collect::<Vec<_>>()));
    let server = Endpoint::server(identities[0].1.clone(), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let accepting = tokio::spawn({
        let server = server.clone();
        async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.accept().await {
                        connection.closed().await;
                    }
                });
            }
        }
    });
    // Which one was set last when a connection began, and the one it got: that or a later one.
    let set = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, set, made) = (client.clone(), set.clone(), made.clone());
            let known: Vec<_> = identities.iter().map(|(certificate, _)| certificate.clone()).collect();
            tokio::spawn(async move {
                let (mut last, mut got) = (0, vec![0; known.len()]);
                for _ in 0..40 {
                    let before = set.load(Ordering::SeqCst);
                    let connection = client.connect(addr, "localhost").unwrap().await.unwrap();
                    let certificate = shown(&connection);
                    last = known.iter().position(|known| *known == certificate).unwrap();
                    assert!(last >= before, "{last} after {before} was set");
                    got[last] += 1;
                    made.fetch_add(1, Ordering::SeqCst);
                }
                (last, got)
            })
        })
        .collect();
    for (index, (_, config)) in identities.iter().enumerate().skip(1) {
        in_time(async {
            while made.load(Ordering::SeqCst) < 35 * index {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.set_server_config(config.clone()).unwrap();
        set.store(index, Ordering::SeqCst);
    }
    for task in load {
        let (last, got) = in_time(task).await.unwrap();
        assert_eq!(got.iter().sum::<usize>(), 40);
        assert_eq!(last, identities.len() - 1, "{got:?}");
    }
    in_time(server.close(0_u8.into(), b"")).await;
    in_time(accepting).await.unwrap();
}

#[tokio::test]
async fn a_handshake_under_way_keeps_the_configuration_it_began_with() {
    let ((old, old_config), (new, new_config)) = (identity(), identity());
    let pair = Pair::with(TransportConfig::default());
    let (first, accepted_first) = pair.connect().await;
    pair.client.set_client_config(trusting(&[&old, &new]));
    pair.server.set_server_config(old_config).unwrap();
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let begun = in_time(pair.server.accept()).await.unwrap().accept();
    pair.server.set_server_config(new_config.clone()).unwrap();
    let (connection, accepted) = in_time(async { tokio::join!(connecting, begun) }).await;
    let (second, _accepted) = (connection.unwrap(), accepted.unwrap());
    assert_eq!(shown(&second), old);
    let (third, _accepted) = pair.connect().await;
    assert_eq!(shown(&third), new);

    // Without one nobody is let in; what exists goes on.
    pair.server.set_server_config(None).unwrap();
    let quick = TransportConfig::builder().handshake_timeout(Duration::from_millis(200)).build().unwrap();
    let config = trusting(&[&new]).transport(quick);
    let ignored = in_time(pair.client.connect_with(&config, pair.addr(), "localhost").unwrap()).await;
    assert_eq!(ignored, Err(ConnectionError::HandshakeTimeout));
    let mut send = first.open_uni().await.unwrap();
    send.write_all(&pattern(10_000)).await.unwrap();
    drop(send.finish());
    let mut recv = in_time(accepted_first.accept_uni()).await.unwrap();
    assert!(in_time(recv.read_to_end(10_000)).await.unwrap() == pattern(10_000));
    pair.server.set_server_config(new_config).unwrap();
    let (fourth, _accepted) = pair.connect().await;
    assert_eq!(shown(&fourth), new);
}
