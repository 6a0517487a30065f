//! Peers that break the rules of RFC 9114, and the exact codes that they get.

mod support;

use bytes::Bytes;
use gannet::Connection;
use gannet_http3::{Code, RecvBody, StreamError, client, server};
use http::{Request, Response};
use http_body_util::BodyExt;
use support::raw::{
    self, CONTROL, GET, OK, OK_5, POST_5, answer, closed, fin, request, round_trip, still_open, stopped, uni,
};
use support::{full, get, quic, soon};

/// A raw connection to a server that answers with the number of bytes in the request.
async fn server() -> Connection {
    let (ours, theirs) = quic().await;
    let count = server::service_fn(|request: Request<RecvBody>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, StreamError>(Response::new(full(body.len().to_string())))
    });
    tokio::spawn(server::serve(theirs, count));
    ours
}

/// A client, and the raw server that it talks to.
async fn client() -> (client::SendRequest, Connection) {
    let (ours, theirs) = quic().await;
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    (requests, theirs)
}

#[tokio::test]
async fn frames_where_they_do_not_belong_close_the_connection() {
    // covers: R9114-4.1-03 R9114-7.2.1-01 R9114-7.2.4-04 R9114-7.2.5-10 R9114-7.2.8-02
    for (bytes, code) in [
        (&b"\x00\x01x"[..], Code::H3_FRAME_UNEXPECTED),
        (b"\x04\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x05\x01\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x07\x01\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x02\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x01\x01\xff", Code::QPACK_DECOMPRESSION_FAILED),
        // A reference to the dynamic table.
        (b"\x01\x03\x02\x00\x80", Code::QPACK_DECOMPRESSION_FAILED),
    ] {
        let quic = server().await;
        let _streams = request(&quic, bytes, false).await;
        assert_eq!(closed(&quic).await, code, "{bytes:x?}");
    }
    // Behind trailers: more trailers, and content.
    for tail in [&b"\x01\x06\x00\x00\x21x\x01y\x01\x06\x00\x00\x21x\x01y"[..], b"\x01\x02\x00\x00\x00\x01x"] {
        let quic = server().await;
        let (mut send, _recv) = request(&quic, GET, false).await;
        send.write_chunk(tail.into()).await.unwrap();
        let code = closed(&quic).await;
        assert_eq!(code, Code::H3_FRAME_UNEXPECTED, "{tail:x?}");
    }
}

#[tokio::test]
async fn a_truncated_frame_closes_the_connection() {
    // covers: R9114-7.1-04
    for bytes in [&b"\x01"[..], b"\x01\x08\x00\x00", b"\x40"] {
        let quic = server().await;
        let _streams = request(&quic, bytes, true).await;
        assert_eq!(closed(&quic).await, Code::H3_FRAME_ERROR, "{bytes:x?}");
    }
}

#[tokio::test]
async fn malformed_requests_are_reset_and_others_go_on() {
    // covers: R9114-4.1.2-02 R9114-4.1.2-03 R9114-4.2-02 R9114-4.3-04 R9114-4.3.1-06
    let quic = server().await;
    for section in [
        // no pseudo-header fields, no path, an upper-case name, :status, connection
        &b"\x01\x02\x00\x00"[..],
        b"\x01\x07\x00\x00\xd1\xd7\x50\x01a",
        b"\x01\x0d\x00\x00\xd1\xd7\x50\x01a\xc1\x22Ab\x01x",
        b"\x01\x09\x00\x00\xd1\xd7\x50\x01a\xc1\xd9",
        b"\x01\x15\x00\x00\xd1\xd7\x50\x01a\xc1\x27\x03connection\x00",
    ] {
        let (send, mut recv) = request(&quic, section, false).await;
        assert_eq!(answer(&mut recv).await, Err(Code::H3_MESSAGE_ERROR), "{section:x?}");
        assert_eq!(stopped(&send).await, Code::H3_MESSAGE_ERROR, "{section:x?}");
    }
    let (_, mut recv) = request(&quic, GET, true).await;
    assert!(answer(&mut recv).await.is_ok());
}

