//! From messages to HEADERS frames.

use http::header::{CONNECTION, HOST, TE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, StatusCode, request, response};

use super::{Unsendable, has_host_and_port, is_connection_specific};
use crate::proto::frame;
use crate::qpack::encoder::SectionEncoder;

/// Appends the HEADERS frame of a request. A host field, if there is one, becomes `:authority` (but for CONNECT, if
/// the URI has one); without a scheme in the
/// URI it is "https". Fields that speak of a connection of HTTP/1.1 are left out. `max_size` is the peer's
/// MAX_FIELD_SECTION_SIZE. An error leaves `out` as it was.
pub(crate) fn encode_request(
    head: &request::Parts,
    max_size: u64,
    out: &mut Vec<u8>,
) -> Result<(), Unsendable> {
    let is_connect = head.method == Method::CONNECT;
    let authority = match (head.headers.get(HOST), head.uri.authority()) {
        (_, Some(authority)) if is_connect => Some(authority.clone()),
        // the application's word on whom it means, as in HTTP/1.1
        (Some(host), _) => Some(Authority::try_from(host.as_bytes()).map_err(|_| Unsendable::Target)?),
        (None, authority) => authority.cloned(),
    };
    let authority = authority.ok_or(Unsendable::MissingAuthority)?;
    let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if is_connect && !has_host_and_port(&authority) || path == "*" && head.method != Method::OPTIONS {
        return Err(Unsendable::Target);
    }
    headers_frame(max_size, out, |section| {
        section.line(":method", head.method.as_str().as_bytes(), false);
        if !is_connect {
            let scheme = head.uri.scheme_str().unwrap_or("https");
            section.line(":scheme", scheme.as_bytes(), false);
        }
        // user information has no place in `:authority` (RFC 9114 §4.3.1)
        let authority = authority.as_str();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        section.line(":authority", authority.as_bytes(), false);
        if !is_connect {
            if path.starts_with(['/', '*']) {
                section.line(":path", path.as_bytes(), false);
            } else {
                section.line(":path", format!("/{path}").as_bytes(), false);
            }
        }
        fields(section, &head.headers, |name| name != HOST);
    })
}

/// Appends the HEADERS frame of a response, interim ones included. Fields that speak of a connection of HTTP/1.1 are left
/// out. `max_size` is the peer's MAX_FIELD_SECTION_SIZE. An error leaves `out` as it was.
pub(crate) fn encode_response(
    head: &response::Parts,
    max_size: u64,
    out: &mut Vec<u8>,
) -> Result<(), Unsendable> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Unsendable::SwitchingProtocols);
    }
    headers_frame(max_size, out, |section| {
        section.line(":status", head.status.as_str().as_bytes(), false);
        fields(section, &head.headers, |name| name != TE);
    })
}

/// Appends the HEADERS frame of trailers. Fields that speak of a connection of HTTP/1.1 are left out. `max_size` is the
/// peer's MAX_FIELD_SECTION_SIZE. An error leaves `out` as it was.
pub(crate) fn encode_trailers(
    trailers: &HeaderMap,
    max_size: u64,
    out: &mut Vec<u8>,
) -> Result<(), Unsendable> {
    headers_frame(max_size, out, |section| fields(section, trailers, |name| name != TE))
}

fn headers_frame(
    max_size: u64,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut SectionEncoder<'_>),
) -> Result<(), Unsendable> {
    frame::encode_headers(out, |out| {
        let mut section = SectionEncoder::new(out);
        write(&mut section);
        let size = section.size();
        if size > max_size { Err(Unsendable::TooLarge { size, limit: max_size }) } else { Ok(()) }
    })
}

/// Writes the fields that may be sent and that `wanted` wants.
fn fields(section: &mut SectionEncoder<'_>, headers: &HeaderMap, wanted: impl Fn(&http::HeaderName) -> bool) {
    let has_connection = headers.contains_key(CONNECTION);
    for (name, value) in headers {
        let text = name.as_str();
        let bytes = value.as_bytes().trim_ascii();
        let is_sent = wanted(name)
            && !is_connection_specific(text)
            && (name != TE || bytes.eq_ignore_ascii_case(b"trailers"))
            && !(has_connection && is_named_by_connection(headers, text));
        if is_sent {
            section.line(text, bytes, value.is_sensitive());
        }
    }
}

/// Whether a `connection` field says that this field is meant for the next hop only (RFC 9110 §7.6.1).
fn is_named_by_connection(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    })
}
