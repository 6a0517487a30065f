//! Spreads a window over a round trip, as far as timers of a millisecond can (RFC 9002 §7.7).
//!
//! A bucket fills at the pacing rate and holds two milliseconds' worth, at least ten datagrams, at most 256 KiB: a
//! small queue on the path survives what it lets out at once. Sleeping less than a millisecond is not worth it, as
//! the runtime would make a millisecond of it: what would have to wait less leaves now, and the bucket carries the debt.

use std::time::{Duration, Instant};

/// The shortest sleep.
const MIN_SLEEP: Duration = Duration::from_millis(1);

/// The bucket holds what the rate yields in this time.
const BURST: Duration = Duration::from_millis(2);

/// The least that the bucket holds, datagrams.
const MIN_BURST_DATAGRAMS: u64 = 10;

/// The most that the bucket holds, bytes.
const MAX_BURST_BYTES: u64 = 256 * 1024;

/// Longer waits come from rates that make no sense; the next look will tell.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// The token bucket of one path.
#[derive(Debug, Clone)]
pub struct Pacer {
    /// Bytes in the bucket at `at`; negative is debt. Full before the first packet.
    level: Option<i64>,
    at: Instant,
}

impl Pacer {
    /// A full bucket.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { level: None, at: now }
    }

    /// How many bytes may leave now, at least a datagram, at `rate` bytes per second.
    ///
    /// # Errors
    /// The time when the next datagram may leave, at least a millisecond away.
    pub fn allowance(
        &self,
        now: Instant,
        rate: u64,
        smoothed_rtt: Duration,
        datagram: u64,
    ) -> Result<u64, Instant> {
        if smoothed_rtt < MIN_SLEEP {
            return Ok(u64::MAX);
        }
        let level = self.level_at(now, rate, datagram);
        let missing = u64::try_from(signed(datagram).saturating_sub(level)).unwrap_or(0);
        let wait = duration_of(missing, rate);
        if wait >= MIN_SLEEP {
            return Err(now + wait.min(MAX_SLEEP));
        }
        let within_sleep = level.saturating_add(signed(bytes_in(MIN_SLEEP, rate)));
        Ok(u64::try_from(within_sleep).unwrap_or(0).clamp(datagram, capacity(rate, datagram)))
    }

    /// Takes bytes that were sent out of the bucket. Probes are taken out as well, however empty it is.
    ///
    /// Only the first packet of a batch asks for the rate: the others leave at the same time.
    pub fn on_sent(&mut self, now: Instant, bytes: u64, datagram: u64, rate: impl FnOnce() -> u64) {
        let level = match self.level {
            Some(level) if now <= self.at => level,
            _ => self.level_at(now, rate(), datagram),
        };
        self.level = Some(level.saturating_sub(signed(bytes)));
        self.at = self.at.max(now);
    }

    /// The most bytes that leave at once, at this rate.
    #[must_use]
    pub fn burst(rate: u64, datagram: u64) -> u64 {
        capacity(rate, datagram)
    }

    fn level_at(&self, now: Instant, rate: u64, datagram: u64) -> i64 {
        let capacity = signed(capacity(rate, datagram));
        let Some(level) = self.level else { return capacity };
        // Debt beyond that comes from probes and from times without pacing; it is forgiven.
        let level = level.max(-capacity.max(signed(bytes_in(BURST, rate))));
        let gained = signed(bytes_in(now.saturating_duration_since(self.at), rate));
        level.saturating_add(gained).min(capacity)
    }
}

fn capacity(rate: u64, datagram: u64) -> u64 {
    let least = MIN_BURST_DATAGRAMS * datagram;
    bytes_in(BURST, rate).clamp(least, MAX_BURST_BYTES.max(least))
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn duration_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
