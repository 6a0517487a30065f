//! Datagrams over the virtual network, under paused time.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use gannet::config::{DatagramPolicy, TransportConfig, TransportConfigBuilder};
use gannet::sim::{Network, Node};
use gannet::{Connection, DatagramFate, DatagramOptions, DatagramTracker};

#[path = "common/sim.rs"]
mod common;
use common::{configs, host, ms, pattern, server_addr};

fn run<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// The client's end first.
async fn connect(network: &Network, config: TransportConfigBuilder) -> (Connection, Connection) {
    let (client, server) = configs();
    let transport = config.build().unwrap();
    let server = network.server(server_addr(), server.transport(transport.clone())).unwrap();
    let endpoint = network.client((host(2), 0), client.transport(transport)).unwrap();
    let connecting = endpoint.connect(server_addr(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (client, server) = tokio::join!(connecting, accepting);
    (client.unwrap(), server)
}

fn numbered(number: u32, len: usize) -> Bytes {
    number.to_be_bytes().repeat(len / 4).into()
}

fn number(data: &[u8]) -> u32 {
    u32::from_be_bytes(data[..4].try_into().unwrap())
}

/// What is told is true: what was acknowledged had arrived, nothing came twice, and beside it a stream came through.
#[test]
fn fates_are_true_on_a_bad_network() {
    for seed in 0..4 {
        run(async {
            let network = Network::new(seed);
            network.link_everywhere(vec![Node::Delay(ms(25))]);
            let (client, server) = connect(&network, TransportConfig::builder()).await;
            network.link_everywhere(vec![
                Node::Bottleneck { bytes_per_second: 400_000, queue: 20, mark_from: None },
                Node::Loss(0.03),
                Node::BurstLoss { begin: 0.004, end: 0.3, longest: ms(200) },
                Node::Duplicate { share: 0.02, after: ms(3) },
                Node::Reorder { share: 0.03, by: ms(9) },
                Node::Delay(ms(25)),
            ]);
            let streaming = {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut send = client.open_uni().await.unwrap();
                    send.write_all(&pattern(100_000)).await.unwrap();
                    send.finish().await.unwrap();
                })
            };
            let receiving = {
                let server = server.clone();
                tokio::spawn(async move {
                    let (mut seen, mut batch) = (BTreeSet::new(), Vec::new());
                    while server.read_datagrams(&mut batch, 16).await.is_ok() {
                        for data in batch.drain(..) {
                            assert!(data == numbered(number(&data), 800), "a datagram is whole");
                            assert!(seen.insert(number(&data)), "and comes once");
                        }
                    }
                    seen
                })
            };
            let options = DatagramOptions::new().max_age(ms(60));
            let mut trackers: Vec<DatagramTracker> = Vec::new();
            for n in 0..600 {
                trackers.push(client.send_datagram_tracked(numbered(n, 800), options).unwrap());
                tokio::time::sleep(ms(4)).await;
            }
            let mut fates = Vec::new();
            for mut tracker in trackers {
                fates.push(tracker.settled().await);
            }
            let received = server.accept_uni().await.unwrap().read_to_end(100_000).await.unwrap();
            assert!(received == pattern(100_000));
            streaming.await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.close(0_u8.into(), b"");
            let seen = receiving.await.unwrap();
            let count = |fate| fates.iter().filter(|of| **of == fate).count();
            for (n, fate) in (0..).zip(&fates) {
                match fate {
                    DatagramFate::Acknowledged => assert!(seen.contains(&n), "{n}"),
                    DatagramFate::Expired => assert!(!seen.contains(&n), "{n}"),
                    // It may have been late, not lost.
                    DatagramFate::Lost => {}
                    other => panic!("{other:?}"),
                }
            }
            let (acknowledged, lost) = (count(DatagramFate::Acknowledged), count(DatagramFate::Lost));
            assert!(acknowledged > 30 && acknowledged + lost < 600, "{seed}: {acknowledged} {lost}");
        });
    }
}

