//! Congestion controllers: the trait that users implement and the choice they configure (RFC 9002 §7).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known about the round-trip time of a path (RFC 9002 §5).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Rtt {
    /// The newest sample.
    pub latest: Duration,
    /// The moving average, adjusted for acknowledgment delay.
    pub smoothed: Duration,
    /// The mean deviation.
    pub variation: Duration,
    /// The smallest sample, not adjusted.
    pub min: Duration,
}

/// Packets that one ACK frame newly acknowledged.
#[derive(Debug, Copy, Clone)]
pub struct Acked {
    /// When the ACK frame arrived.
    pub now: Instant,
    /// Bytes that left the network with it; packets that did not count as in flight are left out. 0 if all had been
    /// declared lost: then there are `late_bytes`.
    pub bytes: u64,
    /// When the newest of the packets was sent.
    pub newest_sent: Instant,
    /// Bytes of packets that had been declared lost and arrived after all; not part of `bytes`.
    pub late_bytes: u64,
    /// Bytes that were declared lost because of it; [`Controller::on_lost`] told of each packet before.
    pub lost_bytes: u64,
    /// Bytes in flight before the ACK frame: `bytes` and `lost_bytes` have to be taken off.
    pub in_flight: u64,
    /// The sender did not use the whole window: too little data, or flow control held it back (RFC 9002 §7.8).
    pub app_limited: bool,
    /// The path's round-trip time; this ACK frame is already counted in.
    pub rtt: Rtt,
}

/// A packet that counted as in flight and was declared lost.
#[derive(Debug, Copy, Clone)]
pub struct LostPacket {
    /// When it was declared lost.
    pub now: Instant,
    /// When it was sent.
    pub sent: Instant,
    /// Its size.
    pub bytes: u64,
    /// The packet before it was not lost: a new gap in what arrives.
    pub begins_gap: bool,
}

/// A sign of congestion: loss, or more packets marked by the network.
#[derive(Debug, Copy, Clone)]
pub struct CongestionEvent {
    /// When it was noticed.
    pub now: Instant,
    /// When the newest of the lost or marked packets was sent.
    pub sent: Instant,
    /// Bytes declared lost; 0 for ECN marks.
    pub lost_bytes: u64,
    /// The sign was an increase of the peer's ECN-CE count.
    pub ecn: bool,
}

