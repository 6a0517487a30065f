//! What came in and waits for the application to take it, and who waits for it to come.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::waiters::Waiters;
use crate::driver::lock;
use crate::driver::sync::Mutex;

/// A queue with any number of consumers. Its producer bounds it.
#[derive(Debug)]
pub struct Accepted<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    waiters: Waiters,
    closed: bool,
}

impl<T> Default for Accepted<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), waiters: Waiters::default(), closed: false }),
        }
    }
}

impl<T> Accepted<T> {
    /// Adds an item; gives it back if the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let waker = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(item);
            }
            state.items.push_back(item);
            state.waiters.pop()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The first item; `None` once the queue is closed and empty. A caller that gives up must call
    /// [`Accepted::cancel`].
    pub fn poll_pop(&self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.state);
        if let Some(item) = state.items.pop_front() {
            if let Some(ticket) = ticket.take() {
                state.waiters.remove(ticket);
            }
            return Poll::Ready(Some(item));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waiters.register(ticket, cx.waker());
        Poll::Pending
    }

    /// Gives up waiting; an item that the waiter was woken for goes to the next.
    pub fn cancel(&self, ticket: u64) {
        let waker = {
            let mut state = lock(&self.state);
            match state.waiters.remove(ticket) {
                None if !state.items.is_empty() => state.waiters.pop(),
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    /// Refuses new items, and wakes all who wait; what is in the queue can still be taken.
    pub fn finish(&self) {
        let woken = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.waiters.take()
        };
        woken.wake();
    }

    /// Refuses new items, wakes all who wait, and returns what is left in the queue.
    pub fn close(&self) -> VecDeque<T> {
        let (items, woken) = {
            let mut state = lock(&self.state);
            state.closed = true;
            (std::mem::take(&mut state.items), state.waiters.take())
        };
        woken.wake();
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    #[test]
    fn a_waiter_that_gives_up_after_its_wake_passes_it_on() {
        let queue = Accepted::default();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 2];
        for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
            assert!(queue.poll_pop(ticket, &Context::from_waker(waker)).is_pending());
        }
        queue.push(7).unwrap();
        assert_eq!((counts[0].wakes(), counts[1].wakes()), (1, 0));
        queue.cancel(tickets[0].unwrap());
        assert_eq!(counts[1].wakes(), 1);
        assert_eq!(queue.poll_pop(&mut tickets[1], &Context::from_waker(&wakers[1])), Poll::Ready(Some(7)));
    }

    #[test]
    fn a_closed_queue_refuses_and_says_so() {
        let queue = Accepted::default();
        let (waker, count) = CountingWaker::pair();
        let mut ticket = None;
        assert!(queue.poll_pop(&mut ticket, &Context::from_waker(&waker)).is_pending());
        assert!(queue.close().is_empty());
        assert_eq!(count.wakes(), 1);
        assert_eq!(queue.push(1), Err(1));
        assert_eq!(queue.poll_pop(&mut ticket, &Context::from_waker(&waker)), Poll::Ready(None));
        let queue = Accepted::default();
        queue.push(7).unwrap();
        queue.finish();
        assert_eq!((queue.push(8), queue.len()), (Err(8), 1));
        assert_eq!(queue.poll_pop(&mut None, &Context::from_waker(&waker)), Poll::Ready(Some(7)));
    }
}
