//! The client: downloads all that `REQUESTS` names.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use gannet::{
    Connection, Endpoint, KeyUpdateError, VarInt,
    config::{ClientConfig, ClientVersions, FirstFlight, TransportConfig, Version, default_provider},
};
use gannet_examples::{
    body,
    connect::connect,
    tls::{self, Trust},
};
use gannet_http3::client::{self, SendRequest};
use http::{Request, Uri};
use http_body_util::BodyExt;
use rustls::CipherSuite;
use tokio::{fs::File, io::AsyncWriteExt, task::JoinSet};

use crate::{
    case::{HANDSHAKE_TIMEOUT, TestCase},
    hq,
};

/// How often it is tried whether keys may be updated.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// After so much silence a client speaks up.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const DOWNLOADS: &str = "/downloads";

/// Downloads what a case is about.
pub async fn run(case: TestCase, requests: &str) -> Result<()> {
    let urls = requests.split_whitespace().map(str::parse).collect::<Result<Vec<Uri>, _>>()?;
    ensure!(!urls.is_empty(), "REQUESTS names no URL");
    match case {
        TestCase::Multiconnect => {
            for url in urls {
                // What a configuration remembers would make the next handshake another one.
                download(case, &config(case)?, vec![url]).await?;
            }
            Ok(())
        }
        TestCase::Resumption | TestCase::ZeroRtt => {
            let config = config(case)?;
            let mut first = urls;
            let others = first.split_off(1);
            download(case, &config, first).await?;
            if case == TestCase::ZeroRtt {
                download_early(&config, others).await
            } else {
                download(case, &config, others).await
            }
        }
        _ => download(case, &config(case)?, urls).await,
    }
}

fn config(case: TestCase) -> Result<ClientConfig> {
    // The runner's chains are longer than a verifier would put up with, and certificates are not what it tests.
    let mut provider = default_provider();
    if case == TestCase::ChaCha20 {
        provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
    let tls = tls::client(Trust::Anybody, &[case.alpn().as_bytes()])?.provider(provider).build()?;
    let transport = TransportConfig::builder()
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        // Behind a NAT that forgets, only the client can break the silence.
        .keep_alive_interval(Some(KEEP_ALIVE))
        .build()?;
    let versions = match case {
        TestCase::V2 => ClientVersions::default(),
        _ => ClientVersions::new(&[Version::V1])?,
    };
    // The runner reads ClientHellos out of captures; what it reads them with does not put all shapes together.
    let config = ClientConfig::new(tls).transport(transport).versions(versions);
    Ok(config.first_flight(FirstFlight::plain()))
}

/// Downloads files over one connection, all at once.
async fn download(case: TestCase, config: &ClientConfig, urls: Vec<Uri>) -> Result<()> {
    let first = urls.first().context("no URL")?;
    let host = first.host().context("a URL without a host")?;
    let connected = connect(config, host, first.port_u16().unwrap_or(443)).await?;
    if case == TestCase::Http3 {
        let (requests, connection) = client::handshake(connected.connection).await?;
        let running = tokio::spawn(connection);
        all(urls, move |url| get(requests.clone(), url)).await?;
        running.await??;
    } else {
        let connection = connected.connection;
        let download = all(urls, |url| hq_get(connection.clone(), url));
        if case == TestCase::KeyUpdate {
            tokio::try_join!(download, update_keys(&connection))?;
        } else {
            download.await?;
        }
        connection.close(VarInt::default(), b"");
    }
    connected.endpoint.close(VarInt::default(), b"").await;
    Ok(())
}

/// Downloads files over one connection to a server that is known, with requests that do not wait for the handshake.
async fn download_early(config: &ClientConfig, urls: Vec<Uri>) -> Result<()> {
    let first = urls.first().context("no URL")?;
    let host = first.host().context("a URL without a host")?;
    let mut addresses = tokio::net::lookup_host((host, first.port_u16().unwrap_or(443))).await?;
    let address = addresses.next().with_context(|| format!("{host} has no address"))?;
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::client((any, 0).into())?;
    let connecting = endpoint.connect_with(config, address, host)?;
    let Ok((connection, accepted)) = connecting.into_0rtt() else { bail!("{host} does not take early data") };
    let downloads = all(urls.clone(), |url| hq_get(connection.clone(), url)).await;
    if accepted.await {
        downloads?;
    } else {
        all(urls.clone(), |url| hq_get(connection.clone(), url)).await?;
    }
    connection.close(VarInt::default(), b"");
    endpoint.close(VarInt::default(), b"").await;
    Ok(())
}

/// Updates the keys as soon as that may be: the peer must have acknowledged something.
async fn update_keys(connection: &Connection) -> Result<()> {
    connection.handshake_confirmed().await?;
    loop {
        match connection.update_keys().await {
            Err(KeyUpdateError::NotAcknowledged) => tokio::time::sleep(POLL_INTERVAL).await,
            done => return Ok(done?),
        }
    }
}

async fn all<F>(urls: Vec<Uri>, get: impl Fn(Uri) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut downloads = JoinSet::new();
    for url in urls {
        downloads.spawn(get(url));
    }
    while let Some(done) = downloads.join_next().await {
        done??;
    }
    Ok(())
}

async fn hq_get(connection: Connection, url: Uri) -> Result<()> {
    hq::get(&connection, url.path(), &destination(&url)?).await.with_context(|| url.to_string())
}

async fn get(requests: SendRequest, url: Uri) -> Result<()> {
    let to = destination(&url)?;
    let response = requests.send_request(Request::get(url.clone()).body(body::empty())?).await?;
    ensure!(response.status().is_success(), "{url}: status {}", response.status());
    let mut body = response.into_body();
    let mut file = File::create(to).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            file.write_all(&data).await?;
        }
    }
    Ok(file.flush().await?)
}

fn destination(url: &Uri) -> Result<PathBuf> {
    let name = Path::new(url.path()).file_name().with_context(|| format!("{url} names no file"))?;
    Ok(Path::new(DOWNLOADS).join(name))
}
