//! How many streams of one direction this end may open, and who waits to open one.

use std::task::{Context, Poll, Waker};

use super::waiters::{Waiters, Woken};
use crate::driver::lock;
use crate::driver::sync::Mutex;

/// The credit of one direction.
///
/// Waiters stay in the queue until they take an index themselves, so that one that is cancelled takes none.
#[derive(Debug, Default)]
pub struct OpenCredit {
    state: Mutex<State>,
}

/// Which stream a handle may open.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Opening {
    /// How often the streams of the connection began anew before (0-RTT that was rejected).
    pub epoch: u32,
    /// Its index since then.
    pub index: u64,
}

#[derive(Debug, Default)]
struct State {
    epoch: u32,
    /// Index of the next stream.
    next: u64,
    /// The peer allows indices below this.
    limit: u64,
    waiters: Waiters,
}

impl State {
    fn available(&self) -> u64 {
        self.limit.saturating_sub(self.next)
    }

    fn take(&mut self) -> Opening {
        self.next += 1;
        Opening { epoch: self.epoch, index: self.next - 1 }
    }

    /// The wakers of those between two places in the queue.
    fn wakers(&self, from: u64, to: u64) -> Woken {
        let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(self.waiters.len());
        Woken((place(from)..place(to)).filter_map(|place| self.waiters.waker_at(place)).collect())
    }
}

impl OpenCredit {
    /// Takes an index if there is one that nobody waits for.
    pub fn try_open(&self) -> Option<Opening> {
        let mut state = lock(&self.state);
        (state.available() > state.waiters.len() as u64).then(|| state.take())
    }

    /// Takes an index, or waits in line. A caller that gives up must call [`OpenCredit::cancel`].
    pub fn poll_open(&self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<Opening> {
        let mut state = lock(&self.state);
        let place = ticket.and_then(|ticket| state.waiters.position(ticket));
        if (place.unwrap_or(state.waiters.len()) as u64) < state.available() {
            if let Some(ticket) = ticket.take() {
                state.waiters.remove(ticket);
            }
            return Poll::Ready(state.take());
        }
        state.waiters.register(ticket, cx.waker());
        Poll::Pending
    }

    /// Leaves the line; whoever gains the place learns of it.
    pub fn cancel(&self, ticket: u64) {
        let waker: Option<Waker> = {
            let mut state = lock(&self.state);
            let available = state.available();
            match state.waiters.remove(ticket) {
                Some(place) if (place as u64) < available => {
                    usize::try_from(available - 1).ok().and_then(|place| state.waiters.waker_at(place))
                }
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The peer allows streams with indices below `limit`.
    pub fn raise(&self, limit: u64) {
        let woken = {
            let mut state = lock(&self.state);
            let before = state.available();
            state.limit = state.limit.max(limit);
            state.wakers(before, state.available())
        };
        woken.wake();
    }

    /// Streams begin anew: those opened so far never were. Who waits goes on waiting.
    pub fn restart(&self) {
        let mut state = lock(&self.state);
        state.epoch += 1;
        (state.next, state.limit) = (0, 0);
    }

    /// The connection is over: wakes all, who find that out for themselves.
    pub fn close(&self) {
        let woken = lock(&self.state).waiters.take();
        woken.wake();
    }

    /// True if somebody waits.
    pub fn is_blocked(&self) -> bool {
        !lock(&self.state).waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(index: u64) -> Opening {
        Opening { epoch: 0, index }
    }
    use crate::driver::testing::CountingWaker;

    // covers: R9000-2.1-01
    #[test]
    fn indices_go_out_in_order_up_to_the_limit() {
        let credit = OpenCredit::default();
        assert_eq!(credit.try_open(), None);
        credit.raise(2);
        assert_eq!(
            (credit.try_open(), credit.try_open(), credit.try_open()),
            (Some(opening(0)), Some(opening(1)), None)
        );
        credit.raise(1);
        assert_eq!(credit.try_open(), None, "a limit never shrinks");
    }

    #[test]
    fn waiters_are_served_first_come_first_served() {
        let credit = OpenCredit::default();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..3).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 3];
        for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
            assert!(credit.poll_open(ticket, &Context::from_waker(waker)).is_pending());
        }
        assert!(credit.is_blocked());
        credit.raise(2);
        assert_eq!(counts.iter().map(|c| c.wakes()).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(credit.try_open(), None, "what is left belongs to those in line");
        assert!(credit.poll_open(&mut tickets[2], &Context::from_waker(&wakers[2])).is_pending());
        assert_eq!(
            credit.poll_open(&mut tickets[1], &Context::from_waker(&wakers[1])),
            Poll::Ready(opening(0))
        );
        assert_eq!(
            credit.poll_open(&mut tickets[0], &Context::from_waker(&wakers[0])),
            Poll::Ready(opening(1))
        );
    }

    #[test]
    fn a_cancelled_waiter_takes_no_index_and_passes_its_place_on() {
        let credit = OpenCredit::default();
        let (wakers, counts): (Vec<_>, Vec<_>) = (0..2).map(|_| CountingWaker::pair()).unzip();
        let mut tickets = [None; 2];
        for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
            assert!(credit.poll_open(ticket, &Context::from_waker(waker)).is_pending());
        }
        credit.raise(1);
        assert_eq!((counts[0].wakes(), counts[1].wakes()), (1, 0));
        credit.cancel(tickets[0].unwrap());
        assert_eq!(counts[1].wakes(), 1);
        assert_eq!(
            credit.poll_open(&mut tickets[1], &Context::from_waker(&wakers[1])),
            Poll::Ready(opening(0))
        );
        credit.cancel(7);
    }

    #[test]
    fn indices_begin_anew_and_those_before_are_told_apart() {
        let credit = OpenCredit::default();
        credit.raise(2);
        assert_eq!(credit.try_open(), Some(opening(0)));
        credit.restart();
        assert_eq!(credit.try_open(), None);
        let (waker, count) = CountingWaker::pair();
        let (mut ticket, cx) = (None, Context::from_waker(&waker));
        assert!(credit.poll_open(&mut ticket, &cx).is_pending());
        credit.raise(1);
        assert_eq!(count.wakes(), 1);
        assert_eq!(credit.poll_open(&mut ticket, &cx), Poll::Ready(Opening { epoch: 1, index: 0 }));
    }
}
