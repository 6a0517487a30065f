//! Futures dropped at each of their await points, and bodies dropped before their end: neither harms the connection, and
//! no data is lost.

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use gannet_http3::{Code, RecvBody, StreamError, client, server};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::raw::{GET, answer, request, stopped};
use support::{AnyBody, full, get, quic, serve, soon, text};
use tokio::sync::Notify;

/// Polls a future up to so many times, and drops it if that was not enough.
async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    soon(poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }))
    .await
}

async fn echo(request: Request<RecvBody>) -> Result<Response<AnyBody>, StreamError> {
    Ok(Response::new(request.into_body().boxed()))
}

/// A body in several pieces, with pauses.
fn slow_body() -> AnyBody {
    let pieces = futures::stream::iter(0..4).then(|n| async move {
        tokio::task::yield_now().await;
        Ok(Frame::data(Bytes::from(vec![n; 3000])))
    });
    BodyExt::boxed(StreamBody::new(sync_stream(pieces)))
}

/// A stream that is `Sync`, as boxed bodies want it.
fn sync_stream<T: Send + 'static>(
    stream: impl futures::Stream<Item = T> + Send + 'static,
) -> impl futures::Stream<Item = T> + Send + Sync {
    let (send, recv) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut stream = pin!(stream);
        while let Some(item) = stream.next().await {
            if send.send(item).await.is_err() {
                return;
            }
        }
    });
    futures::stream::unfold(recv, |mut recv| async move { recv.recv().await.map(|item| (item, recv)) })
        .map(|x| x)
}

#[tokio::test]
async fn requests_can_be_cancelled_at_each_point() {
    let requests = serve(echo).await;
    let mut finished = false;
    for times in 0..40 {
        let request = Request::post("https://localhost/").body(slow_body()).unwrap();
        finished = match polled(requests.send_request(request), times).await {
            Some(response) => {
                let body = soon(response.unwrap().into_body().collect()).await.unwrap();
                assert_eq!(body.to_bytes().len(), 12_000);
                true
            }
            None => false,
        };
        let request = Request::post("https://localhost/").body(full("others go on")).unwrap();
        let response = soon(requests.send_request(request)).await.unwrap();
        assert_eq!(text(response).await, "others go on", "after {times} polls");
    }
    assert!(finished, "40 polls are not enough");
}

