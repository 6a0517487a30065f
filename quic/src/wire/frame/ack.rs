//! ACK frames (RFC 9000 §19.3).

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed, TRUNCATED};
use crate::packet::{EcnCounts, PacketNumber};
use crate::wire::varint;

/// Packets of the same space that the peer has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The largest number acknowledged.
    pub largest: PacketNumber,
    /// For how long the peer held the acknowledgment of `largest` back, as it stands in the frame: microseconds
    /// shifted right by the peer's ack_delay_exponent.
    pub delay: u64,
    /// The numbers acknowledged.
    pub ranges: AckRanges,
    /// How many packets arrived with which ECN mark, from the beginning of the space.
    pub ecn: Option<EcnCounts>,
}

/// The ranges of an ACK frame, largest first: checked when the frame was parsed, decoded as they are asked for.
#[derive(Clone)]
pub(crate) struct AckRanges {
    largest: PacketNumber,
    smallest: PacketNumber,
    /// Pairs of gap and length.
    more: Bytes,
}

impl AckRanges {
    /// The ranges, which never touch each other.
    #[must_use]
    pub fn iter(&self) -> AckRangesIter<'_> {
        AckRangesIter { next: Some(self.smallest..=self.largest), more: &self.more }
    }
}

impl<'a> IntoIterator for &'a AckRanges {
    type Item = RangeInclusive<PacketNumber>;
    type IntoIter = AckRangesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for AckRanges {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AckRanges {}

impl fmt::Debug for AckRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// See [`AckRanges::iter`].
#[derive(Debug, Clone)]
pub(crate) struct AckRangesIter<'a> {
    next: Option<RangeInclusive<PacketNumber>>,
    more: &'a [u8],
}

impl Iterator for AckRangesIter<'_> {
    type Item = RangeInclusive<PacketNumber>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let range = self.next.take()?;
        self.next = next_range(*range.start(), &mut self.more);
        Some(range)
    }
}

/// Takes a pair of gap and length; the range above begins at `smallest`. `None` if cut off or below zero.
#[inline]
fn next_range(smallest: PacketNumber, more: &mut &[u8]) -> Option<RangeInclusive<PacketNumber>> {
    let gap = varint::decode(more)?;
    let len = varint::decode(more)?;
    let largest = smallest.checked_sub(gap + 2)?;
    Some(largest.checked_sub(len)?..=largest)
}

impl Ack {
    #[inline]
    pub(super) fn parse(first: u8, input: &mut Bytes) -> Result<Self, Malformed> {
        let largest = read::varint(input)?;
        let delay = read::varint(input)?;
        let count = read::varint(input)?;
        let len = read::varint(input)?;
        let smallest = largest.checked_sub(len).ok_or(NEGATIVE)?;
        let ranges = AckRanges { largest, smallest, more: more_ranges(smallest, count, input)? };
        let ecn = if first == 0x03 {
            let (ect0, ect1, ce) = (read::varint(input)?, read::varint(input)?, read::varint(input)?);
            Some(EcnCounts { ect0, ect1, ce })
        } else {
            None
        };
        Ok(Self { largest, delay, ranges, ecn })
    }
}

const NEGATIVE: Malformed = "ACK of a packet number below zero";

/// Checks the ranges below the first one and takes them as they are.
#[inline]
fn more_ranges(mut smallest: PacketNumber, count: u64, input: &mut Bytes) -> Result<Bytes, Malformed> {
    if count == 0 {
        return Ok(Bytes::new());
    }
    let mut rest = &input[..];
    // Each turn takes at least two bytes or fails, so the payload bounds the loop, not the count.
    for _ in 0..count {
        let before = rest;
        match next_range(smallest, &mut rest) {
            Some(range) => smallest = *range.start(),
            None => return Err(why_no_range(before)),
        }
    }
    let used = input.len() - rest.len();
    Ok(input.split_to(used))
}

#[cold]
fn why_no_range(mut input: &[u8]) -> Malformed {
    match (varint::decode(&mut input), varint::decode(&mut input)) {
        (Some(_), Some(_)) => NEGATIVE,
        _ => TRUNCATED,
    }
}

impl EncodeFrame for Ack {
    fn frame_type(&self) -> u64 {
        if self.ecn.is_some() { 0x03 } else { 0x02 }
    }

    fn size(&self) -> usize {
        let mut ranges = self.ranges.iter();
        let first = ranges.next().map_or(0, |range| range.end() - range.start());
        let mut smallest = self.largest.saturating_sub(first);
        let (mut count, mut size) = (0, 0);
        for range in ranges {
            size += varint::size(smallest - range.end() - 2) + varint::size(range.end() - range.start());
            (count, smallest) = (count + 1, *range.start());
        }
        let head = [self.largest, self.delay, count, first];
        1 + head.into_iter().map(varint::size).sum::<usize>() + size + ecn_size(self.ecn)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_ack(self.ranges.iter(), self.delay, self.ecn, usize::MAX, out);
    }
}

fn ecn_size(ecn: Option<EcnCounts>) -> usize {
    ecn.map_or(0, |ecn| varint::size(ecn.ect0) + varint::size(ecn.ect1) + varint::size(ecn.ce))
}

/// Appends an ACK frame of at most `max_size` bytes for as many of the ranges as fit, and returns how many these are;
/// at 0 nothing was written.
///
/// The ranges descend and have gaps between them. `delay` is already shifted by our ack_delay_exponent.
pub fn encode_ack(
    ranges: impl IntoIterator<Item = RangeInclusive<PacketNumber>>,
    delay: u64,
    ecn: Option<EcnCounts>,
    max_size: usize,
    out: &mut Vec<u8>,
) -> usize {
    let mut ranges = ranges.into_iter();
    let Some(first) = ranges.next() else { return 0 };
    let (largest, mut smallest) = (*first.end(), *first.start());
    let first_len = largest.saturating_sub(smallest);
    let mut size =
        1 + varint::size(largest) + varint::size(delay) + 1 + varint::size(first_len) + ecn_size(ecn);
    if size > max_size {
        return 0;
    }
    out.push(if ecn.is_some() { 0x03 } else { 0x02 });
    varint::encode(largest, out);
    varint::encode(delay, out);
    let count_at = out.len();
    out.push(0);
    varint::encode(first_len, out);
    let mut count = 0;
    for range in ranges {
        let Some(gap) = smallest.checked_sub(*range.end()).and_then(|gap| gap.checked_sub(2)) else { break };
        let len = range.end().saturating_sub(*range.start());
        let growth = varint::size(count + 1) - varint::size(count);
        size += varint::size(gap) + varint::size(len) + growth;
        if size > max_size {
            break;
        }
        varint::encode(gap, out);
        varint::encode(len, out);
        (count, smallest) = (count + 1, *range.start());
    }
    write_count(count, count_at, out);
    if let Some(ecn) = ecn {
        for value in [ecn.ect0, ecn.ect1, ecn.ce] {
            varint::encode(value, out);
        }
    }
    count as usize + 1
}

/// Puts `count` where one byte was kept for it; few frames need more.
fn write_count(count: u64, at: usize, out: &mut Vec<u8>) {
    if let (Ok(byte @ ..0x40), Some(place)) = (u8::try_from(count), out.get_mut(at)) {
        *place = byte;
    } else {
        let mut encoded = Vec::with_capacity(8);
        varint::encode(count, &mut encoded);
        out.splice(at..=at, encoded);
    }
}
