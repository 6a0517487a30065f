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
    /// Came out at the end, copies included.
    pub delivered: u64,
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
    nodes: Vec<(Node, Wire)>,
}

/// What a bottleneck remembers: when each datagram that has not left yet will have.
#[derive(Debug, Default)]
struct Wire(VecDeque<Duration>);

impl Link {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node, Wire::default())).collect();
        Self { stats: LinkStats::default(), nodes }
    }

    /// Lets a datagram pass the `at`-th node; `None` if there are no more nodes.
    pub(super) fn pass(&mut self, now: Duration, at: usize, passing: Passing) -> Option<Step> {
        let (node, wire) = self.nodes.get_mut(at)?;
        let Passing { index, fate, len, ect } = passing;
        let stats = &mut self.stats;
        Some(match node {
            Node::Delay(delay) => Step::Forward(*delay),
            Node::Loss(share) if fate.hits(at, *share) => lost(stats),
            Node::Drop(indices) if indices.contains(&index) => lost(stats),
            Node::Blackhole(times) if times.contains(&now) => lost(stats),
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
                let Some(left) = wire.pass(now, len, *bytes_per_second, *queue) else {
                    stats.overflowed += 1;
                    return Some(Step::Drop);
                };
                Step::Forward(left - now)
            }
            Node::Loss(_)
            | Node::Drop(_)
            | Node::Blackhole(_)
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

impl Wire {
    /// When the datagram will have left; `None` if it finds the queue full.
    fn pass(&mut self, now: Duration, len: usize, bytes_per_second: u64, queue: usize) -> Option<Duration> {
        while self.0.front().is_some_and(|left| *left <= now) {
            self.0.pop_front();
        }
        if self.0.len() > queue {
            return None;
        }
        let nanos = (len + OVERHEAD) as u64 * 1_000_000_000 / bytes_per_second.max(1);
        let left = self.0.back().map_or(now, |last| *last) + Duration::from_nanos(nanos);
        self.0.push_back(left);
        Some(left)
    }
}
