//! The sending part of a stream (RFC 9000 §3.1).

use bytes::Bytes;

use super::flow::SendCredit;
use super::send_buffer::SendBuffer;
use crate::wire::VarInt;

/// Ready, Send and Data Sent of the RFC are one state here: they differ in what is left to send, which
/// [`SendBuffer`] and [`Fin`] know.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum State {
    /// The stream has no sending part.
    Absent,
    Open,
    /// Reset with RESET_STREAM_AT: the data in the buffer, which end at the reliable size or before it, are delivered all
    /// the same. It ends like Data Sent, with that frame in the place of FIN.
    ResetAt(VarInt),
    ResetSent(VarInt),
    /// The peer has it all.
    DataRecvd,
    ResetRecvd,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Fin {
    /// The application may write more.
    None,
    /// To be sent, for the first time or again.
    Queued,
    Sent,
    Acked,
}

#[derive(Debug)]
pub(super) struct SendPart {
    state: State,
    /// How far FIN is, or in its place RESET_STREAM_AT.
    fin: Fin,
    buffer: SendBuffer,
    credit: SendCredit,
    /// What was sent at least once, before the buffer was cut off.
    sent_before: u64,
    /// What RESET_STREAM_AT promises.
    reliable_size: u64,
}

/// The frame that ends a stream early.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) code: VarInt,
    pub(super) final_size: u64,
    /// With RESET_STREAM_AT.
    pub(super) reliable_size: Option<u64>,
}

/// What a STREAM frame could carry.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// FIN goes with it if all `len` bytes do.
    pub(super) fin: bool,
}

/// What an acknowledgment brought about.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub(super) struct Acked {
    /// Bytes that need not be kept any longer.
    pub(super) released: u64,
    /// The peer has all data and FIN.
    pub(super) finished: bool,
    /// The peer has all that RESET_STREAM_AT promised, and that frame.
    pub(super) reset: bool,
}

impl SendPart {
    pub(super) fn absent() -> Self {
        Self {
            state: State::Absent,
            fin: Fin::None,
            buffer: SendBuffer::default(),
            credit: SendCredit::new(0),
            sent_before: 0,
            reliable_size: 0,
        }
    }

    /// As a new sending part, in the memory of an old one.
    pub(super) fn open(&mut self, max_stream_data: u64) {
        self.buffer.reset();
        (self.state, self.fin, self.credit) = (State::Open, Fin::None, SendCredit::new(max_stream_data));
        (self.sent_before, self.reliable_size) = (0, 0);
    }

    pub(super) fn close(&mut self) {
        self.buffer.reset();
        self.state = State::Absent;
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True while there may be data to send.
    fn has_data(&self) -> bool {
        matches!(self.state, State::Open | State::ResetAt(_))
    }

    /// True in the terminal states.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Absent | State::DataRecvd | State::ResetRecvd)
    }

    /// Ignored once the stream has ended in whatever way.
    pub(super) fn write(&mut self, data: Bytes) {
        if self.is_open() && self.fin == Fin::None {
            self.buffer.write(data);
        }
    }

    pub(super) fn finish(&mut self) {
        if self.is_open() && self.fin == Fin::None {
            self.fin = Fin::Queued;
        }
    }

    /// True if RESET_STREAM has to be sent. The code of an earlier RESET_STREAM_AT stays.
    pub(super) fn reset(&mut self, code: VarInt) -> bool {
        let code = match self.state {
            State::Open => code,
            State::ResetAt(code) => code,
            _ => return false,
        };
        self.state = State::ResetSent(code);
        self.buffer.discard();
        true
    }

    /// Resets all but the first `reliable_size` bytes, or all that was written if that is less. Returns how many bytes
    /// need not be kept for that; `None` if it changes nothing: a promise once made can only become smaller.
    pub(super) fn reset_at(&mut self, code: VarInt, reliable_size: u64) -> Option<u64> {
        let reliable_size = reliable_size.min(self.buffer.end());
        let code = match self.state {
            State::Open => code,
            State::ResetAt(code) if reliable_size < self.reliable_size => code,
            _ => return None,
        };
        (self.state, self.fin, self.reliable_size) = (State::ResetAt(code), Fin::Queued, reliable_size);
        self.sent_before = self.sent();
        Some(self.buffer.truncate(reliable_size))
    }

    /// How far data was sent at least once.
    fn sent(&self) -> u64 {
        self.sent_before.max(self.buffer.sent())
    }

