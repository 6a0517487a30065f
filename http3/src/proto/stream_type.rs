//! The types of unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2): a varint at the front of the stream.

use super::varint;

/// What a unidirectional stream carries. Read with [`PartialVarInt`](super::varint::PartialVarInt).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(crate) enum StreamType {
    /// Frames that concern the connection; one per side.
    Control,
    /// A pushed response.
    Push,
    /// QPACK instructions of the side that encodes; one per side.
    QpackEncoder,
    /// QPACK instructions of the side that decodes; one per side.
    QpackDecoder,
    /// To be read past or aborted, never an error; reserved types among them (RFC 9114 §6.2.3).
    Unknown(u64),
}

impl StreamType {
    /// A reserved type, which a peer ignores.
    pub(crate) const fn reserved(n: u64) -> Self {
        Self::Unknown(super::reserved(n))
    }

    /// The number on the wire.
    pub(crate) const fn as_u64(self) -> u64 {
        match self {
            Self::Control => 0x00,
            Self::Push => 0x01,
            Self::QpackEncoder => 0x02,
            Self::QpackDecoder => 0x03,
            Self::Unknown(number) => number,
        }
    }

    /// Appends what the stream begins with.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        varint::put(self.as_u64(), out);
    }
}

impl From<u64> for StreamType {
    fn from(number: u64) -> Self {
        match number {
            0x00 => Self::Control,
            0x01 => Self::Push,
            0x02 => Self::QpackEncoder,
            0x03 => Self::QpackDecoder,
            _ => Self::Unknown(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_types_agree() {
        for number in [0, 1, 2, 3, 4, 0x21, 0x54] {
            assert_eq!(StreamType::from(number).as_u64(), number);
        }
        let mut out = Vec::new();
        StreamType::reserved(1).encode(&mut out);
        assert_eq!(out, [0x40, 0x40]);
    }
}
