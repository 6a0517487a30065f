//! `bad_network`: HTTP/3 over paths that lose, stall and change, on a virtual network. It takes no sockets and no time;
//! the same seed gives the same figures. `bad_network 7` takes the seed 7.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use gannet::config::DevCertificate;
use gannet::sim::{Network, Node};
use gannet_examples::body;
use gannet_http3::{RecvBody, client, server};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

const PHONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const CAFE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const BYTES: usize = 2_000_000;

/// What happens to the path while the download is under way.
#[derive(Debug, Copy, Clone)]
enum Story {
    Nothing,
    Outage,
    Rebinding,
    Move,
}

fn main() -> Result<()> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse()).context("the seed is a number")?;
    let ms = Duration::from_millis;
    let line = vec![Node::megabits(20, 60), Node::Delay(ms(20))];
    let with = |node: Node| [vec![node], line.clone()].concat();
    for (name, nodes, story) in [
        ("20 Mbit/s, 40 ms", line.clone(), Story::Nothing),
        ("1 % lost", with(Node::Loss(0.01)), Story::Nothing),
        (
            "lost in bursts",
            with(Node::BurstLoss { begin: 0.002, end: 0.25, longest: ms(200) }),
            Story::Nothing,
        ),
        ("5 % overtaken", with(Node::Reorder { share: 0.05, by: ms(8) }), Story::Nothing),
        ("an outage of 2 s", line.clone(), Story::Outage),
        ("a NAT that forgets", line.clone(), Story::Rebinding),
        ("from mobile to Wi-Fi", line.clone(), Story::Move),
    ] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let (time, lost) = runtime.block_on(download(seed, nodes, story))?;
        say(&format!("{name:>20}: {:5.0} ms, {lost} packets lost", time.as_secs_f64() * 1e3));
    }
    Ok(())
}

/// How long it takes, and what the server took for lost.
async fn download(seed: u64, nodes: Vec<Node>, story: Story) -> Result<(Duration, u64)> {
    let network = Network::new(seed);
    network.link_everywhere(nodes.clone());
    network.nat(PHONE, [192, 0, 2, 1].into());
    // Nothing in its handshakes varies in length, so that runs repeat.
    let certificate = DevCertificate::ed25519(["server.test"])?;
    let (client, server) = (certificate.client_config(&[b"h3"])?, certificate.server_config(&[b"h3"])?);

    let serving = network.server((SERVER, 443), server)?;
    let accepted = tokio::spawn(async move {
        let connection = serving.accept().await.context("closed")?.accept().await?;
        let service = server::service_fn(|_: Request<RecvBody>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![42; BYTES]))))
        });
        server::serve(connection.clone(), service).await?;
        anyhow::Ok(connection.stats().packets_lost)
    });

    let endpoint = network.client((PHONE, 0), client)?;
    let quic = endpoint.connect((SERVER, 443).into(), "server.test")?.await?;
    let (requests, connection) = client::handshake(quic.clone()).await?;
    let running = tokio::spawn(connection);
    let request = Request::get("https://server.test/").body(body::empty())?;
    let response = requests.send_request(request).await?;
    let receiving = tokio::spawn(response.into_body().collect());

    tokio::time::sleep(Duration::from_millis(300)).await;
    match story {
        Story::Nothing => {}
        Story::Outage => {
            network.link_both(PHONE, SERVER, &[Node::Loss(1.0)]);
            tokio::time::sleep(Duration::from_secs(2)).await;
            network.link_both(PHONE, SERVER, &nodes);
        }
        Story::Rebinding => network.nat(PHONE, [192, 0, 2, 1].into()),
        Story::Move => quic.migrate(network.bind((CAFE, 0))?).await?,
    }
    let received = receiving.await??.to_bytes();
    ensure!(received.len() == BYTES, "{} bytes arrived", received.len());
    let time = network.elapsed();
    drop((requests, quic));
    running.await??;
    Ok((time, accepted.await??))
}

#[expect(clippy::print_stdout, reason = "this is what the program has to say")]
fn say(what: &str) {
    println!("{what}");
}
