//! Clients and servers as their builders make them: whom they trust, what they show, what they agree on.

use std::collections::BTreeSet;
use std::sync::Mutex;

use ::rustls::client::WebPkiServerVerifier;
use ::rustls::server::ResolvesServerCertUsingSni;
use ::rustls::sign::CertifiedKey;
use ::rustls::{CertificateError, KeyLog};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

fn client(identity: &Identity) -> RustlsClientBuilder {
    RustlsClient::builder().alpn(&[b"h3"]).roots(identity.roots.clone())
}

fn server(identity: &Identity) -> RustlsServerBuilder {
    RustlsServer::builder().alpn(&[b"h3"]).cert(identity.chain.clone(), identity.key.clone_key())
}

fn shake(client: RustlsClientBuilder, server: RustlsServerBuilder) -> (Pair, Result<usize, TransportError>) {
    let mut pair = Pair::of(VERSION_1, &client.build().unwrap(), &server.build().unwrap());
    let result = pair.run(usize::MAX);
    (pair, result)
}

/// Connects to a server of some name; what it shows, or why not.
fn asks_for(name: &str, server: &RustlsServer) -> Result<CertificateDer<'static>, TransportError> {
    let client = RustlsClient::builder().alpn(&[b"h3"]).dangerous().no_verification().build().unwrap();
    let mut pair = Pair::of(VERSION_1, &client, server);
    pair.client = End::new(
        client.start(VERSION_1, name, b"client params".to_vec(), &ClientResumption::default()).unwrap(),
    );
    pair.run(usize::MAX)?;
    Ok(pair.client.session.peer_identity().unwrap().remove(0))
}

fn identity_for(names: &[&str]) -> Identity {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Identity { chain: vec![cert], key, roots: Arc::new(roots) }
}

#[test]
fn what_is_missing_is_told_when_it_is_built() {
    let id = identity();
    let built = |builder: RustlsClientBuilder| builder.build().unwrap_err();
    let nobody = || RustlsClient::builder().alpn(&[b"h3"]);
    assert!(matches!(built(nobody()), TlsConfigError::NothingTrusted));
    assert!(matches!(built(nobody().roots(RootCertStore::empty())), TlsConfigError::NothingTrusted));
    assert!(matches!(built(nobody().server_certificate_hashes([])), TlsConfigError::NothingTrusted));
    assert!(matches!(built(client(&id).alpn(&[])), TlsConfigError::NoApplicationProtocol));
    let long = [b'x'; 256];
    for name in [&b""[..], &long] {
        let error = built(client(&id).alpn(&[b"h3", name]));
        assert!(matches!(error, TlsConfigError::InvalidApplicationProtocol(len) if len == name.len()));
    }
    let other = identity();
    let unfit = client(&id).client_cert(id.chain.clone(), other.key.clone_key());
    assert!(matches!(built(unfit), TlsConfigError::Tls(_)));

    let built = |builder: RustlsServerBuilder| builder.build().unwrap_err();
    assert!(matches!(built(RustlsServer::builder().alpn(&[b"h3"])), TlsConfigError::NoCertificate));
    let empty = server(&id).require_client_certs(RootCertStore::empty());
    assert!(matches!(built(empty), TlsConfigError::NothingTrusted));
    let wrong_name = server(&id).cert_for(&["other.example"], id.chain.clone(), id.key.clone_key());
    assert!(matches!(built(wrong_name), TlsConfigError::Tls(_)));
    for name in ["no name", "127.0.0.1"] {
        let bad = server(&id).cert_for(&[name], id.chain.clone(), id.key.clone_key());
        assert!(matches!(built(bad), TlsConfigError::NotADnsName(_)), "{name}");
    }
}

