//! One direction between two addresses: a list of nodes that each datagram passes in turn.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::fate::Fate;
use crate::packet::Ecn;

/// Bytes of IPv4 and UDP headers, which a link carries as well.
const OVERHEAD: usize = 28;

/// Something that happens to the datagrams on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Each takes so long.
    Delay(Duration),
    /// One after the other, at this rate; while one is on the wire, at most `queue` wait, and those beyond are
    /// dropped.
    Bottleneck {
        /// How fast, with 28 bytes of IP and UDP headers for each datagram.
        bytes_per_second: u64,
        /// How many may wait.
        queue: usize,
    },
    /// This share (0 to 1) is lost.
    Loss(f64),
    /// This share (0 to 1) takes so much longer, so that others overtake.
    Reorder {
        /// How many.
        share: f64,
        /// How much longer.
        by: Duration,
    },
    /// Of this share (0 to 1) a copy follows.
    Duplicate {
        /// How many.
        share: f64,
        /// How far behind the copy is.
        after: Duration,
    },
    /// Of this share (0 to 1) one byte is changed.
    Corrupt(f64),
    /// Of those marked ECT, this share (0 to 1) leaves marked CE.
    Mark(f64),
    /// ECN marks are erased.
    Bleach,
    /// Those in these positions are lost, counted from 0 as they enter the link.
    Drop(Vec<u64>),
    /// All are lost that come at these times, counted from the beginning.
    Blackhole(Range<Duration>),
    /// All are lost for a while, again and again; it begins with the time when none are.
    Blackouts {
        /// How long they pass.
        on: Duration,
        /// How long they are lost.
        off: Duration,
    },
    /// This share (0 to 1) is lost, but no more than so many in a row.
    LossInRuns {
        /// How many.
        share: f64,
        /// The most in a row.
        longest: u32,
    },
    /// Of this share (0 to 1) one byte is changed, but no more than so many in a row.
    CorruptInRuns {
        /// How many.
        share: f64,
        /// The most in a row.
        longest: u32,
    },
    /// Those that come at these times and are larger than this are lost: bytes, with 28 of IP and UDP headers.
    Narrow {
        /// When, counted from the beginning.
        times: Range<Duration>,
        /// The largest that pass.
        mtu: usize,
    },
}

impl Node {
    /// A [`Node::Bottleneck`] by the numbers that people use.
    #[must_use]
    pub fn megabits(per_second: u64, queue: usize) -> Self {
        Self::Bottleneck { bytes_per_second: per_second * 125_000, queue }
    }
}

/// What a link did so far, in datagrams.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct LinkStats {
    /// Entered it.
    pub sent: u64,
    /// Bytes in those that entered it.
    pub sent_bytes: u64,
    /// Came out at the end, copies included.
    pub delivered: u64,
    /// Bytes in those that came out.
    pub delivered_bytes: u64,
    /// Were lost by chance or on purpose.
    pub lost: u64,
    /// Found a queue full.
    pub overflowed: u64,
    /// Were duplicated.
    pub duplicated: u64,
    /// Were held back so that others could overtake.
    pub reordered: u64,
    /// Had a byte changed.
    pub corrupted: u64,
    /// Were marked CE.
    pub marked: u64,
}

/// A datagram on its way, as a node sees it.
#[derive(Debug, Copy, Clone)]
pub(super) struct Passing {
    pub(super) index: u64,
    pub(super) fate: Fate,
    pub(super) len: usize,
    /// Carries ECT(0) or ECT(1).
    pub(super) ect: bool,
}

/// What a node does with a datagram; times count from when it came to the node.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Drop,
    Forward(Duration),
    /// At once, and again after this time.
    Twice(Duration),
    /// At once, with a change to the byte at this position.
    Corrupted(usize),
    /// At once, with this mark.
    Marked(Option<Ecn>),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) stats: LinkStats,
    nodes: Vec<(Node, Memory)>,
}

