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
        CONNECTION_WINDOW, Contender, DATAGRAMS, DEADLINE, OURS, PACKET, STREAM_WINDOW, Workload, datagrams,
        next_chunk, runtime, source, two_threads,
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
    tasks.spawn(send_datagrams(connection.clone(), source.clone()));
    // Ends when the client closes.
    while let Ok((send, recv)) = connection.accept_bi().await {
        tasks.spawn(respond(send, recv, source.clone()));
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    Ok(())
}

/// Each unidirectional stream asks for datagrams of some size, until it ends.
async fn send_datagrams(connection: Connection, source: Bytes) -> Result<()> {
    while let Ok(mut recv) = connection.accept_uni().await {
        let mut size = [0; 8];
        recv.read_exact(&mut size).await?;
        let size = usize::try_from(u64::from_be_bytes(size))?;
        let end = tokio::spawn(async move { recv.read_to_end(0).await });
        let mut batch = Vec::new();
        while !end.is_finished() {
            batch.extend(datagrams(&source, size));
            if connection.send_datagrams_wait(&mut batch).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

async fn read_datagrams(connection: &Connection, count: u64, size: usize) -> Result<()> {
    let mut ask = connection.open_uni().await?;
    ask.write_all(&(size as u64).to_be_bytes()).await?;
    let (mut got, mut batch) = (0, Vec::new());
    while got < count {
        got += connection.read_datagrams(&mut batch, DATAGRAMS).await? as u64;
        ensure!(batch.drain(..).all(|data| data.len() == size), "a datagram of another size");
    }
    ask.shutdown().await?;
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
    let work = async |workload| match workload {
        Workload::Datagrams { count, size } => read_datagrams(&connection, count, size).await,
        _ => workload.run(get.clone()).await,
    };
    work(workload.warm_up()).await?;
    let meter = Meter::start();
    work(workload).await?;
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
