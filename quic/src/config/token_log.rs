//! Which address validation tokens were used already (RFC 9000 §8.1.4).

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Remembers the tokens of NEW_TOKEN frames that clients have used, so that each is good for one connection.
///
/// A server asks it for each client that comes with a token of its own making. Servers that share a token key and do not
/// share their log accept a token once each.
///
/// It may err on one side only: a token that is taken for used although it is not costs its client a round trip at
/// most, because its address counts as not validated.
pub trait TokenLog: fmt::Debug + Send + Sync {
    /// Enters the token with this number. True if it is there for the first time.
    ///
    /// `lifetime` is how long tokens are good: `now` and that long later the entry can go.
    ///
    /// Called in the task that receives datagrams: it must not block.
    fn enter(&self, id: u128, now: SystemTime, lifetime: Duration) -> bool;
}

/// The default [`TokenLog`]: a fixed amount of memory, whatever happens.
///
/// Two Bloom filters of equal size; the older one is emptied and takes over when the other has lasted for the lifetime of
/// a token. The more tokens are used within a lifetime, the more others are taken for used: with the default size one of
/// 10,000 after 100,000 tokens, one of 15 after 500,000. It is lost when the process ends; tokens of an earlier process with
/// the same key can then be used once more.
pub struct BloomTokenLog {
    /// Of each filter, in 64-bit words.
    words: usize,
    filters: Mutex<Filters>,
}

#[derive(Default)]
struct Filters {
    /// The present one first. Empty until there is something to remember.
    bits: [Vec<u64>; 2],
    since: Option<SystemTime>,
}

/// Bits that are set for a token.
const HASHES: u32 = 6;

impl BloomTokenLog {
    /// Takes so many bytes of memory for each of its two halves, at least 64 and rounded up to a power of two, once the
    /// first token is used. The default is 256 KiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let words = bytes.clamp(64, 1 << 30).next_power_of_two() / 8;
        Self { words, filters: Mutex::default() }
    }
}

impl Default for BloomTokenLog {
    fn default() -> Self {
        Self::new(256 << 10)
    }
}

impl TokenLog for BloomTokenLog {
    fn enter(&self, id: u128, now: SystemTime, lifetime: Duration) -> bool {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let Filters { bits, since } = &mut *filters;
        // A clock that goes back extends the time of the present filter; nothing is forgotten early.
        let age = now.duration_since(*since.get_or_insert(now)).unwrap_or_default();
        if age > lifetime {
            *since = Some(now);
            bits.swap(0, 1);
            bits[0].clear();
            if age > 2 * lifetime {
                bits[1].clear();
            }
        }
        let used =
            bits.iter().any(|bits| !bits.is_empty() && places(id, self.words).all(|at| is_set(bits, at)));
        bits[0].resize(self.words, 0);
        for (word, bit) in places(id, self.words) {
            bits[0][word] |= 1 << bit;
        }
        !used
    }
}

/// The bits of a token. Its number is random already: pieces of it are as good as hashes.
fn places(id: u128, words: usize) -> impl Iterator<Item = (usize, u32)> {
    let (start, step) = ((id >> 64) as u64, id as u64 | 1);
    (0..HASHES).map(move |n| {
        let hash = start.wrapping_add(step.wrapping_mul(n.into()));
        ((hash >> 6) as usize & (words - 1), (hash & 63) as u32)
    })
}

fn is_set(bits: &[u64], (word, bit): (usize, u32)) -> bool {
    bits.get(word).is_some_and(|word| word >> bit & 1 == 1)
}

impl fmt::Debug for BloomTokenLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BloomTokenLog").field("bytes", &(2 * 8 * self.words)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Rng;

    const DAY: Duration = Duration::from_secs(86_400);

    fn id(rng: &mut Rng) -> u128 {
        u128::from_be_bytes(rng.array())
    }

    fn day(n: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY.mul_f64(1000.0 + n)
    }

    // covers: R9000-8.1.4-06 R9000-8.1.4-08
    #[test]
    fn a_token_is_good_once_for_at_least_its_lifetime() {
        let mut rng = Rng::from_u64(1);
        let log = BloomTokenLog::default();
        for start in [0.0, 0.3, 0.9, 1.5, 4.0] {
            let token = id(&mut rng);
            assert!(log.enter(token, day(start), DAY));
            for later in [0.0, 0.1, 0.5, 1.0] {
                assert!(!log.enter(token, day(start + later), DAY), "used {later} days after {start}");
            }
        }
        let token = id(&mut rng);
        assert!(log.enter(token, day(5.0), DAY));
        assert!(!log.enter(token, day(4.5), DAY), "the clock went back");
        assert!(log.enter(token, day(9.0), DAY), "expired and forgotten");
    }

    #[test]
    fn few_tokens_are_mistaken_and_memory_stays() {
        let mut rng = Rng::from_u64(2);
        let log = BloomTokenLog::default();
        let mistaken = |log: &BloomTokenLog, rng: &mut Rng, tokens: u32, n: f64| {
            (0..tokens).filter(|_| !log.enter(id(rng), day(n), DAY)).count()
        };
        assert!(mistaken(&log, &mut rng, 100_000, 0.0) < 20);
        assert!(mistaken(&log, &mut rng, 10_000, 0.0) < 10);
        // Overwhelmed, it takes everything for used, and gets over it.
        let small = BloomTokenLog::new(0);
        assert!(mistaken(&small, &mut rng, 100_000, 0.0) > 90_000);
        assert_eq!(small.filters.lock().unwrap().bits[0].len(), 8);
        assert!(mistaken(&small, &mut rng, 10, 3.0) <= 1);
    }
}
