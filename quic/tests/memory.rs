//! What peers and applications that stall can make an endpoint hold.

#[expect(dead_code, reason = "not all of it is needed here")]
mod common;

use std::time::Duration;

use common::{configs, in_time, localhost};
use gannet::config::{EndpointConfig, TransportConfig};
use gannet::{Connection, Endpoint};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// What a connection counts for.
const CONNECTION: u64 = 16 << 10;

/// A client, and a server with so much memory.
fn endpoints(transport: [TransportConfig; 2], budget: u64) -> (Endpoint, Endpoint) {
    let [ours, theirs] = transport;
    let (client_config, server_config) = configs(ours);
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let server = Endpoint::builder()
        .config(EndpointConfig::builder().memory_budget(budget).build().unwrap())
        .server(server_config.transport(theirs))
        .bind(localhost())
        .unwrap();
    (client, server)
}

async fn connect(client: &Endpoint, server: &Endpoint) -> (Connection, Connection) {
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (ours, theirs) = in_time(async { tokio::join!(connecting, accepting) }).await;
    (ours.unwrap(), theirs)
}

/// Waits for what is bound to happen.
async fn until(mut condition: impl FnMut() -> bool) {
    in_time(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Writes on a stream for as long as it is taken.
fn write_on(tasks: &mut JoinSet<()>, connection: Connection) {
    tasks.spawn(async move {
        let mut send = connection.open_uni().await.unwrap();
        while send.write_all(&[7; 50_000]).await.is_ok() {}
    });
}

#[tokio::test]
async fn stalled_readers_fill_the_budget_and_then_newcomers_are_turned_away() {
    let transport = TransportConfig::default();
    let (client, server) = endpoints([transport.clone(), transport], 2 * MIB);
    let mut writers = JoinSet::new();
    let (ours, theirs) = connect(&client, &server).await;
    let (more, _kept) = connect(&client, &server).await;
    for connection in [&ours, &more] {
        // Each fills half of the window that a connection begins with.
        write_on(&mut writers, connection.clone());
        write_on(&mut writers, connection.clone());
    }
    until(|| server.stats().memory_used >= 2 * MIB).await;
    let stats = server.stats();
    let most = 2 * (MIB + CONNECTION + (256 << 10));
    assert!(stats.memory_used <= most && stats.memory_granted == 0, "{stats:?}");

    let refused = in_time(client.connect(server.local_addr().unwrap(), "localhost").unwrap()).await;
    assert!(refused.is_err());
    let stats = server.stats();
    let turned_away = stats.turned_away_by.budget >= 2 && stats.retries >= 1 && stats.refused >= 1;
    assert!(turned_away && stats.windows_shrunk >= 1, "{stats:?}");

    // Somebody reads: there is room again.
    let mut reader = theirs.accept_uni().await.unwrap();
    let mut other = theirs.accept_uni().await.unwrap();
    let reading = tokio::spawn(async move {
        let read =
            async |stream: &mut gannet::RecvStream| while let Ok(Some(_)) = stream.read_chunk(9000).await {};
        tokio::join!(read(&mut reader), read(&mut other));
    });
    until(|| server.stats().memory_used < 2 * MIB).await;
    ours.close(0_u8.into(), b"");
    in_time(reading).await.unwrap();
    until(|| server.stats().memory_used < 2 * MIB - MIB / 2).await;
    connect(&client, &server).await;
}

#[tokio::test]
async fn a_peer_without_a_window_holds_little_and_silences_no_other_stream() {
    let small = TransportConfig::builder().receive_window(1).build().unwrap();
    let ours = TransportConfig::builder().send_budget(300_000).build().unwrap();
    let (client, server) = endpoints([ours, small], 2 * MIB);
    let (connection, _theirs) = connect(&client, &server).await;
    let mut writers = JoinSet::new();
    for _ in 0..3 {
        write_on(&mut writers, connection.clone());
    }
    // All of the budget, three times 4 KiB of each stream's own, and some rounding.
    until(|| client.stats().memory_used >= CONNECTION + 256 * 1024).await;
    let mut send = in_time(connection.open_uni()).await.unwrap();
    in_time(send.write_all(&[7; 4096])).await.unwrap();
    let used = client.stats().memory_used;
    assert!(used <= CONNECTION + 300_000 + 4 * 4096 + CONNECTION, "{used}");
    connection.close(0_u8.into(), b"");
    until(|| client.stats().memory_used == 0).await;
    in_time(writers.join_all()).await;
}

#[tokio::test]
async fn ten_thousand_streams_that_are_read_a_little_each_go_on() {
    const STREAMS: u64 = 10_000;
    // No stream ever reads a quarter of its window; all together read the connection's fifty times.
    let theirs = TransportConfig::builder()
        .max_concurrent_uni_streams(STREAMS)
        .stream_receive_window(4096)
        .receive_window(60_000)
        .build()
        .unwrap();
    let (client, server) = endpoints([TransportConfig::default(), theirs], 1 << 30);
    let (ours, theirs) = connect(&client, &server).await;
    let writing = tokio::spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut send = ours.open_uni().await.unwrap();
            send.write_all(&[7; 300]).await.unwrap();
            streams.push(send);
        }
        (ours, streams)
    });
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut recv = in_time(theirs.accept_uni()).await.unwrap();
        in_time(tokio::io::AsyncReadExt::read_exact(&mut recv, &mut [0; 300])).await.unwrap();
        streams.push(recv);
    }
    let _kept = in_time(writing).await.unwrap();
}

/// Sends datagrams for as long as they are taken.
fn send_datagrams(tasks: &mut JoinSet<()>, connection: Connection) {
    tasks.spawn(async move {
        let data = bytes::Bytes::from(vec![7; 1000]);
        while connection.send_datagram_wait(data.clone()).await.is_ok() {}
    });
}

#[tokio::test]
async fn datagrams_that_nobody_reads_are_charged_and_become_few_when_memory_is_short() {
    let transport = TransportConfig::default();
    let (client, server) = endpoints([transport.clone(), transport], 4 * MIB);
    let mut senders = JoinSet::new();
    let (ours, theirs) = connect(&client, &server).await;
    send_datagrams(&mut senders, ours);
    // A queue takes 1 MiB.
    until(|| server.stats().memory_used >= CONNECTION + MIB - (64 << 10)).await;
    assert!(server.stats().memory_used <= 2 * MIB);
    senders.shutdown().await;
    let (mut read, mut datagrams) = (Vec::new(), 0);
    while let Ok(Ok(_)) =
        tokio::time::timeout(Duration::from_millis(100), theirs.read_datagrams(&mut read, 100)).await
    {
        datagrams += std::mem::take(&mut read).len();
    }
    assert!(datagrams > 500, "{datagrams}");
    until(|| server.stats().memory_used <= 2 * CONNECTION).await;
    theirs.close(0_u8.into(), b"");

    // Four of them would be all of the budget, three are three quarters: from there on queues are short.
    let mut kept = Vec::new();
    for _ in 0..4 {
        let (ours, theirs) = connect(&client, &server).await;
        send_datagrams(&mut senders, ours);
        kept.push(theirs);
    }
    let dropped = || kept.iter().map(|theirs| theirs.stats().datagrams_unread).min().unwrap_or_default();
    until(|| dropped() > 2000).await;
    let stats = server.stats();
    assert!(stats.memory_used < 4 * MIB && stats.turned_away_by.budget == 0, "{stats:?}");
    senders.shutdown().await;
}
