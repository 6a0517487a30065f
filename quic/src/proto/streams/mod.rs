//! Streams: states, buffers, flow control, limits and scheduling (RFC 9000 §2 to §4, §19.4 to §19.14).
//!
//! One component of the connection. Four parties call it, each has a file:
//!
//! | file | who | what |
//! |---|---|---|
//! | `peer` | the receive path, one call per frame | checks everything a peer can do wrong; the error has the RFC's code |
//! | `app` | the driver, for the application | write, finish, reset; read, consumed, release, stop; events |
//! | `transmit` | the packet builder | control frames first, then data by priority and in turns |
//! | `recovery` | acknowledgments and losses | hands back the tokens of sent frames |
//!
//! It sets no timer. What is idle costs nothing: a stream is in a list only while it has an event, a control frame or
//! data; lower-numbered streams that the peer opened implicitly are ranges, not records. All memory that a peer can
//! claim is bounded by the limits we gave it: stream records by the stream limits, buffered data (see `assembler`,
//! `unordered`) by the flow control windows.
//!
//! **A stream's end.** A record goes when both parts are in a terminal state and all its events were polled. Only
//! then does the peer get credit for another stream, so that an application that accepts slowly slows the peer down.
//! The receiving part is terminal when the application has *seen* its end: it consumed all bytes of a stream that had
//! any, or called [`Streams::release`], or [`Streams::stop`].
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod app;
pub(crate) mod assembler;
mod flow;
mod ids;
mod in_order;
mod index;
mod peer;
mod pins;

mod recovery;
mod recv;
mod schedule;
mod send;
mod send_buffer;
mod table;
#[cfg(test)]
mod tests;
mod transmit;
mod unordered;

use bytes::Bytes;

use self::flow::{RecvCredit, SendCredit};
use self::ids::{Ids, LocalLimit, RemoteLimit};
pub(in crate::proto) use self::pins::Pins;
use self::schedule::Schedule;
use self::table::{Flags, List, Queue, Slot, Table};
use crate::packet::{Dir, Side, StreamId};
use crate::wire::VarInt;
use crate::wire::transport_parameters::TransportParameters;

/// What we allow the peer: what our transport parameters say, named from our side.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub struct StreamLimits {
    /// Bytes that may be under way or unread on all streams together.
    pub receive_window: u64,
    /// The same for each bidirectional stream that we open.
    pub stream_window_bidi_local: u64,
    /// The same for each bidirectional stream that the peer opens.
    pub stream_window_bidi_remote: u64,
    /// The same for each unidirectional stream that the peer opens.
    pub stream_window_uni: u64,
    /// Up to this `receive_window` grows as the application reads. Less than it: not at all.
    pub max_receive_window: u64,
    /// Up to this the windows of streams grow as the application reads them.
    pub max_stream_window: u64,
    /// Bidirectional streams that the peer may have open at a time.
    pub max_concurrent_bidi: u64,
    /// Unidirectional streams that the peer may have open at a time.
    pub max_concurrent_uni: u64,
}

/// What the peer allows us: from its transport parameters, with the names of RFC 9000 §18.2, which are the peer's view.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub struct PeerLimits {
    /// Bytes on all streams together.
    pub initial_max_data: u64,
    /// Bytes on each bidirectional stream that the peer opens.
    pub initial_max_stream_data_bidi_local: u64,
    /// Bytes on each bidirectional stream that we open.
    pub initial_max_stream_data_bidi_remote: u64,
    /// Bytes on each unidirectional stream that we open.
    pub initial_max_stream_data_uni: u64,
    /// Bidirectional streams that we may open.
    pub initial_max_streams_bidi: u64,
    /// Unidirectional streams that we may open.
    pub initial_max_streams_uni: u64,
    /// Whether it takes RESET_STREAM_AT frames.
    pub reset_stream_at: bool,
}

impl From<&TransportParameters> for PeerLimits {
    fn from(params: &TransportParameters) -> Self {
        Self {
            initial_max_data: params.initial_max_data,
            initial_max_stream_data_bidi_local: params.initial_max_stream_data_bidi_local,
            initial_max_stream_data_bidi_remote: params.initial_max_stream_data_bidi_remote,
            initial_max_stream_data_uni: params.initial_max_stream_data_uni,
            initial_max_streams_bidi: params.initial_max_streams_bidi,
            initial_max_streams_uni: params.initial_max_streams_uni,
            reset_stream_at: params.reset_stream_at,
        }
    }
}

