//! Path validation: do packets to this address reach the peer, and do full datagrams (RFC 9000 §8.2)?
//!
//! Owned by the path; sets the timer for the next challenge and for giving up. Challenges leave in datagrams of their
//! own, which neither count as in flight nor set the timer of loss detection (RFC 9000 §9.4).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Challenges whose answers are still recognised: the newest ones.
const MAX_OUTSTANDING: usize = 8;

/// The data of a challenge.
pub type ChallengeData = [u8; 8];

#[derive(Debug, Copy, Clone)]
struct Challenge {
    data: ChallengeData,
    sent: Instant,
    /// Its datagram had the size that every path must carry.
    full: bool,
}

/// What an answer to a challenge means.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The peer receives at its address, and full datagrams reach it; so long did question and answer take.
    Valid(Duration),
    /// The peer receives at its address. The challenge was small, so a large one follows (RFC 9000 §8.2.3).
    AddressOnly(Duration),
}

/// What time brings.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing, or another challenge.
    No,
    /// No answer came: the path cannot be used (RFC 9000 §8.2.4).
    Failed,
}

/// One validation under way.
#[derive(Debug)]
pub struct Validation {
    outstanding: SmallVec<[Challenge; 2]>,
    /// Challenges that are due.
    to_send: u8,
    /// Between the last challenge and the next; it doubles.
    interval: Duration,
    next_at: Instant,
    give_up_at: Instant,
    /// How long the whole may take.
    patience: Duration,
}

impl Validation {
    /// Begins with one challenge. `pto` is the probe timeout of this path, which spaces challenges; without an answer
    /// within `patience` the path fails.
    #[must_use]
    pub fn new(now: Instant, pto: Duration, patience: Duration) -> Self {
        Self {
            outstanding: SmallVec::new(),
            to_send: 1,
            interval: pto,
            next_at: now + pto,
            give_up_at: now + patience,
            patience,
        }
    }

    /// True if a challenge is due.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.to_send > 0
    }

    /// A challenge with this data left, in a datagram of full size or not.
    pub fn on_sent(&mut self, now: Instant, data: ChallengeData, full: bool) {
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.remove(0);
        }
        self.outstanding.push(Challenge { data, sent: now, full });
        self.to_send = self.to_send.saturating_sub(1);
        self.next_at = now + self.interval;
    }

    /// A PATH_RESPONSE came, on whatever path; `None` if it answers nothing that was asked here.
    pub fn on_response(&mut self, now: Instant, data: ChallengeData) -> Option<Answer> {
        let challenge = *self.outstanding.iter().find(|challenge| challenge.data == data)?;
        let took = now.saturating_duration_since(challenge.sent);
        if challenge.full {
            return Some(Answer::Valid(took));
        }
        self.outstanding.retain(|challenge| challenge.full);
        if self.outstanding.is_empty() {
            self.to_send = 1;
            self.give_up_at = now + self.patience;
        }
        Some(Answer::AddressOnly(took))
    }

    /// When [`Validation::on_timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.to_send > 0 { self.give_up_at } else { self.next_at.min(self.give_up_at) }
    }

    /// Time has passed. As on a probe timeout, two datagrams may follow one that was not answered, and the next ones
    /// wait twice as long (RFC 9002 §6.2.1, §6.2.4).
    pub fn on_timeout(&mut self, now: Instant) -> Overdue {
        if now >= self.give_up_at {
            return Overdue::Failed;
        }
        if self.to_send == 0 && now >= self.next_at {
            self.to_send = 2;
            self.interval *= 2;
        }
        Overdue::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::epoch;

    const MS: Duration = Duration::from_millis(1);

    /// When challenges leave if nothing is answered, and when it ends.
    fn schedule(pto: Duration, patience: Duration) -> (Vec<Duration>, Duration) {
        let (start, mut sent) = (epoch(), Vec::new());
        let mut validation = Validation::new(start, pto, patience);
        let mut now = start;
        loop {
            while validation.wants_to_send() {
                validation.on_sent(now, [sent.len() as u8; 8], true);
                sent.push(now - start);
            }
            now = validation.deadline();
            if validation.on_timeout(now) == Overdue::Failed {
                return (sent, now - start);
            }
        }
    }

    // covers: R9000-8.2.1-02 R9000-8.2.4-01 R9000-9.4-03
    #[test]
    fn challenges_are_spaced_like_probes_and_end() {
        let (sent, end) = schedule(1000 * MS, 3000 * MS);
        assert_eq!((sent, end), (vec![Duration::ZERO, 1000 * MS, 1000 * MS], 3000 * MS));
        let (sent, end) = schedule(30 * MS, 3000 * MS);
        assert_eq!(sent, [0, 30, 30, 90, 90, 210, 210, 450, 450, 930, 930, 1890, 1890].map(|at| at * MS));
        assert_eq!(end, 3000 * MS);
    }

    #[test]
    fn any_of_the_newest_challenges_may_be_answered() {
        let now = epoch();
        let mut validation = Validation::new(now, MS, 1000 * MS);
        for n in 0..20 {
            validation.on_sent(now + u32::from(n) * MS, [n; 8], true);
        }
        let later = now + 100 * MS;
        assert_eq!(validation.on_response(later, [11; 8]), None, "too old");
        assert_eq!(validation.on_response(later, [20; 8]), None, "never asked");
        assert_eq!(validation.on_response(later, [12; 8]), Some(Answer::Valid(88 * MS)));
        assert_eq!(validation.outstanding.len(), MAX_OUTSTANDING);
    }

    // covers: R9000-8.2.1-05 R9000-8.2.3-01
    #[test]
    fn a_small_challenge_is_followed_by_a_large_one() {
        let now = epoch();
        let mut validation = Validation::new(now, 10 * MS, 30 * MS);
        validation.on_sent(now, [1; 8], false);
        assert!(!validation.wants_to_send());
        let later = now + 25 * MS;
        assert_eq!(validation.on_response(later, [1; 8]), Some(Answer::AddressOnly(25 * MS)));
        assert!(validation.wants_to_send());
        assert_eq!(validation.on_timeout(later + 29 * MS), Overdue::No, "time starts anew");
        assert_eq!(validation.on_response(later, [1; 8]), None);
        validation.on_sent(later, [2; 8], true);
        assert_eq!(validation.on_response(later + MS, [2; 8]), Some(Answer::Valid(MS)));
    }

    #[test]
    fn what_cannot_be_sent_fails_in_time() {
        let now = epoch();
        let mut validation = Validation::new(now, 10 * MS, 30 * MS);
        assert_eq!(validation.deadline(), now + 30 * MS);
        assert_eq!(validation.on_timeout(now + 29 * MS), Overdue::No);
        assert_eq!(validation.on_timeout(now + 30 * MS), Overdue::Failed);
    }
}
