//! What the tests on the virtual network share.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gannet::config::{ClientConfig, ServerConfig, TransportConfig};
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn host(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

pub fn server_addr() -> SocketAddr {
    (host(1), 443).into()
}

/// Bytes that tell where they belong.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i >> 12) as u8).collect()
}

/// With signatures of one length. Clients show where they are once in a while.
pub fn configs() -> (ClientConfig, ServerConfig) {
    const ALPN: &[u8] = b"test";
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.serial_number = Some(SerialNumber::from(1));
    let cert = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let transport = || TransportConfig::builder().max_idle_timeout(Some(Duration::from_secs(120)));
    let client = ClientConfig::with_roots(roots, &[ALPN]).unwrap();
    let server = ServerConfig::with_single_cert(vec![cert.der().clone()], private, &[ALPN]).unwrap();
    let keep_alive = transport().keep_alive_interval(Some(Duration::from_secs(1)));
    (client.transport(keep_alive.build().unwrap()), server.transport(transport().build().unwrap()))
}
