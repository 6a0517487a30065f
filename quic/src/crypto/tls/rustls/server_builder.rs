//! Step by step to the TLS of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ::rustls::client::verify_server_name;
use ::rustls::crypto::CryptoProvider;
use ::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ::rustls::server::danger::ClientCertVerifier;
use ::rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use ::rustls::sign::CertifiedKey;
use ::rustls::version::TLS13;
use ::rustls::{KeyLog, KeyLogFile, RootCertStore, ServerConfig};

use super::{RustlsServer, default_provider};
use crate::crypto::tls::TlsConfigError;

/// Sessions that a server remembers unless told otherwise; a connection takes two, a few hundred bytes each.
const SESSIONS: usize = 4096;

/// Builds a [`RustlsServer`]: what it shows, whom it lets in, and which application protocols it speaks.
///
/// ```
/// use gannet::config::{RustlsServer, ServerConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["example.org".into(), "www.example.org".into()])?;
/// # let chain = vec![made.cert.der().clone()];
/// # let key = || rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
/// # let mut clients = rustls::RootCertStore::empty();
/// # clients.add(made.cert.der().clone())?;
/// let tls = RustlsServer::builder()
///     .alpn(&[b"h3"])
///     .cert_for(&["example.org", "www.example.org"], chain.clone(), key())
///     .cert(chain, key())
///     .accept_client_certs(clients)
///     .build()?;
/// let config = ServerConfig::new(tls);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RustlsServerBuilder {
    provider: Arc<CryptoProvider>,
    alpn: Vec<Vec<u8>>,
    default: Option<Certificate>,
    by_name: Vec<(Vec<String>, Certificate)>,
    resolver: Option<Arc<dyn ResolvesServerCert>>,
    clients: Clients,
    key_log: Option<Arc<dyn KeyLog>>,
}

type Certificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Who has to show a certificate.
enum Clients {
    Anybody,
    Certified { roots: Arc<RootCertStore>, required: bool },
    Own(Arc<dyn ClientCertVerifier>),
}

impl RustlsServer {
    /// Starts with ring's algorithms, no application protocol, no certificate, and clients that are not asked for one.
    pub fn builder() -> RustlsServerBuilder {
        RustlsServerBuilder {
            provider: Arc::new(default_provider()),
            alpn: Vec::new(),
            default: None,
            by_name: Vec::new(),
            resolver: None,
            clients: Clients::Anybody,
            key_log: None,
        }
    }
}

