//! Tasks that wait for the same thing, in the order in which they came.

use std::collections::VecDeque;
use std::task::Waker;

/// A queue of wakers. Lives inside whatever lock protects the thing waited for.
#[derive(Debug, Default)]
pub struct Waiters {
    next_ticket: u64,
    /// Tickets ascend.
    queue: VecDeque<(u64, Waker)>,
}

impl Waiters {
    /// Joins the end of the queue, or keeps the place that `ticket` stands for.
    pub fn register(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        if let Some((_, registered)) =
            ticket.and_then(|t| self.position(t)).and_then(|i| self.queue.get_mut(i))
        {
            if !registered.will_wake(waker) {
                registered.clone_from(waker);
            }
            return;
        }
        self.queue.push_back((self.next_ticket, waker.clone()));
        *ticket = Some(self.next_ticket);
        self.next_ticket += 1;
    }

    /// As [`Waiters::register`], but who was taken out comes back to the place it had.
    pub fn rejoin(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        match *ticket {
            Some(number) if self.position(number).is_none() => {
                let at = self.queue.partition_point(|(other, _)| *other < number);
                self.queue.insert(at, (number, waker.clone()));
            }
            _ => self.register(ticket, waker),
        }
    }

    /// How many wait in front of the holder of `ticket`; `None` if it does not wait.
    pub fn position(&self, ticket: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()
    }

    /// Leaves the queue; returns how many waited in front.
    pub fn remove(&mut self, ticket: u64) -> Option<usize> {
        let position = self.position(ticket)?;
        self.queue.remove(position);
        Some(position)
    }

    /// The waker of the one at `position`, who stays in the queue.
    pub fn waker_at(&self, position: usize) -> Option<Waker> {
        self.queue.get(position).map(|(_, waker)| waker.clone())
    }

    /// Takes the first out of the queue.
    pub fn pop(&mut self) -> Option<Waker> {
        self.queue.pop_front().map(|(_, waker)| waker)
    }

    /// Takes all out of the queue, and the room they took.
    pub fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.queue).into_iter().map(|(_, waker)| waker).collect())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Wakers taken out of a lock, to be woken after it is released.
#[derive(Debug, Default)]
#[must_use = "they wait to be woken"]
pub struct Woken(pub Vec<Waker>);

impl Woken {
    /// Wakes them in order.
    pub fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    #[test]
    fn places_are_kept_and_given_up() {
        let (waker, count) = CountingWaker::pair();
        let mut waiters = Waiters::default();
        let (mut a, mut b, mut c) = (None, None, None);
        for ticket in [&mut a, &mut b, &mut c] {
            waiters.register(ticket, &waker);
        }
        waiters.register(&mut a, &waker);
        assert_eq!((waiters.len(), waiters.position(c.unwrap())), (3, Some(2)));
        assert_eq!(waiters.remove(b.unwrap()), Some(1));
        assert_eq!(waiters.remove(b.unwrap()), None);
        assert_eq!(waiters.position(c.unwrap()), Some(1));
        waiters.pop().unwrap().wake();
        assert_eq!((count.wakes(), waiters.position(a.unwrap())), (1, None));
        waiters.register(&mut a, &waker);
        assert_eq!(waiters.position(a.unwrap()), Some(1), "who was woken goes to the end");
        waiters.take().wake();
        assert_eq!((count.wakes(), waiters.is_empty()), (3, true));
    }
}
