//! From field sections to messages.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, uri};

use super::{Malformed, SectionError, has_host_and_port, is_connection_specific};
use crate::qpack::StaticLine;
use crate::qpack::decoder::{self, FieldLine, Name, Value};

/// A message, and what it says about its content.
#[derive(Debug)]
pub(crate) struct Received<T> {
    pub(crate) message: T,
    /// The content-length.
    pub(crate) content_length: Option<u64>,
}

/// Decodes the header section of a request. Several `cookie` fields become one (RFC 9114 §4.2.1), equal
/// `content-length` fields too; the authority of the URI is that of `host` where there is no `:authority`. A scheme that
/// stands without an authority, which a URI cannot express, is an extension of the request.
pub(crate) fn request(section: &[u8], max_size: u64) -> Result<Received<Request<()>>, SectionError> {
    let mut head = RequestHead::default();
    let fields = fields(section, max_size, Te::Trailers, |name, value| head.pseudo_header(name, value))?;
    let content_length = fields.content_length;
    let message = head.finish(fields.headers).map_err(SectionError::Malformed)?;
    Ok(Received { message, content_length })
}

/// Decodes the header section of a response, interim ones included.
pub(crate) fn response(section: &[u8], max_size: u64) -> Result<Received<Response<()>>, SectionError> {
    let mut status = None;
    let fields = fields(section, max_size, Te::Forbidden, |name, value| match name {
        b":status" => once(&mut status, ":status", value, |value| {
            // there is no upgrade in HTTP/3 (RFC 9114 §4.5)
            StatusCode::from_bytes(&value).ok().filter(|status| *status != StatusCode::SWITCHING_PROTOCOLS)
        }),
        _ => Err(Malformed::UndefinedPseudoHeader),
    })?;
    let status = status.ok_or(SectionError::Malformed(Malformed::MissingPseudoHeader(":status")))?;
    let mut message = Response::new(());
    *message.status_mut() = status;
    *message.version_mut() = Version::HTTP_3;
    *message.headers_mut() = fields.headers;
    Ok(Received { message, content_length: fields.content_length })
}

/// Decodes a trailer section. A content-length there comes too late to mean anything, and is left out (RFC 9110 §6.5.1).
pub(crate) fn trailers(section: &[u8], max_size: u64) -> Result<HeaderMap, SectionError> {
    let fields = fields(section, max_size, Te::Forbidden, |_, _| Err(Malformed::PseudoHeaderInTrailers));
    let mut trailers = fields?.headers;
    trailers.remove(CONTENT_LENGTH);
    Ok(trailers)
}

/// Sets a pseudo-header field that may be set once.
fn once<T>(
    field: &mut Option<T>,
    name: &'static str,
    value: Bytes,
    parse: impl FnOnce(Bytes) -> Option<T>,
) -> Result<(), Malformed> {
    if field.is_some() {
        return Err(Malformed::DuplicatePseudoHeader(name));
    }
    *field = Some(parse(value).ok_or(Malformed::InvalidPseudoHeader(name))?);
    Ok(())
}

/// The pseudo-header fields of a request.
#[derive(Default)]
struct RequestHead {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
}

impl RequestHead {
    fn pseudo_header(&mut self, name: &[u8], value: Bytes) -> Result<(), Malformed> {
        match name {
            b":method" => once(&mut self.method, ":method", value, |value| Method::from_bytes(&value).ok()),
            b":scheme" => once(&mut self.scheme, ":scheme", value, |value| parse_scheme(&value)),
            b":authority" => once(&mut self.authority, ":authority", value, parse_authority),
            b":path" => once(&mut self.path, ":path", value, parse_path),
            _ => Err(Malformed::UndefinedPseudoHeader),
        }
    }

