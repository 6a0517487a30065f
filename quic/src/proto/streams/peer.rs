//! Frames of the peer. An error closes the connection; the caller adds the frame type.

use bytes::Bytes;

use super::flow::RecvCredit;
use super::ids::{MAX_STREAMS, Standing};
use super::recv::RecvPart;
use super::table::Slot;
use super::{Streams, control, event};
use crate::packet::{Dir, StreamId, TransportError, TransportErrorCode};
use crate::wire::VarInt;

/// A frame with less data than this counts as idle if they are known, bytes: ordinary repetitions are larger.
const SMALL: usize = 128;

/// Which of our parts of a stream a frame is about.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Part {
    Send,
    Recv,
}

fn error(code: TransportErrorCode, reason: &'static str) -> TransportError {
    TransportError::new(code, reason)
}

impl Streams {
    /// What follows arrived in a receive buffer of `capacity` bytes, which each slice of it keeps alive.
    pub(crate) fn begin_burst(&mut self, capacity: usize) {
        self.pins.begin(capacity);
    }

    /// STREAM (RFC 9000 §19.8).
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR.
    pub(crate) fn on_stream(
        &mut self,
        id: StreamId,
        offset: u64,
        fin: bool,
        data: Bytes,
    ) -> Result<(), TransportError> {
        let small = data.len() < SMALL;
        let known = self.table.len();
        let Some(slot) = self.stream_of_peer(id, Part::Recv)? else {
            self.idle += u32::from(small);
            return Ok(());
        };
        let copy = self.pins.keep(data.len());
        let is_new = self.table.len() > known;
        let Some(stream) = self.table.get_mut(slot) else { return Ok(()) };
        if small && !is_new {
            let end = offset.saturating_add(data.len() as u64);
            self.idle += u32::from(stream.recv.knows(end, data.is_empty(), fin));
        }
        let news = stream.recv.on_data(&mut self.received, offset, data, fin, copy)?;
        // Where the reader was ahead of a gap, what fills it brings credit.
        let due = stream.recv.is_unordered() && stream.recv.credit_is_due();
        if news {
            self.tell(slot, event::READABLE);
        }
        if due {
            self.ask(slot, control::MAX_STREAM_DATA);
        }
        self.after_receiving(slot);
        Ok(())
    }

    /// RESET_STREAM (RFC 9000 §19.4). True if the peer gives up the stream with that, and nobody asked it to (RFC 9000 §3.5).
    /// Once for each stream, whatever other frames say the same.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR.
    pub(crate) fn on_reset_stream(
        &mut self,
        id: StreamId,
        code: VarInt,
        final_size: u64,
    ) -> Result<bool, TransportError> {
        self.on_any_reset(id, |recv, connection| recv.on_reset(connection, code, final_size))
    }

    /// RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10 §4); its reliable size is not above the final size.
    /// True as with RESET_STREAM.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR.
    pub(crate) fn on_reset_stream_at(
        &mut self,
        id: StreamId,
        code: VarInt,
        final_size: u64,
        reliable_size: u64,
    ) -> Result<bool, TransportError> {
        self.on_any_reset(id, |recv, connection| {
            recv.on_reset_at(connection, code, final_size, reliable_size)
        })
    }

    fn on_any_reset(
        &mut self,
        id: StreamId,
        apply: impl FnOnce(&mut RecvPart, &mut RecvCredit) -> Result<bool, TransportError>,
    ) -> Result<bool, TransportError> {
        let Some(slot) = self.stream_of_peer(id, Part::Recv)? else {
            self.idle += 1;
            return Ok(false);
        };
        let Some(stream) = self.table.get_mut(slot) else { return Ok(false) };
        let (asked, known) = (stream.recv.is_stopped(), stream.recv.is_size_known());
        let news = apply(&mut stream.recv, &mut self.received)?;
        let abandons = stream.recv.is_reset() && !asked && !std::mem::replace(&mut stream.abandoned, true);
        if news {
            self.tell(slot, event::READABLE);
        }
        self.idle += u32::from(known && !abandons);
        self.after_receiving(slot);
        Ok(abandons)
    }

