//! Packet headers (RFC 9000 §17) and what all versions have in common (RFC 8999).
//!
//! `parse` reads one packet of a datagram as far as that goes before header protection is removed; `encode` writes
//! headers. The first byte:
//!
//! | | 0x80 | 0x40 | 0x30 | 0x0c | 0x03 |
//! |---|---|---|---|---|---|
//! | long | 1 | QUIC bit | type | reserved, protected | packet number length - 1, protected |
//! | Retry | 1 | QUIC bit | type | unused | unused |
//! | Version Negotiation | 1 | unused | unused | unused | unused |
//! | short | 0 | QUIC bit | 0x20 spin, 0x10 reserved, protected | 0x08 reserved, 0x04 key phase, protected | the same |

mod encode;
mod parse;

pub use encode::{Layout, LongHeader, ShortHeader, encode_retry, encode_version_negotiation};
pub use parse::{HeaderError, PartialPacket, ProtectedHeader, parse, parse_greased};

use crate::packet::{VERSION_1, VERSION_2};

/// Set in long headers of all versions.
pub const LONG_FORM: u8 = 0x80;
/// Set in all packets of version 1 (RFC 9000 §17.2), unless RFC 9287 was negotiated.
pub const QUIC_BIT: u8 = 0x40;
/// The spin bit of a short header.
pub const SPIN: u8 = 0x20;
/// The key phase of a short header, once protection is removed.
pub const KEY_PHASE: u8 = 0x04;
/// Bits of a long header that must be 0 once protection is removed; else PROTOCOL_VIOLATION.
pub const LONG_RESERVED: u8 = 0x0c;
/// Bits of a short header that must be 0 once protection is removed; else PROTOCOL_VIOLATION.
pub const SHORT_RESERVED: u8 = 0x18;
/// Length of the packet number less one, once protection is removed.
pub const PN_LEN: u8 = 0x03;

/// Length of a Retry Integrity Tag, bytes.
pub const RETRY_TAG_LEN: usize = 16;

/// Long packets that have a packet number (RFC 9000 §17.2).
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum LongType {
    /// The first flight in both directions.
    Initial,
    /// Early data from the client.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
}

/// What the type bits of a long header can mean.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum TypeBits {
    Numbered(LongType),
    Retry,
}

/// The meaning of `bits` (0 to 3) in this version; `None` for versions we do not speak.
fn type_from_bits(version: u32, bits: u8) -> Option<TypeBits> {
    match version {
        VERSION_1 => Some(match bits {
            0 => TypeBits::Numbered(LongType::Initial),
            1 => TypeBits::Numbered(LongType::ZeroRtt),
            2 => TypeBits::Numbered(LongType::Handshake),
            _ => TypeBits::Retry,
        }),
        // RFC 9369 §3.2
        VERSION_2 => type_from_bits(VERSION_1, bits.wrapping_sub(1) & 3),
        _ => None,
    }
}

/// The inverse of [`type_from_bits`].
fn type_to_bits(version: u32, ty: TypeBits) -> u8 {
    debug_assert!(matches!(version, VERSION_1 | VERSION_2), "{version:#x}");
    let bits = match ty {
        TypeBits::Numbered(LongType::Initial) => 0,
        TypeBits::Numbered(LongType::ZeroRtt) => 1,
        TypeBits::Numbered(LongType::Handshake) => 2,
        TypeBits::Retry => 3,
    };
    if version == VERSION_2 { (bits + 1) & 3 } else { bits }
}

#[cfg(test)]
mod tests;
