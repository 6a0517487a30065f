//! What applications say about datagrams, and what they hear of them (RFC 9221).

/// What gives way when a datagram comes and its queue is full.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum DatagramPolicy {
    /// The datagrams that have waited longest are dropped: what is new matters more.
    #[default]
    DropOldest,
    /// The new datagram is dropped: what waits keeps its place.
    DropNewest,
}

/// What became of a datagram (RFC 9221 §5.2).
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatagramFate {
    /// It waits to be sent.
    Queued,
    /// It left in a packet, and nothing was heard of that yet.
    Sent,
    /// The peer has received the packet. Its application may never see the datagram all the same: the queue there may be
    /// full.
    Acknowledged,
    /// The packet seems to be lost. It may be late instead, and arrive yet.
    Lost,
    /// It waited for longer than it was allowed to, and was not sent.
    Expired,
    /// It was not sent: newer ones needed the room, or it became too large for the path.
    Dropped,
    /// The connection ended before more could be known.
    Unknown,
}

impl DatagramFate {
    /// True if nothing more will be heard.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent)
    }
}

/// What a datagram counts for in a queue beside its bytes, so that empty ones fill it as well.
pub(crate) const DATAGRAM_OVERHEAD: usize = 64;

/// What a datagram of `len` bytes counts for in a queue, bytes.
pub(crate) fn datagram_weight(len: usize) -> usize {
    len.saturating_add(DATAGRAM_OVERHEAD)
}
