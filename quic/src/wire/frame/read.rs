//! What the frames are made of, taken from the front of the payload.

use bytes::{Buf, Bytes};

use crate::wire::{VarInt, varint};

/// Why a frame is refused, in the words that the peer is told.
pub(super) type Malformed = &'static str;

pub(super) const TRUNCATED: Malformed = "frame is cut off";

#[inline]
pub(super) fn varint(input: &mut Bytes) -> Result<u64, Malformed> {
    let (value, len) = varint::peek(input).ok_or(TRUNCATED)?;
    input.advance(len);
    Ok(value)
}

/// An error code of the application.
pub(super) fn code(input: &mut Bytes) -> Result<VarInt, Malformed> {
    VarInt::from_u64(varint(input)?).map_err(|_| TRUNCATED)
}

/// A slice of `len` bytes that shares the memory of the payload.
#[inline]
pub(super) fn bytes(input: &mut Bytes, len: u64) -> Result<Bytes, Malformed> {
    match usize::try_from(len) {
        Ok(len) if len <= input.len() => Ok(input.split_to(len)),
        _ => Err(TRUNCATED),
    }
}

pub(super) fn array<const N: usize>(input: &mut Bytes) -> Result<[u8; N], Malformed> {
    let array = *input.first_chunk().ok_or(TRUNCATED)?;
    input.advance(N);
    Ok(array)
}
