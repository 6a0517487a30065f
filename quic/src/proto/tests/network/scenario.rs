//! From a seed to a network, two hosts and what they do; and how that went.

use std::net::SocketAddr;
use std::time::Duration;

use super::app::Plan;
use super::host::{Behaviour, Host};
use crate::config::TransportConfig;
use crate::error::ConnectionError;
use crate::net::sim::{End, LinkStats, Network, Node, run};
use crate::packet::{Rng, epoch};
use crate::proto::ConnectionStats;
use crate::wire::VarInt;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 443))
}

/// Everything that a run depends on.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    /// From the client to the server, and back.
    pub(super) links: [Vec<Node>; 2],
    pub(super) hosts: [Behaviour; 2],
    /// From when on the server sees the client at which address; never at another one if it is empty.
    pub(super) nat: Vec<(Duration, SocketAddr)>,
    pub(super) plan: Plan,
    /// All must be sent and acknowledged within this time.
    pub(super) limit: Duration,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    /// Until all was sent and acknowledged.
    pub(super) time: Duration,
    pub(super) links: [LinkStats; 2],
    pub(super) client: Summary,
    pub(super) server: Summary,
    /// Where the server saw the client at last.
    pub(super) seen: SocketAddr,
}

/// The figures of a connection that a replay must reproduce.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub(super) packets_sent: u64,
    pub(super) packets_lost: u64,
    pub(super) probe_timeouts: u64,
    pub(super) congestion_events: u64,
    pub(super) congestion_window: u64,
    pub(super) rtt: Duration,
    pub(super) mtu: usize,
    pub(super) mtu_probes_lost: u64,
    pub(super) mtu_black_holes: u64,
    pub(super) key_updates: u64,
    pub(super) authentication_failures: u64,
}

impl From<ConnectionStats> for Summary {
    fn from(stats: ConnectionStats) -> Self {
        Self {
            packets_sent: stats.packets_sent,
            packets_lost: stats.packets_lost,
            probe_timeouts: stats.probe_timeouts,
            congestion_events: stats.congestion_events,
            congestion_window: stats.congestion_window,
            rtt: stats.rtt,
            mtu: stats.mtu,
            mtu_probes_lost: stats.mtu_probes_lost,
            mtu_black_holes: stats.mtu_black_holes,
            key_updates: stats.key_updates,
            authentication_failures: stats.authentication_failures,
        }
    }
}

impl Scenario {
    /// A path without faults, one stream each way of each kind.
    pub(super) fn plain(seed: u64, nodes: &[Node]) -> Self {
        let config = TransportConfig::builder()
            .handshake_timeout(Duration::from_secs(120))
            .max_idle_timeout(Some(Duration::from_secs(120)))
            .build()
            .unwrap();
        let behaviour =
            Behaviour { config, segments: 10, coarse_timers: false, retry: false, large_certificate: false };
        Self {
            seed,
            links: [nodes.to_vec(), nodes.to_vec()],
            hosts: [behaviour.clone(), behaviour],
            nat: Vec::new(),
            plan: Plan {
                seed,
                streams: [[1, 1]; 2],
                longest: 20_000,
                all_longest: false,
                send_budget: 64 * 1024,
                abandon: false,
                read_pause: None,
            },
            limit: Duration::from_secs(60),
        }
    }

    /// One stream from the server of so many bytes, over one link each way.
    pub(super) fn download(seed: u64, bytes: u64, nodes: &[Node]) -> Self {
        let mut scenario = Self::plain(seed, nodes);
        let plan = &mut scenario.plan;
        (plan.streams, plan.longest, plan.all_longest) = ([[0, 0], [0, 1]], bytes, true);
        plan.send_budget = 16 << 20;
        scenario.limit = Duration::from_secs(600);
        for host in &mut scenario.hosts {
            host.coarse_timers = true;
        }
        scenario
    }

