//! Kinds of networks. A seed chooses one of a kind, the hosts on it, and what they do.

use std::net::SocketAddr;
use std::time::Duration;

use super::app::Plan;
use super::host::Behaviour;
use super::scenario::{Scenario, ms};
use crate::config::TransportConfig;
use crate::net::sim::Node;
use crate::packet::{CongestionControl, Rng};

/// A kind of network.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum Topology {
    /// Anything, with faults of all sorts on one path.
    Any,
    /// A data centre: hundreds of megabits, little delay, a queue that overflows.
    ShortFat,
    /// A satellite or a modem: a second for the round trip, some kilobytes in one.
    LongThin,
    /// Radio: bursts of losses, jitter, changed bytes, short outages.
    Wireless,
    /// A phone: the NAT forgets, the client moves to another network and back, the rate is low.
    Mobile,
    /// A line that is fast one way only.
    Asymmetric,
    /// Several connections through one bottleneck.
    Shared,
}

impl Topology {
    pub(super) const ALL: [Self; 7] = [
        Self::Any,
        Self::ShortFat,
        Self::LongThin,
        Self::Wireless,
        Self::Mobile,
        Self::Asymmetric,
        Self::Shared,
    ];

    /// All that a run of this kind depends on.
    pub(super) fn scenario(self, seed: u64) -> Scenario {
        if self == Self::Any {
            return random(seed);
        }
        let rng = &mut Rng::from_u64(seed ^ (self as u64) << 56);
        let mut scenario = Scenario::plain(seed, &[]);
        for host in &mut scenario.hosts {
            *host = random_behaviour(rng, host.config.clone());
            host.config.congestion_control = match rng.below(8) {
                0 => CongestionControl::NewReno,
                1..=3 => CongestionControl::Bbr,
                _ => CongestionControl::Cubic,
            };
            host.config.key_update_interval = one_in(rng, 4).then(|| 1 + rng.below(200));
        }
        let mut streams = || [rng.below(4) + 1, rng.below(4) + 1];
        scenario.plan.streams = [streams(), streams()];
        scenario.plan.abandon = one_in(rng, 3);
        scenario.plan.read_pause = one_in(rng, 6).then_some(ms(2));
        // The sum of both ways, and the bytes that pass in a second at least.
        let (delay, rate) = match self {
            Self::Any => unreachable!("taken above"),
            Self::ShortFat => short_fat(rng, &mut scenario),
            Self::LongThin => long_thin(rng, &mut scenario),
            Self::Wireless => wireless(rng, &mut scenario),
            Self::Mobile => mobile(rng, &mut scenario),
            Self::Asymmetric => asymmetric(rng, &mut scenario),
            Self::Shared => shared(rng, &mut scenario),
        };
        scenario.limit = patience(&scenario.plan, delay, rate / u64::from(scenario.pairs));
        scenario
    }
}

/// Generous, but not forever: some rounds, the bytes at a low rate, and the reader's pauses.
fn patience(plan: &Plan, delay: Duration, bytes_per_second: u64) -> Duration {
    let bytes = plan.bytes();
    let pauses = plan.read_pause.map_or(0, |_| bytes / 100);
    Duration::from_secs(110) + delay * 200 + ms(bytes * 1000 / bytes_per_second + pauses)
}

/// One of these.
fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn between(rng: &mut Rng, from: u64, to: u64) -> u64 {
    from + rng.below(to - from)
}

fn bottleneck(rng: &mut Rng, bytes_per_second: u64, queue: u64) -> Node {
    let queue = queue as usize;
    Node::Bottleneck { bytes_per_second, queue, mark_from: one_in(rng, 4).then_some(queue / 2) }
}

fn short_fat(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delay = Duration::from_micros(rng.below(2000));
    for nodes in &mut scenario.links {
        let (rate, queue) = (pick(rng, &[100, 250, 1000]) * 125_000, between(rng, 10, 400));
        nodes.push(bottleneck(rng, rate, queue));
        nodes.push(Node::Loss(pick(rng, &[0.0, 0.0005, 0.005])));
        nodes.push(Node::Delay(delay));
    }
    scenario.plan.longest = pick(rng, &[40_000, 300_000]);
    (delay * 2, 50_000)
}

