//! Peers, bytes and configurations that are refused, each with its error code.

use proptest::prelude::*;

use super::*;

// covers: R9000-7-02 R9001-8.1-02 R9001-8.1-04 R9001-8.1-05
#[test]
fn a_server_needs_a_common_application_protocol() {
    let identity = identity();
    let mut server = server_config(&identity, &SUITES);
    server.alpn_protocols = vec![b"h4".to_vec()];
    let error = assert_alert(Pair::new(client_config(&identity, &SUITES), server).run(usize::MAX), 120);
    assert_eq!(error.code.as_u64(), 0x178);
    let dropped = Pair::with_defaults().tamper_client_hello(|hello| drop_from_client_hello(hello, ALPN));
    assert_alert(dropped, 120);
}

// covers: R9000-7-02 R9001-8.1-03 R9001-8.1-06
#[test]
fn a_client_needs_a_common_application_protocol() {
    let dropped = Pair::with_defaults().tamper_server(ENCRYPTED_EXTENSIONS, |message| {
        rewrite_extensions(message, 4, |kind, body| (kind != ALPN).then(|| body.to_vec()));
    });
    assert_alert(dropped, 120);
    let unoffered = Pair::with_defaults().tamper_server(ENCRYPTED_EXTENSIONS, |message| {
        rewrite_extensions(message, 4, |kind, body| {
            Some(if kind == ALPN { b"\0\x03\x02h4".to_vec() } else { body.to_vec() })
        });
    });
    assert_alert(unoffered, 120);
}

// covers: R9001-8.2-01
#[test]
fn transport_parameters_must_be_sent() {
    let by_client = Pair::with_defaults()
        .tamper_client_hello(|hello| drop_from_client_hello(hello, TRANSPORT_PARAMETERS));
    assert_eq!(assert_alert(by_client, 109).code.as_u64(), 0x16d);
    let by_server = Pair::with_defaults().tamper_server(ENCRYPTED_EXTENSIONS, |message| {
        rewrite_extensions(message, 4, |kind, body| (kind != TRANSPORT_PARAMETERS).then(|| body.to_vec()));
    });
    assert_alert(by_server, 109);
}

// covers: R9001-4.2-02
#[test]
fn older_versions_of_tls_are_refused() {
    let result =
        Pair::with_defaults().tamper_client_hello(|hello| drop_from_client_hello(hello, SUPPORTED_VERSIONS));
    assert_alert(result, 70);
}

// covers: R9001-8.4-02
#[test]
fn middlebox_compatibility_mode_is_refused() {
    let result = Pair::with_defaults().tamper_client_hello(|hello| {
        hello.splice(38..39, [4, 1, 2, 3, 4]);
        let len = u32::try_from(hello.len() - 4).unwrap().to_be_bytes();
        hello[1..4].copy_from_slice(&len[1..]);
    });
    assert_violation(result);
}

// covers: R9001-5.3-02
#[test]
fn unknown_cipher_suites_in_a_client_hello_do_no_harm() {
    let mut pair = Pair::with_defaults();
    let mut hello = pair.client.flight().remove(0).1;
    let at = 4 + 2 + 32 + 1;
    hello.splice(at..at + 2, [0, hello[at + 1] + 2, 0x0a, 0x0a]);
    let len = u32::try_from(hello.len() - 4).unwrap().to_be_bytes();
    hello[1..4].copy_from_slice(&len[1..]);
    pair.server.read(Level::Initial, &hello).unwrap();
    assert!(!pair.server.flight().is_empty());
}

