//! One handshake by rustls.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use ring::hkdf::Prk;
use rustls::pki_types::CertificateDer;
use rustls::quic::{self, ClientConnection, Connection, ServerConnection};
use rustls::{HandshakeKind, ServerConfig};

use super::completed::{Completed, Exporter};
use super::errors::transport_error;
use super::key_log::SecretCatcher;
use super::message::MessageReader;
use super::tickets::{ClientTickets, ServerTickets, TicketVersions};
use crate::crypto::client_hello::ClientHello;
use crate::crypto::hkdf::Secret;
use crate::crypto::tls::alert;
use crate::crypto::tls::{EarlyData, ExportError, HandshakeData, KeyChange, Remembered, Session};
use crate::crypto::{CipherSuite, DirectionKeys, Keys, OneRttSecrets};
use crate::packet::{Level, Side, TransportError, TransportErrorCode};

/// Handshake types (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE_REQUEST: u8 = 13;

/// With the prefix of TLS 1.3, its length fits into a byte (RFC 8446 §7.1).
const MAX_EXPORTER_LABEL_LEN: usize = 255 - b"tls13 ".len();

/// A client or server connection of rustls, and what it has not said yet.
pub(super) struct RustlsSession {
    side: Side,
    version: u32,
    tls: Tls,
    secrets: Arc<SecretCatcher>,
    /// On a server, between the time it is known and the end of the handshake.
    exporter: Option<Exporter>,
    messages: MessageReader,
    /// Handshake bytes that [`Session::write`] has not handed out, each run with the change of keys after it.
    flights: VecDeque<(Vec<u8>, Option<KeyChange>)>,
    read_level: Level,
    /// The peer's extensions were read: ALPN and transport parameters are known.
    extensions_read: bool,
    /// On a client, the name it asked for.
    asked_for: Option<String>,
    /// On a client, where its tickets come from and go to.
    tickets: Option<Arc<ClientTickets>>,
    versions: Arc<TicketVersions>,
    early: EarlyData,
    /// Until they are asked for.
    early_keys: Option<Box<DirectionKeys>>,
    /// On a client that offers early data, what it knows of the server.
    remembered: Option<Box<Remembered>>,
    failed: Option<TransportError>,
}

enum Tls {
    /// A server that has not seen its ClientHello.
    Waiting(Box<ServerStart>),
    Running(Box<Connection>),
    /// A server whose handshake is complete.
    Completed(Box<Completed>),
    /// rustls did not take the configuration after all.
    Broken,
}

/// What a server connection is made from, once the ClientHello is there.
pub(super) struct ServerStart {
    pub(super) config: ServerConfig,
    pub(super) version: quic::Version,
    pub(super) params: Vec<u8>,
    pub(super) tickets: Arc<ServerTickets>,
}

impl RustlsSession {
    pub(super) fn client(
        version: u32,
        tls: ClientConnection,
        secrets: Arc<SecretCatcher>,
        tickets: Arc<ClientTickets>,
        versions: Arc<TicketVersions>,
        server_name: String,
    ) -> Self {
        let remembered = tickets.take_remembered();
        let tls = Tls::Running(Box::new(tls.into()));
        let mut session = Self {
            asked_for: Some(server_name),
            tickets: Some(tickets),
            ..Self::new(Side::Client, version, tls, secrets, versions)
        };
        // The ClientHello is all there is, no keys: this does not fail.
        session.failed = session.collect().err();
        session.early_keys = session.derive_early_keys().map(Box::new);
        if let (Some(_), Some(remembered)) = (&session.early_keys, remembered) {
            session.early = EarlyData::Offered;
            session.remembered = Some(Box::new(remembered));
        } else {
            session.early_keys = None;
        }
        session
    }

    pub(super) fn server(
        version: u32,
        start: ServerStart,
        secrets: Arc<SecretCatcher>,
        versions: Arc<TicketVersions>,
    ) -> Self {
        Self::new(Side::Server, version, Tls::Waiting(Box::new(start)), secrets, versions)
    }

