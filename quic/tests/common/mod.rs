//! What the tests over loopback share.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gannet::config::{ClientConfig, ServerConfig, TransportConfig};
use gannet::{Connection, Endpoint};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

pub const ALPN: &[u8] = b"test";

/// The configurations of a client and of the server that it trusts.
pub fn configs(transport: TransportConfig) -> (ClientConfig, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let client = ClientConfig::with_roots(roots, &[ALPN]).unwrap();
    let server = ServerConfig::with_single_cert(vec![cert.der().clone()], private, &[ALPN]).unwrap();
    (client.transport(transport.clone()), server.transport(transport))
}

pub fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Two endpoints on loopback that know each other.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
}

impl Pair {
    pub fn with(transport: TransportConfig) -> Self {
        let (client_config, server_config) = configs(transport);
        let client = Endpoint::client(localhost()).unwrap();
        client.set_client_config(client_config);
        let server = Endpoint::server(server_config, localhost()).unwrap();
        Self { client, server }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr().unwrap()
    }

    /// A connection, its client's end first.
    pub async fn connect(&self) -> (Connection, Connection) {
        let connecting = self.client.connect(self.addr(), "localhost").unwrap();
        let accepting = async { self.server.accept().await.unwrap().accept().await.unwrap() };
        let (client, server) = in_time(async { tokio::join!(connecting, accepting) }).await;
        (client.unwrap(), server)
    }
}

/// Fails rather than hangs.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

/// Bytes that tell where they belong.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i >> 12) as u8).collect()
}
