//! How many bytes of all streams of a connection may be accepted from the application and not yet be acknowledged.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::waiters::{Waiters, Woken};
use crate::driver::lock;
use crate::driver::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, seq_cst};

/// The limit never falls below this, however small the congestion window.
pub const FLOOR: u64 = 256 << 10;

/// A writer takes about this much at a time.
const SHARE: u64 = 64 << 10;

/// The budget of a connection.
///
/// Blocked writers queue, and are woken in order when a quarter is free. A woken writer has no claim, and one that does not
/// come back must not hold up the others: the task looks whether the room was taken ([`SendPool::pass_on`]).
#[derive(Debug)]
pub struct SendPool {
    used: AtomicU64,
    limit: AtomicU64,
    /// Length of the queue, to be read without its lock.
    waiting: AtomicUsize,
    /// When the task looked last, there was room for one who waits.
    room_seen: AtomicBool,
    queue: Mutex<Waiters>,
}

impl SendPool {
    /// A budget of [`FLOOR`] bytes, or `limit` if that is less.
    pub fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit.min(FLOOR)),
            waiting: AtomicUsize::new(0),
            room_seen: AtomicBool::new(false),
            queue: Mutex::default(),
        }
    }

    /// Takes up to `want` bytes, at least one; without a context it does not wait.
    ///
    /// While others wait, only who was woken takes: nobody overtakes them because it happened to be polled.
    pub fn poll_reserve(&self, want: u64, ticket: &mut Option<u64>, cx: Option<&Context<'_>>) -> Poll<u64> {
        let in_line = self.waiting.load(Ordering::Acquire) > 0;
        if (!in_line || (self.was_woken(*ticket) && self.quarter_is_free()))
            && let Some(granted) = self.take(want)
        {
            if let Some(ticket) = ticket.take() {
                self.leave(ticket);
            }
            return Poll::Ready(granted);
        }
        let Some(cx) = cx else { return Poll::Pending };
        let is_first = {
            let mut queue = lock(&self.queue);
            let before = queue.len();
            // Who was woken and found nothing keeps its place.
            queue.rejoin(ticket, cx.waker());
            // Ordered with the load in `release`: either that sees us, or we see what it released.
            self.waiting.store(queue.len(), Ordering::SeqCst);
            before == 0
        };
        seq_cst();
        if is_first
            && self.quarter_is_free()
            && let Some(granted) = self.take(want)
        {
            if let Some(ticket) = ticket.take() {
                self.leave(ticket);
            }
            // Who came behind it meanwhile relied on being woken.
            self.wake_if_worthwhile();
            return Poll::Ready(granted);
        }
        Poll::Pending
    }

    /// Takes bytes whether they are there or not.
    pub fn overdraw(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    /// True for a waiter that was taken out of the queue.
    fn was_woken(&self, ticket: Option<u64>) -> bool {
        ticket.is_some_and(|ticket| lock(&self.queue).position(ticket).is_none())
    }

    /// Gives up waiting; what the waiter was woken for goes to the next.
    pub fn cancel(&self, ticket: u64) {
        if !self.leave(ticket) {
            self.wake_if_worthwhile();
        }
    }

    /// Leaves the queue. False for a waiter that was taken out of it, and woken.
    fn leave(&self, ticket: u64) -> bool {
        let mut queue = lock(&self.queue);
        let waited = queue.remove(ticket).is_some();
        self.waiting.store(queue.len(), Ordering::SeqCst);
        waited
    }

    /// Gives bytes back.
    pub fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            seq_cst();
            self.wake_if_worthwhile();
        }
    }

    /// Follows the congestion window.
    pub fn set_limit(&self, limit: u64) {
        if self.limit.swap(limit, Ordering::SeqCst) < limit {
            seq_cst();
            self.wake_if_worthwhile();
        }
    }

    /// For the task, once a turn: if writers wait though there is room, others were woken for it. Those had time since the
    /// last turn; if they have not come, it is the turn of the next. True if the task has to look again.
    pub fn pass_on(&self) -> bool {
        let room = self.waiting.load(Ordering::SeqCst) > 0 && self.quarter_is_free();
        if self.room_seen.swap(room, Ordering::Relaxed) && room {
            self.wake_if_worthwhile();
        }
        room
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Wakes all: the connection is over.
    pub fn close(&self) {
        let woken = {
            let mut queue = lock(&self.queue);
            self.waiting.store(0, Ordering::SeqCst);
            queue.take()
        };
        woken.wake();
    }

    fn free(&self) -> u64 {
        self.limit.load(Ordering::SeqCst).saturating_sub(self.used.load(Ordering::SeqCst))
    }

    fn quarter_is_free(&self) -> bool {
        self.free() >= (self.limit.load(Ordering::SeqCst) / 4).max(1)
    }

    fn take(&self, want: u64) -> Option<u64> {
        let limit = self.limit.load(Ordering::SeqCst);
        let mut granted = 0;
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            granted = limit.saturating_sub(used).min(want);
            (granted > 0).then_some(used + granted)
        });
        taken.ok().map(|_| granted)
    }

    fn wake_if_worthwhile(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 || !self.quarter_is_free() {
            return;
        }
        let woken = {
            let mut queue = lock(&self.queue);
            let shares = usize::try_from(self.free() / SHARE).unwrap_or(usize::MAX).max(1);
            let woken = if self.used.load(Ordering::SeqCst) == 0 {
                queue.take()
            } else {
                let shares = shares.min(queue.len());
                Woken((0..shares).filter_map(|_| queue.pop()).collect())
            };
            self.waiting.store(queue.len(), Ordering::SeqCst);
            woken
        };
        woken.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::driver::testing::CountingWaker;

    /// A pool that is used up, and writers that wait for it.
    struct Line {
        pool: SendPool,
        writers: Vec<(Waker, Arc<CountingWaker>)>,
        tickets: Vec<Option<u64>>,
    }

    impl Line {
        fn new(limit: u64, writers: usize) -> Self {
            let pool = SendPool::new(limit);
            assert_eq!(pool.poll_reserve(limit, &mut None, None), Poll::Ready(limit));
            let writers: Vec<_> = (0..writers).map(|_| CountingWaker::pair()).collect();
            let mut line = Self { tickets: vec![None; writers.len()], pool, writers };
            for n in 0..line.writers.len() {
                assert!(line.poll(n, 10).is_pending());
            }
            line
        }

        fn poll(&mut self, n: usize, want: u64) -> Poll<u64> {
            let cx = Context::from_waker(&self.writers[n].0);
            self.pool.poll_reserve(want, &mut self.tickets[n], Some(&cx))
        }

        fn cancel(&mut self, n: usize) {
            self.pool.cancel(self.tickets[n].take().unwrap());
        }

        fn wakes(&self) -> Vec<usize> {
            self.writers.iter().map(|(_, count)| count.wakes()).collect()
        }
    }

    #[test]
    fn a_pool_grants_what_it_has() {
        let pool = SendPool::new(100);
        assert_eq!(pool.poll_reserve(60, &mut None, None), Poll::Ready(60));
        assert_eq!(pool.poll_reserve(60, &mut None, None), Poll::Ready(40));
        assert_eq!(pool.poll_reserve(60, &mut None, None), Poll::Pending);
        pool.release(100);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn writers_are_woken_in_order_when_a_quarter_is_free() {
        let line = Line::new(FLOOR, 2);
        line.pool.release(FLOOR / 4 - 1);
        assert_eq!(line.wakes(), [0, 0]);
        assert!(line.pool.poll_reserve(10, &mut None, None).is_pending(), "nobody overtakes for a few bytes");
        line.pool.release(1);
        assert_eq!(line.wakes(), [1, 0]);
        line.pool.release(FLOOR - FLOOR / 4);
        assert_eq!(line.wakes(), [1, 1]);
    }

    #[test]
    fn a_pool_of_a_few_bytes_that_is_full_wakes_nobody() {
        for limit in 1..4 {
            let line = Line::new(limit, 1);
            assert!(!line.pool.pass_on() && !line.pool.pass_on(), "the task would look again for ever");
            assert_eq!(line.wakes(), [0]);
            line.pool.release(1);
            assert_eq!(line.wakes(), [1]);
        }
    }

    #[test]
    fn a_woken_writer_that_stays_away_holds_nobody_up() {
        let line = Line::new(FLOOR, 20);
        line.pool.release(FLOOR);
        assert_eq!(line.wakes(), [1; 20], "all room, all woken");
    }

    #[test]
    fn writers_that_stay_away_for_good_are_passed_over_though_nothing_more_is_released() {
        let mut line = Line::new(FLOOR, 3);
        assert!(!line.pool.pass_on(), "there is no room");
        line.pool.release(FLOOR / 4);
        assert_eq!((line.pool.pass_on(), line.wakes()), (true, vec![1, 0, 0]), "it has time to come");
        assert_eq!((line.pool.pass_on(), line.wakes()), (true, vec![1, 1, 0]));
        assert_eq!(line.poll(1, 10), Poll::Ready(10));
        assert!(!line.pool.pass_on() && line.wakes() == [1, 1, 0], "the room is taken");
        line.pool.release(10);
        assert_eq!(line.wakes(), [1, 1, 1]);
    }

    #[test]
    fn nobody_overtakes_a_writer_that_was_woken() {
        let mut line = Line::new(FLOOR, 3);
        line.cancel(2);
        line.pool.release(FLOOR / 4);
        assert_eq!(line.wakes(), [1, 0, 0]);
        // One that is polled by chance, and one that has just come.
        assert!(line.poll(1, FLOOR).is_pending() && line.poll(2, FLOOR).is_pending());
        assert_eq!(line.poll(0, FLOOR), Poll::Ready(FLOOR / 4));
        // One that was woken and finds nothing keeps its place.
        line.pool.release(FLOOR / 4);
        line.pool.set_limit(FLOOR / 2);
        assert_eq!(line.wakes(), [1, 1, 0]);
        assert!(line.poll(1, FLOOR).is_pending());
        line.pool.set_limit(FLOOR);
        assert_eq!(line.wakes(), [1, 2, 0]);
        assert_eq!(line.poll(1, FLOOR), Poll::Ready(FLOOR / 4));
    }

    #[test]
    fn a_woken_writer_that_gives_up_passes_it_on() {
        let mut line = Line::new(FLOOR, 3);
        line.pool.release(FLOOR / 4);
        assert_eq!(line.wakes(), [1, 0, 0]);
        line.cancel(0);
        assert_eq!(line.wakes(), [1, 1, 0], "nothing more may ever be released");
        line.cancel(2);
        assert_eq!(line.wakes(), [1, 1, 0], "who still waited was woken for nothing");
        assert_eq!(line.poll(1, 10), Poll::Ready(10));
    }

    #[test]
    fn a_raised_limit_wakes_too() {
        let mut line = Line::new(100, 1);
        line.pool.set_limit(1000);
        assert_eq!(line.wakes(), [1]);
        assert_eq!(line.poll(0, 1), Poll::Ready(1));
        line.pool.set_limit(10);
        assert!(
            line.pool.poll_reserve(1, &mut None, None).is_pending(),
            "a limit below the use is no underflow"
        );
    }
}