// covers: R9001-4.4-01
#[test]
fn pins_narrow_down_what_the_roots_allow() {
    let (ours, other) = (identity(), identity());
    let key = |id: &Identity| CertificatePin::public_key_of(&id.chain[0]).unwrap();
    let certificate = |id: &Identity| CertificatePin::certificate_of(&id.chain[0]);
    for pin in [key, certificate] {
        assert!(shake(client(&ours).pin(pin(&ours)), server(&ours)).1.is_ok());
        assert!(shake(client(&ours).pin(pin(&other)).pin(pin(&ours)), server(&ours)).1.is_ok(), "one of two");
        let error = assert_alert(shake(client(&ours).pin(pin(&other)), server(&ours)).1, 46);
        let why =
            "certificate_unknown: invalid peer certificate: the server's certificate has none of the pins";
        assert_eq!(error.reason, why);
        // The pin does not replace the authority.
        assert_alert(shake(client(&ours).pin(pin(&other)), server(&other)).1, 51);
    }
    // What a server sends along does not count: only its own certificate is sure to be its own.
    let chain = vec![ours.chain[0].clone(), other.chain[0].clone()];
    let padded = RustlsServer::builder().alpn(&[b"h3"]).cert(chain, ours.key.clone_key());
    assert_alert(shake(client(&ours).pin(key(&other)), padded).1, 46);
}

// covers: R9001-4.4-01
#[test]
fn pins_alone_need_no_authority_and_no_name() {
    let (ours, other) = (identity_for(&["elsewhere.example"]), identity());
    let pinned = |id: &Identity| {
        let pin = CertificatePin::public_key_of(&id.chain[0]).unwrap();
        RustlsClient::builder().alpn(&[b"h3"]).pin(pin)
    };
    assert!(shake(pinned(&ours), server(&ours)).1.is_ok());
    assert_alert(shake(pinned(&other), server(&ours)).1, 46);
    // Pins count also where verification was switched off.
    let anybody = |id: &Identity| pinned(id).dangerous().no_verification();
    assert!(shake(anybody(&ours), server(&ours)).1.is_ok());
    assert_alert(shake(anybody(&other), server(&ours)).1, 46);
}

/// Whoever shows the pinned certificate and has not its key is nobody.
#[test]
fn the_key_has_to_be_there_however_the_certificate_is_trusted() {
    #[derive(Debug)]
    struct Impostor(Arc<CertifiedKey>);
    impl ::rustls::server::ResolvesServerCert for Impostor {
        fn resolve(&self, _: ::rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let (ours, other) = (short_lived(), identity());
    let key = default_provider().key_provider.load_private_key(other.key.clone_key()).unwrap();
    let resolver = Arc::new(Impostor(Arc::new(CertifiedKey::new(ours.chain.clone(), key))));
    let impostor = || RustlsServer::builder().alpn(&[b"h3"]).cert_resolver(resolver.clone());
    let base = || RustlsClient::builder().alpn(&[b"h3"]);
    let pin = CertificatePin::certificate_of(&ours.chain[0]);
    let CertificatePin::Certificate(hash) = pin else { panic!() };
    for client in
        [base().pin(pin), base().server_certificate_hashes([hash]), base().dangerous().no_verification()]
    {
        let (_, result) = shake(client, impostor());
        let alert = result.unwrap_err().code.tls_alert().unwrap();
        assert!([47, 51].contains(&alert), "{alert}");
    }
}

/// A certificate that WebTransport would take.
fn short_lived() -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    #[expect(clippy::disallowed_methods, reason = "rustls reads the clock too")]
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(3600)).into();
    params.not_after = (now + std::time::Duration::from_secs(3600)).into();
    let cert = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Identity { chain: vec![cert], key, roots: Arc::new(roots) }
}

#[test]
fn certificates_are_known_by_their_hashes_as_in_webtransport() {
    let (ours, lasting) = (short_lived(), identity());
    let by_hash = |id: &Identity| {
        let CertificatePin::Certificate(hash) = CertificatePin::certificate_of(&id.chain[0]) else {
            panic!()
        };
        RustlsClient::builder().alpn(&[b"h3"]).server_certificate_hashes([[0; 32], hash])
    };
    assert!(shake(by_hash(&ours), server(&ours)).1.is_ok());
    assert_alert(shake(by_hash(&ours), server(&lasting)).1, 46);
    let error = assert_alert(shake(by_hash(&lasting), server(&lasting)).1, 46);
    assert!(error.reason.contains("14 days"), "{error}");
}

#[test]
fn no_verification_means_what_it_says() {
    let dangerous = || RustlsClient::builder().alpn(&[b"h3"]).dangerous().no_verification();
    let id = identity_for(&["elsewhere.example"]);
    assert!(shake(dangerous(), server(&id)).1.is_ok());
}

