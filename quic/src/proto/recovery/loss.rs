//! From sent packets and ACK frames to acknowledged and lost tokens (RFC 9002 §A.5, §A.7, §A.10, §A.11 and §B).

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::reordering::Late;
use super::{AckRequests, PathCc, PathId, PtoContext};
use crate::packet::{
    Acked, CongestionEvent, EcnCounts, LostPacket, PacketNumber, SpaceId, TransportError, TransportErrorCode,
};
use crate::proto::path::SizeReport;
use crate::proto::space::{LossBounds, SentPacket, Space, Spaces, Token};

/// Lost packets over this many probe timeouts mean persistent congestion (RFC 9002 §7.6.1).
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

/// What became of packets: the tokens to run the two matches over.
///
/// Kept by the connection and used again, so that no call allocates. A token may stand in `lost` of one call and in
/// `acked` of a later one: the packet was late, not lost. Run `acked` first: what a probe repeated and the peer now
/// has need not be sent a third time.
#[derive(Debug, Default)]
pub struct Fates {
    /// What newly acknowledged packets carried.
    pub acked: Vec<Token>,
    /// What newly lost packets carried.
    pub lost: Vec<Token>,
    /// The last ACK frame acknowledged something that none before it had.
    pub news: bool,
    /// What both say about the size of datagrams; taken by whoever owns the path.
    pub sizes: SizeReport,
    /// Bytes that are no longer in flight on other paths than the one in use: they say nothing about that
    /// (RFC 9000 §9.4).
    pub elsewhere: Vec<(PathId, u64)>,
    /// Packets of the path in use that were acknowledged after they had been declared lost; empty between calls.
    late: Vec<Late>,
}

impl Fates {
    /// Lets go of room; to be called where nothing is left in it.
    pub fn release_spare(&mut self) {
        let Self { acked, lost, elsewhere, late, .. } = self;
        acked.shrink_to_fit();
        lost.shrink_to_fit();
        elsewhere.shrink_to_fit();
        late.shrink_to_fit();
    }
}

/// The fields of an ACK frame beside its ranges.
#[derive(Debug, Copy, Clone, Default)]
pub struct AckInfo {
    /// ACK Delay, scaled by the peer's ack_delay_exponent.
    pub delay: Duration,
    /// The ECN counts, if the frame had them.
    pub ecn: Option<EcnCounts>,
}

/// Counters.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct RecoveryStats {
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets declared lost that counted as in flight.
    pub packets_lost: u64,
    /// Bytes in them.
    pub bytes_lost: u64,
    /// Packets acknowledged after they had been declared lost.
    pub spurious_losses: u64,
    /// Episodes of losses of which every packet arrived late: reductions that were taken back.
    pub spurious_congestions: u64,
    /// Probe timeouts that expired.
    pub probe_timeouts: u64,
    /// Episodes of losses or marks: one in a round trip at most, whatever the controller makes of it.
    pub congestion_events: u64,
    /// How often everything sent over a long time was lost.
    pub persistent_congestions: u64,
}

/// Loss detection of one connection.
#[derive(Debug, Default)]
pub struct Recovery {
    /// How often a probe timeout expired since an acknowledgment arrived.
    pub(super) pto_count: u32,
    /// When the timer was last set anew: a client that has nothing in flight probes from then on.
    pub(super) timer_base: Option<Instant>,
    /// What the peer was asked about its acknowledgments.
    pub ack_requests: AckRequests,
    /// Counters.
    pub stats: RecoveryStats,
}

impl Recovery {
    /// OnPacketSent: records a packet that was sent with the number `space.sent.next()`.
    pub fn on_packet_sent(
        &mut self,
        space: &mut Space,
        packet: SentPacket,
        tokens: &[Token],
        path: &mut PathCc,
    ) {
        self.stats.packets_sent += 1;
        space.sent.push(packet, tokens);
        if packet.ect0 {
            path.ecn.on_marked_sent(&mut space.ecn);
        }
        if packet.in_flight {
            if packet.ack_eliciting {
                space.last_ack_eliciting = Some(packet.time);
            }
            self.timer_base = Some(packet.time);
            path.on_sent(packet.time, u64::from(packet.size));
        }
    }