/// A hundred thousand datagrams in a second to a reader that sleeps: what is left is as the policy says, and no more than
/// its bound.
#[test]
fn a_flood_leaves_a_stalled_reader_its_bound() {
    const LEN: usize = 80;
    const KEPT: usize = 1000;
    for policy in [DatagramPolicy::DropOldest, DatagramPolicy::DropNewest] {
        run(async {
            let network = Network::new(1);
            network.link_everywhere(vec![Node::megabits(1000, 4000), Node::Delay(ms(5))]);
            let config = TransportConfig::builder()
                .datagram_receive_buffer_size(KEPT * (LEN + 64))
                .datagram_receive_policy(policy);
            let (client, server) = connect(&network, config).await;
            let mut batch = Vec::new();
            for n in 0..100_000 {
                batch.push(numbered(n, LEN));
                if batch.len() == 100 {
                    client.send_datagrams_wait(&mut batch).await.unwrap();
                    tokio::time::sleep(ms(1)).await;
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut kept = Vec::new();
            assert_eq!(server.read_datagrams(&mut kept, usize::MAX).await, Ok(KEPT));
            assert_eq!(server.try_read_datagram(), Ok(None));
            let stats = server.stats();
            assert_eq!(stats.datagram_frames_received, stats.datagrams_unread + KEPT as u64);
            assert!(stats.datagram_frames_received > 50_000, "{stats:?}");
            let numbers: Vec<u32> = kept.iter().map(|data| number(data)).collect();
            match policy {
                DatagramPolicy::DropNewest => assert_eq!(numbers[0], 0),
                _ => assert_eq!(numbers[KEPT - 1], 99_999),
            }
        });
    }
}

/// The main future of a runtime of one thread is polled once for many turns of its tasks: a reader there is late, not slow,
/// and loses nothing.
#[test]
fn a_reader_that_the_runtime_neglects_loses_nothing() {
    const COUNT: usize = 10_000;
    run(async {
        let network = Network::new(1);
        network.link_everywhere(vec![Node::Delay(ms(10))]);
        let config = TransportConfig::builder().datagram_receive_buffer_size(128 << 10);
        let (client, server) = connect(&network, config).await;
        let sender = tokio::spawn(async move {
            let data = Bytes::from(vec![7; 1_000]);
            for _ in 0..COUNT / 100 {
                server.send_datagrams_wait(&mut vec![data.clone(); 100]).await.unwrap();
            }
            let mut last = server.open_uni().await.unwrap();
            last.write_all(b"end").await.unwrap();
            server
        });
        let mut ended = std::pin::pin!(client.accept_uni());
        let mut read = Vec::new();
        let _last = loop {
            tokio::select! {
                biased;
                read = client.read_datagrams(&mut read, 16) => drop(read.unwrap()),
                end = &mut ended => break end.unwrap(),
            }
        };
        let stats = client.stats();
        assert_eq!(stats.datagrams_unread, 0, "{stats:?}");
        assert!(read.len() > COUNT * 9 / 10, "{}", read.len());
        drop(sender.await.unwrap());
    });
}

/// Whoever waits for more than there is waits until it is there: meanwhile nobody looks after it, and time goes by.
#[test]
fn a_sender_that_finds_a_quarter_and_needs_more_keeps_nobody_busy() {
    const COUNT: usize = 50;
    run(async {
        let network = Network::new(1);
        network.link_everywhere(vec![Node::Delay(ms(50))]);
        // One fits, and leaves more than a quarter.
        let config = TransportConfig::builder().datagram_send_buffer_size(2 << 10);
        let (client, server) = connect(&network, config).await;
        let sender = tokio::spawn(async move {
            for _ in 0..COUNT {
                client.send_datagram_wait(Bytes::from(vec![7; 1_100])).await.unwrap();
            }
            client
        });
        for _ in 0..COUNT {
            server.read_datagram().await.unwrap();
        }
        assert_eq!(sender.await.unwrap().stats().datagrams_unsent, 0);
    });
}
