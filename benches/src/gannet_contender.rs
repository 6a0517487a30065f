//! Ours as a contender: raw streams, AES-128-GCM, packets of the pinned size, windows as everyone's.
//!
//! A request is the number of bytes wanted, 8 bytes big-endian.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use gannet::{
    Connection, Endpoint, RecvStream, SendStream, VarInt,
    config::{ClientConfig, RustlsClient, RustlsServer, ServerConfig, TransportConfig},
};
use tokio::{io::AsyncWriteExt, task::JoinSet, time::timeout};

use gannet_benches::meter::{Cost, Meter};

use crate::{
    tls,
    workload::{
        CONNECTION_WINDOW, Contender, DEADLINE, OURS, PACKET, STREAM_WINDOW, Workload, next_chunk, runtime,
        source, two_threads,
    },
};

/// The contender.
#[derive(Debug)]
pub struct Gannet;

impl Contender for Gannet {
    fn name(&self) -> &'static str {
        OURS
    }

    fn run(&self, workload: Workload) -> Result<Cost> {
        let (server, client) = tls::pair()?;
        two_threads(
            move |ready| {
                runtime()?.block_on(async {
                    let config = ServerConfig::new(RustlsServer::new(server)?).transport(transport()?);
                    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into())?;
                    ready.send(endpoint.local_addr()?)?;
                    let incoming = timeout(DEADLINE, endpoint.accept()).await?.context("no connection")?;
                    timeout(DEADLINE, serve(incoming.await?)).await??;
                    endpoint.close(VarInt::default(), b"").await;
                    Ok(())
                })
            },
            move |address| {
                runtime()?.block_on(async {
                    let config = ClientConfig::new(RustlsClient::new(client)?).transport(transport()?);
                    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
                    let cost = timeout(DEADLINE, fetch(&endpoint, &config, address, workload)).await??;
                    endpoint.close(VarInt::default(), b"").await;
                    Ok(cost)
                })
            },
        )
    }
}

fn transport() -> Result<TransportConfig> {
    Ok(TransportConfig::builder()
        .initial_mtu(u16::try_from(PACKET)?)
        .mtu_upper_bound(None)
        .max_concurrent_bidi_streams(1024)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .build()?)
}

async fn serve(connection: Connection) -> Result<()> {
    let source = source();
    let mut tasks = JoinSet::new();
    // Ends when the client closes.
    while let Ok((send, recv)) = connection.accept_bi().await {
        tasks.spawn(respond(send, recv, source.clone()));
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    Ok(())
}

async fn respond(mut send: SendStream, mut recv: RecvStream, source: Bytes) -> Result<()> {
    let mut wanted = [0; 8];
    recv.read_exact(&mut wanted).await?;
    let mut left = u64::from_be_bytes(wanted);
    while let Some(chunk) = next_chunk(&source, &mut left) {
        send.write_chunk(chunk).await?;
    }
    send.shutdown().await?;
    Ok(())
}

async fn fetch(
    endpoint: &Endpoint,
    config: &ClientConfig,
    address: SocketAddr,
    workload: Workload,
) -> Result<Cost> {
    let connection = endpoint.connect_with(config, address, tls::NAME)?.await?;
    let get = {
        let connection = connection.clone();
        move |wanted| get(connection.clone(), wanted)
    };
    workload.warm_up().run(get.clone()).await?;
    let meter = Meter::start();
    workload.run(get).await?;
    let cost = meter.stop();
    connection.close(VarInt::default(), b"");
    Ok(cost)
}

async fn get(connection: Connection, wanted: u64) -> Result<()> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&wanted.to_be_bytes()).await?;
    send.shutdown().await?;
    let mut got = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
        got += chunk.len() as u64;
    }
    ensure!(got == wanted, "{got} bytes arrived, {wanted} were wanted");
    Ok(())
}
