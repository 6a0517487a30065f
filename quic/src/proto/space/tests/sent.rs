use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::packet::epoch;
use crate::proto::recovery::PathId;
use crate::proto::space::{LossBounds, SentPacket, SentPackets, Token};

const PACKET_THRESHOLD: u64 = 3;

fn packet(time: Instant, ack_eliciting: bool, in_flight: bool) -> SentPacket {
    SentPacket { time, size: 100, ack_eliciting, in_flight, path: PathId(0), ect0: false, mtu_probe: false }
}

fn tokens(first: u64, count: usize) -> Vec<Token> {
    (first..).take(count).map(Token::NewConnectionId).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Send {
        in_flight: bool,
        ack_eliciting: bool,
        tokens: usize,
    },
    Skip,
    /// Boundaries of ranges, as shares of the numbers sent.
    Ack(Vec<u8>),
    Wait(u64),
    Detect,
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), 0usize..4).prop_map(|(in_flight, eliciting, tokens)| Op::Send {
            in_flight: in_flight || eliciting,
            ack_eliciting: eliciting,
            tokens
        }),
        1 => Just(Op::Skip),
        3 => prop::collection::vec(any::<u8>(), 2..6).prop_map(Op::Ack),
        2 => (0u64..20).prop_map(Op::Wait),
        3 => Just(Op::Detect),
        2 => Just(Op::Forget),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Outstanding,
    Lost(Instant),
    Settled,
    Skipped,
}

struct Modelled {
    packet: SentPacket,
    tokens: Vec<Token>,
    state: State,
}

const LOSS_DELAY: Duration = Duration::from_millis(20);
const KEPT: Duration = Duration::from_millis(30);

#[derive(Default)]
struct Model(Vec<Modelled>);

impl Model {
    /// Descending ranges from shares of what was sent; overlapping ones would not be a valid frame.
    fn ranges(&self, shares: &[u8]) -> Vec<std::ops::RangeInclusive<u64>> {
        let mut numbers: Vec<u64> =
            shares.iter().map(|share| u64::from(*share) * self.0.len() as u64 / 256).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.chunks_exact(2).map(|pair| pair[0]..=pair[1]).rev().collect()
    }

    fn acknowledge(&mut self, ranges: &[std::ops::RangeInclusive<u64>]) -> (Vec<(u64, bool)>, Vec<Token>) {
        let (mut acked, mut tokens) = (Vec::new(), Vec::new());
        for pn in ranges.iter().cloned().flatten() {
            let packet = &mut self.0[pn as usize];
            if matches!(packet.state, State::Outstanding | State::Lost(_)) {
                acked.push((pn, packet.state != State::Outstanding));
                tokens.extend(&packet.tokens);
                packet.state = State::Settled;
            }
        }
        (acked, tokens)
    }

    /// Lost packets with the flag for an acknowledged one before, their tokens, and the oldest one kept.
    fn detect(
        &mut self,
        now: Instant,
        largest: u64,
        before: Option<Instant>,
    ) -> (Vec<(u64, bool)>, Vec<Token>, Option<Instant>) {
        let (mut lost, mut tokens, mut kept) = (Vec::new(), Vec::new(), None);
        for pn in 0..largest {
            let packet = &mut self.0[pn as usize];
            if packet.state != State::Outstanding {
                continue;
            }
            if before.is_some_and(|before| packet.packet.time <= before) || pn + PACKET_THRESHOLD <= largest {
                packet.state = State::Lost(now);
                tokens.extend(&packet.tokens);
                lost.push((pn, false));
            } else if packet.packet.in_flight && kept.is_none() {
                kept = Some(packet.packet.time);
            }
        }
        for index in 1..lost.len() {
            let between = lost[index - 1].0..lost[index].0;
            lost[index].1 = between.into_iter().any(|pn| self.0[pn as usize].state == State::Settled);
        }
        (lost, tokens, kept)
    }

