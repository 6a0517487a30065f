//! Step by step to the TLS of a client.

use std::fmt;
use std::sync::Arc;

use ::rustls::client::danger::ServerCertVerifier;
use ::rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use ::rustls::crypto::CryptoProvider;
use ::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ::rustls::version::TLS13;
use ::rustls::{ClientConfig, KeyLog, KeyLogFile, RootCertStore};

use super::certificate_hashes::HashVerifier;
use super::pins::{CertificatePin, PinVerifier};
use super::{RustlsClient, default_provider};
use crate::crypto::tls::TlsConfigError;

/// Builds a [`RustlsClient`]: whom it trusts, what it shows, and which application protocols it speaks.
///
/// Trust comes from one source: [`roots`](Self::roots), `webpki_roots`, `platform_verifier`,
/// [`server_certificate_hashes`](Self::server_certificate_hashes) or a [`verifier`](Self::verifier) of your own; the last
/// call counts. [Pins](Self::pin) narrow it down, or are all there is.
///
/// A server is verified when a session begins, and not again when that is resumed: configurations that trust differently
/// must not share a [session store](crate::config::ClientConfig::session_store).
///
/// ```
/// use gannet::config::{CertificatePin, ClientConfig, RustlsClient};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let certificate = rcgen::generate_simple_self_signed(["localhost".into()])?;
/// # let certificate = certificate.cert.der().clone();
/// let mut roots = rustls::RootCertStore::empty();
/// roots.add(certificate.clone())?;
/// let tls = RustlsClient::builder()
///     .alpn(&[b"h3"])
///     .roots(roots)
///     .pin(CertificatePin::public_key_of(&certificate)?)
///     .key_log_file()
///     .build()?;
/// let config = ClientConfig::new(tls);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RustlsClientBuilder {
    provider: Arc<CryptoProvider>,
    alpn: Vec<Vec<u8>>,
    trust: Trust,
    pins: Vec<CertificatePin>,
    identity: Identity,
    key_log: Option<Arc<dyn KeyLog>>,
}

/// Where trust comes from.
enum Trust {
    Nothing,
    Roots(Arc<RootCertStore>),
    #[cfg(feature = "platform-verifier")]
    Platform,
    Hashes(Vec<[u8; 32]>),
    Own(Arc<dyn ServerCertVerifier>),
    Anybody,
}

/// What a server that asks for a certificate is shown.
enum Identity {
    Nothing,
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    Resolver(Arc<dyn ResolvesClientCert>),
}

impl RustlsClient {
    /// Starts with ring's algorithms, no application protocol, nobody trusted, and no certificate to show.
    pub fn builder() -> RustlsClientBuilder {
        RustlsClientBuilder {
            provider: Arc::new(default_provider()),
            alpn: Vec::new(),
            trust: Trust::Nothing,
            pins: Vec::new(),
            identity: Identity::Nothing,
            key_log: None,
        }
    }

    /// A client that trusts the certification authorities that Mozilla trusts, as of the release of the crate
    /// `webpki-roots`, shows no certificate and speaks the protocols `alpn`, best first.
    ///
    /// # Errors
    /// [`TlsConfigError::NoApplicationProtocol`] if there is none.
    #[cfg(feature = "webpki-roots")]
    pub fn with_webpki_roots(alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        Self::builder().alpn(alpn).webpki_roots().build()
    }

    /// A client that trusts whom the operating system trusts, shows no certificate and speaks the protocols `alpn`,
    /// best first.
    ///
    /// # Errors
    /// [`TlsConfigError::NoApplicationProtocol`] if there is none; [`TlsConfigError::Tls`] if the system's certificates
    /// cannot be had.
    #[cfg(feature = "platform-verifier")]
    pub fn with_platform_verifier(alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        Self::builder().alpn(alpn).platform_verifier().build()
    }
}

