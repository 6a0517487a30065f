//! TLS by rustls 0.23.
//!
//! rustls runs the handshake and nothing more: packet keys are ours, derived from the secrets that it gives to the key
//! log of each connection. That makes them concrete types, and lets a connection change its QUIC version (RFC 9368).
//!
//! | file | what |
//! |---|---|
//! | `session` | a handshake: messages in, flights and keys out |
//! | `message` | cuts CRYPTO data into handshake messages |
//! | `key_log` | catches the secrets |
//! | `completed` | what a server keeps when the handshake is complete |
//! | `tickets` | session tickets, on their way to where they are kept, and back |
//! | `client_builder`, `server_builder` | step by step to a configuration |
//! | `pins`, `certificate_hashes` | certificates known beforehand |
//! | `provider` | the algorithms of aws-lc-rs |
//! | `errors` | what rustls complains about, as the error that closes the connection |

use std::sync::Arc;

use ::rustls::client::Resumption;
use ::rustls::crypto::{CryptoProvider, ring};
use ::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ::rustls::quic::{ClientConnection, ServerConnection, Version};
use ::rustls::{ClientConfig, Error, RootCertStore, ServerConfig, version::TLS13};

use self::key_log::SecretCatcher;
use self::session::{RustlsSession, ServerStart};
use self::tickets::{ClientTickets, KeyExchangeHints, SealedTickets, ServerTickets, TicketVersions};
use super::{ClientResumption, ClientTls, ServerResumption, ServerTls, Session, SessionKey, TlsConfigError};
use crate::packet::VERSION_2;

mod certificate_hashes;
mod client_builder;
mod completed;
mod errors;
mod key_log;
mod message;
mod pins;
#[cfg(feature = "aws-lc-rs")]
mod provider;
mod server_builder;
mod session;
mod tickets;

#[cfg(test)]
mod tests;

pub use client_builder::{DangerousClientBuilder, RustlsClientBuilder};
pub use pins::{CertificatePin, InvalidPin};
#[cfg(feature = "aws-lc-rs")]
pub use provider::aws_lc_rs_provider;
pub use server_builder::RustlsServerBuilder;

/// ring's algorithms with AES-128-GCM first: it is the fastest where the CPU has AES instructions.
#[must_use]
pub fn default_provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    }
}

/// TLS sessions of clients by rustls.
#[derive(Debug, Clone)]
pub struct RustlsClient {
    config: ClientConfig,
    hints: KeyExchangeHints,
}

impl RustlsClient {
    /// From a configuration of rustls, with its certificates, ALPN list and key log.
    ///
    /// Sessions are kept where [`ClientConfig::session_store`](crate::config::ClientConfig::session_store) says, whatever
    /// the configuration says, and so is whether early data is offered.
    ///
    /// # Errors
    /// [`TlsConfigError`] if QUIC cannot use the configuration.
    pub fn new(mut config: ClientConfig) -> Result<Self, TlsConfigError> {
        check(config.crypto_provider(), &config.alpn_protocols)?;
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("localhost").map_err(|_| Error::General(String::new()))?;
        let trial = Arc::new(config.clone());
        ClientConnection::new(trial, Version::V1, name, Vec::new()).map_err(no_tls13)?;
        Ok(Self { config, hints: KeyExchangeHints::default() })
    }

    /// A client that trusts `roots`, shows no certificate and speaks the protocols `alpn`, best first.
    ///
    /// # Errors
    /// [`TlsConfigError::NoApplicationProtocol`] if there is none.
    pub fn with_roots(roots: impl Into<Arc<RootCertStore>>, alpn: &[&[u8]]) -> Result<Self, TlsConfigError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self::new(config)
    }
}

impl ClientTls for RustlsClient {
    fn start(
        &self,
        version: u32,
        server_name: &str,
        params: Vec<u8>,
        resumption: &ClientResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError> {
        let bare = without_brackets(server_name);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| TlsConfigError::InvalidServerName(server_name.to_owned()))?;

        let (mut config, secrets) = (self.config.clone(), SecretCatcher::new(&self.config.key_log));
        config.key_log = secrets.clone();
        config.enable_early_data = resumption.early_data;
        let (store, hints) = (resumption.store.clone(), self.hints.clone());
        let versions = TicketVersions::new(version);
        let (offered, of_tickets) = (&config.alpn_protocols, versions.clone());
        let tickets = Arc::new(ClientTickets::new(store, hints, bare, offered, of_tickets));
        config.resumption = Resumption::store(tickets.clone());
        let tls = ClientConnection::new(Arc::new(config), rustls_version(version), name, params)?;
        Ok(Box::new(RustlsSession::client(version, tls, secrets, tickets, versions, bare.to_owned())))
    }

