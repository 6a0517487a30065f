//! What happened on a network, datagram by datagram.

use std::net::SocketAddr;
use std::time::Duration;

use super::node::Step;

/// One thing that happened to one datagram.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Event {
    /// When, from the beginning.
    pub at: Duration,
    /// Where it comes from, as others see it.
    pub from: SocketAddr,
    /// The socket that it goes to; what leads nowhere, the address that it was sent to.
    pub to: SocketAddr,
    /// Bytes in it.
    pub len: usize,
    /// What.
    pub what: EventKind,
}

/// What can happen to a datagram.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// It was put on a link.
    Sent,
    /// No link leads to where it was sent.
    Unroutable,
    /// It was lost by chance or on purpose.
    Lost,
    /// It found a queue full.
    Overflowed,
    /// A copy was made of it.
    Duplicated,
    /// It was held back so that others could overtake.
    HeldBack,
    /// A byte in it was changed.
    Corrupted,
    /// It was marked CE.
    Marked,
    /// It arrived.
    Delivered,
}

impl EventKind {
    pub(super) fn of(step: Step) -> Option<Self> {
        Some(match step {
            Step::Lose => Self::Lost,
            Step::Overflow => Self::Overflowed,
            Step::HoldBack(_) => Self::HeldBack,
            Step::Twice(_) => Self::Duplicated,
            Step::Corrupt(_) => Self::Corrupted,
            Step::Mark(_) => Self::Marked,
            Step::Forward(_) | Step::Bleach => return None,
        })
    }
}
