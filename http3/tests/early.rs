//! Requests before the handshake.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gannet::Endpoint;
use gannet::config::{ClientConfig, EarlyDataPolicy, ServerConfig};
use gannet_http3::error::StreamError;
use gannet_http3::server::EarlyData;
use gannet_http3::{RecvBody, client, server};
use http::{Request, Response, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use support::{empty, full, get, soon, text};

struct Site {
    client: Endpoint,
    server: Endpoint,
    config: ServerConfig,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let context = server::Builder::new().early_data_context();
        let config = ServerConfig::with_single_cert(vec![made.cert.into()], key, &[b"h3"]).unwrap();
        let config = config.early_data(EarlyDataPolicy::new().context(context));
        let server = Endpoint::server(config.clone(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.set_client_config(ClientConfig::with_roots(roots, &[b"h3"]).unwrap());
        let site = Self { client, server, config, asked: Arc::default() };
        site.serve();
        site.meet().await;
        site
    }

    /// An ordinary connection, which leaves tickets.
    async fn meet(&self) {
        let (requests, connection) = client::handshake(self.connect().await.unwrap()).await.unwrap();
        let running = tokio::spawn(connection);
        // The tickets come before the answer.
        assert_eq!(text(soon(requests.send_request(get("/"))).await.unwrap()).await, "late GET");
        drop(requests);
        soon(running).await.unwrap().unwrap();
    }

    fn serve(&self) {
        let (server, asked) = (self.server.clone(), self.asked.clone());
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                let (quic, _) = incoming.accept().into_0rtt().unwrap();
                let asked = asked.clone();
                let service = server::service_fn(move |request| answer(request, asked.clone()));
                tokio::spawn(server::serve(quic, service));
            }
        });
    }

    fn connect(&self) -> gannet::Connecting {
        self.client.connect(self.server.local_addr().unwrap(), "localhost").unwrap()
    }

    /// Connects without waiting for the handshake.
    fn connect_early(&self) -> client::SendRequest {
        let (quic, accepted) = self.connect().into_0rtt().unwrap();
        let (requests, connection) = client::Builder::new().handshake_0rtt(quic, accepted);
        tokio::spawn(connection);
        requests
    }
}

/// Says how the request came.
async fn answer(
    request: Request<RecvBody>,
    asked: Arc<AtomicUsize>,
) -> Result<Response<support::AnyBody>, std::convert::Infallible> {
    asked.fetch_add(1, Ordering::Relaxed);
    let early = request.extensions().get::<EarlyData>();
    if request.uri().path() == "/not-so-soon" && early.is_some() {
        return Ok(Response::builder().status(StatusCode::TOO_EARLY).body(full("")).unwrap());
    }
    if request.uri().path() == "/patience"
        && let Some(early) = early
    {
        early.handshake_completed().await.unwrap();
    }
    let when = if early.is_some() { "early" } else { "late" };
    Ok(Response::new(full(format!("{when} {}", request.method()))))
}

#[tokio::test]
async fn safe_requests_go_early_and_others_wait() {
    let site = Site::new().await;
    for _ in 0..3 {
        let requests = site.connect_early();
        let post = Request::post("https://localhost/").body(full("content")).unwrap();
        let delete = Request::delete("https://localhost/").body(empty()).unwrap();
        let (first, second, third, fourth, fifth) = soon(async {
            tokio::join!(
                requests.send_request(post),
                requests.send_request(get("/")),
                requests.send_request(delete),
                requests.send_request(get("/not-so-soon")),
                requests.send_request(get("/patience")),
            )
        })
        .await;
        assert_eq!(text(first.unwrap()).await, "late POST");
        assert_eq!(text(second.unwrap()).await, "early GET");
        assert_eq!(text(third.unwrap()).await, "late DELETE");
        assert_eq!(text(fourth.unwrap()).await, "late GET", "asked again after 425");
        assert_eq!(text(fifth.unwrap()).await, "early GET");
        let later = soon(requests.send_request(get("/"))).await.unwrap();
        assert_eq!(text(later).await, "late GET");
        assert!(requests.quic().stats().early_packets_sent > 0);
    }
}