#[test]
fn a_verifier_of_ones_own_is_asked() {
    let (ours, other) = (identity(), identity_of("somebody"));
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(ours.roots.clone(), provider).build().unwrap();
    let own = || RustlsClient::builder().alpn(&[b"h3"]).verifier(verifier.clone());
    assert!(shake(own(), server(&ours)).1.is_ok());
    assert_alert(shake(own(), server(&other)).1, 48);
}

#[test]
fn a_required_client_certificate_has_to_be_shown() {
    let (id, known) = (identity(), identity());
    let shows = |who: &Identity| client(&id).client_cert(who.chain.clone(), who.key.clone_key());
    let required = || server(&id).require_client_certs(known.roots.clone());
    let (pair, result) = shake(shows(&known), required());
    result.unwrap();
    assert_eq!(pair.server.session.peer_identity(), Some(known.chain.clone()));
    // An empty list of certificates; RFC 8446 §4.4.2.4.
    let (pair, result) = shake(client(&id), required());
    assert_alert(result, 116);
    assert!(!pair.client.session.is_handshaking(), "for the client the handshake was over");
    assert!(pair.server.session.is_handshaking());
    let unknown = shake(shows(&identity_of("unknown")), required()).1;
    assert_alert(unknown, 48);
}

#[test]
fn an_accepted_client_certificate_may_be_missing_but_not_wrong() {
    let (id, known) = (identity(), identity());
    let shows = |who: &Identity| client(&id).client_cert(who.chain.clone(), who.key.clone_key());
    let accepted = || server(&id).accept_client_certs(known.roots.clone());
    let (pair, result) = shake(client(&id), accepted());
    result.unwrap();
    assert_eq!(pair.server.session.peer_identity(), None);
    let (pair, result) = shake(shows(&known), accepted());
    result.unwrap();
    assert_eq!(pair.server.session.peer_identity(), Some(known.chain.clone()));
    assert_alert(shake(shows(&identity_of("unknown")), accepted()).1, 48);
    // Who is not asked shows nothing.
    let (pair, result) = shake(shows(&known), server(&id));
    result.unwrap();
    assert_eq!(pair.server.session.peer_identity(), None);
}

#[test]
fn certificates_of_a_real_authority_lead_to_it() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let private = || PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let shown = RustlsServer::builder()
        .alpn(&[b"h3"])
        .cert(vec![leaf.der().clone()], private())
        .require_client_certs(roots.clone());
    let client =
        RustlsClient::builder().alpn(&[b"h3"]).roots(roots).client_cert(vec![leaf.der().clone()], private());
    shake(client, shown).1.unwrap();
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let (one, wild, rest) = (
        identity_for(&["one.site.example"]),
        identity_for(&["*.site.example"]),
        identity_for(&["rest.test"]),
    );
    let names = || {
        RustlsServer::builder()
            .alpn(&[b"h3"])
            .cert_for(&["*.site.example"], wild.chain.clone(), wild.key.clone_key())
            .cert_for(&["One.Site.Example"], one.chain.clone(), one.key.clone_key())
    };
    let strict = names().build().unwrap();
    let lenient = names().cert(rest.chain.clone(), rest.key.clone_key()).build().unwrap();
    for server in [&strict, &lenient] {
        assert_eq!(asks_for("one.site.example", server).unwrap(), one.chain[0]);
        assert_eq!(asks_for("ONE.site.example", server).unwrap(), one.chain[0]);
        assert_eq!(asks_for("two.site.example", server).unwrap(), wild.chain[0]);
    }
    // An address is no name: the client asks for none.
    for name in ["a.two.site.example", "site.example", "elsewhere.test", "127.0.0.1"] {
        assert_alert(asks_for(name, &strict), 112);
        assert_eq!(asks_for(name, &lenient).unwrap(), rest.chain[0]);
    }
}

#[test]
fn a_resolver_of_ones_own_chooses_the_certificate() {
    let one = identity_for(&["one.example"]);
    let mut resolver = ResolvesServerCertUsingSni::new();
    let key = CertifiedKey::from_der(one.chain.clone(), one.key.clone_key(), &default_provider()).unwrap();
    resolver.add("one.example", key).unwrap();
    let server = RustlsServer::builder().alpn(&[b"h3"]).cert_resolver(Arc::new(resolver)).build().unwrap();
    assert_eq!(asks_for("one.example", &server).unwrap(), one.chain[0]);
    assert_alert(asks_for("two.example", &server), 112);
}