    fn finish(self, headers: HeaderMap) -> Result<Request<()>, Malformed> {
        let method = self.method.ok_or(Malformed::MissingPseudoHeader(":method"))?;
        check_host(&headers, self.authority.as_ref())?;
        let mut message = Request::new(());
        if method == Method::CONNECT {
            *message.uri_mut() = connect_target(self.scheme.as_ref(), self.authority, self.path.as_ref())?;
        } else {
            let scheme = self.scheme.ok_or(Malformed::MissingPseudoHeader(":scheme"))?;
            let path = self.path.ok_or(Malformed::MissingPseudoHeader(":path"))?;
            if path == "*" && method != Method::OPTIONS {
                return Err(Malformed::InvalidPseudoHeader(":path"));
            }
            let authority = match (self.authority, headers.get(HOST)) {
                (None, Some(host)) => Some(parse_host(host)?),
                (authority, _) => authority,
            };
            if scheme == Scheme::HTTP || scheme == Scheme::HTTPS {
                let authority = authority.as_ref().ok_or(Malformed::MissingAuthority)?;
                if authority.as_str().contains('@') {
                    return Err(Malformed::InvalidPseudoHeader(":authority"));
                }
            }
            let mut parts = uri::Parts::default();
            if authority.is_some() {
                parts.scheme = Some(scheme);
            } else {
                message.extensions_mut().insert(scheme);
            }
            parts.authority = authority;
            parts.path_and_query = Some(path);
            *message.uri_mut() =
                Uri::from_parts(parts).map_err(|_| Malformed::InvalidPseudoHeader(":path"))?;
        }
        *message.method_mut() = method;
        *message.version_mut() = Version::HTTP_3;
        *message.headers_mut() = headers;
        Ok(message)
    }
}

/// The target of a CONNECT request: an authority and nothing else (RFC 9114 §4.4).
fn connect_target(
    scheme: Option<&Scheme>,
    authority: Option<Authority>,
    path: Option<&PathAndQuery>,
) -> Result<Uri, Malformed> {
    if scheme.is_some() {
        return Err(Malformed::ForbiddenPseudoHeader(":scheme"));
    }
    if path.is_some() {
        return Err(Malformed::ForbiddenPseudoHeader(":path"));
    }
    let authority = authority.ok_or(Malformed::MissingPseudoHeader(":authority"))?;
    if !has_host_and_port(&authority) {
        return Err(Malformed::InvalidPseudoHeader(":authority"));
    }
    Ok(Uri::from(authority))
}

/// A host field says what `:authority` says (RFC 9114 §4.3.1), but for the case, which means nothing there.
fn check_host(headers: &HeaderMap, authority: Option<&Authority>) -> Result<(), Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(Malformed::DuplicateHost);
    }
    match authority {
        Some(authority) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(Malformed::HostMismatch)
        }
        _ => Ok(()),
    }
}

fn parse_host(host: &HeaderValue) -> Result<Authority, Malformed> {
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Malformed::InvalidHost)?;
    // unlike a URI, the field has no place for user information
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(Malformed::InvalidHost);
    }
    Ok(authority)
}

fn parse_scheme(value: &[u8]) -> Option<Scheme> {
    match value {
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some(Scheme::HTTPS),
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some(Scheme::HTTP),
        [first, ..] if first.is_ascii_alphabetic() => Scheme::try_from(value).ok(),
        _ => None,
    }
}

fn parse_authority(value: Bytes) -> Option<Authority> {
    Authority::from_maybe_shared(value).ok().filter(|authority| !authority.host().is_empty())
}

fn parse_path(value: Bytes) -> Option<PathAndQuery> {
    // the parser of a URI would drop a fragment
    let is_path = (value.first() == Some(&b'/') || value == "*") && !value.contains(&b'#');
    if is_path { PathAndQuery::from_maybe_shared(value).ok() } else { None }
}

/// The fields of a section, but for pseudo-header fields.
#[derive(Default)]
struct Fields {
    headers: HeaderMap,
    content_length: Option<u64>,
    cookies: Cookies,
}

/// Decodes a section; `pseudo_header` takes the fields whose names begin with a colon.
fn fields(
    section: &[u8],
    max_size: u64,
    te: Te,
    mut pseudo_header: impl FnMut(&[u8], Bytes) -> Result<(), Malformed>,
) -> Result<Fields, SectionError> {
    let mut fields = Fields::default();
    let mut only_pseudo_headers = true;
    let decoded = decoder::decode(section, max_size, |line| {
        if line.name.as_bytes().first() == Some(&b':') {
            if !only_pseudo_headers {
                return Err(SectionError::Malformed(Malformed::LatePseudoHeader));
            }
            let value = match line.value {
                Value::Static(line) => Bytes::from_static(line.value.as_bytes()),
                Value::Literal(value) => value,
            };
            pseudo_header(line.name.as_bytes(), value).map_err(SectionError::Malformed)
        } else {
            only_pseudo_headers = false;
            fields.add(line, te)
        }
    });
    decoded.map_err(|error| match error {
        decoder::SectionError::Invalid(violation) => SectionError::Qpack(violation),
        decoder::SectionError::TooLarge => SectionError::TooLarge,
        decoder::SectionError::Stopped(error) => error,
    })?;
    if let Some(cookie) = fields.cookies.joined()? {
        append(&mut fields.headers, COOKIE, cookie)?;
    }
    Ok(fields)
}

