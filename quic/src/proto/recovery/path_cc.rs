//! What decides how fast one path is used: round-trip time, congestion window, pacer, ECN.

use std::time::{Duration, Instant};

use super::reordering::{Late, Reordering};
use super::rtt::GRANULARITY;
use super::{EcnValidation, RttEstimator};
use crate::packet::{Acked, CongestionControl, CongestionEvent, LostPacket, PacketNumber};
use crate::proto::congestion::{Congestion, Pacer};

/// Names a path's round-trip time and congestion state, so that a packet's fate reaches those of the path it took.
///
/// It wraps around long after the last packet of its first owner is settled.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub struct PathId(pub u16);

/// How many bytes of packets in flight may leave now. ACK-only packets and probes do not ask.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Allowance {
    /// So many, at least one full datagram; a batch should hold no more than that.
    Bytes(u64),
    /// None before an acknowledgment arrives: the congestion window is used up.
    Window,
    /// None before this time.
    Paced(Instant),
}

/// Why a round of sending ended.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum RoundEnd {
    /// Nothing was left to send, or flow control held it back.
    OutOfData,
    /// The congestion window is used up, or the pacer waits.
    Held,
    /// Neither: whoever sends went on to something else.
    Interrupted,
}

/// Round-trip time and congestion state of one path. Part of the connection's path; knows no packets.
#[derive(Debug)]
pub struct PathCc {
    /// What packets say that were sent under this state.
    pub id: PathId,
    /// The largest packet number that was acknowledged of those, by space.
    pub(in crate::proto) largest_acked: [Option<PacketNumber>; 3],
    /// The round-trip time.
    pub rtt: RttEstimator,
    /// Whether packets are marked, and whether the marks arrive.
    pub ecn: EcnValidation,
    reordering: Reordering,
    congestion: Congestion,
    pacer: Pacer,
    in_flight: u64,
    max_datagram_size: u16,
    round_end: RoundEnd,
    /// Bytes in flight when the newest packet had been sent.
    peak: u64,
    /// One datagram may exceed the window: recovery began (RFC 9002 §7.3.2).
    recovery_datagram: bool,
}

impl PathCc {
    /// For a new path that carries UDP payloads of `max_datagram_size` bytes. `initial_window` replaces the window of
    /// RFC 9002 §7.2, and does not concern the user's own controllers; `seed` is asked for if chance has a part in it.
    #[must_use]
    pub fn new(
        now: Instant,
        control: &CongestionControl,
        initial_window: Option<u64>,
        initial_rtt: Duration,
        max_datagram_size: u16,
        ecn: bool,
        seed: impl FnOnce() -> u64,
    ) -> Self {
        Self {
            id: PathId::default(),
            largest_acked: [None; 3],
            rtt: RttEstimator::new(initial_rtt),
            ecn: EcnValidation::new(ecn),
            reordering: Reordering::default(),
            congestion: Congestion::new(now, control, initial_window, max_datagram_size, seed),
            pacer: Pacer::new(now),
            in_flight: 0,
            max_datagram_size,
            round_end: RoundEnd::Held,
            peak: 0,
            recovery_datagram: false,
        }
    }

