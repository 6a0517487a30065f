//! Packet protection (RFC 9001 §5.3) with concrete types: no allocation and no dynamic dispatch of ours per packet.

use std::fmt;

use ring::aead::{self, Aad, LessSafeKey, Nonce};
use ring::{digest, hkdf};

use super::HeaderKey;
use super::hkdf::Secret;
use crate::packet::{PacketNumber, Side};

/// Length of the IV of all AEADs we know, bytes.
pub(super) const IV_LEN: usize = 12;

/// The cipher suites of TLS 1.3 that we use.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256.
    Aes128Gcm,
    /// TLS_AES_256_GCM_SHA384.
    Aes256Gcm,
    /// TLS_CHACHA20_POLY1305_SHA256.
    ChaCha20Poly1305,
}

impl CipherSuite {
    /// From the number of the TLS registry; `None` for suites that we do not use.
    #[must_use]
    pub fn from_u16(id: u16) -> Option<Self> {
        match id {
            0x1301 => Some(Self::Aes128Gcm),
            0x1302 => Some(Self::Aes256Gcm),
            0x1303 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The number of the TLS registry.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        match self {
            Self::Aes128Gcm => 0x1301,
            Self::Aes256Gcm => 0x1302,
            Self::ChaCha20Poly1305 => 0x1303,
        }
    }

    /// The name in the TLS registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::ChaCha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    /// How much its AEAD may be used (RFC 9001 §6.6).
    #[must_use]
    pub fn limits(self) -> AeadLimits {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => AeadLimits { confidentiality: 1 << 23, integrity: 1 << 52 },
            // More than there are packet numbers.
            Self::ChaCha20Poly1305 => AeadLimits { confidentiality: u64::MAX, integrity: 1 << 36 },
        }
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    pub(super) fn digest(self) -> &'static digest::Algorithm {
        self.hkdf().hmac_algorithm().digest_algorithm()
    }

    pub(super) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    pub(super) fn header_protection(self) -> &'static aead::quic::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::quic::AES_128,
            Self::Aes256Gcm => &aead::quic::AES_256,
            Self::ChaCha20Poly1305 => &aead::quic::CHACHA20,
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much an AEAD may be used before it protects less than it promises (RFC 9001 §6.6).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct AeadLimits {
    /// How many packets may be sealed with one key.
    pub confidentiality: u64,
    /// How many packets may fail to open, over all keys of a connection.
    pub integrity: u64,
}

/// Seals what one endpoint sends, and opens it at the other, for one key phase.
pub struct PacketKey {
    key: LessSafeKey,
    iv_head: [u8; 4],
    /// The part of the IV that the packet number goes into.
    iv_tail: u64,
    suite: CipherSuite,
}

impl PacketKey {
    /// By how much sealing lengthens a packet, bytes.
    pub const TAG_LEN: usize = 16;

    pub(super) fn new(suite: CipherSuite, key: LessSafeKey, iv: [u8; IV_LEN]) -> Self {
        let [a, b, c, d, tail @ ..] = iv;
        Self { key, iv_head: [a, b, c, d], iv_tail: u64::from_be_bytes(tail), suite }
    }

    /// Seals a packet in place.
    ///
    /// `packet` is the header, the plaintext and [`PacketKey::TAG_LEN`] spare bytes, which receive the tag. Nothing is
    /// sealed twice under one packet number. A packet too short for that is a mistake of the caller; it is overwritten,
    /// so that no plaintext leaves.
    #[inline]
    pub fn seal(&self, pn: PacketNumber, packet: &mut [u8], header_len: usize) {
        if self.try_seal(pn, packet, header_len).is_none() {
            debug_assert!(false, "no room for header and tag: {} bytes, header {header_len}", packet.len());
            packet.fill(0);
        }
    }

    #[inline]
    fn try_seal(&self, pn: PacketNumber, packet: &mut [u8], header_len: usize) -> Option<()> {
        let (header, payload) = packet.split_at_mut_checked(header_len)?;
        let (plaintext, spare) = payload.split_last_chunk_mut::<{ Self::TAG_LEN }>()?;
        let tag = self.key.seal_in_place_separate_tag(self.nonce(pn), Aad::from(&*header), plaintext).ok()?;
        spare.copy_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens a packet in place; `None` if it is not genuine. `payload` is ciphertext and tag.
    ///
    /// Returns the length of the plaintext, which stands at the front of `payload`. On failure the ciphertext is lost,
    /// the last [`PacketKey::TAG_LEN`] bytes are as they were.
    #[inline]
    #[must_use]
    pub fn open(&self, pn: PacketNumber, header: &[u8], payload: &mut [u8]) -> Option<usize> {
        let plaintext = self.key.open_in_place(self.nonce(pn), Aad::from(header), payload).ok()?;
        Some(plaintext.len())
    }

    /// The cipher suite it belongs to.
    #[must_use]
    pub fn cipher_suite(&self) -> CipherSuite {
        self.suite
    }

    #[inline]
    fn nonce(&self, pn: PacketNumber) -> Nonce {
        let mut nonce = [0; IV_LEN];
        let (head, tail) = nonce.split_at_mut(self.iv_head.len());
        head.copy_from_slice(&self.iv_head);
        tail.copy_from_slice(&(self.iv_tail ^ pn).to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketKey({})", self.suite)
    }
}

/// The keys of one direction at one encryption level.
#[derive(Debug)]
pub struct DirectionKeys {
    /// Hides and reveals packet numbers. Key updates leave it alone (RFC 9001 §6.1).
    pub header: HeaderKey,
    /// Seals and opens packets.
    pub packet: PacketKey,
}

/// The keys of both directions at one encryption level.
#[derive(Debug)]
pub struct Keys {
    /// For what we send.
    pub local: DirectionKeys,
    /// For what the peer sends.
    pub remote: DirectionKeys,
}

impl Keys {
    /// From the secrets of both ends.
    pub(super) fn new(side: Side, client: &Secret, server: &Secret) -> Self {
        let (local, remote) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        Self { local: local.keys(), remote: remote.keys() }
    }
}

/// The 1-RTT secrets of both directions: where the keys of later key phases come from (RFC 9001 §6).
pub struct OneRttSecrets {
    local: Secret,
    remote: Secret,
}

impl OneRttSecrets {
    /// From the secrets of the first key phase.
    pub(super) fn new(side: Side, client: Secret, server: Secret) -> Self {
        let (local, remote) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        Self { local, remote }
    }

    /// Moves on to the next key phase and returns the key that opens its packets.
    ///
    /// The first call gives the key of the first key update. The secrets of the phase before are forgotten.
    pub fn advance(&mut self) -> PacketKey {
        (self.local, self.remote) = (self.local.next(), self.remote.next());
        self.remote.packet_key()
    }

    /// The key that seals packets of the phase that was moved on to.
    #[must_use]
    pub fn local_key(&self) -> PacketKey {
        self.local.packet_key()
    }
}

impl fmt::Debug for OneRttSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneRttSecrets(..)")
    }
}
