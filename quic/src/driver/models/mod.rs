//! Models of what handles and tasks share: loom runs each with its threads interleaved in all ways that matter.
//!
//! ```text
//! RUSTFLAGS="--cfg gannet_loom" cargo test -p gannet --lib --target-dir target/loom driver::models
//! ```
//!
//! It is not `--cfg loom`, which would change tokio as well. A model that loses a wake-up ends in a deadlock, which loom reports with the steps that led there. How many preemptions
//! each order may have is bounded: faults that need more than three are rare. `LOOM_MAX_PREEMPTIONS` sets another bound.

mod datagrams;
mod endings;
mod streams;
mod wakes;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::shared::connection::Connection;
use super::shared::signal::Signal;

/// Runs `model` in all orders.
fn model(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

struct Parked(loom::sync::Notify);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls until it is ready, and sleeps between.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parked = Arc::new(Parked(loom::sync::Notify::new()));
    let waker = Waker::from(parked.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parked.0.wait(),
        }
    }
}

/// Polls once and drops the future.
fn give_up<F: Future>(future: F) -> Option<F::Output> {
    poll_once(pin!(future))
}

/// Polls once; nobody will hear of what comes.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    let parked = Arc::new(Parked(loom::sync::Notify::new()));
    match future.poll(&mut Context::from_waker(&Waker::from(parked))) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A task that looks at everything, as often as its signal says so, until `done` has seen enough.
fn task(signal: &Signal, mut done: impl FnMut() -> bool) {
    block_on(std::future::poll_fn(|cx| {
        signal.clear(cx.waker());
        if done() { Poll::Ready(()) } else { Poll::Pending }
    }));
}

fn connection() -> Arc<Connection> {
    super::shared::connection::testing::connection()
}