    /// What ends the stream early, if that is to be sent, for the first time or again.
    ///
    /// RESET_STREAM_AT waits until the data before it was sent once: so its final size needs no credit of its own.
    pub(super) fn reset_to_send(&self) -> Option<Reset> {
        let (code, reliable_size) = match self.state {
            State::ResetSent(code) => (code, None),
            State::ResetAt(code) if self.fin == Fin::Queued && self.buffer.sent() == self.buffer.end() => {
                (code, Some(self.reliable_size))
            }
            _ => return None,
        };
        Some(Reset { code, final_size: self.sent(), reliable_size })
    }

    /// True if RESET_STREAM_AT is to be sent.
    pub(super) fn reset_at_is_due(&self) -> bool {
        matches!(self.state, State::ResetAt(_)) && self.reset_to_send().is_some()
    }

    /// RESET_STREAM_AT was sent.
    pub(super) fn on_reset_at_sent(&mut self) {
        self.fin = Fin::Sent;
    }

    /// RESET_STREAM has arrived. True if the stream has ended by this.
    pub(super) fn on_reset_acked(&mut self) -> bool {
        let ended = matches!(self.state, State::ResetSent(_));
        if ended {
            self.state = State::ResetRecvd;
        }
        ended
    }

    /// RESET_STREAM_AT with this reliable size has arrived. True if the stream has ended by this.
    pub(super) fn on_reset_at_acked(&mut self, reliable_size: u64) -> bool {
        if !self.is_reset_at(reliable_size) {
            return false;
        }
        self.fin = Fin::Acked;
        self.check_acked()
    }

    /// RESET_STREAM_AT with this reliable size is lost. True if it has to be sent again.
    pub(super) fn on_reset_at_lost(&mut self, reliable_size: u64) -> bool {
        let again = self.is_reset_at(reliable_size) && self.fin == Fin::Sent;
        if again {
            self.fin = Fin::Queued;
        }
        again
    }

    /// True if this is the promise in force, not one that was made smaller since.
    fn is_reset_at(&self, reliable_size: u64) -> bool {
        matches!(self.state, State::ResetAt(_)) && reliable_size == self.reliable_size
    }

    pub(super) fn on_max_stream_data(&mut self, limit: u64) -> bool {
        self.credit.raise(limit)
    }

    /// The peer's limit, if that is what keeps data from being sent.
    pub(super) fn blocked_at(&self) -> Option<u64> {
        let blocked = self.has_data()
            && self.buffer.sent() < self.buffer.end()
            && self.credit.left(self.buffer.sent()) == 0;
        blocked.then(|| self.credit.limit())
    }

    /// True the first time at each limit.
    pub(super) fn report_blocked(&mut self) -> bool {
        self.credit.report_blocked()
    }

    /// What can be sent without using flow control credit: lost data, or a bare FIN.
    pub(super) fn repair(&self) -> Option<Segment> {
        if !self.has_data() {
            return None;
        }
        let (sent, end) = (self.buffer.sent(), self.buffer.end());
        match self.buffer.lost() {
            Some(lost) => {
                let fin = self.is_open() && self.fin != Fin::None && lost.end == end;
                Some(Segment { offset: lost.start, len: lost.end - lost.start, fin })
            }
            None if self.is_open() && self.fin == Fin::Queued && sent == end => {
                Some(Segment { offset: end, len: 0, fin: true })
            }
            None => None,
        }
    }

    /// What can be sent for the first time, as far as the stream's own credit goes.
    pub(super) fn fresh(&self) -> Option<Segment> {
        if !self.has_data() {
            return None;
        }
        let (sent, end) = (self.buffer.sent(), self.buffer.end());
        let len = (end - sent).min(self.credit.left(sent));
        let fin = self.is_open() && self.fin == Fin::Queued && sent + len == end;
        (len > 0).then_some(Segment { offset: sent, len, fin })
    }

    /// Appends the bytes at `offset` to a packet.
    pub(super) fn copy(&mut self, offset: u64, len: usize, out: &mut Vec<u8>) {
        self.buffer.copy(offset..offset + len as u64, out);
    }

    pub(super) fn on_sent(&mut self, offset: u64, len: u64, fin: bool) {
        self.buffer.on_sent(offset..offset + len);
        if fin && self.fin == Fin::Queued {
            self.fin = Fin::Sent;
        }
    }

    pub(super) fn on_acked(&mut self, offset: u64, len: u64, fin: bool) -> Acked {
        if !self.has_data() {
            return Acked::default();
        }
        let released = self.buffer.on_acked(offset..offset + len);
        if fin && self.is_open() {
            self.fin = Fin::Acked;
        }
        let reset = !self.is_open();
        let ended = self.check_acked();
        Acked { released, finished: ended && !reset, reset: ended && reset }
    }