#[tokio::test]
async fn an_empty_fin_does_not_hide_missing_content() {
    let quic = server().await;
    // FIN with the headers, with too little content, and on its own, later
    let (_, mut recv) = request(&quic, POST_5, true).await;
    assert_eq!(answer(&mut recv).await, Err(Code::H3_MESSAGE_ERROR));
    let (mut send, mut recv) = request(&quic, POST_5, false).await;
    send.write_chunk(Bytes::from_static(b"\x00\x041234")).await.unwrap();
    round_trip(&quic).await;
    fin(&mut send);
    assert_eq!(answer(&mut recv).await, Err(Code::H3_MESSAGE_ERROR));
    let (mut send, mut recv) = request(&quic, POST_5, false).await;
    send.write_chunk(Bytes::from_static(b"\x00\x06123456")).await.unwrap();
    assert_eq!(answer(&mut recv).await, Err(Code::H3_MESSAGE_ERROR));
    assert_eq!(stopped(&send).await, Code::H3_MESSAGE_ERROR);
    let (mut send, mut recv) = request(&quic, POST_5, false).await;
    send.write_chunk(Bytes::from_static(b"\x00\x0512345")).await.unwrap();
    fin(&mut send);
    assert!(answer(&mut recv).await.unwrap().ends_with(b"\x00\x015"));
}

#[tokio::test]
async fn a_response_keeps_to_its_content_length_or_is_an_error() {
    let (requests, quic) = client().await;
    for (content, whole) in
        [(&b"\x00\x0512345"[..], true), (b"\x00\x041234", false), (b"", false), (b"\x00\x06123456", false)]
    {
        let response = tokio::spawn(requests.send_request(get("/")));
        let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
        send.write_chunk(OK_5.into()).await.unwrap();
        // The head has arrived, then the content, then the end.
        let mut body = soon(response).await.unwrap().unwrap().into_body();
        let mut read = Ok(());
        if !content.is_empty() {
            send.write_chunk(content.into()).await.unwrap();
            read = soon(body.frame()).await.unwrap().map(drop);
        }
        fin(&mut send);
        let read = read.and(soon(body.collect()).await.map(drop));
        match read {
            Ok(()) => assert!(whole),
            Err(error) => {
                assert!(!whole, "{error}");
                assert_eq!(error.code(), Some(Code::H3_MESSAGE_ERROR));
            }
        }
    }
}

