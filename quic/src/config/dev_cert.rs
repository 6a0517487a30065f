//! A certificate for development.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{CertificatePin, ClientConfig, ServerConfig};
use crate::crypto::tls::TlsConfigError;

/// How long it is valid: as long as browsers let a certificate be that they know by its hash.
const VALIDITY: Duration = Duration::from_secs(14 * 24 * 3600);

/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);

/// A certificate that signs itself, made in one call, valid for two weeks, and worth nothing to anybody who was not given
/// it: for development and tests.
///
/// ```
/// use gannet::config::DevCertificate;
///
/// let certificate = DevCertificate::new(["localhost", "127.0.0.1"])?;
/// let server = certificate.server_config(&[b"h3"])?;
/// let client = certificate.client_config(&[b"h3"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A browser takes its [hash](Self::sha256) in WebTransport's `serverCertificateHashes`.
#[derive(Debug)]
pub struct DevCertificate {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// No certificate can be made for these names.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for development: {0}")]
pub struct DevCertificateError(#[from] rcgen::Error);

/// Another one for each key, and always of the same length.
fn serial(key: &KeyPair) -> [u8; 16] {
    let hash = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
    let mut serial = [0; 16];
    serial.copy_from_slice(&hash.as_ref()[..16]);
    // The first bit is the sign of an integer, and zeros before it are left out.
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

impl DevCertificate {
    /// Makes one for these DNS names and IP addresses, with a new ECDSA key on the curve P-256, which browsers know.
    ///
    /// # Errors
    /// If one of them is not ASCII.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, DevCertificateError> {
        Self::with_key(KeyPair::generate()?, names)
    }

    /// As [`new`](Self::new), with an Ed25519 key, which browsers do not know. Neither the certificate nor a signature of
    /// the key varies in length: what runs repeat on a virtual network needs.
    ///
    /// # Errors
    /// If one of them is not ASCII.
    pub fn ed25519<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, DevCertificateError> {
        Self::with_key(KeyPair::generate_for(&rcgen::PKCS_ED25519)?, names)
    }

    fn with_key<N: Into<String>>(
        key: KeyPair,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, DevCertificateError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut params = CertificateParams::new(names)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial(&key)));
        #[expect(clippy::disallowed_methods, reason = "certificates live in the time of day")]
        let from = SystemTime::now() - BEFORE;
        (params.not_before, params.not_after) = (from.into(), (from + VALIDITY).into());
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its private key.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Its SHA-256 hash.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        match CertificatePin::certificate_of(&self.certificate) {
            CertificatePin::Certificate(hash) | CertificatePin::PublicKey(hash) => hash,
        }
    }

    /// Authorities of which it is the only one.
    ///
    /// # Errors
    /// None that is to be expected: it was made a moment ago.
    pub fn roots(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(roots)
    }

    /// A server that shows it and speaks the application protocols `alpn`, best first.
    ///
    /// # Errors
    /// If `alpn` is empty.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, TlsConfigError> {
        ServerConfig::with_single_cert(vec![self.certificate.clone()], self.private_key(), alpn)
    }

    /// A client that trusts it and nobody else, and speaks the application protocols `alpn`, best first.
    ///
    /// # Errors
    /// If `alpn` is empty.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, TlsConfigError> {
        ClientConfig::with_roots(self.roots()?, alpn)
    }
}

#[cfg(test)]
mod tests {
    use super::DevCertificate;

    #[test]
    fn certificates_for_repeatable_runs_have_one_length() {
        let length = || DevCertificate::ed25519(["localhost"]).unwrap().certificate().len();
        let first = length();
        assert!((0..300).all(|_| length() == first));
    }
}
