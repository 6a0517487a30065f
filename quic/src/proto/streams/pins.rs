//! Whether received data is worth the memory that it pins.
//!
//! A chunk is a slice of a receive buffer that many datagrams share, and keeps all of it alive. A peer that sends one
//! byte of stream data per batch would make us hold a large buffer for each. So we keep account: while buffers held
//! much more than we kept of them, data is copied out.

/// Kept within this many bytes, so that the past does not excuse the present.
const HORIZON: u64 = 1 << 20;
/// Waste that is never held against a peer: two large buffers.
const ALLOWANCE: u64 = 128 * 1024;
/// How many bytes a byte may pin.
const FACTOR: u64 = 4;

/// The account of one kind of data.
#[derive(Debug, Default)]
pub struct Pins {
    /// Memory of the burst being processed that no data was kept of so far.
    burst: u64,
    pinned: u64,
    kept: u64,
    copy: bool,
}

impl Pins {
    /// The data that follows are slices of a buffer of this size.
    pub fn begin(&mut self, capacity: usize) {
        if self.pinned > HORIZON {
            self.pinned /= 2;
            self.kept /= 2;
        }
        self.copy = self.pinned > ALLOWANCE + FACTOR * self.kept;
        self.burst = capacity as u64;
    }

    /// Data is to be kept: true if it must be copied out.
    pub fn keep(&mut self, bytes: usize) -> bool {
        if bytes > 0 {
            self.kept += bytes as u64;
            self.pinned += std::mem::take(&mut self.burst);
        }
        self.copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_batches_are_never_copied() {
        let mut pins = Pins::default();
        for _ in 0..1000 {
            pins.begin(65_536);
            assert!((0..20).all(|_| !pins.keep(1400)));
        }
    }

    #[test]
    fn a_peer_that_wastes_buffers_is_copied_and_forgiven() {
        let mut pins = Pins::default();
        let mut pinned = 0;
        for _ in 0..10_000 {
            pins.begin(65_536);
            pinned += if pins.keep(1) { 0 } else { 65_536 };
        }
        assert!(pinned < 2 * ALLOWANCE, "{pinned}");
        let copied = (0..200).filter(|_| {
            pins.begin(65_536);
            (0..40).filter(|_| pins.keep(1400)).count() > 0
        });
        assert!(copied.count() < 30);
    }

    #[test]
    fn good_behaviour_buys_a_bounded_amount_of_waste() {
        let mut pins = Pins::default();
        for _ in 0..10_000 {
            pins.begin(65_536);
            pins.keep(60_000);
        }
        let mut pinned = 0;
        for _ in 0..10_000 {
            pins.begin(65_536);
            pinned += if pins.keep(1) { 0 } else { 65_536 };
        }
        assert!(pinned < 8 * HORIZON, "{pinned}");
    }
}
