//! Messages there and back, and the matrix of malformed ones.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, TE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use proptest::prelude::*;

use super::*;
use crate::error::Code;
use crate::qpack::decoder;
use crate::qpack::encoder::SectionEncoder;

const LIMIT: u64 = 1 << 20;

type Line<'a> = (&'a str, &'a [u8]);

const GET: [Line<'_>; 4] =
    [(":method", b"GET"), (":scheme", b"https"), (":authority", b"example.org"), (":path", b"/a?b")];

fn section(lines: &[Line<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = SectionEncoder::new(&mut out);
    for (name, value) in lines {
        section.line(name, value, false);
    }
    out
}

fn request_of(lines: &[Line<'_>]) -> Result<Request<()>, Malformed> {
    match request(&section(lines), LIMIT) {
        Ok(received) => Ok(received.message),
        Err(SectionError::Malformed(malformed)) => Err(malformed),
        Err(other) => panic!("{other:?}"),
    }
}

fn response_of(lines: &[Line<'_>]) -> Result<Response<()>, Malformed> {
    match response(&section(lines), LIMIT) {
        Ok(received) => Ok(received.message),
        Err(SectionError::Malformed(malformed)) => Err(malformed),
        Err(other) => panic!("{other:?}"),
    }
}

/// A GET request with more lines behind.
fn get_with(lines: &[Line<'_>]) -> Result<Request<()>, Malformed> {
    request_of(&[&GET, lines].concat())
}

/// The lines of the section in a single HEADERS frame.
fn lines_of(frame: &[u8]) -> Vec<(String, String)> {
    let (head, section) = frame.split_at(3);
    assert_eq!(head[0], 0x01);
    assert_eq!(usize::from(u16::from_be_bytes([head[1] & 0x3f, head[2]])), section.len());
    let mut lines = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder::decode(section, LIMIT, |line| {
        lines.push((text(line.name.as_bytes()), text(line.value.as_bytes())));
        Ok::<_, ()>(())
    })
    .unwrap();
    lines
}

fn sent<B>(request: Request<B>) -> Result<Vec<(String, String)>, Unsendable> {
    let mut out = Vec::new();
    encode_request(&request.into_parts().0, LIMIT, &mut out)?;
    Ok(lines_of(&out))
}

fn lines(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn a_request_arrives() {
    let request =
        get_with(&[("accept", b"*/*"), ("x-a", b"1"), ("x-a", b"\xe4 2"), ("x-empty", b"")]).unwrap();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri(), "https://example.org/a?b");
    assert_eq!(request.version(), Version::HTTP_3);
    assert_eq!(request.headers()[ACCEPT], "*/*");
    let all: Vec<_> = request.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(all, [&b"1"[..], b"\xe4 2"]);
    assert_eq!(request.headers()["x-empty"], "");
}

#[test]
fn a_response_arrives() {
    let response = response_of(&[(":status", b"404"), ("server", b"gannet")]).unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::NOT_FOUND, Version::HTTP_3));
    assert_eq!(response.headers()["server"], "gannet");
    for status in [b"100", b"103", b"200", b"599", b"999"] {
        assert!(response_of(&[(":status", status)]).is_ok());
    }
}

#[test]
fn mandatory_pseudo_headers_stand_there_once() {
    // covers: R9114-4.3.1-06 R9114-4.3.2-01 R9114-4.1.2-02
    for missing in [":method", ":scheme", ":path"] {
        let lines: Vec<_> = GET.into_iter().filter(|(name, _)| *name != missing).collect();
        assert_eq!(request_of(&lines).unwrap_err(), Malformed::MissingPseudoHeader(missing));
    }
    for (twice, value) in GET {
        let lines = [&[(twice, value)][..], &GET].concat();
        assert_eq!(request_of(&lines).unwrap_err(), Malformed::DuplicatePseudoHeader(twice));
    }
    assert_eq!(response_of(&[]).unwrap_err(), Malformed::MissingPseudoHeader(":status"));
    let twice = response_of(&[(":status", b"200"), (":status", b"200")]);
    assert_eq!(twice.unwrap_err(), Malformed::DuplicatePseudoHeader(":status"));
}

#[test]
fn undefined_pseudo_headers_are_malformed() {
    // covers: R9114-4.3-02 R9114-4.3-04
    for name in [":status", ":protocol", ":", ":Method", ":x", "::path"] {
        let lines = [&[(name, &b"200"[..])], &GET[..]].concat();
        assert_eq!(request_of(&lines).unwrap_err(), Malformed::UndefinedPseudoHeader, "{name}");
    }
    for (name, value) in GET {
        let got = response_of(&[(":status", b"200"), (name, value)]);
        assert_eq!(got.unwrap_err(), Malformed::UndefinedPseudoHeader, "{name}");
    }
}

#[test]
fn pseudo_headers_come_first() {
    // covers: R9114-4.3-05 R9114-4.3-06
    for at in 0..4 {
        let mut lines = GET.to_vec();
        lines.insert(at, ("accept", b"*/*"));
        assert_eq!(request_of(&lines).unwrap_err(), Malformed::LatePseudoHeader);
    }
    let late = response_of(&[("server", b"x"), (":status", b"200")]);
    assert_eq!(late.unwrap_err(), Malformed::LatePseudoHeader);
}

#[test]
fn pseudo_headers_are_not_in_trailers() {
    // covers: R9114-4.3-03
    for (name, value) in GET {
        let got = trailers(&section(&[(name, value)]), LIMIT);
        assert_eq!(got, Err(SectionError::Malformed(Malformed::PseudoHeaderInTrailers)));
    }
    let got = trailers(&section(&[("x-sum", b"1"), ("content-length", b"7")]), LIMIT).unwrap();
    assert_eq!(got, HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]));
}

#[test]
fn invalid_pseudo_headers_are_malformed() {
    // covers: R9114-4.3-04 R9114-4.3.1-01 R9114-4.3.1-05 R9114-4.3.1-08
    let wrong: &[(&str, &[&[u8]])] = &[
        (":method", &[b"", b"GE T", b"GET\r", b"G\0T", b"G\xe4T", b"GET "]),
        (":scheme", &[b"", b"ht tp", b"1http", b"https:", b"http/", b"\xe4", b"https\n"]),
        (
            ":authority",
            &[
                b"",
                b"a b",
                b"a/b",
                b"a?b",
                b"a#b",
                b"user@example.org",
                b"user:pw@example.org",
                b"a\nb",
                b":443",
            ],
        ),
        (":path", &[b"", b"a", b"?a", b"*", b"/a b", b"/a\r\nb", b"/a\0", b"/a#b", b"/#", b"/a\xff", b"**"]),
    ];
    for (name, values) in wrong {
        for value in *values {
            let lines = GET.map(|line| if line.0 == *name { (line.0, *value) } else { line });
            let got = request_of(&lines);
            assert_eq!(
                got.unwrap_err(),
                Malformed::InvalidPseudoHeader(name),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
    }
    for status in [&b""[..], b"20", b"2000", b"099", b"abc", b"+20", b"2 0", b"20\0", b" 200", b"101"] {
        let got = response_of(&[(":status", status)]);
        assert_eq!(got.unwrap_err(), Malformed::InvalidPseudoHeader(":status"));
    }
}

#[test]
fn a_path_longer_than_a_uri_is_malformed() {
    let path = [b"/".to_vec(), vec![b'a'; 100_000]].concat();
    let lines = GET.map(|line| if line.0 == ":path" { (line.0, &path[..]) } else { line });
    assert_eq!(request_of(&lines).unwrap_err(), Malformed::InvalidPseudoHeader(":path"));
    let name = "x".repeat(70_000);
    assert_eq!(get_with(&[(&name, b"")]).unwrap_err(), Malformed::InvalidName);
}

#[test]
fn names_are_tokens_in_lower_case() {
    // covers: R9114-4.2-02 R9114-10.3-01
    for byte in 0..=127_u8 {
        let name = String::from_utf8(vec![b'x', byte, b'y']).unwrap();
        let expected = match byte {
            b'A'..=b'Z' => Some(Malformed::UppercaseName),
            b'a'..=b'z' | b'0'..=b'9' => None,
            byte if b"!#$%&'*+-.^_`|~".contains(&byte) => None,
            _ => Some(Malformed::InvalidName),
        };
        assert_eq!(get_with(&[(&name, b"1")]).err(), expected, "{name:?}");
        let long = format!("{}{name}", "x".repeat(100));
        assert_eq!(get_with(&[(&long, b"1")]).err(), expected, "{long:?}");
        let got = trailers(&section(&[(&name, b"1")]), LIMIT).err();
        assert_eq!(got, expected.map(SectionError::Malformed));
    }
    for name in ["", "ä", "x ", " x", "accept\0", "Accept", "x:"] {
        assert!(get_with(&[(name, b"1")]).is_err(), "{name:?}");
        assert!(response_of(&[(":status", b"200"), (name, b"1")]).is_err(), "{name:?}");
    }
}

#[test]
fn values_hold_no_control_characters() {
    // covers: R9114-10.3-02 R9114-4.1.2-03
    for name in ["x-a", "accept"] {
        for byte in 0..=255_u8 {
            let valid = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let value = [b'a', byte, b'b'];
            assert_eq!(get_with(&[(name, &value)]).is_ok(), valid, "{byte:#x}");
            assert_eq!(response_of(&[(":status", b"200"), (name, &value)]).is_ok(), valid);
            assert_eq!(trailers(&section(&[(name, &value)]), LIMIT).is_ok(), valid);
            let at_the_edge = valid && !matches!(byte, b' ' | b'\t');
            for value in [[byte, b'a'], [b'a', byte]] {
                assert_eq!(get_with(&[(name, &value)]).is_ok(), at_the_edge, "{byte:#x}");
            }
        }
    }
}

#[test]
fn connection_specific_fields_are_malformed() {
    // covers: R9114-4.2-03 R9114-4.1-05
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        assert_eq!(get_with(&[(name, b"x")]).unwrap_err(), Malformed::ConnectionSpecific);
        let response = response_of(&[(":status", b"200"), (name, b"x")]);
        assert_eq!(response.unwrap_err(), Malformed::ConnectionSpecific);
        let got = trailers(&section(&[(name, b"x")]), LIMIT);
        assert_eq!(got, Err(SectionError::Malformed(Malformed::ConnectionSpecific)));
    }
}

#[test]
fn te_may_ask_for_trailers() {
    // covers: R9114-4.2-04
    assert_eq!(get_with(&[("te", b"trailers")]).unwrap().headers()[TE], "trailers");
    for value in [&b"gzip"[..], b"trailers, gzip", b"", b"trailers;q=1"] {
        assert_eq!(get_with(&[("te", value)]).unwrap_err(), Malformed::ConnectionSpecific);
    }
    assert!(response_of(&[(":status", b"200"), ("te", b"trailers")]).is_err());
    assert!(trailers(&section(&[("te", b"trailers")]), LIMIT).is_err());
}

#[test]
fn content_lengths_are_equal_numbers() {
    let length = |values: &[&'static [u8]]| {
        let lines: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        match request(&section(&[&GET, &lines[..]].concat()), LIMIT) {
            Ok(received) => {
                assert!(received.message.headers().get_all(CONTENT_LENGTH).iter().count() <= 1);
                Ok(received.content_length)
            }
            Err(SectionError::Malformed(malformed)) => Err(malformed),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(length(&[]), Ok(None));
    assert_eq!(length(&[b"0"]), Ok(Some(0)));
    assert_eq!(length(&[b"18446744073709551615"]), Ok(Some(u64::MAX)));
    assert_eq!(length(&[b"7", b"7", b"007"]), Ok(Some(7)));
    assert_eq!(length(&[b"7", b"8"]), Err(Malformed::ConflictingContentLength));
    for wrong in [&b""[..], b"-1", b"+1", b"1 2", b"1,1", b"0x1", b"18446744073709551616", b"1e3"] {
        assert_eq!(length(&[wrong]), Err(Malformed::InvalidContentLength));
    }
    let received = response(&section(&[(":status", b"200"), ("content-length", b"12")]), LIMIT).unwrap();
    assert_eq!(received.content_length, Some(12));
}

#[test]
fn host_and_authority_agree() {
    // covers: R9114-4.3.1-07 R9114-4.3.1-08 R9114-4.3.1-09
    let request = get_with(&[("host", b"Example.ORG")]).unwrap();
    assert_eq!(request.uri().authority().unwrap(), "example.org");
    assert_eq!(get_with(&[("host", b"example.com")]).unwrap_err(), Malformed::HostMismatch);
    assert_eq!(get_with(&[("host", b"")]).unwrap_err(), Malformed::HostMismatch);
    let twice = [("host", &b"example.org"[..]); 2];
    assert_eq!(get_with(&twice).unwrap_err(), Malformed::DuplicateHost);

    let without = [GET[0], GET[1], GET[3]];
    assert_eq!(request_of(&without).unwrap_err(), Malformed::MissingAuthority);
    let request = request_of(&[&without[..], &[("host", b"h:8443")]].concat()).unwrap();
    assert_eq!(request.uri(), "https://h:8443/a?b");
    assert_eq!(request.headers()[HOST], "h:8443");
    for wrong in [&b""[..], b"a b", b"a/b", b"u@h", b":80"] {
        let lines = [&without[..], &[("host", wrong)]].concat();
        assert_eq!(request_of(&lines).unwrap_err(), Malformed::InvalidHost);
    }
}

#[test]
fn other_schemes_may_stand_without_an_authority() {
    // covers: R9114-4.3.1-10
    let lines = [GET[0], (":scheme", b"coap"), GET[3]];
    let request = request_of(&lines).unwrap();
    assert_eq!(request.uri(), "/a?b");
    assert_eq!(request.extensions().get::<Scheme>().unwrap().as_str(), "coap");
    let lines = [GET[0], (":scheme", b"coap"), (":authority", b"h"), GET[3]];
    assert_eq!(request_of(&lines).unwrap().uri(), "coap://h/a?b");
}

#[test]
fn options_may_have_an_asterisk() {
    let lines = [(":method", &b"OPTIONS"[..]), GET[1], GET[2], (":path", b"*")];
    assert_eq!(request_of(&lines).unwrap().uri().path(), "*");
}

#[test]
fn connect_has_an_authority_and_nothing_else() {
    // covers: R9114-4.4-01
    let connect = [(":method", &b"CONNECT"[..]), (":authority", b"example.org:443")];
    let request = request_of(&connect).unwrap();
    assert_eq!(request.uri(), "example.org:443");
    assert_eq!((request.uri().scheme(), request.uri().path_and_query()), (None, None));
    let more = |line: Line<'static>| request_of(&[connect[0], connect[1], line]).unwrap_err();
    assert_eq!(more((":scheme", b"https")), Malformed::ForbiddenPseudoHeader(":scheme"));
    assert_eq!(more((":path", b"/")), Malformed::ForbiddenPseudoHeader(":path"));
    assert_eq!(more(("host", b"example.org:80")), Malformed::HostMismatch);
    let got = request_of(&[connect[0], ("host", b"example.org:443")]);
    assert_eq!(got.unwrap_err(), Malformed::MissingPseudoHeader(":authority"));
    for wrong in [&b"example.org"[..], b"example.org:", b"example.org:70000", b"u@example.org:443"] {
        let got = request_of(&[connect[0], (":authority", wrong)]);
        assert_eq!(got.unwrap_err(), Malformed::InvalidPseudoHeader(":authority"));
    }
}

#[test]
fn cookies_are_joined() {
    // covers: R9114-4.2.1-01
    let request = get_with(&[("cookie", b"a=1")]).unwrap();
    assert_eq!(request.headers()[COOKIE], "a=1");
    let request =
        get_with(&[("cookie", b"a=1"), ("accept", b"*/*"), ("cookie", b"b=2"), ("cookie", b"c")]).unwrap();
    assert_eq!(request.headers()[COOKIE], "a=1; b=2; c");
    assert_eq!(request.headers().get_all(COOKIE).iter().count(), 1);
}

#[test]
fn sections_over_the_limit_are_told_apart() {
    let lines = section(&[&GET[..], &[("x-a", &[b'a'; 1000])]].concat());
    let size = 4 * 32 + (7 + 3) + (7 + 5) + (10 + 11) + (5 + 4) + 32 + 3 + 1000;
    assert!(request(&lines, size).is_ok());
    assert_eq!(request(&lines, size - 1).unwrap_err(), SectionError::TooLarge);
    let lines = section(&[(":status", b"200"), ("x-a", b"a")]);
    assert_eq!(response(&lines, 50).unwrap_err(), SectionError::TooLarge);
    assert_eq!(trailers(&section(&[("x-a", b"a")]), 35).unwrap_err(), SectionError::TooLarge);
}

#[test]
fn more_fields_than_a_map_can_hold_are_too_many() {
    let name = |at: u32| format!("x-{at}");
    let mut out = Vec::new();
    let mut encoder = SectionEncoder::new(&mut out);
    for at in 0..40_000 {
        encoder.line(&name(at), b"", false);
    }
    assert_eq!(trailers(&out, u64::MAX).unwrap_err(), SectionError::TooLarge);
}

#[test]
fn what_is_not_qpack_is_a_connection_error() {
    let Err(SectionError::Qpack(violation)) = request(&[0, 0, 0x80], LIMIT) else { panic!() };
    assert_eq!(violation.code, Code::QPACK_DECOMPRESSION_FAILED);
}

#[test]
fn a_request_is_sent_with_its_pseudo_headers_first() {
    // covers: R9114-4.3-01 R9114-4.3.1-03 R9114-4.2-01
    let request =
        Request::get("https://example.org/a?b").header("X-A", "1").header("accept", "*/*").body(()).unwrap();
    let expected = lines(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "example.org"),
        (":path", "/a?b"),
        ("x-a", "1"),
        ("accept", "*/*"),
    ]);
    assert_eq!(sent(request), Ok(expected));
}

#[test]
fn the_target_of_a_request() {
    // covers: R9114-4.3.1-01 R9114-4.3.1-05 R9114-4.4-01
    let target = |method: &str, uri: &str, host: Option<&str>| {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let lines = sent(request.body(()).unwrap())?;
        let get = |name: &str| lines.iter().find(|line| line.0 == name).map(|line| line.1.clone());
        assert_eq!(get("host"), None);
        let parts = [":scheme", ":authority", ":path"].map(|name| get(name).unwrap_or("-".into()));
        Ok(parts.join(" "))
    };
    let ok = |target: &str| Ok(target.to_string());
    assert_eq!(target("GET", "https://u:p@h/x", None), ok("https h /x"));
    assert_eq!(target("GET", "https://h:444", None), ok("https h:444 /"));
    assert_eq!(target("GET", "http://h?q", None), ok("http h /?q"));
    assert_eq!(target("GET", "https://h/x", Some("other")), ok("https other /x"));
    assert_eq!(target("GET", "/x", Some("h")), ok("https h /x"));
    assert_eq!(target("OPTIONS", "*", Some("h")), ok("https h *"));
    assert_eq!(target("GET", "/x", None), Err(Unsendable::MissingAuthority));
    assert_eq!(target("GET", "*", Some("h")), Err(Unsendable::Target));
    assert_eq!(target("GET", "/x", Some("a b")), Err(Unsendable::Target));
    assert_eq!(target("GET", "/x", Some("")), Err(Unsendable::Target));
    assert_eq!(target("CONNECT", "h:443", None), ok("- h:443 -"));
    assert_eq!(target("CONNECT", "h:443", Some("h")), ok("- h:443 -"));
    assert_eq!(target("CONNECT", "h", None), Err(Unsendable::Target));
}

#[test]
fn fields_of_the_connection_are_not_sent() {
    // covers: R9114-4.2-03 R9114-4.2-05 R9114-4.1-05
    let request = Request::get("https://h/")
        .header("connection", "close, X-Hop")
        .header("keep-alive", "timeout=5")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "h2c")
        .header("proxy-connection", "close")
        .header("x-hop", "1")
        .header("te", "gzip")
        .header("te", "trailers")
        .header("x-stays", " padded ")
        .body(())
        .unwrap();
    let got = sent(request).unwrap();
    assert_eq!(got[4..], lines(&[("te", "trailers"), ("x-stays", "padded")]));

    let response = Response::builder()
        .status(204)
        .header("connection", "close")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut out = Vec::new();
    encode_response(&response.into_parts().0, LIMIT, &mut out).unwrap();
    assert_eq!(lines_of(&out), lines(&[(":status", "204")]));
}

#[test]
fn a_section_over_the_peers_limit_is_not_sent() {
    // covers: R9114-4.2.2-01 R9114-7.2.4.2-01
    let head = Response::builder().header("x-a", "b").body(()).unwrap().into_parts().0;
    let size = (7 + 3 + 32) + (3 + 1 + 32);
    let mut out = vec![0xaa];
    let got = encode_response(&head, size - 1, &mut out);
    assert_eq!(got, Err(Unsendable::TooLarge { size, limit: size - 1 }));
    assert_eq!(out, [0xaa]);
    assert_eq!(encode_response(&head, size, &mut out), Ok(()));
}

#[test]
fn status_101_is_not_sent() {
    let head = Response::builder().status(101).body(()).unwrap().into_parts().0;
    assert_eq!(encode_response(&head, LIMIT, &mut Vec::new()), Err(Unsendable::SwitchingProtocols));
}

#[test]
fn sensitive_values_stay_sensitive() {
    let mut value = HeaderValue::from_static("secret");
    value.set_sensitive(true);
    let trailer = HeaderMap::from_iter([(AUTHORIZATION, value), (ACCEPT, HeaderValue::from_static("x"))]);
    let mut out = Vec::new();
    encode_trailers(&trailer, LIMIT, &mut out).unwrap();
    let got = trailers(&out[3..], LIMIT).unwrap();
    assert_eq!(got, trailer);
    assert!(got[AUTHORIZATION].is_sensitive() && !got[ACCEPT].is_sensitive());
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name =
        prop_oneof!["[a-z][a-z0-9_-]{0,15}", Just("accept".to_string()), Just("set-cookie".to_string())]
            .prop_filter("has rules of its own", |name| {
                !is_connection_specific(name)
                    && !["te", "host", "cookie", "content-length"].contains(&name.as_str())
            });
    let value = prop_oneof!["[!-~]([ -~]{0,30}[!-~])?", Just(String::new()), "[é€]{1,5}"];
    proptest::collection::vec((name, value), 0..10).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    })
}

