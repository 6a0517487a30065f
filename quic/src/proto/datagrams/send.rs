//! What waits to be sent.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::DatagramCounts;
use super::levels::{Leveled, Levels};
use crate::error::SendDatagramError;
use crate::packet::{DatagramFate, DatagramPolicy, datagram_weight};

/// A datagram to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingDatagram {
    /// The message; may be empty.
    pub data: Bytes,
    /// From when on it is not worth sending (RFC 9221 §5.4).
    pub deadline: Option<Instant>,
    /// Higher levels are sent first, also before streams of lower ones (RFC 9221 §5.1); see
    /// [`Priority::level`](crate::Priority::level).
    pub level: i32,
    /// The number under which its fate is told, if that is of interest; the caller sees to it that numbers differ.
    pub track: Option<u64>,
}

impl Leveled for OutgoingDatagram {
    fn level(&self) -> i32 {
        self.level
    }

    fn weight(&self) -> usize {
        datagram_weight(self.data.len())
    }
}

/// What waits, bounded by weight.
#[derive(Debug)]
pub(super) struct SendQueue {
    pub(super) queue: Levels<OutgoingDatagram>,
    capacity: usize,
    /// No deadline in the queue is earlier.
    deadline: Option<Instant>,
    /// Told next; as many as there are datagrams with a number in the queue and in packets, at most.
    pub(super) fates: VecDeque<(u64, DatagramFate)>,
    pub(super) counts: DatagramCounts,
}

impl SendQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: Levels::default(),
            capacity,
            deadline: None,
            fates: VecDeque::new(),
            counts: DatagramCounts::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn level(&self) -> Option<i32> {
        self.queue.highest()
    }

    pub(super) fn weight(&self) -> usize {
        self.queue.weight()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn poll_fate(&mut self) -> Option<(u64, DatagramFate)> {
        self.fates.pop_front()
    }

    pub(super) fn tell(&mut self, track: u64, fate: DatagramFate) {
        self.fates.push_back((track, fate));
    }

    /// One that is larger than the whole queue is taken if nothing else is there.
    pub(super) fn push(
        &mut self,
        datagram: OutgoingDatagram,
        policy: DatagramPolicy,
    ) -> Result<(), SendDatagramError> {
        let weight = datagram.weight();
        if !self.queue.fits(self.capacity, weight) {
            // What matters more does not give way; and nothing does for one that is refused all the same.
            let worthwhile = policy == DatagramPolicy::DropOldest
                && self.queue.could_fit(self.capacity, datagram.level, weight);
            if !worthwhile {
                self.counts.unsent += 1;
                return Err(SendDatagramError::Full);
            }
            while !self.queue.fits(self.capacity, weight) {
                let evicted = self.queue.evict();
                self.dropped(evicted, DatagramFate::Dropped);
            }
        }
        if self.queue.is_empty() {
            self.deadline = None;
        }
        self.deadline = match (self.deadline, datagram.deadline) {
            (Some(first), Some(deadline)) => Some(first.min(deadline)),
            (first, deadline) => first.or(deadline),
        };
        self.queue.push(datagram);
        Ok(())
    }

    /// Drops the oldest of the lowest level until no more than `limit` bytes are left, or one datagram.
    #[cfg(feature = "tokio")]
    pub(super) fn drop_oldest(&mut self, limit: usize) {
        while self.queue.weight() > limit {
            let Some(oldest) = self.queue.evict() else { return };
            if self.queue.is_empty() {
                return self.queue.push(oldest);
            }
            self.dropped(Some(oldest), DatagramFate::Dropped);
        }
    }

    pub(super) fn next(&mut self, now: Instant, max: Option<usize>) -> Option<&OutgoingDatagram> {
        loop {
            let front = self.queue.front()?;
            let fate = if front.deadline.is_some_and(|deadline| deadline <= now) {
                DatagramFate::Expired
            } else if max.is_none_or(|max| front.data.len() > max) {
                DatagramFate::Dropped
            } else {
                break;
            };
            let first = self.pop();
            self.dropped(first, fate);
        }
        self.queue.front()
    }

    pub(super) fn next_len(&self) -> Option<usize> {
        self.queue.front().map(|datagram| datagram.data.len())
    }

    pub(super) fn on_sent(&mut self) {
        if let Some(track) = self.pop().and_then(|datagram| datagram.track) {
            self.tell(track, DatagramFate::Sent);
        }
        self.counts.sent += 1;
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|first| first > now) {
            return;
        }
        let (counts, fates) = (&mut self.counts, &mut self.fates);
        self.deadline = None;
        self.queue.retain(|datagram| match datagram.deadline {
            Some(deadline) if deadline <= now => {
                counts.expired += 1;
                fates.extend(datagram.track.map(|track| (track, DatagramFate::Expired)));
                false
            }
            Some(deadline) => {
                self.deadline = Some(self.deadline.map_or(deadline, |first| first.min(deadline)));
                true
            }
            None => true,
        });
    }

    /// Tells of one that was taken out and not sent.
    fn dropped(&mut self, datagram: Option<OutgoingDatagram>, fate: DatagramFate) {
        let Some(datagram) = datagram else { return };
        match fate {
            DatagramFate::Expired => self.counts.expired += 1,
            _ => self.counts.unsent += 1,
        }
        if let Some(track) = datagram.track {
            self.tell(track, fate);
        }
    }

    /// Takes out the next to be sent.
    fn pop(&mut self) -> Option<OutgoingDatagram> {
        let datagram = self.queue.pop()?;
        if self.queue.is_empty() {
            self.deadline = None;
        }
        Some(datagram)
    }
}
