//! Packets that were declared lost and arrived after all: how much longer to wait from then on (RFC 9002 §6.1), and
//! when a whole episode of losses turns out to have been none (RFC 9438 §4.9.2).

use std::time::{Duration, Instant};

use crate::packet::{CongestionEvent, PacketNumber};

/// Where the packet threshold begins (kPacketThreshold, RFC 9002 §6.1.1); it is never lower.
pub const PACKET_THRESHOLD: u64 = 3;

/// It grows no further: the time threshold finds losses as well, a moment later.
const MAX_PACKET_THRESHOLD: u64 = 256;

/// Where the time threshold begins (kTimeThreshold, RFC 9002 §6.1.2): so many eighths of a round trip beyond one.
const EIGHTHS: u32 = 1;

/// It grows no further: two round trips, the bound of RFC 8985 §6.2.
const MAX_EIGHTHS: u32 = 8;

/// After so many episodes of real losses both thresholds are what they were at first (RFC 8985 §6.2).
const PERSISTENCE: u8 = 16;

/// A packet that was acknowledged after it had been declared lost.
#[derive(Debug, Copy, Clone)]
pub(super) struct Late {
    pub(super) pn: PacketNumber,
    pub(super) sent: Instant,
}

/// What loss detection of one path has learned from its mistakes.
#[derive(Debug)]
pub(super) struct Reordering {
    packet_threshold: u64,
    eighths: u32,
    /// When the time threshold last grew: once a round trip at most.
    raised: Option<Instant>,
    /// Episodes since a packet was late.
    real_episodes: u8,
    episode: Option<Episode>,
    /// Where an episode begins if there is none: the end of the last that was real.
    last_end: Option<Instant>,
}

/// From one reduction to the next.
#[derive(Debug)]
struct Episode {
    /// Packets sent after `from` and until `to` belong to it.
    from: Option<Instant>,
    to: Instant,
    /// Packets of it that were declared lost and have not arrived.
    missing: u64,
    /// There is a sign of congestion that no packet can take back.
    proven: bool,
}

impl Default for Reordering {
    fn default() -> Self {
        Self {
            packet_threshold: PACKET_THRESHOLD,
            eighths: EIGHTHS,
            raised: None,
            real_episodes: 0,
            episode: None,
            last_end: None,
        }
    }
}

impl Reordering {
    /// How many later packets must be acknowledged before a packet is lost.
    pub(super) fn packet_threshold(&self) -> u64 {
        self.packet_threshold
    }

    /// How long after it was sent a packet is lost if a later one arrived; `rtt` is the larger of the newest sample
    /// and the average. At least `granularity`.
    pub(super) fn loss_delay(&self, rtt: Duration, granularity: Duration) -> Duration {
        (rtt * (8 + self.eighths) / 8).max(granularity)
    }

    /// So many packets were declared lost, or some were marked. True if that begins an episode.
    pub(super) fn on_congestion_event(&mut self, event: &CongestionEvent, packets: u32) -> bool {
        match &mut self.episode {
            Some(episode) if event.sent <= episode.to => {
                episode.missing += u64::from(packets);
                episode.proven |= event.ecn;
                false
            }
            episode => {
                let from = episode.as_ref().map(|episode| episode.to).or(self.last_end);
                *episode = Some(Episode { from, to: event.now, missing: packets.into(), proven: event.ecn });
                self.real_episodes += 1;
                if self.real_episodes >= PERSISTENCE {
                    self.packet_threshold = PACKET_THRESHOLD;
                    self.eighths = EIGHTHS;
                    self.real_episodes = 0;
                }
                true
            }
        }
    }

    /// No packet that arrives late makes up for that.
    pub(super) fn on_persistent_congestion(&mut self) {
        if let Some(episode) = &mut self.episode {
            episode.proven = true;
        }
    }

    /// A packet arrived late: `largest_acked` had been acknowledged before it, and the time threshold was `loss_delay`.
    /// True if with it all that was lost in the newest episode has arrived.
    pub(super) fn on_late(
        &mut self,
        now: Instant,
        late: Late,
        largest_acked: PacketNumber,
        loss_delay: Duration,
        rtt: Duration,
    ) -> bool {
        self.real_episodes = 0;
        let behind = largest_acked.saturating_sub(late.pn);
        self.packet_threshold = self.packet_threshold.max((behind + 1).min(MAX_PACKET_THRESHOLD));
        let took = now.saturating_duration_since(late.sent);
        if took > loss_delay && self.raised.is_none_or(|raised| now >= raised + rtt) {
            self.eighths = (2 * self.eighths).min(MAX_EIGHTHS);
            self.raised = Some(now);
        }
        let Some(episode) = &mut self.episode else { return false };
        if late.sent > episode.to || episode.from.is_some_and(|from| late.sent <= from) {
            return false;
        }
        episode.missing = episode.missing.saturating_sub(1);
        let spurious = episode.missing == 0 && !episode.proven;
        if spurious {
            // What else gets lost of it begins anew.
            self.last_end = episode.from;
            self.episode = None;
        }
        spurious
    }
}
