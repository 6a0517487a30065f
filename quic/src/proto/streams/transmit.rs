//! What streams put into packets.

use std::time::{Duration, Instant};

use super::schedule::Schedule;
use super::send::Reset;
use super::table::{Queue, Slot};
use super::{Streams, control, pending};
use crate::packet::{Dir, StreamId};
use crate::proto::space::Token;
use crate::proto::transmit::FrameWriter;
use crate::wire::frame::{
    DataBlocked, MaxData, MaxStreamData, MaxStreams, ResetStream, ResetStreamAt, StopSending,
    StreamDataBlocked, StreamsBlocked,
};

impl Streams {
    /// True if [`Streams::write_control`] or [`Streams::write_data`] would write something now.
    #[must_use]
    pub(crate) fn wants_to_send(&self) -> bool {
        !self.pending.is_empty()
            || !self.control.is_empty()
            || !self.repair.is_empty()
            || (!self.fresh.is_empty() && self.credit.left(self.sent) > 0)
    }

    /// The level of the stream whose data would be sent first; `None` if there is none.
    pub fn level(&self) -> Option<i32> {
        let of = |schedule: &Schedule| schedule.first().and_then(|slot| self.table.get(slot));
        let level = |schedule| of(schedule).map(|stream| stream.priority.level());
        let may_send = self.credit.left(self.sent) > 0;
        level(&self.repair).max(if may_send { level(&self.fresh) } else { None })
    }

    /// True if flow control is all that keeps data of some stream back.
    #[must_use]
    pub(crate) fn is_flow_blocked(&self) -> bool {
        self.is_blocked() || self.blocked.first().is_some()
    }

    /// Says once more that flow control holds data back, if it does. To be called when a connection has sent nothing
    /// for long, lest the peer take it for idle (RFC 9000 §4.1). True if there is something to send by that.
    pub(crate) fn repeat_blocked(&mut self) -> bool {
        if self.is_blocked() {
            self.pending.set(pending::DATA_BLOCKED);
        } else if let Some(slot) = self.blocked.first() {
            self.ask(slot, control::STREAM_DATA_BLOCKED);
        } else {
            return false;
        }
        true
    }

    /// Writes what is pending about limits, resets and stops, as far as there is room. Receive windows follow what was
    /// read within `round_trip`.
    pub(crate) fn write_control(&mut self, now: Instant, round_trip: Duration, w: &mut FrameWriter<'_>) {
        if self.pending.has(pending::MAX_DATA) {
            self.received.tune(now, round_trip, 0);
            if !w.frame(&MaxData { maximum: self.received.advertise() }, Some(Token::MaxData)) {
                return;
            }
            self.pending.clear(pending::MAX_DATA);
        }
        for dir in Dir::ALL {
            let flag = pending::MAX_STREAMS << dir.index();
            if self.pending.has(flag) {
                let maximum = self.remote_mut(dir).advertise();
                if !w.frame(&MaxStreams { dir, maximum }, Some(Token::MaxStreams(dir))) {
                    return;
                }
                self.pending.clear(flag);
            }
        }
        while let Some(slot) = self.control.first() {
            if !self.write_stream_control(slot, now, round_trip, w) {
                return;
            }
            self.table.unlink(&mut self.control, Queue::Control, slot);
            self.retire(slot);
        }
        if self.pending.has(pending::DATA_BLOCKED) {
            let blocked = self.is_blocked();
            if blocked && !w.frame(&DataBlocked { limit: self.credit.limit() }, Some(Token::DataBlocked)) {
                return;
            }
            self.pending.clear(pending::DATA_BLOCKED);
        }
        for dir in Dir::ALL {
            let flag = pending::STREAMS_BLOCKED << dir.index();
            if self.pending.has(flag) {
                let limit = self.local(dir).blocked_at;
                let token = Some(Token::StreamsBlocked(dir));
                if limit.is_some_and(|limit| !w.frame(&StreamsBlocked { dir, limit }, token)) {
                    return;
                }
                self.pending.clear(flag);
            }
        }
    }

