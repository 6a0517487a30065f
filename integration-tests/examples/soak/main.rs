//! A server and its clients, good and bad, for as long as one likes; fails if memory is not flat.
//!
//! ```text
//! cargo run --release -p gannet-integration-tests --example soak -- --minutes 20 [--clients 16] [--seed 1]
//! ```
//!
//! Memory is what the system has given to the process. With glibc set `MALLOC_ARENA_MAX=1`, so that free memory of one thread's
//! arena is not taken for a leak.
//!
//! Connections come and go, at a pace that the machine can keep; streams carry random amounts, are reset and stopped; there are
//! datagrams; clients move to other sockets; strangers send garbage and begin handshakes that they never finish. Every ten
//! seconds a line tells what the process holds. In the end the medians of the second and the last quarter of the run are
//! compared, and nothing may be left of all connections.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod bad;
mod client;
mod report;
mod server;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use gannet::{
    Endpoint, Rng, VarInt,
    config::{ClientConfig, ServerConfig, TransportConfig},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{RootCertStore, pki_types::PrivatePkcs8KeyDer};

use report::{Counts, Report};

const ALPN: &[u8] = b"soak";
const USAGE: &str = "usage: soak [--minutes N] [--clients N] [--seed N]";

struct Options {
    minutes: f64,
    clients: u64,
    seed: u64,
}

fn options(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { minutes: 20.0, clients: 16, seed: 1 };
    while let Some(arg) = args.next() {
        let value = args.next()?;
        match arg.as_str() {
            "--minutes" => options.minutes = value.parse().ok().filter(|minutes| *minutes > 0.0)?,
            "--clients" => options.clients = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

#[expect(clippy::disallowed_methods, reason = "a program reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn configs() -> (ClientConfig, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let client = ClientConfig::with_roots(roots, &[ALPN]).unwrap();
    let server = ServerConfig::with_single_cert(vec![cert.der().clone()], private, &[ALPN]).unwrap();
    // Short, so that what is left behind is found within the run.
    let transport = TransportConfig::builder()
        .max_idle_timeout(Some(Duration::from_secs(5)))
        .handshake_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    // A store that is full soon, so that what it holds does not look like growth.
    let sessions = rustls::server::ServerSessionMemoryCache::new(256);
    (client.transport(transport.clone()), server.transport(transport).session_store(sessions))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (client_config, server_config) = configs();
    let server = Endpoint::server(server_config, localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let clients: Vec<Endpoint> = (0..3)
        .map(|_| {
            let client = Endpoint::client(localhost()).unwrap();
            client.set_client_config(client_config.clone());
            client
        })
        .collect();
    let counts = Arc::new(Counts::default());
    let mut report = Report::new(server.clone(), clients.clone(), counts.clone());

    let begun = now();
    let until = begun + Duration::from_secs_f64(60.0 * options.minutes);
    let mut rng = Rng::from_u64(options.seed);
    let serving = tokio::spawn(server::run(server.clone()));
    let mut load = Vec::new();
    for n in 0..options.clients {
        let endpoint = clients[usize::try_from(n).unwrap() % clients.len()].clone();
        load.push(tokio::spawn(client::run(endpoint, addr, until, rng.fork(), counts.clone())));
    }
    load.push(tokio::spawn(bad::garbage(addr, until, rng.fork(), counts.clone())));
    load.push(tokio::spawn(bad::half_handshakes(clients[0].clone(), addr, until, counts.clone())));
    while now() < until {
        tokio::time::sleep((until - now()).min(Duration::from_secs(10))).await;
        report.line(now() - begun);
    }
    let mut well = true;
    for task in load {
        if let Err(error) = task.await {
            println!("a task of the load failed: {error}");
            well = false;
        }
    }
    well &= report.is_flat();

    // What is left must go by itself: handshakes and idle connections by their timeouts, closed ones after three PTO.
    let patience = now() + Duration::from_secs(60);
    while now() < patience && !report.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    report.line(now() - begun);
    if !report.is_empty() {
        println!("something is left of connections that are over");
        well = false;
    }
    server.close(VarInt::from_u32(0), b"").await;
    well &= serving.await.is_ok();
    println!("{:#?}", server.stats());
    println!("{}", if well { "flat" } else { "NOT FLAT" });
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
