//! Wakes the task of a connection on the clean→dirty edge only.

use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::driver::lock;
use crate::driver::sync::{AtomicBool, Mutex};

/// "There is news": set by anybody, cleared by the one task that looks.
#[derive(Debug, Default)]
pub struct Signal {
    dirty: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// There is news: wakes the task unless somebody has done so since it last looked.
    pub fn set(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            let waker = lock(&self.waker).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The task is about to look at everything. News that comes from now on wakes `waker` again.
    pub fn clear(&self, waker: &Waker) {
        let mut registered = lock(&self.waker);
        if !registered.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
        drop(registered);
        self.dirty.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    #[test]
    fn only_the_first_news_after_a_look_wakes() {
        let (waker, count) = CountingWaker::pair();
        let signal = Signal::default();
        signal.set();
        signal.clear(&waker);
        assert_eq!(count.wakes(), 0);
        signal.set();
        signal.set();
        assert_eq!(count.wakes(), 1);
        signal.clear(&waker);
        signal.set();
        assert_eq!(count.wakes(), 2);
    }
}
