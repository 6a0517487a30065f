//! How connections end.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use gannet_http3::{Code, ConnectionError, RecvBody, StreamError, client, server};
use http::{Request, Response};
use support::raw::{CONTROL, GET, OK, answer, closed, fin, request, round_trip, stopped, uni};
use support::{full, get, quic, soon, text};
use tokio::sync::{Notify, oneshot};

#[tokio::test]
async fn a_client_that_needs_the_connection_no_more_closes_it() {
    // covers: R9114-5.2-07
    let (ours, theirs) = quic().await;
    let ok = server::service_fn(|_: Request<RecvBody>| async {
        Ok::<_, StreamError>(Response::new(full("fine")))
    });
    let serving = tokio::spawn(server::serve(theirs, ok));
    let (requests, connection) = client::handshake(ours).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = soon(requests.send_request(get("/"))).await.unwrap();
    let quic = requests.quic().clone();
    drop(requests);
    round_trip(&quic).await;
    assert!(!connection.is_finished(), "the response is still being read");
    assert_eq!(text(response).await, "fine");
    soon(connection).await.unwrap().unwrap();
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_graceful_shutdown_lets_requests_finish() {
    // covers: R9114-5.2-03 R9114-5.2-04 R9114-3.3-06
    let (ours, theirs) = quic().await;
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = server::service_fn({
        let (started, release) = (started.clone(), release.clone());
        move |_: Request<RecvBody>| {
            let (started, release) = (started.clone(), release.clone());
            async move {
                started.notify_one();
                release.notified().await;
                Ok::<_, StreamError>(Response::new(full("in time")))
            }
        }
    });
    let (signal, signalled) = oneshot::channel::<()>();
    let connection = server::handshake(theirs).await.unwrap();
    let serving = tokio::spawn(connection.serve_with_graceful_shutdown(service, async {
        let _ = signalled.await;
    }));
    let (requests, connection) = client::handshake(ours).await.unwrap();
    let connection = tokio::spawn(connection);
    let under_way = tokio::spawn(requests.send_request(get("/")));
    soon(started.notified()).await;
    signal.send(()).unwrap();
    soon(async {
        while !requests.is_closed() {
            round_trip(requests.quic()).await;
        }
    })
    .await;
    let error = soon(requests.send_request(get("/"))).await.map(drop).unwrap_err();
    assert!(matches!(error, StreamError::GoingAway) && error.is_unprocessed());
    round_trip(requests.quic()).await;
    assert!(!serving.is_finished());
    release.notify_one();
    assert_eq!(text(soon(under_way).await.unwrap().unwrap()).await, "in time");
    soon(serving).await.unwrap().unwrap();
    soon(connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_that_come_after_goaway_are_rejected() {
    // covers: R9114-5.2-01 R9114-5.2-02 R9114-4.1.1-03
    let (quic, theirs) = quic().await;
    let (go, gone) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        connection.graceful_shutdown();
        tokio::select! {
            accepted = connection.accept() => panic!("{accepted:?}"),
            gone = gone => gone.unwrap(),
        }
        tokio::spawn(respond.send_response(Response::new(full("last"))));
        assert!(connection.accept().await.unwrap().is_none());
    });
    let mut control = soon(quic.accept_uni()).await.unwrap();
    let (_, mut first) = request(&quic, GET, true).await;
    let mut said = Vec::new();
    while !said.ends_with(b"\x07\x01\x04") {
        said.extend_from_slice(&soon(control.read_chunk(1000)).await.unwrap().unwrap());
    }
    let all = said.windows(10).any(|bytes| bytes == b"\x07\x08\xff\xff\xff\xff\xff\xff\xff\xfc");
    assert!(all, "{said:x?} does not begin with the largest ID");
    let (send, mut late) = request(&quic, GET, false).await;
    assert_eq!(answer(&mut late).await, Err(Code::H3_REQUEST_REJECTED));
    assert_eq!(stopped(&send).await, Code::H3_REQUEST_REJECTED);
    go.send(()).unwrap();
    assert!(answer(&mut first).await.unwrap().ends_with(b"last"));
    assert_eq!(closed(&quic).await, Code::H3_NO_ERROR);
    soon(serving).await.unwrap();
}

#[tokio::test]
async fn goaway_tells_which_requests_were_not_processed() {
    let (ours, quic) = quic().await;
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let first = tokio::spawn(requests.send_request(get("/first")));
    let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
    let second = tokio::spawn(requests.send_request(get("/second")));
    let (_send, _recv) = soon(quic.accept_bi()).await.unwrap();
    let mut control = uni(&quic, CONTROL).await;
    control.write_chunk(Bytes::from_static(b"\x07\x01\x04")).await.unwrap();
    let error = soon(second).await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, StreamError::GoingAway), "{error}");
    assert!(requests.is_closed());
    send.write_chunk(OK.into()).await.unwrap();
    fin(&mut send);
    assert_eq!(soon(first).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_rejected_request_can_be_sent_again() {
    let (ours, quic) = quic().await;
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    for (code, unprocessed) in [(Code::H3_REQUEST_REJECTED, true), (Code::H3_REQUEST_CANCELLED, false)] {
        let response = tokio::spawn(requests.send_request(get("/")));
        let (mut send, _recv) = soon(quic.accept_bi()).await.unwrap();
        send.reset(code.as_varint()).unwrap();
        let error = soon(response).await.unwrap().map(drop).unwrap_err();
        assert!(matches!(error, StreamError::Reset(reset) if reset == code), "{error}");
        assert_eq!(error.is_unprocessed(), unprocessed);
    }
}

#[tokio::test]
async fn the_peer_that_closes_is_told_apart() {
    for (code, graceful) in [(Code::H3_NO_ERROR, true), (Code::H3_INTERNAL_ERROR, false)] {
        let (ours, quic) = quic().await;
        let (requests, connection) = client::handshake(ours).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = tokio::spawn(requests.send_request(get("/")));
        let _streams = soon(quic.accept_bi()).await.unwrap();
        quic.close(code.as_varint(), b"bye");
        let error = soon(response).await.unwrap().map(drop).unwrap_err();
        assert!(error.is_connection());
        assert_eq!(error.code(), Some(code));
        let ended = soon(connection).await.unwrap();
        assert_eq!(ended.is_ok(), graceful, "{ended:?}");
        let error = soon(requests.send_request(get("/"))).await.map(drop).unwrap_err();
        assert!(matches!(error, StreamError::Connection(ConnectionError::ClosedByPeer { .. })), "{error:?}");
        assert!(requests.is_closed());
    }
}

#[tokio::test]
async fn a_goaway_that_was_asked_for_before_anything_ran_is_sent() {
    // covers: R9114-5.2-07
    let (ours, quic) = quic().await;
    let (_requests, connection) = client::handshake(ours).await.unwrap();
    connection.graceful_shutdown();
    tokio::spawn(connection);
    let mut control = soon(quic.accept_uni()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\x07\x01\x00") {
        said.extend_from_slice(&soon(control.read_chunk(1000)).await.unwrap().unwrap());
    }
}

/// The end of a critical stream is an error: whoever closes ends them with the connection, and not before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn critical_streams_do_not_end_before_the_connection() {
    for _ in 0..20 {
        let (ours, quic) = quic().await;
        let (_requests, connection) = client::handshake(ours).await.unwrap();
        tokio::spawn(connection);
        let mut control = soon(quic.accept_uni()).await.unwrap();
        let _first = uni(&quic, CONTROL).await;
        let _second = uni(&quic, CONTROL).await;
        let error = loop {
            match soon(control.read_chunk(1000)).await {
                Ok(chunk) => assert!(chunk.is_some(), "finished"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, gannet::ReadError::Connection(_)), "{error:?}");
        assert_eq!(closed(&quic).await, Code::H3_STREAM_CREATION_ERROR);
    }
}