    /// False if there was no room for all of it.
    fn write_stream_control(
        &mut self,
        slot: Slot,
        now: Instant,
        round_trip: Duration,
        w: &mut FrameWriter<'_>,
    ) -> bool {
        let tuned = self.tuned_window.min(self.received.window());
        let Some(stream) = self.table.get_mut(slot) else { return true };
        let id = stream.id;
        if stream.control.has(control::RESET_STREAM) {
            if let Some(reset) = stream.send.reset_to_send() {
                if !write_reset(id, reset, w) {
                    return false;
                }
                if reset.reliable_size.is_some() {
                    stream.send.on_reset_at_sent();
                }
            }
            stream.control.clear(control::RESET_STREAM);
        }
        if stream.control.has(control::STOP_SENDING) {
            if let Some(error_code) = stream.recv.stop_to_send() {
                if !w.frame(&StopSending { id, error_code }, Some(Token::StopSending(id))) {
                    return false;
                }
                stream.recv.on_stop_sent();
            }
            stream.control.clear(control::STOP_SENDING);
        }
        if stream.control.has(control::MAX_STREAM_DATA) {
            if stream.recv.wants_credit() {
                let before = stream.recv.window();
                let maximum = stream.recv.advertise(now, round_trip, tuned);
                if stream.recv.window() > before {
                    self.tuned_window = stream.recv.window();
                }
                if !w.frame(&MaxStreamData { id, maximum }, Some(Token::MaxStreamData(id))) {
                    return false;
                }
            }
            stream.control.clear(control::MAX_STREAM_DATA);
        }
        if stream.control.has(control::STREAM_DATA_BLOCKED) {
            if let Some(limit) = stream.send.blocked_at()
                && !w.frame(&StreamDataBlocked { id, limit }, Some(Token::StreamDataBlocked(id)))
            {
                return false;
            }
            stream.control.clear(control::STREAM_DATA_BLOCKED);
        }
        true
    }

    /// Fills the packet with stream data: what was lost first, then new data as far as flow control allows.
    pub(crate) fn write_data(&mut self, w: &mut FrameWriter<'_>) {
        while let Some(slot) = self.repair.first() {
            if !self.write_repair(slot, w) {
                return;
            }
        }
        while self.credit.left(self.sent) > 0
            && let Some(slot) = self.fresh.first()
        {
            if !self.write_fresh(slot, w) {
                return;
            }
        }
        self.check_blocked();
    }

    /// False if the packet is full.
    fn write_repair(&mut self, slot: Slot, w: &mut FrameWriter<'_>) -> bool {
        let Some(stream) = self.table.get_mut(slot) else { return false };
        if let Some(segment) = stream.send.repair() {
            let (id, send) = (stream.id, &mut stream.send);
            let available = usize::try_from(segment.len).unwrap_or(usize::MAX);
            let fill = |out: &mut Vec<u8>, len| send.copy(segment.offset, len, out);
            let Some(written) = w.stream(id, segment.offset, available, segment.fin, fill) else {
                return false;
            };
            send.on_sent(segment.offset, written.len as u64, written.fin);
            stream.turn = stream.turn.saturating_sub(written.len as u64);
        }
        let (wanted, turn) = (stream.send.repair().is_some(), stream.turn);
        self.repair.set(&mut self.table, slot, wanted);
        if turn == 0 {
            self.repair.rotate(&mut self.table, slot);
        }
        true
    }

    /// False if the packet is full.
    fn write_fresh(&mut self, slot: Slot, w: &mut FrameWriter<'_>) -> bool {
        let left = self.credit.left(self.sent);
        let Some(stream) = self.table.get_mut(slot) else { return false };
        if let Some(segment) = stream.send.fresh() {
            let (id, send) = (stream.id, &mut stream.send);
            let available = usize::try_from(segment.len.min(left)).unwrap_or(usize::MAX);
            let fin = segment.fin && segment.len <= left;
            let fill = |out: &mut Vec<u8>, len| send.copy(segment.offset, len, out);
            let Some(written) = w.stream(id, segment.offset, available, fin, fill) else { return false };
            send.on_sent(segment.offset, written.len as u64, written.fin);
            self.sent += written.len as u64;
            stream.turn = stream.turn.saturating_sub(written.len as u64);
        }
        if stream.send.fresh().is_none() {
            self.reschedule(slot);
        } else if stream.turn == 0 {
            self.fresh.rotate(&mut self.table, slot);
        }
        true
    }
}

/// False if there was no room.
fn write_reset(id: StreamId, reset: Reset, w: &mut FrameWriter<'_>) -> bool {
    let Reset { code: error_code, final_size, reliable_size } = reset;
    match reliable_size {
        None => w.frame(&ResetStream { id, error_code, final_size }, Some(Token::ResetStream(id))),
        Some(reliable_size) => {
            let frame = ResetStreamAt { id, error_code, final_size, reliable_size };
            w.frame(&frame, Some(Token::ResetStreamAt { id, reliable_size }))
        }
    }
}
