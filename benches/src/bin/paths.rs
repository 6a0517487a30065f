//! `paths`: how fast bulk transfers are over paths of all kinds, and how they share one, by congestion controller.
//!
//! ```text
//! cargo run --release -p gannet-benches --features sim --bin paths
//! cargo run --release -p gannet-benches --features sim --bin paths -- --path burst --cc bbr --seed 7
//! ```
//!
//! Whole endpoints run over the nodes of the virtual network that the tests use, in virtual time: a figure says nothing
//! about this machine, and comes again with its seed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Parser;
use gannet::config::{ClientConfig, CongestionControl, DevCertificate, ServerConfig, TransportConfig};
use gannet::sim::{Network, Node};
use gannet::{Connection, Endpoint};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const NAME: &str = "server.test";
const ALPN: &[u8] = b"gannet-paths";
/// What a datagram of 1452 bytes takes of a link, and what it has for a stream.
const DATAGRAM: f64 = 1480.0;
const PAYLOAD: f64 = 1420.0;
/// A path is filled before it is measured.
const BEGINNING: Duration = Duration::from_secs(5);
/// Of virtual time, for a handshake.
const DEADLINE: Duration = Duration::from_secs(60);

/// How fast bulk transfers are over paths of all kinds, and how they share one.
#[derive(Debug, Parser)]
struct Options {
    /// The chance of all links, and what the endpoints draw, comes from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long is measured, in virtual seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only controllers whose name contains this.
    #[arg(long, default_value = "")]
    cc: String,
    /// Only paths whose name contains this.
    #[arg(long, default_value = "")]
    path: String,
}

/// A path from a server to its clients; the way back has its delay and nothing else.
struct Path {
    name: &'static str,
    megabits: u64,
    rtt: Duration,
    /// Before the bottleneck.
    faults: Vec<Node>,
    /// How many datagrams wait at the bottleneck.
    queue: usize,
    mark_from: Option<usize>,
}

impl Path {
    fn new(name: &'static str, megabits: u64, rtt_ms: u64) -> Self {
        let rtt = Duration::from_millis(rtt_ms);
        let holds = (megabits as f64 * 125_000.0 * rtt.as_secs_f64() / DATAGRAM) as usize;
        Self { name, megabits, rtt, faults: Vec::new(), queue: holds * 3 / 2, mark_from: None }
    }

    fn with(mut self, fault: Node) -> Self {
        self.faults.push(fault);
        self
    }

    fn bottleneck(&self) -> Node {
        Node::Bottleneck {
            bytes_per_second: self.megabits * 125_000,
            queue: self.queue,
            mark_from: self.mark_from,
        }
    }
}

fn paths() -> Vec<Path> {
    let ms = Duration::from_millis;
    let mut shallow = Path::new("10 Mbit/s, 30 ms, queue of 25", 10, 30);
    shallow.queue = 25;
    let mut marking = Path::new("10 Mbit/s, 40 ms, marks", 10, 40);
    (marking.queue, marking.mark_from) = (4 * marking.queue, Some(marking.queue / 2));
    vec![
        Path::new("50 Mbit/s, 60 ms", 50, 60),
        Path::new("50 Mbit/s, 60 ms, 0.1 % lost", 50, 60).with(Node::Loss(0.001)),
        Path::new("50 Mbit/s, 60 ms, 1 % lost", 50, 60).with(Node::Loss(0.01)),
        Path::new("20 Mbit/s, 40 ms, bursts of losses", 20, 40).with(Node::BurstLoss {
            begin: 0.002,
            end: 0.25,
            longest: ms(200),
        }),
        Path::new("20 Mbit/s, 40 ms, 2 % overtaken", 20, 40).with(Node::Reorder { share: 0.02, by: ms(8) }),
        shallow,
        marking,
        Path::new("20 Mbit/s, 600 ms", 20, 600),
        Path::new("500 Mbit/s, 100 ms", 500, 100),
    ]
}

const CONTROLLERS: [(&str, CongestionControl); 3] = [
    ("NewReno", CongestionControl::NewReno),
    ("CUBIC", CongestionControl::Cubic),
    ("BBR", CongestionControl::Bbr),
];

fn main() -> Result<()> {
    let options = Options::parse();
    let wanted = |name: &str| name.to_lowercase().contains(&options.cc.to_lowercase());
    writeln!(
        io::stdout(),
        "{:<36}{:<18}{:>8}{:>9}{:>9}{:>10}",
        "path",
        "controller",
        "Mbit/s",
        "of link",
        "lost",
        "RTT, ms"
    )?;
    for path in paths().iter().filter(|path| path.name.contains(&options.path)) {
        for (name, control) in CONTROLLERS.iter().filter(|(name, _)| wanted(name)) {
            let flow = &run(&options, path, std::slice::from_ref(control))?[0];
            line(path.name, name, flow, path)?;
        }
    }
    let shared = Path::new("50 Mbit/s, 60 ms, two flows", 50, 60);
    if !shared.name.contains(&options.path) {
        return Ok(());
    }
    for (at, (name, control)) in CONTROLLERS.iter().enumerate() {
        for (other_name, other) in &CONTROLLERS[at..] {
            if !wanted(name) && !wanted(other_name) {
                continue;
            }
            let flows = run(&options, &shared, &[control.clone(), other.clone()])?;
            line(shared.name, name, &flows[0], &shared)?;
            line("", other_name, &flows[1], &shared)?;
            let rates = [flows[0].bytes as f64, flows[1].bytes as f64];
            let jain = (rates[0] + rates[1]).powi(2) / (2.0 * (rates[0].powi(2) + rates[1].powi(2)));
            writeln!(io::stdout(), "{:<36}Jain's index {jain:.3}", "")?;
        }
    }
    Ok(())
}

