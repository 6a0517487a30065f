//! Chance that depends on a seed and on positions alone.

use std::time::Duration;

/// What happens to one datagram on one link; a copy made on the way has its own fate.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    hash: u64,
}

impl Fate {
    pub(super) fn new(seed: u64, link: usize, index: u64) -> Self {
        Self { hash: mix(mix(mix(seed) ^ link as u64) ^ index) }
    }

    /// The fate of a copy.
    pub(super) fn copy(self) -> Self {
        Self { hash: mix(self.hash ^ u64::MAX) }
    }

    /// True for this share of all datagrams, at the `node`-th node of the link.
    pub(super) fn hits(self, node: usize, share: f64) -> bool {
        self.uniform(node) < share
    }

    /// A number below `bound`, independent of [`Fate::hits`] at the same node.
    pub(super) fn below(self, node: usize, bound: usize) -> usize {
        (mix(!self.hash ^ (node as u64 + 1)) % bound.max(1) as u64) as usize
    }

    /// Some part of a time, at the `node`-th node of the link.
    pub(super) fn part(self, node: usize, of: Duration) -> Duration {
        of.mul_f64(self.uniform(node))
    }

    /// A number from 0 to 1, at the `node`-th node of the link.
    fn uniform(self, node: usize) -> f64 {
        let bits = mix(self.hash ^ (node as u64 + 1)) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

/// The output function of SplitMix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