    fn new(
        side: Side,
        version: u32,
        tls: Tls,
        secrets: Arc<SecretCatcher>,
        versions: Arc<TicketVersions>,
    ) -> Self {
        Self {
            side,
            version,
            tls,
            secrets,
            exporter: None,
            messages: MessageReader::default(),
            flights: VecDeque::new(),
            read_level: Level::Initial,
            extensions_read: false,
            asked_for: None,
            tickets: None,
            versions,
            early: EarlyData::None,
            early_keys: None,
            remembered: None,
            failed: None,
        }
    }

    fn try_read(&mut self, level: Level, mut data: &[u8]) -> Result<(), TransportError> {
        if data.is_empty() {
            return Ok(());
        }
        if level != self.read_level {
            return Err(violation(format!("TLS data at level {level:?} instead of {:?}", self.read_level)));
        }
        if let Tls::Completed(_) = self.tls {
            return Err(unexpected("a server reads no TLS message after the handshake"));
        }
        while let Some(message) = self.messages.next(&mut data)? {
            self.message(&message)?;
            if self.read_level != level && !data.is_empty() {
                return Err(violation(format!("TLS data left over at level {level:?} when keys changed")));
            }
        }
        Ok(())
    }

    /// Takes one whole handshake message.
    fn message(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let kind = message.first().copied().unwrap_or_default();
        match (self.side, kind) {
            (Side::Server, CLIENT_HELLO) => self.client_hello(message)?,
            // RFC 9001 §4.4: clients cannot tell what the certificate would be for.
            (Side::Client, CERTIFICATE_REQUEST) if self.read_level == Level::OneRtt => {
                return Err(violation("CertificateRequest after the handshake"));
            }
            _ => {}
        }
        let refuses = self.early == EarlyData::Rejected;
        let tls = self.running()?;
        if let (Connection::Server(tls), CLIENT_HELLO, true) = (&mut *tls, kind, refuses) {
            tls.reject_early_data();
        }
        if let Err(error) = tls.read_hs(message) {
            return Err(transport_error(&error, tls.alert()));
        }
        self.learn_of_early_data(kind)?;
        // Keys of two levels may be ready at once; rustls forgets the first if it is not asked after each message.
        self.collect()?;
        self.extensions_read |= match self.side {
            Side::Client => kind == ENCRYPTED_EXTENSIONS,
            Side::Server => self.read_level != Level::Initial,
        };
        if let (Some(tickets), ENCRYPTED_EXTENSIONS) = (&self.tickets, kind) {
            tickets.agreed_on(self.tls().and_then(|tls| tls.alpn_protocol()));
        }
        if self.side.is_server() && !self.is_handshaking() {
            self.complete();
        }
        Ok(())
    }

    /// Finds out whether offered early data is taken, if this message told.
    fn learn_of_early_data(&mut self, kind: u8) -> Result<(), TransportError> {
        let (EarlyData::Offered, Some(tls)) = (self.early, self.tls()) else { return Ok(()) };
        match tls {
            Connection::Server(_) => {
                // rustls has its own reasons: no room for guesses, the keys tell.
                self.early_keys = self.derive_early_keys().map(Box::new);
                let taken = self.early_keys.is_some();
                self.early = if taken { EarlyData::Accepted } else { EarlyData::Rejected };
            }
            Connection::Client(tls) if kind == ENCRYPTED_EXTENSIONS && tls.is_early_data_accepted() => {
                let alpn = self.remembered.as_ref().map(|remembered| &remembered.alpn[..]);
                if tls.alpn_protocol() != alpn {
                    let why = "early data accepted for another application protocol";
                    return Err(alert::error(rustls::AlertDescription::IllegalParameter.into(), why));
                }
                self.early = EarlyData::Accepted;
            }
            Connection::Client(tls) => {
                let again = tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
                if again || kind == ENCRYPTED_EXTENSIONS {
                    self.early = EarlyData::Rejected;
                }
            }
        }
        Ok(())
    }