    /// True if the peer has everything now.
    fn check_acked(&mut self) -> bool {
        let ended = self.fin == Fin::Acked && self.buffer.is_all_acked();
        if ended {
            self.state = State::DataRecvd;
        }
        ended
    }

    pub(super) fn on_lost(&mut self, offset: u64, len: u64, fin: bool) {
        if self.has_data() {
            self.buffer.on_lost(offset..offset + len);
            if fin && self.is_open() && self.fin == Fin::Sent {
                self.fin = Fin::Queued;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(limit: u64) -> SendPart {
        let mut part = SendPart::absent();
        part.open(limit);
        part
    }

    /// Sends what is next: a repair first.
    fn send(part: &mut SendPart) {
        let segment = part.repair().or(part.fresh()).unwrap();
        part.on_sent(segment.offset, segment.len, segment.fin);
    }

    fn segment(offset: u64, len: u64, fin: bool) -> Option<Segment> {
        Some(Segment { offset, len, fin })
    }

    #[test]
    fn from_ready_to_data_recvd() {
        let mut part = open(100);
        part.write(Bytes::from_static(b"hello"));
        assert_eq!(part.fresh(), segment(0, 5, false));
        part.finish();
        part.write(Bytes::from_static(b"ignored"));
        assert_eq!(part.fresh(), segment(0, 5, true));
        send(&mut part);
        assert_eq!((part.fresh(), part.repair()), (None, None));
        assert_eq!(part.on_acked(0, 5, false), Acked { released: 5, ..Acked::default() });
        assert_eq!(part.on_acked(0, 5, true), Acked { finished: true, ..Acked::default() });
        assert!(part.is_done() && !part.reset(VarInt::from_u32(1)));
    }

    #[test]
    fn an_empty_stream_is_a_bare_fin_that_is_repeated_when_lost() {
        let mut part = open(0);
        part.finish();
        for _ in 0..2 {
            assert_eq!((part.fresh(), part.repair()), (None, segment(0, 0, true)));
            send(&mut part);
            assert_eq!(part.repair(), None);
            part.on_lost(0, 0, true);
        }
        assert!(part.on_acked(0, 0, true).finished);
        part.on_lost(0, 0, true);
        assert_eq!(part.repair(), None, "lost after it arrived");
    }

    // covers: R9000-2.2-03, R9000-4.1-01
    #[test]
    fn credit_limits_new_data_and_not_repairs() {
        let mut part = open(3);
        part.write(Bytes::from_static(b"hello"));
        part.finish();
        assert_eq!(part.fresh(), segment(0, 3, false));
        send(&mut part);
        assert_eq!((part.fresh(), part.repair(), part.blocked_at()), (None, None, Some(3)));
        assert!(part.report_blocked() && !part.report_blocked());
        part.on_lost(0, 3, false);
        assert_eq!(part.repair(), segment(0, 3, false));
        assert!(!part.on_max_stream_data(3) && part.on_max_stream_data(9));
        assert_eq!((part.fresh(), part.blocked_at()), (segment(3, 2, true), None));
    }

    #[test]
    fn fin_rides_on_the_last_lost_bytes() {
        let mut part = open(100);
        part.write(Bytes::from_static(b"hello"));
        part.finish();
        send(&mut part);
        part.on_lost(0, 5, true);
        part.on_acked(3, 2, false);
        assert_eq!(part.repair(), segment(0, 3, false));
        send(&mut part);
        assert_eq!(part.repair(), segment(5, 0, true));
        send(&mut part);
        part.on_lost(3, 2, false);
        assert_eq!(part.repair(), None);
        part.on_lost(0, 3, false);
        assert!(!part.on_acked(5, 0, true).finished);
        assert!(part.on_acked(0, 3, false).finished);
    }

    // covers: R9000-3.3-02, R9000-4.5-02
    #[test]
    fn after_a_reset_no_data_is_sent() {
        let mut part = open(100);
        part.write(Bytes::from_static(b"hello"));
        part.on_sent(0, 3, false);
        assert!(part.reset(VarInt::from_u32(7)));
        assert!(!part.reset(VarInt::from_u32(8)), "once");
        part.write(Bytes::from_static(b"more"));
        part.finish();
        part.on_lost(0, 3, false);
        assert_eq!((part.fresh(), part.repair(), part.blocked_at()), (None, None, None));
        let reset = Reset { code: VarInt::from_u32(7), final_size: 3, reliable_size: None };
        assert_eq!(part.reset_to_send(), Some(reset));
        assert_eq!(part.on_acked(0, 3, false), Acked::default());
        assert!(part.on_reset_acked() && !part.on_reset_acked());
        assert!(part.is_done());
        assert_eq!(part.reset_to_send(), None);
    }
}
