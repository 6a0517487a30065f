//! One turn of a connection's task, as plain functions with limits: receive, expire, absorb, and drain, which delivers
//! and transmits.

use std::task::{Context, Poll};
use std::time::Instant;

use super::connection_task::{ConnectionTask, Scratch};
use super::ending::StreamEntry;
use super::inbox;
use super::shared::connection::{Commands, Snapshot};
use super::shared::endpoint::Counters;
use super::shared::open_credit::OpenCredit;
use super::shared::recv::{MAX_CHUNKS, Pieces, RecvEnd};
use super::shared::send::SendEnd;
use super::shared::stream::{self, Stream};
use super::transmit::Sent;
use crate::crypto::tls::EarlyData;
use crate::error::ConnectionError;
use crate::packet::{Dir, StreamId, Version};
use crate::proto::streams::{RecvChunk, StreamEvent};
use crate::proto::{Event, Output, RouteChange};
use crate::wire::VarInt;

/// Datagrams processed in one turn.
const MAX_DATAGRAMS: usize = 256;

/// Batches sent in one turn.
const MAX_BATCHES: usize = 3;

impl ConnectionTask {
    /// Looks at everything once; ready when the connection is over.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.leaves_turn_to_readers() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ending.shared.inbox.signal.clear(cx.waker());
        let now = super::now();
        self.busy = false;
        let _ = self.transmitter.poll_unblocked(cx);
        let mut again = self.receive(now);
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.connection.handle_timeout(now);
        }
        self.check_cost(now);
        self.check_early_data();
        self.ending.shared.set_resets_at(self.connection.streams().peer_supports_reset_at());
        self.absorb(now);
        again |= self.drain(now);
        if self.over && !self.transmitter.is_parked() {
            self.transmitter.rest(&self.ending.endpoint.tx_pool);
            if let Some(tombstone) = self.connection.tombstone() {
                self.ending.bury(now, tombstone);
            }
            return Poll::Ready(());
        }
        self.spare |= self.busy;
        again |= self.adapt(now);
        self.publish();
        again |= self.datagrams.called;
        let streams = &self.ending.streams;
        let delivered = |_: &mut u64| !streams.values().any(StreamEntry::is_finishing);
        if let Some(number) = self.draining.take_if(delivered) {
            self.ending.shared.advance(|progress| progress.drained = number);
        }
        again |= self.ending.shared.pool.pass_on();
        let deadline = [self.deadline, self.window_deadline()].into_iter().flatten().min();
        again |= self.timer.poll(deadline, cx);
        if self.transmitter.is_parked() {
            again |= self.transmitter.poll_unblocked(cx).is_ready();
        }
        if again {
            cx.waker().wake_by_ref();
        } else {
            self.transmitter.rest(&self.ending.endpoint.tx_pool);
            self.release_spare();
        }
        Poll::Pending
    }

    /// A timer that did nothing is what comes after the last traffic for some time: queues give back their memory.
    fn release_spare(&mut self) {
        if self.busy || !std::mem::take(&mut self.spare) {
            return;
        }
        self.connection.release_spare();
        self.arrived.shrink_to_fit();
        self.ending.shared.inbox.release_spare();
        self.ending.streams.shrink_to_fit();
        self.scratch = Scratch::default();
        self.datagrams.release_spare();
        self.ending.shared.ready.release_spare();
    }

    /// Hands datagrams to the protocol. True if there are more.
    fn receive(&mut self, now: Instant) -> bool {
        let mut datagrams = 0;
        loop {
            if self.arrived.is_empty() || self.processed > 0 {
                let processed = std::mem::take(&mut self.processed);
                let taken = self.ending.shared.inbox.take(&mut self.arrived, processed);
                (self.pinned, self.overflowed) = (taken.pinned as u64, taken.dropped);
            }
            if datagrams >= MAX_DATAGRAMS {
                return !self.arrived.is_empty();
            }
            if self.arrived.is_empty() {
                return false;
            }
            while datagrams < MAX_DATAGRAMS
                && let Some(burst) = self.arrived.pop_front()
            {
                datagrams += burst.datagrams();
                self.busy = true;
                self.processed += inbox::weight(&burst);
                self.connection.handle_burst(now, burst);
                if self.connection.datagrams().has_much_to_read() {
                    // Readers first: the next turn may be theirs.
                    return true;
                }
            }
        }
    }

    /// A client that has not completed the handshake ends here if all of them together cost too much.
    fn check_cost(&mut self, now: Instant) {
        let Some(handshaking) = &mut self.ending.handshaking else { return };
        if !handshaking.set_bytes(self.connection.handshake_bytes()) && !self.connection.is_closed() {
            Counters::count(&self.ending.endpoint.counters.overloaded);
            self.connection.refuse(now);
        }
    }

    /// Takes over what the application has done.
    fn absorb(&mut self, now: Instant) {
        if let Some(commands) = self.ending.shared.take_new_commands() {
            self.busy = true;
            self.obey(now, commands);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.ending.shared.ready.swap(&mut scratch.opened, &mut scratch.news);
        self.busy |= !scratch.opened.is_empty() || !scratch.news.is_empty();
        for stream in scratch.opened.drain(..) {
            if stream.epoch != self.epoch {
                stream.on_rejected();
                continue;
            }
            let recv_done = stream.id.dir() == Dir::Uni;
            self.ending.streams.insert(
                stream.id,
                StreamEntry { stream, send_done: false, recv_done, full: false, unordered: false },
            );
        }
        self.scratch.chunks = scratch.chunks;
        for stream in scratch.news.drain(..) {
            self.absorb_stream(&stream);
        }
        (self.scratch.opened, self.scratch.news) = (scratch.opened, scratch.news);
        self.absorb_datagrams();
        let unreported = self.ending.shared.take_unreported();
        if unreported > 0 {
            self.connection.streams().consumed_of_connection(unreported);
        }
    }

    fn absorb_stream(&mut self, stream: &Stream) {
        if stream.id.initiator() == self.ending.shared.side && stream.epoch != self.epoch {
            // It learned of its end already, or does now.
            return stream.on_rejected();
        }
        let (id, news) = (stream.id, stream.take_news());
        let streams = self.connection.streams();
        if news & stream::SEND != 0 {
            let news = stream.send.take(&mut self.scratch.chunks);
            if let Some(priority) = news.priority {
                streams.set_priority(id, priority);
            }
            while let Some(chunk) = self.scratch.chunks.pop() {
                streams.write(id, chunk);
            }
            match news.end {
                Some(SendEnd::Fin) => streams.finish(id),
                Some(SendEnd::Reset(code)) => streams.reset(id, code),
                Some(SendEnd::ResetAt(code, reliable_size)) => {
                    // The peer took it when the application asked; if not any more, nothing is promised.
                    let promised = streams.reset_at(id, code, reliable_size);
                    if !promised {
                        streams.reset(id, code);
                    }
                }
                None => {}
            }
        }
        if news & stream::RECV != 0 {
            let news = stream.recv.take();
            if news.credit > 0 {
                streams.consumed_of_stream(id, news.credit);
                if let Some(window) = streams.stream_receive_window(id) {
                    stream.set_window(window);
                }
            }
            if let Some(code) = news.stop {
                streams.stop(id, code);
            }
            if news.unordered
                && let Some(entry) = self.ending.streams.get_mut(&id)
            {
                // Something behind a gap may wait already.
                entry.unordered = true;
                self.deliver(id, MAX_CHUNKS);
            }
            let streams = self.connection.streams();
            if news.release {
                streams.release(id);
                self.finish_half(id, |entry| entry.recv_done = true);
            } else if news.wants_more {
                if let Some(entry) = self.ending.streams.get_mut(&id) {
                    entry.full = false;
                }
                self.deliver(id, MAX_CHUNKS);
            }
        }
    }

    fn obey(&mut self, now: Instant, commands: Commands) {
        let Commands {
            close,
            abandoned,
            max_concurrent,
            receive_window,
            open_blocked,
            drain,
            unreachable,
            rebound,
            migrate,
            exports,
            key_updates,
            rotate_ids,
            #[cfg(test)]
            panic,
        } = commands;
        #[cfg(test)]
        assert!(!panic, "asked for by a test");
        let shared = &self.ending.shared;
        for dir in Dir::ALL {
            if let Some(streams) = max_concurrent[dir.index()] {
                self.connection.streams().set_max_concurrent(dir, streams);
            }
            if open_blocked[dir.index()] && shared.open[dir.index()].is_blocked() {
                self.connection.streams().report_open_blocked(dir);
            }
        }
        if let Some(bytes) = receive_window {
            self.connection.streams().set_receive_window(bytes);
            self.tuned = false;
        }
        for export in exports {
            let mut out = vec![0; export.len];
            let result = self
                .connection
                .export_keying_material(&mut out, &export.label, &export.context)
                .map(|()| out);
            // Whoever asked may be gone.
            let _ = export.answer.send(result);
        }
        if rotate_ids {
            self.connection.rotate_connection_ids();
        }
        for answer in key_updates {
            let _ = answer.send(self.connection.update_keys(now));
        }
        if rebound {
            self.on_rebound(now);
        }
        if let Some(migrate) = migrate {
            self.migrate(now, migrate);
        }
        self.draining = self.draining.max(drain);
        if let Some(kind) = unreachable {
            self.on_unreachable(now, kind);
        }
        if let Some((code, reason)) = close {
            self.connection.close(now, code, reason);
        } else if abandoned {
            self.connection.close(now, VarInt::default(), bytes::Bytes::new());
        }
    }

    /// The system's hint counts only while nothing authenticated has come from the peer: anybody can forge it.
    fn on_unreachable(&mut self, now: Instant, kind: std::io::ErrorKind) {
        if self.connection.side().is_client() && self.connection.stats().packets_received == 0 {
            self.connection.abort(now, ConnectionError::Unreachable(kind));
        }
    }

    /// Drains the protocol: routes, then events, then datagrams. True if there is more to send.
    fn drain(&mut self, now: Instant) -> bool {
        let mut batches = 0;
        loop {
            if let Some((path, size)) = self.transmitter.take_too_long() {
                self.connection.on_datagram_refused(now, path, size);
            }
            let batch = if batches < MAX_BATCHES {
                self.transmitter.batch(&self.ending.endpoint.tx_pool, self.connection.path())
            } else {
                None
            };
            match self.connection.poll_output(now, batch) {
                Output::Route(change) => self.on_route(now, &change),
                Output::Event(event) => {
                    self.busy = true;
                    self.on_event(event);
                }
                Output::Transmit => {
                    self.busy = true;
                    batches += 1;
                    if let Sent::Done(Some(kind)) = self.transmitter.send()
                        && crate::net::is_unreachable(kind)
                    {
                        self.on_unreachable(now, kind);
                    }
                }
                // Building packets can end a connection as well.
                Output::Timeout(_) if self.connection.is_closed() && !self.over => {}
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return batches == MAX_BATCHES;
                }
            }
        }
    }

    fn on_route(&mut self, now: Instant, change: &RouteChange) {
        let (routes, inbox) = (&self.ending.endpoint.routes, &self.ending.shared.inbox);
        let entries = &mut self.ending.entries;
        match *change {
            RouteChange::AddCid(cid) => {
                if !routes.add_cid(inbox, entries, cid) {
                    tracing::debug!(%cid, "a connection ID was drawn twice at the same time");
                    routes.remove_cid(inbox, entries, cid);
                    self.connection.on_connection_id_taken(now, &cid);
                }
            }
            RouteChange::RemoveCid(cid) => routes.remove_cid(inbox, entries, cid),
            RouteChange::AddResetToken(remote, token) => routes.add_reset(inbox, entries, remote, token),
            RouteChange::RemoveResetToken(remote, token) => {
                routes.remove_reset(inbox, entries, remote, token);
            }
            RouteChange::RemoveInitial => {
                if let Some((remote, cid)) = entries.initial.take() {
                    routes.remove_initial(inbox, remote, cid);
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Connected | Event::EarlyData { .. } = event {
            // Whoever learns of it may send at once.
            self.publish_datagrams();
        }
        let shared = &self.ending.shared;
        match event {
            Event::HandshakeData => {
                let data = self.connection.handshake_data();
                shared.advance(|progress| progress.handshake_data = data);
            }
            Event::Connected => {
                let data = self.connection.handshake_data();
                let identity = self.connection.peer_identity().map(std::sync::Arc::new);
                self.ending.endpoint.answered(shared);
                if self.ending.handshaking.take().is_some() {
                    shared.inbox.on_known();
                }
                shared.advance(|progress| {
                    progress.handshake_data = data;
                    progress.peer_identity = identity;
                    progress.connected = true;
                });
            }
            Event::EarlyData { accepted } => {
                shared.advance(|progress| progress.early_data = Some(accepted));
            }
            Event::HandshakeConfirmed => shared.advance(|progress| progress.confirmed = true),
            Event::PathChanged(path) => self.on_path_changed(path),
            Event::MigrationFailed(path) => self.on_migration_failed(path),
            Event::PreferredFailed(_) => self.release_sockets(),
            Event::NewToken(token) => {
                if let Some((store, issuer)) = &mut self.tokens {
                    issuer.version = self.connection.version();
                    store.put(issuer, token);
                }
            }
            Event::Stream(event) => self.on_stream_event(event),
            Event::Datagram(event) => self.on_datagram_event(event),
            Event::Closed(error) => {
                self.over = true;
                self.deliver_rest();
                // Whoever learns of the end may ask what led to it.
                self.publish();
                self.ending.shared.mark_closed(error);
            }
        }
    }

    fn on_stream_event(&mut self, event: StreamEvent) {
        let shared = &self.ending.shared;
        match event {
            StreamEvent::Opened(id) => {
                let early = self.connection.streams().is_early(id);
                let stream = Stream::accepted(id, early, shared.clone());
                let send_done = id.dir() == Dir::Uni;
                let entry = StreamEntry {
                    stream: stream.clone(),
                    send_done,
                    recv_done: false,
                    full: false,
                    unordered: false,
                };
                self.ending.streams.insert(id, entry);
                // The limit on the peer's streams bounds the queue.
                drop(shared.accepted[id.dir().index()].push(stream));
            }
            StreamEvent::Readable(id) => self.deliver(id, MAX_CHUNKS),
            StreamEvent::Acked { id, bytes } => {
                if let Some(entry) = self.ending.streams.get(&id) {
                    shared.pool.release(entry.stream.send.on_acked(bytes));
                }
            }
            StreamEvent::Finished(id) => {
                if let Some(entry) = self.ending.streams.get(&id) {
                    shared.pool.release(entry.stream.send.on_acknowledged());
                }
                self.finish_half(id, |entry| entry.send_done = true);
            }
            StreamEvent::ResetAcked(id) => {
                if let Some(entry) = self.ending.streams.get(&id) {
                    shared.pool.release(entry.stream.send.on_reset_acknowledged());
                }
                self.finish_half(id, |entry| entry.send_done = true);
            }
            StreamEvent::Stopped { id, code } => {
                if let Some(entry) = self.ending.streams.get(&id) {
                    shared.pool.release(entry.stream.send.on_stopped(code));
                }
            }
            StreamEvent::Limit { dir, streams } => shared.open[dir.index()].raise(streams),
        }
    }

    /// If the server did not take early data, all streams so far never were. To be called between what was received and
    /// what the application did: that is about those streams, and the protocol has begun anew with the same numbers. It
    /// happens once at most.
    fn check_early_data(&mut self) {
        let rejected = self.epoch == 0 && self.connection.early_data() == EarlyData::Rejected;
        if !rejected || self.connection.side().is_server() {
            return;
        }
        self.epoch += 1;
        self.ending.shared.open.iter().for_each(OpenCredit::restart);
        for (_, entry) in self.ending.streams.drain() {
            entry.stream.on_rejected();
        }
    }

    /// The protocol goes, and what the application has not had for want of room must not go with it.
    fn deliver_rest(&mut self) {
        let full: Vec<StreamId> =
            self.ending.streams.iter().filter(|(_, entry)| entry.full).map(|(id, _)| *id).collect();
        for id in full {
            if let Some(entry) = self.ending.streams.get_mut(&id) {
                entry.full = false;
            }
            self.deliver(id, usize::MAX);
        }
    }

    /// Hands up to `limit` pieces that can be read of a stream to the application, unless that has enough.
    fn deliver(&mut self, id: StreamId, limit: usize) {
        let Some(entry) = self.ending.streams.get_mut(&id).filter(|entry| !entry.full) else { return };
        if entry.unordered {
            return self.deliver_pieces(id, limit);
        }
        let (streams, chunks) = (self.connection.streams(), &mut self.scratch.chunks);
        let mut end = None;
        while end.is_none() && chunks.len() < limit {
            match streams.read(id) {
                Some(RecvChunk::Data(chunk)) => chunks.push(chunk),
                Some(RecvChunk::Finished) => end = Some(RecvEnd::Fin),
                Some(RecvChunk::Reset(code)) => end = Some(RecvEnd::Reset(code)),
                Some(RecvChunk::ResetAt(code)) => end = Some(RecvEnd::ResetAt(code)),
                None if chunks.is_empty() => return,
                None => break,
            }
        }
        let (full, dropped) = entry.stream.recv.deliver(chunks, end);
        entry.full = full;
        if dropped > 0 {
            streams.consumed(id, dropped);
        }
    }

    /// The same for one that reads in any order.
    fn deliver_pieces(&mut self, id: StreamId, limit: usize) {
        let Some(entry) = self.ending.streams.get_mut(&id) else { return };
        let (streams, mut pieces, mut end) = (self.connection.streams(), Pieces::new(), None);
        while end.is_none() && pieces.len() < limit {
            match streams.read_unordered(id) {
                Some((offset, RecvChunk::Data(data))) => pieces.push_back((offset, data)),
                Some((_, RecvChunk::Finished)) => end = Some(RecvEnd::Fin),
                Some((_, RecvChunk::Reset(code))) => end = Some(RecvEnd::Reset(code)),
                Some((_, RecvChunk::ResetAt(code))) => end = Some(RecvEnd::ResetAt(code)),
                None if pieces.is_empty() => return,
                None => break,
            }
        }
        let (full, dropped) = entry.stream.recv.deliver_pieces(&mut pieces, end);
        entry.full = full;
        if dropped > 0 {
            streams.consumed(id, dropped);
        }
    }

    /// Lets go of a stream once both halves are done.
    fn finish_half(&mut self, id: StreamId, change: impl FnOnce(&mut StreamEntry)) {
        if let Some(entry) = self.ending.streams.get_mut(&id) {
            change(entry);
            if entry.send_done && entry.recv_done {
                self.ending.streams.remove(&id);
            }
        }
    }

    /// Publishes what handles may ask for.
    pub(super) fn publish(&mut self) {
        self.publish_datagrams();
        let mut stats = self.connection.stats();
        stats.datagrams_overflowed = self.overflowed;
        stats.datagrams_unsent += self.ending.shared.datagrams_out.unsent();
        stats.datagrams_unread += self.ending.shared.datagrams_in.unread();
        self.ending.shared.set_snapshot(Snapshot {
            path: self.connection.path(),
            rtt: stats.rtt,
            idle_timeout: self.connection.idle_timeout(),
            version: Version::from_u32(self.connection.version()).unwrap_or(Version::V1),
            stats,
        });
    }
}