fn line(path: &str, controller: &str, flow: &Flow, on: &Path) -> Result<()> {
    let megabits = flow.bytes as f64 * 8e-6 / flow.time.as_secs_f64();
    let share = 100.0 * megabits * DATAGRAM / PAYLOAD / on.megabits as f64;
    let lost = 100.0 * flow.lost as f64 / flow.packets.max(1) as f64;
    let rtt = flow.rtt.as_secs_f64() * 1e3;
    writeln!(
        io::stdout(),
        "{path:<36}{controller:<18}{megabits:>8.1}{share:>7.1} %{lost:>7.2} %{rtt:>10.0}"
    )?;
    Ok(())
}

/// What became of one connection in the time that is measured.
struct Flow {
    bytes: u64,
    time: Duration,
    packets: u64,
    lost: u64,
    /// The mean of what the sender takes for the round-trip time.
    rtt: Duration,
}

/// A download for each of the controllers, all through one bottleneck.
fn run(options: &Options, path: &Path, controls: &[CongestionControl]) -> Result<Vec<Flow>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let network = Network::new(options.seed);
        let bottleneck = network.share(path.bottleneck());
        let mut setting_up = JoinSet::new();
        for (at, control) in controls.iter().enumerate() {
            let at = u8::try_from(at)?;
            let (server, client) = (host([10, 0, 1, at]), host([10, 0, 2, at]));
            let there = [path.faults.clone(), vec![bottleneck.clone(), Node::Delay(path.rtt / 2)]].concat();
            // A little noise: without it drops depend on how two clocks happen to stand.
            let noise = if controls.len() > 1 { Duration::from_millis(5) } else { Duration::ZERO };
            network.link(server, client, there);
            network.link(client, server, vec![Node::Jitter(noise), Node::Delay(path.rtt / 2)]);
            let (client_config, server_config) = configs(control)?;
            let serving = network.server((server, 443), server_config)?;
            let calling = network.client((client, 0), client_config)?;
            setting_up.spawn(async move { (at, transfer(&serving, &calling).await) });
        }
        let mut transfers = BTreeMap::new();
        while let Some(done) = setting_up.join_next().await {
            let (at, transfer) = done?;
            transfers.insert(at, transfer?);
        }
        measure(options, &network, &transfers.into_values().collect::<Vec<_>>()).await
    })
}

/// The sending end of a transfer that never ends, and how many bytes have arrived.
struct Transfer {
    sender: Connection,
    received: Arc<AtomicU64>,
}

async fn transfer(serving: &Endpoint, calling: &Endpoint) -> Result<Transfer> {
    let connecting = calling.connect(serving.local_addr()?, NAME)?;
    let (client, sender) =
        tokio::try_join!(async { anyhow::Ok(timeout(DEADLINE, connecting).await??) }, async {
            let incoming = serving.accept().await.context("closed")?;
            anyhow::Ok(timeout(DEADLINE, incoming).await??)
        })?;
    let mut send = sender.open_uni().await?;
    tokio::spawn(async move {
        let data = Bytes::from(vec![42; 64 << 10]);
        while send.write_chunk(data.clone()).await.is_ok() {}
    });
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    tokio::spawn(async move {
        let mut recv = client.accept_uni().await?;
        while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        anyhow::Ok(())
    });
    Ok(Transfer { sender, received })
}

async fn measure(options: &Options, network: &Network, transfers: &[Transfer]) -> Result<Vec<Flow>> {
    sleep(BEGINNING).await;
    let now = |transfer: &Transfer| {
        let stats = transfer.sender.stats();
        [transfer.received.load(Ordering::Relaxed), stats.packets_sent, stats.packets_lost]
    };
    let begin = network.elapsed();
    let before: Vec<_> = transfers.iter().map(now).collect();
    let mut rtts = vec![Duration::ZERO; transfers.len()];
    let samples = u32::try_from(options.seconds * 10).context("so many seconds")?.max(1);
    for _ in 0..samples {
        sleep(Duration::from_millis(100)).await;
        for (rtt, transfer) in rtts.iter_mut().zip(transfers) {
            *rtt += transfer.sender.stats().rtt / samples;
        }
    }
    let time = network.elapsed() - begin;
    let flow = |((transfer, before), rtt): ((&Transfer, [u64; 3]), Duration)| {
        let after = now(transfer);
        let [bytes, packets, lost] = [0, 1, 2].map(|at| after[at] - before[at]);
        Flow { bytes, time, packets, lost, rtt }
    };
    Ok(transfers.iter().zip(before).zip(rtts).map(flow).collect())
}

fn host(octets: [u8; 4]) -> IpAddr {
    Ipv4Addr::from(octets).into()
}

/// Nothing in their handshakes varies in length, so that runs repeat.
fn configs(control: &CongestionControl) -> Result<(ClientConfig, ServerConfig)> {
    let certificate = DevCertificate::ed25519([NAME])?;
    let transport =
        TransportConfig::builder().initial_mtu(1452).congestion_control(control.clone()).build()?;
    Ok((certificate.client_config(&[ALPN])?, certificate.server_config(&[ALPN])?.transport(transport)))
}
