//! Idle timeout and keep-alive (RFC 9000 §10.1).

use std::time::{Duration, Instant};

/// When the connection dies of silence, and when it breaks the silence.
#[derive(Debug)]
pub struct Idle {
    /// The effective timeout: the smaller of both sides' values; `None` = never.
    timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    /// The last moment that counts as activity.
    last_activity: Instant,
    /// Restart once more when the first ack-eliciting packet leaves after something was received.
    restart_on_send: bool,
}

impl Idle {
    pub fn new(now: Instant, timeout: Option<Duration>, keep_alive: Option<Duration>) -> Self {
        Self { timeout, keep_alive, last_activity: now, restart_on_send: true }
    }

    /// Takes the peer's `max_idle_timeout` into account.
    pub fn negotiate(&mut self, peer: Option<Duration>) {
        self.timeout = match (self.timeout, peer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// The effective timeout.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// A packet of the peer was processed.
    pub fn on_received(&mut self, now: Instant) {
        self.last_activity = now;
        self.restart_on_send = true;
    }

    /// An ack-eliciting packet was sent.
    pub fn on_sent_ack_eliciting(&mut self, now: Instant) {
        if std::mem::take(&mut self.restart_on_send) {
            self.last_activity = now;
        }
    }

    /// When the connection times out; never sooner than three PTOs after the last activity.
    pub fn deadline(&self, pto: Duration) -> Option<Instant> {
        Some(self.last_activity + self.timeout?.max(3 * pto))
    }

    /// Half of the way to the timeout; `None` if there is none.
    pub fn half_time(&self) -> Option<Instant> {
        Some(self.last_activity + self.timeout? / 2)
    }

    /// When to send a PING so that the peer hears from us, if keep-alive is on.
    pub fn keep_alive_at(&self) -> Option<Instant> {
        Some(self.last_activity + self.keep_alive?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::epoch;

    const S: Duration = Duration::from_secs(1);

    // covers: R9000-10.1-01
    #[test]
    fn the_smaller_timeout_counts() {
        let now = epoch();
        let mut idle = Idle::new(now, Some(30 * S), None);
        idle.negotiate(None);
        assert_eq!(idle.timeout(), Some(30 * S));
        idle.negotiate(Some(10 * S));
        assert_eq!(idle.deadline(S), Some(now + 10 * S));
        assert_eq!(idle.deadline(5 * S), Some(now + 15 * S), "at least three PTOs");
        let mut idle = Idle::new(now, None, None);
        idle.negotiate(None);
        assert_eq!(idle.deadline(S), None);
    }

    #[test]
    fn only_the_first_send_after_a_receipt_counts_as_activity() {
        let now = epoch();
        let mut idle = Idle::new(now, Some(30 * S), Some(5 * S));
        idle.on_sent_ack_eliciting(now + S);
        idle.on_sent_ack_eliciting(now + 2 * S);
        assert_eq!(idle.deadline(S), Some(now + 31 * S));
        idle.on_received(now + 3 * S);
        idle.on_sent_ack_eliciting(now + 4 * S);
        assert_eq!(idle.deadline(S), Some(now + 34 * S));
        assert_eq!(idle.keep_alive_at(), Some(now + 9 * S));
    }
}
