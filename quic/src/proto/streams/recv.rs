//! The receiving part of a stream (RFC 9000 §3.2).
//!
//! Who gives credit back: bytes that were handed out by [`RecvPart::read`] count as consumed when the application says
//! so; all others when they are thrown away, by a reset of the peer or because we asked it to stop.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::RecvChunk;
use super::assembler::Assembler;
use super::flow::{Gaps, RecvCredit};
use super::unordered::Unordered;
use crate::packet::{TransportError, TransportErrorCode};
use crate::wire::VarInt;

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum State {
    /// The stream has no receiving part.
    Absent,
    /// Recv, Size Known or Data Recvd, as the final size and the assembler tell.
    Recv,
    /// The application has asked for an end; what comes is thrown away.
    Stopped(VarInt),
    /// Reset Recvd, and the application has yet to be told.
    ResetRecvd(VarInt),
    /// All data and FIN were handed out.
    DataRead,
    /// The reset was handed out.
    ResetRead,
}

/// What RESET_STREAM and RESET_STREAM_AT say.
#[derive(Debug, Copy, Clone)]
struct Reset {
    code: VarInt,
    /// So much is delivered all the same; 0 with RESET_STREAM.
    reliable_size: u64,
    /// RESET_STREAM_AT was among them.
    at: bool,
}

#[derive(Debug)]
pub(super) struct RecvPart {
    state: State,
    assembler: Assembler,
    /// In the place of the assembler, for a reader that takes pieces in any order.
    unordered: Option<Box<Unordered>>,
    credit: RecvCredit,
    final_size: Option<u64>,
    /// What the peer's resets said so far.
    reset: Option<Reset>,
    /// What the connection was told of gaps.
    gaps: Gaps,
    /// Bytes handed out.
    read: u64,
    /// Bytes that the application is done with.
    consumed: u64,
    /// The application has seen the end.
    released: bool,
    /// STOP_SENDING waits to be sent.
    stop_pending: bool,
}

fn final_size_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::FINAL_SIZE_ERROR, reason)
}

