//! What the application does to streams, and what it hears of them.

use bytes::Bytes;

use super::ids::Standing;
use super::send::SendPart;
use super::table::{Queue, Slot};
use super::{RecvChunk, StreamEvent, Streams, control, event, pending};
use crate::packet::{Dir, Priority, StreamId};
use crate::wire::VarInt;

impl Streams {
    /// Appends data to a stream. Ignored once the stream has ended in whatever way.
    ///
    /// The first use of a local ID opens the stream. IDs below the peer's limit may be used in any order; none may be
    /// left out for good, for the peer counts it as open.
    pub fn write(&mut self, id: StreamId, data: Bytes) {
        self.with_send_part(id, |part| part.write(data));
    }

    /// The stream ends after the data written so far.
    pub fn finish(&mut self, id: StreamId) {
        self.with_send_part(id, SendPart::finish);
    }

    /// Abandons sending. Ignored if the peer has everything already, or the stream was reset.
    pub fn reset(&mut self, id: StreamId, code: VarInt) {
        let Some(slot) = self.stream_of_app(id) else { return };
        if self.table.get_mut(slot).is_some_and(|stream| stream.send.reset(code)) {
            self.ask(slot, control::RESET_STREAM);
            self.reschedule(slot);
        }
    }

    /// Abandons sending, but for the first `reliable_size` bytes, or all that was written if that is less: those are
    /// delivered (draft-ietf-quic-reliable-stream-reset-10). False if the peer does not support that; then nothing has
    /// changed.
    ///
    /// A later call, or [`Streams::reset`], can only make the size smaller, and the first code stays. Ignored if the peer
    /// has everything already, or the stream was reset.
    #[must_use]
    pub fn reset_at(&mut self, id: StreamId, code: VarInt, reliable_size: u64) -> bool {
        if !self.peer.reset_stream_at {
            return false;
        }
        let Some(slot) = self.stream_of_app(id) else { return true };
        let Some(stream) = self.table.get_mut(slot) else { return true };
        if let Some(released) = stream.send.reset_at(code, reliable_size) {
            stream.acked += released;
            if released > 0 {
                self.tell(slot, event::ACKED);
            }
            self.reschedule(slot);
        }
        true
    }

    /// True if the peer takes RESET_STREAM_AT frames.
    #[must_use]
    pub fn peer_supports_reset_at(&self) -> bool {
        self.peer.reset_stream_at
    }

    /// The next piece of what was received: data in order, then once `Finished` or `Reset`. `None`: nothing now.
    ///
    /// Each byte handed out has to come back through [`Streams::consumed`], whatever becomes of the stream.
    /// [`StreamEvent::Readable`] tells when there is more. Data may be left here for as long as the application has
    /// enough: small pieces are joined here, and a reset overtakes what was not read.
    pub fn read(&mut self, id: StreamId) -> Option<RecvChunk> {
        let slot = self.table.find(id)?;
        let chunk = self.table.get_mut(slot)?.recv.read(&mut self.received);
        match chunk {
            Some(RecvChunk::Finished) => self.retire(slot),
            Some(RecvChunk::ResetAt(_)) => self.check_credit(),
            _ => {}
        }
        chunk
    }

    /// As [`Streams::read`], without waiting for gaps to be filled: pieces as they have arrived, each with its offset in
    /// the stream, and each byte once. The end comes when everything before it was handed out.
    ///
    /// From the first call on, the order of the stream is lost: [`Streams::read`] hands out nothing more.
    pub fn read_unordered(&mut self, id: StreamId) -> Option<(u64, RecvChunk)> {
        let slot = self.table.find(id)?;
        let found = self.table.get_mut(slot)?.recv.read_unordered(&mut self.received);
        match found {
            Some((_, RecvChunk::Finished)) => self.retire(slot),
            Some((_, RecvChunk::ResetAt(_))) => self.check_credit(),
            _ => {}
        }
        found
    }

    /// The application has read so many of the bytes handed out, or has thrown them away: the peer gets credit.
    pub fn consumed(&mut self, id: StreamId, bytes: u64) {
        self.consumed_of_connection(bytes);
        self.consumed_of_stream(id, bytes);
    }

    /// [`Streams::consumed`] of a stream alone: the connection learns of the same bytes by
    /// [`Streams::consumed_of_connection`], sooner or later.
    pub fn consumed_of_stream(&mut self, id: StreamId, bytes: u64) {
        let Some(slot) = self.table.find(id) else { return };
        let Some(stream) = self.table.get_mut(slot) else { return };
        stream.recv.consume(bytes);
        if stream.recv.credit_is_due() {
            self.ask(slot, control::MAX_STREAM_DATA);
        }
        self.retire(slot);
    }

    /// [`Streams::consumed`] of the connection alone, for bytes of any streams: where many streams are read a little each,
    /// none of them has much to tell, and all of them together have.
    pub fn consumed_of_connection(&mut self, bytes: u64) {
        self.received.consume(bytes);
        self.check_credit();
    }

    /// The application has seen `Finished` or `Reset`, or will never look.
    ///
    /// Until then the stream counts against the limit on the peer's streams. Needed after a reset and for streams
    /// without data; where all bytes up to `Finished` were [`Streams::consumed`], that says it.
    pub fn release(&mut self, id: StreamId) {
        let Some(slot) = self.table.find(id) else { return };
        if let Some(stream) = self.table.get_mut(slot) {
            stream.recv.release();
        }
        self.retire(slot);
    }

