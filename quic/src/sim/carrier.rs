//! What the handles of a network, its sockets and its task share; and the task, which lets time pass on the links.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::driver::lock;
use crate::driver::timer::Timer;
use crate::net::sim::{Datagram, Network};

use super::socket::Queue;

/// The links, the sockets, and the task's alarm. The lock of a socket's queue is taken under this one, never the other way
/// round.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) seed: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) links: Network,
    pub(super) sockets: BTreeMap<SocketAddr, Arc<Queue>>,
    /// Datagrams for which there was no socket, or no room in it.
    pub(super) undelivered: u64,
    /// Wakes the task before that time.
    alarm: Option<(Option<Instant>, Waker)>,
}

impl Carrier {
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        let links = Network::new(seed, now);
        let state = State { links, sockets: BTreeMap::new(), undelivered: 0, alarm: None };
        Self { seed, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Puts datagrams on their links, now.
    pub(super) fn send(&self, datagrams: impl Iterator<Item = Datagram>) {
        let alarm = {
            let mut state = self.lock();
            state.links.set_now(crate::driver::now());
            datagrams.for_each(|datagram| state.links.send(datagram));
            let next = state.links.next();
            state.alarm.take_if(|(at, _)| at.is_none_or(|at| next.is_some_and(|next| next < at)))
        };
        if let Some((_, waker)) = alarm {
            waker.wake();
        }
    }

    /// Delivers what has arrived by now; says when something happens next.
    fn deliver(&self, waker: &Waker) -> Option<Instant> {
        let mut woken = Vec::new();
        let next = {
            let mut state = self.lock();
            let now = crate::driver::now();
            while let Some(datagram) = state.links.advance(now) {
                let taken =
                    state.sockets.get(&datagram.to).is_some_and(|queue| queue.push(datagram, &mut woken));
                state.undelivered += u64::from(!taken);
            }
            let next = state.links.next();
            state.alarm = Some((next, waker.clone()));
            next
        };
        woken.into_iter().for_each(Waker::wake);
        next
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waker)) = state.alarm.take() {
            waker.wake();
        }
    }
}

/// Ends when no handle and no socket is left.
pub(super) struct Task {
    carrier: Weak<Carrier>,
    timer: Timer,
}

impl Task {
    pub(super) fn new(carrier: &Arc<Carrier>) -> Self {
        Self { carrier: Arc::downgrade(carrier), timer: Timer::default() }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(carrier) = self.carrier.upgrade() else { return Poll::Ready(()) };
            let next = carrier.deliver(cx.waker());
            drop(carrier);
            if !self.timer.poll(next, cx) {
                return Poll::Pending;
            }
        }
    }
}
