//! Connections change their sockets and addresses, over loopback.

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::{EndpointConfig, PreferredAddress, RandomConnectionIds, TransportConfig};
use gannet::error::{ConnectError, MigrateError};
use gannet::{Connection, Endpoint};

const HALF: usize = 2_500_000;

/// Sends `2 * HALF` bytes; `turn` is done in the middle, when the receiver has had a part of the first half.
async fn transfer<F: Future>(from: &Connection, to: &Connection, turn: F) -> F::Output {
    let data = pattern(2 * HALF);
    let (half, told) = tokio::sync::oneshot::channel();
    let sending = async {
        let mut send = from.open_uni().await.unwrap();
        let turn = async {
            told.await.unwrap();
            turn.await
        };
        let write = async {
            send.write_all(&data).await.unwrap();
            send.finish().await.unwrap();
        };
        tokio::join!(turn, write).0
    };
    let receiving = async {
        let mut recv = to.accept_uni().await.unwrap();
        let mut received = Vec::with_capacity(data.len());
        let mut half = Some(half);
        while let Some(chunk) = recv.read_chunk(64 << 10).await.unwrap() {
            received.extend_from_slice(&chunk);
            if received.len() > HALF / 2
                && let Some(half) = half.take()
            {
                half.send(()).unwrap();
            }
        }
        assert!(received == data);
    };
    in_time(async { tokio::join!(sending, receiving) }).await.0
}

