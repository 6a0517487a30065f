//! Early data: what a client sends in 0-RTT packets, before the server has said anything (RFC 9001 §4.6).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

/// What became of the early data of a connection.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub enum EarlyData {
    /// There is none; or on a server: nothing is known yet.
    #[default]
    None,
    /// The client offers it, and the server has not answered.
    Offered,
    /// The server takes it.
    Accepted,
    /// The server does not take it.
    Rejected,
}

/// What a client knows of a server from an earlier connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The server's encoded transport parameters (RFC 9000 §7.4.1).
    pub params: Vec<u8>,
    /// The application protocol that was agreed on: early data speaks it.
    pub alpn: Vec<u8>,
}

/// Which early data a server takes.
///
/// Early data can be replayed: somebody who has recorded it can send it again. These are the protections (RFC 8446 §8,
/// RFC 9001 §9.2):
///
/// - Each ticket is good for one connection. Whoever comes with a ticket that was used, or is not known, gets a handshake
///   without early data. This is why sessions have to be remembered at the server: with a ticketer of rustls, which gives
///   them to clients to keep, no early data is taken. It is as good as the store: one that is shared between servers must
///   hand out each session once, and one that is restored from a copy must be emptied.
/// - A ticket that is older than [`EarlyDataPolicy::max_age`], or whose age differs by more than a minute from what the
///   client says, brings no early data.
/// - No more than [`EarlyDataPolicy::max_per_second`] connections bring early data.
///
/// What is left is for the application: it must not do in answer to early data what must not be done twice. It sees which
/// data is early ([`RecvStream::is_early`](crate::RecvStream::is_early)), and can wait for the handshake to be complete,
/// after which nothing of the connection can be a replay.
#[derive(Debug, Clone)]
pub struct EarlyDataPolicy {
    pub(super) max_age: Duration,
    pub(super) context: Bytes,
    limiter: Arc<Limiter>,
}

#[derive(Debug)]
struct Limiter {
    per_second: u32,
    /// The present second, and what came in it.
    count: Mutex<(u64, u32)>,
}

impl Limiter {
    fn new(per_second: u32) -> Arc<Self> {
        Arc::new(Self { per_second, count: Mutex::new((0, 0)) })
    }
}

impl Default for EarlyDataPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl EarlyDataPolicy {
    /// Takes early data, with the defaults below.
    #[must_use]
    pub fn new() -> Self {
        let max_age = Duration::from_secs(60 * 60);
        Self { max_age, context: Bytes::new(), limiter: Limiter::new(u32::MAX) }
    }

    /// How old a ticket may be to bring early data. It also bounds how long a lost or copied session store can be misused.
    /// Default one hour; older tickets still shorten the handshake, for a day.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// How many connections may bring early data in a second; others complete their handshakes first. Default no limit.
    /// Clones of this value count together.
    #[must_use]
    pub fn max_per_second(mut self, connections: u32) -> Self {
        self.limiter = Limiter::new(connections);
        self
    }

    /// What early data depends on besides TLS and the transport, for example settings of an application protocol: early
    /// data is taken only if this is the same as it was when the ticket was issued. Default nothing. At most 1,000 bytes
    /// count.
    #[must_use]
    pub fn context(mut self, context: impl Into<Bytes>) -> Self {
        self.context = context.into();
        self.context.truncate(1000);
        self
    }

    /// Counts a connection with early data. False if there are too many.
    pub(super) fn admit(&self, now: Duration) -> bool {
        let mut count = self.limiter.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.0 != now.as_secs() {
            *count = (now.as_secs(), 0);
        }
        count.1 = count.1.saturating_add(1);
        count.1 <= self.limiter.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_and_the_next_for_as_many_again() {
        let policy = EarlyDataPolicy::new().max_per_second(2);
        let at = |millis| policy.clone().admit(Duration::from_millis(millis));
        assert_eq!([5000, 5500, 5999, 6000, 6001, 6002].map(at), [true, true, false, true, true, false]);
        assert!(!EarlyDataPolicy::new().max_per_second(0).admit(Duration::ZERO));
        assert!(EarlyDataPolicy::new().admit(Duration::ZERO));
    }
}
