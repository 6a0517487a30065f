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
    /// Bytes that left the network with it; packets that did not count as in flight are left out.
    pub bytes: u64,
    /// When the newest of the packets was sent.
    pub newest_sent: Instant,
    /// Bytes in flight before the ACK frame.
    pub in_flight: u64,
    /// The sender did not use the whole window: too little data, or flow control held it back (RFC 9002 §7.8).
    pub app_limited: bool,
    /// The path's round-trip time; this ACK frame is already counted in.
    pub rtt: Rtt,
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

/// Decides how many bytes may be in flight on one path.
///
/// The transport counts the bytes in flight and asks for [`Controller::window`] before it sends. Calls for acknowledged
/// packets come once per ACK frame, not once per packet. Time comes in with the calls: a controller reads no clock.
pub trait Controller: fmt::Debug + Send + Sync {
    /// A datagram with `bytes` bytes that count as in flight was sent; `in_flight` includes them.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        let _ = (now, bytes, in_flight);
    }

    /// An ACK frame newly acknowledged packets.
    fn on_ack(&mut self, acked: &Acked);

    /// Packets were lost, or marked by the network. May come several times for one episode: a reduction belongs to
    /// the first, later ones have a `sent` before it (RFC 9002 §7.3.2).
    fn on_congestion_event(&mut self, event: &CongestionEvent);

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

/// Which congestion controller connections use.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum CongestionControl {
    /// NewReno, as RFC 9002 describes it.
    NewReno,
    /// CUBIC (RFC 9438), which fills fast and long paths much sooner after a loss, with HyStart++ (RFC 9406).
    #[default]
    Cubic,
    /// The user's own.
    Custom(Arc<dyn ControllerFactory>),
}