async fn free(addr: SocketAddr) {
    in_time(async {
        while UdpSocket::bind(addr).is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// The peer hears of it sooner or later, from a packet.
async fn moved_to(connection: &Connection, remote: SocketAddr) {
    let mut changes = connection.path_changes();
    in_time(async {
        while connection.remote_address() != remote {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

async fn confirmed(pair: &Pair) -> (Connection, Connection) {
    let (client, server) = pair.connect().await;
    in_time(client.handshake_confirmed()).await.unwrap();
    (client, server)
}

#[tokio::test]
async fn a_client_is_rebound_in_the_middle_of_a_transfer() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = confirmed(&pair).await;
    let (idle, idle_server) = confirmed(&pair).await;
    let old = pair.client.local_addr().unwrap();
    let rebind = async { pair.client.rebind(localhost()).unwrap() };
    transfer(&client, &server, rebind).await;
    let new = pair.client.local_addr().unwrap();
    assert_ne!(new, old);
    moved_to(&server, new).await;
    // One that had nothing to say has said where it is.
    moved_to(&idle_server, new).await;
    let rebind = async { pair.client.rebind(localhost()).unwrap() };
    transfer(&server, &client, rebind).await;
    moved_to(&server, pair.client.local_addr().unwrap()).await;
    free(old).await;
    free(new).await;
    assert_eq!(idle.close_reason(), None);
    let _new_connection = confirmed(&pair).await;
}

#[tokio::test]
async fn a_client_moves_to_another_address() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = confirmed(&pair).await;
    let (stays, stays_server) = confirmed(&pair).await;
    let old = pair.client.local_addr().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    let first = socket.local_addr().unwrap();
    let (mut here, mut there) = (client.path_changes(), server.path_changes());
    let migrate = async { client.migrate(socket).await.unwrap() };
    transfer(&client, &server, migrate).await;
    in_time(async { tokio::join!(here.changed(), there.changed()) }).await.1.unwrap();
    assert_eq!(client.local_ip(), Some(first.ip()));
    assert_eq!((server.remote_address(), stays_server.remote_address()), (first, old));

    // And on: the socket that it leaves is closed, that of the endpoint is not.
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).unwrap();
    let second = socket.local_addr().unwrap();
    let migrate = async { client.migrate(socket).await.unwrap() };
    transfer(&server, &client, migrate).await;
    moved_to(&server, second).await;
    assert_eq!(client.local_ip(), Some(second.ip()));
    free(first).await;
    assert!(UdpSocket::bind(second).is_err() && UdpSocket::bind(old).is_err());
    transfer(&stays, &stays_server, async {}).await;
    assert_eq!(pair.client.local_addr().unwrap(), old);

    // With the connection its socket goes.
    client.close(0_u8.into(), b"");
    free(second).await;
}

#[tokio::test]
async fn a_move_that_leads_nowhere_leaves_the_connection_where_it_was() {
    let pair = Pair::with(TransportConfig::builder().initial_rtt(Duration::from_millis(20)).build().unwrap());
    let (client, server) = confirmed(&pair).await;
    let old = pair.client.local_addr().unwrap();
    // IPv6 loopback does not lead to an IPv4 address.
    let Ok(socket) = UdpSocket::bind("[::1]:0") else { return };
    let nowhere = socket.local_addr().unwrap();
    let attempt = async { client.migrate(socket).await };
    let outcome = transfer(&client, &server, attempt).await;
    assert_eq!(outcome, Err(MigrateError::Unreachable));
    assert_eq!((server.remote_address(), client.local_ip()), (old, None));
    free(nowhere).await;

    assert_eq!(in_time(server.migrate(localhost())).await, Err(MigrateError::Server));
    let taken = in_time(client.migrate(old)).await;
    assert_eq!(taken, Err(MigrateError::Socket(std::io::ErrorKind::AddrInUse)));
    client.close(0_u8.into(), b"");
    assert_eq!(in_time(client.migrate(localhost())).await, Err(MigrateError::Closed));
}

#[tokio::test]
async fn the_last_of_two_moves_counts() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = confirmed(&pair).await;
    let socket = UdpSocket::bind(localhost()).unwrap();
    let addr = socket.local_addr().unwrap();
    let (first, second) =
        in_time(async { tokio::join!(client.migrate(localhost()), client.migrate(socket)) }).await;
    assert_eq!((first, second), (Err(MigrateError::Superseded), Ok(())));
    moved_to(&server, addr).await;
    transfer(&client, &server, async {}).await;
}

/// Changes of the network are told on threads of the system.
#[tokio::test]
async fn sockets_are_changed_from_any_thread() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = confirmed(&pair).await;
    let endpoint = pair.client.clone();
    let outside = std::thread::spawn(move || {
        endpoint.rebind(localhost()).unwrap();
        endpoint.add_socket(localhost()).unwrap()
    });
    let added = in_time(tokio::task::spawn_blocking(|| outside.join().unwrap())).await.unwrap();
    assert_ne!(added, pair.client.local_addr().unwrap());
    moved_to(&server, pair.client.local_addr().unwrap()).await;
    transfer(&client, &server, async {}).await;
}

/// The socket goes with the connection, so no other may begin there: it would fall silent.
#[tokio::test]
async fn nothing_else_begins_on_the_socket_of_one_connection() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let Ok(server) = Endpoint::server(server_config.clone(), "[::1]:0".parse().unwrap()) else { return };
    let server_v6 = server.local_addr().unwrap();
    let pair = Pair::with(TransportConfig::default());
    let (client, _server) = confirmed(&pair).await;
    let socket = UdpSocket::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    in_time(client.migrate(socket)).await.unwrap();
    let outcome = pair.client.connect(server_v6, "localhost").map(drop);
    assert_eq!(outcome, Err(ConnectError::InvalidRemoteAddress(server_v6)));

    // Its endpoint is a server as well, but not there.
    pair.client.set_server_config(server_config).unwrap();
    let other = Endpoint::client(localhost()).unwrap();
    other.set_client_config(client_config);
    let _connecting = other.connect((Ipv4Addr::LOCALHOST, port).into(), "localhost").unwrap();
    in_time(async {
        while pair.client.stats().unknown == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

// covers: R9000-9.6.1-01 R9000-9.6.1-02 R9000-9.6.2-05
#[tokio::test]
async fn a_server_asks_to_be_reached_on_another_port() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let server = Endpoint::server(server_config.clone(), localhost()).unwrap();
    let SocketAddr::V4(preferred) = server.add_socket(localhost()).unwrap() else { panic!() };
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config.clone());
    let wanted = PreferredAddress { v4: Some(preferred), v6: None };
    server.set_server_config(server_config.preferred_address(wanted)).unwrap();
    let pair = Pair { client, server };
    let (client, server) = confirmed(&pair).await;
    moved_to(&client, preferred.into()).await;
    transfer(&client, &server, async {}).await;
    transfer(&server, &client, async {}).await;
    assert_eq!(server.remote_address(), pair.client.local_addr().unwrap());

    // It can move as well, and be rebound.
    client.migrate(localhost()).await.unwrap();
    transfer(&client, &server, async {}).await;
    assert_eq!(client.remote_address(), preferred.into());
    assert_ne!(server.remote_address(), pair.client.local_addr().unwrap());

    // The next connection begins where the application says.
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let incoming = in_time(pair.server.accept()).await.unwrap();
    assert_eq!(connecting.remote_address(), Some(pair.addr()));
    drop((incoming, connecting));

    // Who does not want to, stays.
    let stay = TransportConfig::builder().use_preferred_address(false).build().unwrap();
    pair.client.set_client_config(client_config.transport(stay));
    let (client, server) = confirmed(&pair).await;
    transfer(&client, &server, async {}).await;
    assert_eq!(client.remote_address(), pair.addr());
}

// covers: R9000-9.6.1-03 R9000-9.6.2-01
#[tokio::test]
async fn a_preferred_address_that_does_not_answer_is_not_used() {
    let transport = TransportConfig::builder().initial_rtt(Duration::from_millis(20)).build().unwrap();
    let (client_config, server_config) = configs(transport);
    // It takes what is sent there, and is silent.
    let silent = UdpSocket::bind(localhost()).unwrap();
    silent.set_nonblocking(true).unwrap();
    let SocketAddr::V4(preferred) = silent.local_addr().unwrap() else { panic!() };
    let wanted = PreferredAddress { v4: Some(preferred), v6: None };
    let server = Endpoint::server(server_config.preferred_address(wanted), localhost()).unwrap();
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let pair = Pair { client, server };
    let (client, server) = confirmed(&pair).await;
    let mut buf = [0; 2000];
    let mut probes = 0;
    // Until the validation has failed, and for a while after.
    let patient = async {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            while let Ok(len) = silent.recv(&mut buf) {
                assert!(len >= 1200, "only path validation, in full datagrams: {len}");
                probes += 1;
            }
        }
    };
    transfer(&client, &server, patient).await;
    assert!((1..10).contains(&probes), "{probes}");
    transfer(&server, &client, async {}).await;
    assert_eq!(client.remote_address(), pair.addr());
    assert!(silent.recv(&mut buf).is_err());
}

/// One move after the other, under load in both directions; the server leaves a few connection IDs at a time.
#[tokio::test]
async fn a_restless_client_loses_nothing() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = confirmed(&pair).await;
    let moves = async {
        let (mut moved, mut waited) = (0, 0);
        while moved < 20 {
            if moved % 5 == 4 {
                pair.client.rebind(localhost()).unwrap();
            }
            match client.migrate(localhost()).await {
                Ok(()) => moved += 1,
                // More come with the acknowledgment that those used are out of use.
                Err(MigrateError::NoConnectionId) if waited < 200 => {
                    waited += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error} after {moved} moves"),
            }
        }
    };
    tokio::join!(transfer(&client, &server, moves), transfer(&server, &client, async {}));
    let mut here = server.path_changes();
    client.migrate(localhost()).await.unwrap();
    in_time(here.changed()).await.unwrap();
    transfer(&client, &server, async {}).await;
}

