//! `fetch`: requests URLs over HTTP/3.
//!
//! | file | holds |
//! |---|---|
//! | `options` | the command line |
//! | `exchange` | one request and its response |
//! | `output` | where bodies go, and the progress bar |
//! | `summary` | the line at the end |

mod exchange;
mod options;
mod output;
mod summary;

use std::{collections::HashMap, process::ExitCode};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use gannet::config::ClientConfig;
use gannet_examples::{
    body,
    connect::{Connected, connect, connect_early},
    tls,
};
use gannet_http3::{
    Code,
    client::{self, SendRequest},
};
use http::{Request, Uri};
use http_body_util::BodyExt;
use tokio::{task::JoinHandle, time::Instant};

use crate::{exchange::Exchange, options::Options, output::Output, summary::Summary};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::read();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("fetch: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let mut tls = tls::client(options.trust(), &[b"h3"])?;
    for pin in &options.pins {
        tls = tls.pin(*pin);
    }
    let config = ClientConfig::new(tls.build()?).transport(options.cc.transport()?);
    let mut servers = Servers { config, early: options.early, open: HashMap::new() };
    let mut summary = Summary::default();
    let fetched = fetch(options, &mut servers, &mut summary).await;
    servers.tell_of_early_data();
    // Also after a failure: the other servers are told.
    servers.close().await;
    fetched?;
    say(&summary.to_string());
    match summary.failure() {
        Some(status) => bail!("the server answered {status}"),
        None => Ok(()),
    }
}

/// All URLs, one after the other.
async fn fetch(options: &Options, servers: &mut Servers, summary: &mut Summary) -> Result<()> {
    let outputs = options.output.iter().map(Some).chain(std::iter::repeat(None));
    for (url, output) in options.urls.iter().zip(outputs) {
        let requests = servers.requests_to(url, summary).await?;
        let mut output = Some(Output::open(output.map(AsRef::as_ref)).await?);
        let started = now();
        futures::stream::iter(0..options.repeat)
            .map(|_| {
                let exchange = Exchange { options, url, requests: &requests };
                exchange.run(output.take().unwrap_or(Output::Nowhere))
            })
            .buffer_unordered(usize::try_from(options.concurrency)?)
            .try_for_each(|(status, bytes)| {
                summary.add(status, bytes);
                std::future::ready(Ok(()))
            })
            .await?;
        summary.time += started.elapsed();
    }
    Ok(())
}

/// A connection to each server that the URLs name.
struct Servers {
    config: ClientConfig,
    /// Requests are sent before the handshake.
    early: bool,
    open: HashMap<(String, u16), Server>,
}

struct Server {
    requests: SendRequest,
    running: JoinHandle<()>,
    endpoint: gannet::Endpoint,
}

impl Servers {
    async fn requests_to(&mut self, url: &Uri, summary: &mut Summary) -> Result<SendRequest> {
        let host = url.host().context("no host")?.to_owned();
        let port = url.port_u16().unwrap_or(443);
        if let Some(server) = self.open.get(&(host.clone(), port)) {
            return Ok(server.requests.clone());
        }
        let connected = if self.early {
            self.get_session(&host, port, url).await?;
            connect_early(&self.config, &host, port).await?
        } else {
            connect(&self.config, &host, port).await?
        };
        summary.handshake += connected.handshake;
        let server = Server::new(connected).await?;
        let requests = server.requests.clone();
        self.open.insert((host, port), server);
        Ok(requests)
    }

    /// Connects for once: the server hands out sessions with its first answer.
    async fn get_session(&self, host: &str, port: u16, url: &Uri) -> Result<()> {
        let server = Server::new(connect(&self.config, host, port).await?).await?;
        let request = Request::head(url.clone()).body(body::empty())?;
        server.requests.send_request(request).await?.into_body().collect().await?;
        server.close().await;
        Ok(())
    }

    fn tell_of_early_data(&self) {
        for ((host, _), server) in self.open.iter().filter(|_| self.early) {
            let quic = server.requests.quic();
            say(&match (quic.early_data_accepted(), quic.stats().early_packets_sent) {
                (Some(true), packets) => format!("{host} took {packets} packets of early data"),
                (Some(false), packets) => format!("{host} did not take {packets} packets of early data"),
                (None, _) => format!("{host} gave no session for early data"),
            });
        }
    }

    /// Closes all connections, and waits until the servers were told.
    async fn close(self) {
        for server in self.open.into_values() {
            server.close().await;
        }
    }
}

impl Server {
    async fn new(connected: Connected) -> Result<Self> {
        let Connected { endpoint, connection, early, .. } = connected;
        let (requests, connection) = match early {
            Some(accepted) => client::Builder::new().handshake_0rtt(connection, accepted),
            None => client::handshake(connection).await?,
        };
        let running = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection ended");
            }
        });
        Ok(Self { requests, running, endpoint })
    }

    /// Waits until the server was told.
    async fn close(self) {
        drop(self.requests);
        let _ = self.running.await;
        self.endpoint.close(Code::H3_NO_ERROR.into(), b"").await;
    }
}

#[expect(clippy::print_stderr, reason = "this is what the program has to say")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a program reads the clock")]
fn now() -> Instant {
    Instant::now()
}
