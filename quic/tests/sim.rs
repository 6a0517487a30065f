//! Whole endpoints on the virtual network, under paused time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gannet::sim::{Event, EventKind, Network, Node};
use gannet::{Connection, Endpoint};

#[path = "common/sim.rs"]
mod common;
use common::{configs, host, ms, pattern, server_addr};

/// A server at host 1, and clients at the hosts after it.
struct World {
    network: Network,
    server: Endpoint,
    clients: Vec<Endpoint>,
}

impl World {
    fn new(seed: u64, clients: u8, nodes: &[Node]) -> Self {
        let network = Network::new(seed);
        network.link_everywhere(nodes.to_vec());
        let (client, server) = configs();
        let server = network.server(server_addr(), server).unwrap();
        let clients =
            (0..clients).map(|n| network.client((host(2 + n), 0), client.clone()).unwrap()).collect();
        Self { network, server, clients }
    }

    /// The client's end first.
    async fn connect(&self, client: usize) -> (Connection, Connection) {
        let connecting = self.clients[client].connect(server_addr(), "localhost").unwrap();
        let accepting = async { self.server.accept().await.unwrap().accept().await.unwrap() };
        let (client, server) = tokio::join!(connecting, accepting);
        (client.unwrap(), server)
    }
}

/// Sends so many bytes and checks that they arrive.
async fn transfer(from: &Connection, to: &Connection, len: usize) {
    let mut send = from.open_uni().await.unwrap();
    let sending = async {
        send.write_all(&pattern(len)).await.unwrap();
        send.finish().await.unwrap();
    };
    let receiving = async { to.accept_uni().await.unwrap().read_to_end(len).await.unwrap() };
    let ((), received) = tokio::join!(sending, receiving);
    assert!(received == pattern(len));
}

fn lossy() -> Vec<Node> {
    vec![
        Node::Bottleneck { bytes_per_second: 1_000_000, queue: 12, mark_from: Some(9) },
        Node::Loss(0.02),
        Node::BurstLoss { begin: 0.002, end: 0.3, longest: ms(300) },
        Node::Duplicate { share: 0.02, after: ms(3) },
        Node::Reorder { share: 0.02, by: ms(7) },
        Node::Jitter(ms(2)),
        Node::Delay(ms(25)),
    ]
}

/// Several connections at once, with several streams each, an outage and a move; all that happened.
fn run(seed: u64) -> (Vec<Event>, Duration) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, 3, &lossy());
        world.network.record();
        let mut tasks = Vec::new();
        for client in 0..3 {
            let (client, server) = world.connect(client).await;
            tasks.push(tokio::spawn(async move {
                tokio::join!(transfer(&client, &server, 150_000), transfer(&server, &client, 250_000),);
                client.close(0u32.into(), b"");
                server.closed().await;
            }));
        }
        tokio::time::sleep(ms(200)).await;
        world.network.link(host(2), host(1), vec![Node::Loss(1.0)]);
        world.clients[1].rebind(world.network.bind((host(9), 0)).unwrap()).unwrap();
        tokio::time::sleep(ms(300)).await;
        world.network.link(host(2), host(1), lossy());
        for task in tasks {
            task.await.unwrap();
        }
        let World { network, server, clients } = world;
        for client in &clients {
            client.wait_idle().await;
        }
        server.close(0u32.into(), b"").await;
        (network.take_events(), network.elapsed())
    })
}

#[test]
fn a_seed_replays_a_whole_application() {
    let (events, time) = run(7);
    assert!(events.len() > 1000);
    for kind in [
        EventKind::Sent,
        EventKind::Lost,
        EventKind::Duplicated,
        EventKind::HeldBack,
        EventKind::Marked,
        EventKind::Delivered,
    ] {
        assert!(events.iter().any(|event| event.what == kind), "{kind:?}");
    }
    for _ in 0..3 {
        let (again, time_again) = run(7);
        let difference = events.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!(difference.map(|at| (events[at], again[at])), None);
        assert_eq!((events.len(), time), (again.len(), time_again));
    }
    assert_ne!(run(8).0, events);
}

