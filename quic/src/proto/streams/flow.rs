//! Flow control of one stream or of the whole connection, one type for each end (RFC 9000 §4.1).

use std::time::{Duration, Instant};

use crate::packet::{TransportError, TransportErrorCode};
use crate::wire::VarInt;

/// A round trip counts for no less: tasks take turns, and a reader that is woken needs its time.
const SHORTEST_ROUND_TRIP: Duration = Duration::from_millis(1);

/// What the peer may send, and how much of it was used.
///
/// The window tunes itself: it doubles when a quarter of it has both arrived and been read within a round trip. So it
/// comes to lie between four and eight times what the reader takes per round trip, and what waits in it for a reader
/// that stays away makes nothing grow.
#[derive(Debug, Default)]
pub(super) struct RecvCredit {
    /// How far the limit is kept ahead of what was consumed, bytes.
    window: u64,
    /// The window does not grow beyond this by itself.
    ceiling: u64,
    /// How large the window would be but for the ceiling; 0 if that does not hold it back.
    wanted: u64,
    /// Since when is measured what is read per round trip.
    epoch: Option<Epoch>,
    /// The limit last told to the peer.
    limit: u64,
    /// Flow control credit the peer has used.
    received: u64,
    /// Bytes that are off our hands: read by the application, or thrown away.
    consumed: u64,
    /// On a connection, bytes of `received` that streams lack in gaps.
    missing: u64,
    /// On a connection, what streams take up to keep data that came out of order, bytes.
    paged: u64,
}

/// What gaps mean for the memory that a stream takes up.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Bytes that used up credit and have not arrived; with an ordered reader, all from the first gap on.
    pub(super) missing: u64,
    /// What is kept in pages, bytes.
    pub(super) paged: u64,
}

/// What was there when a measurement began.
#[derive(Debug, Copy, Clone)]
struct Epoch {
    at: Instant,
    received: u64,
    consumed: u64,
}

impl RecvCredit {
    /// `window` is what the transport parameters promise; up to `ceiling` it grows by itself.
    pub(super) fn new(window: u64, ceiling: u64) -> Self {
        let window = window.min(VarInt::MAX.into_inner());
        Self { window, ceiling, limit: window, ..Self::default() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Memory of data that has arrived and was not consumed, bytes; of a connection.
    pub(super) fn held(&self) -> u64 {
        (self.received - self.consumed + self.paged).saturating_sub(self.missing)
    }

    /// The gaps of a stream of this connection have changed.
    pub(super) fn replace_gaps(&mut self, before: Gaps, now: Gaps) {
        self.missing = self.missing + now.missing - before.missing;
        self.paged = self.paged + now.paged - before.paged;
    }

    /// Bytes that the peer may have us hold: the window, or what is left of a larger one.
    pub(super) fn committed(&self) -> u64 {
        (self.limit - self.consumed).max(self.window)
    }

    /// From now on the window has this size, and keeps it.
    pub(super) fn set_window(&mut self, window: u64) {
        self.window = window.min(VarInt::MAX.into_inner());
        (self.ceiling, self.wanted) = (window, 0);
    }

    /// How large the window would be if the ceiling let it.
    pub(super) fn wanted(&self) -> Option<u64> {
        (self.wanted > self.window).then_some(self.wanted)
    }

    /// From now on the window grows up to this by itself, at once if it was held back. What is above it becomes smaller,
    /// which takes no credit back that was given.
    pub(super) fn set_ceiling(&mut self, ceiling: u64) {
        self.ceiling = ceiling.min(VarInt::MAX.into_inner());
        self.window = self.wanted().unwrap_or(self.window).min(self.ceiling);
        self.wanted = 0;
    }

    /// Called before the limit is told: lets the window grow if the reader deserves it, at least up to `least`.
    pub(super) fn tune(&mut self, now: Instant, round_trip: Duration, least: u64) {
        let epoch =
            self.epoch.get_or_insert(Epoch { at: now, received: self.received, consumed: self.consumed });
        let read = self.consumed - epoch.consumed;
        if read < (self.window / 4).max(1) || self.consumed <= epoch.received {
            return;
        }
        let elapsed = now.saturating_duration_since(epoch.at).as_nanos();
        let round_trip = round_trip.max(SHORTEST_ROUND_TRIP).as_nanos();
        if u128::from(read) * round_trip >= u128::from(self.window / 4) * elapsed {
            let wanted = self.window.saturating_mul(2).max(least);
            self.window = wanted.min(self.ceiling).max(self.window);
            self.wanted = wanted;
        }
        self.epoch = Some(Epoch { at: now, received: self.received, consumed: self.consumed });
    }

    /// Uses up credit; FLOW_CONTROL_ERROR if there was less.
    pub(super) fn receive(&mut self, bytes: u64) -> Result<(), TransportError> {
        match self.received.checked_add(bytes).filter(|received| *received <= self.limit) {
            Some(received) => {
                self.received = received;
                Ok(())
            }
            None => Err(TransportError::new(
                TransportErrorCode::FLOW_CONTROL_ERROR,
                "more data than the flow control limit allows",
            )),
        }
    }

    pub(super) fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.received, "more consumed than received");
    }

