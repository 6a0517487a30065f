//! What TLS decides, as both ends of a connection see it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::pair::{Pair, Setup, bytes};
use crate::crypto::tls::rustls::RustlsServerBuilder;
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Dir, Side, StreamId, TransportErrorCode};
use crate::wire::header;

const MS: Duration = Duration::from_millis(1);

/// The certificate of a client, and its key.
fn known_client() -> (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>) {
    static KNOWN: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = KNOWN.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let params = CertificateParams::new(vec!["client".into()]).unwrap();
        (params.self_signed(&key).unwrap().der().clone(), key.serialize_der())
    });
    (certificate.clone(), key.clone().into())
}

fn requires_known_client(server: RustlsServerBuilder) -> RustlsServerBuilder {
    let mut roots = RootCertStore::empty();
    roots.add(known_client().0).unwrap();
    server.require_client_certs(roots)
}

fn errors(pair: &mut Pair) -> [(ClosedBy, TransportErrorCode); 2] {
    let server = pair.server().closed().cloned();
    [pair.client.closed().cloned(), server].map(|closed| match closed {
        Some(ConnectionError::Transport { by, error }) => (by, error.code),
        other => panic!("{other:?}"),
    })
}

/// An empty Certificate is answered with certificate_required, and nothing that came with it is looked at.
// covers: R9001-4.8-01 R9001-5.7-02
#[test]
fn a_client_without_the_certificate_it_needs_is_refused() {
    let mut pair = Pair::new(Setup { tls: (|client| client, requires_known_client), ..Setup::default() });
    pair.run_for(25 * MS);
    assert!(pair.client.connected() && !pair.server().connected());
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    pair.client.connection.streams().write(id, bytes(100));
    pair.run_for(100 * MS);
    let code = TransportErrorCode::crypto(116);
    assert_eq!(errors(&mut pair), [(ClosedBy::Peer, code), (ClosedBy::Local, code)]);
    assert!(pair.server().received.is_empty() && !pair.server().connected() && !pair.client.confirmed());
}

#[test]
fn a_client_shows_its_certificate() {
    let setup = Setup {
        tls: (
            |client| {
                let (certificate, key) = known_client();
                client.client_cert(vec![certificate], key.into())
            },
            requires_known_client,
        ),
        ..Setup::default()
    };
    let mut pair = Pair::new(setup);
    pair.run_for(100 * MS);
    assert!(pair.client.confirmed() && pair.server().confirmed());
    assert_eq!(pair.server().connection.peer_identity(), Some(vec![known_client().0]));
}

// covers: R9001-8.1-02 R9001-8.1-05
#[test]
fn without_a_common_protocol_both_ends_see_the_same_alert() {
    let mut pair = Pair::new(Setup { alpn: [b"one", b"two"], ..Setup::default() });
    pair.run_for(100 * MS);
    let code = TransportErrorCode::crypto(120);
    assert_eq!(errors(&mut pair), [(ClosedBy::Peer, code), (ClosedBy::Local, code)]);
}

/// Exported key material is the same at both ends, and key updates do not change it.
#[test]
fn both_ends_export_the_same_key_material() {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(200 * MS);
    let export = |pair: &mut Pair, context: &[u8]| {
        let (mut ours, mut theirs) = ([0; 40], [0; 40]);
        pair.client.connection.export_keying_material(&mut ours, b"EXPORTER-test", context).unwrap();
        pair.server().connection.export_keying_material(&mut theirs, b"EXPORTER-test", context).unwrap();
        assert_eq!(ours, theirs);
        ours
    };
    let before = export(&mut pair, b"context");
    assert_ne!(before, export(&mut pair, b""));
    let now = pair.now;
    pair.client.connection.update_keys(now).unwrap();
    pair.run_for(200 * MS);
    assert_eq!(export(&mut pair, b"context"), before);
}

/// The types of the packets of a datagram, by the upper half of their first bytes.
fn packets(datagram: &[u8]) -> Vec<u8> {
    let (mut rest, mut types) = (datagram, Vec::new());
    while !rest.is_empty() {
        types.push(rest[0] & 0xb0);
        rest = &rest[header::parse_greased(rest, 8).unwrap().len..];
    }
    types
}

const INITIAL: u8 = 0x80;
const HANDSHAKE: u8 = 0xa0;

