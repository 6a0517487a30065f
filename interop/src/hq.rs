//! HTTP/0.9 on QUIC streams: `GET /path` and a line end up, the file down. Neither status nor header fields.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gannet::{Connection, RecvStream, SendStream};
use gannet_examples::root::Root;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

/// Longest request that is taken, bytes.
const MAX_REQUEST: usize = 4096;
/// Bytes taken from a file at a time.
const CHUNK: usize = 64 << 10;

/// Downloads a path into a file.
pub async fn get(connection: &Connection, path: &str, to: &Path) -> Result<()> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(format!("GET {path}\r\n").as_bytes()).await?;
    send.shutdown().await?;
    let mut file = File::create(to).await?;
    while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
        file.write_all(&chunk).await?;
    }
    Ok(file.flush().await?)
}

/// Answers all requests of a connection until it ends.
pub async fn serve(connection: Connection, root: Root) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let root = root.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(send, recv, root).await {
                tracing::warn!("request failed: {error:#}");
            }
        });
    }
}

async fn answer(mut send: SendStream, mut recv: RecvStream, root: Root) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\n") {
        let Some(chunk) = recv.read_chunk(MAX_REQUEST).await? else { break };
        request.extend_from_slice(&chunk);
        ensure!(request.len() <= MAX_REQUEST, "a request of more than {MAX_REQUEST} bytes");
    }
    let path = path_of(&request)?;
    let Some(file) = tokio::task::spawn_blocking(move || root.find(&path)).await? else {
        send.reset(404_u16.into())?;
        return Ok(());
    };
    let mut file = File::open(file).await?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        send.write_all(&chunk[..length]).await?;
    }
    send.finish().await?;
    Ok(())
}

fn path_of(request: &[u8]) -> Result<String> {
    let request = std::str::from_utf8(request).context("a request that is no text")?;
    let path = request.trim_end().strip_prefix("GET ").context("a request that is no GET")?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_get_and_a_path() {
        for request in ["GET /a b\r\n", "GET /a b\n", "GET /a b"] {
            assert_eq!(path_of(request.as_bytes()).unwrap(), "/a b");
        }
        for request in [&b"PUT /x\r\n"[..], b"", b"GET \xff"] {
            assert!(path_of(request).is_err());
        }
    }
}