/// What an application hears about streams. Events of one stream that have not been polled yet are joined.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The first frame on a stream that the peer opened. Not told for streams that are open only because a higher one is.
    Opened(StreamId),
    /// There is more to [`Streams::read`] than before.
    Readable(StreamId),
    /// So many more bytes are not kept any longer: the peer has acknowledged them, without a gap, or a reset made them
    /// unnecessary.
    Acked {
        /// Which stream.
        id: StreamId,
        /// Bytes since this was last told.
        bytes: u64,
    },
    /// The peer has acknowledged all data and FIN.
    Finished(StreamId),
    /// The peer has acknowledged our reset, and the data that it promised.
    ResetAcked(StreamId),
    /// The peer asked to stop; the stream has been reset with the same code (RFC 9000 §3.5).
    Stopped {
        /// Which stream.
        id: StreamId,
        /// Why, in the application's terms.
        code: VarInt,
    },
    /// We may open more streams.
    Limit {
        /// Of which kind.
        dir: Dir,
        /// How many altogether, from the beginning of the connection.
        streams: u64,
    },
}

/// What [`Streams::read`] hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecvChunk {
    /// The next bytes.
    Data(Bytes),
    /// There are no more bytes. Comes once, as the last.
    Finished,
    /// The peer has reset the stream; bytes not read yet are lost. Comes once, as the last.
    Reset(VarInt),
    /// The peer has reset the stream after the bytes read so far, which it wanted delivered. Comes once, as the last.
    ResetAt(VarInt),
}

/// Flags of a stream's pending events, in the order in which they are told.
mod event {
    pub(super) const OPENED: u8 = 1;
    pub(super) const READABLE: u8 = 1 << 1;
    pub(super) const ACKED: u8 = 1 << 2;
    pub(super) const STOPPED: u8 = 1 << 3;
    pub(super) const FINISHED: u8 = 1 << 4;
    pub(super) const RESET_ACKED: u8 = 1 << 5;
}

/// Flags of a stream's pending control frames.
mod control {
    pub(super) const RESET_STREAM: u8 = 1;
    pub(super) const STOP_SENDING: u8 = 1 << 1;
    pub(super) const MAX_STREAM_DATA: u8 = 1 << 2;
    pub(super) const STREAM_DATA_BLOCKED: u8 = 1 << 3;
}

/// Flags of the connection's pending control frames; those with a direction are shifted by [`Dir::index`].
mod pending {
    pub(super) const MAX_DATA: u8 = 1;
    pub(super) const DATA_BLOCKED: u8 = 1 << 1;
    pub(super) const MAX_STREAMS: u8 = 1 << 2;
    pub(super) const STREAMS_BLOCKED: u8 = 1 << 4;
}

/// All streams of a connection.
#[derive(Debug)]
pub struct Streams {
    side: Side,
    limits: StreamLimits,
    peer: PeerLimits,
    table: Table,
    /// Which streams exist, by the two low bits of their IDs.
    ids: [Ids; 4],
    remote: [RemoteLimit; 2],
    local: [LocalLimit; 2],
    /// What the peer may send on all streams together.
    received: RecvCredit,
    /// What the window of a stream has last grown to: another one that grows gets there at once.
    tuned_window: u64,
    /// What we may send on all streams together.
    credit: SendCredit,
    /// How much of `credit` we have used.
    sent: u64,
    pins: Pins,
    events: List,
    /// Directions in which we may open more streams and have not told.
    limit_events: Flags,
    control: List,
    pending: Flags,
    repair: Schedule,
    fresh: Schedule,
    blocked: List,
    /// The packet that is being taken in was sent before the handshake.
    early: bool,
    /// Frames that changed nothing, since that was last asked.
    idle: u32,
}

impl Streams {
    /// Lets go of room that no stream takes up.
    pub(crate) fn release_spare(&mut self) {
        self.table.release_spare();
    }

    /// Room that no stream takes up, records.
    #[cfg(test)]
    pub(crate) fn spare_memory(&self) -> usize {
        self.table.spare()
    }

    /// No streams. Until [`Streams::set_peer_limits`] we may open none.
    #[must_use]
    pub(crate) fn new(side: Side, limits: StreamLimits) -> Self {
        Self {
            side,
            limits,
            peer: PeerLimits::default(),
            table: Table::default(),
            ids: Default::default(),
            remote: [
                RemoteLimit::new(limits.max_concurrent_bidi),
                RemoteLimit::new(limits.max_concurrent_uni),
            ],
            local: Default::default(),
            received: RecvCredit::new(limits.receive_window, limits.max_receive_window),
            tuned_window: 0,
            credit: SendCredit::new(0),
            sent: 0,
            pins: Pins::default(),
            events: List::default(),
            limit_events: Flags::default(),
            control: List::default(),
            pending: Flags::default(),
            repair: Schedule::new(Queue::Repair),
            fresh: Schedule::new(Queue::Fresh),
            blocked: List::default(),
            early: false,
            idle: 0,
        }
    }