#[tokio::test]
async fn requests_are_sent_again_where_early_data_is_not_taken() {
    let site = Site::new().await;
    let other_settings = server::Builder::new().max_field_section_size(1000).early_data_context();
    let refusing = EarlyDataPolicy::new().context(other_settings);
    site.server.set_server_config(site.config.clone().early_data(refusing)).unwrap();
    site.asked.store(0, Ordering::Relaxed);
    let requests = site.connect_early();
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(tokio::spawn(requests.send_request(get("/"))));
    }
    for request in asked {
        assert_eq!(text(soon(request).await.unwrap().unwrap()).await, "late GET");
    }
    assert_eq!(site.asked.load(Ordering::Relaxed), 20);
    assert!(requests.quic().stats().early_packets_sent > 0);
    let post = Request::post("https://localhost/").body(full("content")).unwrap();
    assert_eq!(text(soon(requests.send_request(post)).await.unwrap()).await, "late POST");
}

#[tokio::test]
async fn early_requests_may_be_given_up() {
    let site = Site::new().await;
    let requests = site.connect_early();
    drop(requests.send_request(get("/")));
    let given_up = tokio::spawn(requests.send_request(get("/patience")));
    given_up.abort();
    assert_eq!(text(soon(requests.send_request(get("/"))).await.unwrap()).await, "early GET");
}

/// A client of another making might send anything early: the server holds what is not safe.
#[tokio::test]
async fn unsafe_requests_that_came_early_wait_at_the_server() {
    let site = Site::new().await;
    let (quic, accepted) = site.connect().into_0rtt().unwrap();
    let quic_too = quic.clone();
    // This client takes the connection for an ordinary one.
    let (requests, connection) = soon(client::handshake(quic)).await.unwrap();
    tokio::spawn(connection);
    let post = Request::post("https://localhost/").body(full("content")).unwrap();
    let response = soon(requests.send_request(post)).await.unwrap();
    assert!(soon(accepted).await && quic_too.stats().early_packets_sent > 0);
    assert_eq!(text(response).await, "late POST");
}

/// A connection to where nobody answers.
async fn stalled(site: &Site) -> (tokio::net::UdpSocket, gannet::Connection, gannet::ZeroRttAccepted) {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let connecting = site.client.connect(nobody.local_addr().unwrap(), "localhost").unwrap();
    let (quic, accepted) = connecting.into_0rtt().unwrap();
    (nobody, quic, accepted)
}

#[tokio::test]
async fn requests_that_wait_for_the_handshake_learn_that_there_is_none() {
    let site = Site::new().await;
    let post = || Request::post("https://localhost/").body(full("content")).unwrap();
    let (_nobody, quic, accepted) = stalled(&site).await;
    let (requests, connection) = client::Builder::new().handshake_0rtt(quic, accepted);
    let running = tokio::spawn(connection);
    let waiting = tokio::spawn(requests.send_request(post()));
    tokio::task::yield_now().await;
    running.abort();
    assert!(soon(running).await.unwrap_err().is_cancelled());
    for outcome in [soon(waiting).await.unwrap(), soon(requests.send_request(post())).await] {
        let error = outcome.map(drop).unwrap_err();
        assert!(matches!(error, StreamError::Connection(_)), "{error}");
    }
}

/// The news of early data may come at the same time as the end, or after it.
#[tokio::test]
async fn a_connection_that_has_ended_holds_no_request_back() {
    let site = Site::new().await;
    let (_nobody, quic, _) = stalled(&site).await;
    site.meet().await;
    let (_nobody_too, _other, never) = stalled(&site).await;
    let (requests, mut connection) = client::Builder::new().handshake_0rtt(quic.clone(), never);
    let post = Request::post("https://localhost/").body(full("content")).unwrap();
    let waiting = tokio::spawn(requests.send_request(post));
    tokio::task::yield_now().await;
    quic.close(gannet::VarInt::default(), b"");
    soon(&mut connection).await.unwrap();
    let error = soon(waiting).await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, StreamError::Connection(_)), "{error}");
    drop(connection);
}
