//! The server: hands out /www on port 443.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result};
use gannet::{
    Endpoint, Incoming,
    config::{RetryPolicy, ServerConfig, ServerVersions, TransportConfig, Version},
};
use gannet_examples::{certificate::Identity, root::Root, server, tls};

use crate::{
    case::{HANDSHAKE_TIMEOUT, TestCase},
    hq,
};

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
    let config = ServerConfig::new(tls).use_retry(retry).transport(transport).versions(versions);
    let endpoint = Endpoint::server(config, any)?;
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
    match incoming.accept().await {
        Ok(connection) => hq::serve(connection, root).await,
        Err(error) => tracing::warn!(%error, "no connection"),
    }
}
