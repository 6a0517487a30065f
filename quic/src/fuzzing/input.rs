//! Reads decisions out of fuzzed bytes.

/// The rest of an input. When it is used up, all decisions are 0.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number of up to 62 bits in one to eight bytes, as in QUIC: small ones are likely.
    pub fn number(&mut self) -> u64 {
        let first = self.byte();
        let more = self.take((1 << (first >> 6)) - 1);
        more.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte))
    }

    /// Up to `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