/// Whether there may be a `te` field.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Te {
    /// In requests, to say that trailers are welcome.
    Trailers,
    Forbidden,
}

impl Fields {
    fn add(&mut self, line: FieldLine<'_>, te: Te) -> Result<(), SectionError> {
        let name = match line.name {
            Name::Static(StaticLine { header_name: Some(name), .. }) => name.clone(),
            name => parse_name(name.as_bytes()).map_err(SectionError::Malformed)?,
        };
        let mut value = match line.value {
            Value::Static(line) => line.header_value.clone(),
            Value::Literal(value) => parse_value(value).map_err(SectionError::Malformed)?,
        };
        value.set_sensitive(line.sensitive);
        if is_connection_specific(name.as_str()) {
            return Err(SectionError::Malformed(Malformed::ConnectionSpecific));
        }
        if name == TE && (te == Te::Forbidden || !value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
            return Err(SectionError::Malformed(Malformed::ConnectionSpecific));
        }
        if name == CONTENT_LENGTH {
            let length = parse_content_length(value.as_bytes()).map_err(SectionError::Malformed)?;
            return match self.content_length {
                Some(other) if other == length => Ok(()),
                Some(_) => Err(SectionError::Malformed(Malformed::ConflictingContentLength)),
                None => {
                    self.content_length = Some(length);
                    append(&mut self.headers, name, value)
                }
            };
        }
        if name == COOKIE {
            self.cookies.add(value);
            return Ok(());
        }
        append(&mut self.headers, name, value)
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), SectionError> {
    // the map has a limit of its own, and panics in `append`
    headers.try_append(name, value).map(|_| ()).map_err(|_| SectionError::TooLarge)
}

/// A name of the characters of a token (RFC 9110 §5.6.2), in lower case; the parser of `http` is more lenient.
fn parse_name(name: &[u8]) -> Result<HeaderName, Malformed> {
    if name.iter().any(u8::is_ascii_uppercase) {
        return Err(Malformed::UppercaseName);
    }
    if name.contains(&b'"') {
        return Err(Malformed::InvalidName);
    }
    HeaderName::from_lowercase(name).map_err(|_| Malformed::InvalidName)
}

/// A value of the characters of `field-content` (RFC 9110 §5.5), which white space cannot begin or end.
fn parse_value(value: Bytes) -> Result<HeaderValue, Malformed> {
    if matches!(value[..], [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
        return Err(Malformed::InvalidValue);
    }
    HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::InvalidValue)
}

/// Digits only: no sign, no list (RFC 9110 §8.6).
pub(crate) fn parse_content_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() {
        return Err(Malformed::InvalidContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |length, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(Malformed::InvalidContentLength)
}

/// The cookies of a request, which may arrive in several fields, and which applications expect in one
/// (RFC 9114 §4.2.1).
#[derive(Default)]
struct Cookies {
    first: Option<HeaderValue>,
    /// All of them, if there are several.
    all: Vec<u8>,
    sensitive: bool,
}

impl Cookies {
    fn add(&mut self, cookie: HeaderValue) {
        self.sensitive |= cookie.is_sensitive();
        match &self.first {
            None => self.first = Some(cookie),
            Some(first) => {
                if self.all.is_empty() {
                    self.all.extend_from_slice(first.as_bytes());
                }
                self.all.extend_from_slice(b"; ");
                self.all.extend_from_slice(cookie.as_bytes());
            }
        }
    }

    fn joined(&mut self) -> Result<Option<HeaderValue>, SectionError> {
        if self.all.is_empty() {
            return Ok(self.first.take());
        }
        let mut cookie = HeaderValue::from_maybe_shared(Bytes::from(std::mem::take(&mut self.all)))
            .map_err(|_| SectionError::Malformed(Malformed::InvalidValue))?;
        cookie.set_sensitive(self.sensitive);
        Ok(Some(cookie))
    }
}
