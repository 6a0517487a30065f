//! Datagrams: messages that are sent once (RFC 9221).
//!
//! One component of the connection, of two queues that are bounded by bytes: what waits to be sent ([`send`]) and what waits
//! to be read ([`recv`]). The packet builder takes the oldest of the highest level first, beside stream data, and in turns with that of the same level; nothing is
//! sent again or in pieces. Its one timer is the first deadline of what waits to be sent.
//!
//! What a datagram costs beside its bytes is a place in a queue. Recovery hears of those alone whose fate was asked for.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod levels;
mod recv;
mod send;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

#[cfg(feature = "tokio")]
pub(crate) use self::levels::{Leveled, Levels};
pub use self::send::OutgoingDatagram;

use self::recv::RecvQueue;
use self::send::SendQueue;
use crate::config::TransportConfig;
use crate::error::SendDatagramError;
use crate::packet::{DatagramFate, DatagramPolicy, TransportError, TransportErrorCode as Code};
use crate::wire::frame::{Datagram, EncodeFrame as _};

/// News of datagrams.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum DatagramEvent {
    /// There are datagrams to read: take them with [`Datagrams::read`] or [`Datagrams::read_all`]. It is not told again
    /// before more have come.
    Readable,
    /// What became of a datagram that was sent with this number, in [`OutgoingDatagram::track`]. After
    /// [`DatagramFate::Lost`] there may still come [`DatagramFate::Acknowledged`]: it was late.
    Fate {
        /// The number.
        track: u64,
        /// What became of it.
        fate: DatagramFate,
    },
}

/// The datagrams of a connection.
#[derive(Debug)]
pub struct Datagrams {
    send: SendQueue,
    recv: RecvQueue,
    /// The largest frame that we take; 0 if none.
    max_frame_size: u64,
    /// In a packet that both could fill, stream data come after datagrams this time.
    first: bool,
}

/// What datagrams did so far.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    /// Sent in packets.
    pub sent: u64,
    /// Received in packets.
    pub received: u64,
    /// Dropped before they were sent: no room in the queue, or too large for the path that is in use by now.
    pub unsent: u64,
    /// Dropped before they were sent, as their time was over.
    pub expired: u64,
    /// Received, and dropped since the application reads too slowly.
    pub unread: u64,
}

impl Datagrams {
    /// Lets go of room that nothing takes up.
    pub(crate) fn release_spare(&mut self) {
        self.send.queue.release_spare();
        self.send.fates.shrink_to_fit();
        self.recv.queue.shrink_to_fit();
    }

    /// Empty queues.
    #[must_use]
    pub(crate) fn new(config: &TransportConfig) -> Self {
        Self {
            send: SendQueue::new(config.datagram_send_buffer_size),
            recv: RecvQueue::new(config.datagram_receive_buffer_size, config.datagram_receive_policy),
            max_frame_size: config.announced_datagram_frame_size(),
            first: true,
        }
    }

    /// The datagram that has waited longest to be read.
    pub fn read(&mut self) -> Option<Bytes> {
        self.recv.read()
    }

    /// Moves all datagrams that wait to be read behind those in `into`.
    pub fn read_all(&mut self, into: &mut VecDeque<Bytes>) {
        self.recv.read_all(into);
    }

    /// If a quarter of the room for datagrams that wait to be read is in use. Beyond all of it some are dropped.
    #[must_use]
    pub fn has_much_to_read(&self) -> bool {
        self.recv.has_much()
    }

    /// What waits to be sent, bytes; an overhead for each datagram included.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.send.weight()
    }

    /// Drops of what waits to be sent the oldest of the lowest level, until it is no more than so many bytes. One stays,
    /// however large it is.
    #[cfg(feature = "tokio")]
    pub(crate) fn drop_oldest(&mut self, limit: usize) {
        self.send.drop_oldest(limit);
    }

    /// The next piece of news.
    pub(in crate::proto) fn poll_event(&mut self) -> Option<DatagramEvent> {
        if self.recv.take_readable() {
            return Some(DatagramEvent::Readable);
        }
        self.send.poll_fate().map(|(track, fate)| DatagramEvent::Fate { track, fate })
    }

    /// Takes a datagram to be sent; the connection has checked its size.
    pub(in crate::proto) fn send(
        &mut self,
        datagram: OutgoingDatagram,
        policy: DatagramPolicy,
    ) -> Result<(), SendDatagramError> {
        self.send.push(datagram, policy)
    }

    /// What follows are slices of a buffer of this size.
    pub(in crate::proto) fn begin_burst(&mut self, capacity: usize) {
        self.recv.begin_burst(capacity);
    }

    /// A DATAGRAM frame arrived (RFC 9221 §3).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the peer was not told that we take any, or takes no account of how large they may be.
    pub(in crate::proto) fn on_frame(&mut self, frame: Datagram) -> Result<(), TransportError> {
        if self.max_frame_size == 0 {
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, "datagrams were not negotiated"));
        }
        if frame.size() as u64 > self.max_frame_size {
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, "a datagram larger than announced"));
        }
        self.recv.push(frame.data);
        Ok(())
    }

    /// Of what level the next datagram to be sent is.
    pub(in crate::proto) fn level(&self) -> Option<i32> {
        self.send.level()
    }

    /// True if something waits to be sent, be it only to be found too old or too large.
    pub(in crate::proto) fn wants_to_send(&self) -> bool {
        !self.send.is_empty()
    }

    /// Whether datagrams go before stream data of their level into the next packet, if there are both.
    pub(in crate::proto) fn go_first(&self) -> bool {
        self.first
    }

    /// Whose turn it is in the next packet.
    pub(in crate::proto) fn set_first(&mut self, first: bool) {
        self.first = first;
    }

    /// The datagram to be sent next, which holds at most `max` bytes. What is too old or too large is dropped.
    pub(in crate::proto) fn next(&mut self, now: Instant, max: Option<usize>) -> Option<&OutgoingDatagram> {
        self.send.next(now, max)
    }

    /// How long that is, if it is sent.
    pub(in crate::proto) fn next_len(&self) -> Option<usize> {
        self.send.next_len()
    }

    /// What [`Datagrams::next`] gave was sent.
    pub(in crate::proto) fn on_sent(&mut self) {
        self.send.on_sent();
    }

    /// A packet that a datagram was in met its fate.
    pub(in crate::proto) fn on_fate(&mut self, track: u64, fate: DatagramFate) {
        self.send.tell(track, fate);
    }

    /// When the first datagram is too old.
    pub(in crate::proto) fn deadline(&self) -> Option<Instant> {
        self.send.deadline()
    }

    /// Drops what is too old.
    pub(in crate::proto) fn on_timeout(&mut self, now: Instant) {
        self.send.expire(now);
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> DatagramCounts {
        DatagramCounts { received: self.recv.received, unread: self.recv.unread, ..self.send.counts }
    }
}
