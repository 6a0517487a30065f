//! Datagrams that wait to be sent.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fate::FateSender;
use super::line::Line;
use crate::config::TransportConfig;
use crate::driver::lock;
use crate::driver::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex};
use crate::packet::{DatagramFate, DatagramPolicy, datagram_weight};
use crate::proto::datagrams::{Leveled, Levels};

/// A datagram on its way to the task.
#[derive(Debug)]
pub struct Item {
    /// The message.
    pub data: Bytes,
    /// From when on it is not worth sending.
    pub deadline: Option<Instant>,
    /// Higher levels are sent first, and dropped last.
    pub level: i32,
    /// Who wants to know what becomes of it.
    pub fate: Option<FateSender>,
}

impl Leveled for Item {
    fn level(&self) -> i32 {
        self.level
    }

    fn weight(&self) -> usize {
        datagram_weight(self.data.len())
    }
}

/// Why a datagram is not taken.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The peer takes none.
    Unsupported,
    /// This end sends none.
    Disabled,
    /// This is the most.
    TooLarge(usize),
    /// No room, and nothing is to give way.
    Full,
    /// The connection is over.
    Closed,
}

/// From any number of senders to the task; bounded by bytes. What the task has taken and not sent yet still counts.
#[derive(Debug)]
pub struct Outgoing {
    state: Mutex<State>,
    /// How much there may be, bytes: less than what is configured while memory is short.
    limit: AtomicUsize,
    policy: DatagramPolicy,
    /// There is something for the task, or about to be.
    news: AtomicBool,
    unsent: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: Levels<Item>,
    /// With the task.
    held: usize,
    /// The largest that can be sent; `None` for none at all.
    max: Option<usize>,
    line: Line,
    /// Old ones that the task has are to give way.
    overdrawn: bool,
    closed: bool,
}

impl State {
    fn check(&self, capacity: usize, len: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if capacity == 0 {
            return Err(Refused::Disabled);
        }
        match self.max {
            None => Err(Refused::Unsupported),
            Some(max) if len > max => Err(Refused::TooLarge(max)),
            Some(_) => Ok(()),
        }
    }

    fn used(&self) -> usize {
        self.queue.weight() + self.held
    }

    /// One that is larger than the whole queue fits if nothing else is there.
    fn fits(&self, capacity: usize, len: usize) -> bool {
        self.used() == 0 || self.used() + datagram_weight(len) <= capacity
    }

    /// Makes room for a datagram that does not wait for it.
    fn admit(
        &mut self,
        capacity: usize,
        (len, level): (usize, i32),
        policy: DatagramPolicy,
        evicted: &mut Evicted,
    ) -> Result<(), Refused> {
        self.check(capacity, len)?;
        match policy {
            // Those that are older still are with the task: it drops them when it takes these. What matters more does not
            // give way; and nothing does for one that is refused all the same.
            DatagramPolicy::DropOldest => {
                let weight = datagram_weight(len);
                if !self.queue.fits(capacity, weight) {
                    if !self.queue.could_fit(capacity, level, weight) {
                        return Err(Refused::Full);
                    }
                    while !self.queue.fits(capacity, weight) {
                        evicted.extend(self.queue.evict());
                    }
                }
                self.overdrawn |= self.used() + weight > capacity;
            }
            // Those in line come first.
            DatagramPolicy::DropNewest => {
                if !self.line.may_go(None) || !self.fits(capacity, len) {
                    return Err(Refused::Full);
                }
            }
        }
        Ok(())
    }

    /// So much room that it is worth waking somebody for it, and not in vain.
    fn has_room(&self, capacity: usize) -> bool {
        let quarter = self.used() == 0 || capacity.saturating_sub(self.used()) >= capacity / 4;
        quarter && self.fits(capacity, self.line.wants())
    }
}

/// What gave way; told of that after the lock.
type Evicted = SmallVec<[Item; 1]>;

