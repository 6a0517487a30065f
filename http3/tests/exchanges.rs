//! Requests and responses, both ends ours.

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use gannet_http3::error::Unsendable;
use gannet_http3::{RecvBody, StreamError, client, server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::{AnyBody, empty, full, get, quic, serve, soon, text};
use tokio::sync::Notify;

async fn echo(request: Request<RecvBody>) -> Result<Response<AnyBody>, StreamError> {
    Ok(Response::new(request.into_body().boxed()))
}

#[tokio::test]
async fn a_request_gets_its_response() {
    let requests = serve(|request: Request<RecvBody>| async move {
        assert_eq!(request.version(), http::Version::HTTP_3);
        assert_eq!(request.uri(), "https://localhost/some?thing");
        assert_eq!(request.headers()["x-question"], "why");
        let response = Response::builder().status(202).header("x-answer", "because");
        Ok(response.body(full("hello")).unwrap())
    })
    .await;
    let mut request = get("/some?thing");
    request.headers_mut().insert("x-question", HeaderValue::from_static("why"));
    let response = soon(requests.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.version(), http::Version::HTTP_3);
    assert_eq!(response.headers()["x-answer"], "because");
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(text(response).await, "hello");
}

#[tokio::test]
async fn a_request_without_content_is_known_as_such() {
    use http_body::Body;
    let requests = serve(|request: Request<RecvBody>| async move {
        Ok(Response::new(full(format!("{}", request.body().is_end_stream()))))
    })
    .await;
    for _ in 0..20 {
        let response = soon(requests.send_request(get("/"))).await.unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(4));
        assert_eq!(text(response).await, "true");
    }
}

#[tokio::test]
async fn bodies_of_all_sizes_come_back() {
    let requests = serve(echo).await;
    for size in [0, 1, 63, 64, 1000, 2048, 2049, 16_383, 16_384, 100_000, 3_000_000] {
        let data = Bytes::from((0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>());
        let request = Request::post("https://localhost/").body(full(data.clone())).unwrap();
        let response = soon(requests.send_request(request)).await.unwrap();
        let back = soon(response.into_body().collect()).await.unwrap().to_bytes();
        assert!(back == data, "{size}");
    }
}

#[tokio::test]
async fn bodies_of_unknown_length_and_their_trailers_come_back() {
    let requests = serve(|request: Request<RecvBody>| async move {
        assert!(!request.headers().contains_key("content-length"));
        Ok(Response::new(request.into_body().boxed()))
    })
    .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("12"));
    let pieces = [1, 5000, 0, 2000, 300_000].map(|len| Frame::data(Bytes::from(vec![7; len])));
    let frames = pieces.into_iter().chain([Frame::trailers(trailers.clone())]);
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let response =
        soon(requests.send_request(Request::put("https://localhost/").body(body).unwrap())).await.unwrap();
    let body = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes().len(), 307_001);
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let requests = serve(echo).await;
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, StreamError>::new(1);
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = soon(requests.send_request(request)).await.unwrap();
    let mut back = response.into_body();
    for n in 0..50_u8 {
        soon(sender.send_data(Bytes::from(vec![n; 10]))).await.unwrap();
        let frame = soon(back.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), vec![n; 10]);
    }
    drop(sender);
    assert!(soon(back.frame()).await.is_none());
}

#[tokio::test]
async fn many_requests_at_once_and_one_after_another() {
    let requests = serve(|request: Request<RecvBody>| async move {
        Ok(Response::new(full(request.uri().path().to_owned())))
    })
    .await;
    let answers = futures::stream::iter(0..1000).map(|n| {
        let requests = requests.clone();
        async move {
            let path = format!("/{n}");
            let response = requests.send_request(get(&path)).await.unwrap();
            assert_eq!(text(response).await, path);
        }
    });
    soon(answers.buffer_unordered(64).collect::<Vec<_>>()).await;
    for n in 0..1000 {
        let path = format!("/{n}");
        let response = soon(requests.send_request(get(&path))).await.unwrap();
        assert_eq!(text(response).await, path);
    }
}

#[tokio::test]
async fn responses_to_head_and_with_204_or_304_have_no_content() {
    let requests = serve(|request: Request<RecvBody>| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        Ok(Response::builder().status(status).body(full("content")).unwrap())
    })
    .await;
    for (method, path, length) in [
        ("HEAD", "/200", Some("7")),
        ("HEAD", "/404", Some("7")),
        ("GET", "/204", None),
        ("GET", "/304", None),
    ] {
        let request =
            Request::builder().method(method).uri(format!("https://localhost{path}")).body(empty()).unwrap();
        let response = soon(requests.send_request(request)).await.unwrap();
        let sent = response.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(sent.as_deref(), length, "{method} {path}");
        assert_eq!(text(response).await, "", "{method} {path}");
    }
}

