//! Certificates that are known beforehand.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use ::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use ::rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use ::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use ::rustls::server::ParsedCertificate;
use ::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
};
use ring::digest::{SHA256, digest};

use crate::crypto::tls::TlsConfigError;

/// How a certificate is known beforehand: by its key, or by itself. Both are SHA-256 hashes.
///
/// A key may outlive its certificate: who renews the certificate with the same key keeps the pin.
///
/// As text, a public key is `sha256//` and base64, as curl's `--pinnedpubkey` has it, and a certificate 64 hexadecimal
/// digits, with or without colons, as `openssl x509 -fingerprint -sha256` prints it.
///
/// ```
/// use gannet::config::CertificatePin;
///
/// let pin: CertificatePin = "sha256//MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=".parse()?;
/// assert_eq!(pin, CertificatePin::PublicKey(*b"12345678901234567890123456789012"));
/// assert_eq!(pin.to_string().parse(), Ok(pin));
/// # Ok::<(), gannet::config::InvalidPin>(())
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificatePin {
    /// The hash of the SubjectPublicKeyInfo in DER.
    PublicKey([u8; 32]),
    /// The hash of the whole certificate in DER.
    Certificate([u8; 32]),
}

impl CertificatePin {
    /// The pin of the key in a certificate.
    ///
    /// # Errors
    /// If that is no certificate of X.509 version 3.
    pub fn public_key_of(certificate: &CertificateDer<'_>) -> Result<Self, TlsConfigError> {
        Ok(Self::PublicKey(public_key_hash(certificate)?))
    }

    /// The pin of a certificate.
    #[must_use]
    pub fn certificate_of(certificate: &CertificateDer<'_>) -> Self {
        Self::Certificate(sha256(certificate))
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Self::PublicKey(hash) => public_key_hash(certificate).is_ok_and(|found| found == *hash),
            Self::Certificate(hash) => sha256(certificate) == *hash,
        }
    }
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn public_key_hash(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    Ok(sha256(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// The text is no [`CertificatePin`].
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256// and 44 characters of base64, or 64 hexadecimal digits")]
pub struct InvalidPin;

impl FromStr for CertificatePin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        match text.strip_prefix("sha256//") {
            Some(base64) => decode_base64(base64).map(Self::PublicKey),
            None => decode_hex(text).map(Self::Certificate),
        }
        .ok_or(InvalidPin)
    }
}

impl fmt::Display for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicKey(hash) => {
                f.write_str("sha256//")?;
                for group in hash.chunks(3) {
                    let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
                    let bits = bits << (8 * (3 - group.len()));
                    for digit in 0..=group.len() {
                        let index = (bits >> (18 - 6 * digit)) & 63;
                        f.write_char(char::from(BASE64[index as usize]))?;
                    }
                }
                f.write_char('=')
            }
            Self::Certificate(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 32 bytes are 43 digits, of which the last carries four bits, and one padding character.
fn decode_base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let (mut out, mut filled, mut bits, mut pending) = ([0; 32], 0, 0_u32, 0);
    for digit in digits.bytes() {
        let value = BASE64.iter().position(|known| *known == digit)?;
        (bits, pending) = ((bits << 6 | value as u32) & 0xffff, pending + 6);
        if pending >= 8 {
            pending -= 8;
            *out.get_mut(filled)? = (bits >> pending) as u8;
            filled += 1;
        }
    }
    (filled == out.len() && bits & 3 == 0).then_some(out)
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.chars().filter(|digit| *digit != ':').map(|digit| digit.to_digit(16));
    let mut out = [0; 32];
    for byte in &mut out {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(out)
}

/// Accepts the certificates that have a pin, or any if there are none, and that another verifier accepts, if there is one.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pins: Vec<CertificatePin>,
    inner: Option<Arc<dyn ServerCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(super) fn new(
        pins: Vec<CertificatePin>,
        inner: Option<Arc<dyn ServerCertVerifier>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { pins, inner, algorithms }
    }
}

/// Why a certificate that may be valid otherwise is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

/// The error that ends a handshake with the alert certificate_unknown.
pub(super) fn refused(why: &'static str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(why)))))
}

/// QUIC has TLS 1.3 only.
pub(super) fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(inner) = &self.inner {
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        if !self.pins.is_empty() && !self.pins.iter().any(|pin| pin.matches(end_entity)) {
            return Err(refused("the server's certificate has none of the pins"));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.inner {
            Some(inner) => inner.verify_tls13_signature(message, certificate, signature),
            None => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.inner {
            Some(inner) => inner.supported_verify_schemes(),
            None => self.algorithms.supported_schemes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_have_the_forms_of_curl_and_openssl() {
        let hash = std::array::from_fn(|i| (i * 37) as u8);
        for pin in [CertificatePin::PublicKey(hash), CertificatePin::Certificate(hash)] {
            assert_eq!(pin.to_string().parse(), Ok(pin));
        }
        let hex = CertificatePin::Certificate(hash).to_string();
        assert!(hex.starts_with("00254a6f"), "{hex}");
        let pairs: Vec<_> = (0..32).map(|i| hex[2 * i..2 * i + 2].to_uppercase()).collect();
        assert_eq!(pairs.join(":").parse(), Ok(CertificatePin::Certificate(hash)));
        let base64 = CertificatePin::PublicKey(hash).to_string();
        assert!(base64.starts_with("sha256//ACVKb5S5"), "{base64}");
    }

    #[test]
    fn other_texts_are_no_pins() {
        let good = CertificatePin::PublicKey([0xff; 32]).to_string();
        let bad = [
            String::new(),
            "sha256//".into(),
            good.replace('=', ""),
            good.replace("8=", "9="),
            good.replace('/', "!"),
            "0".repeat(63),
            "0".repeat(65),
            "g".repeat(64),
            "ä".repeat(32),
        ];
        for text in bad {
            assert_eq!(text.parse::<CertificatePin>(), Err(InvalidPin), "{text}");
        }
    }
}
