//! The server: hands out /www on port 443.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use anyhow::{Context, Result};
use gannet::{
    Endpoint, Incoming,
    config::{
        EarlyDataPolicy, PreferredAddress, RetryPolicy, ServerConfig, ServerVersions, TransportConfig,
        Version,
    },
};
use gannet_examples::{certificate::Identity, root::Root, server, tls};

use crate::{
    case::{HANDSHAKE_TIMEOUT, TestCase},
    hq,
};

/// Where clients continue if they are asked to.
const PREFERRED_PORT: u16 = 444;

/// Serves until it is ended.
pub async fn run(case: TestCase) -> Result<()> {
    let root = Root::new(Path::new("/www")).context("/www")?;
    let identity = Identity::from_pem_files(Path::new("/certs/cert.pem"), Path::new("/certs/priv.key"))?;
    let tls = tls::server(identity, &[case.alpn().as_bytes()]).build()?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 443));
    let transport = TransportConfig::builder().handshake_timeout(HANDSHAKE_TIMEOUT).build()?;
    let retry = if case == TestCase::Retry { RetryPolicy::Always } else { RetryPolicy::Never };
    let versions = match case {
        TestCase::V2 => ServerVersions::default(),
        _ => ServerVersions::new(&[Version::V1])?,
    };
    let early = (case == TestCase::ZeroRtt).then(EarlyDataPolicy::new);
    let config =
        ServerConfig::new(tls).use_retry(retry).transport(transport).versions(versions).early_data(early);
    let endpoint = Endpoint::server(config.clone(), any)?;
    if case == TestCase::ConnectionMigration {
        endpoint.set_server_config(config.preferred_address(preferred_address(&endpoint)?))?;
    }
    if case == TestCase::Http3 {
        server::run(&endpoint, &root).await;
        return Ok(());
    }
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(serve(incoming, root.clone()));
    }
    Ok(())
}

async fn serve(incoming: Incoming, root: Root) {
    let connecting = incoming.accept();
    // Early requests are answered at once; without them nothing is lost either.
    match connecting.into_0rtt() {
        Ok((connection, _)) => hq::serve(connection, root).await,
        Err(connecting) => tracing::warn!(?connecting, "no connection"),
    }
}

/// Further sockets of the endpoint, and their addresses.
fn preferred_address(endpoint: &Endpoint) -> Result<PreferredAddress> {
    let (mut v4, mut v6) = (None, None);
    // Nothing is sent to the documentation's addresses: they show which of ours the system would use.
    for (any, elsewhere) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let socket = UdpSocket::bind(any)?;
        if socket.connect(elsewhere).is_ok() {
            match endpoint.add_socket(SocketAddr::new(socket.local_addr()?.ip(), PREFERRED_PORT))? {
                SocketAddr::V4(address) => v4 = Some(address),
                SocketAddr::V6(address) => v6 = Some(address),
            }
        }
    }
    Ok(PreferredAddress { v4, v6 })
}