    /// OnAckReceived: `ranges` are those of the frame, in descending order. Appends to `fates`.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the peer acknowledges a packet that was never sent (RFC 9000 §13.1).
    #[expect(clippy::too_many_arguments, reason = "the frame, the two owners of state, and the way out")]
    pub fn on_ack(
        &mut self,
        now: Instant,
        id: SpaceId,
        spaces: &mut Spaces,
        ranges: impl Iterator<Item = RangeInclusive<PacketNumber>> + Clone,
        ack: AckInfo,
        path: &mut PathCc,
        context: PtoContext,
        fates: &mut Fates,
    ) -> Result<(), TransportError> {
        let Some(space) = spaces.get_mut(id) else { return Ok(()) };
        space.sent.check(ranges.clone()).map_err(|_| {
            TransportError::new(
                TransportErrorCode::PROTOCOL_VIOLATION,
                "acknowledged a packet that was never sent",
            )
        })?;
        let Some(largest) = ranges.clone().next().map(|range| *range.end()) else { return Ok(()) };
        let largest_before = space.largest_acked;
        let raised = largest_before.is_none_or(|before| largest > before);
        space.largest_acked = space.largest_acked.max(Some(largest));

        let newly = Newly::collect(space, ranges, largest, path.id, fates);
        self.stats.spurious_losses += newly.late;
        fates.news = newly.newest_sent.is_some();
        let Some(newest_sent) = newly.newest_sent else { return Ok(()) };
        space.largest_acked_sent = space.largest_acked_sent.max(Some(newest_sent));
        let acked_here = &mut path.largest_acked[id.index()];
        *acked_here = (*acked_here).max(newly.largest_here);

        if let Some(sent) = newly.largest_sent
            && newly.ack_eliciting
        {
            let delay = context.limit_ack_delay(id, ack.delay);
            path.rtt.update(now, now.saturating_duration_since(sent), delay);
        }
        for late in fates.late.drain(..) {
            let spurious = path.on_late(now, late, largest_before.unwrap_or(largest));
            self.stats.spurious_congestions += u64::from(spurious);
        }
        // A reordered ACK frame says nothing about ECN (RFC 9000 §13.4.2.1).
        if raised
            && path.ecn.on_ack(&mut space.ecn, newly.marked, ack.ecn)
            && let Some(sent) = newly.newest_here_sent
        {
            self.on_congestion_event(CongestionEvent { now, sent, lost_bytes: 0, ecn: true }, 0, path);
        }
        let in_flight = path.in_flight();
        path.on_left_flight(newly.bytes);
        let lost_bytes = self.detect_lost(now, id, spaces, path, context, fates);
        if newly.bytes + newly.late_bytes > 0 {
            path.on_acked(&Acked {
                now,
                bytes: newly.bytes,
                late_bytes: newly.late_bytes,
                lost_bytes,
                newest_sent: newly.newest_in_flight_sent.or(newly.newest_here_sent).unwrap_or(newest_sent),
                in_flight,
                app_limited: path.is_app_limited(),
                rtt: path.rtt.get(),
            });
        }
        // RFC 9002 §6.2.1: not while the server may still be validating our address.
        if context.peer_completed_address_validation || id == SpaceId::Handshake {
            self.pto_count = 0;
        }
        self.timer_base = Some(now);
        let forget_before = now.checked_sub(path.rtt.pto() + context.max_ack_delay);
        if let Some(space) = spaces.get_mut(id) {
            space.sent.forget(forget_before);
        }
        Ok(())
    }