proptest! {
    #[test]
    fn requests_arrive_as_they_were_sent(
        method in "[A-Z]{1,8}",
        scheme in "https?",
        authority in "[a-z]{1,10}(:[1-9][0-9]{0,3})?",
        path in "/[a-z/]{0,20}([?][a-z&=]{0,20})?",
        headers in any_headers(),
    ) {
        prop_assume!(method != "CONNECT");
        let uri: Uri = format!("{scheme}://{authority}{path}").parse().unwrap();
        let mut head = Request::builder().method(method.as_str()).uri(uri).body(()).unwrap().into_parts().0;
        head.headers = headers;
        let mut out = Vec::new();
        encode_request(&head, LIMIT, &mut out).unwrap();
        let got = request(&out[3..], LIMIT).unwrap().message;
        prop_assert_eq!(got.method(), &head.method);
        prop_assert_eq!(got.uri(), &head.uri);
        prop_assert_eq!(got.headers(), &head.headers);
    }

    #[test]
    fn responses_and_trailers_arrive_as_they_were_sent(status in 102..1000_u16, headers in any_headers()) {
        let mut head = Response::builder().status(status).body(()).unwrap().into_parts().0;
        head.headers = headers;
        let mut out = Vec::new();
        encode_response(&head, LIMIT, &mut out).unwrap();
        let got = response(&out[3..], LIMIT).unwrap().message;
        prop_assert_eq!(got.status(), head.status);
        prop_assert_eq!(got.headers(), &head.headers);
        let mut out = Vec::new();
        encode_trailers(&head.headers, LIMIT, &mut out).unwrap();
        prop_assert_eq!(trailers(&out[3..], LIMIT).unwrap(), head.headers);
    }

    #[test]
    fn any_lines_are_a_message_or_an_error(
        lines in proptest::collection::vec(
            (
                prop_oneof![
                    "[ -~]{0,6}",
                    ":(method|scheme|authority|path|status)",
                    "cookie|host|te|content-length|accept|connection",
                ],
                prop_oneof![
                    any::<Vec<u8>>(),
                    "[ -~]{0,10}".prop_map(String::into_bytes),
                    "GET|CONNECT|https|h:1|/|\\*|200|trailers|7".prop_map(String::into_bytes),
                ],
            ),
            0..8,
        ),
    ) {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        let section = section(&lines);
        for cut in [section.len(), section.len() / 2] {
            let _ = request(&section[..cut], LIMIT);
            let _ = response(&section[..cut], LIMIT);
            let _ = trailers(&section[..cut], LIMIT);
        }
    }
}
