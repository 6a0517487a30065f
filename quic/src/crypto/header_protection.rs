//! Header protection (RFC 9001 §5.4).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use std::fmt;

use ring::aead::quic::{Algorithm, HeaderProtectionKey};
use ring::hkdf::Okm;

/// How many bytes of the sealed payload the mask is made from.
const SAMPLE_LEN: usize = 16;

/// The sample starts where the packet number would end if it were this long, bytes (RFC 9001 §5.4.2).
const MAX_PN_LEN: usize = 4;

/// Hides and reveals the packet numbers of one direction at one encryption level.
pub struct HeaderKey(HeaderProtectionKey);

impl HeaderKey {
    /// The mask for a sample.
    #[inline]
    #[must_use]
    pub fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        // ring refuses samples of another length only.
        self.0.new_mask(sample).unwrap_or_default()
    }

    /// Protects the header of a sealed packet, whose packet number starts at `pn_offset`.
    ///
    /// A packet too short to be sampled is a mistake of the caller, who pads (RFC 9001 §5.4.2); it is left as it is.
    #[inline]
    pub fn protect(&self, packet: &mut [u8], pn_offset: usize) {
        let plain_first = packet.first().copied().unwrap_or_default();
        let done = self.apply(packet, pn_offset, |_| plain_first);
        debug_assert!(done.is_some(), "too short to be sampled: {} bytes, {pn_offset}", packet.len());
    }

    /// Removes the protection of a header in place; `None` if the packet is too short to be sampled, and then nothing
    /// has changed.
    ///
    /// Returns the first byte, the truncated packet number and its length in bytes. None of it is to be trusted before
    /// the packet was opened (RFC 9001 §5.4.1): also the reserved bits are checked only then.
    #[inline]
    #[must_use]
    pub fn unprotect(&self, packet: &mut [u8], pn_offset: usize) -> Option<(u8, u32, usize)> {
        self.apply(packet, pn_offset, |unmasked| unmasked)
    }

    /// Protecting and removing protection differ only in which first byte tells the length of the packet number.
    #[inline]
    fn apply(
        &self,
        packet: &mut [u8],
        pn_offset: usize,
        plain_first: impl FnOnce(u8) -> u8,
    ) -> Option<(u8, u32, usize)> {
        let from_pn = packet.get_mut(pn_offset..)?;
        let (field, rest) = from_pn.split_first_chunk_mut::<MAX_PN_LEN>()?;
        let [first_mask, pn_mask @ ..] = self.mask(rest.first_chunk()?);

        let pn_and_more = u32::from_be_bytes(*field);
        let (header, _) = packet.split_at_mut_checked(pn_offset)?;
        let first = header.first_mut()?;
        *first ^= first_mask & if *first & 0x80 == 0 { 0x1f } else { 0x0f };
        let first = *first;

        // All four bytes are read and written whatever the length is: it must not show in the time (RFC 9001 §9.5).
        let pn_len = 1 + (plain_first(first) & 0x03);
        let other_bits = 32 - 8 * u32::from(pn_len);
        let pn_and_more = pn_and_more ^ (u32::from_be_bytes(pn_mask) & (u32::MAX << other_bits));
        packet
            .get_mut(pn_offset..)?
            .first_chunk_mut::<MAX_PN_LEN>()?
            .copy_from_slice(&pn_and_more.to_be_bytes());
        Some((first, pn_and_more >> other_bits, usize::from(pn_len)))
    }
}

impl From<Okm<'_, &'static Algorithm>> for HeaderKey {
    fn from(okm: Okm<'_, &'static Algorithm>) -> Self {
        Self(okm.into())
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey(..)")
    }
}