// covers: R9001-8.1-01 R9001-8.1-02 R9001-8.1-04 R9001-8.1-05
#[test]
fn the_server_chooses_the_application_protocol() {
    let id = identity();
    let agreed = |ours: &[&[u8]], theirs: &[&[u8]]| {
        let (pair, result) = shake(client(&id).alpn(ours), server(&id).alpn(theirs));
        result.map(|_| pair.client.data().alpn.unwrap())
    };
    assert_eq!(agreed(&[b"a", b"b"], &[b"b", b"a"]).unwrap(), b"b");
    assert_eq!(agreed(&[b"a", b"b"], &[b"c", b"a"]).unwrap(), b"a");
    assert_alert(agreed(&[b"a"], &[b"b"]), 120);
    assert_alert(agreed(&[b"A"], &[b"a"]), 120);
}

#[test]
fn key_logs_of_both_ends_have_the_same_secrets() {
    #[derive(Debug, Default)]
    struct Lines(Mutex<BTreeSet<[Vec<u8>; 3]>>);
    impl KeyLog for Lines {
        fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
            self.0.lock().unwrap().insert([label.as_bytes(), client_random, secret].map(<[u8]>::to_vec));
        }
    }
    let (id, logs) = (identity(), [Arc::new(Lines::default()), Arc::new(Lines::default())]);
    shake(client(&id).key_log(logs[0].clone()), server(&id).key_log(logs[1].clone())).1.unwrap();
    let [ours, theirs] = logs.each_ref().map(|log| log.0.lock().unwrap().clone());
    assert_eq!(ours, theirs);
    let labels: Vec<_> = ours.iter().map(|[label, ..]| String::from_utf8_lossy(label)).collect();
    for label in ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"] {
        assert!(labels.iter().any(|logged| logged == label), "{labels:?}");
    }
}

#[cfg(feature = "webpki-roots")]
#[test]
fn nobody_whom_mozilla_does_not_know_is_trusted() {
    let (id, client) = (identity(), RustlsClient::with_webpki_roots(&[b"h3"]).unwrap());
    let mut pair = Pair::of(VERSION_1, &client, &server(&id).build().unwrap());
    assert_alert(pair.run(usize::MAX), 48);
}

#[cfg(feature = "platform-verifier")]
#[test]
fn nobody_whom_the_system_does_not_know_is_trusted() {
    // A system without any authority is one where nothing can be built.
    let Ok(client) = RustlsClient::with_platform_verifier(&[b"h3"]) else { return };
    let id = identity();
    let mut pair = Pair::of(VERSION_1, &client, &server(&id).build().unwrap());
    let error = pair.run(usize::MAX).unwrap_err();
    assert!(error.code.tls_alert().is_some(), "{error}");
    let pinned = RustlsClient::builder()
        .alpn(&[b"h3"])
        .platform_verifier()
        .pin(CertificatePin::certificate_of(&id.chain[0]));
    assert!(shake(pinned, server(&id)).1.is_err(), "a pin does not replace the authority");
}

#[cfg(feature = "dev-cert")]
#[test]
fn a_development_certificate_is_one_call() {
    let made = crate::config::DevCertificate::new(["localhost", "127.0.0.1"]).unwrap();
    let shown =
        || RustlsServer::builder().alpn(&[b"h3"]).cert(vec![made.certificate().clone()], made.private_key());
    let trusting = RustlsClient::builder().alpn(&[b"h3"]).roots(made.roots().unwrap());
    shake(trusting, shown()).1.unwrap();
    // What browsers want of a certificate that they know by its hash holds, too.
    let by_hash = RustlsClient::builder().alpn(&[b"h3"]).server_certificate_hashes([made.sha256()]);
    shake(by_hash, shown()).1.unwrap();
    let (client, server) = (made.client_config(&[b"h3"]).unwrap(), made.server_config(&[b"h3"]).unwrap());
    assert!(client.tls().start(VERSION_1, "127.0.0.1", Vec::new(), &ClientResumption::default()).is_ok());
    assert!(server.tls().start(VERSION_1, Vec::new(), &ServerResumption::default()).is_ok());
}

