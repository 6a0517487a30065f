//! The algorithms of aws-lc-rs, beside those of ring.

use ::rustls::crypto::CryptoProvider;
use ::rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};

/// aws-lc-rs's algorithms: key exchange by X25519MLKEM768 first, which also a quantum computer could not undo, and
/// AES-128-GCM as the first cipher.
///
/// Give it to [`RustlsClientBuilder::provider`](super::RustlsClientBuilder::provider) or
/// [`RustlsServerBuilder::provider`](super::RustlsServerBuilder::provider). It is for TLS: packets are sealed and opened
/// by ring all the same, so this is not what FIPS 140-3 wants. With the longer key share a ClientHello takes two datagrams.
///
/// With both sets of algorithms built in, rustls knows no default: `rustls::ClientConfig::builder` and its likes panic
/// unless `CryptoProvider::install_default` was called. Nothing in this crate needs that.
#[must_use]
pub fn aws_lc_rs_provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    }
}
