//! Datagrams on their way to the task of a connection.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lock;
use super::shared::admission::Admission;
use super::shared::signal::Signal;
use crate::driver::sync::Mutex;
use crate::packet::Burst;

/// What an entry costs beside its buffer, bytes.
const OVERHEAD: usize = 256;

/// The bounded queue of one connection: full means drop and count.
///
/// The bound counts memory that stays pinned, not bytes received, and what the task has taken out and not processed yet
/// still counts.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    /// Wakes the task, for these and for all other news.
    pub signal: Signal,
}

#[derive(Debug)]
struct State {
    bursts: VecDeque<Burst>,
    pinned: usize,
    limit: usize,
    /// The limit once the peer is known.
    limit_known: usize,
    /// What is pinned counts there as well, until the peer is known; and whether its address is validated.
    account: Option<(Arc<Admission>, bool)>,
    closed: bool,
    dropped: u64,
}

impl State {
    /// So much of what is pinned is let go of.
    fn unpin(&mut self, bytes: usize) {
        let before = self.pinned;
        self.pinned = before.saturating_sub(bytes);
        if let Some((account, validated)) = &self.account {
            account.unqueue(*validated, before - self.pinned);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.unpin(usize::MAX);
    }
}

/// What the task learns when it takes something.
#[derive(Debug, Copy, Clone)]
pub struct Taken {
    /// Datagrams dropped so far.
    pub dropped: u64,
    /// Weight of what is queued, and of what was taken and is not done with, bytes.
    pub pinned: usize,
}

/// What a burst counts for.
pub fn weight(burst: &Burst) -> usize {
    burst.buffer.capacity() + OVERHEAD
}

/// No inbox of a connection takes less, bytes; that of a client in its handshake not more.
pub const MIN_LIMIT: usize = 256 << 10;

impl Inbox {
    /// How much the inbox of a connection may pin: what the peer may send of data at once, and some more.
    pub fn limit(receive_window: u64) -> usize {
        usize::try_from(receive_window).unwrap_or(usize::MAX).max(MIN_LIMIT)
    }

    /// An empty queue of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let state = State {
            bursts: VecDeque::new(),
            pinned: 0,
            limit,
            limit_known: limit,
            account: None,
            closed: false,
            dropped: 0,
        };
        Self { state: Mutex::new(state), signal: Signal::default() }
    }

    /// The same for a client that nobody knows yet: what it pins counts against what all such clients may.
    pub fn of_stranger(limit: usize, account: Arc<Admission>, validated: bool) -> Self {
        let inbox = Self::new(limit);
        lock(&inbox.state).account = Some((account, validated));
        inbox
    }

    /// The client was accepted: it may pin `handshake` bytes until the handshake is complete, and `limit` from then on.
    pub fn on_accepted(&self, handshake: usize, limit: usize) {
        let mut state = lock(&self.state);
        (state.limit, state.limit_known) = (handshake, limit);
    }

    /// How much may be queued from now on, bytes; in a handshake, from its end on.
    pub fn set_limit(&self, limit: usize) {
        let mut state = lock(&self.state);
        state.limit_known = limit;
        if state.account.is_none() {
            state.limit = limit;
        }
    }

    /// The handshake is complete: the client is no stranger any more.
    pub fn on_known(&self) {
        let mut state = lock(&self.state);
        state.limit = state.limit_known;
        if let Some((account, validated)) = state.account.take() {
            account.unqueue(validated, state.pinned);
        }
    }

    /// Adds a run of datagrams, and wakes the task if it is the first. False if it was dropped.
    pub fn push(&self, burst: Burst) -> bool {
        {
            let mut state = lock(&self.state);
            let more = weight(&burst);
            let pinned = state.pinned + more;
            let refused = state.closed || pinned > state.limit;
            let queue = |(account, validated): &(Arc<Admission>, bool)| account.queue(*validated, more);
            if refused || !state.account.as_ref().is_none_or(queue) {
                state.dropped += burst.datagrams() as u64;
                return false;
            }
            state.pinned = pinned;
            if state.bursts.capacity() == 0 {
                // One is the rule where there is little traffic.
                state.bursts.reserve_exact(1);
            }
            state.bursts.push_back(burst);
            if state.bursts.len() > 1 {
                return true;
            }
        }
        self.signal.set();
        true
    }

    /// For the task: `processed` bytes of weight are done with. Moves what has come into `local` if that is empty.
    pub fn take(&self, local: &mut VecDeque<Burst>, processed: usize) -> Taken {
        let mut state = lock(&self.state);
        state.unpin(processed);
        if local.is_empty() {
            std::mem::swap(&mut state.bursts, local);
        }
        Taken { dropped: state.dropped, pinned: state.pinned }
    }

    /// For the task, which is idle: an empty queue needs no room.
    pub fn release_spare(&self) {
        lock(&self.state).bursts.shrink_to_fit();
    }

    /// Refuses what comes from now on, and drops what is there.
    pub fn close(&self) {
        let bursts = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.unpin(usize::MAX);
            std::mem::take(&mut state.bursts)
        };
        drop(bursts);
        self.signal.set();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::driver::testing::CountingWaker;
    use crate::packet::{FourTuple, SocketId};

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn burst(len: usize) -> Burst {
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote: ([127, 0, 0, 1], 1).into() };
        Burst::single(Instant::now(), path, None, vec![0; len])
    }

    #[test]
    fn only_the_first_burst_wakes() {
        let inbox = Inbox::new(1 << 20);
        let (waker, count) = CountingWaker::pair();
        inbox.signal.clear(&waker);
        assert!(inbox.push(burst(100)) && inbox.push(burst(100)));
        assert_eq!(count.wakes(), 1);
        let mut local = VecDeque::new();
        inbox.take(&mut local, 0);
        assert_eq!(local.len(), 2);
    }

    #[test]
    fn what_is_taken_and_not_processed_counts_against_the_bound() {
        let inbox = Inbox::new(2 * (100 + OVERHEAD));
        assert!(inbox.push(burst(100)) && inbox.push(burst(100)) && !inbox.push(burst(1)));
        let mut local = VecDeque::new();
        assert_eq!(inbox.take(&mut local, 0).dropped, 1);
        assert!(!inbox.push(burst(100)), "still unprocessed");
        let processed = weight(&local.pop_front().unwrap());
        inbox.take(&mut local, processed);
        assert!(inbox.push(burst(100)) && !inbox.push(burst(100)));
        assert_eq!(local.len(), 1, "nothing is added to what is not empty");
    }

    #[test]
    fn a_closed_inbox_takes_nothing() {
        let inbox = Inbox::new(1 << 20);
        assert!(inbox.push(burst(1)));
        inbox.close();
        assert!(!inbox.push(burst(1)));
        let mut local = VecDeque::new();
        assert_eq!(inbox.take(&mut local, 0).dropped, 1);
        assert!(local.is_empty());
    }
}
