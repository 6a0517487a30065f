//! The static table (RFC 9204 Appendix A), and how the encoder finds a line in it.
//!
//! A perfect hash of the 52 names leads to the first line with that name; lines of the same name are chained. Both come
//! from the table at compile time, which fails if the hash ever has a collision.

use http::{HeaderName, HeaderValue};

const LINES: usize = 99;

/// A line of the table.
#[derive(Debug)]
pub(crate) struct StaticLine {
    /// The name; a pseudo-header's begins with a colon.
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    /// The name as a header field's; `None` for a pseudo-header.
    pub(crate) header_name: Option<HeaderName>,
    pub(crate) header_value: HeaderValue,
}

/// Where the encoder found a field line.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Name and value are those of this line.
    Line(usize),
    /// The name is that of this line.
    Name(usize),
    Nothing,
}

/// The line with this index.
pub(super) fn get(index: u64) -> Option<&'static StaticLine> {
    TABLE.get(usize::try_from(index).ok()?)
}

/// Looks for a line with this name and value, or at least this name.
pub(super) fn find(name: &str, value: &[u8]) -> Found {
    let Some(slot) = hash(name.as_bytes()) else { return Found::Nothing };
    let first = FIRST.get(slot).copied().unwrap_or(NONE);
    match TABLE.get(usize::from(first)) {
        Some(line) if line.name == name => {}
        _ => return Found::Nothing,
    }
    let mut index = first;
    while let Some(line) = TABLE.get(usize::from(index)) {
        if line.value.as_bytes() == value {
            return Found::Line(index.into());
        }
        index = NEXT.get(usize::from(index)).copied().unwrap_or(NONE);
    }
    Found::Name(first.into())
}

/// No line.
const NONE: u8 = u8::MAX;

const SLOTS: usize = 128;

/// For each hash, the first line of the name that has it.
static FIRST: [u8; SLOTS] = CHAINS.0;

/// For each line, the next one with the same name.
static NEXT: [u8; LINES] = CHAINS.1;

const CHAINS: ([u8; SLOTS], [u8; LINES]) = chains();

/// The slot of a name: its length and three of its bytes, mixed by a factor that keeps the names of the table apart.
/// `None` for names shorter than any in the table.
const fn hash(name: &[u8]) -> Option<usize> {
    let len = name.len();
    if len < 3 {
        return None;
    }
    match (name.split_at(len / 2).1, name.split_at(len - 3).1) {
        ([middle, ..], [third_last, _, last]) => {
            let key = *middle as u32 | (*last as u32) << 8 | (*third_last as u32) << 16 | (len as u32) << 24;
            Some((key.wrapping_mul(0x0efb_0d05) >> 25) as usize)
        }
        _ => None,
    }
}

#[expect(clippy::indexing_slicing, clippy::panic, reason = "runs at compile time")]
const fn chains() -> ([u8; SLOTS], [u8; LINES]) {
    let (mut first, mut next) = ([NONE; SLOTS], [NONE; LINES]);
    // from the end, so that each line finds the one after it at the head of its chain
    let mut index = LINES;
    while index > 0 {
        index -= 1;
        let Some(slot) = hash(ROWS[index].0.as_bytes()) else { panic!("a name is too short") };
        if first[slot] != NONE {
            assert!(equal(ROWS[index].0, ROWS[first[slot] as usize].0), "two names with one hash");
            next[index] = first[slot];
        }
        first[slot] = index as u8;
    }
    (first, next)
}

#[expect(clippy::indexing_slicing, reason = "runs at compile time")]
const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

const fn line(name: &'static str, value: &'static str) -> StaticLine {
    let header_name = match name.as_bytes() {
        [b':', ..] => None,
        _ => Some(HeaderName::from_static(name)),
    };
    StaticLine { name, value, header_name, header_value: HeaderValue::from_static(value) }
}

macro_rules! table {
    ($(($name:literal, $value:literal),)*) => {
        const ROWS: [(&str, &str); LINES] = [$(($name, $value)),*];
        static TABLE: [StaticLine; LINES] = [$(line($name, $value)),*];
    };
}

table! {
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc9204_appendix_a() {
        let table: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/rfc9204-static-table.json")).unwrap();
        let entries = table["entries"].as_array().unwrap();
        assert_eq!(entries.len(), LINES);
        for (index, entry) in entries.iter().enumerate() {
            let line = get(index as u64).unwrap();
            assert_eq!(entry["index"], index);
            assert_eq!(
                (entry["name"].as_str(), entry["value"].as_str()),
                (Some(line.name), Some(line.value))
            );
            assert_eq!(line.header_name.as_ref().map(HeaderName::as_str).unwrap_or(line.name), line.name);
            assert_eq!(line.header_name.is_none(), line.name.starts_with(':'));
            assert_eq!(line.header_value, line.value);
        }
        assert!(get(99).is_none() && get(u64::MAX).is_none());
    }

    #[test]
    fn every_line_is_found() {
        for (index, (name, value)) in ROWS.iter().enumerate() {
            assert_eq!(find(name, value.as_bytes()), Found::Line(index));
            let first = ROWS.iter().position(|row| row.0 == *name).unwrap();
            assert_eq!(find(name, b"a value of no line"), Found::Name(first));
        }
    }

    #[test]
    fn names_outside_of_the_table_are_not_found() {
        let long = "x".repeat(1000);
        for name in ["", "a", "te", "agf", "content-typf", "Accept", "x-request-id", ":protocol", &long] {
            assert_eq!(find(name, b""), Found::Nothing, "{name}");
        }
    }
}