fn long_thin(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delay = ms(between(rng, 150, 500));
    for nodes in &mut scenario.links {
        let (rate, queue) = (pick(rng, &[8_000, 32_000, 64_000]), between(rng, 8, 60));
        nodes.push(bottleneck(rng, rate, queue));
        nodes.push(Node::Loss(pick(rng, &[0.0, 0.003, 0.02])));
        nodes.push(Node::Delay(delay));
    }
    scenario.plan.longest = pick(rng, &[3000, 20_000]);
    (delay * 2, 500)
}

fn wireless(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delay = ms(between(rng, 1, 30));
    for nodes in &mut scenario.links {
        let (rate, queue) = (pick(rng, &[2, 10, 50]) * 125_000, between(rng, 20, 200));
        nodes.push(bottleneck(rng, rate, queue));
        let (begin, end) = (pick(rng, &[0.001, 0.005, 0.02]), pick(rng, &[0.15, 0.5]));
        nodes.push(Node::BurstLoss { begin, end, longest: ms(between(rng, 50, 1000)) });
        match rng.below(6) {
            0 => nodes.push(Node::Corrupt(0.01)),
            1 => nodes.push(Node::Duplicate { share: 0.02, after: ms(rng.below(20)) }),
            2 => nodes.push(Node::Reorder { share: 0.03, by: ms(1 + rng.below(15)) }),
            3 => {
                // Not at regular intervals: timers that double could keep step with those.
                let (on, off) = (ms(between(rng, 300, 3000)), ms(rng.below(250)));
                nodes.push(Node::Outages { every: on + off, last: off });
            }
            4 => nodes.push(Node::Bleach),
            _ => {}
        }
        nodes.push(Node::Jitter(ms(rng.below(15))));
        nodes.push(Node::Delay(delay));
    }
    scenario.plan.longest = pick(rng, &[3000, 60_000]);
    (delay * 2 + ms(30), 10_000)
}

fn mobile(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delay = ms(between(rng, 5, 60));
    for nodes in &mut scenario.links {
        let (rate, queue) = (pick(rng, &[1, 4, 10]) * 125_000, between(rng, 20, 200));
        nodes.push(bottleneck(rng, rate, queue));
        nodes.push(Node::Loss(pick(rng, &[0.0, 0.002, 0.01])));
        nodes.push(Node::Jitter(ms(rng.below(10))));
        nodes.push(Node::Delay(delay));
    }
    let mut when = || {
        let mut times: Vec<_> = (0..rng.below(4)).map(|_| ms(rng.below(3000))).collect();
        times.sort();
        times
    };
    let moves = &mut scenario.moves;
    moves.migrations = when();
    for (n, at) in (1..).zip(when()) {
        // The port alone, or the whole address.
        let ip = [192, 0, 2, if one_in(rng, 2) { 1 } else { n as u8 }];
        moves.rebindings.push((at, SocketAddr::from((ip, 2000 + n))));
    }
    // A client that only receives, and whose last acknowledgments are lost, has nothing that shows where it is.
    scenario.hosts[0].config.keep_alive_interval = Some(Duration::from_secs(1));
    scenario.plan.longest = pick(rng, &[20_000, 100_000]);
    (delay * 2, 4_000)
}

fn asymmetric(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delays = [ms(between(rng, 5, 80)), ms(between(rng, 5, 80))];
    let rates = [pick(rng, &[16_000, 64_000]), pick(rng, &[10, 50]) * 125_000];
    let queues = [between(rng, 5, 30), between(rng, 20, 200)];
    for (way, nodes) in scenario.links.iter_mut().enumerate() {
        nodes.push(bottleneck(rng, rates[way], queues[way]));
        nodes.push(Node::Loss(pick(rng, &[0.0, 0.005])));
        nodes.push(Node::Delay(delays[way]));
    }
    scenario.plan.longest = pick(rng, &[10_000, 40_000]);
    (delays[0] + delays[1], 1_000)
}

fn shared(rng: &mut Rng, scenario: &mut Scenario) -> (Duration, u64) {
    let delay = ms(between(rng, 1, 40));
    for nodes in &mut scenario.links {
        nodes.push(Node::Loss(pick(rng, &[0.0, 0.002])));
        nodes.push(Node::Delay(delay));
    }
    for nodes in &mut scenario.shared {
        let (rate, queue) = (pick(rng, &[1, 5, 20]) * 125_000, between(rng, 10, 100));
        nodes.push(bottleneck(rng, rate, queue));
    }
    scenario.pairs = 2 + rng.below(3) as u8;
    scenario.plan.longest = pick(rng, &[3000, 40_000]);
    (delay * 2, 10_000)
}

