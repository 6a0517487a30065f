//! What becomes of one datagram, for whoever asked.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::packet::DatagramFate;

#[derive(Debug)]
struct Shared {
    fate: DatagramFate,
    waker: Option<Waker>,
}

/// Where the fate of a datagram is told. Dropping it tells that nothing more will be known.
#[derive(Debug)]
pub struct FateSender(Arc<Mutex<Shared>>);

/// Where it is heard.
#[derive(Debug)]
pub struct FateWatch(Arc<Mutex<Shared>>);

impl FateSender {
    /// The two ends for a datagram that waits to be sent.
    pub fn pair() -> (Self, FateWatch) {
        let shared = Arc::new(Mutex::new(Shared { fate: DatagramFate::Queued, waker: None }));
        (Self(shared.clone()), FateWatch(shared))
    }

    /// Tells it; the first that is final counts.
    pub fn tell(&self, fate: DatagramFate) {
        let waker = {
            let mut shared = lock(&self.0);
            if shared.fate.is_final() {
                return;
            }
            shared.fate = fate;
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for FateSender {
    fn drop(&mut self) {
        self.tell(DatagramFate::Unknown);
    }
}

impl FateWatch {
    /// What is known now.
    pub fn fate(&self) -> DatagramFate {
        lock(&self.0).fate
    }

    /// Waits for a fate that `enough` is content with. One waits at a time.
    pub fn poll(&self, cx: &Context<'_>, enough: impl FnOnce(DatagramFate) -> bool) -> Poll<DatagramFate> {
        let mut shared = lock(&self.0);
        if enough(shared.fate) {
            return Poll::Ready(shared.fate);
        }
        shared.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::CountingWaker;

    #[test]
    fn the_first_final_fate_counts_and_dropping_is_one() {
        let (waker, count) = CountingWaker::pair();
        let cx = Context::from_waker(&waker);
        let (sender, watch) = FateSender::pair();
        assert!(watch.poll(&cx, DatagramFate::is_final).is_pending());
        sender.tell(DatagramFate::Sent);
        assert_eq!((count.wakes(), watch.fate()), (1, DatagramFate::Sent));
        assert!(watch.poll(&cx, DatagramFate::is_final).is_pending());
        sender.tell(DatagramFate::Lost);
        sender.tell(DatagramFate::Acknowledged);
        drop(sender);
        assert_eq!((count.wakes(), watch.fate()), (2, DatagramFate::Lost));
        let (sender, watch) = FateSender::pair();
        assert!(watch.poll(&cx, DatagramFate::is_final).is_pending());
        drop(sender);
        assert_eq!(watch.poll(&cx, DatagramFate::is_final), Poll::Ready(DatagramFate::Unknown));
        assert_eq!(count.wakes(), 3);
    }
}
