//! The tasks, and the only locks.
//!
//! ```text
//!            one per socket                          one per connection
//!   socket ─► endpoint task ─► routes ─► inbox ─► connection task ─► socket
//!                 │                                  │       ▲
//!                 ▼ Incoming                   events│       │ready list, commands
//!              accept queue                          ▼       │
//!            ┌──────────────────── shared parts ────────────────────┐
//!            │      Endpoint, Connection, SendStream, RecvStream     │
//!            └──────────────────────────────────────────────────────┘
//! ```
//!
//! An **endpoint task** owns the receive half of a socket; an endpoint may have several, and one set of routes. It hands each run of datagrams to the inbox of the connection
//! it belongs to, and gives the stateless answers. A **connection task** owns a [`proto::Connection`] by value: TLS,
//! sealing and opening happen in it alone, and it sends straight to the socket. Handles of the application are `Arc`s of
//! small shared parts; they never wait for packets, encryption or system calls.
//!
//! [`proto::Connection`]: crate::proto::Connection
//!
//! # Locks
//!
//! Each is a `std::sync::Mutex`; no two are held together; poison is ignored, because no section leaves its data half
//! changed. Nothing is woken, parsed, encrypted or sent under a lock: wakers are taken out and woken afterwards.
//!
//! | lock | where | protects | longest section |
//! |---|---|---|---|
//! | send | `shared::send` | chunks, budget, FIN and reset, waker of a stream | a push; the task swaps the queue |
//! | recv | `shared::recv` | readable chunks, end, stop, waker of a stream | a swap; copying happens outside |
//! | send pool | `shared::send_pool` | writers that wait for the connection's budget | a push or a few pops |
//! | open credit | `shared::open_credit` | next index, limit, FIFO of waiters, per direction | a pop or a push |
//! | accepted | `shared::accepted` | streams, or incoming connections, and who waits for them | a push or a pop |
//! | datagrams out | `shared::datagrams` | what waits to be sent, and who waits to add to it | a push; the task swaps |
//! | datagrams in | `shared::datagrams` | what waits to be read, and who waits for it | a swap, or moving as many as are asked for |
//! | fate | `shared::datagrams` | what became of one datagram, and who waits for that | a store |
//! | ready list | `shared::ready` | streams with news | a push; the task swaps |
//! | signal | `shared::signal` | the waker of the task | a clone of it |
//! | registry, configurations, rng | `shared::endpoint` | connections of the endpoint, and what their names say | a copy of the list of connections |
//! | commands, progress, snapshot | `shared::connection` | what their names say | a store or a copy |
//! | inbox | `inbox` | bursts and the memory they pin | a push; the task swaps |
//! | sockets | `shared::sockets` | which socket an identifier stands for | a copy of the list of sockets |
//! | networks | `shared::admission` | handshakes by address of the client | one hash operation |
//! | allowance | `allowance` | how many stateless answers may leave | arithmetic |
//! | routes | `routes` | who gets which datagrams, per shard | one hash operation |
//! | recent IDs | `unique_ids` | connection IDs that may not be routed yet | a scan of 64 |
//! | token log and store, nonces of QUIC-LB | `config` | used tokens, tokens of servers, the next nonce | arithmetic, one hash operation |
//! | TX pool | `tx_pool` | free batches | a push or a pop |
//!
//! The memory budget of the endpoint (`shared::budget`) has none: two sums that a task adds to at the end of its turn.
//!
//! Every poll of a handle registers its waker **and then** looks whether the connection is closed; closing sets that
//! mark first and wakes then. So nobody sleeps through the end.

pub mod accept;
pub mod allowance;
pub mod connection_task;
mod datagrams;
pub mod ending;
pub mod endpoint_task;
pub mod inbox;
mod memory;
#[cfg(all(test, gannet_loom))]
mod models;
mod moving;
mod pump;
pub mod routes;
pub mod shared;
pub mod sync;
pub mod timer;
pub mod transmit;
pub mod tx_pool;
pub mod unique_ids;

use std::sync::PoisonError;

use self::sync::{Mutex, MutexGuard};

/// The clock of the driver; under tokio's paused time it stands still as well.
#[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day, for the age of tokens.
#[expect(clippy::disallowed_methods, reason = "tokens are compared between machines")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Locks, whoever panicked while holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(gannet_loom)))]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    //! What several tests of the driver need.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    /// Counts how often it is woken.
    #[derive(Default)]
    pub struct CountingWaker(AtomicUsize);

    impl CountingWaker {
        /// A waker and its count.
        pub fn pair() -> (Waker, Arc<Self>) {
            let count = Arc::new(Self::default());
            (Waker::from(count.clone()), count)
        }

        /// How often.
        pub fn wakes(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
