//! What waits to be sent.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::DatagramCounts;
use crate::error::SendDatagramError;
use crate::packet::{DatagramFate, DatagramPolicy, datagram_weight};

/// A datagram to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingDatagram {
    /// The message; may be empty.
    pub data: Bytes,
    /// From when on it is not worth sending (RFC 9221 §5.4).
    pub deadline: Option<Instant>,
    /// The number under which its fate is told, if that is of interest; the caller sees to it that numbers differ.
    pub track: Option<u64>,
}

/// Datagrams in the order in which they came; bounded by weight.
#[derive(Debug)]
pub(super) struct SendQueue {
    queue: VecDeque<OutgoingDatagram>,
    weight: usize,
    capacity: usize,
    /// No deadline in the queue is earlier.
    deadline: Option<Instant>,
    /// Told next; as many as there are datagrams with a number in the queue and in packets, at most.
    fates: VecDeque<(u64, DatagramFate)>,
    pub(super) counts: DatagramCounts,
}

impl SendQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            weight: 0,
            capacity,
            deadline: None,
            fates: VecDeque::new(),
            counts: DatagramCounts::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
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
        let weight = datagram_weight(datagram.data.len());
        while !self.queue.is_empty() && self.weight.saturating_add(weight) > self.capacity {
            match policy {
                DatagramPolicy::DropOldest => self.drop_front(DatagramFate::Dropped),
                DatagramPolicy::DropNewest => {
                    self.counts.unsent += 1;
                    return Err(SendDatagramError::Full);
                }
            }
        }
        self.weight += weight;
        self.deadline = match (self.deadline, datagram.deadline) {
            (Some(first), Some(deadline)) => Some(first.min(deadline)),
            (first, deadline) => first.or(deadline),
        };
        self.queue.push_back(datagram);
        Ok(())
    }

    pub(super) fn next(&mut self, now: Instant, max: Option<usize>) -> Option<&OutgoingDatagram> {
        loop {
            let front = self.queue.front()?;
            if front.deadline.is_some_and(|deadline| deadline <= now) {
                self.drop_front(DatagramFate::Expired);
            } else if max.is_none_or(|max| front.data.len() > max) {
                self.drop_front(DatagramFate::Dropped);
            } else {
                break;
            }
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
        let (counts, fates, weight) = (&mut self.counts, &mut self.fates, &mut self.weight);
        self.deadline = None;
        self.queue.retain(|datagram| match datagram.deadline {
            Some(deadline) if deadline <= now => {
                counts.expired += 1;
                *weight -= datagram_weight(datagram.data.len());
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

    fn drop_front(&mut self, fate: DatagramFate) {
        let Some(datagram) = self.pop() else { return };
        match fate {
            DatagramFate::Expired => self.counts.expired += 1,
            _ => self.counts.unsent += 1,
        }
        if let Some(track) = datagram.track {
            self.tell(track, fate);
        }
    }

    fn pop(&mut self) -> Option<OutgoingDatagram> {
        let datagram = self.queue.pop_front()?;
        self.weight -= datagram_weight(datagram.data.len());
        if self.queue.is_empty() {
            self.deadline = None;
        }
        Some(datagram)
    }
}
