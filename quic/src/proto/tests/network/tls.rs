//! TLS of the virtual network: an Ed25519 certificate from a fixed key, so that no message varies in size.

use std::sync::OnceLock;

use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::crypto::tls::rustls::{RustlsClient, RustlsServer};

/// PKCS #8 of an Ed25519 key, but for the key.
const PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const ALPN: &[&[u8]] = &[b"sim"];

fn key() -> Vec<u8> {
    [&PREFIX[..], &[0x42; 32]].concat()
}

/// One for `localhost`; a large one names many more.
fn certificate(large: bool) -> CertificateDer<'static> {
    static CERTIFICATES: [OnceLock<CertificateDer<'static>>; 2] = [const { OnceLock::new() }; 2];
    let make = || {
        let key = KeyPair::try_from(&key()[..]).unwrap();
        let more = (0..if large { 250 } else { 0 }).map(|n| format!("host-{n:04}.example"));
        let mut params =
            CertificateParams::new(more.chain(["localhost".into()]).collect::<Vec<_>>()).unwrap();
        params.serial_number = Some(SerialNumber::from(1));
        params.self_signed(&key).unwrap().der().clone()
    };
    CERTIFICATES[usize::from(large)].get_or_init(make).clone()
}

pub(in crate::proto::tests) fn client(large: bool) -> RustlsClient {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(large)).unwrap();
    RustlsClient::with_roots(roots, ALPN).unwrap()
}

pub(in crate::proto::tests) fn server(large: bool) -> RustlsServer {
    let key = PrivatePkcs8KeyDer::from(key()).into();
    RustlsServer::with_single_cert(vec![certificate(large)], key, ALPN).unwrap()
}