    /// STOP_SENDING (RFC 9000 §19.5): resets the stream, unless the peer has it all. True as with RESET_STREAM.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR.
    pub(crate) fn on_stop_sending(&mut self, id: StreamId, code: VarInt) -> Result<bool, TransportError> {
        let slot = self.stream_of_peer(id, Part::Send)?;
        let Some(slot) = slot.filter(|slot| self.table.get_mut(*slot).is_some_and(|s| s.send.reset(code)))
        else {
            self.idle += 1;
            return Ok(false);
        };
        let mut abandons = false;
        if let Some(stream) = self.table.get_mut(slot) {
            stream.stop_code = code;
            abandons = !std::mem::replace(&mut stream.abandoned, true);
        }
        self.tell(slot, event::STOPPED);
        self.ask(slot, control::RESET_STREAM);
        self.reschedule(slot);
        Ok(abandons)
    }

    /// MAX_DATA (RFC 9000 §19.9).
    pub(crate) fn on_max_data(&mut self, maximum: u64) {
        self.idle += u32::from(!self.credit.raise(maximum));
        self.check_blocked();
    }

    /// MAX_STREAM_DATA (RFC 9000 §19.10).
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR.
    pub(crate) fn on_max_stream_data(&mut self, id: StreamId, maximum: u64) -> Result<(), TransportError> {
        let slot = self.stream_of_peer(id, Part::Send)?;
        let raise = |slot: &Slot| {
            self.table.get_mut(*slot).is_some_and(|stream| stream.send.on_max_stream_data(maximum))
        };
        match slot.filter(raise) {
            Some(slot) => self.reschedule(slot),
            None => self.idle += 1,
        }
        Ok(())
    }

    /// MAX_STREAMS (RFC 9000 §19.11).
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR above 2^60.
    pub(crate) fn on_max_streams(&mut self, dir: Dir, maximum: u64) -> Result<(), TransportError> {
        check_stream_count(maximum)?;
        self.idle += u32::from(maximum <= self.local_limit(dir));
        self.raise_stream_limit(dir, maximum);
        Ok(())
    }

    /// DATA_BLOCKED (RFC 9000 §19.12): nothing to do, credit never waits for it.
    pub(crate) fn on_data_blocked(&mut self, _limit: u64) {
        self.idle += 1;
    }

    /// STREAM_DATA_BLOCKED (RFC 9000 §19.13): opens the stream, and else is nothing to act on.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR.
    pub(crate) fn on_stream_data_blocked(&mut self, id: StreamId, _limit: u64) -> Result<(), TransportError> {
        self.idle += 1;
        self.stream_of_peer(id, Part::Recv).map(drop)
    }

    /// STREAMS_BLOCKED (RFC 9000 §19.14): nothing to do, credit never waits for it.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR above 2^60.
    pub(crate) fn on_streams_blocked(&mut self, _dir: Dir, limit: u64) -> Result<(), TransportError> {
        self.idle += 1;
        check_stream_count(limit)
    }

    /// The stream that a frame of the peer names; it is created if it is new. `None` if it has ended.
    fn stream_of_peer(&mut self, id: StreamId, part: Part) -> Result<Option<Slot>, TransportError> {
        if let Some(slot) = self.table.find(id)
            && (id.dir() == Dir::Bi || (id.initiator() == self.side) == (part == Part::Send))
        {
            return Ok(Some(slot));
        }
        let ours = id.initiator() == self.side;
        if id.dir() == Dir::Uni && ours != (part == Part::Send) {
            let reason = if ours { "the stream is send-only" } else { "the stream is receive-only" };
            return Err(error(TransportErrorCode::STREAM_STATE_ERROR, reason));
        }
        if !ours && id.index() >= self.remote(id.dir()).advertised() {
            return Err(error(TransportErrorCode::STREAM_LIMIT_ERROR, "more streams than the limit allows"));
        }
        match self.ids_mut(id).standing(id.index()) {
            Standing::Named => Ok(None),
            Standing::Unopened if ours => {
                Err(error(TransportErrorCode::STREAM_STATE_ERROR, "we have not opened this stream"))
            }
            Standing::Unopened | Standing::Implicit => Ok(Some(self.create(id))),
        }
    }

    fn after_receiving(&mut self, slot: Slot) {
        self.check_credit();
        self.check_control(slot);
        self.retire(slot);
    }
}

fn check_stream_count(count: u64) -> Result<(), TransportError> {
    if count > MAX_STREAMS {
        return Err(error(TransportErrorCode::FRAME_ENCODING_ERROR, "stream limit above 2^60"));
    }
    Ok(())
}
