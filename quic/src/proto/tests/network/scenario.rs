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

/// A pair's client and server, and where its client may go.
fn addresses(pair: u8) -> [SocketAddr; 3] {
    [[10, 0, 0, 1 + 2 * pair], [10, 0, 0, 2 + 2 * pair], [10, 0, 1, 1 + 2 * pair]]
        .map(|ip| SocketAddr::from((ip, 443)))
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
    /// What begins when the handshake is confirmed.
    pub(super) moves: Moves,
    /// So many clients, each with a server of its own.
    pub(super) pairs: u8,
    /// Nodes that come before those of the links, from the clients and back, and that all pairs have in common.
    pub(super) shared: [Vec<Node>; 2],
    /// All must be sent and acknowledged within this time.
    pub(super) limit: Duration,
}

/// Where the first client goes; times count from when the handshake is confirmed.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// From when on the server sees it at which address.
    pub(super) rebindings: Vec<(Duration, SocketAddr)>,
    /// When it goes to its other address, and back again.
    pub(super) migrations: Vec<Duration>,
}

/// How a run went, for the first pair.
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
    pub(super) idle_frames_received: u64,
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
            idle_frames_received: stats.idle_frames_received,
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
            moves: Moves::default(),
            pairs: 1,
            shared: Default::default(),
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

    /// The same over links without some of their nodes.
    pub(super) fn without(mut self, left_out: fn(&Node) -> bool) -> Self {
        self.links.iter_mut().for_each(|nodes| nodes.retain(|node| !left_out(node)));
        self
    }

    /// Runs it: everything arrives, nothing is left over, the connection closes, silence follows.
    pub(super) fn run(self) -> Report {
        let _story = Story(self.seed);
        let [client, server, _] = addresses(0);
        let mut network = self.network();
        network.nat(client, self.nat.clone());
        let mut hosts = self.hosts();
        let limit = self.limit;
        let must = |end: End, hosts: &mut [Host]| {
            let End::Done(time) = end else {
                let error = |host: &mut Host| host.main().and_then(|hosted| hosted.closed.take());
                panic!("{end:?}: {:?}", hosts.iter_mut().map(error).collect::<Vec<_>>());
            };
            time
        };
        let moves = &self.moves;
        if !moves.rebindings.is_empty() || !moves.migrations.is_empty() {
            let end = run(&mut network, &mut hosts, limit, |hosts| hosts[..2].iter().all(Host::is_confirmed));
            let now = must(end, &mut hosts);
            let later = |(at, address): &(Duration, SocketAddr)| (now + *at, *address);
            network.nat(client, moves.rebindings.iter().map(later).collect());
            hosts[0].migrate_at(moves.migrations.iter().map(|at| network.now() + *at));
        }
        let end = run(&mut network, &mut hosts, limit, |hosts| hosts.iter().all(Host::is_done));
        let time = must(end, &mut hosts);
        let mut quiet = false;
        for _ in 0..1000 {
            quiet = hosts.iter_mut().all(|host| host.main().is_some_and(|hosted| hosted.is_quiet()));
            if quiet {
                break;
            }
            run(&mut network, &mut hosts, ms(100), |_| false);
        }
        // The last acknowledgments may get lost until the ends take each other for gone.
        let timed_out = |hosts: &[Host]| hosts.iter().all(Host::is_closed);
        assert!(quiet || hosts.chunks(2).any(timed_out), "something is still going on");
        let mut summaries = Vec::new();
        for pair in hosts.chunks_mut(2) {
            let timed_out = timed_out(pair);
            for host in pair {
                let hosted = host.main().unwrap();
                if !timed_out {
                    hosted.assert_clean();
                }
                summaries.push(Summary::from(hosted.connection.stats()));
            }
        }
        let report = Report {
            time,
            links: [(client, server), (server, client)].map(|(from, to)| network.stats(from, to).unwrap()),
            client: summaries[0].clone(),
            server: summaries[1].clone(),
            seen: hosts[1].main().unwrap().connection.path().remote,
        };
        for (pair, summaries) in hosts.chunks(2).zip(summaries.chunks(2)) {
            let referee = pair[0].referee.borrow();
            referee.judge_handshakes();
            let sent = summaries.iter().map(|summary| summary.packets_sent).sum();
            assert!(referee.packets >= sent, "{} of {sent}", referee.packets);
        }
        close(&mut network, &mut hosts);
        report
    }

    fn network(&self) -> Network {
        let mut network = Network::new(self.seed, epoch());
        let mut common = |way: usize| -> Vec<Node> {
            self.shared[way].iter().map(|node| network.share(node.clone())).collect()
        };
        let common = [common(0), common(1)];
        for pair in 0..self.pairs {
            let [client, server, elsewhere] = addresses(pair);
            let there = if self.moves.migrations.is_empty() { &[client][..] } else { &[client, elsewhere] };
            for client in there {
                network.link(*client, server, [&common[0][..], &self.links[0]].concat());
                network.link(server, *client, [&common[1][..], &self.links[1]].concat());
            }
        }
        network
    }

    /// A client and its server, and the next pair.
    fn hosts(&self) -> Vec<Host> {
        let mut rng = Rng::from_u64(self.seed ^ 0x5eed);
        let mut hosts = Vec::new();
        for pair in 0..self.pairs {
            let [client, server, elsewhere] = addresses(pair);
            let [ours, theirs] = self.hosts.clone();
            let client = Host::client([client, elsewhere], server, ours, self.plan.clone(), &mut rng);
            let mut server = Host::server(server, theirs, self.plan.clone(), &mut rng);
            server.referee = client.referee.clone();
            hosts.extend([client, server]);
        }
        hosts
    }
}

/// The clients close their connections; the servers learn of it or notice, and silence follows.
fn close(network: &mut Network, hosts: &mut [Host]) {
    for client in hosts.iter_mut().step_by(2) {
        let now = network.now();
        client.main().unwrap().connection.close(now, VarInt::from_u32(7), bytes::Bytes::new());
    }
    let end = run(network, hosts, Duration::from_secs(6000), |_| false);
    assert!(matches!(end, End::Silence(_)), "after the close: {end:?}");
    assert!(hosts.iter().all(Host::is_closed));
    for server in hosts.iter_mut().skip(1).step_by(2) {
        let reason = server.main().and_then(|hosted| hosted.closed.take());
        let told =
            matches!(&reason, Some(ConnectionError::Application { code, .. }) if code.into_inner() == 7);
        assert!(told || matches!(reason, Some(ConnectionError::TimedOut)), "{reason:?}");
    }
}

/// Tells the seed if the run panics, wherever that may be.
struct Story(u64);

impl Drop for Story {
    #[expect(clippy::print_stderr, reason = "the way to say which run failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "\nseed {} failed; run it alone: Topology::<its kind>.scenario({}).run()\n",
                self.0, self.0
            );
        }
    }
}
