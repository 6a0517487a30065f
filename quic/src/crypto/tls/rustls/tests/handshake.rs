//! Handshakes that succeed.

use std::sync::Mutex;

use ::rustls::KeyLog;
use ::rustls::server::WebPkiClientVerifier;

use super::*;

#[test]
fn every_cipher_suite_completes_and_both_ends_have_the_same_keys() {
    for suite in SUITES {
        let identity = identity();
        let mut pair = Pair::new(client_config(&identity, &[suite]), server_config(&identity, &SUITES));
        assert!(pair.client.session.is_handshaking() && pair.server.session.is_handshaking());
        assert!(pair.server.session.handshake_data().is_none());
        pair.run(usize::MAX).unwrap();

        for (end, peer_params) in [(&pair.client, b"server params"), (&pair.server, b"client params")] {
            let session = &end.session;
            assert!(!session.is_handshaking());
            assert_eq!(session.peer_transport_parameters(), Some(&peer_params[..]));
            let data = session.handshake_data().unwrap();
            assert_eq!(data.alpn.as_deref(), Some(&b"h3"[..]));
            assert_eq!(data.server_name.as_deref(), Some("localhost"));
            assert_eq!(data.cipher_suite, suite);
        }
        assert_eq!(pair.client.session.peer_identity(), Some(identity.chain));
        assert_eq!(pair.server.session.peer_identity(), None);
        assert_keys_fit(&mut pair);

        let (mut ours, mut theirs) = ([0; 42], [0; 42]);
        pair.client.session.export_keying_material(&mut ours, b"label", b"context").unwrap();
        pair.server.session.export_keying_material(&mut theirs, b"label", b"context").unwrap();
        assert_eq!(ours, theirs);
        pair.server.session.export_keying_material(&mut theirs, b"label", b"other").unwrap();
        assert_ne!(ours, theirs);
        for session in [&pair.client.session, &pair.server.session] {
            let export = |len, label_len| {
                session.export_keying_material(&mut vec![0; len], &vec![b'l'; label_len], b"").is_ok()
            };
            assert!(export(1, 0) && export(1, 249) && export(255 * 32, 1));
            assert!(!export(0, 1) && !export(1, 250) && !export(255 * 48 + 1, 1) && !export(1 << 17, 1));
        }
    }
}

#[test]
fn messages_may_arrive_in_pieces_of_any_size() {
    for cut in [1, 2, 3, 4, 5, 7, 64, 1000] {
        let mut pair = Pair::with_defaults();
        pair.run(cut).unwrap();
        assert_keys_fit(&mut pair);
    }
}

#[test]
fn keys_and_flights_come_in_the_order_that_quic_needs() {
    let mut pair = Pair::with_defaults();
    pair.tamper_client_hello(|_| {}).unwrap();
    let flight = pair.server.flight();
    assert_eq!(
        flight.iter().map(|(level, _)| *level).collect::<Vec<_>>(),
        [Level::Initial, Level::Handshake]
    );
    // 1-RTT keys are there, the handshake is not complete, and the client's Finished is still awaited.
    assert!(pair.server.one_rtt.is_some() && pair.server.session.is_handshaking());
    assert_eq!(pair.server.session.read_level(), Level::Handshake);
    assert!(pair.server.session.peer_transport_parameters().is_some());
    assert!(pair.server.session.export_keying_material(&mut [0; 4], b"", b"").is_err());

    pair.client.read(Level::Initial, &flight[0].1).unwrap();
    assert_eq!(pair.client.session.read_level(), Level::Handshake);
    assert!(pair.client.session.peer_transport_parameters().is_none());
    pair.client.read(Level::Handshake, &flight[1].1).unwrap();
    assert_eq!(pair.client.session.read_level(), Level::OneRtt);
    // Asked late, the keys of both levels still come one after the other.
    let answer = pair.client.flight();
    assert_eq!(answer.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [Level::Handshake]);
    pair.server.read(Level::Handshake, &answer[0].1).unwrap();
    let tickets = pair.server.flight();
    assert_eq!(tickets.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [Level::OneRtt]);
    pair.client.read(Level::OneRtt, &tickets[0].1).unwrap();
    assert_keys_fit(&mut pair);
}

#[test]
fn version_2_has_other_keys() {
    let identity = identity();
    let client = RustlsClient::new(client_config(&identity, &SUITES)).unwrap();
    let server = RustlsServer::new(server_config(&identity, &SUITES)).unwrap();
    for _ in 0..2 {
        let mut pair = Pair::of(VERSION_2, &client, &server);
        pair.run(usize::MAX).unwrap();
        assert_keys_fit(&mut pair);
    }
}

