//! `demo`: a server and a client in one process, and a file that travels between them over HTTP/3.

use std::{
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use gannet::{
    Endpoint,
    config::{ClientConfig, ServerConfig},
};
use gannet_examples::{
    body,
    certificate::Development,
    connect::connect,
    root::Root,
    server,
    tls::{self, Trust},
};
use gannet_http3::{Code, client};
use http::Request;
use http_body_util::BodyExt;
use tokio::time::Instant;

const MIB: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    write_file(&file)?;
    let development = Development::new(&["localhost"])?;
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, &development.authority)?;

    let config = ServerConfig::new(tls::server(development.identity, &[b"h3"]).build()?);
    let listening = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
    let port = listening.local_addr()?.port();
    say(&format!("server: {MIB} MiB to hand out on udp port {port} of 127.0.0.1"));
    let serving = tokio::spawn({
        let (listening, root) = (listening.clone(), Root::new(folder.path())?);
        async move { server::run(&listening, &root).await }
    });

    let config = ClientConfig::new(tls::client(Trust::File(&authority), &[b"h3"])?.build()?);
    let connected = connect(&config, "localhost", port).await?;
    say(&format!(
        "client: connected in {:.2} ms, certificate verified",
        connected.handshake.as_secs_f64() * 1e3
    ));
    let quic = connected.connection.clone();
    let (requests, connection) = client::handshake(connected.connection).await?;
    let running = tokio::spawn(connection);

    let started = now();
    let request = Request::get(format!("https://localhost:{port}/file")).body(body::empty())?;
    let (head, mut body) = requests.send_request(request).await?.into_parts();
    let mut expected = std::fs::File::open(&file)?;
    let (mut bytes, mut scratch) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        scratch.resize(data.len(), 0);
        expected.read_exact(&mut scratch).context("more bytes than the file has")?;
        ensure!(scratch == data, "other bytes than the file's, after {bytes}");
        bytes += data.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(bytes == MIB << 20, "{bytes} bytes arrived");
    say(&format!(
        "client: {} over HTTP/3, {bytes} bytes in {seconds:.3} s ({:.2} Gbit/s), all as they were sent",
        head.status,
        bytes as f64 * 8e-9 / seconds
    ));
    say(&format!("client: round trip {:.0} us", quic.rtt().as_secs_f64() * 1e6));

    drop((requests, body, quic));
    running.await??;
    connected.endpoint.close(Code::H3_NO_ERROR.into(), b"").await;
    listening.close(Code::H3_NO_ERROR.into(), b"").await;
    serving.await?;
    say("both: closed");
    Ok(())
}

/// A file in which no two places look alike.
fn write_file(path: &Path) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..(MIB << 20) / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&(state ^ (state >> 33)).to_le_bytes())?;
    }
    Ok(file.flush()?)
}

#[expect(clippy::print_stdout, reason = "this is what the program has to say")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a program reads the clock")]
fn now() -> Instant {
    Instant::now()
}
