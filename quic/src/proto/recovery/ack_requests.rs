//! What the peer is asked for, so that it acknowledges as often as loss detection and the congestion window need
//! (draft-ietf-quic-ack-frequency-12 §4, §7, §8).
//!
//! A [`Wish`] follows from the path once in a round trip, when an ACK frame arrives; a frame goes out only if the wish has
//! changed enough since the last one, and if that is not under way any more. The probe timeout allows for the longest delay
//! that the peer may go by.

use std::time::{Duration, Instant};

use super::PathCc;
use crate::config::AckFrequency;
use crate::wire::frame::AckFrequency as AckFrequencyFrame;

/// Acknowledgments in a round trip, as the window fills it: four times as many as slow start needs samples of the
/// round-trip time (RFC 9406 §4.2).
const PER_WINDOW: u64 = 32;

/// Fewer acknowledgments than one for so many packets save nothing worth while. One for more packets than the pacer lets
/// out at once would turn a steady flow into trains with pauses between them, and where a queue is full the trains of a
/// large flow leave no room for the packets of a small one.
const MOST_PACKETS: u64 = 64;

/// The peer is first asked for anything when the window holds so many packets ...
const LARGE_WINDOW: u64 = 64;

/// ... and is asked to forget it when the window holds fewer than these.
const SMALL_WINDOW: u64 = 32;

/// max_ack_delay before the peer says otherwise (RFC 9000 §18.2).
const DEFAULT_MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// No max_ack_delay is as long as this (RFC 9000 §18.2).
const MAX_ACK_DELAY_BOUND: Duration = Duration::from_millis(1 << 14);

/// What a peer does about its acknowledgments.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
struct Wish {
    /// One acknowledgment for at most so many ack-eliciting packets.
    packets: u64,
    max_ack_delay: Duration,
    reordering_threshold: u64,
}

impl Wish {
    /// What a peer does that nothing was asked of.
    fn unasked(max_ack_delay: Duration) -> Self {
        Self { packets: 2, max_ack_delay, reordering_threshold: 1 }
    }

    /// Whether it is worth a frame: by half more or a third less packets, or a quarter of the delay.
    fn is_far_from(&self, other: &Self) -> bool {
        let (few, many) = (self.packets.min(other.packets), self.packets.max(other.packets));
        let apart = self.max_ack_delay.abs_diff(other.max_ack_delay);
        2 * many >= 3 * few
            || apart > other.max_ack_delay / 4
            || self.reordering_threshold != other.reordering_threshold
    }
}

/// What became of a frame.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Acked,
    /// So it seems: nobody knows what the peer goes by.
    Lost,
}

/// What was asked of the peer, and what it goes by.
#[derive(Debug)]
pub struct AckRequests {
    /// The least delay that the peer can be asked for; `None` if it can be asked for nothing.
    peer_min_ack_delay: Option<Duration>,
    /// What the peer does unasked.
    peer_max_ack_delay: Duration,
    /// The longest delay that the peer may go by: it has agreed to it, or it may have heard of it.
    max_ack_delay: Duration,
    /// What the peer agreed to last; `None` if it was not asked for anything.
    agreed: Option<Wish>,
    /// What the newest frame asks for, and what became of that.
    asked: Option<(Wish, Fate)>,
    /// What the next frame asks for.
    due: Option<Wish>,
    next_sequence: u64,
    /// When the wish is looked at again.
    next_review: Option<Instant>,
    /// It is looked at whatever is under way: what was asked for may be far more than the window holds now.
    urgent: bool,
}

impl Default for AckRequests {
    fn default() -> Self {
        Self {
            peer_min_ack_delay: None,
            peer_max_ack_delay: DEFAULT_MAX_ACK_DELAY,
            max_ack_delay: DEFAULT_MAX_ACK_DELAY,
            agreed: None,
            asked: None,
            due: None,
            next_sequence: 0,
            next_review: None,
            urgent: false,
        }
    }
}

impl AckRequests {
    /// The peer's transport parameter.
    pub fn set_max_ack_delay(&mut self, max_ack_delay: Duration) {
        self.peer_max_ack_delay = max_ack_delay;
        self.max_ack_delay = max_ack_delay;
    }

    /// From now on the peer takes requests, if it said so: 1-RTT packets can be sent.
    pub fn enable(&mut self, min_ack_delay: Option<Duration>) {
        self.peer_min_ack_delay = min_ack_delay;
    }

