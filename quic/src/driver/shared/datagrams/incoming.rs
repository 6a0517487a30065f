//! Datagrams that wait to be read.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::super::waiters::{Waiters, Woken};
use crate::config::TransportConfig;
use crate::driver::lock;
use crate::driver::sync::{AtomicU64, AtomicUsize, Mutex};
use crate::packet::{DatagramPolicy, datagram_weight};

/// Made room for before the lock where many are read at once.
const ROOM: usize = 64;

/// The task hears of readers when they have taken so many bytes that it still counts as held.
const STALE: usize = 64 << 10;

/// And when they have taken all, if that was so much: less is not worth the wake.
const STEP: usize = 16 << 10;

/// From the task to any number of readers; bounded by bytes, and by policy.
#[derive(Debug)]
pub struct Incoming {
    state: Mutex<State>,
    /// How much there may be, bytes: less than what is configured while memory is short.
    limit: AtomicUsize,
    policy: DatagramPolicy,
    unread: AtomicU64,
    /// How much there is, bytes; to be read without the lock.
    weight: AtomicUsize,
    /// The same, as the task knows it.
    known: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    weight: usize,
    waiters: Waiters,
    /// A reader has come since the task waited for one in vain.
    attended: bool,
    /// What has arrived since readers were given a chance, bytes.
    since: usize,
    closed: bool,
}