// covers: R9001-4-02 R9001-9.3-01
#[test]
fn packets_of_several_levels_share_datagrams() {
    let mut pair = Pair::new(Setup::default());
    let datagrams = Rc::new(RefCell::new([Vec::new(), Vec::new()]));
    let (from_client, from_server) = (datagrams.clone(), datagrams.clone());
    pair.to_server = Box::new(move |_, datagram| {
        from_client.borrow_mut()[0].push(datagram.clone());
        true
    });
    pair.to_client = Box::new(move |_, datagram| {
        from_server.borrow_mut()[1].push(datagram.clone());
        true
    });
    pair.run_for(100 * MS);
    let [client, server] = datagrams.take();
    assert_eq!(packets(&client[0]), [INITIAL]);
    assert_eq!(packets(&server[0])[..2], [INITIAL, HANDSHAKE]);
    assert!(packets(&client[1]).len() > 1, "acknowledgments and Finished");
    for datagram in client.iter().chain(&server).filter(|datagram| packets(datagram).contains(&INITIAL)) {
        assert!(datagram.len() >= 1200);
    }
}

/// A ClientHello with a post-quantum key share needs two datagrams.
#[cfg(feature = "aws-lc-rs")]
mod two_initials {
    use super::*;
    use crate::config::{ClientVersions, ServerVersions};
    use crate::crypto::tls::rustls::aws_lc_rs_provider;
    use crate::proto::tests::early;
    use crate::proto::tests::pair::DELAY;

    fn setup() -> Setup {
        Setup {
            tls: (
                |client| client.provider(aws_lc_rs_provider()),
                |server| server.provider(aws_lc_rs_provider()),
            ),
            ..Setup::default()
        }
    }

    fn assert_done(pair: &mut Pair) {
        assert!(pair.client.confirmed() && pair.server().confirmed(), "{:?}", pair.client.events);
        for peer in [&pair.client, pair.server.as_ref().unwrap()] {
            let data = peer.connection.handshake_data().unwrap();
            assert_eq!(data.key_exchange_group, 0x11ec, "X25519MLKEM768");
        }
    }

    #[test]
    fn both_are_full_and_the_handshake_takes_as_many_round_trips_as_ever() {
        let mut pair = Pair::new(setup());
        let sent = Rc::new(RefCell::new(Vec::new()));
        let lengths = sent.clone();
        pair.to_server = Box::new(move |_, datagram| {
            lengths.borrow_mut().push((packets(datagram), datagram.len()));
            true
        });
        pair.run_for(2 * DELAY - MS);
        assert_eq!(*sent.borrow(), [(vec![INITIAL], 1200), (vec![INITIAL], 1200)]);
        pair.run_for(3 * DELAY);
        assert_done(&mut pair);
    }

    #[test]
    fn either_may_be_lost() {
        for lost in 0..2 {
            for retry in [false, true] {
                let mut pair = Pair::new(Setup { retry, ..setup() });
                pair.to_server = Box::new(move |index, _| index != lost);
                pair.run_for(3000 * MS);
                assert_done(&mut pair);
            }
        }
    }

    #[test]
    fn the_second_may_come_first() {
        let mut pair = Pair::new(setup());
        let kept = Rc::new(RefCell::new(Vec::new()));
        let keep = kept.clone();
        pair.to_server = Box::new(move |index, datagram| {
            if index < 2 {
                keep.borrow_mut().push(datagram.clone());
            }
            index >= 2
        });
        pair.run_for(MS);
        let [first, second] = <[Vec<u8>; 2]>::try_from(kept.take()).unwrap();
        let incoming = pair.open(&second).unwrap();
        pair.serve(incoming);
        let at = pair.now + MS;
        pair.server().inbox.push_back((at, first));
        pair.run_for(6 * DELAY);
        assert_done(&mut pair);
    }

    /// Early data goes along with a ClientHello of two datagrams, and waits for nothing if one of them is late.
    #[test]
    fn early_data_goes_along() {
        let tls = early::acquainted(setup);
        for lost in [None, Some(0), Some(1)] {
            let mut pair = early::early(setup(), &tls, 3000);
            pair.to_server = Box::new(move |index, _| Some(index) != lost);
            pair.run_for(3000 * MS);
            assert_done(&mut pair);
            assert!(pair.server().received[0].1 == bytes(3000));
        }
    }

    /// A server that turns to version 2 has to read what the second datagram brings before it can tell.
    #[test]
    fn the_version_may_change() {
        for lost in [None, Some(0), Some(1)] {
            let versions = (ClientVersions::default(), ServerVersions::default());
            let mut pair = Pair::new(Setup { versions, ..setup() });
            pair.to_server = Box::new(move |index, _| Some(index) != lost);
            pair.run_for(3000 * MS);
            assert_done(&mut pair);
            assert_eq!(pair.client.connection.version(), pair.server().connection.version());
        }
    }
}
