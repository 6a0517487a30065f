//! Configuration: builders whose values are checked when they are built.
//!
//! | type | says | shared by |
//! |---|---|---|
//! | [`TransportConfig`] | windows, limits, timers of a connection | any number of client and server configurations |
//! | [`ClientConfig`], [`ServerConfig`] | TLS, and a transport | all connections that an endpoint opens, or accepts |
//! | [`FirstFlight`] | how the first packets of a client look | all connections that an endpoint opens |
//! | [`EndpointConfig`] | connection IDs, admission, buffers | all connections of a socket |

mod ack_frequency;
mod connection_id;
#[cfg(feature = "dev-cert")]
mod dev_cert;
mod endpoint;
mod first_flight;
mod peers;
mod quic_lb;
mod token_log;
mod token_store;
mod transport;
mod versions;

pub use ack_frequency::AckFrequency;
pub use connection_id::{ConnectionIdGenerator, RandomConnectionIds};
#[cfg(feature = "dev-cert")]
pub use dev_cert::{DevCertificate, DevCertificateError};
pub use endpoint::{EndpointConfig, EndpointConfigBuilder};
pub use first_flight::{FirstFlight, FirstFlightBuilder, PaddingPlace, ParameterOrder, PieceOrder};
pub use peers::{ClientConfig, RetryPolicy, ServerConfig};
pub use quic_lb::{QuicLbConfig, QuicLbConnectionIds};
pub use token_log::{BloomTokenLog, TokenLog};
pub use token_store::{MemoryTokenStore, TokenIssuer, TokenStore};
pub use transport::{TransportConfig, TransportConfigBuilder};
pub use versions::{ClientVersions, ServerVersions, Version};

#[cfg(feature = "aws-lc-rs")]
pub use crate::crypto::tls::rustls::aws_lc_rs_provider;
pub use crate::crypto::tls::rustls::{
    CertificatePin, DangerousClientBuilder, InvalidPin, RustlsClient, RustlsClientBuilder, RustlsServer,
    RustlsServerBuilder, default_provider,
};
pub use crate::crypto::tls::{
    ClientResumption, ClientTls, EarlyData, EarlyDataPolicy, MemorySessionStore, Remembered,
    ServerResumption, ServerTls, Session, SessionKey, SessionStore, StoredSession, TlsConfigError,
};
pub use crate::packet::{
    Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, LostPacket, Rtt,
};
pub use crate::packet::{DatagramPolicy, PreferredAddress};
pub use rustls::server::StoresServerSessions;

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The name of the builder's method.
    pub setting: &'static str,
    /// What is wrong with the value, to be read after the name.
    pub problem: &'static str,
}

/// An error about `setting` unless `ok`.
fn check(ok: bool, setting: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError { setting, problem }) }
}