#[tokio::test]
async fn malformed_responses_are_errors_of_their_request_only() {
    // covers: R9114-4.3.2-01
    let (requests, quic) = client().await;
    for (response, end) in [
        // no :status, :status twice, :method, no response at all, an interim one only
        (&b"\x01\x02\x00\x00"[..], false),
        (b"\x01\x04\x00\x00\xd9\xd9", false),
        (b"\x01\x04\x00\x00\xd9\xd1", false),
        (b"", true),
        (b"\x01\x04\x00\x00\xff\x00", true),
    ] {
        let request = tokio::spawn(requests.send_request(get("/")));
        let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
        if !response.is_empty() {
            send.write_chunk(response.into()).await.unwrap();
        }
        if end {
            fin(&mut send);
        }
        let error = soon(request).await.unwrap().map(drop).unwrap_err();
        assert_eq!(error.code(), Some(Code::H3_MESSAGE_ERROR), "{response:x?} {error}");
        if !end {
            assert_eq!(stopped(&send).await, Code::H3_MESSAGE_ERROR);
        }
    }
    let request = tokio::spawn(requests.send_request(get("/")));
    let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
    send.write_chunk(OK.into()).await.unwrap();
    fin(&mut send);
    assert_eq!(soon(request).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_ends_too_early_is_incomplete() {
    // covers: R9114-4.1-10
    let quic = server().await;
    let (_, mut recv) = request(&quic, b"", true).await;
    assert_eq!(answer(&mut recv).await, Err(Code::H3_REQUEST_INCOMPLETE));
    still_open(&quic).await;
}

#[tokio::test]
async fn headers_over_the_limit_are_answered_431() {
    let quic = server().await;
    // A HEADERS frame of a megabyte, of which only the frame header is sent.
    let (send, mut recv) = request(&quic, b"\x01\x80\x10\x00\x00", false).await;
    let response = answer(&mut recv).await.unwrap();
    // :status 431 is no line of the static table.
    assert!(response.starts_with(b"\x01") && response.len() < 20, "{response:x?}");
    assert_eq!(stopped(&send).await, Code::H3_NO_ERROR);
    still_open(&quic).await;
}

#[tokio::test]
async fn critical_streams_stay_open() {
    // covers: R9114-6.2.1-04 R9114-6.2.1-05
    for ty in [CONTROL, b"\x02", b"\x03"] {
        let quic = server().await;
        let mut stream = uni(&quic, ty).await;
        still_open(&quic).await;
        fin(&mut stream);
        assert_eq!(closed(&quic).await, Code::H3_CLOSED_CRITICAL_STREAM);

        let quic = server().await;
        let mut stream = uni(&quic, ty).await;
        still_open(&quic).await;
        stream.reset(raw::varint(Code::H3_NO_ERROR)).unwrap();
        assert_eq!(closed(&quic).await, Code::H3_CLOSED_CRITICAL_STREAM);
    }
    for nth in 0..3 {
        let quic = server().await;
        for _ in 0..nth {
            soon(quic.accept_uni()).await.unwrap();
        }
        soon(quic.accept_uni()).await.unwrap().stop(raw::varint(Code::H3_NO_ERROR)).unwrap();
        assert_eq!(closed(&quic).await, Code::H3_CLOSED_CRITICAL_STREAM, "stream {nth} of the server");
    }
}

#[tokio::test]
async fn the_control_stream_keeps_to_its_frames() {
    // covers: R9114-6.2.1-02 R9114-7.2.1-02 R9114-7.2.2-01 R9114-7.2.4-02 R9114-7.2.4.1-03
    for (bytes, code) in [
        (&b"\x00\x07\x01\x00"[..], Code::H3_MISSING_SETTINGS),
        (b"\x00\x21\x00", Code::H3_MISSING_SETTINGS),
        (b"\x00\x04\x00\x04\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x00\x04\x00\x00\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x00\x04\x00\x01\x00", Code::H3_FRAME_UNEXPECTED),
        (b"\x00\x04\x02\x02\x01", Code::H3_SETTINGS_ERROR),
        (b"\x00\x04\x01\x06", Code::H3_FRAME_ERROR),
        (b"\x00\x04\x00\x07\x01\x01\x07\x01\x02", Code::H3_ID_ERROR),
        (b"\x00\x04\x00\x0d\x01\x02\x0d\x01\x01", Code::H3_ID_ERROR),
        (b"\x00\x04\x00\x03\x01\x00", Code::H3_ID_ERROR),
        (b"\x01\x00", Code::H3_STREAM_CREATION_ERROR),
        // Insert into a table of capacity 0, and acknowledge what was not sent.
        (b"\x02\xc0\x01x", Code::QPACK_ENCODER_STREAM_ERROR),
        (b"\x03\x80", Code::QPACK_DECODER_STREAM_ERROR),
    ] {
        let quic = server().await;
        let _stream = uni(&quic, bytes).await;
        assert_eq!(closed(&quic).await, code, "{bytes:x?}");
    }
    let quic = server().await;
    let _first = uni(&quic, CONTROL).await;
    still_open(&quic).await;
    let _second = uni(&quic, CONTROL).await;
    assert_eq!(closed(&quic).await, Code::H3_STREAM_CREATION_ERROR);
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    // covers: R9114-6.2-04 R9114-6.2-05 R9114-6.2-06 R9114-6.2-09 R9114-6.2.3-01 R9114-7.2.8-01 R9114-9-02
    let quic = server().await;
    let _control = uni(&quic, b"\x00\x04\x02\x21\x05\x40\x40\x02xx").await;
    for ty in [&b"\x21junk"[..], b"\x40\x40", b"\x40\x54"] {
        let stream = uni(&quic, ty).await;
        assert_eq!(stopped(&stream).await, Code::H3_STREAM_CREATION_ERROR);
    }
    let mut early = uni(&quic, b"\x40").await;
    fin(&mut early);
    let mut early = uni(&quic, b"\x80").await;
    early.reset(raw::varint(Code::H3_NO_ERROR)).unwrap();
    let (mut send, mut recv) = request(&quic, b"\x21\x03abc", false).await;
    send.write_chunk(GET.into()).await.unwrap();
    send.write_chunk(Bytes::from_static(b"\x40\x40\x01x\x00\x02hi\x21\x00")).await.unwrap();
    fin(&mut send);
    assert!(answer(&mut recv).await.unwrap().ends_with(b"\x00\x012"));
    still_open(&quic).await;
}

/// A varint, taken off the front.
fn varint(bytes: &mut &[u8]) -> u64 {
    gannet::VarInt::decode(bytes).unwrap().into_inner()
}

fn is_reserved(value: u64) -> bool {
    value >= 0x21 && (value - 0x21).is_multiple_of(0x1f)
}

#[tokio::test]
async fn what_peers_have_to_ignore_is_sent() {
    // covers: R9114-7.2.4.1-01 R9114-3.2-03 R9114-6.2.1-01
    let (requests, quic) = client().await;
    let request = tokio::spawn(requests.send_request(get("/")));
    let (mut send, mut recv) = soon(quic.accept_bi()).await.unwrap();
    let bytes = answer(&mut recv).await.unwrap();
    let mut bytes = &bytes[..];
    assert_eq!(varint(&mut bytes), 1, "HEADERS");
    let length = varint(&mut bytes) as usize;
    let mut bytes = &bytes[length..];
    assert!(is_reserved(varint(&mut bytes)));
    assert_eq!(varint(&mut bytes), bytes.len() as u64);
    send.write_chunk(OK.into()).await.unwrap();
    fin(&mut send);
    soon(request).await.unwrap().unwrap();

    let mut types = Vec::new();
    for _ in 0..4 {
        let mut stream = soon(quic.accept_uni()).await.unwrap();
        let chunk = soon(stream.read_chunk(1000)).await.unwrap().unwrap();
        let mut bytes = &chunk[..];
        let ty = varint(&mut bytes);
        if ty == 0 {
            assert_eq!(varint(&mut bytes), 4, "SETTINGS");
        }
        types.push(if is_reserved(ty) { 0x21 } else { ty });
        // Dropping a critical stream would stop it.
        std::mem::forget(stream);
    }
    types.sort_unstable();
    assert_eq!(types, [0, 2, 3, 0x21]);
}

#[tokio::test]
async fn a_server_keeps_to_the_streams_of_servers() {
    // covers: R9114-6.1-03 R9114-4.6-02 R9114-7.2.6-01 R9114-7.2.7-03
    let (_requests, quic) = client().await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_chunk(GET.into()).await.unwrap();
    assert_eq!(closed(&quic).await, Code::H3_STREAM_CREATION_ERROR);
    for (bytes, code) in [
        (&b"\x01\x00"[..], Code::H3_ID_ERROR),
        (b"\x00\x04\x00\x07\x01\x01", Code::H3_ID_ERROR),
        (b"\x00\x04\x00\x0d\x01\x01", Code::H3_FRAME_UNEXPECTED),
    ] {
        let (_requests, quic) = client().await;
        let _stream = uni(&quic, bytes).await;
        assert_eq!(closed(&quic).await, code, "{bytes:x?}");
    }
    let (requests, quic) = client().await;
    let request = tokio::spawn(requests.send_request(get("/")));
    let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
    send.write_chunk(Bytes::from_static(b"\x05\x04\x00\x00\x00\xd1")).await.unwrap();
    assert_eq!(closed(&quic).await, Code::H3_ID_ERROR);
    let error = soon(request).await.unwrap().map(drop).unwrap_err();
    assert!(error.is_connection());
    assert_eq!(error.code(), Some(Code::H3_ID_ERROR), "the request tells why");
}
