//! `datagrams`: a player tells a game where it is, sixty times a second, over a path that gets worse. What is late is of no
//! use, so it is not sent. On a virtual network; the same seed gives the same figures. `datagrams 7` takes the seed 7.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use gannet::config::DevCertificate;
use gannet::sim::{Network, Node};
use gannet::{DatagramFate, DatagramOptions};

const PLAYER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const GAME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
/// A position and what can be seen from there.
const LEN: usize = 900;
const TICK: Duration = Duration::from_micros(16_667);
const TICKS: u32 = 600;

fn main() -> Result<()> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse()).context("the seed is a number")?;
    let ms = Duration::from_millis;
    let slow = Node::Bottleneck { bytes_per_second: 29_000, queue: 20, mark_from: None };
    for (name, nodes) in [
        ("5 Mbit/s, 40 ms", vec![Node::megabits(5, 60), Node::Delay(ms(20))]),
        ("5 % lost", vec![Node::Loss(0.05), Node::megabits(5, 60), Node::Delay(ms(20))]),
        ("too slow by half", vec![slow, Node::Delay(ms(20))]),
    ] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let (fates, heard) = runtime.block_on(play(seed, nodes))?;
        say(&format!(
            "{name:>18}: the game heard {heard} of {TICKS} positions; the player knows of {fates:?}"
        ));
    }
    Ok(())
}

/// What became of the positions, as the player knows, and how many the game heard of.
async fn play(seed: u64, nodes: Vec<Node>) -> Result<(BTreeMap<String, u32>, u32)> {
    let network = Network::new(seed);
    network.link_everywhere(nodes);
    // Nothing in its handshakes varies in length, so that runs repeat.
    let certificate = DevCertificate::ed25519(["server.test"])?;
    let (client, server) = (certificate.client_config(&[b"game"])?, certificate.server_config(&[b"game"])?);
    let serving = network.server((GAME, 443), server)?;
    let listening = tokio::spawn(async move {
        let connection = serving.accept().await.context("closed")?.accept().await?;
        let mut heard = 0;
        while connection.read_datagram().await.is_ok() {
            heard += 1;
        }
        anyhow::Ok(heard)
    });

    let endpoint = network.client((PLAYER, 0), client)?;
    let connection = endpoint.connect((GAME, 443).into(), "server.test")?.await?;
    // A position of three ticks ago interests nobody.
    let options = DatagramOptions::new().max_age(3 * TICK);
    let mut ticks = tokio::time::interval(TICK);
    let mut trackers = Vec::new();
    for tick in 0..TICKS {
        ticks.tick().await;
        let position = Bytes::from(tick.to_be_bytes().repeat(LEN / 4));
        trackers.push(connection.send_datagram_tracked(position, options)?);
    }
    let mut fates = BTreeMap::new();
    for mut tracker in trackers {
        let fate: DatagramFate = tracker.settled().await;
        *fates.entry(format!("{fate:?}")).or_default() += 1;
    }
    connection.close(0_u8.into(), b"game over");
    Ok((fates, listening.await??))
}

#[expect(clippy::print_stdout, reason = "this is what the program has to say")]
fn say(what: &str) {
    println!("{what}");
}
