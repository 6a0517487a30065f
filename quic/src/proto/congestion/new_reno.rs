//! NewReno as RFC 9002 §7.3 and Appendix B describe it.

use std::time::Instant;

use super::initial_window;
use crate::packet::{Acked, CongestionEvent, Controller};

/// A window grows by the bytes acknowledged until the first loss, then by a datagram per window; each episode of loss
/// halves it.
#[derive(Debug, Clone)]
pub struct NewReno {
    window: u64,
    /// The slow start threshold.
    ssthresh: u64,
    /// When the last reduction happened: what was sent before that causes no other, and does not let the window grow.
    recovery_start: Option<Instant>,
    /// Bytes acknowledged towards the next step of congestion avoidance.
    acked: u64,
    max_datagram_size: u64,
    /// The window before anything happened, while nothing happened.
    untouched: bool,
    /// Window and threshold before the last reduction.
    undo: Option<(u64, u64)>,
}

impl NewReno {
    /// A controller in slow start.
    #[must_use]
    pub fn new(max_datagram_size: u16, window: Option<u64>) -> Self {
        let max_datagram_size = u64::from(max_datagram_size);
        Self {
            window: window.unwrap_or(initial_window(max_datagram_size)).max(2 * max_datagram_size),
            ssthresh: u64::MAX,
            recovery_start: None,
            acked: 0,
            max_datagram_size,
            untouched: window.is_none(),
            undo: None,
        }
    }

    fn minimum_window(&self) -> u64 {
        2 * self.max_datagram_size
    }

    fn in_recovery(&self, sent: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent <= start)
    }
}

impl Controller for NewReno {
    fn on_ack(&mut self, acked: &Acked) {
        if acked.app_limited || self.in_recovery(acked.newest_sent) {
            return;
        }
        self.untouched = false;
        let mut bytes = acked.bytes;
        if self.window < self.ssthresh {
            let step = bytes.min(self.ssthresh - self.window);
            self.window += step;
            bytes -= step;
        }
        self.acked += bytes;
        if self.acked >= self.window {
            self.acked -= self.window;
            self.window += self.max_datagram_size;
        }
    }

    fn on_congestion_event(&mut self, event: &CongestionEvent) {
        if self.in_recovery(event.sent) {
            return;
        }
        self.untouched = false;
        self.recovery_start = Some(event.now);
        self.undo = Some((self.window, self.ssthresh));
        self.ssthresh = self.window / 2;
        self.window = self.ssthresh.max(self.minimum_window());
        self.acked = 0;
    }

    fn on_spurious_congestion(&mut self, _now: Instant) {
        // RFC 9438 §4.9.2, which is as true of NewReno.
        if let Some((window, ssthresh)) = self.undo.take().filter(|(window, _)| self.window < *window) {
            self.window = window;
            self.ssthresh = ssthresh;
            self.recovery_start = None;
        }
    }

    fn on_persistent_congestion(&mut self, _now: Instant) {
        self.undo = None;
        self.window = self.minimum_window();
        self.recovery_start = None;
        self.acked = 0;
    }

    fn on_max_datagram_size(&mut self, max_datagram_size: u16) {
        self.max_datagram_size = u64::from(max_datagram_size);
        if self.untouched {
            // Larger datagrams are no reason to send more bytes (RFC 8899 §3, item 7).
            self.window = self.window.min(initial_window(self.max_datagram_size));
        }
        self.window = self.window.max(self.minimum_window());
    }

    fn window(&self) -> u64 {
        self.window
    }
}