    /// Whether the peer takes ACK_FREQUENCY and IMMEDIATE_ACK frames.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.peer_min_ack_delay.is_some()
    }

    /// The longest that the peer may hold back acknowledgments of application data.
    #[must_use]
    pub fn max_ack_delay(&self) -> Duration {
        self.max_ack_delay
    }

    /// Looks, if it is time, whether the peer should be asked for something else.
    pub fn review(&mut self, now: Instant, setting: AckFrequency, path: &PathCc) {
        let fate = self.asked.map_or(Fate::Acked, |(_, fate)| fate);
        let waits = fate == Fate::UnderWay || self.next_review.is_some_and(|at| now < at);
        if waits && !self.urgent {
            return;
        }
        let Some(min_ack_delay) = self.peer_min_ack_delay else { return };
        self.urgent = false;
        self.next_review = Some(now + path.rtt.smoothed());
        let unasked = Wish::unasked(self.peer_max_ack_delay);
        let under_way = self.asked.filter(|(_, fate)| *fate == Fate::UnderWay);
        let agreed = under_way.map(|(wish, _)| wish).or(self.agreed).unwrap_or(unasked);
        let wish = match setting {
            AckFrequency::Unasked => return,
            AckFrequency::Adaptive => {
                let packets = path.window_packets();
                let least = if agreed == unasked { LARGE_WINDOW } else { SMALL_WINDOW };
                if packets < least {
                    unasked
                } else {
                    let max_ack_delay = (path.rtt.smoothed() / 4).min(self.peer_max_ack_delay);
                    let packets = (packets / PER_WINDOW).min(path.burst_packets()).clamp(2, MOST_PACKETS);
                    Wish { packets, max_ack_delay, reordering_threshold: path.packet_threshold() }
                }
            }
            AckFrequency::Fixed { packets, max_ack_delay } => Wish {
                // With a threshold beyond the window every round would wait for the delay to pass.
                packets: u64::from(packets).max(1).min((path.window_packets() / 2).max(2)),
                max_ack_delay: max_ack_delay.unwrap_or(self.peer_max_ack_delay),
                reordering_threshold: path.packet_threshold(),
            },
        };
        // Whole microseconds, as the frame says it.
        let longest = MAX_ACK_DELAY_BOUND - Duration::from_micros(1);
        let micros = wish.max_ack_delay.min(longest).max(min_ack_delay).as_micros();
        let max_ack_delay = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let wish = Wish { max_ack_delay, ..wish };
        self.due = Some(wish).filter(|wish| fate == Fate::Lost || wish.is_far_from(&agreed));
    }

    /// The next review is to be at once: another path is in use (§8.4), or the window is gone.
    pub fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether a frame waits to be sent.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// The frame that waits to be sent.
    #[must_use]
    pub fn next_frame(&self) -> Option<AckFrequencyFrame> {
        let wish = self.due?;
        Some(AckFrequencyFrame {
            sequence: self.next_sequence,
            eliciting_threshold: wish.packets - 1,
            max_ack_delay: u64::try_from(wish.max_ack_delay.as_micros()).unwrap_or(u64::MAX),
            reordering_threshold: wish.reordering_threshold,
        })
    }

    /// That frame was put into a packet.
    pub fn on_sent(&mut self) {
        let Some(wish) = self.due.take() else { return };
        self.next_sequence += 1;
        self.asked = Some((wish, Fate::UnderWay));
        self.max_ack_delay = self.max_ack_delay.max(wish.max_ack_delay);
    }

    /// The peer goes by the frame with this number, if it did not know a later one.
    pub fn on_acked(&mut self, sequence: u64) {
        if let Some((wish, fate)) = self.asked.as_mut().filter(|_| sequence + 1 == self.next_sequence) {
            *fate = Fate::Acked;
            self.agreed = Some(*wish);
            self.max_ack_delay = wish.max_ack_delay;
            self.due = None;
        }
    }

    /// The frame with this number is lost: its wish is sent again with another one, unless a later one was sent.
    pub fn on_lost(&mut self, sequence: u64) {
        if let Some((wish, fate)) = self.asked.as_mut().filter(|_| sequence + 1 == self.next_sequence) {
            *fate = Fate::Lost;
            self.due = Some(*wish);
        }
    }
}
