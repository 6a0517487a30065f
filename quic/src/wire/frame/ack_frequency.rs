//! ACK_FREQUENCY and IMMEDIATE_ACK frames (draft-ietf-quic-ack-frequency-12 §4, §5).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::wire::{draft, varint};

/// How often the sender wants to hear of what it sends.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct AckFrequency {
    /// Frames with a smaller or the same number are out of date.
    pub sequence: u64,
    /// How many ack-eliciting packets may arrive without an acknowledgment.
    pub eliciting_threshold: u64,
    /// How long an acknowledgment may wait, microseconds.
    pub max_ack_delay: u64,
    /// How far out of order packets may be before that is acknowledged at once; 0 for any distance.
    pub reordering_threshold: u64,
}

impl AckFrequency {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: read::varint(input)?,
            eliciting_threshold: read::varint(input)?,
            max_ack_delay: read::varint(input)?,
            reordering_threshold: read::varint(input)?,
        })
    }

    fn fields(&self) -> [u64; 5] {
        let Self { sequence, eliciting_threshold, max_ack_delay, reordering_threshold } = *self;
        [draft::ACK_FREQUENCY, sequence, eliciting_threshold, max_ack_delay, reordering_threshold]
    }
}

impl EncodeFrame for AckFrequency {
    fn frame_type(&self) -> u64 {
        draft::ACK_FREQUENCY
    }

    fn size(&self) -> usize {
        self.fields().into_iter().map(varint::size).sum()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.fields().into_iter().for_each(|field| varint::encode(field, out));
    }
}

/// Asks for an acknowledgment without delay.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct ImmediateAck;

impl EncodeFrame for ImmediateAck {
    fn frame_type(&self) -> u64 {
        draft::IMMEDIATE_ACK
    }

    fn size(&self) -> usize {
        1
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::encode(draft::IMMEDIATE_ACK, out);
    }
}