/// Where our connection IDs are empty, the server's address is all that tells whose a packet is.
#[tokio::test]
async fn a_client_without_connection_ids_moves_as_well() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let ids = EndpointConfig::builder().connection_ids(RandomConnectionIds::new(0)).build().unwrap();
    let client = Endpoint::builder().config(ids).client(client_config).bind(localhost()).unwrap();
    let pair = Pair { client, server: Endpoint::server(server_config, localhost()).unwrap() };
    let (client, server) = confirmed(&pair).await;
    let rebind = async { pair.client.rebind(localhost()).unwrap() };
    transfer(&client, &server, rebind).await;
    moved_to(&server, pair.client.local_addr().unwrap()).await;
    let migrate = async { client.migrate(localhost()).await.unwrap() };
    transfer(&server, &client, migrate).await;
    transfer(&client, &server, async {}).await;
    assert_ne!(server.remote_address(), pair.client.local_addr().unwrap());
}

/// A network address translation in front of `server` that takes another port whenever `change` says so, and tells it.
async fn translate(
    inside: tokio::net::UdpSocket,
    server: SocketAddr,
    mut change: tokio::sync::mpsc::Receiver<tokio::sync::oneshot::Sender<SocketAddr>>,
) {
    let bind = || tokio::net::UdpSocket::bind(localhost());
    let mut outside = bind().await.unwrap();
    let (mut client, mut there, mut back) = (None, vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            changed = change.recv() => {
                let Some(told) = changed else { return };
                outside = bind().await.unwrap();
                told.send(outside.local_addr().unwrap()).unwrap();
            }
            Ok((len, from)) = inside.recv_from(&mut there) => {
                client = Some(from);
                // What the system has no room for is lost, as anywhere.
                let _ = outside.try_send_to(&there[..len], server);
            }
            Ok((len, _)) = outside.recv_from(&mut back) => {
                if let Some(client) = client {
                    let _ = inside.try_send_to(&back[..len], client);
                }
            }
        }
    }
}

// covers: R9000-9.3-01
#[tokio::test]
async fn a_client_that_does_not_know_that_its_address_has_changed() {
    let pair = Pair::with(TransportConfig::default());
    let inside = tokio::net::UdpSocket::bind(localhost()).await.unwrap();
    let addr = inside.local_addr().unwrap();
    let (change, changes) = tokio::sync::mpsc::channel(1);
    let translation = tokio::spawn(translate(inside, pair.addr(), changes));
    let connecting = pair.client.connect(addr, "localhost").unwrap();
    let accepting = async { pair.server.accept().await.unwrap().accept().await.unwrap() };
    let (client, server) = in_time(async { tokio::join!(connecting, accepting) }).await;
    let client = client.unwrap();
    in_time(client.handshake_confirmed()).await.unwrap();
    for _ in 0..3 {
        let before = server.remote_address();
        let new_port = async {
            let (tell, told) = tokio::sync::oneshot::channel();
            change.send(tell).await.unwrap();
            told.await.unwrap()
        };
        let after = transfer(&client, &server, new_port).await;
        assert_ne!(before, after);
        moved_to(&server, after).await;
        transfer(&server, &client, async {}).await;
        assert_eq!(client.remote_address(), addr);
    }
    drop(change);
    in_time(translation).await.unwrap();
}
