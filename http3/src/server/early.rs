//! Requests that came as early data.

/// Among the extensions of a request: it came before the handshake was complete, and may be a replay (RFC 8470).
///
/// Whoever has recorded it can send it again, so nothing should be done for it that must not be done twice. Only requests
/// with safe methods come so early; others wait by themselves until the handshake is complete. Who does not want to answer
/// it yet may wait with [`EarlyData::handshake_completed`], or answer with 425 (Too Early): clients send it again then.
///
/// ```
/// use gannet_http3::server::EarlyData;
/// use http::{Request, Response, StatusCode};
///
/// fn answer<B>(request: &Request<B>) -> Response<()> {
///     let mut response = Response::new(());
///     if request.extensions().get::<EarlyData>().is_some() && request.uri().path() == "/transfer-money" {
///         *response.status_mut() = StatusCode::TOO_EARLY;
///     }
///     response
/// }
/// ```
#[derive(Debug, Clone)]
pub struct EarlyData {
    pub(super) quic: gannet::Connection,
}

impl EarlyData {
    /// Waits until the handshake is complete: the request is no replay then.
    ///
    /// # Errors
    /// The connection ended before; nobody will read an answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn handshake_completed(&self) -> Result<(), gannet::ConnectionError> {
        self.quic.handshake_completed().await
    }
}
