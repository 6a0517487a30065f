//! The integrity tag of Retry packets (RFC 9001 §5.8).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use subtle::ConstantTimeEq;

use super::version::constants;
use crate::packet::ConnectionId;

/// Length of the tag, bytes.
pub const RETRY_TAG_LEN: usize = 16;

/// The tag that ends a Retry packet. `packet` is the whole packet without it.
///
/// `original_dcid` is the destination connection ID of the Initial that the Retry answers: only who saw that Initial can
/// make the tag.
#[must_use]
pub fn retry_tag(version: u32, original_dcid: &ConnectionId, packet: &[u8]) -> [u8; RETRY_TAG_LEN] {
    let constants = constants(version);
    let mut pseudo_packet = Vec::with_capacity(1 + original_dcid.len() + packet.len());
    pseudo_packet.extend(u8::try_from(original_dcid.len()));
    pseudo_packet.extend_from_slice(original_dcid.as_slice());
    pseudo_packet.extend_from_slice(packet);

    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &constants.retry_key).expect("16 bytes"));
    let nonce = Nonce::assume_unique_for_key(constants.retry_nonce);
    let tag =
        key.seal_in_place_separate_tag(nonce, Aad::from(&pseudo_packet), &mut []).expect("no plaintext");
    let mut out = [0; RETRY_TAG_LEN];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Whether `tag` is the right one. `packet` is the Retry packet without it.
#[must_use]
pub fn verify_retry_tag(
    version: u32,
    original_dcid: &ConnectionId,
    packet: &[u8],
    tag: &[u8; RETRY_TAG_LEN],
) -> bool {
    retry_tag(version, original_dcid, packet).ct_eq(tag).into()
}