impl Incoming {
    /// An empty queue.
    pub fn new(config: &TransportConfig) -> Self {
        Self {
            state: Mutex::default(),
            limit: AtomicUsize::new(config.datagram_receive_buffer_size),
            policy: config.datagram_receive_policy,
            unread: AtomicU64::new(0),
            weight: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
        }
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// To be called under the lock, after changes.
    fn publish(&self, state: &State) {
        self.weight.store(state.weight, Ordering::Relaxed);
    }

    /// For the task: how much there may be from now on, bytes. What is there beyond it is dropped.
    pub fn set_limit(&self, limit: usize) {
        if self.limit.swap(limit, Ordering::Relaxed) > limit {
            self.deliver(&mut VecDeque::new());
        }
    }

    /// For the task: how much there is, bytes.
    pub fn weight(&self) -> usize {
        let weight = self.weight.load(Ordering::Relaxed);
        self.known.store(weight, Ordering::Relaxed);
        weight
    }

    /// For readers, after reading: true if the task is to look again how much there is.
    pub fn is_stale(&self) -> bool {
        let weight = self.weight.load(Ordering::Relaxed);
        let stale = |known: usize| known >= weight + STALE || (weight == 0 && known >= STEP);
        stale(self.known.load(Ordering::Relaxed)) && stale(self.known.swap(weight, Ordering::Relaxed))
    }

    /// For the task: adds what has arrived, and drops what there is no room for. Leaves `arrived` empty. True if readers
    /// should have a chance before there is more: see [`Incoming::is_crowded`]. They have one for each quarter that arrives.
    pub fn deliver(&self, arrived: &mut VecDeque<Bytes>) -> bool {
        let weight: usize = arrived.iter().map(|data| datagram_weight(data.len())).sum();
        // What is dropped goes after the lock: its buffer may have another to go back to.
        let (mut dropped, limit) = (VecDeque::new(), self.limit());
        let (woken, crowded) = {
            let mut state = lock(&self.state);
            let news = arrived.len();
            if state.queue.is_empty() {
                std::mem::swap(&mut state.queue, arrived);
            } else {
                state.queue.append(arrived);
            }
            state.weight += weight;
            // Of one that is larger than the whole queue there can be one.
            while state.weight > limit && state.queue.len() > 1 {
                let unwanted = match self.policy {
                    DatagramPolicy::DropOldest => state.queue.pop_front(),
                    DatagramPolicy::DropNewest => state.queue.pop_back(),
                };
                state.weight -= unwanted.as_ref().map_or(0, |data| datagram_weight(data.len()));
                dropped.extend(unwanted);
            }
            // One for each that came, also where it took the place of another: who was woken for that may stay away.
            let news = news.min(state.queue.len()).min(state.waiters.len());
            let woken = Woken((0..news).filter_map(|_| state.waiters.pop()).collect());
            self.publish(&state);
            state.since = state.since.saturating_add(weight);
            let crowded = state.is_crowded(limit) && state.since >= limit / 4;
            if crowded {
                state.since = 0;
            }
            (woken, crowded)
        };
        woken.wake();
        if !dropped.is_empty() {
            self.unread.fetch_add(dropped.len() as u64, Ordering::Relaxed);
        }
        crowded
    }

    /// For the task: whether it is half full, and readers that come now and then have not come yet.
    pub fn is_crowded(&self) -> bool {
        lock(&self.state).is_crowded(self.limit())
    }

    /// For the task: it has waited for readers in vain, and will not do so again before one has come.
    pub fn give_up(&self) {
        lock(&self.state).attended = false;
    }

    /// How many were dropped here.
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Appends up to `limit` datagrams to `into`, at least one; returns how many, `None` once the queue is closed and
    /// empty. A caller that gives up must call [`Incoming::cancel`].
    pub fn poll_read(
        &self,
        into: &mut Vec<Bytes>,
        limit: usize,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Option<usize>> {
        into.reserve(limit.min(ROOM));
        let mut state = lock(&self.state);
        state.attended = true;
        let count = state.take(into, limit);
        self.publish(&state);
        if count > 0 || limit == 0 {
            if let Some(ticket) = ticket.take() {
                state.waiters.remove(ticket);
            }
            return Poll::Ready(Some(count));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waiters.register(ticket, cx.waker());
        Poll::Pending
    }

    /// The first datagram, if there is one. `None` once the queue is closed and empty.
    pub fn poll_read_one(&self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = lock(&self.state);
        state.attended = true;
        if let Some(data) = state.pop() {
            self.publish(&state);
            if let Some(ticket) = ticket.take() {
                state.waiters.remove(ticket);
            }
            return Poll::Ready(Some(data));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waiters.register(ticket, cx.waker());
        Poll::Pending
    }

    /// The first datagram, if there is one; else whether more may come.
    pub fn try_read(&self) -> Result<Bytes, bool> {
        let mut state = lock(&self.state);
        state.attended = true;
        let data = state.pop();
        self.publish(&state);
        data.ok_or(!state.closed)
    }

    /// Gives up waiting; a datagram that the waiter was woken for goes to the next.
    pub fn cancel(&self, ticket: u64) {
        let waker = {
            let mut state = lock(&self.state);
            match state.waiters.remove(ticket) {
                None if !state.queue.is_empty() => state.waiters.pop(),
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nothing more will come. What is there can still be read.
    pub fn close(&self) {
        let woken = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.waiters.take()
        };
        woken.wake();
    }
}

impl State {
    fn is_crowded(&self, capacity: usize) -> bool {
        self.attended && self.weight > capacity / 2
    }

    fn pop(&mut self) -> Option<Bytes> {
        let data = self.queue.pop_front()?;
        self.weight -= datagram_weight(data.len());
        Some(data)
    }

    fn take(&mut self, into: &mut Vec<Bytes>, limit: usize) -> usize {
        let count = limit.min(self.queue.len());
        if count == self.queue.len() {
            self.weight = 0;
        } else {
            self.weight -=
                self.queue.iter().take(count).map(|data| datagram_weight(data.len())).sum::<usize>();
        }
        into.extend(self.queue.drain(..count));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    fn queue(datagrams: usize, policy: DatagramPolicy) -> Incoming {
        let config = TransportConfig::builder()
            .datagram_receive_buffer_size(datagrams * datagram_weight(10))
            .datagram_receive_policy(policy);
        Incoming::new(&config.build().unwrap())
    }

    fn arrived(numbers: std::ops::Range<u8>) -> VecDeque<Bytes> {
        numbers.map(|number| vec![number; 10].into()).collect()
    }

    fn read(queue: &Incoming, limit: usize) -> Vec<u8> {
        let (waker, _) = CountingWaker::pair();
        let (mut into, mut ticket) = (Vec::new(), None);
        let read = queue.poll_read(&mut into, limit, &mut ticket, &Context::from_waker(&waker));
        assert!(read.is_pending() == into.is_empty());
        ticket.into_iter().for_each(|ticket| queue.cancel(ticket));
        into.iter().map(|data| data[0]).collect()
    }

    #[test]
    fn a_lower_limit_holds_at_once_and_readers_tell_when_much_is_gone() {
        let queue = queue(5, DatagramPolicy::DropOldest);
        queue.deliver(&mut arrived(0..5));
        queue.set_limit(2 * datagram_weight(10));
        assert_eq!((queue.unread(), queue.weight()), (3, 2 * datagram_weight(10)));
        queue.set_limit(1 << 20);
        assert_eq!(read(&queue, 9), [3, 4]);
        assert!(!queue.is_stale(), "not for so little");
        queue.deliver(&mut (0..3).map(|_| vec![0; STALE].into()).collect());
        assert!(queue.weight() > 3 * STALE);
        read(&queue, 1);
        assert!(queue.is_stale() && !queue.is_stale(), "once");
        read(&queue, 2);
        queue.deliver(&mut [vec![0; STEP].into()].into());
        queue.weight();
        read(&queue, 1);
        assert!(queue.is_stale() && !queue.is_stale(), "all of that is gone");
    }

    #[test]
    fn a_full_queue_drops_by_its_policy() {
        for (policy, kept) in
            [(DatagramPolicy::DropOldest, [2, 3, 4]), (DatagramPolicy::DropNewest, [0, 1, 2])]
        {
            let queue = queue(3, policy);
            queue.deliver(&mut arrived(0..2));
            queue.deliver(&mut arrived(2..5));
            assert_eq!((queue.unread(), queue.weight()), (2, 3 * datagram_weight(10)));
            assert_eq!(read(&queue, 2), kept[..2]);
            assert_eq!(queue.weight(), datagram_weight(10));
            assert_eq!(read(&queue, 9), kept[2..]);
            assert_eq!((queue.weight(), queue.try_read()), (0, Err(true)));
            let mut many = arrived(0..9);
            queue.deliver(&mut many);
            assert!(many.is_empty() && read(&queue, 9).len() == 3);
        }
    }

    #[test]
    fn a_crowd_waits_for_readers_that_come() {
        let queue = queue(4, DatagramPolicy::DropOldest);
        assert!(!queue.deliver(&mut arrived(0..4)), "nobody has ever read");
        assert_eq!(read(&queue, 1), [0]);
        assert!(queue.is_crowded());
        queue.give_up();
        assert!(!queue.is_crowded() && !queue.deliver(&mut arrived(4..5)), "nor may anybody again");
        assert_eq!(queue.try_read(), Ok(vec![1; 10].into()));
        assert!(queue.is_crowded());
        assert_eq!(read(&queue, 1), [2]);
        assert!(!queue.is_crowded() && queue.deliver(&mut arrived(5..6)));
        assert!(!queue.deliver(&mut VecDeque::from([Bytes::new()])), "they had a chance just now");
        assert!(queue.is_crowded() && queue.deliver(&mut arrived(6..7)));
    }

    #[test]
    fn as_many_readers_are_woken_as_there_are_datagrams() {
        let queue = queue(9, DatagramPolicy::DropOldest);
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..3).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 3];
        for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
            assert!(queue.poll_read_one(ticket, &Context::from_waker(waker)).is_pending());
        }
        queue.deliver(&mut arrived(0..2));
        assert_eq!([0, 1, 2].map(|n: usize| counts[n].wakes()), [1, 1, 0]);
        queue.cancel(tickets[0].unwrap());
        assert_eq!(counts[2].wakes(), 1, "passed on");
        for n in [1, 2] {
            let one = queue.poll_read_one(&mut tickets[n], &Context::from_waker(&wakers[n]));
            assert_eq!(one, Poll::Ready(Some(vec![n as u8 - 1; 10].into())));
        }
    }

    #[test]
    fn a_reader_that_stays_away_holds_nobody_up_in_a_full_queue() {
        for policy in [DatagramPolicy::DropOldest, DatagramPolicy::DropNewest] {
            let queue = queue(1, policy);
            let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
            let mut tickets = [None; 2];
            for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
                assert!(queue.poll_read_one(ticket, &Context::from_waker(waker)).is_pending());
            }
            queue.deliver(&mut arrived(0..1));
            assert_eq!([0, 1].map(|n: usize| counts[n].wakes()), [1, 0]);
            queue.deliver(&mut arrived(1..2));
            assert_eq!(counts[1].wakes(), 1, "it might wait for ever beside a datagram");
            assert!(queue.poll_read_one(&mut tickets[1], &Context::from_waker(&wakers[1])).is_ready());
        }
    }

    #[test]
    fn what_has_come_can_be_read_after_the_end() {
        let queue = queue(9, DatagramPolicy::DropOldest);
        let (waker, count) = CountingWaker::pair();
        let mut ticket = None;
        assert!(queue.poll_read_one(&mut ticket, &Context::from_waker(&waker)).is_pending());
        queue.close();
        assert_eq!(count.wakes(), 1);
        queue.deliver(&mut arrived(0..1));
        assert!(queue.poll_read_one(&mut ticket, &Context::from_waker(&waker)).is_ready());
        assert_eq!(queue.poll_read_one(&mut ticket, &Context::from_waker(&waker)), Poll::Ready(None));
        assert_eq!(queue.try_read(), Err(false));
    }
}
