//! Where a body goes, and the bar that shows how far it has come.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter, Stdout},
};

/// Pieces are joined up to so many bytes: each write to a file costs two changes of thread.
const BUFFER: usize = 256 << 10;

/// Bodies shorter than this come without a bar, bytes.
const LONG: u64 = 1 << 20;

/// A file, standard output, or nothing at all.
pub enum Output {
    /// `-o FILE`.
    File(BufWriter<File>),
    /// The default.
    Stdout(BufWriter<Stdout>),
    /// For all responses but the first of a URL.
    Nowhere,
}

impl Output {
    /// The file, made or emptied, or else standard output.
    pub async fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout(BufWriter::with_capacity(BUFFER, tokio::io::stdout())));
        };
        let file = File::create(path).await.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(BufWriter::with_capacity(BUFFER, file)))
    }

    /// Writes a piece.
    pub async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(data).await,
            Self::Stdout(stdout) => stdout.write_all(data).await,
            Self::Nowhere => Ok(()),
        }
    }

    /// Waits until all of it is written.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush().await,
            Self::Stdout(stdout) => stdout.flush().await,
            Self::Nowhere => Ok(()),
        }
    }

    /// A bar on standard error if that is a terminal, the body does not go there as well, and it is long or may be.
    pub fn progress(&self, length: Option<u64>) -> ProgressBar {
        let shown = match self {
            Self::File(_) => true,
            Self::Stdout(_) => !io::stdout().is_terminal(),
            Self::Nowhere => false,
        };
        if !shown || length.is_some_and(|length| length < LONG) {
            return ProgressBar::hidden();
        }
        let template = "{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        bar.with_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
    }
}
