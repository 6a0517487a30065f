//! What rustls complains about, as the error that closes the connection (RFC 9001 §4.8).

use rustls::{AlertDescription, CertificateError, Error, PeerMisbehaved};

use crate::crypto::tls::alert;
use crate::packet::{TransportError, TransportErrorCode};

/// The error to close with. `sent` is the alert that rustls would have sent, if it decided on one.
pub(super) fn transport_error(error: &Error, sent: Option<AlertDescription>) -> TransportError {
    let alert = match error {
        // RFC 9001 §4.6.1
        Error::PeerMisbehaved(PeerMisbehaved::InvalidMaxEarlyDataSize) => {
            return TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, error.to_string());
        }
        // RFC 9001 §8.1, where TLS over TCP sends illegal_parameter.
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            AlertDescription::NoApplicationProtocol
        }
        // No certificate for the name that was asked for (RFC 6066 §3).
        Error::General(_) if sent == Some(AlertDescription::AccessDenied) => {
            AlertDescription::UnrecognisedName
        }
        _ => sent.unwrap_or_else(|| alert_for(error)),
    };
    match error {
        Error::InvalidCertificate(CertificateError::Other(why)) => {
            alert::error(alert.into(), format_args!("invalid peer certificate: {why}"))
        }
        _ => alert::error(alert.into(), error),
    }
}

/// The alert for errors for which rustls names none.
fn alert_for(error: &Error) -> AlertDescription {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(why) => (*why).into(),
        Error::InvalidCertificate(why) => why.clone().into(),
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::DecryptError => AlertDescription::DecryptError,
        _ => AlertDescription::InternalError,
    }
}
