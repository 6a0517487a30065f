//! TLS by aws-lc-rs, at one end or both: packet keys are made of the same secrets, by ring.

use ::rustls::crypto::aws_lc_rs::kx_group;

use super::*;

/// Groups of the TLS registry.
const X25519: u16 = 0x001d;
const X25519_ML_KEM_768: u16 = 0x11ec;

fn connect(client: CryptoProvider, server: CryptoProvider) -> Pair {
    let id = identity();
    let client = RustlsClient::builder().provider(client).alpn(&[b"h3"]).roots(id.roots.clone());
    let server =
        RustlsServer::builder().provider(server).alpn(&[b"h3"]).cert(id.chain.clone(), id.key.clone_key());
    let mut pair = Pair::of(VERSION_1, &client.build().unwrap(), &server.build().unwrap());
    pair.run(usize::MAX).unwrap();
    assert_keys_fit(&mut pair);
    let (mut ours, mut theirs) = ([0; 32], [0; 32]);
    pair.client.session.export_keying_material(&mut ours, b"label", b"context").unwrap();
    pair.server.session.export_keying_material(&mut theirs, b"label", b"context").unwrap();
    assert_eq!(ours, theirs);
    pair
}

fn only(suite: CipherSuite) -> CryptoProvider {
    let mut provider = aws_lc_rs_provider();
    provider.cipher_suites.retain(|known| u16::from(known.suite()) == suite.as_u16());
    assert_eq!(provider.cipher_suites.len(), 1);
    provider
}

#[test]
fn every_cipher_suite_gives_both_ends_the_same_keys() {
    for suite in SUITES {
        let pairs = [
            connect(only(suite), aws_lc_rs_provider()),
            connect(aws_lc_rs_provider(), only(suite)),
            connect(only(suite), default_provider()),
            connect(default_provider(), only(suite)),
        ];
        for pair in pairs {
            assert_eq!((pair.client.data().cipher_suite, pair.server.data().cipher_suite), (suite, suite));
        }
    }
}

#[test]
fn two_ends_that_can_agree_on_post_quantum_keys_do() {
    let groups = |client, server| {
        let pair = connect(client, server);
        [pair.client.data().key_exchange_group, pair.server.data().key_exchange_group]
    };
    let (new, old) = (aws_lc_rs_provider, default_provider);
    assert_eq!(groups(new(), new()), [X25519_ML_KEM_768; 2]);
    assert_eq!(groups(new(), old()), [X25519; 2]);
    assert_eq!(groups(old(), new()), [X25519; 2]);
    assert_eq!(groups(old(), old()), [X25519; 2]);
    // A server that wants it from a client that has not sent a share for it asks again.
    let mut last = new();
    last.kx_groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    let mut demanding = new();
    demanding.kx_groups = vec![kx_group::X25519MLKEM768];
    assert_eq!(groups(last, demanding), [X25519_ML_KEM_768; 2]);
}