impl Outgoing {
    /// An empty queue. Until [`Outgoing::set_max`] nothing is taken.
    pub fn new(config: &TransportConfig) -> Self {
        Self {
            state: Mutex::default(),
            limit: AtomicUsize::new(config.datagram_send_buffer_size),
            policy: config.datagram_send_policy,
            news: AtomicBool::new(false),
            unsent: AtomicU64::new(0),
        }
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// For the task: how much there may be from now on, bytes. True if that is more than before; then
    /// [`Outgoing::set_held`] is to be called, for those in line. What is there already stays.
    pub fn set_limit(&self, limit: usize) -> bool {
        self.limit.swap(limit, Ordering::Relaxed) < limit
    }

    /// Takes a datagram at once, or not at all. True if the task is to be woken.
    pub fn push(&self, item: Item, policy: Option<DatagramPolicy>) -> Result<bool, Refused> {
        let (size, policy) = ((item.data.len(), item.level), policy.unwrap_or(self.policy));
        let mut evicted = Evicted::new();
        let pushed = {
            let mut state = lock(&self.state);
            let first = state.queue.is_empty();
            state.admit(self.limit(), size, policy, &mut evicted).map(|()| {
                state.queue.push(item);
                first
            })
        };
        self.drop_unsent(evicted);
        match pushed {
            Ok(first) => Ok(self.tell(first)),
            Err(refused) => {
                self.count_unsent((refused == Refused::Full).into());
                Err(refused)
            }
        }
    }

    /// Takes datagrams from the front of `data` until one cannot be taken. Returns whether the task is to be woken.
    ///
    /// # Errors
    /// If not even the first is taken.
    pub fn push_some(
        &self,
        data: &mut Vec<Bytes>,
        deadline: Option<Instant>,
        policy: Option<DatagramPolicy>,
    ) -> Result<bool, Refused> {
        let policy = policy.unwrap_or(self.policy);
        let mut evicted = Evicted::new();
        let (mut taken, mut refused) = (0, None);
        let first = {
            let mut state = lock(&self.state);
            let first = state.queue.is_empty();
            for next in data.iter_mut() {
                refused = state.admit(self.limit(), (next.len(), 0), policy, &mut evicted).err();
                if refused.is_some() {
                    break;
                }
                state.queue.push(Item { data: std::mem::take(next), deadline, level: 0, fate: None });
                taken += 1;
            }
            first
        };
        data.drain(..taken);
        self.drop_unsent(evicted);
        match refused {
            Some(refused) if taken == 0 => Err(refused),
            _ => Ok(self.tell(first && taken > 0)),
        }
    }

    /// Takes the datagram when its turn has come and there is room. Returns whether the task is to be woken. A caller that
    /// gives up must call [`Outgoing::cancel`].
    pub fn poll_push(
        &self,
        item: &mut Option<Item>,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Result<bool, Refused>> {
        let Some(len) = item.as_ref().map(|item| item.data.len()) else { return Poll::Ready(Ok(false)) };
        self.poll_in_line(len, ticket, cx, |state| {
            if let Some(item) = item.take() {
                state.queue.push(item);
            }
        })
    }

    /// The same for as many from the front of `data` as there is room for; at least one.
    pub fn poll_push_some(
        &self,
        data: &mut Vec<Bytes>,
        deadline: Option<Instant>,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Result<bool, Refused>> {
        let Some(len) = data.first().map(Bytes::len) else { return Poll::Ready(Ok(false)) };
        let capacity = self.limit();
        let mut taken = 0;
        let polled = self.poll_in_line(len, ticket, cx, |state| {
            for next in data.iter_mut() {
                if state.check(capacity, next.len()).is_err() || !state.fits(capacity, next.len()) {
                    break;
                }
                state.queue.push(Item { data: std::mem::take(next), deadline, level: 0, fate: None });
                taken += 1;
            }
        });
        data.drain(..taken);
        polled
    }

    fn poll_in_line(
        &self,
        len: usize,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
        push: impl FnOnce(&mut State),
    ) -> Poll<Result<bool, Refused>> {
        let (first, next) = {
            let mut state = lock(&self.state);
            if let Err(refused) = state.check(self.limit(), len) {
                return Poll::Ready(Err(refused));
            }
            if !state.line.may_go(*ticket) || !state.fits(self.limit(), len) {
                state.line.wait(ticket, len, cx.waker());
                return Poll::Pending;
            }
            if let Some(ticket) = ticket.take() {
                state.line.leave(ticket);
            }
            let first = state.queue.is_empty();
            push(&mut state);
            (first, if state.fits(self.limit(), 0) { state.line.call() } else { None })
        };
        wake(next);
        Poll::Ready(Ok(self.tell(first)))
    }

    /// Leaves the line; the next in it may have been held up. True if the task is to be woken, to see whether that comes.
    #[must_use]
    pub fn cancel(&self, ticket: u64) -> bool {
        let next = {
            let mut state = lock(&self.state);
            if state.line.leave(ticket) { state.line.call() } else { None }
        };
        let called = next.is_some();
        wake(next);
        self.tell(called)
    }

    /// How large a datagram may be; `None` if there can be none.
    pub fn max(&self) -> Option<usize> {
        lock(&self.state).max.filter(|_| self.limit() > 0)
    }

    /// How large a datagram may be so that no other gives way to it, bytes.
    pub fn space(&self) -> usize {
        let used = lock(&self.state).used();
        self.limit().saturating_sub(used).saturating_sub(datagram_weight(0))
    }

    /// How many were dropped here.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// For the task: takes what is there in exchange for an empty queue. True if there is anything, or was; then
    /// [`Outgoing::set_held`] is to be called.
    pub fn take(&self, into: &mut Levels<Item>) -> bool {
        let news = self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::AcqRel);
        if news {
            let mut state = lock(&self.state);
            std::mem::swap(&mut state.queue, into);
            state.held += into.weight();
        }
        news
    }

    /// For the task, after it has taken what is there: true if something went in at the cost of what it had already, so that
    /// it is to keep no more than the limit. That is so only if somebody drops the oldest.
    pub fn take_overdrawn(&self) -> bool {
        std::mem::take(&mut lock(&self.state).overdrawn)
    }

    /// For the task: of what it has taken so much is left. Wakes the first in line when a quarter is free. True if it is to
    /// be called again in the next turn, to see whether who was woken comes: one that does not must not hold up others.
    pub fn set_held(&self, held: usize) -> bool {
        let (next, again) = {
            let mut state = lock(&self.state);
            state.held = held;
            if !state.has_room(self.limit()) {
                return false;
            }
            let next = state.line.pass_on().or_else(|| state.line.call());
            (next, state.line.is_called())
        };
        wake(next);
        again
    }

    /// For the task: datagrams may be as large as this from now on. True if [`Outgoing::set_held`] is to be called, since
    /// somebody in line was woken to see that.
    pub fn set_max(&self, max: Option<usize>) -> bool {
        let next = {
            let mut state = lock(&self.state);
            state.max = max;
            state.line.call()
        };
        let called = next.is_some();
        wake(next);
        called
    }

    /// The connection is over: nothing is taken any more, and what was is not sent.
    pub fn close(&self) {
        let (woken, queue) = {
            let mut state = lock(&self.state);
            state.closed = true;
            (state.line.take(), std::mem::take(&mut state.queue))
        };
        woken.wake();
        drop(queue);
    }

    fn tell(&self, first: bool) -> bool {
        if first {
            // Not a store: several may tell at a time, and the task has to see what each of them did before.
            self.news.swap(true, Ordering::AcqRel);
        }
        first
    }

    fn drop_unsent(&self, evicted: Evicted) {
        self.count_unsent(evicted.len() as u64);
        for item in evicted {
            if let Some(fate) = item.fate {
                fate.tell(DatagramFate::Dropped);
            }
        }
    }

    fn count_unsent(&self, datagrams: u64) {
        if datagrams > 0 {
            self.unsent.fetch_add(datagrams, Ordering::Relaxed);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::shared::datagrams::FateSender;
    use crate::driver::testing::CountingWaker;

    const LEN: usize = 100;

    /// Room for so many of [`LEN`] bytes.
    fn queue(datagrams: usize) -> Outgoing {
        let config = TransportConfig::builder().datagram_send_buffer_size(datagrams * datagram_weight(LEN));
        let queue = Outgoing::new(&config.build().unwrap());
        queue.set_max(Some(1000));
        queue
    }

    fn item(number: u8) -> Item {
        Item { data: vec![number; LEN].into(), deadline: None, level: 0, fate: None }
    }

    fn taken(queue: &Outgoing) -> Vec<u8> {
        let mut into = Levels::default();
        queue.take(&mut into);
        std::iter::from_fn(|| into.pop()).map(|item| item.data[0]).collect()
    }

    const OLDEST: Option<DatagramPolicy> = Some(DatagramPolicy::DropOldest);
    const NEWEST: Option<DatagramPolicy> = Some(DatagramPolicy::DropNewest);

    #[test]
    fn the_first_wakes_and_what_is_taken_still_counts() {
        let queue = queue(3);
        assert_eq!(queue.push(item(0), NEWEST), Ok(true));
        assert_eq!(queue.push(item(1), NEWEST), Ok(false));
        assert_eq!(queue.space(), LEN);
        assert_eq!(taken(&queue), [0, 1]);
        assert_eq!(queue.push(item(2), NEWEST), Ok(true));
        assert_eq!((queue.push(item(3), NEWEST), queue.space()), (Err(Refused::Full), 0));
        assert!(!queue.set_held(datagram_weight(LEN)));
        assert_eq!(queue.push(item(4), NEWEST), Ok(false));
        assert_eq!((taken(&queue), queue.unsent()), (vec![2, 4], 1));
        assert!(taken(&queue).is_empty());
    }

    #[test]
    fn old_ones_give_way_and_are_told() {
        let queue = queue(2);
        let (fate, watch) = FateSender::pair();
        assert_eq!(queue.push(Item { fate: Some(fate), ..item(0) }, OLDEST), Ok(true));
        for number in 1..4 {
            assert_eq!(queue.push(item(number), OLDEST), Ok(false));
        }
        assert_eq!((watch.fate(), queue.unsent()), (DatagramFate::Dropped, 2));
        let mut many: Vec<Bytes> = (4..9).map(|number| vec![number; LEN].into()).collect();
        assert_eq!(queue.push_some(&mut many, None, OLDEST), Ok(false));
        assert!(many.is_empty());
        assert_eq!(taken(&queue), [7, 8]);
    }

    #[test]
    fn what_matters_more_stays() {
        let queue = queue(3);
        for (number, level) in [(0, 0), (1, 5), (2, -1), (3, 0), (4, 0)] {
            assert_eq!(queue.push(Item { level, ..item(number) }, OLDEST), Ok(number == 0));
        }
        assert_eq!(queue.push(Item { level: -1, ..item(5) }, OLDEST), Err(Refused::Full));
        assert_eq!((taken(&queue), queue.unsent()), (vec![1, 3, 4], 3));
        assert!(!queue.set_held(0));
        for number in 0..4 {
            queue.push(item(number), OLDEST).unwrap();
        }
        assert_eq!(queue.push(Item { level: -1, ..item(5) }, OLDEST), Err(Refused::Full));
        assert_eq!(taken(&queue), [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let off = Outgoing::new(&TransportConfig::builder().datagram_send_buffer_size(0).build().unwrap());
        off.set_max(Some(1));
        assert_eq!((off.push(item(0), None), off.max()), (Err(Refused::Disabled), None));
        let queue = queue(3);
        queue.set_max(Some(LEN));
        let mut many = vec![Bytes::from(vec![0; LEN]), Bytes::from(vec![0; LEN + 1])];
        assert_eq!(queue.push_some(&mut many, None, None), Ok(true));
        assert_eq!(many.len(), 1);
        assert_eq!(queue.push_some(&mut many, None, None), Err(Refused::TooLarge(LEN)));
        queue.set_max(None);
        assert_eq!(queue.push(item(0), None), Err(Refused::Unsupported));
        queue.close();
        assert_eq!(queue.push(item(0), None), Err(Refused::Closed));
        assert!(taken(&queue).is_empty());
    }

    #[test]
    fn who_waits_is_served_in_line() {
        let queue = queue(2);
        queue.push(item(0), NEWEST).unwrap();
        queue.push(item(1), NEWEST).unwrap();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..3).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 3];
        let mut items = [2, 3, 4].map(|number| Some(item(number)));
        for n in 0..3 {
            let cx = Context::from_waker(&wakers[n]);
            assert!(queue.poll_push(&mut items[n], &mut tickets[n], &cx).is_pending());
        }
        assert_eq!(taken(&queue), [0, 1]);
        assert!(queue.set_held(0), "it will see whether the first comes");
        assert_eq!([0, 1, 2].map(|n: usize| counts[n].wakes()), [1, 0, 0]);
        assert_eq!(queue.push(item(9), NEWEST), Err(Refused::Full), "not before those in line");
        let cx = Context::from_waker(&wakers[2]);
        assert!(queue.poll_push(&mut items[2], &mut tickets[2], &cx).is_pending());
        assert!(queue.cancel(tickets[0].unwrap()), "the task looks after the next");
        assert_eq!(counts[1].wakes(), 1);
        for n in [1, 2] {
            let cx = Context::from_waker(&wakers[n]);
            assert_eq!(queue.poll_push(&mut items[n], &mut tickets[n], &cx), Poll::Ready(Ok(n == 1)));
        }
        assert_eq!((counts[2].wakes(), taken(&queue)), (1, vec![3, 4]));
        assert!(items[0].is_some(), "who gives up keeps it");
        assert_eq!(tickets[1..], [None; 2]);
    }

    #[test]
    fn nothing_gives_way_in_vain() {
        let queue = queue(3);
        for (number, level) in [(0, 0), (1, 5), (2, 5)] {
            queue.push(Item { level, ..item(number) }, OLDEST).unwrap();
        }
        let large = Item { data: vec![9; 3 * LEN].into(), ..item(9) };
        assert_eq!(queue.push(large, OLDEST), Err(Refused::Full));
        assert_eq!((queue.unsent(), taken(&queue)), (1, vec![1, 2, 0]));
    }

    /// A line of three, and room for two.
    #[test]
    fn who_is_called_and_stays_away_holds_nobody_up() {
        let queue = queue(2);
        queue.push(item(0), NEWEST).unwrap();
        queue.push(item(1), NEWEST).unwrap();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..4).map(|_| CountingWaker::pair()).unzip();
        let wakes = || counts.iter().map(|count| count.wakes()).collect::<Vec<_>>();
        let mut tickets = [None; 4];
        let mut items = [2, 3, 4, 5].map(|number| Some(item(number)));
        let mut poll = |n: usize| {
            queue.poll_push(&mut items[n], &mut tickets[n], &Context::from_waker(&wakers[n])).is_ready()
        };
        assert!((0..3).all(|n| !poll(n)) && taken(&queue) == [0, 1]);
        assert_eq!((queue.set_held(0), wakes()), (true, vec![1, 0, 0, 0]));
        assert_eq!((queue.set_held(0), wakes()), (true, vec![1, 0, 0, 0]), "it has time to come");
        assert_eq!((queue.set_held(0), wakes()), (true, vec![1, 1, 0, 0]));
        assert!(!poll(2), "not its turn");
        assert!(poll(1) && wakes() == [1, 1, 1, 0]);
        for _ in 0..2 {
            queue.set_held(0);
        }
        assert!(!queue.set_held(0), "there is nobody left to call");
        assert!(poll(3), "and who comes now need not wait for them");
        assert!(!poll(0) && taken(&queue) == [3, 5], "when it comes, it waits as it did before");
        assert!(queue.set_held(0) && wakes() == [2, 1, 1, 0]);
        assert!(!poll(3) || items[3].is_none());
    }

    #[test]
    fn who_is_called_to_hear_of_another_size_holds_nobody_up_either() {
        let queue = queue(1);
        queue.push(item(0), NEWEST).unwrap();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 2];
        for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
            assert!(queue.poll_push(&mut Some(item(1)), ticket, &Context::from_waker(waker)).is_pending());
        }
        assert_eq!(taken(&queue), [0]);
        assert!(queue.set_max(Some(LEN)), "the task looks after it");
        assert!(!queue.set_max(Some(LEN + 1)), "it does already");
        assert!(queue.set_held(0) && queue.set_held(0));
        assert_eq!((counts[0].wakes(), counts[1].wakes()), (1, 1));
    }

    /// The first in line wants more than there is, and is alive: those behind it do not overtake it.
    #[test]
    fn who_comes_and_finds_too_little_keeps_its_turn() {
        let queue = queue(4);
        for number in 0..4 {
            queue.push(item(number), NEWEST).unwrap();
        }
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 2];
        let mut items = [Some(Item { data: vec![8; 2 * LEN].into(), ..item(8) }), Some(item(9))];
        let mut poll = |n: usize| {
            queue.poll_push(&mut items[n], &mut tickets[n], &Context::from_waker(&wakers[n])).is_ready()
        };
        assert!(!poll(0) && !poll(1) && taken(&queue).len() == 4);
        let held = 3 * datagram_weight(LEN);
        for _ in 0..5 {
            assert!(!queue.set_held(held), "the task would look again for ever");
            assert!(!poll(0));
        }
        assert_eq!((counts[0].wakes(), counts[1].wakes()), (0, 0));
        assert!(!poll(1));
        assert!(queue.set_held(held / 3) && counts[0].wakes() == 1);
        assert!(poll(0) && poll(1));
    }

    #[test]
    fn the_end_wakes_all() {
        let queue = queue(1);
        let (fate, watch) = FateSender::pair();
        queue.push(Item { fate: Some(fate), ..item(0) }, None).unwrap();
        let (waker, count) = CountingWaker::pair();
        let (mut many, mut ticket) = (vec![Bytes::from(vec![0; LEN])], None);
        let cx = Context::from_waker(&waker);
        assert!(queue.poll_push_some(&mut many, None, &mut ticket, &cx).is_pending());
        queue.close();
        assert_eq!((count.wakes(), watch.fate()), (1, DatagramFate::Unknown));
        let polled = queue.poll_push_some(&mut many, None, &mut ticket, &cx);
        assert_eq!((polled, many.len()), (Poll::Ready(Err(Refused::Closed)), 1));
    }
}
