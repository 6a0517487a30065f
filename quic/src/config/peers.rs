//! How connections are opened, and how they are accepted: TLS and the transport together.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::StoresServerSessions;

use super::{
    BloomTokenLog, ClientVersions, FirstFlight, MemoryTokenStore, ServerVersions, TokenLog, TokenStore,
    TransportConfig,
};
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
    pub(crate) first_flight: FirstFlight,
    pub(crate) resumption: ClientResumption,
    pub(crate) token_store: Option<Arc<dyn TokenStore>>,
}

impl ClientConfig {
    /// With TLS of your own making, for example a [`RustlsClient`], and the default transport.
    pub fn new(tls: impl ClientTls + 'static) -> Self {
        Self {
            tls: Arc::new(tls),
            transport: Arc::default(),
            versions: ClientVersions::default(),
            first_flight: FirstFlight::default(),
            resumption: ClientResumption::default(),
            token_store: Some(Arc::new(MemoryTokenStore::default())),
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

    /// Where tokens are kept that servers give for the next connection, so that they need not ask then whether we receive
    /// at our address (RFC 9000 §8.1.3). Default a [`MemoryTokenStore`] of this configuration and its clones.
    ///
    /// With `None` no token is kept: servers have one means less to recognise this client.
    #[must_use]
    pub fn token_store(mut self, store: Option<Arc<dyn TokenStore>>) -> Self {
        self.token_store = store;
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

    /// What the first packets look like. Default [`FirstFlight::default`]: each time different.
    #[must_use]
    pub fn first_flight(mut self, first_flight: FirstFlight) -> Self {
        self.first_flight = first_flight;
        self
    }
}

/// When clients have to prove that they receive at their address before anything is spent on them.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryPolicy {
    /// Only when there is no room for the connection: see [`EndpointConfigBuilder`](super::EndpointConfigBuilder).
    Never,
    /// While many handshakes are under way: usually none waits for a round trip, and a flood from forged addresses does
    /// not get to what is expensive, TLS (RFC 9000 §8.1.2).
    UnderLoad {
        /// More than so many: incoming connections that wait for `accept`, and accepted ones that have not completed
        /// the handshake.
        handshakes: usize,
    },
    /// Always: each handshake takes one round trip more, but for clients with a token of an earlier connection.
    Always,
}

impl Default for RetryPolicy {
    /// [`RetryPolicy::UnderLoad`] of more than 512 handshakes.
    fn default() -> Self {
        Self::UnderLoad { handshakes: 512 }
    }
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
    pub(crate) new_tokens: u8,
    pub(crate) new_token_lifetime: Duration,
    pub(crate) token_log: Option<Arc<dyn TokenLog>>,
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
            new_tokens: 2,
            new_token_lifetime: Duration::from_secs(24 * 3600),
            token_log: Some(Arc::new(BloomTokenLog::default())),
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

    /// When clients are asked to come again with a token that proves their address. Default while more than 512
    /// handshakes are under way.
    #[must_use]
    pub fn use_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long the token of a Retry is good for. Default 15 s.
    #[must_use]
    pub fn retry_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.retry_token_lifetime = lifetime;
        self
    }

    /// How many tokens a client is given for its next connections, after the handshake and again when its address
    /// changes (NEW_TOKEN, RFC 9000 §8.1.3). Default 2; 0 gives none.
    ///
    /// A client that comes with one counts as validated: it is spared a Retry, and the limit on what it is sent before it
    /// has shown that it receives.
    #[must_use]
    pub fn new_tokens(mut self, tokens: u8) -> Self {
        self.new_tokens = tokens;
        self
    }

    /// How long such a token is good for. Default 24 hours. It opens for no longer than its key: see
    /// [`EndpointConfigBuilder::token_key_period`](super::EndpointConfigBuilder::token_key_period).
    #[must_use]
    pub fn new_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.new_token_lifetime = lifetime;
        self
    }

    /// Where it is noted which of these tokens were used. Default a [`BloomTokenLog`] of this configuration and its clones.
    ///
    /// With `None` no token counts.
    #[must_use]
    pub fn token_log(mut self, log: Option<Arc<dyn TokenLog>>) -> Self {
        self.token_log = log;
        self
    }
}
