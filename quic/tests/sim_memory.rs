//! What receive windows cost that grew and are out of use, under paused time.

use std::time::Duration;

use gannet::config::EndpointConfig;
use gannet::sim::{Network, Node};
use gannet::{Connection, Endpoint};

#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "common/sim.rs"]
mod common;
use common::{configs, host, ms, server_addr};

const MIB: u64 = 1 << 20;

async fn connect(client: &Endpoint, server: &Endpoint) -> (Connection, Connection) {
    let connecting = client.connect(server_addr(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (client, server) = tokio::join!(connecting, accepting);
    (client.unwrap(), server)
}

/// Sends so many bytes, a piece after another with a pause, and reads them at once.
async fn upload((from, to): &(Connection, Connection), bytes: u64, piece: u64, pause: Duration) {
    let mut send = from.open_uni().await.unwrap();
    let sending = async {
        for _ in 0..bytes / piece {
            send.write_all(&vec![7; piece as usize]).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        send.finish().await.unwrap();
    };
    let receiving = async {
        let mut recv = to.accept_uni().await.unwrap();
        while let Some(_chunk) = recv.read_chunk(usize::MAX).await.unwrap() {}
    };
    tokio::join!(sending, receiving);
}

#[tokio::test(start_paused = true)]
async fn a_window_out_of_use_holds_others_back_for_seconds_only_and_goes_when_it_is_used_again() {
    let network = Network::new(1);
    network.link_everywhere(vec![Node::megabits(100, 1000), Node::Delay(ms(50))]);
    let (client_config, server_config) = configs();
    // Enough for one window of such a path, and not for two.
    let server = Endpoint::builder()
        .config(EndpointConfig::builder().memory_budget(8 * MIB).build().unwrap())
        .server(server_config)
        .socket(network.bind(server_addr()).unwrap())
        .unwrap();
    let client = network.client((host(2), 0), client_config).unwrap();
    let granted = || server.stats().memory_granted;

    let first = connect(&client, &server).await;
    let second = connect(&client, &server).await;
    upload(&first, 40 * MIB, MIB, Duration::ZERO).await;
    let grown = granted();
    assert!(grown > 4 * MIB, "{grown}");
    let held_back = server.stats().windows_held_back;
    upload(&second, 5 * MIB, MIB, Duration::ZERO).await;
    assert!(server.stats().windows_held_back > held_back);

    tokio::time::sleep(ms(6000)).await;
    let idle = granted();
    assert!(idle <= (grown + 4 * MIB) / 8, "{idle} of {grown}");
    upload(&second, 40 * MIB, MIB, Duration::ZERO).await;
    assert!(granted() - idle > 2 * MIB, "{} after {idle}", granted());

    // Used again, it counts in full; and what is used up of it is not renewed for a reader that takes little.
    tokio::time::sleep(ms(6000)).await;
    let idle = granted();
    upload(&first, MIB, MIB, Duration::ZERO).await;
    assert!(granted() > idle + 3 * MIB / 2, "{} after {idle}", granted());
    upload(&first, 10 * MIB, 64 << 10, ms(200)).await;
    assert!(granted() <= idle + MIB, "{} after {idle}", granted());
}

/// Datagrams that cannot leave give way while memory is short, be it the task that has them.
#[tokio::test(start_paused = true)]
async fn datagrams_that_wait_to_be_sent_are_few_when_memory_is_short() {
    let network = Network::new(1);
    network.link_everywhere(vec![Node::Delay(ms(10))]);
    let (client_config, server_config) = configs();
    let server = network.server(server_addr(), server_config).unwrap();
    let client = Endpoint::builder()
        .config(EndpointConfig::builder().memory_budget(MIB).build().unwrap())
        .client(client_config)
        .socket(network.bind((host(2), 0)).unwrap())
        .unwrap();
    let (sending, _receiving) = connect(&client, &server).await;
    network.link_everywhere(vec![Node::Loss(1.0)]);
    let mut most = 0;
    for _ in 0..100 {
        sending.send_datagrams(&mut vec![bytes::Bytes::from(vec![7; 1000]); 20]).unwrap();
        tokio::time::sleep(ms(1)).await;
        most = most.max(client.stats().memory_used);
    }
    // Three quarters of the budget, and what comes in one turn.
    assert!((MIB / 2..MIB * 7 / 8).contains(&most), "{most}");
    assert!(sending.stats().datagrams_unsent > 0);
}
