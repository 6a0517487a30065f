//! TLS for the contenders: one certificate, one cipher suite, so that all encrypt alike.

use std::sync::Arc;

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::CryptoProvider, pki_types::PrivateKeyDer};

/// The name in the certificate.
pub const NAME: &str = "localhost";
const ALPN: &[u8] = b"gannet-compare";

/// A server's and a client's configuration that trust each other.
pub fn pair() -> Result<(ServerConfig, ClientConfig)> {
    let certified = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;

    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    server.alpn_protocols = vec![ALPN.to_vec()];

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    Ok((server, client))
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}
