//! A place in a queue of waiters, given up when the future that holds it is dropped.

use std::future::poll_fn;
use std::task::{Context, Poll};

/// Polls `poll` until it is ready. When the future is dropped before, and has joined a queue, `cancel` is told.
pub(super) async fn wait<T>(
    mut poll: impl FnMut(&mut Option<u64>, &Context<'_>) -> Poll<T>,
    cancel: impl Fn(u64),
) -> T {
    let mut place = Place { ticket: None, cancel };
    poll_fn(|cx| poll(&mut place.ticket, cx)).await
}

struct Place<C: Fn(u64)> {
    ticket: Option<u64>,
    cancel: C,
}

impl<C: Fn(u64)> Drop for Place<C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            (self.cancel)(ticket);
        }
    }
}