// covers: R9001-4.4-01
#[test]
fn a_client_refuses_wrong_certificates() {
    let ours = identity();
    for (theirs, alert) in [(identity(), 51), (identity_of("somebody"), 48)] {
        let mut pair = Pair::new(client_config(&ours, &SUITES), server_config(&theirs, &SUITES));
        let error = assert_alert(pair.run(usize::MAX), alert);
        assert!(error.reason.contains(": invalid peer certificate: "), "{}", error.reason);
        assert!(pair.client.session.peer_identity().is_none());
    }

    let client = RustlsClient::new(client_config(&ours, &SUITES)).unwrap();
    let server = RustlsServer::new(server_config(&ours, &SUITES)).unwrap();
    let mut pair = Pair::of(VERSION_1, &client, &server);
    pair.client = End::new(start(&client, "other.example").unwrap());
    assert_alert(pair.run(usize::MAX), 42);
}

// covers: R9001-4.1.3-01 R9001-4.1.3-02 R9001-8.3-02
#[test]
fn data_of_another_level_is_a_violation() {
    for level in [Level::ZeroRtt, Level::Handshake, Level::OneRtt] {
        assert_violation(Pair::with_defaults().server.read(level, &[1]));
        assert_violation(Pair::with_defaults().client.read(level, &[2]));
    }
    for level in [Level::Initial, Level::ZeroRtt, Level::Handshake] {
        let mut pair = Pair::with_defaults();
        pair.run(usize::MAX).unwrap();
        assert_violation(pair.server.read(level, &[1]));
        assert_violation(pair.client.read(level, &[1]));
        let again = pair.client.read(Level::OneRtt, &[]).unwrap_err();
        assert_eq!(
            again.code,
            TransportErrorCode::PROTOCOL_VIOLATION,
            "a session that failed goes on failing"
        );
    }
}

// covers: R9001-4.1.3-03
#[test]
fn data_left_over_when_keys_change_is_a_violation() {
    for extra in [&[8][..], &[8, 0, 0, 0]] {
        let append = |message: &mut Vec<u8>| message.extend(extra);
        assert_violation(Pair::with_defaults().tamper_client_hello(append));
        assert_violation(Pair::with_defaults().tamper_server(SERVER_HELLO, append));
        assert_violation(Pair::with_defaults().tamper_server(FINISHED, append));
        let mut pair = Pair::with_defaults();
        pair.tamper_server(SERVER_HELLO, |_| {}).unwrap();
        let mut finished = pair.client.flight().remove(0).1;
        finished.extend(extra);
        assert_violation(pair.server.read(Level::Handshake, &finished));
    }
}

// covers: R9001-6-02 R9001-4.4-03 R9001-4.6.1-02
#[test]
fn messages_that_quic_forbids_after_the_handshake() {
    let connected = || {
        let mut pair = Pair::with_defaults();
        pair.run(usize::MAX).unwrap();
        pair
    };
    let key_update = [24, 0, 0, 1, 0];
    let error = assert_alert(connected().client.read(Level::OneRtt, &key_update), 10);
    assert_eq!(error.code.as_u64(), 0x10a);
    assert_alert(connected().server.read(Level::OneRtt, &key_update), 10);
    assert_alert(connected().server.read(Level::OneRtt, &[20, 0, 0, 0]), 10);
    // CertificateRequest with an empty context and signature algorithms only.
    let request = [13, 0, 0, 11, 0, 0, 8, 0, 13, 0, 4, 0, 2, 8, 7];
    assert_violation(connected().client.read(Level::OneRtt, &request));
    // NewSessionTicket: lifetime, age_add, nonce, ticket, early_data of the size given.
    let ticket = |size: u32| {
        [&[4, 0, 0, 23, 0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, 1, 7, 0, 8, 0, 42, 0, 4][..], &size.to_be_bytes()]
            .concat()
    };
    connected().client.read(Level::OneRtt, &ticket(u32::MAX)).unwrap();
    assert_violation(connected().client.read(Level::OneRtt, &ticket(1000)));
}

