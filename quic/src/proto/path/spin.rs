//! The latency spin bit: an observer on the path sees the round-trip time of those who let it (RFC 9000 §17.4).

use crate::packet::{Rng, Side};

/// One path in so many does not spin, so that those who never do stand out less. At most 16.
const ONE_IN: u64 = 8;

/// The spin bit of one path.
#[derive(Debug, Copy, Clone)]
pub struct SpinBit {
    spins: bool,
    value: bool,
}

impl SpinBit {
    /// For a new path. What does not spin shows a value of its own choice.
    #[must_use]
    pub fn new(enabled: bool, rng: &mut Rng) -> Self {
        let spins = enabled && rng.below(ONE_IN) != 0;
        Self { spins, value: !spins && rng.below(2) == 1 }
    }

    /// One that spins, for tests.
    #[cfg(test)]
    pub fn spinning() -> Self {
        Self { spins: true, value: false }
    }

    /// What the next packet shows.
    #[must_use]
    pub fn value(self) -> bool {
        self.value
    }

    /// The packet with the largest number so far showed this: a server shows the same, a client the opposite.
    pub fn on_received(&mut self, side: Side, bit: bool) {
        if self.spins {
            self.value = bit != side.is_client();
        }
    }

    /// We send to another connection ID from now on.
    pub fn reset(&mut self, rng: &mut Rng) {
        self.value = !self.spins && rng.below(2) == 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: R9000-17.4-03
    #[test]
    fn one_path_in_eight_does_not_spin() {
        let mut rng = Rng::from_u64(1);
        let quiet = (0..8_000).filter(|_| !SpinBit::new(true, &mut rng).spins).count();
        assert!((900..1_100).contains(&quiet), "{quiet}");
    }

    // covers: R9000-17.4-01 R9000-17.4-02 R9000-17.4-04 R9000-17.4-05
    #[test]
    fn what_does_not_spin_ignores_the_peer_and_says_nothing() {
        let mut rng = Rng::from_u64(2);
        let mut ones = 0;
        for _ in 0..1_000 {
            let mut spin = SpinBit::new(false, &mut rng);
            let value = spin.value();
            for bit in [false, true] {
                spin.on_received(Side::Server, bit);
                assert_eq!(spin.value(), value);
            }
            spin.reset(&mut rng);
            ones += usize::from(spin.value());
        }
        assert!((400..600).contains(&ones), "{ones}");
    }

    #[test]
    fn a_server_reflects_and_a_client_inverts() {
        let mut spin = SpinBit { spins: true, value: false };
        spin.on_received(Side::Client, false);
        assert!(spin.value());
        spin.on_received(Side::Server, true);
        assert!(spin.value());
        spin.reset(&mut Rng::from_u64(1));
        assert!(!spin.value());
    }
}
