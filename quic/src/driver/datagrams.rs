//! What the task does with datagrams: takes those to be sent, hands out those that came, and tells of fates.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection_task::ConnectionTask;
use super::shared::datagrams::{FateSender, Item};
use crate::config::TransportConfig;
use crate::packet::{DatagramFate, DatagramPolicy};
use crate::proto::datagrams::Levels;
use crate::proto::{DatagramEvent, OutgoingDatagram};

/// Turns that the task leaves to others when readers of datagrams have much to read. A runtime of one thread comes back to
/// its main future after 61 of them.
const PATIENCE: u32 = 64;

/// And for how long at most: where others are busy, a turn comes late, and then readers had their chance as well.
const LONGEST: Duration = Duration::from_millis(1);

/// What the task knows of datagrams.
#[derive(Default)]
pub(super) struct Datagrams {
    /// Filled and emptied within a turn; exchanged for what handles have filled.
    outgoing: Levels<Item>,
    /// Filled and emptied within a turn.
    arrived: VecDeque<Bytes>,
    /// Those under way whose fate somebody wants to know.
    tracked: HashMap<u64, FateSender, foldhash::fast::RandomState>,
    next_track: u64,
    /// What the handles were told last: how much waits with the task, and how large datagrams may be.
    held: usize,
    max: Option<usize>,
    /// Somebody who waits for room was woken.
    pub(super) called: bool,
    /// How much may wait to be read, and to be sent, bytes.
    configured: [usize; 2],
    /// What holds instead while memory is short.
    limit: Option<usize>,
    /// Turns that it still leaves to readers, and until when.
    patience: Option<(u32, Instant)>,
}

impl Datagrams {
    /// None yet.
    pub(super) fn new(config: &TransportConfig) -> Self {
        let configured = [config.datagram_receive_buffer_size, config.datagram_send_buffer_size];
        Self { configured, ..Self::default() }
    }

    /// Lets go of room that nothing takes up.
    pub(super) fn release_spare(&mut self) {
        self.outgoing.release_spare();
        self.arrived.shrink_to_fit();
        self.tracked.shrink_to_fit();
    }
}

impl ConnectionTask {
    /// Takes over what the application sends.
    pub(super) fn absorb_datagrams(&mut self) {
        let queue = &self.ending.shared.datagrams_out;
        if !queue.take(&mut self.datagrams.outgoing) {
            return;
        }
        // Else the protocol keeps to what is configured.
        let limit = self.datagrams.limit.filter(|_| queue.take_overdrawn());
        while let Some(Item { data, deadline, level, fate }) = self.datagrams.outgoing.pop() {
            let track = fate.map(|fate| {
                self.datagrams.next_track += 1;
                self.datagrams.tracked.insert(self.datagrams.next_track, fate);
                self.datagrams.next_track
            });
            // Others that wait gave their room already, or are as old as this one is now.
            let datagram = OutgoingDatagram { data, deadline, level, track };
            let sent = self.connection.send_datagram(datagram, DatagramPolicy::DropOldest);
            if let (Err(_), Some(track)) = (sent, track) {
                tell(&mut self.datagrams.tracked, track, DatagramFate::Dropped);
            }
        }
        if let Some(limit) = limit {
            self.connection.datagrams().drop_oldest(limit);
        }
        // Told anew in any case: it counts all that was taken as held.
        self.datagrams.held = usize::MAX;
    }

    pub(super) fn on_datagram_event(&mut self, event: DatagramEvent) {
        match event {
            DatagramEvent::Readable => {
                self.connection.datagrams().read_all(&mut self.datagrams.arrived);
                let crowded = self.ending.shared.datagrams_in.deliver(&mut self.datagrams.arrived);
                self.datagrams.patience = crowded.then(|| (PATIENCE, super::now() + LONGEST));
            }
            DatagramEvent::Fate { track, fate } => tell(&mut self.datagrams.tracked, track, fate),
        }
    }

    /// True if this turn is left to readers of datagrams: they are behind, perhaps only since the runtime has not come to
    /// them, and what arrives now would be dropped. That is so for a few turns at most, each time that much has arrived.
    pub(super) fn leaves_turn_to_readers(&mut self) -> bool {
        let Some((turns, until)) = self.datagrams.patience else { return false };
        let queue = &self.ending.shared.datagrams_in;
        let waits = queue.is_crowded();
        self.datagrams.patience = (waits && turns > 1 && super::now() < until).then_some((turns - 1, until));
        if waits && self.datagrams.patience.is_none() {
            queue.give_up();
        }
        waits
    }

    /// Bounds what waits to be read and to be sent; `None` as configured.
    pub(super) fn limit_datagrams(&mut self, limit: Option<usize>) {
        if std::mem::replace(&mut self.datagrams.limit, limit) == limit {
            return;
        }
        let [incoming, outgoing] = self
            .datagrams
            .configured
            .map(|configured| limit.map_or(configured, |limit| configured.min(limit)));
        self.ending.shared.datagrams_in.set_limit(incoming);
        if self.ending.shared.datagrams_out.set_limit(outgoing) {
            self.datagrams.held = usize::MAX;
        }
    }

    /// Datagrams that wait to be read or to be sent, bytes. What handles have added since this turn began counts in the next.
    pub(super) fn datagrams_held(&mut self) -> u64 {
        (self.ending.shared.datagrams_in.weight() + self.connection.datagrams().queued()) as u64
    }

    /// Tells the handles how much they may send, and how large it may be.
    pub(super) fn publish_datagrams(&mut self) {
        let (held, max) = (self.connection.datagrams().queued(), self.connection.max_datagram_size());
        let shared = &self.ending.shared.datagrams_out;
        if self.datagrams.max != max {
            self.datagrams.max = max;
            self.datagrams.called |= shared.set_max(max);
        }
        if self.datagrams.held != held || self.datagrams.called {
            self.datagrams.held = held;
            self.datagrams.called = shared.set_held(held);
        }
    }
}

/// Nothing is heard of a datagram after what is final.
fn tell(tracked: &mut HashMap<u64, FateSender, foldhash::fast::RandomState>, track: u64, fate: DatagramFate) {
    if !fate.is_final() {
        if let Some(sender) = tracked.get(&track) {
            sender.tell(fate);
        }
    } else if let Some(sender) = tracked.remove(&track) {
        sender.tell(fate);
    }
}