    /// Begins anew, without streams and without limits of the peer's: what was sent so far nobody has. What we allow the
    /// peer stays; it has not made use of it yet. What it was told of that besides transport parameters it has not heard.
    pub(crate) fn restart(&mut self) {
        let old = std::mem::replace(self, Self::new(self.side, self.limits));
        let received = std::mem::replace(&mut self.received, old.received);
        let remote = std::mem::replace(&mut self.remote, old.remote);
        if self.received.limit() > received.limit() {
            self.pending.set(pending::MAX_DATA);
        }
        for (dir, initial) in Dir::ALL.into_iter().zip(remote) {
            if self.remote(dir).advertised() > initial.advertised() {
                self.pending.set(pending::MAX_STREAMS << dir.index());
            }
        }
        self.check_credit();
        Dir::ALL.into_iter().for_each(|dir| self.check_stream_limit(dir));
    }

    /// What follows arrived before the handshake, or no longer: streams that it opens are marked.
    pub(crate) fn set_early(&mut self, early: bool) {
        self.early = early;
    }

    /// How many frames of the peer changed nothing since the last call.
    pub(crate) fn take_idle(&mut self) -> u32 {
        std::mem::take(&mut self.idle)
    }

    /// True if the first frame of a stream of the peer's arrived before the handshake.
    #[must_use]
    pub fn is_early(&self, id: StreamId) -> bool {
        let stream = self.table.find(id).and_then(|slot| self.table.get(slot));
        stream.is_some_and(|stream| stream.early)
    }

    /// The peer's transport parameters have come; or, for 0-RTT, those remembered. The second time only raises limits.
    pub(crate) fn set_peer_limits(&mut self, peer: PeerLimits) {
        self.peer = peer;
        self.credit.raise(peer.initial_max_data);
        self.raise_stream_limit(Dir::Bi, peer.initial_max_streams_bidi);
        self.raise_stream_limit(Dir::Uni, peer.initial_max_streams_uni);
        for slot in self.table.slots() {
            let limit = self.table.get(slot).map_or(0, |stream| self.initial_send_limit(stream.id));
            if self.table.get_mut(slot).is_some_and(|stream| stream.send.on_max_stream_data(limit)) {
                self.reschedule(slot);
            }
        }
    }

    /// How many streams of this direction we may open, from the beginning of the connection.
    #[must_use]
    pub fn local_limit(&self, dir: Dir) -> u64 {
        self.local(dir).streams
    }