/// Chosen by the seed from all that a link and the hosts can do.
fn random(seed: u64) -> Scenario {
    let rng = &mut Rng::from_u64(seed);
    let delay = [ms(0), ms(1), ms(5), ms(20), ms(50), ms(150)][rng.below(6) as usize];
    let mut scenario = Scenario::plain(seed, &[]);
    for nodes in &mut scenario.links {
        *nodes = random_link(rng, delay);
    }
    for host in &mut scenario.hosts {
        *host = random_behaviour(rng, host.config.clone());
    }
    let mut streams = || [rng.below(6) + 1, rng.below(6) + 1];
    scenario.plan.streams = [streams(), streams()];
    scenario.plan.longest = [0, 3000, 40_000, 150_000][rng.below(4) as usize];
    scenario.plan.abandon = one_in(rng, 2);
    scenario.plan.read_pause = one_in(rng, 5).then_some(ms(2));
    scenario.limit = patience(&scenario.plan, delay, 50_000);
    let any = |what: fn(&Node) -> bool| scenario.links.iter().flatten().any(what);
    if any(|node| matches!(node, Node::Loss(share) if *share >= 0.1))
        && any(|node| matches!(node, Node::Blackouts { .. } | Node::LossInRuns { .. }))
    {
        // Six probes in a row may be lost with their acknowledgments, and each waits twice as long as the one before.
        scenario.limit *= 5;
        for host in &mut scenario.hosts {
            host.config.max_idle_timeout = Some(scenario.limit);
        }
    }
    scenario
}

fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

fn random_link(rng: &mut Rng, delay: Duration) -> Vec<Node> {
    let mut nodes = Vec::new();
    if !one_in(rng, 4) {
        let rate = [1, 5, 20, 100][rng.below(4) as usize];
        nodes.push(Node::megabits(rate, 15 + rng.below(100) as usize));
    }
    if !one_in(rng, 3) {
        nodes.push(Node::Loss([0.002, 0.01, 0.03, 0.1][rng.below(4) as usize]));
    }
    if one_in(rng, 2) {
        let share = [0.01, 0.1][rng.below(2) as usize];
        nodes.push(Node::Reorder { share, by: delay / 4 + ms(rng.below(10)) });
    }
    if one_in(rng, 2) {
        nodes.push(Node::Duplicate { share: 0.03, after: ms(rng.below(200)) });
    }
    match rng.below(16) {
        0 | 1 => nodes.push(Node::Corrupt(0.02)),
        2 => nodes.push(Node::Mark(0.05)),
        3 => nodes.push(Node::Bleach),
        4 => {
            let start = ms(rng.below(500));
            nodes.push(Node::Blackhole(start..start + ms(rng.below(3000))));
        }
        5 | 6 => {
            let start = ms(rng.below(2000));
            let mtu = [1228, 1280, 1400][rng.below(3) as usize];
            nodes.push(Node::Narrow { times: start..start + ms(rng.below(20_000)), mtu });
        }
        7 => nodes.push(Node::LossInRuns { share: 0.1, longest: 3 }),
        8 => nodes.push(Node::Blackouts { on: ms(2000 + rng.below(3000)), off: ms(rng.below(700)) }),
        _ => {}
    }
    nodes.push(Node::Delay(delay));
    nodes
}

fn random_behaviour(rng: &mut Rng, mut config: TransportConfig) -> Behaviour {
    if one_in(rng, 3) {
        config.stream_receive_window = 3000 + rng.below(30_000);
        config.receive_window = 4000 + rng.below(60_000);
    }
    if one_in(rng, 3) {
        config.max_concurrent_bidi_streams = 1 + rng.below(3);
        config.max_concurrent_uni_streams = 1 + rng.below(3);
    }
    if one_in(rng, 4) {
        config.initial_mtu = 1452;
    }
    let segments = [1, 10, 64][rng.below(3) as usize];
    Behaviour {
        config,
        segments,
        coarse_timers: one_in(rng, 2),
        retry: one_in(rng, 4),
        large_certificate: false,
    }
}