#[tokio::test]
async fn interim_responses_are_delivered_or_skipped() {
    let (ours, theirs) = quic().await;
    tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        while let Ok(Some((_, mut respond))) = connection.accept().await {
            for status in [100, 103] {
                let hint =
                    Response::builder().status(status).header("link", "</style.css>").body(()).unwrap();
                respond.send_informational(hint).await.unwrap();
            }
            let wrong = respond.send_informational(Response::new(())).await.unwrap_err();
            assert!(matches!(wrong, StreamError::Unsendable(Unsendable::Status)));
            let wrong = Response::builder().status(101).body(()).unwrap();
            let wrong = respond.send_informational(wrong).await.unwrap_err();
            assert!(matches!(wrong, StreamError::Unsendable(Unsendable::SwitchingProtocols)));
            respond.send_response(Response::new(full("final"))).await.unwrap();
        }
    });
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(soon(requests.send_request(get("/"))).await.unwrap()).await, "final");

    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut request = get("/");
    client::on_informational(&mut request, {
        let seen = Arc::clone(&seen);
        move |response| seen.lock().unwrap().push((response.status().as_u16(), response.headers().len()))
    });
    assert_eq!(text(soon(requests.send_request(request)).await.unwrap()).await, "final");
    assert_eq!(*seen.lock().unwrap(), [(100, 1), (103, 1)]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_when_the_body_is_read() {
    let requests = serve(|request: Request<RecvBody>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        Ok(Response::new(full(body)))
    })
    .await;
    for expect in ["100-continue", "100-Continue", "100-CONTINUE"] {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, StreamError>::new(1);
        let mut request = Request::post("https://localhost/").header("expect", expect).body(body).unwrap();
        let (go_on, mut told) = tokio::sync::mpsc::unbounded_channel();
        client::on_informational(&mut request, move |response| go_on.send(response.status()).unwrap());
        let response = tokio::spawn(requests.send_request(request));
        assert_eq!(soon(told.recv()).await, Some(StatusCode::CONTINUE));
        sender.send_data(Bytes::from("content")).await.unwrap();
        drop(sender);
        assert_eq!(text(soon(response).await.unwrap().unwrap()).await, "content");
    }
}

#[tokio::test]
async fn a_response_sent_piece_by_piece() {
    let (ours, theirs) = quic().await;
    tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        while let Ok(Some((request, respond))) = connection.accept().await {
            let mut body = respond.send_head(Response::new(())).unwrap();
            body.send_data("one ").await.unwrap();
            body.send_data(vec![b'-'; 5000]).await.unwrap();
            body.send_data("two").await.unwrap();
            drop(request);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", HeaderValue::from_static("yes"));
            body.send_trailers(trailers).await.unwrap();
            assert!(matches!(body.send_data("late").await, Err(StreamError::Closed)));
            assert!(matches!(body.finish().await, Err(StreamError::Closed)));
        }
    });
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let body = soon(requests.send_request(get("/"))).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-end"], "yes");
    assert_eq!(body.to_bytes().len(), 5007);
}

#[tokio::test]
async fn a_body_that_does_not_fit_its_length_is_not_sent_as_whole() {
    let requests = serve(|request: Request<RecvBody>| async move {
        // What the client sends never arrives as a whole message.
        let error = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_err();
        assert!(matches!(error, StreamError::Reset(_)), "{error:?}");
        Ok(Response::new(full("")))
    })
    .await;
    for (declared, pieces) in [("10", &[4, 5][..]), ("10", &[4, 7]), ("10", &[]), ("0", &[1])] {
        let frames =
            pieces.iter().map(|len| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![1; *len]))));
        let body = StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()));
        let request =
            Request::post("https://localhost/").header("content-length", declared).body(body).unwrap();
        let error = soon(requests.send_request(request)).await.unwrap_err();
        assert!(matches!(error, StreamError::BodyLength { .. }), "{error:?}");
        assert!(error.is_user());
    }
    for declared in ["ten", "+5", "-0", "5,5", "0x5", ""] {
        let request = Request::post("https://localhost/").header("content-length", declared);
        let error = soon(requests.send_request(request.body(full("12345")).unwrap())).await.unwrap_err();
        assert!(matches!(error, StreamError::Unsendable(Unsendable::ContentLength)), "{declared}: {error:?}");
    }
}

