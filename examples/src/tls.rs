//! TLS settings of the programs.

use std::path::Path;

use anyhow::{Result, bail};
use gannet::config::{RustlsClient, RustlsClientBuilder, RustlsServer, RustlsServerBuilder};
use rustls::RootCertStore;

use crate::certificate::{Identity, read_certificates};

/// Whom a client believes.
#[derive(Debug, Copy, Clone)]
pub enum Trust<'a> {
    /// The authorities the system trusts.
    System,
    /// Those of a PEM file, and no others.
    File(&'a Path),
    /// Everybody: for tests on machines of one's own.
    Anybody,
}

/// A server that shows `identity` and speaks `alpn`. Its secrets go to the file that `SSLKEYLOGFILE` names, if it is set.
pub fn server(identity: Identity, alpn: &[&[u8]]) -> RustlsServerBuilder {
    RustlsServer::builder().alpn(alpn).cert(identity.chain, identity.key).key_log_file()
}

/// A client with this trust that speaks `alpn`. Its secrets go to the file that `SSLKEYLOGFILE` names, if it is set.
///
/// # Errors
/// No authority could be read.
pub fn client(trust: Trust<'_>, alpn: &[&[u8]]) -> Result<RustlsClientBuilder> {
    let builder = RustlsClient::builder().alpn(alpn).key_log_file();
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Anybody => return Ok(builder.dangerous().no_verification()),
        Trust::File(path) => {
            for certificate in read_certificates(path)? {
                roots.add(certificate)?;
            }
        }
        Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                bail!("the system has no trusted certificates; name some with --ca");
            }
        }
    }
    Ok(builder.roots(roots))
}
