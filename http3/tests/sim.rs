//! Requests over the virtual network, under paused time.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use gannet::config::{ClientConfig, DevCertificate, ServerConfig, TransportConfig};
use gannet::sim::{Event, Network, Node};
use gannet_http3::{Code, RecvBody, StreamError, client, server};
use http::{Request, Response};
use http_body_util::BodyExt;
use support::raw::{GET, closed};
use support::{AnyBody, get, text};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Nothing in their handshakes varies in length.
fn configs() -> (ClientConfig, ServerConfig) {
    let certificate = DevCertificate::ed25519(["localhost"]).unwrap();
    let idle = Some(Duration::from_secs(60));
    let transport = TransportConfig::builder().max_idle_timeout(idle).build().unwrap();
    let client = certificate.client_config(&[b"h3"]).unwrap();
    let server = certificate.server_config(&[b"h3"]).unwrap();
    (client.transport(transport.clone()), server.transport(transport))
}

async fn echo(request: Request<RecvBody>) -> Result<Response<AnyBody>, StreamError> {
    Ok(Response::new(request.into_body().boxed()))
}

/// Never answers.
async fn ponder(_: Request<RecvBody>) -> Result<Response<AnyBody>, StreamError> {
    std::future::pending().await
}

/// A QUIC connection to a server that does this with requests.
async fn connect_quic<F, R>(network: &Network, service: F) -> gannet::Connection
where
    F: Fn(Request<RecvBody>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Result<Response<AnyBody>, StreamError>> + Send + 'static,
{
    let (client, server) = configs();
    let endpoint = network.server((SERVER, 443), server).unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(connection) = incoming.accept().await {
                tokio::spawn(server::serve(connection, server::service_fn(service)));
            }
        }
    });
    let endpoint = network.client((CLIENT, 0), client).unwrap();
    endpoint.connect(SocketAddr::from((SERVER, 443)), "localhost").unwrap().await.unwrap()
}

/// A client of a server that echoes.
async fn connect(network: &Network) -> client::SendRequest {
    let quic = connect_quic(network, echo).await;
    let (requests, connection) = client::handshake(quic).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn body(n: usize) -> Bytes {
    (0..n * 7919 % 60_000).map(|at| (at * n % 253) as u8).collect::<Vec<_>>().into()
}

async fn exchange(requests: client::SendRequest, n: usize) {
    let request = Request::post(format!("https://localhost/{n}")).body(support::full(body(n))).unwrap();
    let response = requests.send_request(request).await.unwrap();
    let received = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(received, body(n));
}

fn bad(rate: u64) -> Vec<Node> {
    vec![
        Node::megabits(rate, 30),
        Node::BurstLoss { begin: 0.005, end: 0.3, longest: ms(300) },
        Node::Loss(0.01),
        Node::Duplicate { share: 0.01, after: ms(1) },
        Node::Reorder { share: 0.02, by: ms(9) },
        Node::Delay(ms(30)),
    ]
}

/// Thirty requests at a time over a bad path, which is asymmetric and changes its address half way.
fn run(seed: u64) -> Vec<Event> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let network = Network::new(seed);
        network.record();
        network.link(CLIENT, SERVER, bad(2));
        network.link(SERVER, CLIENT, bad(10));
        network.nat(CLIENT, [192, 0, 2, 1].into());
        let requests = connect(&network).await;
        let tasks: Vec<_> = (0..30).map(|n| tokio::spawn(exchange(requests.clone(), n))).collect();
        tokio::time::sleep(ms(400)).await;
        network.nat(CLIENT, [192, 0, 2, 2].into());
        for task in tasks {
            task.await.unwrap();
        }
        drop(requests);
        tokio::time::sleep(Duration::from_secs(5)).await;
        network.take_events()
    })
}

#[test]
fn requests_survive_bad_paths_and_seeds_replay() {
    for seed in 0..4 {
        let events = run(seed);
        let again = run(seed);
        let difference = events.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!(difference.map(|at| (events[at], again[at])), None);
        assert_eq!(events.len(), again.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_path_to_come_back() {
    let network = Network::new(1);
    let delay = [Node::Delay(ms(15))];
    network.link_both(CLIENT, SERVER, &delay);
    let requests = connect(&network).await;
    let before = network.elapsed();
    assert_eq!(text(requests.send_request(get("/")).await.unwrap()).await, "");
    assert!(network.elapsed() - before < ms(40));
    network.link_both(CLIENT, SERVER, &[Node::Loss(1.0)]);
    let request = tokio::spawn(exchange(requests, 3));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!request.is_finished());
    network.link_both(CLIENT, SERVER, &delay);
    request.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_path_that_does_not_come_back_is_an_error() {
    let network = Network::new(1);
    network.link_everywhere(vec![Node::Delay(ms(15))]);
    let requests = connect(&network).await;
    network.link_both(CLIENT, SERVER, &[Node::Loss(1.0)]);
    let before = network.elapsed();
    requests.send_request(get("/")).await.unwrap_err();
    assert!(network.elapsed() - before >= Duration::from_secs(60));
}

/// Asks for something and gives it up after a while, so many times; how often before the connection was closed.
async fn give_up(quic: &gannet::Connection, after: Duration, times: usize) -> usize {
    let cancelled = Code::H3_REQUEST_CANCELLED.as_varint();
    for given_up in 0..times {
        let Ok((mut send, mut recv)) = quic.open_bi().await else { return given_up };
        let _ = send.write_chunk(GET.into()).await;
        // The server begins with it.
        tokio::time::sleep(after).await;
        let _ = send.reset(cancelled);
        let _ = recv.stop(cancelled);
    }
    times
}

// covers: R9114-10.5-02
#[tokio::test(start_paused = true)]
async fn requests_given_up_in_a_loop_close_the_connection() {
    let network = Network::new(1);
    network.link_both(CLIENT, SERVER, &[Node::Delay(ms(1))]);
    let quic = connect_quic(&network, ponder).await;
    let others: Vec<_> = (0..8)
        .map(|_| {
            let quic = quic.clone();
            tokio::spawn(async move { give_up(&quic, ms(1), 1_000).await })
        })
        .collect();
    let mut given_up = 0;
    for other in others {
        given_up += other.await.unwrap();
    }
    assert!((1_000..3_000).contains(&given_up), "{given_up}");
    assert_eq!(closed(&quic).await, Code::H3_EXCESSIVE_LOAD);
}

/// Search as one types, all day long.
#[tokio::test(start_paused = true)]
async fn nine_hundred_requests_given_up_each_second_are_fine() {
    let network = Network::new(1);
    network.link_both(CLIENT, SERVER, &[Node::Delay(ms(1))]);
    let quic = connect_quic(&network, ponder).await;
    let others: Vec<_> = (0..9)
        .map(|_| {
            let quic = quic.clone();
            tokio::spawn(async move { give_up(&quic, ms(10), 600).await })
        })
        .collect();
    for other in others {
        assert_eq!(other.await.unwrap(), 600);
    }
    assert_eq!(quic.close_reason(), None);
}
