//! Which streams of one kind exist, and how many may.
//!
//! A stream opens all lower ones of its kind with it (RFC 9000 §3.2). Those cost nothing until a frame or the
//! application names them: they stay ranges.

use crate::proto::range_set::RangeSet;

/// There are never more streams of one kind (RFC 9000 §4.6).
pub(super) const MAX_STREAMS: u64 = 1 << 60;

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Neither this nor a higher one was ever named.
    Unopened,
    /// Open because a higher one is; there is no record of it.
    Implicit,
    /// Named before: it has a record, or it has ended.
    Named,
}

/// The streams of one initiator and direction.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The lowest index that is not open.
    next: u64,
    implicit: RangeSet,
}

impl Ids {
    pub(super) fn standing(&self, index: u64) -> Standing {
        if index >= self.next {
            Standing::Unopened
        } else if self.implicit.contains(index) {
            Standing::Implicit
        } else {
            Standing::Named
        }
    }

    /// Marks a stream as named, and opens those below it.
    pub(super) fn name(&mut self, index: u64) {
        if index >= self.next {
            self.implicit.insert(self.next..index);
            self.next = index + 1;
        } else {
            self.implicit.remove(index..index + 1);
        }
    }
}

/// How many streams of one direction the peer may open.
#[derive(Debug)]
pub(super) struct RemoteLimit {
    /// How many may be open at a time.
    concurrent: u64,
    /// The cumulative limit last told to the peer.
    advertised: u64,
    /// Streams that have ended.
    ended: u64,
}

impl RemoteLimit {
    pub(super) fn new(concurrent: u64) -> Self {
        let concurrent = concurrent.min(MAX_STREAMS);
        Self { concurrent, advertised: concurrent, ended: 0 }
    }

    pub(super) fn advertised(&self) -> u64 {
        self.advertised
    }

    pub(super) fn set_concurrent(&mut self, concurrent: u64) {
        self.concurrent = concurrent.min(MAX_STREAMS);
    }

    pub(super) fn end_one(&mut self) {
        self.ended += 1;
    }

    /// True once a quarter of the concurrency can be given back.
    pub(super) fn is_due(&self) -> bool {
        self.next_limit() - self.advertised >= (self.concurrent / 4).max(1)
    }

    /// Takes the limit to tell the peer now.
    pub(super) fn advertise(&mut self) -> u64 {
        self.advertised = self.next_limit();
        self.advertised
    }

    fn next_limit(&self) -> u64 {
        self.ended.saturating_add(self.concurrent).clamp(self.advertised, MAX_STREAMS)
    }
}

/// How many streams of one direction we may open.
#[derive(Debug, Default)]
pub(super) struct LocalLimit {
    pub(super) streams: u64,
    /// The application waits for more than this many.
    pub(super) blocked_at: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: R9000-3.2-01
    #[test]
    fn a_stream_opens_the_lower_ones_without_naming_them() {
        let mut ids = Ids::default();
        ids.name(5);
        assert_eq!(ids.standing(5), Standing::Named);
        assert_eq!(ids.standing(4), Standing::Implicit);
        assert_eq!(ids.standing(6), Standing::Unopened);
        ids.name(2);
        assert_eq!(ids.standing(2), Standing::Named);
        assert_eq!((ids.standing(1), ids.standing(3)), (Standing::Implicit, Standing::Implicit));
        ids.name(1_000_000_000);
        assert_eq!(ids.implicit.len(), 3, "a gap is one range, however wide");
    }

    #[test]
    fn a_limit_grows_by_quarters_and_stays_below_the_maximum() {
        let mut limit = RemoteLimit::new(100);
        (0..24).for_each(|_| limit.end_one());
        assert!(!limit.is_due());
        limit.end_one();
        assert!(limit.is_due());
        assert_eq!((limit.advertise(), limit.is_due()), (125, false));
        limit.set_concurrent(10);
        assert!(!limit.is_due());
        assert_eq!(limit.advertise(), 125, "never taken back");
        limit.set_concurrent(u64::MAX);
        assert_eq!(limit.advertise(), MAX_STREAMS);
        let mut none = RemoteLimit::new(0);
        assert!(!none.is_due());
        none.set_concurrent(1);
        assert!(none.is_due());
    }
}