/// What a node remembers.
#[derive(Debug, Default)]
struct Memory {
    /// A bottleneck: when each datagram that has not left yet will have.
    wire: VecDeque<Duration>,
    /// How many in a row were hit.
    run: u32,
}

impl Link {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node, Memory::default())).collect();
        Self { stats: LinkStats::default(), nodes }
    }

    /// Lets a datagram pass the `at`-th node; `None` if there are no more nodes.
    pub(super) fn pass(&mut self, now: Duration, at: usize, passing: Passing) -> Option<Step> {
        let (node, memory) = self.nodes.get_mut(at)?;
        let Passing { index, fate, len, ect } = passing;
        let stats = &mut self.stats;
        Some(match node {
            Node::Delay(delay) => Step::Forward(*delay),
            Node::Loss(share) if fate.hits(at, *share) => lost(stats),
            Node::Drop(indices) if indices.contains(&index) => lost(stats),
            Node::Blackhole(times) if times.contains(&now) => lost(stats),
            Node::Blackouts { on, off }
                if now.as_nanos() % (*on + *off).as_nanos().max(1) >= on.as_nanos() =>
            {
                lost(stats)
            }
            Node::Narrow { times, mtu } if len + OVERHEAD > *mtu && times.contains(&now) => lost(stats),
            Node::LossInRuns { share, longest } if memory.hits(fate.hits(at, *share), *longest) => {
                lost(stats)
            }
            Node::CorruptInRuns { share, longest }
                if memory.hits(len > 0 && fate.hits(at, *share), *longest) =>
            {
                stats.corrupted += 1;
                Step::Corrupted(fate.below(at, len))
            }
            Node::Corrupt(share) if len > 0 && fate.hits(at, *share) => {
                stats.corrupted += 1;
                Step::Corrupted(fate.below(at, len))
            }
            Node::Mark(share) if ect && fate.hits(at, *share) => {
                stats.marked += 1;
                Step::Marked(Some(Ecn::Ce))
            }
            Node::Bleach => Step::Marked(None),
            Node::Reorder { share, by } if fate.hits(at, *share) => {
                stats.reordered += 1;
                Step::Forward(*by)
            }
            Node::Duplicate { share, after } if fate.hits(at, *share) => {
                stats.duplicated += 1;
                Step::Twice(*after)
            }
            Node::Bottleneck { bytes_per_second, queue } => {
                let Some(left) = memory.pass(now, len, *bytes_per_second, *queue) else {
                    stats.overflowed += 1;
                    return Some(Step::Drop);
                };
                Step::Forward(left - now)
            }
            Node::Loss(_)
            | Node::Drop(_)
            | Node::Blackhole(_)
            | Node::Blackouts { .. }
            | Node::Narrow { .. }
            | Node::LossInRuns { .. }
            | Node::CorruptInRuns { .. }
            | Node::Corrupt(_)
            | Node::Mark(_)
            | Node::Reorder { .. }
            | Node::Duplicate { .. } => Step::Forward(Duration::ZERO),
        })
    }
}

fn lost(stats: &mut LinkStats) -> Step {
    stats.lost += 1;
    Step::Drop
}

impl Memory {
    /// Whether chance hits once more, after so many in a row.
    fn hits(&mut self, chance: bool, longest: u32) -> bool {
        let hits = chance && self.run < longest;
        self.run = if hits { self.run + 1 } else { 0 };
        hits
    }

    /// When the datagram will have left; `None` if it finds the queue full.
    fn pass(&mut self, now: Duration, len: usize, bytes_per_second: u64, queue: usize) -> Option<Duration> {
        while self.wire.front().is_some_and(|left| *left <= now) {
            self.wire.pop_front();
        }
        if self.wire.len() > queue {
            return None;
        }
        let nanos = (len + OVERHEAD) as u64 * 1_000_000_000 / bytes_per_second.max(1);
        let left = self.wire.back().map_or(now, |last| *last) + Duration::from_nanos(nanos);
        self.wire.push_back(left);
        Some(left)
    }
}
