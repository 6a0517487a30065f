//! For tests that drop calls at their await points.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future of `make` once, and drops it if it is not ready; makes a new one the next time it may be.
pub async fn cancelling<F: Future>(mut make: impl FnMut() -> F) -> F::Output {
    loop {
        let polled = {
            let future = pin!(make());
            future.poll(&mut Context::from_waker(Waker::noop()))
        };
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
}
