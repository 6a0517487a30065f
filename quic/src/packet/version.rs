//! The versions of QUIC that this crate speaks, and those that nobody ever will speak.

use super::Rng;

/// QUIC version 1 (RFC 9000 §15).
pub const VERSION_1: u32 = 0x0000_0001;

/// QUIC version 2 (RFC 9369 §3.1).
pub const VERSION_2: u32 = 0x6b33_43cf;

/// A version of QUIC that this crate speaks.
///
/// They differ in keys and in the bits of headers, and in nothing that an application could notice: version 2 is there so
/// that networks do not come to rely on version 1.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// Version 1 (RFC 9000).
    V1,
    /// Version 2 (RFC 9369).
    V2,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// From the number in a header; `None` for versions that this crate does not speak.
    #[must_use]
    pub const fn from_u32(version: u32) -> Option<Self> {
        match version {
            VERSION_1 => Some(Self::V1),
            VERSION_2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The number in a header.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        match self {
            Self::V1 => VERSION_1,
            Self::V2 => VERSION_2,
        }
    }

    /// True if a first flight in this version can be read as one in the other: then a server may change over without a
    /// round trip (RFC 9368 §2.2). Nothing is compatible unless a specification says so (here RFC 9369 §4).
    #[must_use]
    pub const fn is_compatible_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::V1 | Self::V2, Self::V1 | Self::V2) => true,
        }
    }
}

/// A number that no version will ever have, 0x?a?a?a?a (RFC 9000 §15).
#[must_use]
pub fn reserved_version(rng: &mut Rng) -> u32 {
    u32::from_be_bytes(rng.array()) & 0xf0f0_f0f0 | 0x0a0a_0a0a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_versions_belong_together() {
        for version in Version::ALL {
            assert_eq!(Version::from_u32(version.as_u32()), Some(version));
            assert_ne!(version.as_u32() & 0x0f0f_0f0f, 0x0a0a_0a0a);
        }
        for unknown in [0, 2, 0x0a0a_0a0a, 0x709a_50c4, u32::MAX] {
            assert_eq!(Version::from_u32(unknown), None);
        }
    }

    #[test]
    fn reserved_versions_vary() {
        let mut rng = Rng::from_u64(1);
        let versions: Vec<_> = (0..20).map(|_| reserved_version(&mut rng)).collect();
        assert!(versions.iter().all(|version| version & 0x0f0f_0f0f == 0x0a0a_0a0a));
        assert!(versions.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
