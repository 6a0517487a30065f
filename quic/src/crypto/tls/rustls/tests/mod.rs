//! Whole handshakes in memory over the `Session` trait: what the tests of this folder share.

use ::rustls::pki_types::PrivatePkcs8KeyDer;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};

use super::*;
use crate::crypto::client_hello::ClientHello;
use crate::crypto::tls::{HandshakeData, KeyChange};
use crate::crypto::{CipherSuite, DirectionKeys, Keys, OneRttSecrets, PacketKey};
use crate::packet::{Level, TransportError, TransportErrorCode, VERSION_1};

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs;
mod builders;
mod early;
mod handshake;
mod refused;
mod resumption;

const SUITES: [CipherSuite; 3] =
    [CipherSuite::Aes128Gcm, CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];

/// Handshake types.
const SERVER_HELLO: u8 = 2;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const FINISHED: u8 = 20;

/// Extensions.
const SUPPORTED_VERSIONS: u16 = 43;
const ALPN: u16 = 16;
const TRANSPORT_PARAMETERS: u16 = 57;
const PRE_SHARED_KEY: u16 = 41;

/// A self-signed certificate for `localhost` and what clients need to trust it.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

fn identity() -> Identity {
    identity_of("the same issuer")
}

fn identity_of(issuer: &str) -> Identity {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, issuer);
    let cert = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    Identity {
        chain: vec![cert.der().clone()],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        roots: Arc::new(roots),
    }
}

fn provider(suites: &[CipherSuite]) -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    let all = provider.cipher_suites.clone();
    let find = |suite: &CipherSuite| *all.iter().find(|s| u16::from(s.suite()) == suite.as_u16()).unwrap();
    provider.cipher_suites = suites.iter().map(find).collect();
    Arc::new(provider)
}

fn client_config(identity: &Identity, suites: &[CipherSuite]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider(suites))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(identity.roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"other".to_vec(), b"h3".to_vec()];
    config
}

fn server_config(identity: &Identity, suites: &[CipherSuite]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider(suites))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config
}

/// One end of a handshake and the keys it has so far.
struct End {
    session: Box<dyn Session>,
    write_level: Level,
    handshake: Option<Keys>,
    one_rtt: Option<(Keys, OneRttSecrets)>,
}

impl End {
    fn new(session: Box<dyn Session>) -> Self {
        Self { session, write_level: Level::Initial, handshake: None, one_rtt: None }
    }

    fn read(&mut self, level: Level, data: &[u8]) -> Result<(), TransportError> {
        self.session.read(level, data)
    }

    /// All that is to be sent, by level.
    fn flight(&mut self) -> Vec<(Level, Vec<u8>)> {
        let mut flight = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            if !bytes.is_empty() {
                flight.push((self.write_level, bytes));
            }
            match change {
                Some(KeyChange::Handshake(keys)) => {
                    assert_eq!(self.write_level, Level::Initial);
                    self.write_level = Level::Handshake;
                    self.handshake = Some(keys);
                }
                Some(KeyChange::OneRtt(keys, secrets)) => {
                    assert_eq!(self.write_level, Level::Handshake);
                    self.write_level = Level::OneRtt;
                    self.one_rtt = Some((keys, secrets));
                }
                None => return flight,
            }
        }
    }

    fn data(&self) -> HandshakeData {
        self.session.handshake_data().unwrap()
    }
}

/// A session that nothing came before.
fn start(client: &RustlsClient, name: &str) -> Result<Box<dyn Session>, TlsConfigError> {
    client.start(VERSION_1, name, b"params".to_vec(), &ClientResumption::default())
}

struct Pair {
    client: End,
    server: End,
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConfig) -> Self {
        Self::of(VERSION_1, &RustlsClient::new(client).unwrap(), &RustlsServer::new(server).unwrap())
    }

    fn of(version: u32, client: &RustlsClient, server: &RustlsServer) -> Self {
        Self::resuming(version, client, server, &ClientResumption::default())
    }

    fn resuming(
        version: u32,
        client: &RustlsClient,
        server: &RustlsServer,
        known: &ClientResumption,
    ) -> Self {
        let (params, nothing) = (b"client params".to_vec(), ServerResumption::default());
        Self {
            client: End::new(client.start(version, "localhost", params, known).unwrap()),
            server: End::new(server.start(version, b"server params".to_vec(), &nothing).unwrap()),
        }
    }

    fn with_defaults() -> Self {
        let identity = identity();
        Self::new(client_config(&identity, &SUITES), server_config(&identity, &SUITES))
    }

    /// Runs the handshake to its end; `cut` is how many bytes are delivered at a time. Returns the bytes sent.
    fn run(&mut self, cut: usize) -> Result<usize, TransportError> {
        let mut sent = 0;
        loop {
            let (to_server, to_client) = (self.client.flight(), self.server.flight());
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(sent);
            }
            for (flight, end) in [(to_server, &mut self.server), (to_client, &mut self.client)] {
                for (level, bytes) in flight {
                    sent += bytes.len();
                    for piece in bytes.chunks(cut) {
                        end.read(level, piece)?;
                    }
                }
            }
        }
    }

    /// Delivers the ClientHello, changed by `change`.
    fn tamper_client_hello(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), TransportError> {
        let mut hello = self.client.flight().remove(0).1;
        change(&mut hello);
        self.server.read(Level::Initial, &hello)
    }

    /// Delivers the server's flight with the body of one handshake message changed.
    fn tamper_server(&mut self, kind: u8, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), TransportError> {
        self.tamper_client_hello(|_| {})?;
        let mut change = Some(change);
        for (level, bytes) in self.server.flight() {
            for message in messages(&bytes) {
                let mut message = message.to_vec();
                if message[0] == kind {
                    (change.take().unwrap())(&mut message);
                }
                self.client.read(level, &message)?;
            }
        }
        Ok(())
    }
}

fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let len = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]) as usize;
        let (message, rest) = bytes.split_at(4 + len);
        all.push(message);
        bytes = rest;
    }
    all
}

/// Rewrites the extensions of a message whose extension block starts at `at`; `None` drops one.
fn rewrite_extensions(message: &mut Vec<u8>, at: usize, f: impl Fn(u16, &[u8]) -> Option<Vec<u8>>) {
    let mut rest = &message[at + 2..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        let kind = u16::from_be_bytes([rest[0], rest[1]]);
        let len = u16::from_be_bytes([rest[2], rest[3]]) as usize;
        if let Some(body) = f(kind, &rest[4..4 + len]) {
            out.extend(kind.to_be_bytes());
            out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            out.extend(body);
        }
        rest = &rest[4 + len..];
    }
    message.truncate(at);
    message.extend(u16::try_from(out.len()).unwrap().to_be_bytes());
    message.extend(out);
    let len = u32::try_from(message.len() - 4).unwrap().to_be_bytes();
    message[1..4].copy_from_slice(&len[1..]);
}

/// Where the extension block of a ClientHello starts.
fn client_extensions(hello: &[u8]) -> usize {
    let session_id = 4 + 2 + 32;
    let suites = session_id + 1 + usize::from(hello[session_id]);
    let compression = suites + 2 + usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    compression + 1 + usize::from(hello[compression])
}

fn drop_from_client_hello(hello: &mut Vec<u8>, extension: u16) {
    let at = client_extensions(hello);
    rewrite_extensions(hello, at, |kind, body| (kind != extension).then(|| body.to_vec()));
}

#[track_caller]
fn assert_fits(ours: &DirectionKeys, theirs: &DirectionKeys) {
    assert_eq!(ours.header.mask(&[3; 16]), theirs.header.mask(&[3; 16]));
    assert_opens(&ours.packet, &theirs.packet);
}

#[track_caller]
fn assert_opens(ours: &PacketKey, theirs: &PacketKey) {
    let mut packet = b"header and payload".to_vec();
    packet.extend([0; PacketKey::TAG_LEN]);
    ours.seal(77, &mut packet, 6);
    let (header, payload) = packet.split_at_mut(6);
    assert_eq!(theirs.open(77, header, payload), Some(12));
    assert_eq!(&payload[..12], b" and payload");
    assert!(ours.cipher_suite() == theirs.cipher_suite());
}

#[track_caller]
fn assert_keys_fit(pair: &mut Pair) {
    let (client, server) = (pair.client.handshake.as_ref().unwrap(), pair.server.handshake.as_ref().unwrap());
    assert_fits(&client.local, &server.remote);
    assert_fits(&server.local, &client.remote);
    let (client, client_secrets) = pair.client.one_rtt.as_mut().unwrap();
    let (server, server_secrets) = pair.server.one_rtt.as_mut().unwrap();
    assert_fits(&client.local, &server.remote);
    assert_fits(&server.local, &client.remote);
    for _ in 0..3 {
        let (client_remote, client_local) = (client_secrets.advance(), client_secrets.local_key());
        let (server_remote, server_local) = (server_secrets.advance(), server_secrets.local_key());
        assert_opens(&client_local, &server_remote);
        assert_opens(&server_local, &client_remote);
        let mut sealed = [0; 40];
        client_local.seal(1, &mut sealed, 4);
        assert_eq!(server.remote.packet.open(1, &[0; 4], &mut sealed[4..]), None, "keys did change");
    }
}

#[track_caller]
fn assert_alert(result: Result<impl Sized, TransportError>, alert: u8) -> TransportError {
    let error = result.err().expect("must fail");
    assert_eq!(error.code, TransportErrorCode::crypto(alert), "{error}");
    assert_ne!(error.reason, "");
    error
}

#[track_caller]
fn assert_violation(result: Result<impl Sized, TransportError>) {
    let error = result.err().expect("must fail");
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION, "{error}");
}