#[tokio::test]
async fn a_body_that_fails_resets_the_stream() {
    // The head has to arrive, or the reset overtakes it.
    let arrived = Arc::new(Notify::new());
    let failing = |arrived: &Arc<Notify>| {
        let arrived = arrived.clone();
        let failure = futures::stream::once(async move {
            arrived.notified().await;
            Err(std::io::Error::other("disk full"))
        });
        StreamBody::new(futures::stream::iter([Ok(Frame::data(Bytes::from("some")))]).chain(failure))
    };
    let (ours, theirs) = quic().await;
    let (of_request, of_response) = (arrived.clone(), Arc::new(Notify::new()));
    let body = failing(&of_response);
    let served = tokio::spawn(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        of_request.notify_one();
        let error = request.into_body().collect().await.map(drop).unwrap_err();
        assert!(matches!(error, StreamError::Reset(_)), "{error:?}");
        drop(respond);
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let error = respond.send_response(Response::new(Box::pin(body))).await.unwrap_err();
        assert!(matches!(error, StreamError::Body(_)), "{error:?}");
        let _ = connection.accept().await;
    });
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://localhost/").body(Box::pin(failing(&arrived))).unwrap();
    let error = soon(requests.send_request(request)).await.unwrap_err();
    assert!(matches!(error, StreamError::Body(_)), "{error:?}");
    let response = soon(requests.send_request(get("/"))).await.unwrap();
    of_response.notify_one();
    let error = soon(response.into_body().collect()).await.map(drop).unwrap_err();
    assert_eq!(error.code(), Some(gannet_http3::Code::H3_INTERNAL_ERROR));
    drop(requests);
    soon(served).await.unwrap();
}

#[tokio::test]
async fn field_sections_keep_to_the_limits_of_both_ends() {
    let (ours, theirs) = quic().await;
    let answer = server::service_fn(|request: Request<RecvBody>| async move {
        let size: usize = request.uri().path()[1..].parse().unwrap();
        let response = Response::builder().header("x-large", "x".repeat(size));
        Ok::<_, StreamError>(response.body(full("")).unwrap())
    });
    let server = server::Builder::new().max_field_section_size(2000).handshake(theirs).await.unwrap();
    tokio::spawn(server.serve(answer));
    let (requests, connection) =
        client::Builder::new().max_field_section_size(1000).handshake(ours).await.unwrap();
    tokio::spawn(connection);
    // Before the settings are known, the server has to answer; later the client knows the limit itself.
    let large = || {
        let mut request = get("/0");
        request.headers_mut().insert("x-large", HeaderValue::from_str(&"x".repeat(3000)).unwrap());
        request
    };
    match soon(requests.send_request(large())).await {
        Ok(response) => assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => {
            assert!(matches!(error, StreamError::Unsendable(Unsendable::TooLarge { .. })), "{error}");
        }
    }
    assert_eq!(soon(requests.send_request(get("/500"))).await.unwrap().status(), 200);
    // covers: R9114-4.2.2-01
    let error = soon(requests.send_request(large())).await.unwrap_err();
    assert!(matches!(error, StreamError::Unsendable(Unsendable::TooLarge { limit: 2000, .. })), "{error}");
    assert!(error.is_unprocessed());
    let error = soon(requests.send_request(get("/2000"))).await.unwrap_err();
    assert_eq!(error.code(), Some(gannet_http3::Code::H3_INTERNAL_ERROR), "the server kept to our limit");
    assert_eq!(soon(requests.send_request(get("/500"))).await.unwrap().status(), 200, "others go on");
}

#[tokio::test]
async fn an_early_response_ends_the_upload() {
    let requests = serve(|request: Request<RecvBody>| async move {
        drop(request);
        Ok(Response::builder().status(413).body(full("too much")).unwrap())
    })
    .await;
    let body = StreamBody::new(futures::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; 50_000])))
    }));
    // covers: R9114-4.1-11 R9114-4.1-12
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = soon(requests.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await, "too much");
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    let requests = serve(echo).await;
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, StreamError>::new(1);
    let request = Request::connect("example.com:443").body(body).unwrap();
    let response = soon(requests.send_request(request)).await.unwrap();
    assert!(!response.headers().contains_key("content-length"));
    let mut back = response.into_body();
    sender.send_data(Bytes::from("through")).await.unwrap();
    assert_eq!(soon(back.frame()).await.unwrap().unwrap().into_data().unwrap(), "through");
    drop(sender);
    assert!(soon(back.frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_exchange_is_one_packet_each_way() {
    let requests = serve(echo).await;
    let exchange = || async {
        let request = Request::post("https://localhost/").body(full(vec![1; 300])).unwrap();
        let response = soon(requests.send_request(request)).await.unwrap();
        assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes().len(), 300);
    };
    for _ in 0..50 {
        exchange().await;
    }
    let before = requests.quic().stats();
    for _ in 0..200 {
        exchange().await;
    }
    let after = requests.quic().stats();
    let sent = after.packets_sent - before.packets_sent;
    let received = after.packets_received - before.packets_received;
    // A machine under load may find an acknowledgement due before the response.
    assert!(sent < 300 && received < 300, "{sent} sent, {received} received");
}
