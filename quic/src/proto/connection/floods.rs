//! What a peer may do that costs us work and brings it nothing: budgets per second (RFC 9000 §21.9).
//!
//! Frames that change something, and data, cost nothing here; so the usual packet is not looked at twice.

use std::time::{Duration, Instant};

use super::{Connection, ConnectionStats};
use crate::config::TransportConfig;
use crate::packet::{TransportError, TransportErrorCode as Code};

/// So many seconds' worth may come at once.
const BURST: Duration = Duration::from_secs(2);

/// Frames without effect that a packet may have for nothing, if it has others.
const FREE: u32 = 64;

/// More events at a time than this are no other case.
const MOST: u32 = 1 << 20;

/// What our own packets allow is saved up to this: more are not under way at a time, nor are their acknowledgments.
const MAX_CREDIT: u64 = 1 << 18;

/// A number of events per second, averaged over [`BURST`].
#[derive(Debug)]
struct Budget {
    /// What one event is worth; zero: there is no limit.
    each: Duration,
    /// Until when the budget is used.
    used_until: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        let each =
            if per_second == u32::MAX { Duration::ZERO } else { Duration::from_secs(1) / per_second.max(1) };
        Self { each, used_until: None }
    }

    /// Spends `events`. False if there is not enough left: then nothing is spent.
    fn spend(&mut self, now: Instant, events: u32) -> bool {
        let from = self.used_until.map_or(now, |until| until.max(now));
        let until = from + self.each * events.min(MOST);
        let enough = until.saturating_duration_since(now) <= BURST;
        if enough {
            self.used_until = Some(until);
        }
        enough
    }
}

/// The budgets of one peer.
#[derive(Debug)]
pub struct Floods {
    /// Frames without effect in the packet that is being looked at.
    pub idle: u32,
    idle_budget: Budget,
    resets: Budget,
    ids: Budget,
    paths: Budget,
    /// Frames without effect that our own packets allow besides.
    credit: u64,
    /// The ack-eliciting packets that earned it, and those that will earn nothing.
    earned_at: u64,
}

impl Floods {
    /// Full budgets.
    pub fn new(config: &TransportConfig) -> Self {
        Self {
            idle: 0,
            idle_budget: Budget::new(config.max_idle_frames_per_second),
            resets: Budget::new(config.max_resets_per_second),
            ids: Budget::new(config.max_connection_ids_per_second),
            paths: Budget::new(config.max_new_paths_per_second),
            credit: 0,
            earned_at: 0,
        }
    }

    /// The peer asks for an answer that will ask for an acknowledgment: that earns it nothing, or it could ask for ever.
    pub fn will_answer(&mut self) {
        self.earned_at += 1;
    }

    /// A packet had so many frames, padding aside, and [`Floods::idle`] of them were without effect.
    ///
    /// Acknowledgments that others have overtaken are among them, and on some paths that is nearly all. A peer may send one
    /// packet with nothing else in answer to each that asks for it (RFC 9000 §13.2.1); so each of ours allows one.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the peer goes on like that.
    #[cold]
    fn on_idle_frames(
        &mut self,
        now: Instant,
        frames: u32,
        stats: &mut ConnectionStats,
    ) -> Result<(), TransportError> {
        let idle = std::mem::take(&mut self.idle);
        stats.idle_frames_received += u64::from(idle);
        let earned = stats.ack_eliciting_packets_sent.saturating_sub(self.earned_at);
        self.earned_at += earned;
        self.credit = (self.credit + earned).min(MAX_CREDIT);
        let cost = u64::from(if frames > idle { idle.saturating_sub(FREE) } else { idle });
        let rest = cost.saturating_sub(self.credit);
        self.credit -= cost - rest;
        if !self.idle_budget.spend(now, u32::try_from(rest).unwrap_or(u32::MAX)) {
            return Err(excessive("too many frames that change nothing"));
        }
        Ok(())
    }
}

fn excessive(reason: &'static str) -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, reason)
}

impl Connection {
    /// All of a packet's frames were looked at; `frames` of them are not padding.
    pub(in crate::proto) fn check_idle_frames(
        &mut self,
        now: Instant,
        frames: u32,
    ) -> Result<(), TransportError> {
        self.floods.idle += self.streams.take_idle();
        if self.floods.idle == 0 {
            return Ok(());
        }
        self.floods.on_idle_frames(now, frames, &mut self.stats)
    }

    /// The peer gives up a stream that it opened; told once for each.
    pub(in crate::proto) fn on_reset_of_peer(&mut self, now: Instant) -> Result<(), TransportError> {
        self.stats.resets_received += 1;
        if !self.floods.resets.spend(now, 1) {
            return Err(excessive("too many streams opened and reset"));
        }
        Ok(())
    }

    /// The peer issues or retires a connection ID.
    pub(in crate::proto) fn on_churn_of_ids(&mut self, now: Instant) -> Result<(), TransportError> {
        if !self.floods.ids.spend(now, 1) {
            return Err(excessive("too many connection IDs issued or retired"));
        }
        Ok(())
    }

    /// The peer seems to be at another address. False if that happens too often: then it is not followed. An error it is
    /// not, because others can make it seem so by sending the peer's packets from elsewhere.
    pub(in crate::proto) fn may_add_path(&mut self, now: Instant) -> bool {
        let may = self.floods.paths.spend(now, 1);
        self.stats.paths_refused += u64::from(!may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::epoch;

    #[test]
    fn two_seconds_worth_may_come_at_once_and_then_it_is_a_rate() {
        let (start, mut budget) = (epoch(), Budget::new(10));
        assert!(budget.spend(start, 20) && !budget.spend(start, 1));
        assert!(!budget.spend(start + Duration::from_millis(99), 1));
        assert!(budget.spend(start + Duration::from_millis(100), 1));
        let later = start + Duration::from_secs(3600);
        assert!(!budget.spend(later, 21) && budget.spend(later, 20), "no more is saved");
        let mut unlimited = Budget::new(u32::MAX);
        assert!((0..10).all(|_| unlimited.spend(start, u32::MAX)));
    }
}
