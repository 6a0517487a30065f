//! TLS alerts (RFC 8446 §6), which QUIC sends as error codes (RFC 9001 §4.8).

use std::fmt::Display;

use crate::packet::{TransportError, TransportErrorCode};

/// The name of an alert in the TLS registry; `None` if it is not there.
#[must_use]
pub(crate) fn name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// The error that closes a connection with an alert.
pub(crate) fn error(alert: u8, why: impl Display) -> TransportError {
    TransportError::new(
        TransportErrorCode::crypto(alert),
        format!("{}: {why}", name(alert).unwrap_or("unknown alert")),
    )
}