    /// DetectAndRemoveLostPackets and OnPacketsLost. Returns how many bytes left the flight of the path in use.
    pub(super) fn detect_lost(
        &mut self,
        now: Instant,
        id: SpaceId,
        spaces: &mut Spaces,
        path: &mut PathCc,
        context: PtoContext,
        fates: &mut Fates,
    ) -> u64 {
        let others = spaces.iter().filter(|(other, _)| *other != id);
        let acked_elsewhere = others.filter_map(|(_, space)| space.largest_acked_sent).max();
        let Some(space) = spaces.get_mut(id) else { return 0 };
        let Some(largest_acked) = space.largest_acked else { return 0 };
        let loss_delay = path.loss_delay();
        let mut lost = Lost::default();
        let mut run =
            LostRun { first_sample: path.rtt.first_sample(), acked_elsewhere, ..LostRun::default() };
        let sent_before = now.checked_sub(loss_delay);
        let active = path.id;
        let bounds = LossBounds {
            largest_acked,
            active: (active, path.largest_acked[id.index()]),
            packet_threshold: path.packet_threshold(),
            sent_before,
        };
        let Fates { lost: tokens, elsewhere, sizes, .. } = fates;
        let oldest = space.sent.detect_lost(now, bounds, tokens, |pn, packet, after_acked| {
            if packet.path == active {
                sizes.on_lost(pn, packet.size, packet.mtu_probe);
                if lost.add(packet) {
                    let (sent, bytes) = (packet.time, packet.size.into());
                    path.on_lost(&LostPacket {
                        now,
                        sent,
                        bytes,
                        begins_gap: after_acked || lost.packets == 1,
                    });
                }
                run.add(packet, after_acked);
            } else if packet.in_flight {
                leave(elsewhere, packet);
            }
        });
        space.loss_time = oldest.map(|sent| sent + loss_delay);

        let left = lost.bytes + lost.probe_bytes;
        path.on_left_flight(left);
        let Some(sent) = lost.newest_sent else { return left };
        self.stats.packets_lost += u64::from(lost.packets);
        self.stats.bytes_lost += lost.bytes;
        path.ecn.on_marked_lost(lost.marked);
        let event = CongestionEvent { now, sent, lost_bytes: lost.bytes, ecn: false };
        self.on_congestion_event(event, lost.packets, path);
        let duration = (path.rtt.pto() + context.max_ack_delay) * PERSISTENT_CONGESTION_THRESHOLD;
        if run.longest > duration {
            self.stats.persistent_congestions += 1;
            path.on_persistent_congestion(now);
            self.ack_requests.hurry();
        }
        left
    }

    /// Another path is in use: its timer has not expired yet.
    pub fn on_path_change(&mut self, now: Instant) {
        self.pto_count = 0;
        self.timer_base = Some(now);
        self.ack_requests.hurry();
    }

    fn on_congestion_event(&mut self, event: CongestionEvent, packets: u32, path: &mut PathCc) {
        if path.on_congestion_event(&event, packets) {
            self.stats.congestion_events += 1;
        }
    }

    /// OnPacketNumberSpaceDiscarded: the keys of a space are gone (RFC 9002 §6.4). Its tokens are forgotten.
    pub fn discard_space(&mut self, now: Instant, space: &Space, path: &mut PathCc) {
        path.on_left_flight(space.sent.bytes_in_flight());
        self.reset_timer(now);
    }

    /// Takes back all that is outstanding in a space and appends what it carried to `fates.lost`, without calling it
    /// congestion: after a Retry (RFC 9002 §6.3), or where a server rejected 0-RTT.
    pub fn retract_space(&mut self, now: Instant, space: &mut Space, path: &mut PathCc, fates: &mut Fates) {
        path.on_left_flight(space.sent.bytes_in_flight());
        space.sent.retract(&mut fates.lost);
        space.last_ack_eliciting = None;
        space.loss_time = None;
        space.largest_acked_sent = None;
        self.reset_timer(now);
    }

    fn reset_timer(&mut self, now: Instant) {
        self.pto_count = 0;
        self.timer_base = Some(now);
    }
}