    fn resumable(&self, version: u32, server_name: &str, resumption: &ClientResumption) -> bool {
        let has = |alpn: &Vec<u8>| {
            let key = SessionKey::new(without_brackets(server_name), version, alpn);
            resumption.store.as_ref().is_some_and(|store| store.has(&key))
        };
        self.config.alpn_protocols.iter().any(has)
    }
}

/// TLS sessions of servers by rustls.
///
/// Which cipher suite is used is the server's choice, in the order of its provider, unless the client likes ChaCha20
/// best: then it has no AES instructions, and its order counts.
#[derive(Debug, Clone)]
pub struct RustlsServer {
    config: ServerConfig,
}

impl RustlsServer {
    /// From a configuration of rustls, with its certificates, ALPN list, session storage and key log.
    ///
    /// Early data is taken as [`ServerConfig::early_data`](crate::config::ServerConfig::early_data) says, whatever the
    /// configuration says.
    ///
    /// # Errors
    /// [`TlsConfigError`] if QUIC cannot use the configuration.
    pub fn new(mut config: ServerConfig) -> Result<Self, TlsConfigError> {
        check(config.crypto_provider(), &config.alpn_protocols)?;
        config.max_early_data_size = 0;
        ServerConnection::new(Arc::new(config.clone()), Version::V1, Vec::new()).map_err(no_tls13)?;
        Ok(Self { config })
    }

    /// A server with one certificate chain, its own certificate first, that asks clients for none and speaks the
    /// protocols `alpn`, best first.
    ///
    /// # Errors
    /// [`TlsConfigError`] if key and certificate do not fit, or there is no protocol.
    pub fn with_single_cert(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsConfigError> {
        Self::builder().alpn(alpn).cert(chain, key).build()
    }
}

impl ServerTls for RustlsServer {
    fn start(
        &self,
        version: u32,
        params: Vec<u8>,
        resumption: &ServerResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError> {
        let (mut config, secrets) = (self.config.clone(), SecretCatcher::new(&self.config.key_log));
        config.key_log = secrets.clone();
        let versions = TicketVersions::new(version);
        let (store, ticketer) = match &resumption.store {
            Some(store) => (store.clone(), None),
            None => (config.session_storage, Some(config.ticketer)),
        };
        if resumption.early_data.is_some() {
            // No other value is allowed (RFC 9001 §4.6.1).
            config.max_early_data_size = u32::MAX;
        }
        let (policy, time) = (resumption.early_data.clone(), config.time_provider.clone());
        let tickets = Arc::new(ServerTickets::new(store, versions.clone(), policy, time));
        config.session_storage = tickets.clone();
        config.ticketer = Arc::new(SealedTickets { ticketer, versions: versions.clone() });
        let start = ServerStart { config, version: rustls_version(version), params, tickets };
        Ok(Box::new(RustlsSession::server(version, start, secrets, versions)))
    }
}

impl ServerStart {
    /// Begins in another version than it was made for.
    fn change_version(&mut self, version: u32, params: Option<Vec<u8>>) {
        self.version = rustls_version(version);
        self.params = params.unwrap_or_else(|| std::mem::take(&mut self.params));
    }
}

/// In URLs IPv6 addresses stand in brackets.
fn without_brackets(server_name: &str) -> &str {
    server_name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(server_name)
}

fn rustls_version(version: u32) -> Version {
    if version == VERSION_2 { Version::V2 } else { Version::V1 }
}

fn check(provider: &CryptoProvider, alpn: &[Vec<u8>]) -> Result<(), TlsConfigError> {
    if !provider.cipher_suites.iter().any(|suite| suite.tls13().is_some_and(|suite| suite.quic.is_some())) {
        return Err(TlsConfigError::NoCipherSuite);
    }
    if alpn.is_empty() {
        return Err(TlsConfigError::NoApplicationProtocol);
    }
    if let Some(name) = alpn.iter().find(|name| name.is_empty() || name.len() > 255) {
        return Err(TlsConfigError::InvalidApplicationProtocol(name.len()));
    }
    Ok(())
}

/// With a fitting cipher suite, rustls has one more reason to refuse a configuration for QUIC.
fn no_tls13(error: Error) -> TlsConfigError {
    match error {
        Error::General(_) => TlsConfigError::NoTls13,
        other => TlsConfigError::Tls(other),
    }
}
