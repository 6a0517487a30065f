//! The command line of `serve`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use gannet_examples::congestion::Cc;

/// Hands out the files of a folder over HTTP/3.
///
/// GET and HEAD of files; POST /echo returns the body as it arrives, POST /count the number of its bytes. Prints
/// `listening on ADDR:PORT` when it is ready.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    pub listen: SocketAddr,
    /// The folder; nothing outside of it is handed out.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// The server's certificate and its chain. Without it, one for development is made.
    #[arg(long, value_name = "PEM", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Have clients prove their address with Retry before a handshake begins.
    #[arg(long)]
    pub retry: bool,
    /// The congestion controller.
    #[arg(long, value_enum, default_value_t)]
    pub cc: Cc,
}
