//! What can happen to datagrams on their way.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::fate::Fate;

/// Bytes of IPv4 and UDP headers, which a link carries as well.
const OVERHEAD: usize = 28;

/// Something that happens to the datagrams on a link. A link is a list of them, which each datagram passes in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Node {
    /// Each takes so long.
    Delay(Duration),
    /// Each takes up to so much longer, by chance, and stays behind those before it.
    Jitter(Duration),
    /// One after the other, at this rate; while one is on the wire, at most `queue` wait, and those beyond are
    /// dropped.
    Bottleneck {
        /// How fast, with 28 bytes of IP and UDP headers for each datagram.
        bytes_per_second: u64,
        /// How many may wait.
        queue: usize,
        /// Those marked ECT that find so many before them leave marked CE.
        mark_from: Option<usize>,
    },
    /// A node that several links have in common; `Network::share` makes it.
    Shared(SharedNode),
    /// This share (0 to 1) is lost.
    Loss(f64),
    /// Losses come in bursts, in which all are lost.
    BurstLoss {
        /// The share (0 to 1) of datagrams that begin a burst, of those outside.
        begin: f64,
        /// The share (0 to 1) of datagrams before which a burst ends, of those inside.
        end: f64,
        /// It ends after so long at the latest, however little is sent meanwhile.
        longest: Duration,
    },
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
    /// All are lost for a while, once in each period, at a time by chance.
    Outages {
        /// The period.
        every: Duration,
        /// How long they are lost.
        last: Duration,
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

/// Which of a network's shared nodes.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct SharedNode(pub(super) usize);

impl Node {
    /// A [`Node::Bottleneck`] by the numbers that people use: megabits per second, and datagrams that may wait.
    #[must_use]
    pub fn megabits(per_second: u64, queue: usize) -> Self {
        Self::Bottleneck { bytes_per_second: per_second * 125_000, queue, mark_from: None }
    }

    /// A [`Node::Narrow`] for all time: larger datagrams are lost. In bytes, with 28 of IP and UDP headers.
    #[must_use]
    pub fn mtu(bytes: usize) -> Self {
        Self::Narrow { times: Duration::ZERO..Duration::MAX, mtu: bytes }
    }
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
    /// It goes no further.
    Lose,
    /// It goes no further, for want of room.
    Overflow,
    Forward(Duration),
    /// Others overtake it meanwhile.
    HoldBack(Duration),
    /// At once, and again after this time.
    Twice(Duration),
    /// At once, with a change to the byte at this position.
    Corrupt(usize),
    /// Marked CE.
    Mark(Duration),
    /// At once, without a mark.
    Bleach,
}

/// A node at its place, with what it remembers.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) node: Node,
    memory: Memory,
}

#[derive(Debug, Default)]
struct Memory {
    /// A bottleneck: when each datagram that has not left yet will have.
    wire: VecDeque<Duration>,
    /// How many in a row were hit.
    run: u32,
    /// When the last one left.
    left: Duration,
    /// When the burst or the outage has begun or will begin.
    since: Duration,
    /// The number of the period.
    period: Option<u128>,
}

impl Placed {
    pub(super) fn new(node: Node) -> Self {
        Self { node, memory: Memory::default() }
    }

    /// What happens to a datagram that comes now, at the `at`-th node of its link.
    pub(super) fn pass(&mut self, now: Duration, at: usize, passing: Passing) -> Step {
        let Self { node, memory } = self;
        let Passing { index, fate, len, ect } = passing;
        let hits = |share: f64| fate.hits(at, share);
        match *node {
            Node::Delay(delay) => Step::Forward(delay),
            Node::Jitter(most) => {
                let leaves = memory.left.max(now + fate.part(at, most));
                memory.left = leaves;
                Step::Forward(leaves - now)
            }
            Node::Bottleneck { bytes_per_second, queue, mark_from } => {
                let before = memory.waiting(now);
                if before > queue {
                    return Step::Overflow;
                }
                let left = memory.put_on_wire(now, len, bytes_per_second);
                let mark = ect && mark_from.is_some_and(|from| before >= from);
                if mark { Step::Mark(left - now) } else { Step::Forward(left - now) }
            }
            Node::Loss(share) if hits(share) => Step::Lose,
            Node::BurstLoss { begin, end, longest } => {
                let goes_on = memory.run > 0 && now < memory.since + longest;
                let inside = if goes_on { !hits(end) } else { hits(begin) };
                if inside && !goes_on {
                    memory.since = now;
                }
                memory.run = u32::from(inside);
                if inside { Step::Lose } else { Step::Forward(Duration::ZERO) }
            }
            Node::Drop(ref indices) if indices.contains(&index) => Step::Lose,
            Node::Blackhole(ref times) if times.contains(&now) => Step::Lose,
            Node::Blackouts { on, off } if now.as_nanos() % (on + off).as_nanos().max(1) >= on.as_nanos() => {
                Step::Lose
            }
            Node::Outages { every, last } => {
                let period = now.as_nanos() / every.as_nanos().max(1);
                if memory.period.replace(period) != Some(period) {
                    let begun = u64::try_from(period * every.as_nanos()).unwrap_or(u64::MAX);
                    memory.since = Duration::from_nanos(begun) + fate.part(at, every.saturating_sub(last));
                }
                let inside = (memory.since..memory.since + last).contains(&now);
                if inside { Step::Lose } else { Step::Forward(Duration::ZERO) }
            }
            Node::Narrow { ref times, mtu } if len + OVERHEAD > mtu && times.contains(&now) => Step::Lose,
            Node::LossInRuns { share, longest } if memory.hits(hits(share), longest) => Step::Lose,
            Node::CorruptInRuns { share, longest } if memory.hits(len > 0 && hits(share), longest) => {
                Step::Corrupt(fate.below(at, len))
            }
            Node::Corrupt(share) if len > 0 && hits(share) => Step::Corrupt(fate.below(at, len)),
            Node::Mark(share) if ect && hits(share) => Step::Mark(Duration::ZERO),
            Node::Bleach => Step::Bleach,
            Node::Reorder { share, by } if hits(share) => Step::HoldBack(by),
            Node::Duplicate { share, after } if hits(share) => Step::Twice(after),
            Node::Shared(_)
            | Node::Loss(_)
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
        }
    }
}

impl Memory {
    /// Whether chance hits once more, after so many in a row.
    fn hits(&mut self, chance: bool, longest: u32) -> bool {
        let hits = chance && self.run < longest;
        self.run = if hits { self.run + 1 } else { 0 };
        hits
    }

    /// How many have not left yet, with the one on the wire.
    fn waiting(&mut self, now: Duration) -> usize {
        while self.wire.front().is_some_and(|left| *left <= now) {
            self.wire.pop_front();
        }
        self.wire.len()
    }

    /// When the datagram will have left.
    fn put_on_wire(&mut self, now: Duration, len: usize, bytes_per_second: u64) -> Duration {
        let nanos = (len + OVERHEAD) as u64 * 1_000_000_000 / bytes_per_second.max(1);
        let left = self.wire.back().map_or(now, |last| *last) + Duration::from_nanos(nanos);
        self.wire.push_back(left);
        left
    }
}
