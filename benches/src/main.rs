//! `compare`: ours, the peers and the physical limit, side by side in one run.
//!
//! ```text
//! cargo run --release -p gannet-benches --features peers --bin compare
//! ```
//!
//! Client and server run in one process on a thread each, over loopback, with packets of one size. The contenders take
//! turns in each round, the order turning round as well: machines drift, so that only figures of one round compare.

mod gannet_contender;
mod limit;
#[cfg(feature = "peers")]
mod quinn_peer;
mod report;
mod tls;
mod workload;

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Parser;

use crate::workload::{Contender, Workload};

/// Ours, the peers and the physical limit, side by side in one run.
#[derive(Debug, Parser)]
struct Options {
    /// How often each contender runs each workload.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Size of the download, MiB.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// Number of small requests.
    #[arg(long, default_value_t = 50_000)]
    requests: u64,
    /// How many requests are under way at a time.
    #[arg(long, default_value_t = 64)]
    concurrent: u64,
    /// Length of a response, bytes.
    #[arg(long, default_value_t = 1024)]
    response: u64,
    /// Number of datagrams, of 1200 bytes each.
    #[arg(long, default_value_t = 1_000_000)]
    datagrams: u64,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    work: String,
    /// Only contenders whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// One line of JSON per figure instead of a table.
    #[arg(long)]
    json: bool,
}

fn contenders() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(gannet_contender::Gannet),
        Box::new(limit::Limit(limit::Work::Udp)),
        Box::new(limit::Limit(limit::Work::Sealed)),
        #[cfg(feature = "peers")]
        Box::new(quinn_peer::Quinn),
    ]
}

fn main() -> Result<()> {
    let options = Options::parse();
    let workloads = [
        Workload::Download { bytes: options.mib << 20 },
        Workload::Requests {
            count: options.requests,
            concurrent: options.concurrent,
            response: options.response,
        },
        Workload::Datagrams { count: options.datagrams, size: 1200 },
    ];
    let mut contenders = contenders();
    contenders.retain(|contender| contender.name().contains(&options.only));

    let mut out = io::stdout().lock();
    for workload in workloads.into_iter().filter(|workload| workload.name().contains(&options.work)) {
        let contenders: Vec<_> = contenders.iter().filter(|contender| contender.can(workload)).collect();
        let mut costs: Vec<_> = contenders.iter().map(|contender| (contender.name(), Vec::new())).collect();
        for round in 0..options.rounds {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let contender = &contenders[index];
                let cost = contender.run(workload).with_context(|| {
                    format!("{}: {}, round {}", contender.name(), workload.name(), round + 1)
                })?;
                costs[index].1.push(cost);
            }
        }
        let figures = report::figures(workload, &costs);
        if options.json {
            report::print_json(&mut out, &figures)?;
        } else {
            report::print_table(&mut out, &figures)?;
        }
        out.flush()?;
    }
    Ok(())
}