// covers: R9001-4.7-01
#[test]
fn hello_retry_request_is_handled() {
    let identity = identity();
    let mut other_group = (*provider(&SUITES)).clone();
    other_group.kx_groups = vec![ring::kx_group::SECP384R1];
    let mut server = ServerConfig::builder_with_provider(Arc::new(other_group))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    server.alpn_protocols = vec![b"h3".to_vec()];
    let mut pair = Pair::new(client_config(&identity, &SUITES), server);
    pair.tamper_client_hello(|_| {}).unwrap();
    let retry = pair.server.flight();
    assert!(pair.server.handshake.is_none() && pair.server.session.read_level() == Level::Initial);
    assert!(pair.server.session.handshake_data().is_none());
    // No cookie: Retry is what verifies addresses. A ServerHello has a random value, no session, suite and compression.
    rewrite_extensions(&mut retry[0].1.clone(), 4 + 2 + 32 + 1 + 3, |kind, _| {
        assert_ne!(kind, 44, "cookie");
        None
    });
    pair.client.read(Level::Initial, &retry[0].1).unwrap();
    pair.run(usize::MAX).unwrap();
    assert_keys_fit(&mut pair);
}

#[test]
fn the_server_prefers_aes_128_unless_the_client_likes_chacha20_best() {
    use CipherSuite::*;
    for (offered, chosen) in [
        (&[Aes256Gcm, ChaCha20Poly1305, Aes128Gcm][..], Aes128Gcm),
        (&[ChaCha20Poly1305, Aes128Gcm], ChaCha20Poly1305),
        (&[Aes256Gcm, ChaCha20Poly1305], Aes256Gcm),
    ] {
        let identity = identity();
        let mut pair = Pair::new(client_config(&identity, offered), server_config(&identity, &SUITES));
        pair.run(usize::MAX).unwrap();
        assert_eq!(pair.server.data().cipher_suite, chosen);
    }
    let offered = |client: &RustlsClient| {
        let mut hello = Vec::new();
        start(client, "localhost").unwrap().write(&mut hello);
        ClientHello::parse(&hello).unwrap().unwrap()
    };
    let default = RustlsClient::with_roots(RootCertStore::empty(), &[b"h3"]).unwrap();
    assert_eq!(offered(&default).favourite_suite(), Some(Aes128Gcm));
}

// covers: R9001-4.2-01 R9001-8.4-01 R9001-8.1-01 R9001-8.2-01
#[test]
fn our_own_client_hello_is_what_our_parser_reads() {
    let identity = identity();
    let client = RustlsClient::with_roots(identity.roots, &[b"h3", b"x"]).unwrap();
    let mut session = start(&client, "localhost").unwrap();
    let mut hello = Vec::new();
    assert!(session.write(&mut hello).is_none());
    let parsed = ClientHello::parse(&hello).unwrap().unwrap();
    assert_eq!(parsed.server_name(), Some("localhost"));
    assert_eq!(parsed.alpn().collect::<Vec<_>>(), [&b"h3"[..], b"x"]);
    assert_eq!(parsed.transport_parameters(), Some(&b"params"[..]));
    assert!(parsed.legacy_session_id().is_empty());
    rewrite_extensions(&mut hello.clone(), client_extensions(&hello), |kind, body| {
        if kind == SUPPORTED_VERSIONS {
            assert_eq!(body, [2, 3, 4], "TLS 1.3 alone");
        }
        None
    });
}

#[test]
fn client_certificates_are_asked_for_and_shown() {
    let (server_id, client_id) = (identity(), identity());
    let server_config = || {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(client_id.roots.clone(), provider(&SUITES));
        let mut config = ServerConfig::builder_with_provider(provider(&SUITES))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(server_id.chain.clone(), server_id.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config
    };
    let mut client = ClientConfig::builder_with_provider(provider(&SUITES))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(server_id.roots.clone())
        .with_client_auth_cert(client_id.chain.clone(), client_id.key.clone_key())
        .unwrap();
    client.alpn_protocols = vec![b"h3".to_vec()];
    let mut pair = Pair::new(client, server_config());
    pair.run(usize::MAX).unwrap();
    assert_eq!(pair.server.session.peer_identity(), Some(client_id.chain.clone()));

    let mut pair = Pair::new(client_config(&server_id, &SUITES), server_config());
    assert_alert(pair.run(usize::MAX), 116);
}

#[test]
fn the_key_log_of_the_user_gets_what_it_asks_for() {
    #[derive(Debug, Default)]
    struct Labels(Mutex<Vec<String>>);
    impl KeyLog for Labels {
        fn log(&self, label: &str, _: &[u8], _: &[u8]) {
            self.0.lock().unwrap().push(label.to_owned());
        }
        fn will_log(&self, label: &str) -> bool {
            label != "SERVER_TRAFFIC_SECRET_0"
        }
    }
    let identity = identity();
    let (mut client, mut server) = (client_config(&identity, &SUITES), server_config(&identity, &SUITES));
    let logs = [Arc::new(Labels::default()), Arc::new(Labels::default())];
    (client.key_log, server.key_log) = (logs[0].clone(), logs[1].clone());
    Pair::new(client, server).run(usize::MAX).unwrap();
    for log in logs {
        let labels = log.0.lock().unwrap();
        assert_eq!(
            *labels,
            [
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "EXPORTER_SECRET"
            ]
        );
    }
}
