//! How connections are opened, and how they are accepted: TLS and the transport together.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::StoresServerSessions;

use super::{ClientVersions, ServerVersions, TransportConfig};
use crate::crypto::tls::rustls::{RustlsClient, RustlsServer};
use crate::crypto::tls::{
    ClientResumption, ClientTls, EarlyDataPolicy, ServerResumption, ServerTls, SessionStore, TlsConfigError,
};
use crate::packet::PreferredAddress;

/// How an endpoint opens connections.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub(crate) tls: Arc<dyn ClientTls>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) versions: ClientVersions,
    pub(crate) resumption: ClientResumption,
}

impl ClientConfig {
    /// With TLS of your own making, for example a [`RustlsClient`], and the default transport.
    pub fn new(tls: impl ClientTls + 'static) -> Self {
        Self {
            tls: Arc::new(tls),
            transport: Arc::default(),
            versions: ClientVersions::default(),
            resumption: ClientResumption::default(),
        }
    }

    /// Trusts `roots`, shows no certificate, and speaks the application protocols `alpn`, best first.
    ///
    /// # Errors
    /// If `alpn` is empty.
    pub fn with_roots(roots: impl Into<Arc<RootCertStore>>, alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        RustlsClient::with_roots(roots, alpn).map(Self::new)
    }

    /// Trusts the certification authorities that Mozilla trusts, as of the release of the crate `webpki-roots`; shows no
    /// certificate, and speaks the application protocols `alpn`, best first.
    ///
    /// # Errors
    /// If `alpn` is empty.
    #[cfg(feature = "webpki-roots")]
    pub fn with_webpki_roots(alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        RustlsClient::with_webpki_roots(alpn).map(Self::new)
    }

    /// Trusts whom the operating system trusts, shows no certificate, and speaks the application protocols `alpn`, best
    /// first.
    ///
    /// # Errors
    /// If `alpn` is empty, or the system's certificates cannot be had.
    #[cfg(feature = "platform-verifier")]
    pub fn with_platform_verifier(alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        RustlsClient::with_platform_verifier(alpn).map(Self::new)
    }

    /// Replaces the transport's settings.
    #[must_use]
    pub fn transport(mut self, transport: impl Into<Arc<TransportConfig>>) -> Self {
        self.transport = transport.into();
        self
    }

    /// Where sessions are kept, so that the next handshake with the same server is shorter: no certificates (RFC 9001
    /// §4.5). With `None` each connection begins anew.
    ///
    /// By default a [`MemorySessionStore`](super::MemorySessionStore) for 256 servers, which clones of this
    /// configuration share. Whoever sees a client resume knows that it is the same one: give connections that must not
    /// be linked stores of their own.
    #[must_use]
    pub fn session_store(mut self, store: impl Into<Option<Arc<dyn SessionStore>>>) -> Self {
        self.resumption.store = store.into();
        self
    }

    /// Whether early data is offered to servers that allow it (RFC 9001 §4.6). Default yes: nothing is sent early unless
    /// [`Connecting::into_0rtt`](crate::Connecting::into_0rtt) asks for it.
    #[must_use]
    pub fn early_data(mut self, offer: bool) -> Self {
        self.resumption.early_data = offer;
        self
    }

    /// What makes the TLS sessions.
    #[must_use]
    pub fn tls(&self) -> &Arc<dyn ClientTls> {
        &self.tls
    }

    /// Which versions of QUIC it speaks. Default versions 2 and 1.
    #[must_use]
    pub fn versions(mut self, versions: ClientVersions) -> Self {
        self.versions = versions;
        self
    }
}

/// When clients have to prove that they receive at their address before anything is spent on them.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RetryPolicy {
    /// Only when the queue of incoming connections is full. It saves a round trip.
    #[default]
    Never,
    /// Always: each handshake takes one round trip more (RFC 9000 §8.1.2).
    Always,
}

/// How an endpoint accepts connections.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub(crate) tls: Arc<dyn ServerTls>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) versions: ServerVersions,
    pub(crate) retry: RetryPolicy,
    pub(crate) retry_token_lifetime: Duration,
    pub(crate) resumption: ServerResumption,
    pub(crate) preferred_address: Option<PreferredAddress>,
}

impl ServerConfig {
    /// With TLS of your own making, for example a [`RustlsServer`], and the default transport.
    pub fn new(tls: impl ServerTls + 'static) -> Self {
        Self {
            tls: Arc::new(tls),
            transport: Arc::default(),
            versions: ServerVersions::default(),
            retry: RetryPolicy::default(),
            retry_token_lifetime: Duration::from_secs(15),
            resumption: ServerResumption::default(),
            preferred_address: None,
        }
    }

    /// Shows one certificate chain, its own certificate first, asks clients for none, and speaks the application
    /// protocols `alpn`, best first.
    ///
    /// # Errors
    /// If key and certificate do not fit, or `alpn` is empty.
    pub fn with_single_cert(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsConfigError> {
        RustlsServer::with_single_cert(chain, key, alpn).map(Self::new)
    }

    /// Replaces the transport's settings.
    #[must_use]
    pub fn transport(mut self, transport: impl Into<Arc<TransportConfig>>) -> Self {
        self.transport = transport.into();
        self
    }

    /// Where the sessions of clients are remembered, so that their next handshakes are shorter (RFC 9001 §4.5).
    ///
    /// By default what the TLS configuration says; with [`ServerConfig::with_single_cert`] that is memory for 4,096
    /// sessions, two of them for each connection. Several servers that share a name can share a store. Its `take` must
    /// hand out each session once.
    #[must_use]
    pub fn session_store(mut self, store: Arc<dyn StoresServerSessions>) -> Self {
        self.resumption.store = Some(store);
        self
    }

    /// Takes early data of clients that come again: what they send with their first datagrams, a round trip sooner (RFC
    /// 9001 §4.6). Default `None`: none is taken, because early data can be replayed, and only the application knows
    /// whether that does harm. [`EarlyDataPolicy`] says what protects from it, and what is left to do.
    #[must_use]
    pub fn early_data(mut self, policy: impl Into<Option<EarlyDataPolicy>>) -> Self {
        self.resumption.early_data = policy.into();
        self
    }

    /// What makes the TLS sessions.
    #[must_use]
    pub fn tls(&self) -> &Arc<dyn ServerTls> {
        &self.tls
    }

    /// Which versions of QUIC it speaks. Default versions 2 and 1.
    #[must_use]
    pub fn versions(mut self, versions: ServerVersions) -> Self {
        self.versions = versions;
        self
    }

    /// Where clients are asked to continue once the handshake is done (RFC 9000 §9.6): an address of this server alone, for
    /// example, where that of the handshake is shared by many.
    ///
    /// The endpoint must receive what is sent there: on a further socket (`Endpoint::add_socket`), or because its own is
    /// bound to all addresses and this is one of them. Clients see this address; behind a NAT it is not that of the
    /// socket. Ignored where connection IDs are empty.
    #[must_use]
    pub fn preferred_address(mut self, address: impl Into<Option<PreferredAddress>>) -> Self {
        self.preferred_address = address.into();
        self
    }

    /// Whether clients are asked to come again with a token that proves their address. Default never.
    #[must_use]
    pub fn use_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long such a token is good for. Default 15 s.
    #[must_use]
    pub fn retry_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.retry_token_lifetime = lifetime;
        self
    }
}
