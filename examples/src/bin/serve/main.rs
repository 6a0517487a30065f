//! `serve`: hands out the files of a folder over HTTP/3.

mod options;

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use clap::Parser;
use gannet::{
    Endpoint,
    config::{EarlyDataPolicy, RetryPolicy, ServerConfig},
};
use gannet_examples::{
    certificate::{Development, Identity},
    root::Root,
    server, tls,
};
use gannet_http3::Code;
use tempfile::NamedTempFile;

use crate::options::Options;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let root =
        Root::new(&options.root).with_context(|| format!("cannot serve {}", options.root.display()))?;

    let (identity, authority) = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => (Identity::from_pem_files(cert, key)?, None),
        _ => {
            let made = Development::new(&["localhost", "127.0.0.1", "::1"])?;
            (made.identity, Some(save(&made.authority)?))
        }
    };
    let retry = if options.retry { RetryPolicy::Always } else { RetryPolicy::default() };
    let early = EarlyDataPolicy::new().context(gannet_http3::server::Builder::new().early_data_context());
    let config = ServerConfig::new(tls::server(identity, &[b"h3"]).build()?)
        .use_retry(retry)
        .early_data(early)
        .transport(options.cc.transport()?);
    let endpoint = Endpoint::server(config, options.listen)
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = endpoint.local_addr()?;
    if let Some(authority) = &authority {
        let ca = authority.path().display();
        say(&format!("development certificate for localhost; its authority, as long as this runs: {ca}"))?;
        let (fetch, file) = (fetch_program(), some_file(&options.root));
        say(&format!("try: {fetch} --ca {ca} https://localhost:{}/{file}", address.port()))?;
    }
    say(&format!("listening on {address}"))?;

    tokio::select! {
        () = server::run(&endpoint, &root) => {}
        interrupted = interrupted() => interrupted?,
    }
    endpoint.close(Code::H3_NO_ERROR.into(), b"").await;
    Ok(())
}

/// Writes the authority to a file that lives as long as the program.
fn save(authority: &str) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("gannet-ca-").suffix(".pem").tempfile()?;
    file.write_all(authority.as_bytes())?;
    Ok(file)
}

/// How to call `fetch`: it mostly stands beside this program.
fn fetch_program() -> String {
    let beside = std::env::current_exe().map(|exe| exe.with_file_name("fetch")).ok();
    beside.filter(|fetch| fetch.is_file()).map_or_else(|| "fetch".into(), |fetch| fetch.display().to_string())
}

/// A file of the folder whose name can stand in a URL as it is; empty if there is none.
fn some_file(root: &Path) -> String {
    let plain = |name: &String| {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !name.starts_with('.') && name.bytes().all(unreserved)
    };
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.filter_map(|entry| entry.file_name().into_string().ok()).filter(plain).min().unwrap_or_default()
}

/// Scripts wait for these lines: each is written at once.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

#[cfg(unix)]
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