#[tokio::test]
async fn bodies_can_be_read_with_futures_that_are_dropped() {
    let requests = serve(|_| async { Ok(Response::new(slow_body())) }).await;
    let mut body = soon(requests.send_request(get("/"))).await.unwrap().into_body();
    let mut len = 0;
    soon(async {
        loop {
            match polled(body.frame(), 1).await {
                Some(Some(frame)) => len += frame.unwrap().into_data().unwrap().len(),
                Some(None) => break,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(len, 12_000);
}

#[tokio::test]
async fn accept_loses_no_request_when_it_is_dropped() {
    let (ours, theirs) = quic().await;
    tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        loop {
            match polled(connection.accept(), 1).await {
                Some(Ok(Some((request, respond)))) => {
                    let path = request.uri().path().to_owned();
                    tokio::spawn(respond.send_response(Response::new(full(path))));
                }
                Some(_) => return,
                None => tokio::task::yield_now().await,
            }
        }
    });
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let answers = futures::stream::iter(0..200).map(|n| {
        let requests = requests.clone();
        async move {
            let path = format!("/{n}");
            let response = requests.send_request(get(&path)).await.unwrap();
            assert_eq!(text(response).await, path);
        }
    });
    soon(answers.buffer_unordered(16).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn data_handed_over_are_sent_though_the_call_is_dropped() {
    let (ours, theirs) = quic().await;
    tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_head(Response::new(())).unwrap();
        // Far more than any window or buffer, so that most calls have to wait.
        for n in 0..400_u32 {
            let data = Bytes::from(vec![(n % 251) as u8; 100_000]);
            if polled(body.send_data(data), 1).await.is_none() {
                tokio::task::yield_now().await;
            }
        }
        body.finish().await.unwrap();
        let _ = connection.accept().await;
    });
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let mut body = soon(requests.send_request(get("/"))).await.unwrap().into_body();
    let mut at = 0_usize;
    while let Some(frame) = soon(body.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        let whole = data.iter().enumerate().all(|(n, byte)| usize::from(*byte) == (at + n) / 100_000 % 251);
        assert!(whole, "at {at}");
        at += data.len();
    }
    assert_eq!(at, 40_000_000);
}

#[tokio::test]
async fn dropping_a_response_stops_the_server() {
    // covers: R9114-4.1.1-02 R9114-4.1.1-06
    let (ours, theirs) = quic().await;
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let mut connection = server::handshake(theirs).await.unwrap();
    let endless = || {
        let data =
            futures::stream::repeat_with(|| Ok::<_, StreamError>(Frame::data(Bytes::from(vec![0; 10_000]))));
        StreamBody::new(data)
    };
    let request = Request::post("https://localhost/").body(endless()).unwrap();
    let response = tokio::spawn(requests.send_request(request));
    let (request, respond) = soon(connection.accept()).await.unwrap().unwrap();
    let serving = tokio::spawn(async move {
        tokio::select! {
            accepted = connection.accept() => panic!("{accepted:?}"),
            sent = respond.send_response(Response::new(endless())) => sent,
        }
    });
    let response = soon(response).await.unwrap().unwrap();
    drop(response);
    let error = soon(serving).await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Stopped(Code::H3_REQUEST_CANCELLED)), "{error:?}");
    assert!(error.is_cancelled());
    let error = soon(request.into_body().collect()).await.map(drop).unwrap_err();
    assert!(!matches!(error, StreamError::Malformed(_)), "{error:?}");
}

#[tokio::test]
async fn a_service_is_dropped_when_its_request_is_cancelled() {
    let dropped = Arc::new(Notify::new());
    let (ours, theirs) = quic().await;
    let started = Arc::new(Notify::new());
    let service = server::service_fn({
        let (dropped, started) = (dropped.clone(), started.clone());
        move |_| {
            struct Told(Arc<Notify>);
            impl Drop for Told {
                fn drop(&mut self) {
                    self.0.notify_one();
                }
            }
            let told = Told(dropped.clone());
            started.notify_one();
            async move {
                let _told = told;
                std::future::pending::<Result<Response<AnyBody>, StreamError>>().await
            }
        }
    });
    tokio::spawn(server::serve(theirs, service));
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let response = tokio::spawn(requests.send_request(get("/")));
    soon(started.notified()).await;
    response.abort();
    soon(dropped.notified()).await;
}

#[tokio::test]
async fn answers_that_are_not_given_reset_the_stream() {
    // covers: R9114-4.1.1-04 R9114-4.1.1-05
    let (quic, theirs) = quic().await;
    let started = Arc::new(Notify::new());
    let seen = started.clone();
    let served = tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        drop((request, respond));
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        respond.reset(Code::H3_VERSION_FALLBACK);
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_head(Response::new(())).unwrap();
        body.send_data("some").await.unwrap();
        seen.notified().await;
        drop(body);
        let _ = connection.accept().await;
    });
    let (send, mut recv) = request(&quic, GET, false).await;
    assert_eq!(answer(&mut recv).await, Err(Code::H3_REQUEST_CANCELLED));
    assert_eq!(stopped(&send).await, Code::H3_NO_ERROR, "the request is not read on");
    let (_, mut recv) = request(&quic, GET, true).await;
    assert_eq!(answer(&mut recv).await, Err(Code::H3_VERSION_FALLBACK));
    let (_, mut recv) = request(&quic, GET, true).await;
    assert!(soon(recv.read_chunk(1)).await.unwrap().is_some());
    started.notify_one();
    assert_eq!(answer(&mut recv).await, Err(Code::H3_REQUEST_CANCELLED));
    quic.close(Code::H3_NO_ERROR.as_varint(), b"");
    soon(served).await.unwrap();
}