/// Decides how many bytes may be in flight on one path, and how fast they are sent.
///
/// The transport counts the bytes in flight and asks for [`Controller::window`] before it sends. Calls for acknowledged
/// packets come once per ACK frame, not once per packet. Time comes in with the calls: a controller reads no clock.
///
/// A controller that goes by windows and losses needs only the methods without a default. One that models the path
/// can keep what it wants to know of a packet under the time at which it was sent: all packets of a batch share that
/// time, times never go back, and acknowledgments and losses name it.
///
/// | when | calls |
/// |---|---|
/// | a datagram was sent | [`on_sent`](Controller::on_sent) |
/// | there is nothing more to send, and room in the window | [`on_app_limited`](Controller::on_app_limited) |
/// | an ACK frame came | [`on_spurious_congestion`](Controller::on_spurious_congestion); for ECN marks [`on_congestion_event`](Controller::on_congestion_event); then what losses call; then [`on_ack`](Controller::on_ack) |
/// | packets are lost | [`on_lost`](Controller::on_lost) for each, then [`on_congestion_event`](Controller::on_congestion_event), perhaps [`on_persistent_congestion`](Controller::on_persistent_congestion) |
///
/// # Example
/// A controller that keeps a fixed rate, and twice what that yields in a round trip in flight:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
/// use gannet::config::{Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, TransportConfig};
///
/// /// Bytes per second.
/// #[derive(Debug, Copy, Clone)]
/// struct FixedRate(u64);
///
/// #[derive(Debug)]
/// struct Fixed {
///     rate: u64,
///     window: u64,
/// }
///
/// impl Controller for Fixed {
///     fn on_ack(&mut self, acked: &Acked) {
///         let per_round = u128::from(self.rate) * acked.rtt.smoothed.as_micros() / 1_000_000;
///         self.window = (2 * per_round as u64).max(12_000);
///     }
///     fn on_congestion_event(&mut self, _event: &CongestionEvent) {}
///     fn on_persistent_congestion(&mut self, _now: Instant) {
///         self.window = 2400;
///     }
///     fn on_max_datagram_size(&mut self, _bytes: u16) {}
///     fn window(&self) -> u64 {
///         self.window
///     }
///     fn pacing_rate(&self) -> Option<u64> {
///         Some(self.rate)
///     }
/// }
///
/// impl ControllerFactory for FixedRate {
///     fn new_controller(&self, _now: Instant, _max_datagram_size: u16) -> Box<dyn Controller> {
///         Box::new(Fixed { rate: self.0, window: 12_000 })
///     }
/// }
///
/// let transport = TransportConfig::builder()
///     .congestion_control(CongestionControl::Custom(Arc::new(FixedRate(1_000_000))))
///     .build()?;
/// # Ok::<(), gannet::config::ConfigError>(())
/// ```
///
/// This one ignores loss; a controller for networks that are shared must not (RFC 8085 §3.1).
pub trait Controller: fmt::Debug + Send + Sync {
    /// A datagram with `bytes` bytes that count as in flight was sent; `in_flight` includes them.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        let _ = (now, bytes, in_flight);
    }

    /// There is nothing more to send although the window has room: too little data, or flow control holds it back.
    /// What is sent until more data come says little about the path.
    fn on_app_limited(&mut self, now: Instant, in_flight: u64) {
        let _ = (now, in_flight);
    }

    /// An ACK frame newly acknowledged packets.
    fn on_ack(&mut self, acked: &Acked);

    /// A packet was lost. Comes for each, in the order in which they were sent; how to answer that can wait for
    /// [`Controller::on_congestion_event`], which follows.
    fn on_lost(&mut self, packet: &LostPacket) {
        let _ = packet;
    }

    /// Packets were lost, or marked by the network. May come several times for one episode: a reduction belongs to
    /// the first, later ones have a `sent` before it (RFC 9002 §7.3.2).
    fn on_congestion_event(&mut self, event: &CongestionEvent);

    /// All packets that were declared lost in the newest episode arrived after all, and the network marked none: there
    /// was no congestion, and the reduction may be taken back (RFC 9438 §4.9.2). An episode is all that was sent
    /// between its first event and the one before it.
    fn on_spurious_congestion(&mut self, now: Instant) {
        let _ = now;
    }

    /// Everything sent over a long time was lost (RFC 9002 §7.6): the window must fall to its minimum.
    fn on_persistent_congestion(&mut self, now: Instant);

    /// The largest UDP payload that the path carries changed, bytes.
    fn on_max_datagram_size(&mut self, max_datagram_size: u16);

    /// How many bytes may be in flight.
    fn window(&self) -> u64;

    /// How fast to send, bytes per second; `None` for a little more than a window per smoothed round trip.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

/// Makes a controller for each new path of each connection.
pub trait ControllerFactory: fmt::Debug + Send + Sync {
    /// A controller for a path that carries UDP payloads of `max_datagram_size` bytes.
    fn new_controller(&self, now: Instant, max_datagram_size: u16) -> Box<dyn Controller>;
}

/// Which congestion controller connections use, on each of their paths.
///
/// | | fills a path with random loss | leaves others their share | queue it keeps |
/// |---|---|---|---|
/// | [`NewReno`](CongestionControl::NewReno) | no | yes | as long as there is room |
/// | [`Cubic`](CongestionControl::Cubic) | no | yes | as long as there is room |
/// | [`Bbr`](CongestionControl::Bbr) | yes | mostly | short |
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum CongestionControl {
    /// NewReno, as RFC 9002 describes it.
    NewReno,
    /// CUBIC (RFC 9438), which fills fast and long paths much sooner after a loss, with HyStart++ (RFC 9406).
    #[default]
    Cubic,
    /// BBR version 3 (draft-ietf-ccwg-bbr-06): goes by the rate at which data arrive and the shortest round-trip time.
    /// Some loss does not slow it down.
    Bbr,
    /// The user's own.
    Custom(Arc<dyn ControllerFactory>),
}