#[tokio::test(start_paused = true)]
async fn an_outage_delays_and_loses_nothing() {
    let world = World::new(1, 1, &[Node::megabits(10, 50), Node::Delay(ms(20))]);
    let (client, server) = world.connect(0).await;
    world.network.link(host(2), host(1), vec![Node::Loss(1.0)]);
    let before = world.network.elapsed();
    let transfer = tokio::spawn(async move { transfer(&client, &server, 100_000).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!transfer.is_finished());
    world.network.link(host(2), host(1), vec![Node::Delay(ms(20))]);
    transfer.await.unwrap();
    assert!(world.network.elapsed() - before < Duration::from_secs(12));
    assert!(world.network.stats(host(2), host(1)).unwrap().lost > 5);
    assert_eq!(world.network.stats(host(1), host(2)).unwrap().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn behind_a_nat_that_forgets() {
    let world = World::new(1, 2, &[Node::Delay(ms(20))]);
    let outside = IpAddr::from([192, 0, 2, 1]);
    world.network.nat(host(2), outside);
    world.network.nat(host(3), outside);
    let (first, first_seen) = world.connect(0).await;
    let (_second, second_seen) = world.connect(1).await;
    let seen = first_seen.remote_address();
    assert_eq!((seen.ip(), second_seen.remote_address().ip()), (outside, outside));
    assert_ne!(seen, second_seen.remote_address());
    // Same address, another port: what is sent to the old one goes nowhere.
    world.network.nat(host(2), outside);
    transfer(&first, &first_seen, 50_000).await;
    assert_eq!(first_seen.remote_address().ip(), outside);
    assert_ne!(first_seen.remote_address(), seen);
    // Another address.
    let before = world.network.unroutable();
    world.network.nat(host(2), IpAddr::from([192, 0, 2, 2]));
    first_seen.open_uni().await.unwrap().write_all(b"to nobody").await.unwrap();
    tokio::time::sleep(ms(10)).await;
    assert!(world.network.unroutable() > before);
    transfer(&first, &first_seen, 50_000).await;
    assert_eq!(first_seen.remote_address().ip(), IpAddr::from([192, 0, 2, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_client_moves_to_another_host() {
    let world = World::new(1, 1, &[Node::Delay(ms(20))]);
    let (client, server) = world.connect(0).await;
    transfer(&client, &server, 10_000).await;
    client.migrate(world.network.bind((host(8), 0)).unwrap()).await.unwrap();
    assert_eq!(client.local_ip(), Some(host(8)));
    transfer(&client, &server, 10_000).await;
    assert_eq!(server.remote_address().ip(), host(8));
    // Nobody answers from there.
    world.network.link(host(9), host(1), vec![Node::Loss(1.0)]);
    client.migrate(world.network.bind((host(9), 0)).unwrap()).await.unwrap_err();
    transfer(&server, &client, 10_000).await;
}

#[tokio::test(start_paused = true)]
async fn clients_compete_for_a_bottleneck() {
    let world = World::new(1, 2, &[Node::Delay(ms(10))]);
    let bottleneck = world.network.share(Node::megabits(8, 60));
    for client in [2, 3] {
        world.network.link(host(client), host(1), vec![bottleneck.clone(), Node::Delay(ms(10))]);
    }
    let (first, second) = (world.connect(0).await, world.connect(1).await);
    let before = world.network.elapsed();
    tokio::join!(transfer(&first.0, &first.1, 1_000_000), transfer(&second.0, &second.1, 1_000_000));
    // One of them alone would take a second, and half as much again were lost to no purpose.
    let time = world.network.elapsed() - before;
    assert!(time > ms(2000) && time < ms(2800), "{time:?}");
    let all = world.network.shared_stats(&bottleneck).unwrap();
    let each = [2, 3].map(|client| world.network.stats(host(client), host(1)).unwrap());
    assert_eq!(all.sent, each[0].sent + each[1].sent);
    assert!(all.delivered_bytes > 2_000_000);
}

#[tokio::test(start_paused = true)]
async fn addresses_are_taken_and_given_back() {
    let network = Network::new(1);
    let addr = SocketAddr::from((host(1), 443));
    let socket = network.bind(addr).unwrap();
    assert_eq!(network.bind(addr).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(socket);
    network.bind(addr).unwrap();
    let chosen = [network.bind((host(1), 0)).unwrap(), network.bind((host(1), 0)).unwrap()]
        .map(|socket| socket.local_addr().unwrap());
    assert!(chosen[0] != chosen[1] && chosen[0].port() != 0);
    let unspecified = network.bind(([0, 0, 0, 0], 443)).unwrap_err();
    assert_eq!(unspecified.kind(), std::io::ErrorKind::AddrNotAvailable);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_network() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let world = World::new(1, 1, &[Node::Delay(ms(20))]);
    let (client, server) = world.connect(0).await;
    transfer(&client, &server, 1000).await;
    drop((client, server, world));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(metrics.num_alive_tasks(), before);
}

#[tokio::test]
async fn in_real_time_as_well() {
    let world = World::new(1, 1, &[Node::Delay(ms(5))]);
    let (client, server) = world.connect(0).await;
    transfer(&client, &server, 100_000).await;
    assert!(world.network.elapsed() >= ms(20));
}

#[tokio::test(start_paused = true)]
async fn a_reader_without_order_does_not_wait_for_what_was_lost() {
    let world = World::new(7, 1, &[Node::Delay(ms(20)), Node::Loss(0.05)]);
    let (client, server) = world.connect(0).await;
    let data = pattern(300_000);
    let mut send = client.open_uni().await.unwrap();
    let sending = async {
        send.write_all(&data).await.unwrap();
        send.finish().await.unwrap();
    };
    let reading = async {
        let mut recv = server.accept_uni().await.unwrap().into_unordered();
        let (mut all, mut early, mut highest) = (vec![None; data.len()], 0, 0);
        while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
            early += usize::from(chunk.offset > highest);
            highest = highest.max(chunk.offset + chunk.bytes.len() as u64);
            let at = usize::try_from(chunk.offset).unwrap();
            for (place, byte) in all[at..].iter_mut().zip(chunk.bytes) {
                assert_eq!(place.replace(byte), None, "each byte once");
            }
        }
        (all.into_iter().collect::<Option<Vec<u8>>>(), early)
    };
    let ((), (all, early)) = tokio::join!(sending, reading);
    assert!(all == Some(data), "all of it");
    assert!(early > 0, "nothing came ahead of a gap");
}

#[tokio::test(start_paused = true)]
async fn between_hosts_of_version_6() {
    let network = Network::new(1);
    let [client, server] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    network.link_both(client, server, &[Node::Delay(ms(5))]);
    let (client_config, server_config) = configs();
    let listening = network.server((server, 443), server_config).unwrap();
    let endpoint = network.client((client, 0), client_config).unwrap();
    let connecting = endpoint.connect((server, 443).into(), "localhost").unwrap();
    let accepting = async { listening.accept().await.unwrap().accept().await.unwrap() };
    let (connection, accepted) = tokio::join!(connecting, accepting);
    transfer(&connection.unwrap(), &accepted, 10_000).await;
    assert_eq!(accepted.remote_address().ip(), client);
}

/// Streams of one priority get the same through a narrow link; what is more urgent goes ahead.
#[expect(clippy::disallowed_methods, reason = "the time of the runtime is that of the network")]
#[tokio::test(start_paused = true)]
async fn equal_streams_get_equal_shares() {
    const STREAMS: usize = 10;
    let link =
        [Node::Bottleneck { bytes_per_second: 1_000_000, queue: 40, mark_from: None }, Node::Delay(ms(20))];
    let world = World::new(3, 1, &link);
    let (client, server) = world.connect(0).await;
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..=STREAMS {
        let client = client.clone();
        writers.spawn(async move {
            let mut send = client.open_uni().await.unwrap();
            // The last of them has little to say, and says it first.
            let (priority, len) = if n == STREAMS { (1, 20_000) } else { (0, 20_000_000) };
            send.set_priority(priority).unwrap();
            for part in vec![n as u8; len].chunks(10_000) {
                if send.write_all(part).await.is_err() {
                    return;
                }
            }
            let _ = send.finish().await;
        });
    }
    let begin = tokio::time::Instant::now();
    // Whoever began first has filled the budget of the connection; that takes its time to level out.
    let (from, to) = (begin + ms(4_000), begin + ms(10_000));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..=STREAMS {
        let mut recv = server.accept_uni().await.unwrap();
        readers.spawn(async move {
            let (mut which, mut early, mut bytes) = (None, 0, 0);
            let mut read = async || {
                while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
                    which = Some(usize::from(chunk[0]));
                    *(if tokio::time::Instant::now() < from { &mut early } else { &mut bytes }) +=
                        chunk.len();
                }
            };
            let finished = tokio::time::timeout_at(to, read()).await.is_ok();
            (which.unwrap(), early, bytes, finished)
        });
    }
    let read = readers.join_all().await;
    let (urgent, equal): (Vec<_>, Vec<_>) = read.into_iter().partition(|(which, ..)| *which == STREAMS);
    assert_eq!(urgent, [(STREAMS, 20_000, 0, true)]);
    let bytes: Vec<usize> = equal.iter().map(|(_, _, bytes, _)| *bytes).collect();
    let mean = bytes.iter().sum::<usize>() / STREAMS;
    assert!(mean > 400_000, "{mean} bytes each");
    assert!(bytes.iter().all(|bytes| bytes.abs_diff(mean) <= mean / 10), "{bytes:?}");
}