impl RustlsClientBuilder {
    /// The algorithms of TLS. Default [`default_provider`].
    pub fn provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = provider.into();
        self
    }

    /// The application protocols, best first. A server that speaks none of them ends the handshake with the alert
    /// no_application_protocol (RFC 9001 §8.1), 120 in [`ConnectionError::tls_alert`](crate::ConnectionError::tls_alert).
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = protocols.iter().map(|name| name.to_vec()).collect();
        self
    }

    /// Trusts certificates that lead to one of these authorities and name the server.
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.trust = Trust::Roots(roots.into());
        self
    }

    /// Trusts certificates that lead to an authority that Mozilla trusts, as of the release of the crate `webpki-roots`.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots(self) -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>();
        self.roots(roots)
    }

    /// Trusts what the operating system trusts, in the way it does: with its authorities, and where it offers that with
    /// its own verifier. The authorities are loaded when this is built.
    #[cfg(feature = "platform-verifier")]
    pub fn platform_verifier(mut self) -> Self {
        self.trust = Trust::Platform;
        self
    }

    /// Trusts certificates with one of these SHA-256 hashes, by the rules of WebTransport's `serverCertificateHashes`:
    /// the certificate is valid now and for 14 days at most, and its key is not of RSA. Which name and issuer it shows
    /// does not count.
    pub fn server_certificate_hashes(mut self, hashes: impl IntoIterator<Item = [u8; 32]>) -> Self {
        self.trust = Trust::Hashes(hashes.into_iter().collect());
        self
    }

    /// Trusts what this verifier accepts.
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.trust = Trust::Own(verifier);
        self
    }

    /// Wants the server's own certificate to have this pin, or one of the others if there are several; have one for the
    /// next key ready, or nobody gets in when keys are changed.
    ///
    /// Pins come on top of a source of trust. Without any they decide alone: then neither the name in the certificate,
    /// nor its issuer, nor its time count. That the server has the key is verified in each case.
    pub fn pin(mut self, pin: CertificatePin) -> Self {
        self.pins.push(pin);
        self
    }

    /// Shows this certificate chain, its own certificate first, to servers that ask for one.
    pub fn client_cert(mut self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        self.identity = Identity::Certificate(chain, key);
        self
    }

    /// Lets `resolver` choose the certificate that is shown to servers that ask for one.
    pub fn client_cert_resolver(mut self, resolver: Arc<dyn ResolvesClientCert>) -> Self {
        self.identity = Identity::Resolver(resolver);
        self
    }

    /// Gives the secrets of each connection to `log`, for programs that look into packets. Whoever reads them reads all.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Appends the secrets of each connection to the file that the environment variable `SSLKEYLOGFILE` names, if it is
    /// set now.
    pub fn key_log_file(self) -> Self {
        self.key_log(Arc::new(KeyLogFile::new()))
    }

    /// What makes a client unsafe.
    pub fn dangerous(self) -> DangerousClientBuilder {
        DangerousClientBuilder(self)
    }

    /// Puts it together.
    ///
    /// # Errors
    /// [`TlsConfigError::NothingTrusted`], [`TlsConfigError::NoApplicationProtocol`], and [`TlsConfigError::Tls`] if key
    /// and certificate do not fit, or roots or the system's verifier are not to be had.
    pub fn build(self) -> Result<RustlsClient, TlsConfigError> {
        let Self { provider, alpn, trust, pins, identity, key_log } = self;
        let verifier = trust.verifier(&provider, pins)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Identity::Nothing => builder.with_no_client_auth(),
            Identity::Certificate(chain, key) => builder.with_client_auth_cert(chain, key)?,
            Identity::Resolver(resolver) => builder.with_client_cert_resolver(resolver),
        };
        config.alpn_protocols = alpn;
        if let Some(log) = key_log {
            config.key_log = log;
        }
        RustlsClient::new(config)
    }
}

impl Trust {
    fn verifier(
        self,
        provider: &Arc<CryptoProvider>,
        pins: Vec<CertificatePin>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        let algorithms = provider.signature_verification_algorithms;
        let inner: Option<Arc<dyn ServerCertVerifier>> = match self {
            Self::Nothing if pins.is_empty() => return Err(TlsConfigError::NothingTrusted),
            Self::Nothing | Self::Anybody => None,
            Self::Roots(roots) => {
                let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(built.map_err(|_| TlsConfigError::NothingTrusted)?)
            }
            #[cfg(feature = "platform-verifier")]
            Self::Platform => Some(Arc::new(rustls_platform_verifier::Verifier::new(provider.clone())?)),
            Self::Hashes(hashes) if hashes.is_empty() => return Err(TlsConfigError::NothingTrusted),
            Self::Hashes(hashes) => Some(Arc::new(HashVerifier::new(hashes, algorithms))),
            Self::Own(verifier) => Some(verifier),
        };
        Ok(match inner {
            Some(inner) if pins.is_empty() => inner,
            inner => Arc::new(PinVerifier::new(pins, inner, algorithms)),
        })
    }
}

impl fmt::Debug for RustlsClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsClientBuilder")
            .field("alpn", &self.alpn)
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// What makes a client unsafe; from [`RustlsClientBuilder::dangerous`].
#[derive(Debug)]
#[must_use]
pub struct DangerousClientBuilder(RustlsClientBuilder);

impl DangerousClientBuilder {
    /// Believes that every server is the one that was asked for: whoever can get at the packets can read and change
    /// what is in them. For tests, and for servers that are known by other means. [Pins](RustlsClientBuilder::pin) still
    /// count, and make it safe again.
    pub fn no_verification(mut self) -> RustlsClientBuilder {
        self.0.trust = Trust::Anybody;
        self.0
    }
}
