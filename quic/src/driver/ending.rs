//! How a connection ends, whether it is closed, its task panics, or the runtime drops it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::routes::Entries;
use super::shared::admission::Handshaking;
use super::shared::budget::Account;
use super::shared::connection::Connection;
use super::shared::endpoint::Endpoint;
use super::shared::stream::Stream;
use crate::error::ConnectionError;
use crate::packet::StreamId;
use crate::proto::Tombstone;

/// What the task knows of a stream.
#[derive(Debug)]
pub struct StreamEntry {
    /// What it shares with the handles.
    pub stream: Arc<Stream>,
    /// Nothing more will happen to the sending half.
    pub send_done: bool,
    /// Nothing more will happen to the receiving half.
    pub recv_done: bool,
    /// The application has enough to read: more waits in the protocol.
    pub full: bool,
    /// The application reads in any order.
    pub unordered: bool,
}

impl StreamEntry {
    /// True if the application has finished the stream, and the peer may not have everything yet.
    pub fn is_finishing(&self) -> bool {
        !self.send_done && self.stream.send.is_finishing()
    }
}

/// Everything that others wait for, or that others find a connection by. Dropping it lets go of all of it: handles learn
/// that the connection is over, datagrams go elsewhere. So a panic in one task harms no other.
#[derive(Debug)]
pub struct Ending {
    /// What the endpoint shares.
    pub endpoint: Arc<Endpoint>,
    /// What the handles share.
    pub shared: Arc<Connection>,
    /// The routes that lead here.
    pub entries: Entries,
    /// All streams that the task has met.
    pub streams: HashMap<StreamId, StreamEntry, foldhash::fast::RandomState>,
    /// Counts a server's handshake until it is complete.
    pub handshaking: Option<Handshaking>,
    /// What the connection holds of the endpoint's memory.
    pub account: Account,
    linger: Option<Instant>,
}

impl Ending {
    /// The end of a connection that has not begun.
    pub fn new(endpoint: Arc<Endpoint>, shared: Arc<Connection>, entries: Entries) -> Self {
        let account = Account::new(endpoint.budget.clone());
        Self {
            endpoint,
            shared,
            entries,
            streams: HashMap::default(),
            handshaking: None,
            account,
            linger: None,
        }
    }

    /// Leaves a tombstone in place of the routes.
    pub fn bury(&mut self, now: Instant, tombstone: Tombstone) {
        let entries = std::mem::take(&mut self.entries);
        if tombstone.close.is_some() {
            // Three PTO are left; the peer's answer takes one.
            self.linger = Some(now + tombstone.until.saturating_duration_since(now) / 3);
        }
        if self.endpoint.routes.bury(&self.shared.inbox, entries, tombstone) {
            self.endpoint.signal.set();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.mark_closed(ConnectionError::TaskLost);
        shared.inbox.close();
        // In their order: so those that are woken run in the same order in each run with the same seed.
        let mut streams: Vec<_> = self.streams.drain().collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        for (_, entry) in streams {
            entry.stream.on_lost();
        }
        for stream in shared.ready.close() {
            stream.on_lost();
        }
        for queue in &shared.accepted {
            queue.finish();
            if !shared.is_held() {
                drop(queue.close());
            }
        }
        drop(shared.take_commands());
        self.endpoint.routes.remove_all(&shared.inbox, &self.entries);
        self.endpoint.forget(shared, self.linger);
    }
}
