//! Connecting to a host by name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use gannet::{Connection, Endpoint, ZeroRttAccepted, config::ClientConfig};
use tokio::{task::JoinSet, time::Instant};

/// How long an address is tried before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection, and what is worth telling of it.
#[derive(Debug)]
pub struct Connected {
    /// Where the connection lives; to be closed with it.
    pub endpoint: Endpoint,
    /// The connection; its handshake is complete unless `early` is there.
    pub connection: Connection,
    /// What is sent now is early data: whether the server takes it.
    pub early: Option<ZeroRttAccepted>,
    /// What the handshake took.
    pub handshake: Duration,
}

/// Connects to the first address of `host` that answers. IPv6 addresses may stand in brackets.
///
/// # Errors
/// The name has no address, or none of them could be connected to; the error is that of the last to fail.
pub async fn connect(config: &ClientConfig, host: &str, port: u16) -> Result<Connected> {
    connect_to(config, host, port, false).await
}

/// The same for a server that was connected to before: does not wait for the handshake, if the server allows early data.
///
/// # Errors
/// Those of [`connect`].
pub async fn connect_early(config: &ClientConfig, host: &str, port: u16) -> Result<Connected> {
    connect_to(config, host, port, true).await
}

async fn connect_to(config: &ClientConfig, host: &str, port: u16, early: bool) -> Result<Connected> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = tokio::net::lookup_host((bare, port))
        .await
        .with_context(|| format!("cannot find {bare}"))?
        .collect::<Vec<_>>()
        .into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = anyhow::anyhow!("{bare} has no address");
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(attempt(config.clone(), address, bare.to_owned(), early));
        } else if attempts.is_empty() {
            return Err(failure);
        }
        let wait = if addresses.len() > 0 { HEAD_START } else { Duration::MAX };
        match tokio::time::timeout(wait, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(panicked))) => failure = panicked.into(),
            Ok(None) | Err(_) => {}
        }
    }
}

async fn attempt(config: ClientConfig, address: SocketAddr, host: String, early: bool) -> Result<Connected> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let started = now();
    let endpoint = Endpoint::client((any, 0).into())?;
    let cannot = || format!("cannot connect to {address}");
    let mut connecting = endpoint.connect_with(&config, address, &host).with_context(cannot)?;
    if early {
        match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                let handshake = started.elapsed();
                return Ok(Connected { endpoint, connection, early: Some(accepted), handshake });
            }
            Err(again) => connecting = again,
        }
    }
    let connection = connecting.await.with_context(cannot)?;
    Ok(Connected { endpoint, connection, early: None, handshake: started.elapsed() })
}

#[expect(clippy::disallowed_methods, reason = "a program reads the clock")]
fn now() -> Instant {
    Instant::now()
}
