//! What QUIC versions do not have in common as far as cryptography goes: data, and no code.

use crate::packet::{VERSION_1, VERSION_2};

/// Constants of one QUIC version.
pub(super) struct VersionConstants {
    /// Salt of the initial secret (RFC 9001 §5.2, RFC 9369 §3.3.1).
    pub(super) initial_salt: [u8; 20],
    /// Label of packet protection keys (RFC 9001 §5.1, RFC 9369 §3.3.2).
    pub(super) key: &'static [u8],
    /// Label of packet protection IVs.
    pub(super) iv: &'static [u8],
    /// Label of header protection keys.
    pub(super) hp: &'static [u8],
    /// Label of the next secret in a key update (RFC 9001 §6.1).
    pub(super) ku: &'static [u8],
    /// Key of the Retry integrity tag (RFC 9001 §5.8, RFC 9369 §3.3.3).
    pub(super) retry_key: [u8; 16],
    /// Nonce of the Retry integrity tag.
    pub(super) retry_nonce: [u8; 12],
}

/// The constants of a version.
///
/// Only versions we speak get this far; any other number is taken for version 1, and nothing opens then.
pub(super) fn constants(version: u32) -> &'static VersionConstants {
    match version {
        VERSION_2 => &V2,
        VERSION_1 => &V1,
        _ => {
            debug_assert!(false, "keys for a version that we do not speak: {version:#x}");
            &V1
        }
    }
}

static V1: VersionConstants = VersionConstants {
    initial_salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
        0xbb, 0x7f, 0x0a,
    ],
    key: b"quic key",
    iv: b"quic iv",
    hp: b"quic hp",
    ku: b"quic ku",
    retry_key: [
        0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
    ],
    retry_nonce: [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
};

static V2: VersionConstants = VersionConstants {
    initial_salt: [
        0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
        0xbd, 0x2e, 0xd9,
    ],
    key: b"quicv2 key",
    iv: b"quicv2 iv",
    hp: b"quicv2 hp",
    ku: b"quicv2 ku",
    retry_key: [
        0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc, 0x92,
    ],
    retry_nonce: [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
};
