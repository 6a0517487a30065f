//! What the process holds, and whether that grows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gannet::Endpoint;
use tokio::runtime::Handle;

/// How much more of the last quarter's median than the second's is no growth: of memory in parts of it, and at least so many
/// bytes; and of descriptors.
const SLACK: (u64, u64, u64) = (20, 4 << 20, 8);

/// What was done so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub failed: AtomicU64,
    pub streams: AtomicU64,
    pub bytes: AtomicU64,
    pub datagrams: AtomicU64,
    pub moves: AtomicU64,
    pub failed_moves: AtomicU64,
    pub stuck: AtomicU64,
    pub garbage: AtomicU64,
    pub half: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// A stream came to its end.
    pub fn stream(&self, bytes: u64) {
        Self::add(&self.streams, 1);
        Self::add(&self.bytes, bytes);
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    memory: u64,
    descriptors: u64,
}

pub struct Report {
    server: Endpoint,
    clients: Vec<Endpoint>,
    counts: Arc<Counts>,
    samples: Vec<Sample>,
}

impl Report {
    pub fn new(server: Endpoint, clients: Vec<Endpoint>, counts: Arc<Counts>) -> Self {
        Self { server, clients, counts, samples: Vec::new() }
    }

    /// Prints a line, and keeps its figures.
    pub fn line(&mut self, elapsed: Duration) {
        let sample = Sample { memory: resident(), descriptors: descriptors() };
        self.samples.push(sample);
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (server, counts) = (self.server.stats(), &self.counts);
        let at_clients: usize = self.clients.iter().map(Endpoint::connections).sum();
        println!(
            "{:5.0} s: {:6.1} MiB, {} descriptors, {} tasks, connections {}+{}, handshakes {}, routes {}, closed {}; so far {} \
             connections ({} failed), {} streams, {} MiB, {} datagrams, {} moves ({} failed), {} garbage, {} half handshakes, {} resets sent, \
             {} turned away",
            elapsed.as_secs_f64(),
            sample.memory as f64 / f64::from(1 << 20),
            sample.descriptors,
            Handle::current().metrics().num_alive_tasks(),
            self.server.connections(),
            at_clients,
            server.handshakes,
            server.routes,
            server.closed_connections,
            get(&counts.connections),
            get(&counts.failed),
            get(&counts.streams),
            get(&counts.bytes) >> 20,
            get(&counts.datagrams),
            get(&counts.moves),
            get(&counts.failed_moves),
            get(&counts.garbage),
            get(&counts.half),
            server.stateless_resets,
            server.turned_away,
        );
    }

    /// Compares the second quarter of the run with the last.
    pub fn is_flat(&self) -> bool {
        let quarter = self.samples.len() / 4;
        let (Some(second), Some(last)) =
            (self.samples.get(quarter..2 * quarter), self.samples.get(self.samples.len() - quarter..))
        else {
            return false;
        };
        let memory = [second, last].map(|part| median(part, |sample| sample.memory));
        let descriptors = [second, last].map(|part| median(part, |sample| sample.descriptors));
        let ([Some(a), Some(b)], [Some(c), Some(d)]) = (memory, descriptors) else {
            println!("too short to say: no quarter has a sample");
            return true;
        };
        let (part, bytes, more) = SLACK;
        println!("second and last quarter: {a} and {b} bytes, {c} and {d} descriptors");
        b <= a + (a / part).max(bytes) && d <= c + more && self.counts.stuck.load(Ordering::Relaxed) == 0
    }

    /// True when no connection, open or closed, is left anywhere.
    pub fn is_empty(&self) -> bool {
        self.clients.iter().chain([&self.server]).all(|endpoint| {
            let stats = endpoint.stats();
            let nothing =
                [stats.routes, stats.closed_connections, stats.handshakes, stats.unauthenticated_memory];
            endpoint.connections() == 0 && nothing == [0; 4]
        })
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Option<u64> {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Open descriptors; 0 where the system does not tell.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}
