//! TLS settings of the programs.

use std::{path::Path, sync::Arc};

use anyhow::{Result, bail};
use gannet::config::default_provider;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::certificate::{Identity, read_certificates};

/// Whom a client believes.
#[derive(Debug, Copy, Clone)]
pub enum Trust<'a> {
    /// The authorities the system trusts.
    System,
    /// Those of a PEM file, and no others.
    File(&'a Path),
    /// Everybody: for tests on machines of one's own.
    Anybody,
}

/// What a server that shows `identity` and speaks `alpn` needs.
///
/// # Errors
/// A key that does not fit the certificate.
pub fn server(identity: Identity, alpn: &[&str]) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = protocols(alpn);
    Ok(config)
}

/// What a client with this trust that speaks `alpn` needs.
///
/// # Errors
/// No authority could be read.
pub fn client(trust: Trust<'_>, alpn: &[&str]) -> Result<ClientConfig> {
    client_with(default_provider(), trust, alpn)
}

/// The same with algorithms of one's own choice.
///
/// # Errors
/// No authority could be read.
pub fn client_with(provider: CryptoProvider, trust: Trust<'_>, alpn: &[&str]) -> Result<ClientConfig> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = match trust {
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnybody(algorithms)))
            .with_no_client_auth(),
        Trust::File(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(path)? {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::System => {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                bail!("the system has no trusted certificates; name some with --ca");
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = protocols(alpn);
    Ok(config)
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

/// Checks that the server has the key of the certificate it shows, and not whose certificate it is.
#[derive(Debug)]
struct BelieveAnybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
