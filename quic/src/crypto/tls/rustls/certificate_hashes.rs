//! Certificates known by their hashes, by the rules of WebTransport's `serverCertificateHashes`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use ::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use ::rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use ::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use ::rustls::server::ParsedCertificate;
use ::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::pins::{no_tls12, refused, sha256};

/// So long may a certificate be valid in all, seconds.
const MAX_VALIDITY: u64 = 14 * 24 * 3600;

/// Accepts certificates with one of these hashes that are made for a short time.
#[derive(Debug)]
pub(super) struct HashVerifier {
    hashes: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HashVerifier {
    pub(super) fn new(hashes: Vec<[u8; 32]>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { hashes, algorithms }
    }
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.hashes.contains(&sha256(end_entity)) {
            return Err(refused("the server's certificate has none of the hashes"));
        }
        // Refuses also what is not of version 3.
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if is_rsa(&key) {
            return Err(refused("a certificate known by its hash must not have an RSA key"));
        }
        let (from, to) = validity(end_entity).ok_or(CertificateError::BadEncoding)?;
        if now.as_secs() < from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > to {
            return Err(CertificateError::Expired.into());
        }
        if to - from > MAX_VALIDITY {
            return Err(refused("a certificate known by its hash must not be valid for more than 14 days"));
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
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Tags of DER.
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// True if a SubjectPublicKeyInfo is of the PKCS #1 family, or cannot be read.
fn is_rsa(key: &[u8]) -> bool {
    /// 1.2.840.113549.1.1
    const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    let algorithm = || element(&mut element(&mut &*key, SEQUENCE)?, SEQUENCE);
    let id = algorithm().and_then(|mut algorithm| element(&mut algorithm, OBJECT_IDENTIFIER));
    id.is_none_or(|id| id.starts_with(PKCS1))
}

/// From when until when a certificate is valid (RFC 5280 §4.1.2.5), seconds since 1970; `None` if it cannot be read.
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let mut fields = element(&mut element(&mut &*certificate, SEQUENCE)?, SEQUENCE)?;
    for tag in [VERSION, INTEGER, SEQUENCE, SEQUENCE] {
        element(&mut fields, tag)?;
    }
    let mut times = element(&mut fields, SEQUENCE)?;
    let (from, to) = (time(&mut times)?, time(&mut times)?);
    (from <= to).then_some((from, to))
}

/// Takes the element of this tag off the front; returns its content.
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (header, rest) = input.split_first_chunk::<2>()?;
    let (len, rest) = match *header {
        [found, _] if found != tag => return None,
        [_, short @ 0..=0x7f] => (usize::from(short), rest),
        [_, 0x81] => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        [_, 0x82] => {
            rest.split_first_chunk::<2>().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?
        }
        // A certificate fits into a TLS message of 64 KiB.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some(content)
}

/// Takes a time off the front, seconds since 1970.
fn time(input: &mut &[u8]) -> Option<u64> {
    let tag = *input.first()?;
    let text = element(input, tag)?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = two_digits(text)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED_TIME => {
            let (high, text) = two_digits(text)?;
            let (low, text) = two_digits(text)?;
            (100 * high + low, text)
        }
        _ => return None,
    };
    let (month, text) = two_digits(text)?;
    let (day, text) = two_digits(text)?;
    let (hour, text) = two_digits(text)?;
    let (minute, text) = two_digits(text)?;
    let (second, text) = two_digits(text)?;
    let sane =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if text != b"Z" || year < 1970 || !sane {
        return None;
    }
    // Years begin in March here, so that leap days come last: a month then starts after (153 m + 2) / 5 days.
    let (years, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * month + 2) / 5 + day - 1;
    // The first of March of the year 0 lies 719,468 days before 1970.
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn two_digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk::<2>()?;
    let digit = |byte: &u8| byte.checked_sub(b'0').filter(|digit| *digit < 10).map(u64::from);
    Some((10 * digit(high)? + digit(low)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    const DAY: u64 = 86_400;

    #[test]
    fn times_are_read_as_they_were_written() {
        for (from, to, expected) in [
            ((1970, 1, 1), (1970, 1, 2), (0, DAY)),
            ((2000, 2, 28), (2000, 3, 1), (951_696_000, 951_696_000 + 2 * DAY)),
            ((2026, 11, 21), (2049, 12, 31), (1_795_219_200, 2_524_521_600)),
            // Beyond 2049 a year has four digits.
            ((2050, 1, 1), (2100, 3, 1), (2_524_608_000, 4_107_542_400)),
        ] {
            assert_eq!(validity(&certificate(from, to)), Some(expected));
        }
    }

    fn verify(certificate: Vec<u8>, now: u64) -> Result<ServerCertVerified, Error> {
        let certificate = CertificateDer::from(certificate);
        let algorithms = super::super::default_provider().signature_verification_algorithms;
        let verifier = HashVerifier::new(vec![[1; 32], sha256(&certificate)], algorithms);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        verifier.verify_server_cert(&certificate, &[], &"any.name".try_into().unwrap(), &[], now)
    }

    #[test]
    fn a_hash_is_good_for_two_weeks_at_most() {
        let start = 1_795_219_200;
        let two_weeks = certificate((2026, 11, 21), (2026, 12, 5));
        verify(two_weeks.clone(), start).unwrap();
        verify(two_weeks.clone(), start + 14 * DAY).unwrap();
        let expired = verify(two_weeks.clone(), start + 14 * DAY + 1).unwrap_err();
        assert_eq!(expired, CertificateError::Expired.into());
        assert_eq!(verify(two_weeks, start - 1).unwrap_err(), CertificateError::NotValidYet.into());
        let longer = verify(certificate((2026, 11, 21), (2026, 12, 6)), start).unwrap_err();
        assert!(longer.to_string().contains("14 days"), "{longer}");
    }

    #[test]
    fn another_certificate_has_another_hash() {
        let known = CertificateDer::from(certificate((2026, 11, 21), (2026, 12, 5)));
        let other = CertificateDer::from(certificate((2026, 11, 21), (2026, 12, 5)));
        let algorithms = super::super::default_provider().signature_verification_algorithms;
        let verifier = HashVerifier::new(vec![sha256(&known)], algorithms);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_219_201));
        let name = "any.name".try_into().unwrap();
        verifier.verify_server_cert(&known, &[], &name, &[], now).unwrap();
        verifier.verify_server_cert(&other, &[], &name, &[], now).unwrap_err();
    }

    #[test]
    fn rsa_keys_are_told_by_their_algorithm() {
        let rsa = [&[0x30, 0x0d, 0x30, 0x0b, 0x06, 0x09][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]];
        assert!(is_rsa(&rsa.concat()));
        let ecdsa = [0x30, 0x0b, 0x30, 0x09, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        assert!(!is_rsa(&ecdsa));
        assert!(is_rsa(&ecdsa[..8]), "cut off");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, at in 0_usize..400, value: u8) {
            let _ = (validity(&bytes), is_rsa(&bytes));
            let mut changed = certificate((2026, 1, 1), (2026, 1, 2));
            if let Some(byte) = changed.get_mut(at) {
                *byte = value;
            }
            let _ = validity(&changed);
            let _ = validity(changed.get(..at).unwrap_or_default());
        }
    }
}
