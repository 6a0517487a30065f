//! The fate of sent frames. Tokens of others pass without effect; a frame may be lost and acknowledged in any order.

use super::table::{Queue, Stream};
use super::{Streams, control, event, pending};
use crate::packet::StreamId;
use crate::proto::space::Token;

impl Streams {
    /// A frame has arrived.
    pub(crate) fn on_acked(&mut self, token: &Token) {
        match *token {
            Token::Stream { id, offset, len, fin } => {
                let Some(slot) = self.table.find(id) else { return };
                let Some(stream) = self.table.get_mut(slot) else { return };
                let acked = stream.send.on_acked(offset, len.into(), fin);
                stream.acked += acked.released;
                if acked.released > 0 {
                    self.tell(slot, event::ACKED);
                }
                if acked.finished {
                    self.tell(slot, event::FINISHED);
                }
                if acked.reset {
                    self.tell(slot, event::RESET_ACKED);
                }
                if self.table.get(slot).is_some_and(|stream| stream.is_queued(Queue::Repair)) {
                    self.reschedule(slot);
                }
            }
            Token::ResetStream(id) => {
                let Some(slot) = self.table.find(id) else { return };
                let Some(stream) = self.table.get_mut(slot) else { return };
                if stream.send.on_reset_acked() {
                    self.tell(slot, event::RESET_ACKED);
                    self.check_control(slot);
                }
            }
            Token::ResetStreamAt { id, reliable_size } => {
                let Some(slot) = self.table.find(id) else { return };
                let Some(stream) = self.table.get_mut(slot) else { return };
                if stream.send.on_reset_at_acked(reliable_size) {
                    self.tell(slot, event::RESET_ACKED);
                }
                self.check_control(slot);
            }
            _ => {}
        }
    }

    /// A frame is lost: what of it still matters is sent again.
    pub(crate) fn on_lost(&mut self, token: &Token) {
        match *token {
            Token::Stream { id, offset, len, fin } => {
                let Some(slot) = self.table.find(id) else { return };
                if let Some(stream) = self.table.get_mut(slot) {
                    stream.send.on_lost(offset, len.into(), fin);
                }
                self.reschedule(slot);
            }
            Token::ResetStream(id) => {
                self.ask_if(id, control::RESET_STREAM, |stream| stream.send.reset_to_send().is_some());
            }
            Token::ResetStreamAt { id, reliable_size } => {
                self.ask_if(id, control::RESET_STREAM, |stream| stream.send.on_reset_at_lost(reliable_size));
            }
            Token::StopSending(id) => {
                self.ask_if(id, control::STOP_SENDING, |stream| stream.recv.on_stop_lost());
            }
            Token::MaxStreamData(id) => {
                self.ask_if(id, control::MAX_STREAM_DATA, |stream| stream.recv.wants_credit());
            }
            Token::StreamDataBlocked(id) => {
                self.ask_if(id, control::STREAM_DATA_BLOCKED, |stream| stream.send.blocked_at().is_some());
            }
            Token::MaxData => self.pending.set(pending::MAX_DATA),
            Token::DataBlocked if self.is_blocked() => self.pending.set(pending::DATA_BLOCKED),
            Token::MaxStreams(dir) => self.pending.set(pending::MAX_STREAMS << dir.index()),
            Token::StreamsBlocked(dir) if self.local(dir).blocked_at.is_some() => {
                self.pending.set(pending::STREAMS_BLOCKED << dir.index());
            }
            _ => {}
        }
    }

    fn ask_if(&mut self, id: StreamId, control: u8, wanted: impl FnOnce(&mut Stream) -> bool) {
        let Some(slot) = self.table.find(id) else { return };
        if self.table.get_mut(slot).is_some_and(wanted) {
            self.ask(slot, control);
        }
    }
}
