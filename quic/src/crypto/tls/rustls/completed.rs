//! What a server keeps of TLS when the handshake is complete.
//!
//! A server reads no TLS message after that, so the connection of rustls, some 4 KiB, can go.

use ring::digest;
use ring::hkdf::Prk;
use rustls::pki_types::CertificateDer;

use crate::crypto::CipherSuite;
use crate::crypto::hkdf::{Bytes, try_expand_label};
use crate::crypto::tls::{ExportError, HandshakeData};

pub(super) struct Completed {
    pub(super) peer_params: Box<[u8]>,
    pub(super) data: HandshakeData,
    pub(super) peer_identity: Option<Vec<CertificateDer<'static>>>,
    pub(super) exporter: Exporter,
}

/// The exporter of TLS 1.3 (RFC 8446 §7.5).
pub(super) struct Exporter {
    secret: Prk,
    suite: CipherSuite,
}

impl Exporter {
    pub(super) fn new(suite: CipherSuite, secret: Prk) -> Self {
        Self { secret, suite }
    }

    pub(super) fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> Result<(), ExportError> {
        let hash = |data: &[u8]| digest::digest(self.suite.digest(), data);
        let (nothing, context) = (hash(&[]), hash(context));
        let derive = |secret: &Prk, len| {
            try_expand_label(secret, label, nothing.as_ref(), len, |okm| okm.into()).ok_or(ExportError)
        };
        let secret: Prk = derive(&self.secret, self.suite.hkdf())?;
        let len = Bytes(out.len());
        let filled = try_expand_label(&secret, b"exporter", context.as_ref(), len, |okm| okm.fill(out));
        filled.and_then(Result::ok).ok_or(ExportError)
    }
}