    /// The keys of 0-RTT packets, which are of the version that the client began with (RFC 9369 §4.1).
    fn derive_early_keys(&self) -> Option<DirectionKeys> {
        // A server has the secret also if it takes no early data; then rustls hides the keys.
        self.tls()?.zero_rtt_keys()?;
        let secret = self.secrets.take_early()?;
        Some(Secret::new(self.versions.original, self.suite()?, secret).keys())
    }

    /// What QUIC wants of a ClientHello and rustls does not check or decide.
    fn client_hello(&mut self, message: &[u8]) -> Result<(), TransportError> {
        // If our parser does not understand it, rustls has the last word, and the right alert.
        let hello = ClientHello::parse(message).ok().flatten();
        if hello.as_ref().is_some_and(|hello| !hello.legacy_session_id().is_empty()) {
            return Err(violation("ClientHello asks for the middlebox compatibility mode of TLS"));
        }
        if let Tls::Waiting(start) = &mut self.tls {
            let favourite = hello.as_ref().and_then(ClientHello::favourite_suite);
            start.config.ignore_client_order |= favourite != Some(CipherSuite::ChaCha20Poly1305);
            start.tickets.set_params(&start.params);
            if let Some(hello) = hello.filter(ClientHello::offers_early_data) {
                let admits = hello.ticket().is_some_and(|ticket| start.tickets.admits(ticket));
                self.early = if admits { EarlyData::Offered } else { EarlyData::Rejected };
            }
        }
        Ok(())
    }

    /// The connection of rustls; makes it if this is the first message of a server.
    fn running(&mut self) -> Result<&mut Connection, TransportError> {
        if let Tls::Waiting(_) = self.tls
            && let Tls::Waiting(start) = mem::replace(&mut self.tls, Tls::Broken)
        {
            let ServerStart { config, version, params, .. } = *start;
            let tls =
                ServerConnection::new(Arc::new(config), version, params).map_err(|error| internal(&error))?;
            self.tls = Tls::Running(Box::new(tls.into()));
        }
        match &mut self.tls {
            Tls::Running(tls) => Ok(tls),
            Tls::Waiting(_) | Tls::Completed(_) | Tls::Broken => Err(internal(&"TLS does not run")),
        }
    }

    /// Fetches from rustls what is to be sent, and the keys that became known.
    fn collect(&mut self) -> Result<(), TransportError> {
        while let Tls::Running(tls) = &mut self.tls {
            let mut bytes = Vec::new();
            let change = match tls.write_hs(&mut bytes) {
                Some(quic::KeyChange::Handshake { .. }) => Some(self.handshake_keys()?),
                Some(quic::KeyChange::OneRtt { .. }) => Some(self.one_rtt_keys()?),
                None => None,
            };
            let done = change.is_none();
            if !done || !bytes.is_empty() {
                self.flights.push_back((bytes, change));
            }
            if done {
                break;
            }
        }
        if self.tls().is_some_and(|tls| !tls.is_handshaking()) {
            self.read_level = Level::OneRtt;
        }
        Ok(())
    }

    fn handshake_keys(&mut self) -> Result<KeyChange, TransportError> {
        let (client, server) = self.secrets.take_handshake().ok_or_else(no_secrets)?;
        let (client, server) = (self.secret(client)?, self.secret(server)?);
        self.read_level = Level::Handshake;
        Ok(KeyChange::Handshake(Keys::new(self.side, &client, &server)))
    }

    fn one_rtt_keys(&mut self) -> Result<KeyChange, TransportError> {
        let secrets = self.secrets.take_traffic().ok_or_else(no_secrets)?;
        let (client, server) = (self.secret(secrets.client)?, self.secret(secrets.server)?);
        if self.side.is_server() {
            self.exporter = self.suite().map(|suite| Exporter::new(suite, secrets.exporter));
        }
        let keys = Keys::new(self.side, &client, &server);
        Ok(KeyChange::OneRtt(keys, OneRttSecrets::new(self.side, client, server)))
    }

    fn secret(&self, prk: Prk) -> Result<Secret, TransportError> {
        Ok(Secret::new(self.version, self.suite().ok_or_else(no_secrets)?, prk))
    }

