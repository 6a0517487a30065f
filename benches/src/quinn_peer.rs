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
        CONNECTION_WINDOW, Contender, DEADLINE, PACKET, STREAM_WINDOW, Workload, next_chunk, runtime, socket,
        source, two_threads,
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
    // Ends when the client closes.
    while let Ok((send, recv)) = connection.accept_bi().await {
        tasks.spawn(respond(send, recv, source.clone()));
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
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
    workload.warm_up().run(get.clone()).await?;
    let meter = Meter::start();
    workload.run(get).await?;
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
