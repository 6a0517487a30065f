//! The timer of a connection: one tokio `Sleep`, moved only when it would fire too late.

use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

/// Fires at or after a deadline.
///
/// Deadlines mostly move later, and moving a `Sleep` costs more than an early wake now and then: so it is left alone
/// unless the deadline moves earlier.
#[derive(Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Wakes the task at `deadline`, perhaps earlier as well. True if the deadline has passed already.
    pub fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline else { return false };
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) => {
                    if self.armed.is_none_or(|armed| deadline < armed) {
                        sleep.as_mut().reset(deadline.into());
                        self.armed = Some(deadline);
                    }
                    sleep
                }
                None => {
                    self.armed = Some(deadline);
                    self.sleep.insert(Box::pin(tokio::time::sleep_until(deadline.into())))
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            let fired = self.armed.take();
            if fired.is_some_and(|at| at >= deadline) {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_later_leaves_the_timer_alone() {
        let start = now();
        let mut timer = Timer::default();
        let mut deadline = start + Duration::from_secs(1);
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            if polls == 2 {
                deadline += Duration::from_secs(1);
            }
            if timer.poll(Some(deadline), cx) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        assert_eq!((now() - start).as_secs(), 2);
        assert_eq!(polls, 3, "one early wake");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_earlier_is_kept() {
        let start = now();
        let mut timer = Timer::default();
        std::future::poll_fn(|cx| {
            assert!(!timer.poll(None, cx));
            assert!(!timer.poll(Some(start + Duration::from_secs(9)), cx));
            if timer.poll(Some(start + Duration::from_secs(1)), cx) {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
        assert_eq!((now() - start).as_secs(), 1);
    }

    fn now() -> Instant {
        crate::driver::now()
    }
}