    fn suite(&self) -> Option<CipherSuite> {
        CipherSuite::from_u16(self.tls()?.negotiated_cipher_suite()?.suite().into())
    }

    /// Lets go of rustls.
    fn complete(&mut self) {
        let (Some(data), Some(exporter)) = (self.handshake_data(), self.exporter.take()) else { return };
        let peer_params = self.peer_transport_parameters().unwrap_or_default().into();
        let peer_identity = self.peer_identity();
        self.tls = Tls::Completed(Box::new(Completed { peer_params, data, peer_identity, exporter }));
        self.messages = MessageReader::default();
    }

    fn tls(&self) -> Option<&Connection> {
        match &self.tls {
            Tls::Running(tls) => Some(tls),
            Tls::Waiting(_) | Tls::Completed(_) | Tls::Broken => None,
        }
    }
}

impl Session for RustlsSession {
    fn read(&mut self, level: Level, data: &[u8]) -> Result<(), TransportError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.try_read(level, data).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        while let Some((bytes, change)) = self.flights.pop_front() {
            out.extend_from_slice(&bytes);
            if change.is_some() {
                return change;
            }
        }
        // Most connections never get here again.
        self.flights.shrink_to_fit();
        None
    }

    fn change_version(&mut self, version: u32, params: Option<Vec<u8>>) {
        self.version = version;
        self.versions.change(version);
        if let Tls::Waiting(start) = &mut self.tls {
            start.change_version(version, params);
        }
    }

    fn read_level(&self) -> Level {
        self.read_level
    }

    fn early_keys(&mut self) -> Option<DirectionKeys> {
        self.early_keys.take().map(|keys| *keys)
    }

    fn early_data(&self) -> EarlyData {
        self.early
    }

    fn remembered(&self) -> Option<&Remembered> {
        self.remembered.as_deref()
    }

    fn peer_transport_parameters(&self) -> Option<&[u8]> {
        match &self.tls {
            Tls::Completed(completed) => Some(&completed.peer_params),
            _ => self.tls().filter(|_| self.extensions_read)?.quic_transport_parameters(),
        }
    }

    fn handshake_data(&self) -> Option<HandshakeData> {
        if let Tls::Completed(completed) = &self.tls {
            return Some(completed.data.clone());
        }
        let tls = self.tls().filter(|_| self.extensions_read)?;
        let server_name = match tls {
            Connection::Client(_) => self.asked_for.clone(),
            Connection::Server(tls) => tls.server_name().map(str::to_owned),
        };
        Some(HandshakeData {
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            cipher_suite: self.suite()?,
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            key_exchange_group: tls.negotiated_key_exchange_group()?.name().into(),
        })
    }

    fn peer_identity(&self) -> Option<Vec<CertificateDer<'static>>> {
        match &self.tls {
            Tls::Completed(completed) => completed.peer_identity.clone(),
            _ => self.tls()?.peer_certificates().map(<[_]>::to_vec),
        }
    }

    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportError> {
        // What rustls would cut off or refuse.
        if out.is_empty() || label.len() > MAX_EXPORTER_LABEL_LEN {
            return Err(ExportError);
        }
        if let Tls::Completed(completed) = &self.tls {
            return completed.exporter.export(out, label, context);
        }
        let tls = self.tls().filter(|_| !self.is_handshaking()).ok_or(ExportError)?;
        tls.export_keying_material(out, label, Some(context)).map(|_| ()).map_err(|_| ExportError)
    }
}

impl fmt::Debug for RustlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsSession")
            .field("side", &self.side)
            .field("read_level", &self.read_level)
            .finish_non_exhaustive()
    }
}

fn violation(reason: impl Into<std::borrow::Cow<'static, str>>) -> TransportError {
    TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason)
}

fn unexpected(why: &str) -> TransportError {
    alert::error(rustls::AlertDescription::UnexpectedMessage.into(), why)
}

fn no_secrets() -> TransportError {
    internal(&"TLS gave no secrets for a new level")
}

fn internal(why: &dyn fmt::Display) -> TransportError {
    TransportError::new(TransportErrorCode::INTERNAL_ERROR, why.to_string())
}
