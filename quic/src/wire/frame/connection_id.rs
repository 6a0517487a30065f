//! NEW_CONNECTION_ID, RETIRE_CONNECTION_ID (RFC 9000 §19.15, §19.16).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};
use crate::packet::{ConnectionId, RESET_TOKEN_LEN, ResetToken};
use crate::wire::varint;

/// A connection ID that the receiver of the frame may use as destination.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct NewConnectionId {
    /// Its number.
    pub sequence: u64,
    /// All IDs with smaller numbers are to be retired; at most `sequence`.
    pub retire_prior_to: u64,
    /// 1 to 20 bytes.
    pub id: ConnectionId,
    /// Recognises a stateless reset of packets sent to this ID.
    pub reset_token: ResetToken,
}

impl NewConnectionId {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        let sequence = read::varint(input)?;
        let retire_prior_to = read::varint(input)?;
        let [len] = read::array(input)?;
        let id = read::bytes(input, len.into())?;
        let reset_token = ResetToken(read::array(input)?);
        if retire_prior_to > sequence {
            return Err("retire_prior_to above the sequence number");
        }
        match ConnectionId::try_from(&id[..]) {
            Ok(id) if !id.is_empty() => Ok(Self { sequence, retire_prior_to, id, reset_token }),
            _ => Err("connection ID of 0 or more than 20 bytes"),
        }
    }
}

impl EncodeFrame for NewConnectionId {
    fn frame_type(&self) -> u64 {
        0x18
    }

    fn size(&self) -> usize {
        1 + varint::size(self.sequence)
            + varint::size(self.retire_prior_to)
            + 1
            + self.id.len()
            + RESET_TOKEN_LEN
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x18);
        varint::encode(self.sequence, out);
        varint::encode(self.retire_prior_to, out);
        #[expect(clippy::cast_possible_truncation, reason = "at most 20")]
        out.push(self.id.len() as u8);
        out.extend_from_slice(self.id.as_slice());
        out.extend_from_slice(&self.reset_token.0);
    }
}

/// The sender no longer uses a connection ID of the receiver.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct RetireConnectionId {
    /// Its number.
    pub sequence: u64,
}

impl RetireConnectionId {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { sequence: read::varint(input)? })
    }
}

impl EncodeFrame for RetireConnectionId {
    fn frame_type(&self) -> u64 {
        0x19
    }

    fn size(&self) -> usize {
        1 + varint::size(self.sequence)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x19);
        varint::encode(self.sequence, out);
    }
}
