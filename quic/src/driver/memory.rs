//! How much memory a connection may hold: at the end of a turn, everything that bounds it follows what has changed, on the
//! connection and on the endpoint.

use std::time::{Duration, Instant};

use super::connection_task::ConnectionTask;
use super::inbox::{self, Inbox};
use super::shared::budget::Pressure;
use super::shared::send_pool;

/// The receive window of a connection while memory is short, bytes; also the least that is accepted for sending, and the most
/// of datagrams that waits to be read, and to be sent.
const SCANTY: u64 = 64 << 10;

/// A connection on which hardly any stream data has arrived for so long does not use its receive window. Longer than a busy
/// one is ever silent, and than most pauses between a request and the next.
const IDLE: Duration = Duration::from_secs(5);

/// When the receive window was last of use.
pub(super) struct WindowUse {
    /// Stream data that had arrived then, bytes.
    received: u64,
    /// When that was.
    at: Instant,
    /// That is long ago.
    idle: bool,
}

impl WindowUse {
    /// In use from now on.
    pub(super) fn new(now: Instant) -> Self {
        Self { received: 0, at: now, idle: false }
    }

    /// `window` is a small one. What leaves most of that unused makes no use of a larger one: a few bytes now and then, which
    /// cost a peer nothing, are not enough to keep it.
    fn observe(&mut self, now: Instant, received: u64, window: u64) {
        if received.saturating_sub(self.received) >= (window / 4).max(1) {
            (self.received, self.at) = (received, now);
        }
        self.idle = now >= self.at + IDLE;
    }
}

impl ConnectionTask {
    /// When the task has to look again although the protocol has nothing to do: its window may be out of use then.
    pub(super) fn window_deadline(&self) -> Option<Instant> {
        let grown = self.ending.account.granted() > 0;
        (grown && !self.window_use.idle).then(|| self.window_use.at + IDLE)
    }

    /// Adapts the bounds. True if there is to be another turn soon.
    pub(super) fn adapt(&mut self, now: Instant) -> bool {
        let streams = self.connection.streams();
        let small = self.first_window.min(streams.receive_window());
        self.window_use.observe(now, streams.received(), small);
        let unread = self.connection.streams().unread();
        let held = unread + self.ending.shared.pool.used() + self.pinned + self.datagrams_held();
        self.ending.account.hold(held);
        let pressure = self.ending.account.pressure();
        let limit = match pressure {
            Pressure::Low => (2 * self.connection.congestion_window()).max(send_pool::FLOOR),
            Pressure::High | Pressure::Full => SCANTY,
        };
        self.ending.shared.pool.set_limit(limit.min(self.send_budget));
        self.limit_datagrams((pressure != Pressure::Low).then_some(SCANTY as usize));
        let grown = self.tune_window(pressure);
        self.follow_window(pressure) | grown
    }

    /// Lets the receive window of the connection grow, or makes it small. True if the peer is to hear of it.
    fn tune_window(&mut self, pressure: Pressure) -> bool {
        let account = &mut self.ending.account;
        let streams = self.connection.streams();
        let before = streams.receive_window();
        let idle = self.window_use.idle;
        if pressure == Pressure::Low && idle {
            if self.tuned && before > self.first_window {
                // The credit that is out stays out. Whoever uses it finds that it is not renewed, and has to earn more.
                streams.set_receive_window_ceiling(self.first_window);
            }
        } else if pressure == Pressure::Low {
            // As small as one that begins it may be for nothing.
            let beyond = |window: u64| window.saturating_sub(self.first_window);
            if let Some(window) = streams.wanted_receive_window()
                && account.grow(beyond(window) - beyond(before), window)
            {
                streams.set_receive_window_ceiling(window);
            }
        } else if self.tuned && before > SCANTY {
            streams.set_receive_window_ceiling(SCANTY.min(self.first_window));
            account.count_shrunk();
        }
        account.set_granted(streams.committed().saturating_sub(self.first_window), idle);
        streams.receive_window() > before
    }

    /// Tells others how large the receive window of the connection is.
    fn follow_window(&mut self, pressure: Pressure) -> bool {
        let window = self.connection.streams().receive_window();
        let limit = if pressure == Pressure::Low { Inbox::limit(window) } else { inbox::MIN_LIMIT };
        if limit != std::mem::replace(&mut self.inbox_limit, limit) {
            self.ending.shared.inbox.set_limit(limit);
        }
        let before = std::mem::replace(&mut self.window, window);
        if window != before {
            self.ending.shared.set_window(window);
        }
        // Readers may have waited for a quarter of the larger one.
        window < before
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::driver::connection_task::ServerTask;
    use crate::driver::inbox::Inbox;
    use crate::driver::shared::budget;
    use crate::driver::shared::connection::Connection;
    use crate::packet::epoch;

    #[test]
    fn a_few_bytes_now_and_then_do_not_keep_a_window() {
        const SMALL: u64 = 1 << 20;
        let mut window_use = WindowUse::new(epoch());
        let mut used = |seconds: u64, received: u64| {
            window_use.observe(epoch() + Duration::from_secs(seconds), received, SMALL);
            !window_use.idle
        };
        assert!(used(1, SMALL / 4) && used(4, SMALL / 4 + 1) && used(5, SMALL / 4 + 1000));
        assert!(!used(6, SMALL / 4 + 2000) && !used(7, SMALL / 2 - 1));
        assert!(used(8, SMALL / 2), "together they are enough");
        assert!(used(12, SMALL / 2) && !used(13, SMALL / 2));
    }

    /// What is beside these, as measured: connection IDs and routes, TLS, the timer, what the allocator keeps.
    const REST: usize = 3072;

    #[test]
    fn an_idle_connection_costs_what_it_is_charged_for() {
        let [task, shared, inbox] = [size_of::<ServerTask>(), size_of::<Connection>(), size_of::<Inbox>()];
        let bytes = task + shared + inbox + REST;
        assert!(bytes <= 15 << 10, "{task} + {shared} + {inbox} + {REST} = {bytes}");
        assert!(bytes as u64 <= budget::CONNECTION);
    }
}
