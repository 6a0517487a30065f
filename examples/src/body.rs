//! Bodies to send, of whatever they are made.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{fs::File, io::AsyncReadExt};
use tokio_util::io::ReaderStream;

/// What ends a body before its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body of any kind.
pub type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

/// Bytes taken from a file at a time.
const CHUNK: usize = 256 << 10;

/// No content.
#[must_use]
pub fn empty() -> BoxBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Content that is in memory.
#[must_use]
pub fn full(content: Bytes) -> BoxBody {
    Full::new(content).map_err(|never| match never {}).boxed_unsync()
}

/// The content of a file as it is now, read while it is sent, and its length.
///
/// # Errors
/// The file cannot be opened.
pub async fn file(path: &Path) -> Result<(BoxBody, u64)> {
    let open = async {
        let file = File::open(path).await?;
        let length = file.metadata().await?.len();
        std::io::Result::Ok((file, length))
    };
    let (file, length) = open.await.with_context(|| format!("cannot read {}", path.display()))?;
    let chunks = ReaderStream::with_capacity(file.take(length), CHUNK);
    Ok((StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)).boxed_unsync(), length))
}
