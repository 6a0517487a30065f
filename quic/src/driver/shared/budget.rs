//! The memory of an endpoint: two sums over all of its connections, which everything that can grow is steered by.
//!
//! Nobody asks here per packet. A connection reports at the end of a turn, and in coarse steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection costs that does nothing, bytes.
pub const CONNECTION: u64 = 16 << 10;

/// What connections hold is counted in steps of so many bytes.
const STEP: u64 = 16 << 10;

/// What is granted to a connection that makes no use of it counts for this part.
const IDLE_SHARE: u64 = 8;

/// How much of the budget is used.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Less than three quarters.
    Low,
    /// Three quarters: nothing grows any more, and what can becomes smaller.
    High,
    /// All: no more connections.
    Full,
}

/// The account of an endpoint.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: u64,
    /// What connections hold.
    used: AtomicU64,
    /// What receive windows have grown by: peers may make us hold it any time.
    granted: AtomicU64,
    held_back: AtomicU64,
    shrunk: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, and nothing used.
    pub fn new(limit: u64) -> Self {
        let [used, granted, held_back, shrunk] = Default::default();
        Self { limit, used, granted, held_back, shrunk }
    }

    /// How much is used.
    pub fn pressure(&self) -> Pressure {
        match self.used() {
            used if used >= self.limit => Pressure::Full,
            used if used >= self.limit - self.limit / 4 => Pressure::High,
            _ => Pressure::Low,
        }
    }

    /// Bytes that connections hold.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that receive windows have grown by.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// How often the window of a connection would have grown but for the budget.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// How often a connection was given a smaller window because the budget was nearly used up.
    pub fn shrunk(&self) -> u64 {
        self.shrunk.load(Ordering::Relaxed)
    }

    /// Grants bytes if there are so many left.
    fn grant(&self, bytes: u64) -> bool {
        let room = |granted: u64| granted.checked_add(bytes).filter(|granted| *granted <= self.limit);
        self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }
}

/// The share of one connection; dropping it gives everything back.
#[derive(Debug)]
pub struct Account {
    budget: Arc<MemoryBudget>,
    used: u64,
    granted: u64,
    /// The window that was asked for last and not granted.
    refused: u64,
}

impl Account {
    /// The share of a connection that does nothing.
    pub fn new(budget: Arc<MemoryBudget>) -> Self {
        budget.used.fetch_add(CONNECTION, Ordering::Relaxed);
        Self { budget, used: CONNECTION, granted: 0, refused: 0 }
    }

    /// The connection holds so many bytes of data now.
    pub fn hold(&mut self, bytes: u64) {
        let used = CONNECTION + bytes.next_multiple_of(STEP);
        replace(&self.budget.used, &mut self.used, used);
    }

    /// What is true of the whole endpoint.
    pub fn pressure(&self) -> Pressure {
        self.budget.pressure()
    }

    /// Asks for a receive window of `window` bytes, which are `more` than what is granted already.
    pub fn grow(&mut self, more: u64, window: u64) -> bool {
        let granted = self.budget.grant(more);
        if granted {
            self.granted += more;
        } else if self.refused != window {
            self.budget.held_back.fetch_add(1, Ordering::Relaxed);
        }
        self.refused = if granted { 0 } else { window };
        granted
    }

    /// The window of the connection was made smaller.
    pub fn count_shrunk(&self) {
        self.budget.shrunk.fetch_add(1, Ordering::Relaxed);
    }

    /// Whatever was asked for: the peer may make us hold so many bytes more than it could at first. If it makes no use of
    /// that, it counts for little.
    pub fn set_granted(&mut self, bytes: u64, idle: bool) {
        let counted = if idle { bytes / IDLE_SHARE } else { bytes };
        replace(&self.budget.granted, &mut self.granted, counted);
    }

    /// What counts as granted.
    pub fn granted(&self) -> u64 {
        self.granted
    }
}

/// Replaces our part of a sum.
fn replace(sum: &AtomicU64, ours: &mut u64, with: u64) {
    let before = std::mem::replace(ours, with);
    if with > before {
        sum.fetch_add(with - before, Ordering::Relaxed);
    } else if with < before {
        sum.fetch_sub(before - with, Ordering::Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        replace(&self.budget.used, &mut self.used, 0);
        replace(&self.budget.granted, &mut self.granted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_in_steps_and_give_everything_back() {
        let budget = Arc::new(MemoryBudget::new(1 << 20));
        let mut account = Account::new(budget.clone());
        assert_eq!(budget.used(), CONNECTION);
        account.hold(1);
        assert_eq!(budget.used(), CONNECTION + STEP);
        account.hold(STEP);
        assert_eq!(budget.used(), CONNECTION + STEP);
        account.set_granted(5, false);
        let other = Account::new(budget.clone());
        drop(account);
        assert_eq!((budget.used(), budget.granted()), (CONNECTION, 0));
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn pressure_rises_at_three_quarters_and_when_all_is_used() {
        let budget = Arc::new(MemoryBudget::new(100 * STEP));
        let mut account = Account::new(budget.clone());
        for (held, pressure) in
            [(0, Pressure::Low), (73, Pressure::Low), (74, Pressure::High), (98, Pressure::High)]
        {
            account.hold(held * STEP);
            assert_eq!(budget.pressure(), pressure, "{held}");
        }
        account.hold(99 * STEP);
        assert_eq!(account.pressure(), Pressure::Full);
    }

    #[test]
    fn windows_grow_while_there_is_room_and_refusals_count_once() {
        let budget = Arc::new(MemoryBudget::new(1000));
        let [mut a, mut b] = [(); 2].map(|()| Account::new(budget.clone()));
        assert!(a.grow(600, 1600));
        assert!(!b.grow(600, 1600) && !b.grow(600, 1600));
        assert_eq!((budget.granted(), budget.held_back()), (600, 1));
        assert!(b.grow(400, 1400));
        a.set_granted(0, false);
        assert!(b.grow(600, 2000));
        b.set_granted(1000, true);
        assert_eq!(budget.granted(), 125, "an eighth");
        assert!(a.grow(800, 1800));
        // It is in use again: more is granted than should be, and nothing more is.
        b.set_granted(1000, false);
        assert!(budget.granted() == 1800 && !a.grow(1, 1801));
        drop(a);
        drop(b);
        assert_eq!(budget.granted(), 0);
    }
}
