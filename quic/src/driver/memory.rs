//! How much memory a connection may hold: at the end of a turn, everything that bounds it follows what has changed, on the
//! connection and on the endpoint.

use super::connection_task::ConnectionTask;
use super::inbox::{self, Inbox};
use super::shared::budget::Pressure;
use super::shared::send_pool;

/// The receive window of a connection while memory is short, bytes; also the least that is accepted for sending, and the most
/// of datagrams that waits to be read, and to be sent.
const SCANTY: u64 = 64 << 10;

impl ConnectionTask {
    /// Adapts the bounds. True if there is to be another turn soon.
    pub(super) fn adapt(&mut self) -> bool {
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
        if pressure == Pressure::Low {
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
        account.set_granted(streams.committed().saturating_sub(self.first_window));
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
    use crate::driver::connection_task::ServerTask;
    use crate::driver::inbox::Inbox;
    use crate::driver::shared::budget;
    use crate::driver::shared::connection::Connection;

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
