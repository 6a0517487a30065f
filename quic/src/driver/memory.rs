//! How much memory a connection may hold: at the end of a turn, everything that bounds it follows what has changed.

use super::connection_task::ConnectionTask;
use super::inbox::Inbox;
use super::shared::send_pool;

impl ConnectionTask {
    /// Adapts the bounds. True if there is to be another turn soon.
    pub(super) fn adapt(&mut self) -> bool {
        let floor = send_pool::FLOOR.min(self.send_budget);
        let limit = (2 * self.connection.congestion_window()).clamp(floor, self.send_budget);
        self.ending.shared.pool.set_limit(limit);
        self.follow_window()
    }

    /// Tells others how large the receive window of the connection is.
    fn follow_window(&mut self) -> bool {
        let window = self.connection.streams().receive_window();
        let before = std::mem::replace(&mut self.window, window);
        if window != before {
            self.ending.shared.set_window(window);
            self.ending.shared.inbox.set_limit(Inbox::limit(window));
        }
        // Readers may have waited for a quarter of the larger one.
        window < before
    }
}