    fn bytes_in_flight(&self) -> u64 {
        let outstanding = self.0.iter().filter(|packet| packet.state == State::Outstanding);
        outstanding.filter(|packet| packet.packet.in_flight).map(|packet| u64::from(packet.packet.size)).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_ring_does_what_a_list_of_all_packets_does(ops in prop::collection::vec(op(), 1..150)) {
        let mut now = epoch();
        let (mut ring, mut model, mut largest_acked, mut token) = (SentPackets::default(), Model::default(), None, 0);
        for op in ops {
            match op {
                Op::Send { in_flight, ack_eliciting, tokens: count } => {
                    let (packet, tokens) = (packet(now, ack_eliciting, in_flight), tokens(token, count));
                    token += count as u64;
                    prop_assert_eq!(ring.next(), model.0.len() as u64);
                    ring.push(packet, &tokens);
                    model.0.push(Modelled { packet, tokens, state: State::Outstanding });
                }
                Op::Skip => {
                    ring.skip();
                    let packet = packet(now, false, false);
                    model.0.push(Modelled { packet, tokens: Vec::new(), state: State::Skipped });
                }
                Op::Wait(millis) => now += Duration::from_millis(millis),
                Op::Ack(shares) => {
                    let ranges = model.ranges(&shares);
                    let lie = ranges.iter().cloned().flatten().any(|pn| model.0[pn as usize].state == State::Skipped);
                    let checked = ring.check(ranges.iter().cloned());
                    let skips = model.0.iter().filter(|packet| packet.state == State::Skipped).count();
                    if skips <= 16 {
                        prop_assert_eq!(checked.is_err(), lie);
                    }
                    if lie || checked.is_err() {
                        continue;
                    }
                    let (expected, expected_tokens) = model.acknowledge(&ranges);
                    let (mut acked, mut tokens) = (Vec::new(), Vec::new());
                    for range in &ranges {
                        ring.acknowledge(range.clone(), &mut tokens, |pn, packet, late| {
                            assert_eq!(*packet, model.0[pn as usize].packet);
                            acked.push((pn, late));
                        });
                    }
                    prop_assert_eq!(acked, expected);
                    prop_assert_eq!(tokens, expected_tokens);
                    largest_acked = largest_acked.max(ranges.first().map(|range| *range.end()));
                }
                Op::Detect => {
                    let Some(largest) = largest_acked else { continue };
                    let before = now.checked_sub(LOSS_DELAY);
                    let expected = model.detect(now, largest, before);
                    let (mut lost, mut tokens) = (Vec::new(), Vec::new());
                    let active = (PathId(0), Some(largest));
                    let bounds = LossBounds { largest_acked: largest, active, packet_threshold: PACKET_THRESHOLD, sent_before: before };
                    let kept = ring.detect_lost(now, bounds, &mut tokens, |pn, packet, after_acked| {
                        assert_eq!(*packet, model.0[pn as usize].packet);
                        let after_acked = after_acked && !lost.is_empty();
                        lost.push((pn, after_acked));
                    });
                    prop_assert_eq!((lost, tokens, kept), expected);
                }
                Op::Forget => {
                    let before = now.checked_sub(KEPT);
                    ring.forget(before);
                    for packet in &mut model.0 {
                        if matches!(packet.state, State::Lost(when) if before.is_some_and(|before| when < before)) {
                            packet.state = State::Settled;
                        }
                    }
                }
            }
            prop_assert_eq!(ring.bytes_in_flight(), model.bytes_in_flight());
        }
    }
}

#[test]
fn a_settled_front_leaves_no_memory_behind() {
    let now = epoch();
    let mut ring = SentPackets::default();
    for round in 0..1000 {
        for _ in 0..10 {
            ring.push(packet(now, true, true), &tokens(0, 3));
        }
        ring.acknowledge(round * 10..=round * 10 + 9, &mut Vec::new(), |_, _, _| {});
        ring.forget(None);
    }
    assert_eq!(ring.next(), 10_000);
    assert!(ring.bytes_in_flight() == 0 && !ring.has_ack_eliciting_in_flight());
    assert!(ring.memory() < 10_000, "{}", ring.memory());
}

#[test]
fn repeating_old_ranges_costs_one_step_each() {
    let now = epoch();
    let mut ring = SentPackets::default();
    for _ in 0..1000 {
        ring.push(packet(now, true, true), &[]);
    }
    // The first one stays outstanding, so the ring keeps all.
    for end in 1..1000 {
        let mut count = 0;
        ring.acknowledge(1..=end, &mut Vec::new(), |_, _, _| count += 1);
        assert_eq!(count, 1);
        assert_eq!(ring.steps(1..=end), 1);
    }
}

// covers: R9000-13.1-02
#[test]
fn skipped_and_forgotten_numbers_are_told_apart() {
    let now = epoch();
    let mut ring = SentPackets::default();
    ring.push(packet(now, true, true), &[]);
    ring.skip();
    ring.push(packet(now, true, true), &[]);
    ring.acknowledge(0..=0, &mut Vec::new(), |_, _, _| {});
    ring.acknowledge(2..=2, &mut Vec::new(), |_, _, _| {});
    ring.forget(None);
    assert_eq!(ring.check([2..=2, 0..=0].into_iter()), Ok(()), "sent and forgotten");
    assert!(ring.check([0..=2].into_iter()).is_err(), "1 was never sent");
    assert!(ring.check([3..=3].into_iter()).is_err(), "3 was not sent yet");
    assert!(ring.check([2..=3].into_iter()).is_err());
    ring.clear();
    assert!(ring.check([1..=1].into_iter()).is_err(), "remembered for good");
    assert_eq!(ring.next(), 3, "numbers go on");
}

// covers: R9000-13.2.7-01
#[test]
fn a_stream_of_acknowledgments_asks_for_one_and_is_bounded() {
    let now = epoch();
    let mut ring = SentPackets::default();
    let mut asked = 0;
    while !ring.is_full() {
        let elicit = ring.should_elicit();
        asked += usize::from(elicit);
        ring.push(packet(now, elicit, elicit), &[Token::Ack { largest: 0 }]);
    }
    assert_eq!(asked, 1, "one that is in flight is enough");
    assert!(ring.next() < 5000);
    ring.acknowledge(0..=ring.next() - 1, &mut Vec::new(), |_, _, _| {});
    ring.forget(None);
    assert!(!ring.is_full());
}

/// On a fast path thousands of packets are acknowledged while a lost one is still remembered. Then acknowledgments must
/// leave: none would come for them, and nothing else may be in flight.
#[test]
fn what_is_settled_behind_a_lost_packet_holds_nothing_up() {
    let now = epoch();
    let mut ring = SentPackets::default();
    for pn in 0..10_000 {
        ring.push(packet(now, pn % 3 != 0, pn % 3 != 0), &[]);
    }
    let mut ignore = Vec::new();
    ring.acknowledge(1..=9_999, &mut ignore, |_, _, _| {});
    let bounds = LossBounds {
        largest_acked: 9_999,
        active: (PathId(0), Some(9_999)),
        packet_threshold: PACKET_THRESHOLD,
        sent_before: None,
    };
    assert_eq!(ring.detect_lost(now, bounds, &mut ignore, |_, _, _| {}), None);
    ring.forget(None);
    assert_eq!(ring.remembered(), 10_000, "the lost one may still be acknowledged");
    assert!(!ring.has_ack_eliciting_in_flight() && !ring.is_full());
}

#[test]
fn probes_repeat_the_oldest_packets_and_leave_them_outstanding() {
    let now = epoch();
    let mut ring = SentPackets::default();
    for pn in 0..4 {
        ring.push(packet(now, pn != 1, pn != 1), &tokens(pn, 1));
    }
    ring.acknowledge(0..=0, &mut Vec::new(), |_, _, _| {});
    let mut content = Vec::new();
    assert!(ring.probe_tokens(0, &mut content) && ring.probe_tokens(1, &mut content));
    assert!(!ring.probe_tokens(2, &mut content));
    assert_eq!(content, [Token::NewConnectionId(2), Token::NewConnectionId(3)]);
    assert_eq!(ring.bytes_in_flight(), 200);
}