// covers: R9001-4.8-01
#[test]
fn garbage_is_answered_with_an_alert() {
    assert_alert(Pair::with_defaults().server.read(Level::Initial, &[0xff; 100]), 50);
    assert_alert(Pair::with_defaults().client.read(Level::Initial, &[0xff; 100]), 50);
    // A message that is complete, but none that may come first.
    assert_alert(Pair::with_defaults().server.read(Level::Initial, &[20, 0, 0, 1, 0]), 10);
    assert_alert(Pair::with_defaults().client.read(Level::Initial, &[20, 0, 0, 1, 0]), 10);
    // The right kind with nothing in it.
    assert_alert(Pair::with_defaults().server.read(Level::Initial, &[1, 0, 0, 0]), 50);
    assert_alert(Pair::with_defaults().client.read(Level::Initial, &[2, 0, 0, 0]), 50);
    // A Finished that proves nothing.
    let flip = |message: &mut Vec<u8>| message[10] ^= 1;
    assert_alert(Pair::with_defaults().tamper_server(FINISHED, flip), 51);
}

#[test]
fn configurations_that_quic_cannot_use_are_refused() {
    let identity = identity();
    let mut client = client_config(&identity, &SUITES);
    client.alpn_protocols.clear();
    assert!(matches!(RustlsClient::new(client), Err(TlsConfigError::NoApplicationProtocol)));
    let mut server = server_config(&identity, &SUITES);
    server.alpn_protocols.clear();
    assert!(matches!(RustlsServer::new(server), Err(TlsConfigError::NoApplicationProtocol)));

    let plain = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let plain = ::rustls::Tls13CipherSuite {
        common: ::rustls::crypto::CipherSuiteCommon { ..plain.common },
        hkdf_provider: plain.hkdf_provider,
        aead_alg: plain.aead_alg,
        quic: None,
    };
    let suite = ::rustls::SupportedCipherSuite::Tls13(Box::leak(Box::new(plain)));
    let mut without_quic = default_provider();
    without_quic.cipher_suites = vec![suite];
    let config = ClientConfig::builder_with_provider(Arc::new(without_quic))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    assert!(matches!(RustlsClient::new(config), Err(TlsConfigError::NoCipherSuite)));

    let client = RustlsClient::new(client_config(&identity, &SUITES)).unwrap();
    for name in ["", "a b", "*.example.com", "[::1", "ex\u{e4}mple.com"] {
        let result = start(&client, name);
        assert!(matches!(result, Err(TlsConfigError::InvalidServerName(_))), "{name:?}");
    }
    for name in ["localhost", "a.example.", "127.0.0.1", "::1", "[::1]"] {
        assert!(start(&client, name).is_ok(), "{name}");
    }
    let mismatch = RustlsServer::with_single_cert(identity.chain, self::identity().key, &[b"h3"]);
    assert!(matches!(mismatch, Err(TlsConfigError::Tls(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_first_flights_never_panic(
        kind in prop_oneof![Just(1_u8), Just(2), any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let len = (body.len() as u32).to_be_bytes();
        let message = [&[kind, len[1], len[2], len[3]], &body[..]].concat();
        let mut pair = Pair::with_defaults();
        prop_assert!(pair.server.read(Level::Initial, &message).is_err());
        prop_assert!(pair.client.read(Level::Initial, &message).is_err());
    }

    #[test]
    fn damage_to_a_flight_never_panics_and_never_completes_unnoticed(
        at in any::<proptest::sample::Index>(),
        flip in 1_u8..,
        to_client in any::<bool>(),
    ) {
        let mut pair = Pair::with_defaults();
        let damage = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        };
        let mut hello = pair.client.flight().remove(0).1;
        if !to_client {
            damage(&mut hello);
        }
        let mut failed = pair.server.read(Level::Initial, &hello).is_err();
        for (level, mut bytes) in pair.server.flight() {
            if to_client && level == Level::Handshake {
                damage(&mut bytes);
            }
            failed |= pair.client.read(level, &bytes).is_err();
        }
        prop_assert!(failed || pair.client.session.is_handshaking());
    }
}
