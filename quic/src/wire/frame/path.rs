//! PATH_CHALLENGE, PATH_RESPONSE (RFC 9000 §19.17, §19.18).

use bytes::Bytes;

use super::EncodeFrame;
use super::read::{self, Malformed};

/// Asks the peer to prove that packets reach it on this path.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct PathChallenge {
    /// Nobody can guess these.
    pub data: [u8; 8],
}

impl PathChallenge {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { data: read::array(input)? })
    }
}

impl EncodeFrame for PathChallenge {
    fn frame_type(&self) -> u64 {
        0x1a
    }

    fn size(&self) -> usize {
        9
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x1a);
        out.extend_from_slice(&self.data);
    }
}

/// The proof.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct PathResponse {
    /// What the challenge carried.
    pub data: [u8; 8],
}

impl PathResponse {
    pub(super) fn parse(input: &mut Bytes) -> Result<Self, Malformed> {
        Ok(Self { data: read::array(input)? })
    }
}

impl EncodeFrame for PathResponse {
    fn frame_type(&self) -> u64 {
        0x1b
    }

    fn size(&self) -> usize {
        9
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x1b);
        out.extend_from_slice(&self.data);
    }
}