/// The packets that an ACK frame newly acknowledged, summed up.
#[derive(Debug, Default)]
struct Newly {
    /// When the packet with the frame's largest number was sent, if it is among them.
    largest_sent: Option<Instant>,
    /// When the newest of them was sent; `None` if there are none.
    newest_sent: Option<Instant>,
    newest_in_flight_sent: Option<Instant>,
    /// The largest number among them that took the path in use; what follows counts only those.
    largest_here: Option<PacketNumber>,
    /// When the newest of those was sent.
    newest_here_sent: Option<Instant>,
    ack_eliciting: bool,
    /// Bytes that were in flight until now.
    bytes: u64,
    /// Packets that left with ECT(0).
    marked: u64,
    /// Packets that had been declared lost, on any path.
    late: u64,
    /// Bytes in those of them that counted as in flight.
    late_bytes: u64,
}

impl Newly {
    fn collect(
        space: &mut Space,
        ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
        largest: PacketNumber,
        active: PathId,
        fates: &mut Fates,
    ) -> Self {
        let mut newly = Self::default();
        let Fates { acked: tokens, elsewhere, sizes, late: late_here, .. } = fates;
        for range in ranges {
            space.sent.acknowledge(range, tokens, |pn, packet, late| {
                newly.newest_sent = newly.newest_sent.max(Some(packet.time));
                newly.late += u64::from(late);
                if packet.path != active {
                    if packet.in_flight && !late {
                        leave(elsewhere, packet);
                    }
                    return;
                }
                sizes.on_acked(pn, packet.size, packet.mtu_probe, late);
                if pn == largest {
                    newly.largest_sent = Some(packet.time);
                }
                newly.largest_here = newly.largest_here.max(Some(pn));
                newly.newest_here_sent = newly.newest_here_sent.max(Some(packet.time));
                newly.ack_eliciting |= packet.ack_eliciting;
                newly.marked += u64::from(packet.ect0);
                if packet.in_flight && late {
                    newly.late_bytes += u64::from(packet.size);
                    if !packet.mtu_probe {
                        late_here.push(Late { pn, sent: packet.time });
                    }
                } else if packet.in_flight {
                    newly.bytes += u64::from(packet.size);
                    newly.newest_in_flight_sent = newly.newest_in_flight_sent.max(Some(packet.time));
                }
            });
        }
        newly
    }
}

/// Takes a packet out of flight on a path that is not in use.
fn leave(elsewhere: &mut Vec<(PathId, u64)>, packet: &SentPacket) {
    match elsewhere.last_mut() {
        Some((path, bytes)) if *path == packet.path => *bytes += u64::from(packet.size),
        _ => elsewhere.push((packet.path, packet.size.into())),
    }
}

/// The packets that were declared lost together and counted as in flight, summed up.
#[derive(Debug, Default)]
struct Lost {
    packets: u32,
    bytes: u64,
    marked: u32,
    newest_sent: Option<Instant>,
    /// Bytes in probes for a larger MTU, which count for nothing else.
    probe_bytes: u64,
}

impl Lost {
    /// True if the loss is a sign of congestion.
    fn add(&mut self, packet: &SentPacket) -> bool {
        if packet.mtu_probe {
            self.probe_bytes += u64::from(packet.size);
        } else if packet.in_flight {
            self.packets += 1;
            self.bytes += u64::from(packet.size);
            self.marked += u32::from(packet.ect0);
            self.newest_sent = Some(packet.time);
            return true;
        }
        false
    }
}

/// The longest time between two lost ack-eliciting packets with no acknowledged one between them (RFC 9002 §7.6.2).
#[derive(Debug, Default)]
struct LostRun {
    /// Packets sent before the first RTT sample do not count.
    first_sample: Option<Instant>,
    /// When the newest packet that was acknowledged in another space was sent.
    acked_elsewhere: Option<Instant>,
    start: Option<Instant>,
    longest: Duration,
}

impl LostRun {
    fn add(&mut self, packet: &SentPacket, after_acked: bool) {
        if after_acked {
            self.start = None;
        }
        let counts = self.first_sample.is_some_and(|first| packet.time > first)
            && self.acked_elsewhere.is_none_or(|acked| packet.time > acked);
        if packet.ack_eliciting && !packet.mtu_probe && counts {
            let start = *self.start.get_or_insert(packet.time);
            self.longest = self.longest.max(packet.time.saturating_duration_since(start));
        }
    }
}
