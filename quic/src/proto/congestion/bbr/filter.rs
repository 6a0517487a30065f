//! Windowed maxima.

/// The largest rate of the present and the previous cycle of probing (BBR.max_bw_filter).
#[derive(Debug, Default)]
pub(super) struct MaxRate {
    previous: u64,
    present: u64,
}

impl MaxRate {
    pub(super) fn update(&mut self, rate: u64) {
        self.present = self.present.max(rate);
    }

    pub(super) fn get(&self) -> u64 {
        self.present.max(self.previous)
    }

    /// AdvanceMaxBwFilter. A cycle without samples is none.
    pub(super) fn advance(&mut self) {
        if self.present > 0 {
            self.previous = std::mem::take(&mut self.present);
        }
    }
}

/// The largest value of the last rounds, in three steps (Kathleen Nichols' algorithm).
#[derive(Debug, Default)]
pub(super) struct MaxOfRounds {
    /// The largest, the largest since that one, the largest since the second: (round, value).
    best: [(u64, u64); 3],
}

impl MaxOfRounds {
    pub(super) fn get(&self) -> u64 {
        self.best[0].1
    }

    /// Adds a value; those of `rounds` or more rounds ago are forgotten.
    pub(super) fn update(&mut self, round: u64, value: u64, rounds: u64) {
        let sample = (round, value);
        let age = |at: u64| round.saturating_sub(at);
        if value >= self.best[0].1 || age(self.best[2].0) >= rounds {
            self.best = [sample; 3];
            return;
        }
        if value >= self.best[1].1 {
            self.best[1..].fill(sample);
        } else if value >= self.best[2].1 {
            self.best[2] = sample;
        }
        if age(self.best[0].0) >= rounds {
            self.best = [self.best[1], self.best[2], sample];
            if age(self.best[0].0) >= rounds {
                self.best = [self.best[1], self.best[2], sample];
            }
        } else if self.best[1].0 == self.best[0].0 && age(self.best[1].0) >= rounds.div_ceil(4) {
            self.best[1..].fill(sample);
        } else if self.best[2].0 == self.best[1].0 && age(self.best[2].0) >= rounds.div_ceil(2) {
            self.best[2] = sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_lasts_for_two_cycles() {
        let mut filter = MaxRate::default();
        filter.update(7);
        filter.update(5);
        filter.advance();
        filter.update(3);
        assert_eq!(filter.get(), 7);
        filter.advance();
        assert_eq!(filter.get(), 3);
        filter.advance();
        assert_eq!(filter.get(), 3, "nothing came in between");
    }

    /// Against all values of the window.
    #[test]
    fn the_maximum_of_rounds_is_never_older_than_the_window() {
        let mut filter = MaxOfRounds::default();
        let mut all = Vec::new();
        let mut state = 1u64;
        for round in 0..2000u64 {
            for _ in 0..state % 3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let value = (state >> 40) % 1000;
                filter.update(round, value, 10);
                all.push((round, value));
                let newest = all.iter().filter(|(at, _)| round - at < 10).map(|(_, value)| *value);
                assert!(filter.get() <= newest.clone().max().unwrap(), "it is one of them");
                assert!(filter.get() >= value, "and no smaller than the newest");
            }
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ state >> 7;
        }
        filter.update(5000, 1, 10);
        assert_eq!(filter.get(), 1);
    }
}