#[test]
fn errors_of_certificates_carry_their_reason() {
    let error = Error::from(CertificateError::Expired);
    assert_eq!(super::errors::transport_error(&error, None).code.tls_alert(), Some(45));
}

/// Who resumes shows no certificate, and is who it was.
#[test]
fn a_resumed_client_is_still_the_one_that_showed_its_certificate() {
    let (id, known) = (identity(), identity());
    let client = client(&id).client_cert(known.chain.clone(), known.key.clone_key()).build().unwrap();
    let server = server(&id).require_client_certs(known.roots.clone()).build().unwrap();
    let sessions = ClientResumption::default();
    for resumed in [false, true] {
        let mut pair = Pair::resuming(VERSION_1, &client, &server, &sessions);
        pair.run(usize::MAX).unwrap();
        assert_eq!(pair.server.data().resumed, resumed);
        assert_eq!(pair.server.session.peer_identity(), Some(known.chain.clone()));
        assert_eq!(pair.client.session.peer_identity(), Some(id.chain.clone()));
    }
}

/// After the handshake there are tickets, and neither requests for certificates nor key updates of TLS.
// covers: R9001-4.4-02 R9001-4.4-03 R9001-6-01
#[test]
fn after_the_handshake_a_server_sends_tickets_alone() {
    const NEW_SESSION_TICKET: u8 = 4;
    let (id, known) = (identity(), identity());
    let client = client(&id).client_cert(known.chain.clone(), known.key.clone_key()).build().unwrap();
    let server = server(&id).accept_client_certs(known.roots).build().unwrap();
    let mut pair = Pair::of(VERSION_1, &client, &server);
    pair.tamper_client_hello(|_| {}).unwrap();
    for (level, bytes) in pair.server.flight() {
        pair.client.read(level, &bytes).unwrap();
    }
    for (level, bytes) in pair.client.flight() {
        assert_eq!(level, Level::Handshake);
        pair.server.read(level, &bytes).unwrap();
    }
    let tickets = pair.server.flight();
    assert!(!tickets.is_empty());
    for (level, bytes) in tickets {
        assert_eq!(level, Level::OneRtt);
        assert!(messages(&bytes).iter().all(|message| message[0] == NEW_SESSION_TICKET));
        pair.client.read(level, &bytes).unwrap();
    }
    assert!(pair.client.flight().is_empty() && pair.server.flight().is_empty());
}

/// A suite that header protection is not defined for is not even offered.
// covers: R9001-5.3-01 R9001-5.4.1-01
#[test]
fn suites_without_header_protection_are_left_out() {
    let aes = ring::cipher_suite::TLS13_AES_256_GCM_SHA384.tls13().unwrap();
    let plain = ::rustls::Tls13CipherSuite {
        common: ::rustls::crypto::CipherSuiteCommon { ..aes.common },
        hkdf_provider: aes.hkdf_provider,
        aead_alg: aes.aead_alg,
        quic: None,
    };
    let mut provider = default_provider();
    provider.cipher_suites.retain(|suite| u16::from(suite.suite()) == 0x1301);
    provider.cipher_suites.insert(0, ::rustls::SupportedCipherSuite::Tls13(Box::leak(Box::new(plain))));
    let provider = Arc::new(provider);
    let id = identity();
    let shorter = || client(&id).provider(provider.clone());
    let mut hello = Vec::new();
    let session = shorter().build().unwrap();
    let resumption = ClientResumption::default();
    session.start(VERSION_1, "localhost", Vec::new(), &resumption).unwrap().write(&mut hello);
    let at = 4 + 2 + 32 + 1;
    assert_eq!(hello[at..at + 4], [0, 2, 0x13, 0x01]);
    for (client, server) in [
        (shorter(), server(&id)),
        (client(&id), server(&id).provider(provider.clone())),
        (shorter(), server(&id).provider(provider.clone())),
    ] {
        let (pair, result) = shake(client, server);
        result.unwrap();
        assert_eq!(pair.client.data().cipher_suite, CipherSuite::Aes128Gcm);
    }
}
