//! HTTP/3 with the h3 crate over quinn as the peer, in both roles.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use gannet::Endpoint;
use gannet::config::{ClientConfig, ServerConfig};
use gannet_http3::{RecvBody, StreamError, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Fails rather than hang.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("takes too long")
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (made.cert.into(), key, roots)
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn payload(size: usize) -> Bytes {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// A server of h3 that returns bodies and trailers as they come, after an interim response.
fn h3_server() -> (SocketAddr, RootCertStore) {
    let (cert, key, roots) = certificate();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::server(config, any()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let quic = h3_quinn::Connection::new(incoming.await.unwrap());
                let mut connection = h3::server::Connection::<_, Bytes>::new(quic).await.unwrap();
                while let Ok(Some(resolver)) = connection.accept().await {
                    tokio::spawn(async move {
                        let (request, mut stream) = resolver.resolve_request().await.unwrap();
                        let path = request.uri().path().to_owned();
                        let response = Response::builder().header("x-path", path).body(()).unwrap();
                        stream.send_response(response).await.unwrap();
                        while let Some(mut data) = stream.recv_data().await.unwrap() {
                            stream.send_data(data.copy_to_bytes(data.remaining())).await.unwrap();
                        }
                        if let Some(trailers) = stream.recv_trailers().await.unwrap() {
                            stream.send_trailers(trailers).await.unwrap();
                        }
                        stream.finish().await.unwrap();
                    });
                }
            });
        }
    });
    (addr, roots)
}

async fn our_client(addr: SocketAddr, roots: RootCertStore) -> client::SendRequest {
    let endpoint = Endpoint::client(any()).unwrap();
    endpoint.set_client_config(ClientConfig::with_roots(roots, &[b"h3"]).unwrap());
    let quic = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (requests, connection) = client::handshake(quic).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// Our server, which returns bodies and trailers as they come.
fn our_server() -> (SocketAddr, RootCertStore) {
    async fn echo(request: Request<RecvBody>) -> Result<Response<BoxBody<Bytes, StreamError>>, StreamError> {
        let response = Response::builder().header("x-path", request.uri().path());
        Ok(response.body(request.into_body().boxed()).unwrap())
    }
    let (cert, key, roots) = certificate();
    let config = ServerConfig::with_single_cert(vec![cert], key, &[b"h3"]).unwrap();
    let endpoint = Endpoint::server(config, any()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let quic = incoming.accept().await.unwrap();
                server::serve(quic, server::service_fn(echo)).await
            });
        }
    });
    (addr, roots)
}

type H3Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

async fn h3_client(addr: SocketAddr, roots: RootCertStore) -> (H3Sender, quinn::Connection) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut endpoint = quinn::Endpoint::client(any()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(tls).unwrap(),
    )));
    let quic = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
    tokio::spawn(async move { futures::future::poll_fn(|cx| driver.poll_close(cx)).await });
    (requests, quic)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_gets_its_bodies_back_from_h3() {
    let (addr, roots) = h3_server();
    let requests = our_client(addr, roots).await;
    for size in [0, 1, 100, 5000, 100_000, 5_000_000] {
        let data = payload(size);
        let request = Request::post("https://localhost/echo").body(Full::new(data.clone())).unwrap();
        let response = soon(requests.send_request(request)).await.unwrap();
        assert_eq!(response.headers()["x-path"], "/echo");
        let back = soon(response.into_body().collect()).await.unwrap().to_bytes();
        assert!(back == data, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_go_to_h3_and_back() {
    let (addr, roots) = h3_server();
    let requests = our_client(addr, roots).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [http_body::Frame::data(payload(1000)), http_body::Frame::trailers(trailers.clone())];
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let response =
        soon(requests.send_request(Request::post("https://localhost/").body(body).unwrap())).await.unwrap();
    let body = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), payload(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_makes_many_requests_of_h3() {
    let (addr, roots) = h3_server();
    let requests = our_client(addr, roots).await;
    let get = |n: usize| {
        let requests = requests.clone();
        async move {
            let request = Request::get(format!("https://localhost/{n}")).body(Empty::<Bytes>::new()).unwrap();
            let response = soon(requests.send_request(request)).await.unwrap();
            assert_eq!(response.headers()["x-path"], format!("/{n}"));
            assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes(), "");
        }
    };
    futures::stream::iter(0..1000).map(get).buffer_unordered(64).collect::<Vec<_>>().await;
    for n in 0..1000 {
        get(n).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_gets_its_bodies_and_trailers_back_from_us() {
    let (addr, roots) = our_server();
    let (mut requests, _quic) = h3_client(addr, roots).await;
    for size in [0, 1, 100, 5000, 100_000, 5_000_000] {
        let data = payload(size);
        let request = Request::post("https://localhost/echo").body(()).unwrap();
        let (mut send, mut recv) = soon(requests.send_request(request)).await.unwrap().split();
        let sending = tokio::spawn({
            let data = data.clone();
            async move {
                send.send_data(data).await.unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("42"));
                send.send_trailers(trailers).await.unwrap();
                send.finish().await.unwrap();
            }
        });
        let response = soon(recv.recv_response()).await.unwrap();
        assert_eq!(response.headers()["x-path"], "/echo");
        let mut back = Vec::new();
        while let Some(mut piece) = soon(recv.recv_data()).await.unwrap() {
            back.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        assert!(back == data, "{size}");
        assert_eq!(soon(recv.recv_trailers()).await.unwrap().unwrap()["x-sum"], "42");
        sending.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_makes_many_requests_of_us() {
    let (addr, roots) = our_server();
    let (requests, _quic) = h3_client(addr, roots).await;
    let get = |n: usize| {
        let mut requests = requests.clone();
        async move {
            let request = Request::get(format!("https://localhost/{n}")).body(()).unwrap();
            let mut stream = soon(requests.send_request(request)).await.unwrap();
            stream.finish().await.unwrap();
            let response = soon(stream.recv_response()).await.unwrap();
            assert_eq!(response.headers()["x-path"], format!("/{n}"));
            assert!(soon(stream.recv_data()).await.unwrap().is_none());
        }
    };
    futures::stream::iter(0..1000).map(get).buffer_unordered(64).collect::<Vec<_>>().await;
    for n in 0..1000 {
        get(n).await;
    }
}