    /// True once a quarter of the window can be given back: rarely enough to cost little, early enough that a sender
    /// is not stopped for a lost frame.
    pub(super) fn is_due(&self) -> bool {
        self.next_limit() - self.limit >= (self.window / 4).max(1)
    }

    /// Takes the limit to tell the peer now.
    pub(super) fn advertise(&mut self) -> u64 {
        self.limit = self.next_limit();
        self.limit
    }

    /// A limit once given is never taken back.
    fn next_limit(&self) -> u64 {
        self.consumed.saturating_add(self.window).clamp(self.limit, VarInt::MAX.into_inner())
    }
}

/// What we may send.
#[derive(Debug)]
pub(super) struct SendCredit {
    limit: u64,
    /// The limit for which a BLOCKED frame was asked for.
    reported: Option<u64>,
}

impl SendCredit {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, reported: None }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How much is left after `used` bytes.
    pub(super) fn left(&self, used: u64) -> u64 {
        self.limit.saturating_sub(used)
    }

    /// True if the limit grew; a limit that does not grow is ignored (RFC 9000 §4.1).
    pub(super) fn raise(&mut self, limit: u64) -> bool {
        let grew = limit > self.limit;
        self.limit = self.limit.max(limit);
        grew
    }

    /// Called while blocked: true the first time at each limit.
    pub(super) fn report_blocked(&mut self) -> bool {
        self.reported.replace(self.limit) != Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_comes_back_in_quarters_of_the_window() {
        let mut credit = RecvCredit::new(100, 100);
        credit.receive(100).unwrap();
        credit.consume(24);
        assert!(!credit.is_due());
        credit.consume(1);
        assert!(credit.is_due());
        assert_eq!(credit.advertise(), 125);
        assert!(!credit.is_due());
        credit.receive(25).unwrap();
    }

    // covers: R9000-4.1-02
    #[test]
    fn one_byte_too_many_is_a_flow_control_error() {
        let mut credit = RecvCredit::new(100, 100);
        credit.receive(100).unwrap();
        assert_eq!(credit.receive(1).unwrap_err().code, TransportErrorCode::FLOW_CONTROL_ERROR);
        assert_eq!(credit.receive(u64::MAX).unwrap_err().code, TransportErrorCode::FLOW_CONTROL_ERROR);
    }

    #[test]
    fn a_smaller_window_takes_nothing_back_and_a_huge_one_stays_encodable() {
        let mut credit = RecvCredit::new(100, 100);
        credit.set_window(10);
        assert!(!credit.is_due());
        assert_eq!(credit.advertise(), 100);
        credit.set_window(u64::MAX);
        assert!(credit.is_due());
        assert_eq!(credit.advertise(), VarInt::MAX.into_inner());
        assert!(!credit.is_due());
    }

    // covers: R9000-4.1-03
    #[test]
    fn limits_only_grow_and_each_is_reported_once() {
        let mut credit = SendCredit::new(10);
        assert!(!credit.raise(10) && !credit.raise(3));
        assert_eq!((credit.left(4), credit.left(11)), (6, 0));
        assert!(credit.report_blocked() && !credit.report_blocked());
        assert!(credit.raise(11) && credit.report_blocked());
    }
}