    /// Number of streams that have a record: neither ended, nor open only because a higher one is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if no stream is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of received data that are held, with what holding them costs.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.table
            .slots()
            .into_iter()
            .filter_map(|slot| self.table.get(slot))
            .map(|stream| stream.recv.memory())
            .sum()
    }

    fn initial_send_limit(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Uni, _) => self.peer.initial_max_stream_data_uni,
            (Dir::Bi, true) => self.peer.initial_max_stream_data_bidi_remote,
            (Dir::Bi, false) => self.peer.initial_max_stream_data_bidi_local,
        }
    }

    fn stream_window(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Uni, _) => self.limits.stream_window_uni,
            (Dir::Bi, true) => self.limits.stream_window_bidi_local,
            (Dir::Bi, false) => self.limits.stream_window_bidi_remote,
        }
    }

    /// Makes the record of a stream that is named for the first time.
    fn create(&mut self, id: StreamId) -> Slot {
        self.ids_mut(id).name(id.index());
        let ours = id.initiator() == self.side;
        let (limit, window) = (self.initial_send_limit(id), self.stream_window(id));
        let max_window = self.limits.max_stream_window;
        let slot = self.table.insert(id);
        let early = self.early;
        if let Some(stream) = self.table.get_mut(slot) {
            (stream.early, stream.abandoned) = (early, false);
            if ours || id.dir() == Dir::Bi {
                stream.send.open(limit);
            }
            if !ours || id.dir() == Dir::Bi {
                stream.recv.open(window, max_window);
            }
        }
        if !ours {
            self.tell(slot, event::OPENED);
        }
        slot
    }

    /// Removes the record of a stream that has ended, once nobody needs it.
    fn retire(&mut self, slot: Slot) {
        let Some(stream) = self.table.get(slot) else { return };
        if !(stream.send.is_done() && stream.recv.is_done() && stream.events.is_empty()) {
            return;
        }
        let id = stream.id;
        self.reschedule(slot);
        self.table.remove(slot);
        if id.initiator() != self.side {
            let dir = id.dir();
            self.remote_mut(dir).end_one();
            self.check_stream_limit(dir);
        }
    }

    fn tell(&mut self, slot: Slot, event: u8) {
        if let Some(stream) = self.table.get_mut(slot) {
            stream.events.set(event);
            self.table.push(&mut self.events, Queue::Events, slot);
        }
    }

    fn ask(&mut self, slot: Slot, control: u8) {
        if let Some(stream) = self.table.get_mut(slot) {
            stream.control.set(control);
            self.table.push(&mut self.control, Queue::Control, slot);
        }
    }

    /// Puts a stream into the lists that match what it has to send, after anything about that changed.
    fn reschedule(&mut self, slot: Slot) {
        let Some(stream) = self.table.get_mut(slot) else { return };
        let (repair, fresh) = (stream.send.repair().is_some(), stream.send.fresh().is_some());
        let blocked = stream.send.blocked_at().is_some();
        let report = blocked && stream.send.report_blocked();
        let reset_at = stream.send.reset_at_is_due();
        self.repair.set(&mut self.table, slot, repair);
        self.fresh.set(&mut self.table, slot, fresh);
        if blocked {
            self.table.push(&mut self.blocked, Queue::Blocked, slot);
        } else {
            self.table.unlink(&mut self.blocked, Queue::Blocked, slot);
        }
        if report {
            self.ask(slot, control::STREAM_DATA_BLOCKED);
        }
        if reset_at {
            self.ask(slot, control::RESET_STREAM);
        }
        self.check_control(slot);
        self.check_blocked();
    }

    /// Drops the control frames that have become pointless before they were sent.
    fn check_control(&mut self, slot: Slot) {
        let Some(stream) = self.table.get_mut(slot).filter(|stream| !stream.control.is_empty()) else {
            return;
        };
        let mut wanted = Flags::default();
        if stream.send.reset_to_send().is_some() {
            wanted.set(control::RESET_STREAM);
        }
        if stream.recv.stop_to_send().is_some() {
            wanted.set(control::STOP_SENDING);
        }
        if stream.recv.wants_credit() {
            wanted.set(control::MAX_STREAM_DATA);
        }
        if stream.send.blocked_at().is_some() {
            wanted.set(control::STREAM_DATA_BLOCKED);
        }
        stream.control.keep(wanted);
        if stream.control.is_empty() {
            self.table.unlink(&mut self.control, Queue::Control, slot);
        }
    }

    /// True if the connection's flow control is all that keeps new data back.
    fn is_blocked(&self) -> bool {
        !self.fresh.is_empty() && self.credit.left(self.sent) == 0
    }

    fn check_blocked(&mut self) {
        if !self.is_blocked() {
            self.pending.clear(pending::DATA_BLOCKED);
        } else if self.credit.report_blocked() {
            self.pending.set(pending::DATA_BLOCKED);
        }
    }

    fn check_credit(&mut self) {
        if self.received.is_due() {
            self.pending.set(pending::MAX_DATA);
        }
    }

    fn check_stream_limit(&mut self, dir: Dir) {
        if self.remote(dir).is_due() {
            self.pending.set(pending::MAX_STREAMS << dir.index());
        }
    }

    fn raise_stream_limit(&mut self, dir: Dir, streams: u64) {
        let local = self.local_mut(dir);
        if streams > local.streams {
            (local.streams, local.blocked_at) = (streams, None);
            self.pending.clear(pending::STREAMS_BLOCKED << dir.index());
            self.limit_events.set(1 << dir.index());
        }
    }

    fn ids_mut(&mut self, id: StreamId) -> &mut Ids {
        let [a, b, c, d] = &mut self.ids;
        match id.as_u64() & 3 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }

    fn remote(&self, dir: Dir) -> &RemoteLimit {
        let [bi, uni] = &self.remote;
        if dir == Dir::Bi { bi } else { uni }
    }

    fn remote_mut(&mut self, dir: Dir) -> &mut RemoteLimit {
        let [bi, uni] = &mut self.remote;
        if dir == Dir::Bi { bi } else { uni }
    }

    fn local(&self, dir: Dir) -> &LocalLimit {
        let [bi, uni] = &self.local;
        if dir == Dir::Bi { bi } else { uni }
    }

    fn local_mut(&mut self, dir: Dir) -> &mut LocalLimit {
        let [bi, uni] = &mut self.local;
        if dir == Dir::Bi { bi } else { uni }
    }
}
