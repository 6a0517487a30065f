//! TLS as QUIC needs it (RFC 9001 §4), behind traits of our own, so that a TLS library is one of several.

use std::fmt;
use std::sync::Arc;

use ::rustls::pki_types::CertificateDer;
use ::rustls::server::StoresServerSessions;

use super::CipherSuite;
use crate::packet::TransportError;

pub(crate) mod alert;
mod early;
pub mod rustls;
mod sessions;

pub use super::{AeadLimits, DirectionKeys, HeaderKey, Keys, OneRttSecrets, PacketKey};
pub use crate::packet::{Level, SpaceId};
pub use early::{EarlyData, EarlyDataPolicy, Remembered};
pub use sessions::{ClientResumption, MemorySessionStore, SessionKey, SessionStore, StoredSession};

/// One TLS handshake, and what remains of it afterwards.
///
/// The owner feeds CRYPTO data in order with [`Session::read`], then calls [`Session::write`] until it returns `None`.
pub trait Session: Send {
    /// Takes the next bytes of the CRYPTO stream of `level`, which is [`Session::read_level`].
    ///
    /// Data of a later level is for the caller to keep until that level is reached (RFC 9001 §4.1.3). Data of an earlier
    /// one, and data left over when the level changes, is an error.
    ///
    /// # Errors
    /// What the connection is to be closed with: CRYPTO_ERROR with the alert of TLS, or PROTOCOL_VIOLATION. Once it has
    /// failed, a session goes on failing.
    fn read(&mut self, level: Level, data: &[u8]) -> Result<(), TransportError>;

    /// Appends handshake bytes that are to be sent, and returns the keys of the next level where they became known.
    ///
    /// The bytes belong to the level before that change. A client calls it once before it reads anything.
    fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange>;

    /// The connection turns to another version of QUIC than the one it was started with: the keys of later levels are of
    /// that version, and so are tickets (RFC 9368 §2.3, RFC 9369 §5).
    ///
    /// It comes before the first [`Session::read`]. A server is given the transport parameters to send in that version.
    fn change_version(&mut self, version: u32, params: Option<Vec<u8>>);

    /// The level whose CRYPTO data comes next: Initial, Handshake, and OneRtt once the handshake is complete.
    fn read_level(&self) -> Level;

    /// True until the handshake is complete (RFC 9001 §4.1.1).
    fn is_handshaking(&self) -> bool {
        self.read_level() != Level::OneRtt
    }

    /// The keys of 0-RTT packets, once they are known, and once only: a client seals with them, and asks before it reads
    /// anything; a server that takes early data opens with them, and asks when it has read the ClientHello.
    fn early_keys(&mut self) -> Option<DirectionKeys> {
        None
    }

    /// What became of early data so far.
    fn early_data(&self) -> EarlyData {
        EarlyData::None
    }

    /// On a client that offers early data: what it knows of the server.
    fn remembered(&self) -> Option<&Remembered> {
        None
    }

    /// The encoded transport parameters of the peer, once it has sent them. They are to be trusted when the handshake
    /// is complete (RFC 9001 §8.2).
    fn peer_transport_parameters(&self) -> Option<&[u8]>;

    /// What was agreed on; `None` before that.
    fn handshake_data(&self) -> Option<HandshakeData>;

    /// The certificates of the peer, its own first; `None` if it showed none.
    fn peer_identity(&self) -> Option<Vec<CertificateDer<'static>>>;

    /// Fills `out` with key material that both ends can compute and nobody else (RFC 8446 §7.5).
    ///
    /// # Errors
    /// [`ExportError`] before the handshake is complete, and for lengths that cannot be had.
    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8])
    -> Result<(), ExportError>;
}

/// Keys of a new level.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made twice in the life of a connection, and moved at once")]
pub enum KeyChange {
    /// The keys of the Handshake level.
    Handshake(Keys),
    /// The keys of the 1-RTT level, and where later ones come from. On the server they become known before the handshake
    /// is complete: until then it sends with them, but opens nothing (RFC 9001 §5.7).
    OneRtt(Keys, OneRttSecrets),
}

/// What a handshake has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeData {
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The name that the client asked for. On a server, `None` if it named none (SNI).
    pub server_name: Option<String>,
    /// How packets are protected.
    pub cipher_suite: CipherSuite,
    /// The handshake went on from an earlier connection, without certificates (RFC 9001 §4.5).
    pub resumed: bool,
    /// How keys were agreed on: the number of the group in the TLS registry, for example 0x001d for X25519 and 0x11ec
    /// for X25519MLKEM768.
    pub key_exchange_group: u16,
}

/// Makes the TLS sessions of clients.
pub trait ClientTls: fmt::Debug + Send + Sync {
    /// A session with the server of that name. `params` are our encoded transport parameters; `resumption` says where
    /// earlier sessions are found, and this one is kept.
    ///
    /// # Errors
    /// [`TlsConfigError::InvalidServerName`] mostly.
    fn start(
        &self,
        version: u32,
        server_name: &str,
        params: Vec<u8>,
        resumption: &ClientResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError>;

    /// True if a session would go on from an earlier one.
    fn resumable(&self, version: u32, server_name: &str, resumption: &ClientResumption) -> bool {
        let _ = (version, server_name, resumption);
        false
    }
}

/// Makes the TLS sessions of servers.
pub trait ServerTls: fmt::Debug + Send + Sync {
    /// A session with a client of which nothing is known yet. `params` are our encoded transport parameters.
    ///
    /// # Errors
    /// [`TlsConfigError`] where the configuration turns out to be unfit.
    fn start(
        &self,
        version: u32,
        params: Vec<u8>,
        resumption: &ServerResumption,
    ) -> Result<Box<dyn Session>, TlsConfigError>;
}

/// What a server does with sessions of earlier connections.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerResumption {
    /// Where they are remembered; `None`: as the TLS configuration says.
    pub store: Option<Arc<dyn StoresServerSessions>>,
    /// Which early data is taken; `None`: none.
    pub early_data: Option<EarlyDataPolicy>,
}

/// A TLS configuration that QUIC cannot be used with.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// QUIC needs TLS 1.3 (RFC 9001 §4.2).
    #[error("TLS 1.3 is not enabled")]
    NoTls13,
    /// QUIC needs a cipher suite of TLS 1.3 with header protection (RFC 9001 §5.3).
    #[error("no cipher suite that QUIC can use is enabled")]
    NoCipherSuite,
    /// QUIC needs an agreement on the application protocol (RFC 9001 §8.1).
    #[error("no application protocol (ALPN) is configured")]
    NoApplicationProtocol,
    /// Names of application protocols have 1 to 255 bytes (RFC 7301 §3.1); this one has so many.
    #[error("an application protocol (ALPN) has {0} bytes instead of 1 to 255")]
    InvalidApplicationProtocol(usize),
    /// There is neither an authority nor a pin to tell whom to trust.
    #[error("nothing tells whom to trust")]
    NothingTrusted,
    /// A server without a certificate.
    #[error("no certificate is configured")]
    NoCertificate,
    /// Neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    InvalidServerName(String),
    /// A certificate was to be shown to clients that ask for this, which is no DNS name.
    #[error("{0:?} is not a DNS name")]
    NotADnsName(String),
    /// The TLS library refused.
    #[error(transparent)]
    Tls(#[from] ::rustls::Error),
}

/// Key material cannot be exported: the handshake is not complete, or the length is impossible.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key material cannot be exported")]
pub struct ExportError;
