//! `idle`: what connections cost a server that only keeps them.
//!
//! ```text
//! cargo run --release -p gannet-benches --bin idle
//! cargo run --release -p gannet-benches --bin idle -- --keep-alive 5 --watch 30
//! ```
//!
//! The server is this process, the client another one that it starts, so that neither counts for the other. Bytes are
//! resident memory, whatever holds it: connections, tasks, what the allocator could not give back. It fails if that is
//! more than 16 KiB (`--limit`). Linux only.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gannet::config::{
    ClientConfig, DevCertificate, EndpointConfig, RustlsClient, TransportConfig, TransportConfigBuilder,
};
use gannet::{Connection, Endpoint, VarInt};
use gannet_benches::meter::{Cost, Meter};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const NAME: &str = "localhost";
const ALPN: &[u8] = b"gannet-idle";
/// The connections that come first, and are not measured: they fill pools and warm the allocator.
const FIRST: usize = 100;
/// How many handshakes are under way at a time.
const CONCURRENT: usize = 32;
/// Nothing may take longer than this.
const DEADLINE: Duration = Duration::from_secs(300);

/// What connections cost a server that only keeps them.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// How many connections.
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// The client breaks the silence after so many seconds; 0: never.
    #[arg(long, default_value_t = 0)]
    keep_alive: u64,
    /// How long CPU time is measured, seconds.
    #[arg(long, default_value_t = 10)]
    watch: u64,
    /// More bytes of the server's memory for each connection than these are a failure.
    #[arg(long, default_value_t = 16 << 10)]
    limit: usize,
    /// Be the client of the server at this address.
    #[arg(long, hide = true, requires = "hash")]
    client: Option<SocketAddr>,
    /// The hash of the server's certificate.
    #[arg(long, hide = true)]
    hash: Option<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.client {
            Some(server) => client(&options, server).await,
            None => serve(&options).await,
        }
    })
}

fn transport() -> TransportConfigBuilder {
    TransportConfig::builder().max_idle_timeout(Some(Duration::from_secs(600)))
}

async fn serve(options: &Options) -> Result<()> {
    let certificate = DevCertificate::new([NAME])?;
    let config = certificate.server_config(&[ALPN])?.transport(transport().build()?);
    let endpoint = Endpoint::builder()
        .config(EndpointConfig::builder().max_connections(2 * options.connections + FIRST).build()?)
        .server(config)
        .bind(([127, 0, 0, 1], 0).into())?;
    let mut client = Command::new(std::env::current_exe()?)
        .args(["--client", &endpoint.local_addr()?.to_string()])
        .args(["--hash", &hex(&certificate.sha256())])
        .args(["--connections", &options.connections.to_string()])
        .args(["--keep-alive", &options.keep_alive.to_string()])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;

    let first = accept(&endpoint, FIRST).await?;
    sleep(Duration::from_secs(1)).await;
    let before = resident()?;
    let connections = accept(&endpoint, options.connections).await?;
    // What handshakes leave behind has its time.
    sleep(Duration::from_secs(3)).await;
    let bytes = resident()?.saturating_sub(before) / connections.len();
    writeln!(io::stdout(), "{} connections: {bytes} bytes of the server's memory each", connections.len())?;
    ensure!(bytes <= options.limit, "that is more than {}", options.limit);

    let meter = Meter::start();
    sleep(Duration::from_secs(options.watch)).await;
    report("server", meter.stop())?;
    let alive = connections.iter().filter(|connection| connection.close_reason().is_none()).count();
    ensure!(alive == connections.len(), "only {alive} connections are left");
    // The client reports its part and goes when its input ends.
    drop(client.stdin.take());
    timeout(DEADLINE, client.wait()).await??;
    drop(first);
    Ok(())
}

fn report(side: &str, cost: Cost) -> Result<()> {
    let (cpu, wall) = (cost.cpu.as_secs_f64(), cost.wall.as_secs_f64());
    let share = 100.0 * cpu / wall;
    writeln!(io::stdout(), "{side}: {cpu:.3} s of CPU in {wall:.1} s, {share:.2} % of a core")?;
    Ok(())
}

async fn accept(endpoint: &Endpoint, count: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    let mut handshakes = JoinSet::new();
    for _ in 0..count {
        let incoming = timeout(DEADLINE, endpoint.accept()).await?.context("no connection")?;
        handshakes.spawn(async move {
            let connection = incoming.await?;
            connection.handshake_confirmed().await?;
            anyhow::Ok(connection)
        });
        while let Some(done) = handshakes.try_join_next() {
            connections.push(done??);
        }
    }
    while let Some(done) = timeout(DEADLINE, handshakes.join_next()).await? {
        connections.push(done??);
    }
    Ok(connections)
}

async fn client(options: &Options, server: SocketAddr) -> Result<()> {
    let hash = unhex(options.hash.as_deref().unwrap_or_default())?;
    let tls = RustlsClient::builder().alpn(&[ALPN]).server_certificate_hashes([hash]).build()?;
    let keep_alive = (options.keep_alive > 0).then(|| Duration::from_secs(options.keep_alive));
    let config = ClientConfig::new(tls)
        .transport(transport().keep_alive_interval(keep_alive).build()?)
        .token_store(None);
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let mut connections = dial(&endpoint, &config, server, FIRST).await?;
    sleep(Duration::from_secs(2)).await;
    connections.extend(dial(&endpoint, &config, server, options.connections).await?);
    sleep(Duration::from_secs(3)).await;
    let meter = Meter::start();
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await?;
    report("client", meter.stop())?;
    endpoint.close(VarInt::default(), b"").await;
    Ok(())
}

async fn dial(
    endpoint: &Endpoint,
    config: &ClientConfig,
    server: SocketAddr,
    count: usize,
) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    let mut handshakes = JoinSet::new();
    for _ in 0..count {
        if handshakes.len() == CONCURRENT
            && let Some(done) = handshakes.join_next().await
        {
            connections.push(done??);
        }
        let connecting = endpoint.connect_with(config, server, NAME)?;
        handshakes.spawn(async move { anyhow::Ok(connecting.await?) });
    }
    while let Some(done) = handshakes.join_next().await {
        connections.push(done??);
    }
    Ok(connections)
}

/// Resident memory of this process, bytes.
fn resident() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hash: &str) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    ensure!(hash.len() == 64 && hash.is_ascii(), "a hash has 64 digits");
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hash[2 * at..2 * at + 2], 16)?;
    }
    Ok(bytes)
}
