//! The one funnel for outgoing frames: encodes, counts, and records what the packet carries.

use std::ops::RangeInclusive;

use crate::packet::{PacketNumber, StreamId};
use crate::proto::space::{Token, Tokens};
use crate::wire::draft;
use crate::wire::frame::{
    CryptoHeader, DatagramHeader, EcnCounts, EncodeFrame, Padding, StreamHeader, encode_ack,
};

/// A stream's data is not split to fill fewer bytes than these.
const MIN_SPLIT: usize = 16;

/// Frame types that have a counter of their own: 0x00 to 0x1f, then DATAGRAM and ACK_FREQUENCY, then all others.
const COUNTERS: usize = 0x23;

/// What a packet under construction carries, for its record as a sent packet.
#[derive(Debug, Default)]
pub struct PacketContent {
    /// It holds a frame that the peer must acknowledge.
    pub ack_eliciting: bool,
    /// It counts as in flight (RFC 9002 §2): ack-eliciting, or padded.
    pub in_flight: bool,
    /// It holds PATH_CHALLENGE or PATH_RESPONSE: its datagram shows that the path carries full datagrams.
    pub probes_path: bool,
    /// It is a probe for a larger MTU.
    pub mtu_probe: bool,
    /// What recovery has to know of it.
    pub tokens: Tokens,
    /// The largest packet number that an ACK frame in it acknowledges.
    pub largest_acked: Option<PacketNumber>,
    /// Number of frames.
    pub frames: u32,
}

/// How many frames of each type were sent or received.
#[derive(Debug, Clone)]
pub struct FrameCounts([u64; COUNTERS]);

impl Default for FrameCounts {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl FrameCounts {
    /// Counts a frame; the variants of ACK, STREAM and DATAGRAM count as one type each.
    pub fn add(&mut self, frame_type: u64) {
        if let Some(count) = self.0.get_mut(Self::index(frame_type)) {
            *count += 1;
        }
    }

    /// The number of frames of a type, given any of its variants.
    #[must_use]
    pub fn of(&self, frame_type: u64) -> u64 {
        self.0.get(Self::index(frame_type)).copied().unwrap_or_default()
    }

    fn index(frame_type: u64) -> usize {
        match frame_type {
            0x02 | 0x03 => 0x02,
            0x08..=0x0f => 0x08,
            0x30 | 0x31 => COUNTERS - 3,
            draft::ACK_FREQUENCY => COUNTERS - 2,
            0x00..=0x1f => usize::try_from(frame_type).unwrap_or(COUNTERS - 1),
            _ => COUNTERS - 1,
        }
    }
}

/// What became of data offered to [`FrameWriter::stream`].
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct StreamWritten {
    /// Bytes of data.
    pub len: usize,
    /// Whether FIN went with them.
    pub fin: bool,
}

/// Writes the frames of one packet.
///
/// The packet ends at the limit: a STREAM frame that reaches it has no length field, and nothing may follow.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    buf: &'a mut Vec<u8>,
    limit: usize,
    content: &'a mut PacketContent,
    counts: &'a mut FrameCounts,
}

impl<'a> FrameWriter<'a> {
    /// Appends to `buf`, up to the length `limit`, where the room for payload ends.
    pub fn new(
        buf: &'a mut Vec<u8>,
        limit: usize,
        content: &'a mut PacketContent,
        counts: &'a mut FrameCounts,
    ) -> Self {
        Self { buf, limit, content, counts }
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.limit.saturating_sub(self.buf.len())
    }

    /// What was written so far.
    #[must_use]
    pub fn content(&self) -> &PacketContent {
        self.content
    }

    /// Writes a frame. False if it does not fit; then nothing is written.
    ///
    /// ACK, STREAM and PADDING have their own functions.
    pub fn frame(&mut self, frame: &impl EncodeFrame, token: Option<Token>) -> bool {
        if frame.size() > self.remaining() {
            return false;
        }
        frame.encode(self.buf);
        self.content.tokens.extend(token);
        // CONNECTION_CLOSE is the only frame that comes here and elicits no acknowledgment (RFC 9000 §13.2).
        self.record(frame.frame_type(), !matches!(frame.frame_type(), 0x1c | 0x1d));
        true
    }

