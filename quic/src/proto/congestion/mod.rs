//! Congestion control and pacing (RFC 9002 §7).
//!
//! The built-in controllers are variants of an enum, so that the calls of each packet are plain calls; the user's own
//! sit behind [`Controller`]. Owned by [`PathCc`](super::recovery::PathCc).

mod bbr;
mod cubic;
mod hystart;
mod new_reno;
mod pacer;

#[cfg(test)]
mod tests;

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use new_reno::NewReno;
pub use pacer::Pacer;

use std::time::Instant;

use crate::packet::{Acked, CongestionControl, CongestionEvent, Controller, LostPacket, Rtt};

/// RFC 9002 §7.2.
fn initial_window(max_datagram_size: u64) -> u64 {
    (10 * max_datagram_size).min((2 * max_datagram_size).max(14_720))
}

/// The controller of one path.
#[derive(Debug)]
pub enum Congestion {
    /// NewReno.
    NewReno(NewReno),
    /// CUBIC.
    Cubic(Cubic),
    /// BBR; most connections do not have it.
    Bbr(Box<Bbr>),
    /// The user's own.
    Custom(Box<dyn Controller>),
}

macro_rules! dispatch {
    ($self:expr, $controller:ident => $call:expr) => {
        match $self {
            Congestion::NewReno($controller) => $call,
            Congestion::Cubic($controller) => $call,
            Congestion::Bbr($controller) => $call,
            Congestion::Custom($controller) => $call,
        }
    };
}

impl Congestion {
    /// A controller of the kind that was configured. Only BBR asks for the seed.
    #[must_use]
    pub fn new(
        now: Instant,
        control: &CongestionControl,
        initial_window: Option<u64>,
        max_datagram_size: u16,
        seed: impl FnOnce() -> u64,
    ) -> Self {
        match control {
            CongestionControl::NewReno => Self::NewReno(NewReno::new(max_datagram_size, initial_window)),
            CongestionControl::Cubic => Self::Cubic(Cubic::new(max_datagram_size, initial_window)),
            CongestionControl::Bbr => {
                Self::Bbr(Box::new(Bbr::new(now, max_datagram_size, initial_window, seed())))
            }
            CongestionControl::Custom(factory) => {
                Self::Custom(factory.new_controller(now, max_datagram_size))
            }
        }
    }

    /// See [`Controller::on_sent`].
    pub fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        dispatch!(self, controller => controller.on_sent(now, bytes, in_flight));
    }

    /// See [`Controller::on_app_limited`].
    pub fn on_app_limited(&mut self, now: Instant, in_flight: u64) {
        dispatch!(self, controller => controller.on_app_limited(now, in_flight));
    }

    /// See [`Controller::on_ack`].
    pub fn on_ack(&mut self, acked: &Acked) {
        dispatch!(self, controller => controller.on_ack(acked));
    }

    /// See [`Controller::on_lost`].
    pub fn on_lost(&mut self, packet: &LostPacket) {
        dispatch!(self, controller => controller.on_lost(packet));
    }

    /// See [`Controller::on_congestion_event`].
    pub fn on_congestion_event(&mut self, event: &CongestionEvent) {
        dispatch!(self, controller => controller.on_congestion_event(event));
    }

    /// See [`Controller::on_spurious_congestion`].
    pub fn on_spurious_congestion(&mut self, now: Instant) {
        dispatch!(self, controller => controller.on_spurious_congestion(now));
    }

    /// See [`Controller::on_persistent_congestion`].
    pub fn on_persistent_congestion(&mut self, now: Instant) {
        dispatch!(self, controller => controller.on_persistent_congestion(now));
    }

    /// See [`Controller::on_max_datagram_size`].
    pub fn on_max_datagram_size(&mut self, max_datagram_size: u16) {
        dispatch!(self, controller => controller.on_max_datagram_size(max_datagram_size));
    }

    /// See [`Controller::window`].
    #[must_use]
    pub fn window(&self) -> u64 {
        dispatch!(self, controller => controller.window())
    }

    /// How fast to send, bytes per second: 5/4 of a window per round trip unless the controller knows better
    /// (RFC 9002 §7.7).
    #[must_use]
    pub fn pacing_rate(&self, rtt: Rtt) -> u64 {
        if let Some(rate) = dispatch!(self, controller => controller.pacing_rate()) {
            return rate;
        }
        let nanos = rtt.smoothed.as_nanos().max(1);
        let per_second = u128::from(self.window()) * 1_250_000_000 / nanos;
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}
