//! What waits to be read.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::packet::{DatagramPolicy, datagram_weight};
use crate::proto::streams::Pins;

/// Datagrams in the order in which they came; bounded by weight.
#[derive(Debug)]
pub(super) struct RecvQueue {
    pub(super) queue: VecDeque<Bytes>,
    weight: usize,
    capacity: usize,
    policy: DatagramPolicy,
    pins: Pins,
    /// More have come since that was told last.
    readable: bool,
    pub(super) received: u64,
    pub(super) unread: u64,
}

impl RecvQueue {
    pub(super) fn new(capacity: usize, policy: DatagramPolicy) -> Self {
        Self {
            queue: VecDeque::new(),
            weight: 0,
            capacity,
            policy,
            pins: Pins::default(),
            readable: false,
            received: 0,
            unread: 0,
        }
    }

    pub(super) fn begin_burst(&mut self, capacity: usize) {
        self.pins.begin(capacity);
    }

    pub(super) fn has_much(&self) -> bool {
        self.weight > self.capacity / 4
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn take_readable(&mut self) -> bool {
        std::mem::take(&mut self.readable)
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.received += 1;
        let weight = datagram_weight(data.len());
        while !self.queue.is_empty() && self.weight.saturating_add(weight) > self.capacity {
            self.unread += 1;
            match self.policy {
                DatagramPolicy::DropOldest => drop(self.read()),
                DatagramPolicy::DropNewest => return,
            }
        }
        let data = if self.pins.keep(data.len()) { Bytes::copy_from_slice(&data) } else { data };
        self.weight += weight;
        self.queue.push_back(data);
        self.readable = true;
    }

    pub(super) fn read(&mut self) -> Option<Bytes> {
        let data = self.queue.pop_front()?;
        self.weight -= datagram_weight(data.len());
        Some(data)
    }

    pub(super) fn read_all(&mut self, into: &mut VecDeque<Bytes>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.queue);
        } else {
            into.append(&mut self.queue);
        }
        self.weight = 0;
    }
}