    /// Writes a STREAM frame with as many of `available` bytes as fit; `fill` appends that many to the packet.
    ///
    /// `fin` takes effect if all of them fit. `None` if there is no room for anything worth while.
    pub fn stream(
        &mut self,
        id: StreamId,
        offset: u64,
        available: usize,
        fin: bool,
        fill: impl FnOnce(&mut Vec<u8>, usize),
    ) -> Option<StreamWritten> {
        let mut header = StreamHeader { id, offset, fin: false, len: None };
        let room = self.remaining().checked_sub(header.size())?;
        if (available > room && room < MIN_SPLIT) || (available == 0 && !fin) {
            return None;
        }
        let len = available.min(room);
        header.fin = fin && len == available;
        let with_len = StreamHeader { len: Some(len as u64), ..header };
        if with_len.size() + len <= self.remaining() {
            header = with_len;
        } else if len < room {
            // A length field would not fit; PADDING ahead makes the frame end where the packet does.
            self.padding(room - len);
        }
        header.encode(self.buf);
        let start = self.buf.len();
        fill(self.buf, len);
        debug_assert_eq!(self.buf.len() - start, len);
        let token =
            Token::Stream { id, offset, len: u32::try_from(len).unwrap_or(u32::MAX), fin: header.fin };
        self.content.tokens.push(token);
        self.record(header.frame_type(), true);
        Some(StreamWritten { len, fin: header.fin })
    }

    /// Writes a DATAGRAM frame. False if it does not fit; then nothing is written.
    pub fn datagram(&mut self, data: &[u8], token: Option<Token>) -> bool {
        let mut header = DatagramHeader { len: Some(data.len() as u64) };
        if header.size() + data.len() > self.remaining() {
            header.len = None;
            let Some(free) = self.remaining().checked_sub(header.size() + data.len()) else { return false };
            // A length field would not fit; PADDING ahead makes the frame end where the packet does.
            self.padding(free);
        }
        header.encode(self.buf);
        self.buf.extend_from_slice(data);
        self.content.tokens.extend(token);
        self.record(header.frame_type(), true);
        true
    }

    /// Writes a CRYPTO frame with as many of `available` bytes as fit and returns how many these are; `fill` appends
    /// that many to the packet. `None` if not one fits.
    pub fn crypto(
        &mut self,
        offset: u64,
        available: usize,
        fill: impl FnOnce(&mut Vec<u8>, usize),
    ) -> Option<usize> {
        // The length is at most this; where its field is larger than need be, a byte or two stay free.
        let most = CryptoHeader { offset, len: available.min(self.remaining()) as u64 };
        let len = available.min(self.remaining().checked_sub(most.size())?);
        if len == 0 {
            return None;
        }
        CryptoHeader { offset, len: len as u64 }.encode(self.buf);
        let start = self.buf.len();
        fill(self.buf, len);
        debug_assert_eq!(self.buf.len() - start, len);
        self.content.tokens.push(Token::Crypto { offset, len: u32::try_from(len).unwrap_or(u32::MAX) });
        self.record(0x06, true);
        Some(len)
    }

    /// Writes an ACK frame for as many of the ranges as fit and returns how many these are; they descend.
    pub fn ack(
        &mut self,
        ranges: impl IntoIterator<Item = RangeInclusive<PacketNumber>>,
        delay: u64,
        ecn: Option<EcnCounts>,
    ) -> usize {
        let mut largest = None;
        let ranges = ranges.into_iter().inspect(|range| {
            largest.get_or_insert(*range.end());
        });
        let remaining = self.limit.saturating_sub(self.buf.len());
        let written = encode_ack(ranges, delay, ecn, remaining, self.buf);
        if let Some(largest) = largest.filter(|_| written > 0) {
            self.content.largest_acked = Some(largest);
            self.content.tokens.push(Token::Ack { largest });
            self.record(if ecn.is_some() { 0x03 } else { 0x02 }, false);
        }
        written
    }

    /// Writes PADDING frames, as many as fit of `len`.
    pub fn padding(&mut self, len: usize) {
        let len = len.min(self.remaining());
        if len > 0 {
            Padding(len).encode(self.buf);
            self.content.in_flight = true;
            self.record(0x00, false);
        }
    }

    fn record(&mut self, frame_type: u64, ack_eliciting: bool) {
        self.content.ack_eliciting |= ack_eliciting;
        self.content.in_flight |= ack_eliciting;
        self.content.probes_path |= matches!(frame_type, 0x1a | 0x1b);
        self.content.frames += 1;
        self.counts.add(frame_type);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::packet::TransportErrorCode;
    use crate::wire::frame::{CloseError, ConnectionClose, Frame, Frames, HandshakeDone, MaxData};

    #[derive(Default)]
    struct Packet {
        buf: Vec<u8>,
        content: PacketContent,
        counts: FrameCounts,
    }

    impl Packet {
        fn writer(&mut self, limit: usize) -> FrameWriter<'_> {
            FrameWriter::new(&mut self.buf, limit, &mut self.content, &mut self.counts)
        }

        fn frames(&self) -> Vec<Frame> {
            let mut frames = Frames::new(Bytes::copy_from_slice(&self.buf));
            std::iter::from_fn(|| frames.next().unwrap()).collect()
        }
    }

