//! How often a client gives up what it asked for (RFC 9114 §10.5).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// So much may be in use: as many come at once as in a second.
const BUDGET: u64 = 1_000_000_000;

/// Requests that are made and given up in a loop cost the client nothing, and us the work of a service each.
#[derive(Debug)]
pub(super) struct GivenUp {
    start: Instant,
    /// What each uses of the budget, nanoseconds.
    each: u64,
    /// Until when the budget is in use, nanoseconds since the start. Exactness does not matter.
    until: AtomicU64,
}

impl GivenUp {
    #[expect(
        clippy::disallowed_methods,
        reason = "a rate needs a clock; that of the runtime, which tests can stop"
    )]
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            start: Instant::now(),
            each: if per_second == u32::MAX { 0 } else { BUDGET / u64::from(per_second.max(1)) },
            until: AtomicU64::new(0),
        }
    }

    /// One more was given up. False if those are too many.
    pub(super) fn count(&self) -> bool {
        self.spend(self.start.elapsed())
    }

    fn spend(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let after = |until: u64| until.max(now).saturating_add(self.each);
        let before = self
            .until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| Some(after(until)))
            .unwrap_or_else(|until| until);
        after(before) - now <= BUDGET
    }

    /// One was seen through.
    pub(super) fn make_up(&self) {
        if self.until.load(Ordering::Relaxed) > 0 {
            let less = |until: u64| Some(until.saturating_sub(self.each));
            let _ = self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_and_a_thousand_a_second() {
        let given_up = GivenUp::new(1000);
        let at = Duration::from_millis;
        assert!((0..1000).all(|_| given_up.spend(at(5))) && !given_up.spend(at(5)));
        assert!(given_up.spend(at(7)) && !given_up.spend(at(7)));
        assert!((1000..9000).all(|ms| given_up.spend(at(ms))));
        (0..3).for_each(|_| given_up.make_up());
        let all = (0..2000).take_while(|_| given_up.spend(at(20_000))).count();
        assert_eq!(all, 1000, "nothing is saved for later");
        (0..3).for_each(|_| given_up.make_up());
        assert!((0..2).all(|_| given_up.spend(at(20_000))) && !given_up.spend(at(20_000)));
    }

    #[test]
    fn as_many_as_the_setting_says() {
        let at_once = |per_second| {
            let given_up = GivenUp::new(per_second);
            (0..5_000).take_while(|_| given_up.spend(Duration::ZERO)).count()
        };
        assert_eq!([0, 1, 7, 3_000, u32::MAX].map(at_once), [1, 1, 7, 3_000, 5_000]);
    }
}