    /// Bytes in flight on this path.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The congestion window, bytes.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.congestion.window()
    }

    /// The congestion window, full datagrams.
    #[must_use]
    pub fn window_packets(&self) -> u64 {
        self.window() / u64::from(self.max_datagram_size.max(1))
    }

    /// How many full datagrams the pacer lets out at once.
    #[must_use]
    pub(super) fn burst_packets(&self) -> u64 {
        let datagram = u64::from(self.max_datagram_size.max(1));
        Pacer::burst(self.congestion.pacing_rate(self.rtt.get()), datagram) / datagram
    }

    /// How much the congestion window leaves, bytes.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.window().saturating_sub(self.in_flight)
    }

    /// True if one datagram of this size may be sent now, whatever the size of others.
    #[must_use]
    pub fn has_room(&self, now: Instant, size: u16) -> bool {
        self.room() >= size.into() && matches!(self.allowance(now), Allowance::Bytes(_))
    }

    /// How much may be sent now.
    #[must_use]
    pub fn allowance(&self, now: Instant) -> Allowance {
        let datagram = u64::from(self.max_datagram_size);
        let room = self.room();
        if room < datagram {
            return if self.recovery_datagram { Allowance::Bytes(datagram) } else { Allowance::Window };
        }
        let rate = self.congestion.pacing_rate(self.rtt.get());
        match self.pacer.allowance(now, rate, self.rtt.smoothed(), datagram) {
            Ok(bytes) => Allowance::Bytes(bytes.min(room)),
            Err(at) => Allowance::Paced(at),
        }
    }

    /// The moment from which the pacer lets the next datagram out, if that is later than `now` and the window would
    /// allow it.
    #[must_use]
    pub fn paced_until(&self, now: Instant) -> Option<Instant> {
        match self.allowance(now) {
            Allowance::Paced(at) => Some(at),
            Allowance::Bytes(_) | Allowance::Window => None,
        }
    }

    /// Whether the window is larger than what the sender makes of it (RFC 9002 §7.8). One that is busy with other
    /// things may use half of it: then the next round of slow start could use it all.
    #[must_use]
    pub fn is_app_limited(&self) -> bool {
        match self.round_end {
            RoundEnd::OutOfData => true,
            RoundEnd::Held => false,
            RoundEnd::Interrupted => self.peak < self.window() / 2,
        }
    }

    /// Call it when a round of sending ends.
    pub fn end_round(&mut self, now: Instant, end: RoundEnd) {
        let used_up = self.room() < self.max_datagram_size.into();
        self.round_end = if used_up { RoundEnd::Held } else { end };
        if self.round_end == RoundEnd::OutOfData {
            self.congestion.on_app_limited(now, self.in_flight);
        }
    }

    /// The largest UDP payload that the path carries changed.
    pub fn set_max_datagram_size(&mut self, max_datagram_size: u16) {
        if self.max_datagram_size != max_datagram_size {
            self.max_datagram_size = max_datagram_size;
            self.congestion.on_max_datagram_size(max_datagram_size);
        }
    }

    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64) {
        self.in_flight += bytes;
        self.peak = self.in_flight;
        self.recovery_datagram = false;
        let (congestion, rtt) = (&self.congestion, &self.rtt);
        let datagram = u64::from(self.max_datagram_size);
        self.pacer.on_sent(now, bytes, datagram, || congestion.pacing_rate(rtt.get()));
        self.congestion.on_sent(now, bytes, self.in_flight);
    }

    /// Bytes were acknowledged or lost.
    pub fn on_left_flight(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    pub(super) fn on_acked(&mut self, acked: &Acked) {
        self.congestion.on_ack(acked);
    }

    pub(super) fn on_lost(&mut self, packet: &LostPacket) {
        self.congestion.on_lost(packet);
    }

    /// How many later packets must be acknowledged before a packet is lost (RFC 9002 §6.1.1).
    pub(super) fn packet_threshold(&self) -> u64 {
        self.reordering.packet_threshold()
    }

    /// How long after it was sent a packet is lost if a later one arrived (RFC 9002 §6.1.2).
    pub(super) fn loss_delay(&self) -> Duration {
        let rtt = self.rtt.get();
        self.reordering.loss_delay(rtt.smoothed.max(rtt.latest), GRANULARITY)
    }

    /// Packets were declared lost, or marked. True if that begins another episode.
    pub(super) fn on_congestion_event(&mut self, event: &CongestionEvent, packets: u32) -> bool {
        let begins = self.reordering.on_congestion_event(event, packets);
        let before = self.window();
        self.congestion.on_congestion_event(event);
        self.recovery_datagram |= self.window() < before;
        begins
    }

    /// A packet of this path arrived that had been declared lost; `largest_acked` had been acknowledged before. True if
    /// no packet of the last episode of losses is missing any more: it was none.
    pub(super) fn on_late(&mut self, now: Instant, late: Late, largest_acked: PacketNumber) -> bool {
        let (loss_delay, smoothed) = (self.loss_delay(), self.rtt.smoothed());
        let spurious = self.reordering.on_late(now, late, largest_acked, loss_delay, smoothed);
        if spurious {
            self.congestion.on_spurious_congestion(now);
        }
        spurious
    }

    pub(super) fn on_persistent_congestion(&mut self, now: Instant) {
        self.rtt.on_persistent_congestion();
        self.reordering.on_persistent_congestion();
        self.congestion.on_persistent_congestion(now);
    }
}