impl RustlsServerBuilder {
    /// The algorithms of TLS. Default [`default_provider`].
    pub fn provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.provider = provider.into();
        self
    }

    /// The application protocols, best first: the first that a client offers as well is chosen. A client that offers
    /// none of them, or does not use ALPN, is refused with the alert no_application_protocol (RFC 9001 §8.1), 120 in
    /// [`ConnectionError::tls_alert`](crate::ConnectionError::tls_alert).
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = protocols.iter().map(|name| name.to_vec()).collect();
        self
    }

    /// Shows this certificate chain, its own certificate first, to clients that ask for no name or one that no other
    /// certificate is for.
    pub fn cert(mut self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        self.default = Some((chain, key));
        self
    }

    /// Shows this certificate chain to clients that ask for one of these names (SNI, RFC 6066 §3). `*.example.org`
    /// stands for all names with one label more than `example.org`; a name itself goes before.
    ///
    /// Clients that ask for other names are refused with the alert unrecognized_name, 112, unless there is a
    /// [`cert`](Self::cert) for them.
    pub fn cert_for(
        mut self,
        names: &[&str],
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.by_name.push((names.iter().map(|name| name.to_ascii_lowercase()).collect(), (chain, key)));
        self
    }

    /// Lets `resolver` choose the certificate for each connection; those given with [`cert`](Self::cert) and
    /// [`cert_for`](Self::cert_for) are not used. It may change its mind at any time, and so replaces certificates
    /// without a restart.
    pub fn cert_resolver(mut self, resolver: Arc<dyn ResolvesServerCert>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Lets in only clients with a certificate that leads to one of these authorities. Others are refused: who shows
    /// none with the alert certificate_required, 116.
    ///
    /// For a client the handshake is complete before the server has seen its certificate: it learns of the refusal from
    /// its first operation on the connection. [`Connection::peer_identity`](crate::Connection::peer_identity) tells who
    /// it is.
    ///
    /// Who resumes a session shows no certificate again: servers that share a
    /// [session store](crate::config::ServerConfig::session_store) must all ask for the same ones.
    pub fn require_client_certs(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.clients = Clients::Certified { roots: roots.into(), required: true };
        self
    }

    /// Asks clients for a certificate that leads to one of these authorities, and lets in those that show none as well.
    pub fn accept_client_certs(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.clients = Clients::Certified { roots: roots.into(), required: false };
        self
    }

    /// Lets `verifier` decide about the certificates of clients.
    pub fn client_cert_verifier(mut self, verifier: Arc<dyn ClientCertVerifier>) -> Self {
        self.clients = Clients::Own(verifier);
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

    /// Puts it together.
    ///
    /// # Errors
    /// [`TlsConfigError::NoCertificate`], [`TlsConfigError::NoApplicationProtocol`], [`TlsConfigError::NothingTrusted`] if
    /// clients need an authority and there is none, [`TlsConfigError::NotADnsName`], and [`TlsConfigError::Tls`] if a key does not fit its certificate, or
    /// a certificate is not for the name it was given for.
    pub fn build(self) -> Result<RustlsServer, TlsConfigError> {
        let Self { provider, alpn, default, by_name, resolver, clients, key_log } = self;
        let resolver = match resolver {
            Some(resolver) => resolver,
            None => Arc::new(CertsByName::new(default, by_name, &provider)?),
        };
        let verifier = clients.verifier(&provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        config.alpn_protocols = alpn;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        if let Some(log) = key_log {
            config.key_log = log;
        }
        RustlsServer::new(config)
    }
}

impl Clients {
    fn verifier(self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
        match self {
            Self::Anybody => Ok(WebPkiClientVerifier::no_client_auth()),
            Self::Certified { roots, required } => {
                let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                let builder = if required { builder } else { builder.allow_unauthenticated() };
                builder.build().map_err(|_| TlsConfigError::NothingTrusted)
            }
            Self::Own(verifier) => Ok(verifier),
        }
    }
}

impl fmt::Debug for RustlsServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsServerBuilder").field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

/// The certificates of a server, by the name that clients ask for.
#[derive(Debug)]
struct CertsByName {
    /// In lower case; wildcards with their asterisk.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl CertsByName {
    fn new(
        default: Option<Certificate>,
        by_name: Vec<(Vec<String>, Certificate)>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsConfigError> {
        if default.is_none() && by_name.is_empty() {
            return Err(TlsConfigError::NoCertificate);
        }
        let load = |(chain, key)| CertifiedKey::from_der(chain, key, provider).map(Arc::new);
        let mut certificates = Self { by_name: HashMap::new(), default: default.map(load).transpose()? };
        for (names, certificate) in by_name {
            let certificate = load(certificate)?;
            for name in names {
                check_name(&certificate, &name)?;
                certificates.by_name.insert(name, certificate.clone());
            }
        }
        Ok(certificates)
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

/// A certificate that is not for the name it was given for is a mistake that no client should have to find.
fn check_name(certificate: &CertifiedKey, name: &str) -> Result<(), TlsConfigError> {
    // A certificate for a wildcard is for any name in its place.
    let example = if name.starts_with('*') { name.replacen('*', "any", 1) } else { name.to_owned() };
    let invalid = || TlsConfigError::NotADnsName(name.to_owned());
    let example = ServerName::try_from(example).map_err(|_| invalid())?;
    if !matches!(example, ServerName::DnsName(_)) {
        return Err(invalid());
    }
    let parsed = ParsedCertificate::try_from(certificate.end_entity_cert()?)?;
    Ok(verify_server_name(&parsed, &example)?)
}

impl ResolvesServerCert for CertsByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}
