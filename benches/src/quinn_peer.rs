//! quinn as a contender: raw streams, AES-128-GCM, packets of the pinned size, windows as everyone's.
//!
//! A request is the number of bytes wanted, 8 bytes big-endian.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::{task::JoinSet, time::timeout};

use gannet_benches::meter::{Cost, Meter};

use crate::{
    tls,
    workload::{
        CONNECTION_WINDOW, Contender, DEADLINE, PACKET, STREAM_WINDOW, Workload, datagrams, next_chunk,
        runtime, socket, source, two_threads,
    },
};

/// The contender.
#[derive(Debug)]
pub struct Quinn;

impl Contender for Quinn {
    fn name(&self) -> &'static str {
        "quinn"
    }

    fn run(&self, workload: Workload) -> Result<Cost> {
        let (server, client) = tls::pair()?;
        two_threads(
            move |ready| {
                runtime()?.block_on(async {
                    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(server)?;
                    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                    config.transport_config(transport()?);
                    let endpoint = endpoint(Some(config))?;
                    ready.send(endpoint.local_addr()?)?;
                    let incoming = timeout(DEADLINE, endpoint.accept()).await?.context("no connection")?;
                    let served = timeout(DEADLINE, serve(incoming.await?)).await;
                    endpoint.close(VarInt::from_u32(0), b"");
                    served?
                })
            },
            move |address| {
                runtime()?.block_on(async {
                    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(client)?;
                    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
                    config.transport_config(transport()?);
                    let endpoint = endpoint(None)?;
                    let cost = timeout(DEADLINE, fetch(&endpoint, config, address, workload)).await??;
                    endpoint.close(VarInt::from_u32(0), b"");
                    endpoint.wait_idle().await;
                    Ok(cost)
                })
            },
        )
    }
}

fn endpoint(server: Option<quinn::ServerConfig>) -> Result<Endpoint> {
    Ok(Endpoint::new(EndpointConfig::default(), server, socket()?, Arc::new(TokioRuntime))?)
}

fn transport() -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config
        .initial_mtu(u16::try_from(PACKET)?)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(1024))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW));
    Ok(Arc::new(config))
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
        'sending: while !end.is_finished() {
            for data in datagrams(&source, size) {
                if connection.send_datagram_wait(data).await.is_err() {
                    break 'sending;
                }
            }
        }
    }
    Ok(())
}

async fn read_datagrams(connection: &Connection, count: u64, size: usize) -> Result<()> {
    let mut ask = connection.open_uni().await?;
    ask.write_all(&(size as u64).to_be_bytes()).await?;
    for _ in 0..count {
        ensure!(connection.read_datagram().await?.len() == size, "a datagram of another size");
    }
    ask.finish()?;
    Ok(())
}

async fn respond(mut send: quinn::SendStream, mut recv: quinn::RecvStream, source: Bytes) -> Result<()> {
    let mut wanted = [0; 8];
    recv.read_exact(&mut wanted).await?;
    let mut left = u64::from_be_bytes(wanted);
    while let Some(chunk) = next_chunk(&source, &mut left) {
        send.write_chunk(chunk).await?;
    }
    send.finish()?;
    Ok(())
}

async fn fetch(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
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
    connection.close(VarInt::from_u32(0), b"");
    Ok(cost)
}

async fn get(connection: Connection, wanted: u64) -> Result<()> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&wanted.to_be_bytes()).await?;
    send.finish()?;
    let mut got = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        got += chunk.bytes.len() as u64;
    }
    ensure!(got == wanted, "{got} bytes arrived, {wanted} were wanted");
    Ok(())
}
