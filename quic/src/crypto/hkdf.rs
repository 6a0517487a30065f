//! HKDF-Expand-Label, and traffic secrets with all that is derived from them (RFC 9001 §5.1).

use ring::aead::{LessSafeKey, UnboundKey};
use ring::hkdf::{Algorithm, KeyType, Okm, Prk};

use super::keys::{CipherSuite, DirectionKeys, PacketKey};
use super::version::{VersionConstants, constants};
use super::{HeaderKey, keys::IV_LEN};

/// HKDF-Expand-Label (RFC 8446 §7.1) for `len` bytes; `derive` makes something of them. `None` if label, context or
/// length is longer than TLS can say or HKDF can give.
pub(super) fn try_expand_label<L: KeyType, T>(
    secret: &Prk,
    label: &[u8],
    context: &[u8],
    len: L,
    derive: impl FnOnce(Okm<'_, L>) -> T,
) -> Option<T> {
    const PREFIX: &[u8] = b"tls13 ";
    let bytes = u16::try_from(len.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_len = [u8::try_from(context.len()).ok()?];
    let info: [&[u8]; 6] = [&bytes, &label_len, PREFIX, label, &context_len, context];
    secret.expand(&info, len).ok().map(derive)
}

/// HKDF-Expand-Label with an empty context, for the keys of QUIC.
pub(super) fn expand_label<L: KeyType, T>(
    secret: &Prk,
    label: &[u8],
    len: L,
    derive: impl FnOnce(Okm<'_, L>) -> T,
) -> T {
    try_expand_label(secret, label, &[], len, derive).expect("labels and keys of QUIC are short")
}

/// A number of bytes, where no type of ring tells it.
pub(super) struct Bytes(pub(super) usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label into an array.
pub(super) fn expand_label_array<const N: usize>(secret: &Prk, label: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    expand_label(secret, label, Bytes(N), |okm| okm.fill(&mut out)).expect("asked for N bytes");
    out
}

/// A secret that protects what one endpoint sends at one encryption level.
pub(super) struct Secret {
    prk: Prk,
    suite: CipherSuite,
    version: &'static VersionConstants,
}

impl Secret {
    pub(super) fn new(version: u32, suite: CipherSuite, prk: Prk) -> Self {
        Self { prk, suite, version: constants(version) }
    }

    /// From the bytes of the secret; their number is the output length of the suite's hash.
    #[cfg(test)]
    pub(super) fn from_bytes(version: u32, suite: CipherSuite, secret: &[u8]) -> Self {
        Self::new(version, suite, Prk::new_less_safe(suite.hkdf(), secret))
    }

    pub(super) fn packet_key(&self) -> PacketKey {
        let key: UnboundKey = expand_label(&self.prk, self.version.key, self.suite.aead(), |okm| okm.into());
        let iv: [u8; IV_LEN] = expand_label_array(&self.prk, self.version.iv);
        PacketKey::new(self.suite, LessSafeKey::new(key), iv)
    }

    pub(super) fn header_key(&self) -> HeaderKey {
        expand_label(&self.prk, self.version.hp, self.suite.header_protection(), |okm| okm.into())
    }

    pub(super) fn keys(&self) -> DirectionKeys {
        DirectionKeys { header: self.header_key(), packet: self.packet_key() }
    }

    /// The secret of the next key phase (RFC 9001 §6.1).
    pub(super) fn next(&self) -> Self {
        let algorithm: Algorithm = self.suite.hkdf();
        Self { prk: expand_label(&self.prk, self.version.ku, algorithm, |okm| okm.into()), ..*self }
    }
}
