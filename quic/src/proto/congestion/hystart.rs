//! HyStart++: leaves slow start when the round-trip time grows, before a queue overflows (RFC 9406).

use std::time::{Duration, Instant};

use crate::packet::Acked;

/// Growth of the round-trip time that ends slow start: an eighth of it, within these bounds (RFC 9406 §4.3).
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples that a round needs before it is judged.
const N_RTT_SAMPLE: u32 = 8;
/// How much slower a window grows while the growth of the round-trip time is being confirmed.
const CSS_GROWTH_DIVISOR: u64 = 4;
/// Rounds in which the round-trip time may turn out not to have grown after all.
const CSS_ROUNDS: u8 = 5;

/// The initial slow start of a path. Pacing is on, so there is no other limit to its steps (L is infinite).
#[derive(Debug, Clone, Default)]
pub struct HyStart {
    /// When the present round began: it ends with the first acknowledgment of a packet sent after that.
    round_start: Option<Instant>,
    last_round_min: Option<Duration>,
    current_round_min: Option<Duration>,
    samples: u32,
    conservative: Option<Conservative>,
}

/// Conservative slow start.
#[derive(Debug, Clone)]
struct Conservative {
    /// The round-trip time that was found to have grown.
    baseline: Duration,
    rounds: u8,
}

impl HyStart {
    /// How many bytes the window grows by for an ACK frame; `None` if slow start is over.
    pub fn on_ack(&mut self, acked: &Acked) -> Option<u64> {
        if self.round_start.is_none_or(|start| acked.newest_sent > start) && self.begin_round(acked.now) {
            return None;
        }
        let sample = acked.rtt.latest;
        self.current_round_min = Some(self.current_round_min.map_or(sample, |min| min.min(sample)));
        self.samples += 1;
        self.judge();
        let divisor = if self.conservative.is_some() { CSS_GROWTH_DIVISOR } else { 1 };
        Some(acked.bytes / divisor)
    }

    /// True if that was the last round of conservative slow start.
    fn begin_round(&mut self, now: Instant) -> bool {
        self.round_start = Some(now);
        self.last_round_min = self.current_round_min.take();
        self.samples = 0;
        let Some(conservative) = &mut self.conservative else { return false };
        conservative.rounds += 1;
        conservative.rounds >= CSS_ROUNDS
    }

    fn judge(&mut self) {
        let (Some(last), Some(current)) = (self.last_round_min, self.current_round_min) else { return };
        if self.samples < N_RTT_SAMPLE {
            return;
        }
        match &self.conservative {
            None => {
                let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if current >= last + threshold {
                    self.conservative = Some(Conservative { baseline: current, rounds: 0 });
                }
            }
            Some(conservative) if current < conservative.baseline => self.conservative = None,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Rtt, epoch};

    /// One round of `acks` ACK frames that all sampled `rtt` ms. The bytes the window grew by; `None` if it is over.
    fn round(hystart: &mut HyStart, now: &mut Instant, rtt: u64, acks: u32) -> Option<u64> {
        let latest = Duration::from_millis(rtt);
        let sent = *now;
        *now += latest + Duration::from_millis(1);
        (0..acks).try_fold(0, |grown, n| {
            let newest_sent = sent + Duration::from_micros(n.into());
            let now = newest_sent + latest;
            let rtt = Rtt { latest, smoothed: latest, variation: latest, min: latest };
            let acked = Acked {
                now,
                bytes: 1200,
                late_bytes: 0,
                lost_bytes: 0,
                newest_sent,
                in_flight: 12_000,
                app_limited: false,
                rtt,
            };
            Some(grown + hystart.on_ack(&acked)?)
        })
    }

    fn start() -> (HyStart, Instant) {
        (HyStart::default(), epoch())
    }

    // covers: R9406-4.3-03
    #[test]
    fn growing_delay_slows_growth_and_ends_it_after_five_rounds() {
        let (mut hystart, mut now) = start();
        assert_eq!(round(&mut hystart, &mut now, 40, 20), Some(24_000));
        assert_eq!(round(&mut hystart, &mut now, 43, 20), Some(24_000), "less than an eighth");
        // The eighth sample of the next round shows it.
        assert_eq!(round(&mut hystart, &mut now, 50, 20), Some(7 * 1200 + 13 * 300));
        for _ in 0..4 {
            assert_eq!(round(&mut hystart, &mut now, 60, 20), Some(20 * 300));
        }
        assert_eq!(round(&mut hystart, &mut now, 60, 20), None);
    }

    #[test]
    fn a_delay_that_goes_away_was_no_queue() {
        let (mut hystart, mut now) = start();
        for rtt in [40, 40, 60] {
            round(&mut hystart, &mut now, rtt, 20);
        }
        assert!(hystart.conservative.is_some());
        round(&mut hystart, &mut now, 40, 20);
        assert!(hystart.conservative.is_none());
        assert_eq!(round(&mut hystart, &mut now, 40, 20), Some(24_000));
    }

    // covers: R9406-4.3-02
    #[test]
    fn seven_samples_prove_nothing() {
        let (mut hystart, mut now) = start();
        for rtt in [40, 80, 160, 320] {
            assert_eq!(round(&mut hystart, &mut now, rtt, 7), Some(7 * 1200));
        }
    }
}