/// What of `data`, which begin at `offset`, lies before `end`.
fn up_to(end: u64, offset: u64, mut data: Bytes) -> Bytes {
    data.truncate(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
    data
}

impl RecvPart {
    pub(super) fn absent() -> Self {
        Self {
            state: State::Absent,
            assembler: Assembler::default(),
            unordered: None,
            credit: RecvCredit::default(),
            final_size: None,
            reset: None,
            gaps: Gaps::default(),
            read: 0,
            consumed: 0,
            released: false,
            stop_pending: false,
        }
    }

    /// As a new receiving part, in the memory of an old one.
    pub(super) fn open(&mut self, window: u64, ceiling: u64) {
        self.close();
        (self.state, self.credit) = (State::Recv, RecvCredit::new(window, ceiling));
    }

    pub(super) fn close(&mut self) {
        debug_assert_eq!(self.gaps, Gaps::default(), "the connection would count them for ever");
        self.assembler.reset();
        (self.state, self.final_size, self.reset, self.unordered) = (State::Absent, None, None, None);
        (self.read, self.consumed) = (0, 0);
        (self.released, self.stop_pending) = (false, false);
    }

    /// True in the terminal states.
    pub(super) fn is_done(&self) -> bool {
        match self.state {
            State::Absent => true,
            State::Recv | State::ResetRecvd(_) => false,
            State::Stopped(_) => self.final_size.is_some() && !self.stop_pending,
            State::DataRead | State::ResetRead => self.released,
        }
    }

    /// STREAM. True if there is more to read than before.
    pub(super) fn on_data(
        &mut self,
        connection: &mut RecvCredit,
        offset: u64,
        data: Bytes,
        fin: bool,
        copy: bool,
    ) -> Result<bool, TransportError> {
        let end = offset.saturating_add(data.len() as u64);
        let had_all = self.has_all();
        match self.final_size {
            Some(size) if end > size => return Err(final_size_error("data beyond the final size")),
            Some(size) if fin && end != size => {
                return Err(final_size_error("another final size than before"));
            }
            None if fin && end < self.credit.received() => {
                return Err(final_size_error("final size below the end of data already received"));
            }
            _ => {}
        }
        self.use_credit(connection, end)?;
        if fin {
            self.final_size = Some(end);
        }
        if self.state != State::Recv {
            return Ok(false);
        }
        let data = match self.reset {
            Some(Reset { reliable_size, .. }) => up_to(reliable_size, offset, data),
            None => data,
        };
        let news = match &mut self.unordered {
            None => self.assembler.insert(offset, data, copy),
            Some(unordered) => {
                let news = unordered.insert(offset, data, copy);
                self.credit_consumed();
                news
            }
        };
        self.tell_gaps(connection);
        Ok(news || had_all != self.has_all())
    }

    /// True if a STREAM frame that ends there tells nothing: its bytes are there, or are not wanted.
    pub(super) fn knows(&self, end: u64, empty: bool, fin: bool) -> bool {
        let wanted = self.state == State::Recv && !empty;
        let known = if wanted { self.received() } else { self.credit.received() };
        end <= known && !(fin && self.final_size.is_none())
    }

    /// True if the peer has said where the stream ends.
    pub(super) fn is_size_known(&self) -> bool {
        self.final_size.is_some()
    }

    /// True if the application has asked for an end; the peer's reset only does as it was told.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped(_))
    }

    /// True if the peer has reset it, and not all had arrived.
    pub(super) fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// RESET_STREAM. True if the application has to be told.
    pub(super) fn on_reset(
        &mut self,
        connection: &mut RecvCredit,
        code: VarInt,
        size: u64,
    ) -> Result<bool, TransportError> {
        let reset = Reset { code, reliable_size: 0, at: false };
        if !self.note_reset(connection, reset, size)? || self.state != State::Recv {
            return Ok(false);
        }
        self.throw_away(connection);
        self.state = State::ResetRecvd(code);
        Ok(true)
    }

    /// RESET_STREAM_AT. True if there is more to read than before, be it the end.
    pub(super) fn on_reset_at(
        &mut self,
        connection: &mut RecvCredit,
        code: VarInt,
        size: u64,
        reliable_size: u64,
    ) -> Result<bool, TransportError> {
        let reset = Reset { code, reliable_size, at: true };
        Ok(self.note_reset(connection, reset, size)? && self.state == State::Recv && self.has_all())
    }

    /// Holds a reset against what the peer said before. False if it has no effect.
    fn note_reset(
        &mut self,
        connection: &mut RecvCredit,
        new: Reset,
        size: u64,
    ) -> Result<bool, TransportError> {
        if self.final_size.is_some_and(|known| known != size) {
            return Err(final_size_error("another final size than before"));
        }
        if size < self.credit.received() {
            return Err(final_size_error("final size below the end of data already received"));
        }
        if self.reset.is_some_and(|reset| reset.code != new.code && (reset.at || new.at)) {
            let reason = "another code than in an earlier reset";
            return Err(TransportError::new(TransportErrorCode::STREAM_STATE_ERROR, reason));
        }
        self.use_credit(connection, size)?;
        if self.has_all() {
            // What has arrived in full is delivered, as if the reset had been late (RFC 9000 §3.2).
            return Ok(false);
        }
        (self.final_size, self.stop_pending) = (Some(size), false);
        let reset = self.reset.get_or_insert(new);
        // Of several the smallest counts, in whatever order they arrive.
        reset.reliable_size = reset.reliable_size.min(new.reliable_size);
        reset.at |= new.at;
        self.tell_gaps(connection);
        Ok(true)
    }

    /// The next thing to hand to the application.
    pub(super) fn read(&mut self, connection: &mut RecvCredit) -> Option<RecvChunk> {
        match self.state {
            State::Recv => {
                if self.unordered.is_some() {
                    debug_assert!(false, "the order is lost");
                    return None;
                }
                if let Some(Reset { code, reliable_size, .. }) = self.reset
                    && self.read >= reliable_size
                {
                    return Some(self.read_reset_at(connection, code));
                }
                if let Some(data) = self.assembler.read() {
                    let data = match self.reset {
                        Some(Reset { reliable_size, .. }) => up_to(reliable_size, self.read, data),
                        None => data,
                    };
                    self.read += data.len() as u64;
                    return Some(RecvChunk::Data(data));
                }
                let end = self.read_end();
                self.tell_gaps(connection);
                end
            }
            State::ResetRecvd(_) => self.read_end(),
            _ => None,
        }
    }

    /// The same without waiting for gaps to be filled: data with their offset. From the first call on, the order is lost.
    pub(super) fn read_unordered(&mut self, connection: &mut RecvCredit) -> Option<(u64, RecvChunk)> {
        if self.state != State::Recv {
            return self.read_end().map(|end| (self.read, end));
        }
        let (assembler, read) = (&mut self.assembler, self.read);
        let unordered = self.unordered.get_or_insert_with(|| {
            let mut unordered = Unordered::new(assembler.received());
            let mut at = read;
            while let Some(data) = assembler.read() {
                let offset = at;
                at += data.len() as u64;
                unordered.push_ready(offset, data);
            }
            for (offset, data) in assembler.take_gapped() {
                unordered.insert(offset, data, true);
            }
            Box::new(unordered)
        });
        let next = unordered.read();
        self.tell_gaps(connection);
        if let Some((offset, data)) = next {
            self.read += data.len() as u64;
            return Some((offset, RecvChunk::Data(data)));
        }
        let end = match self.reset {
            Some(Reset { code, .. }) if self.has_all() => Some(self.read_reset_at(connection, code)),
            Some(_) => None,
            None => self.read_end(),
        };
        self.tell_gaps(connection);
        end.map(|end| (self.read, end))
    }

    /// True if the application reads in any order.
    pub(super) fn is_unordered(&self) -> bool {
        self.unordered.is_some()
    }

    fn read_reset_at(&mut self, connection: &mut RecvCredit, code: VarInt) -> RecvChunk {
        self.throw_away(connection);
        self.state = State::ResetRead;
        RecvChunk::ResetAt(code)
    }

    /// The end, if all before it was handed out.
    fn read_end(&mut self) -> Option<RecvChunk> {
        match self.state {
            State::Recv if self.final_size == Some(self.read) => {
                self.state = State::DataRead;
                self.check_consumed();
                Some(RecvChunk::Finished)
            }
            State::ResetRecvd(code) => {
                self.state = State::ResetRead;
                Some(RecvChunk::Reset(code))
            }
            _ => None,
        }
    }

    /// The application is done with bytes that were handed out. The caller credits the connection.
    pub(super) fn consume(&mut self, bytes: u64) {
        let outstanding = self.read.saturating_sub(self.consumed);
        debug_assert!(bytes <= outstanding, "more consumed than was handed out");
        self.consumed += bytes.min(outstanding);
        self.credit_consumed();
        self.check_consumed();
    }

    /// Lets the peer go on as far as the application is done with data, but no further than a window from the first
    /// gap: so what has to be remembered about a stream without order is bounded.
    fn credit_consumed(&mut self) {
        let upto = match &self.unordered {
            None => self.consumed,
            Some(unordered) => self.consumed.min(unordered.received()),
        };
        self.credit.consume(upto.saturating_sub(self.credit.consumed()));
    }

    /// The application has seen the end of the stream.
    pub(super) fn release(&mut self) {
        self.released |= matches!(self.state, State::DataRead | State::ResetRead);
    }

    /// The application wants no more. True if STOP_SENDING has to be sent.
    pub(super) fn stop(&mut self, connection: &mut RecvCredit, code: VarInt) -> bool {
        match self.state {
            State::Absent | State::Stopped(_) => false,
            State::DataRead | State::ResetRead | State::ResetRecvd(_) => {
                (self.state, self.released) = (State::ResetRead, true);
                false
            }
            State::Recv => {
                self.stop_pending = !self.has_all();
                self.throw_away(connection);
                self.state = State::Stopped(code);
                self.stop_pending
            }
        }
    }

    /// The code for STOP_SENDING, while that is wanted.
    pub(super) fn stop_to_send(&self) -> Option<VarInt> {
        match self.state {
            State::Stopped(code) if self.stop_pending => Some(code),
            _ => None,
        }
    }

    pub(super) fn on_stop_sent(&mut self) {
        self.stop_pending = false;
    }

    /// True if STOP_SENDING has to be sent again.
    pub(super) fn on_stop_lost(&mut self) -> bool {
        let wanted = matches!(self.state, State::Stopped(_)) && self.final_size.is_none();
        self.stop_pending |= wanted;
        wanted
    }

    /// True if a MAX_STREAM_DATA would help the peer.
    pub(super) fn wants_credit(&self) -> bool {
        self.state == State::Recv && self.final_size.is_none()
    }

    pub(super) fn credit_is_due(&self) -> bool {
        self.wants_credit() && self.credit.is_due()
    }

    /// The limit for MAX_STREAM_DATA.
    pub(super) fn advertise(&mut self, now: Instant, round_trip: Duration, least: u64) -> u64 {
        self.credit.tune(now, round_trip, least);
        self.credit.advertise()
    }

    /// How far the limit is kept ahead of what was consumed.
    pub(super) fn window(&self) -> u64 {
        self.credit.window()
    }

    /// The end of what has arrived, gaps included.
    #[cfg(test)]
    pub(super) fn highest(&self) -> u64 {
        self.credit.received()
    }

    /// Bytes of data that are kept.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.unordered
            .as_ref()
            .map_or_else(|| self.assembler.held_bytes(), |unordered| unordered.held_bytes())
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.assembler.memory()
    }

    /// True in the RFC's Data Recvd.
    fn has_all(&self) -> bool {
        match self.reset {
            None => self.final_size == Some(self.received()),
            Some(Reset { reliable_size, .. }) => self.received() >= reliable_size,
        }
    }

    /// All before this offset has been received.
    fn received(&self) -> u64 {
        match &self.unordered {
            None => self.assembler.received(),
            Some(unordered) => unordered.received(),
        }
    }

    /// Accounts for flow control credit used up to `end`, on the stream and on the connection.
    fn use_credit(&mut self, connection: &mut RecvCredit, end: u64) -> Result<(), TransportError> {
        let more = end.saturating_sub(self.credit.received());
        self.credit.receive(more)?;
        connection.receive(more)?;
        if matches!(self.state, State::Stopped(_)) {
            connection.consume(more);
        }
        Ok(())
    }

    /// Drops what was not handed out, and credits it to the connection.
    fn throw_away(&mut self, connection: &mut RecvCredit) {
        self.assembler.discard();
        if let Some(unordered) = &mut self.unordered {
            unordered.discard();
        }
        connection.consume(self.credit.received() - self.read);
        connection.replace_gaps(std::mem::take(&mut self.gaps), Gaps::default());
    }

    /// Tells the connection of gaps, if they have changed.
    fn tell_gaps(&mut self, connection: &mut RecvCredit) {
        let (arrived, paged) = match &self.unordered {
            None => (self.assembler.received(), self.assembler.paged()),
            Some(unordered) => (unordered.arrived(), unordered.paged()),
        };
        let now = match self.state {
            State::Recv => Gaps { missing: self.credit.received().saturating_sub(arrived), paged },
            _ => Gaps::default(),
        };
        if now != self.gaps {
            connection.replace_gaps(std::mem::replace(&mut self.gaps, now), now);
        }
    }

    /// An application that consumed every byte of a stream that has any knows it, and saw the end.
    fn check_consumed(&mut self) {
        let consumed = self.consumed;
        self.released |= self.state == State::DataRead && consumed > 0 && self.final_size == Some(consumed);
    }
}