    /// Chosen by the seed from all that the network and the hosts can do.
    pub(super) fn random(seed: u64) -> Self {
        let rng = &mut Rng::from_u64(seed);
        let delay = [ms(0), ms(1), ms(5), ms(20), ms(50), ms(150)][rng.below(6) as usize];
        let mut scenario = Self::plain(seed, &[]);
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
        scenario.limit = scenario.patience(delay);
        scenario
    }

    /// Generous, but not forever: some rounds, the bytes at a low rate, and the reader's pauses.
    fn patience(&self, delay: Duration) -> Duration {
        let bytes = self.plan.bytes();
        let pauses = self.plan.read_pause.map_or(0, |_| bytes / 100);
        Duration::from_secs(30) + delay * 200 + ms(bytes / 20 + pauses)
    }

    /// The same over links without some of their nodes.
    pub(super) fn without(mut self, left_out: fn(&Node) -> bool) -> Self {
        self.links.iter_mut().for_each(|nodes| nodes.retain(|node| !left_out(node)));
        self
    }

    /// Runs it: everything arrives, nothing is left over, the connection closes, silence follows.
    pub(super) fn run(self) -> Report {
        let _story = Story(self.seed);
        let (client, server) = (address(1), address(2));
        let mut network = Network::new(self.seed, epoch());
        let [there, back] = self.links;
        network.link(client, server, there);
        network.link(server, client, back);
        network.nat(client, self.nat);
        let mut rng = Rng::from_u64(self.seed ^ 0x5eed);
        let [ours, theirs] = self.hosts;
        let mut hosts = [
            Host::client(client, server, ours, self.plan.clone(), &mut rng),
            Host::server(server, theirs, self.plan, &mut rng),
        ];
        hosts[1].referee = hosts[0].referee.clone();

        let end = run(&mut network, &mut hosts, self.limit, |hosts| hosts.iter().all(Host::is_done));
        let End::Done(time) = end else {
            let errors = hosts.map(|mut host| host.main().and_then(|hosted| hosted.closed.take()));
            panic!("{end:?} after {:?}: {errors:?}", network.elapsed());
        };
        let mut quiet = false;
        for _ in 0..1000 {
            quiet = hosts.iter_mut().all(|host| host.main().is_some_and(|hosted| hosted.is_quiet()));
            if quiet {
                break;
            }
            run(&mut network, &mut hosts, ms(100), |_| false);
        }
        // The last acknowledgments may get lost until the ends take each other for gone.
        let timed_out = hosts.iter().all(Host::is_closed);
        assert!(quiet || timed_out, "something is still going on");
        let stats = |host: &mut Host| {
            let hosted = host.main().unwrap();
            if !timed_out {
                hosted.assert_clean();
            }
            Summary::from(hosted.connection.stats())
        };
        let [client_host, server_host] = &mut hosts;
        let report = Report {
            time,
            links: [(client, server), (server, client)].map(|(from, to)| network.stats(from, to).unwrap()),
            client: stats(client_host),
            server: stats(server_host),
            seen: server_host.main().unwrap().connection.path().remote,
        };

        hosts[0].referee.borrow().judge_handshakes();
        let watched = hosts[0].referee.borrow().packets;
        assert!(watched >= report.client.packets_sent + report.server.packets_sent, "{watched}");

        let now = network.now();
        hosts[0].main().unwrap().connection.close(now, VarInt::from_u32(7), bytes::Bytes::new());
        let end = run(&mut network, &mut hosts, Duration::from_secs(600), |_| false);
        assert!(matches!(end, End::Silence(_)), "after the close: {end:?}");
        assert!(hosts.iter().all(Host::is_closed));
        let reason = hosts[1].main().and_then(|hosted| hosted.closed.take());
        let told =
            matches!(&reason, Some(ConnectionError::Application { code, .. }) if code.into_inner() == 7);
        assert!(told || matches!(reason, Some(ConnectionError::TimedOut)), "{reason:?}");
        report
    }
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

/// Tells the seed if the run panics, wherever that may be.
struct Story(u64);

impl Drop for Story {
    #[expect(clippy::print_stderr, reason = "the way to say which run failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nseed {} failed; run it alone with Scenario::random({})\n", self.0, self.0);
        }
    }
}
