//! Random applications on random networks, under paused time: what was sent arrives, and nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use gannet::sim::{Network, Node};
use gannet::{Connection, Endpoint, Rng};
use tokio::time::timeout;

#[path = "common/sim.rs"]
mod common;
use common::{configs, host, ms, pattern, server_addr};

/// All streams come to their end within this time.
const PATIENCE: Duration = Duration::from_secs(600);

fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

fn link(rng: &mut Rng) -> Vec<Node> {
    let mut nodes = vec![Node::megabits([1, 10, 100][rng.below(3) as usize], 20 + rng.below(100) as usize)];
    if one_in(rng, 2) {
        nodes.push(Node::Loss([0.002, 0.02, 0.1][rng.below(3) as usize]));
    }
    match rng.below(8) {
        0 => nodes.push(Node::Reorder { share: 0.05, by: ms(1 + rng.below(20)) }),
        1 => nodes.push(Node::Duplicate { share: 0.05, after: ms(rng.below(20)) }),
        2 => nodes.push(Node::BurstLoss { begin: 0.005, end: 0.2, longest: ms(500) }),
        3 => nodes.push(Node::Corrupt(0.01)),
        4 => nodes.push(Node::Mark(0.05)),
        5 => nodes.push(Node::mtu(1280 + rng.below(220) as usize)),
        _ => {}
    }
    nodes.push(Node::Jitter(ms(rng.below(5))));
    nodes.push(Node::Delay(ms(rng.below(80))));
    nodes
}

/// Echoes each stream, as long as the client wants that.
async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.accept().await else { return };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    while let Ok(Some(chunk)) = recv.read_chunk(5000).await {
                        if send.write_chunk(chunk).await.is_err() {
                            return;
                        }
                    }
                    // Whoever abandoned the stream does not wait for that.
                    let _ = send.finish().await;
                });
            }
        });
    }
}

/// One stream there and back, or as much of it as was wanted.
async fn echo(connection: Connection, mut rng: Rng, done: Arc<AtomicUsize>) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let len = [0, 1, 2000, 60_000][rng.below(4) as usize] + rng.below(3000) as usize;
    let abandon = rng.below(10);
    let data = pattern(len);
    let sending = async {
        let until = if abandon == 0 { len / 2 } else { len };
        for piece in data[..until].chunks(1 + rng.below(9000) as usize) {
            if send.write_all(piece).await.is_err() {
                // The receiving half was given up, and the server's half with it.
                assert!(abandon <= 2);
                return;
            }
        }
        match abandon {
            0 => send.reset(7u32.into()).unwrap(),
            1 => drop(send),
            _ => drop(send.finish().await),
        }
    };
    let receiving = async {
        let mut received = Vec::new();
        if abandon == 2 {
            recv.stop(8u32.into()).unwrap();
            return received;
        }
        while let Ok(Some(chunk)) = recv.read_chunk(4000).await {
            received.extend_from_slice(&chunk);
        }
        received
    };
    let ((), received) = tokio::join!(sending, receiving);
    assert!(
        data.starts_with(&received) && (received.len() == len || abandon <= 2),
        "{} of {len}",
        received.len()
    );
    done.fetch_add(1, Ordering::Relaxed);
}

/// What happens to the network and the clients meanwhile.
async fn disturb(mut rng: Rng, network: Network, clients: Vec<(Endpoint, Connection)>) {
    for n in 0..rng.below(6) as u8 {
        tokio::time::sleep(ms(rng.below(1500))).await;
        let which = rng.below(clients.len() as u64) as usize;
        let (endpoint, connection) = &clients[which];
        let home = host(2 + which as u8);
        match rng.below(6) {
            0 => {
                network.link_both(home, host(1), &[Node::Loss(1.0)]);
                tokio::time::sleep(ms(rng.below(3000))).await;
                network.link_both(home, host(1), &link(&mut rng));
            }
            1 => network.nat(home, [192, 0, 2, 1].into()),
            2 => network.nat(home, [192, 0, 2, 10 + n].into()),
            3 => endpoint.rebind(network.bind((home, 0)).unwrap()).unwrap(),
            4 => drop(connection.migrate(network.bind((host(20 + n), 0)).unwrap()).await),
            _ => connection.rotate_connection_ids(),
        }
    }
}

async fn story(seed: u64) {
    let mut rng = Rng::from_u64(seed);
    let network = Network::new(seed);
    network.link_everywhere(link(&mut rng));
    let (client_config, server_config) = configs();
    let server = network.server(server_addr(), server_config).unwrap();
    tokio::spawn(serve(server.clone()));
    let mut clients = Vec::new();
    for n in 0..1 + rng.below(3) as u8 {
        network.link(host(2 + n), host(1), link(&mut rng));
        network.link(host(1), host(2 + n), link(&mut rng));
        let endpoint = network.client((host(2 + n), 0), client_config.clone()).unwrap();
        let connection = endpoint.connect(server_addr(), "localhost").unwrap().await.unwrap();
        connection.handshake_confirmed().await.unwrap();
        clients.push((endpoint, connection));
    }
    let done = Arc::new(AtomicUsize::new(0));
    let mut tasks = vec![tokio::spawn(disturb(rng.fork(), network.clone(), clients.clone()))];
    for (_, connection) in &clients {
        for _ in 0..1 + rng.below(30) {
            tasks.push(tokio::spawn(echo(connection.clone(), rng.fork(), done.clone())));
            tokio::time::sleep(ms(rng.below(100))).await;
        }
    }
    let streams = tasks.len() - 1;
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        panic!("{} of {streams} streams have ended", done.load(Ordering::Relaxed));
    }
    for (endpoint, connection) in clients {
        connection.close(0u32.into(), b"");
        timeout(PATIENCE, endpoint.wait_idle()).await.unwrap();
    }
    timeout(PATIENCE, server.close(0u32.into(), b"")).await.unwrap();
}

fn run(seed: u64) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let metrics = tokio::runtime::Handle::current().metrics();
        story(seed).await;
        // What late datagrams are answered from is gone as well.
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(metrics.num_alive_tasks(), 0, "tasks are left");
    });
}

/// Which seed it was.
struct Story(u64);

impl Drop for Story {
    #[expect(clippy::print_stderr, reason = "the way to say which run failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nseed {} failed\n", self.0);
        }
    }
}

#[test]
fn stories_end_well() {
    for seed in 0..15 {
        let _story = Story(seed);
        run(seed);
    }
}

/// `GANNET_SEEDS=1000..20000 cargo test -p gannet --features sim --test sim_stories -- --ignored`, on all processors.
#[test]
#[ignore = "for as many as there is time for"]
fn seeds_of_your_choice() {
    let range = std::env::var("GANNET_SEEDS").expect("GANNET_SEEDS=from..to");
    let (from, to) = range.split_once("..").expect("GANNET_SEEDS=from..to");
    let (next, to) = (AtomicU64::new(from.parse().unwrap()), to.parse::<u64>().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        break;
                    }
                    let _story = Story(seed);
                    run(seed);
                }
            });
        }
    });
}
