//! Frames without content: PADDING, PING, HANDSHAKE_DONE (RFC 9000 §19.1, §19.2, §19.20).

use bytes::{Buf, Bytes};

use super::EncodeFrame;

/// This many PADDING frames in a row.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Padding(pub usize);

impl Padding {
    /// Takes the run whose first byte was taken already.
    pub(super) fn parse(input: &mut Bytes) -> Self {
        let blocks = input.chunks_exact(16).take_while(|block| **block == [0; 16]).count();
        input.advance(blocks * 16);
        let tail = input.iter().take_while(|byte| **byte == 0).count();
        input.advance(tail);
        Self(1 + blocks * 16 + tail)
    }
}

impl EncodeFrame for Padding {
    fn frame_type(&self) -> u64 {
        0x00
    }

    fn size(&self) -> usize {
        self.0
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.0, 0);
    }
}

/// Asks for an acknowledgment and nothing else.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Ping;

impl EncodeFrame for Ping {
    fn frame_type(&self) -> u64 {
        0x01
    }

    fn size(&self) -> usize {
        1
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x01);
    }
}

/// The server's word that the handshake is confirmed.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct HandshakeDone;

impl EncodeFrame for HandshakeDone {
    fn frame_type(&self) -> u64 {
        0x1e
    }

    fn size(&self) -> usize {
        1
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x1e);
    }
}