    fn id(id: u64) -> StreamId {
        StreamId::from_u64(id)
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut packet = Packet::default();
        let mut w = packet.writer(3);
        assert!(!w.frame(&MaxData { maximum: 1 << 40 }, Some(Token::MaxData)));
        assert!(w.stream(id(0), 1 << 20, 10, false, |_, _| unreachable!()).is_none());
        assert!(w.crypto(0, 0, |_, _| unreachable!()).is_none());
        assert!(!w.content().ack_eliciting && w.remaining() == 3);
        assert!(packet.buf.is_empty() && packet.content.tokens.is_empty());
    }

    #[test]
    fn the_record_tells_ack_eliciting_and_in_flight_apart() {
        let mut packet = Packet::default();
        let ack = packet.writer(100).ack([5..=9, 1..=2], 3, None);
        assert_eq!((ack, packet.content.largest_acked), (2, Some(9)));
        let error = CloseError::Transport { code: TransportErrorCode::NO_ERROR, frame_type: None };
        assert!(packet.writer(100).frame(&ConnectionClose { error, reason: Bytes::new() }, None));
        assert!(!packet.content.ack_eliciting && !packet.content.in_flight);
        packet.writer(100).padding(4);
        assert!(!packet.content.ack_eliciting && packet.content.in_flight);
        assert!(packet.writer(100).frame(&HandshakeDone, Some(Token::HandshakeDone)));
        assert!(packet.content.ack_eliciting);
        assert_eq!(packet.content.tokens[..], [Token::Ack { largest: 9 }, Token::HandshakeDone]);
        assert_eq!(packet.content.frames, 4);
        assert_eq!([0x02, 0x03, 0x1c, 0x00, 0x1e, 0x30].map(|ty| packet.counts.of(ty)), [1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn small_streams_share_a_packet_and_the_last_has_no_length() {
        let mut packet = Packet::default();
        let mut w = packet.writer(100);
        for stream in 0..3 {
            let fill = |out: &mut Vec<u8>, len: usize| out.resize(out.len() + len, 7);
            assert_eq!(w.stream(id(stream), 0, 10, true, fill), Some(StreamWritten { len: 10, fin: true }));
        }
        let written = w.stream(id(3), 500, 5000, true, |out, len| out.resize(out.len() + len, 8)).unwrap();
        assert_eq!((written, w.remaining()), (StreamWritten { len: 57, fin: false }, 0));
        assert_eq!(packet.buf.len(), 100);
        let frames = packet.frames();
        assert_eq!(frames.len(), 4);
        assert!(matches!(&frames[3], Frame::Stream(s) if s.data.len() == 57 && s.offset == 500 && !s.fin));
        assert_eq!(packet.counts.of(0x0f), 4);
    }

    proptest! {
        #[test]
        fn any_offer_reads_back(
            room in 0usize..20_000, available in 0usize..20_000, offset in 0u64..1 << 40, fin: bool, near in -4i64..8,
        ) {
            // The corner cases are where the data just fits.
            let available = if near < 4 { (room as i64 - 5 + near).max(0) as usize } else { available };
            let mut packet = Packet::default();
            let fill = |out: &mut Vec<u8>, len: usize| out.resize(out.len() + len, 9);
            let written = packet.writer(room).stream(id(5), offset, available, fin, fill);
            prop_assert!(packet.buf.len() <= room);
            match written {
                None => prop_assert!(
                    packet.buf.is_empty() && (room < MIN_SPLIT + 18 || (available == 0 && !fin)),
                ),
                Some(written) => {
                    prop_assert!(written.len == available || packet.buf.len() == room);
                    prop_assert_eq!(written.fin, fin && written.len == available);
                    match packet.frames().last() {
                        Some(Frame::Stream(frame)) => {
                            prop_assert_eq!((frame.id, frame.offset, frame.fin), (id(5), offset, written.fin));
                            prop_assert_eq!(frame.data.len(), written.len);
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }

        #[test]
        fn crypto_fills_the_room_but_for_a_byte(room in 0usize..20_000, available in 1usize..20_000, offset in 0u64..99) {
            let mut packet = Packet::default();
            let fill = |out: &mut Vec<u8>, len: usize| out.resize(out.len() + len, 9);
            let len = packet.writer(room).crypto(offset, available, fill);
            prop_assert!(packet.buf.len() <= room);
            match len {
                None => prop_assert!(room < 6),
                Some(len) => {
                    prop_assert!(len == available || room - packet.buf.len() <= 2);
                    let frame = crate::wire::frame::Crypto { offset, data: vec![9; len].into() };
                    prop_assert_eq!(packet.frames(), [Frame::Crypto(frame)]);
                }
            }
        }
    }
}