    /// The application wants nothing more from this stream: STOP_SENDING, unless all has arrived. What was not read
    /// is thrown away and credited; nothing more comes out of [`Streams::read`].
    pub fn stop(&mut self, id: StreamId, code: VarInt) {
        let Some(slot) = self.stream_of_app(id) else { return };
        let Some(stream) = self.table.get_mut(slot) else { return };
        if stream.recv.stop(&mut self.received, code) {
            self.ask(slot, control::STOP_SENDING);
        }
        self.check_control(slot);
        self.check_credit();
        self.retire(slot);
    }

    /// Whose data leave first.
    pub fn set_priority(&mut self, id: StreamId, priority: Priority) {
        let Some(slot) = self.stream_of_app(id) else { return };
        if self.table.get(slot).is_none_or(|stream| stream.priority == priority) {
            return;
        }
        self.repair.set(&mut self.table, slot, false);
        self.fresh.set(&mut self.table, slot, false);
        if let Some(stream) = self.table.get_mut(slot) {
            stream.priority = priority;
        }
        self.reschedule(slot);
    }

    /// How many streams the peer may have open at a time. Fewer takes effect as streams end.
    pub fn set_max_concurrent(&mut self, dir: Dir, streams: u64) {
        self.remote_mut(dir).set_concurrent(streams);
        self.check_stream_limit(dir);
    }

    /// Bytes that may be under way or unread on all streams together, from now on: it does not tune itself any more. Less
    /// takes effect as data is consumed.
    pub fn set_receive_window(&mut self, bytes: u64) {
        self.limits.max_receive_window = bytes;
        self.received.set_window(bytes);
        self.check_credit();
    }

    /// Up to which size that window grows by itself, from now on; less than it has makes it smaller as data is consumed.
    pub fn set_receive_window_ceiling(&mut self, bytes: u64) {
        self.received.set_ceiling(bytes);
        self.check_credit();
    }

    /// The present size of that window.
    #[must_use]
    pub fn receive_window(&self) -> u64 {
        self.received.window()
    }

    /// The size that window would have if its ceiling were higher; `None` if that does not hold it back.
    #[must_use]
    pub fn wanted_receive_window(&self) -> Option<u64> {
        let wanted = self.received.wanted()?.min(self.limits.max_receive_window);
        (wanted > self.received.window()).then_some(wanted)
    }

    /// Bytes that the peer may have us hold: the window, or what is left of a larger one that it was promised.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.received.committed()
    }

    /// How much the peer has sent on all streams so far, as flow control counts it: bytes.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.received()
    }

    /// Memory of data that has arrived and was not consumed, bytes. What came out of order counts in whole pages of 4 KiB,
    /// what is missing before it does not.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.received.held()
    }

    /// The present window of a stream.
    #[must_use]
    pub fn stream_receive_window(&self, id: StreamId) -> Option<u64> {
        let stream = self.table.find(id).and_then(|slot| self.table.get(slot))?;
        Some(stream.recv.window())
    }

    /// The application waits for a stream beyond the peer's limit: tells the peer, once per limit.
    pub fn report_open_blocked(&mut self, dir: Dir) {
        let local = self.local_mut(dir);
        if local.blocked_at.replace(local.streams) != Some(local.streams) {
            self.pending.set(pending::STREAMS_BLOCKED << dir.index());
        }
    }

    /// The next event; to be called until `None` after anything else was.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        for dir in Dir::ALL {
            if self.limit_events.take(1 << dir.index()) {
                return Some(StreamEvent::Limit { dir, streams: self.local(dir).streams });
            }
        }
        while let Some(slot) = self.events.first() {
            let event = self.take_event(slot);
            if self.table.get(slot).is_none_or(|stream| stream.events.is_empty()) {
                self.table.unlink(&mut self.events, Queue::Events, slot);
                self.retire(slot);
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn take_event(&mut self, slot: Slot) -> Option<StreamEvent> {
        let stream = self.table.get_mut(slot)?;
        let id = stream.id;
        let events = &mut stream.events;
        Some(if events.take(event::OPENED) {
            StreamEvent::Opened(id)
        } else if events.take(event::READABLE) {
            StreamEvent::Readable(id)
        } else if events.take(event::ACKED) {
            StreamEvent::Acked { id, bytes: std::mem::take(&mut stream.acked) }
        } else if events.take(event::STOPPED) {
            StreamEvent::Stopped { id, code: stream.stop_code }
        } else if events.take(event::FINISHED) {
            StreamEvent::Finished(id)
        } else if events.take(event::RESET_ACKED) {
            StreamEvent::ResetAcked(id)
        } else {
            return None;
        })
    }

    fn with_send_part(&mut self, id: StreamId, change: impl FnOnce(&mut SendPart)) {
        let Some(slot) = self.stream_of_app(id) else { return };
        if let Some(stream) = self.table.get_mut(slot) {
            change(&mut stream.send);
        }
        self.reschedule(slot);
    }

    /// The stream that the application names; a local one is created on its first use. `None` if it has ended.
    fn stream_of_app(&mut self, id: StreamId) -> Option<Slot> {
        if let Some(slot) = self.table.find(id) {
            return Some(slot);
        }
        if id.initiator() != self.side || self.ids_mut(id).standing(id.index()) == Standing::Named {
            return None;
        }
        if id.index() >= self.local(id.dir()).streams {
            debug_assert!(false, "{id:?} is above the peer's limit");
            return None;
        }
        Some(self.create(id))
    }
}
