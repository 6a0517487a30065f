//! `gannet-interop client|server`: an endpoint of the QUIC interop runner.
//!
//! The runner tells what to do in environment variables and expects files in fixed places; a test case that is not
//! supported ends with exit status 127. See <https://github.com/quic-interop/quic-interop-runner>.
//!
//! | file | holds |
//! |---|---|
//! | `case` | the test cases by name |
//! | `client`, `server` | the two roles |
//! | `hq` | HTTP/0.9 on QUIC streams, which most cases speak |

mod case;
mod client;
mod hq;
mod server;

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::case::TestCase;

/// What the runner takes as "not supported".
const UNSUPPORTED: u8 = 127;

/// An endpoint of the QUIC interop runner.
#[derive(Debug, Parser)]
#[command(version)]
enum Role {
    /// Downloads the URLs in REQUESTS to /downloads.
    Client,
    /// Serves /www on port 443.
    Server,
}

// On one thread, requests that are made together are packed together.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let role = Role::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let name = env::var("TESTCASE").unwrap_or_default();
    let Some(case) = TestCase::from_name(&name) else {
        say(&format!("test case {name:?} is not supported"));
        return ExitCode::from(UNSUPPORTED);
    };
    match run(&role, case).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(role: &Role, case: TestCase) -> Result<()> {
    match role {
        Role::Client => client::run(case, &env::var("REQUESTS").unwrap_or_default()).await,
        Role::Server => server::run(case).await,
    }
}

#[expect(clippy::print_stderr, reason = "the runner keeps what endpoints say here")]
fn say(line: &str) {
    eprintln!("{line}");
}
