//! Servers behind a load balancer that knows nothing but QUIC-LB.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::{
    ConfigError, ConnectionIdGenerator, EndpointConfig, QuicLbConfig, QuicLbConnectionIds,
    RandomConnectionIds, ServerConfig, TransportConfig,
};
use gannet::{Connection, ConnectionId, Endpoint, Rng};
use tokio::net::UdpSocket;

/// Length of all connection IDs.
const LEN: usize = 12;

/// What servers and load balancer share; the server ID is one byte.
fn shared(rotation: u8, server_id: u8) -> QuicLbConfig {
    QuicLbConfig::new(rotation, &[server_id], 8).unwrap().key([rotation + 1; 16])
}

fn server(config: &ServerConfig, ids: &Arc<QuicLbConnectionIds>) -> Endpoint {
    let endpoint = EndpointConfig::builder().connection_ids(ids.clone()).build().unwrap();
    Endpoint::builder().config(endpoint).server(config.clone()).bind(localhost()).unwrap()
}

/// A load balancer for one client.
#[derive(Default)]
struct Balancer {
    /// Where what has no readable ID goes.
    fallback: Option<SocketAddr>,
    /// Servers by their IDs.
    servers: Vec<(u8, SocketAddr)>,
    /// The rotation bits of the last readable ID.
    last_rotation: Option<u8>,
}

impl Balancer {
    fn route(&mut self, datagram: &[u8]) -> SocketAddr {
        let is_long = datagram[0] & 0x80 != 0;
        let dcid = if is_long { &datagram[6..6 + usize::from(datagram[5])] } else { &datagram[1..1 + LEN] };
        for rotation in 0..2 {
            let Some(id) = shared(rotation, 0).server_id_of(dcid) else { continue };
            if let Some((_, server)) = self.servers.iter().find(|(known, _)| id == [*known]) {
                self.last_rotation = Some(rotation);
                return *server;
            }
        }
        assert!(is_long, "a server has said how it is found");
        self.fallback.unwrap()
    }
}

/// Carries datagrams both ways; returns where clients go.
async fn balance(balancer: Arc<Mutex<Balancer>>) -> SocketAddr {
    let (front, back) =
        (UdpSocket::bind(localhost()).await.unwrap(), UdpSocket::bind(localhost()).await.unwrap());
    let addr = front.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down) = ([0; 1 << 16], [0; 1 << 16]);
        let mut client = None;
        loop {
            tokio::select! {
                received = front.recv_from(&mut up) => {
                    let (len, from) = received.unwrap();
                    client = Some(from);
                    let server = balancer.lock().unwrap().route(&up[..len]);
                    back.send_to(&up[..len], server).await.unwrap();
                }
                received = back.recv_from(&mut down) => {
                    let (len, _) = received.unwrap();
                    front.send_to(&down[..len], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    addr
}

async fn exchange(client: &Connection, server: &Connection) {
    let mut send = client.open_uni().await.unwrap();
    in_time(send.write_all(&pattern(10_000))).await.unwrap();
    drop(send.finish());
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert!(in_time(recv.read_to_end(10_000)).await.unwrap() == pattern(10_000));
}

#[tokio::test]
async fn a_connection_stays_with_its_server_and_moves_to_the_next_configuration() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let ids = [0xa, 0xb].map(|id| Arc::new(QuicLbConnectionIds::new(LEN, Some(shared(0, id))).unwrap()));
    let servers = [server(&server_config, &ids[0]), server(&server_config, &ids[1])];
    let addrs = [servers[0].local_addr().unwrap(), servers[1].local_addr().unwrap()];
    let balancer = Arc::new(Mutex::new(Balancer {
        fallback: Some(addrs[1]),
        servers: vec![(0xa, addrs[0]), (0xb, addrs[1])],
        last_rotation: None,
    }));
    let addr = balance(balancer.clone()).await;
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);

    let connecting = client.connect(addr, "localhost").unwrap();
    let accepting = async { servers[1].accept().await.unwrap().accept().await.unwrap() };
    let (connection, at_server) = in_time(async { tokio::join!(connecting, accepting) }).await;
    let connection = connection.unwrap();
    in_time(connection.handshake_confirmed()).await.unwrap();
    balancer.lock().unwrap().fallback = Some(addrs[0]);
    exchange(&connection, &at_server).await;
    assert_eq!(balancer.lock().unwrap().last_rotation, Some(0));

    ids[1].set_config(Some(shared(1, 0xb))).unwrap();
    servers[1].rotate_connection_ids();
    in_time(async {
        while balancer.lock().unwrap().last_rotation != Some(1) {
            exchange(&connection, &at_server).await;
        }
    })
    .await;
    exchange(&connection, &at_server).await;
    assert_eq!(connection.close_reason(), None);
}

/// Makes the same few IDs again and again, some of them of another length.
#[derive(Debug)]
struct Few;

impl ConnectionIdGenerator for Few {
    fn len(&self) -> usize {
        5
    }

    fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let len = 5 - rng.below(2) as usize;
        ConnectionId::try_from(&[rng.below(20) as u8; 5][..len]).unwrap()
    }
}

#[tokio::test]
async fn a_bad_generator_does_no_harm() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let endpoint = || {
        let config = EndpointConfig::builder().connection_ids(Few).build().unwrap();
        let builder = Endpoint::builder().config(config);
        builder.client(client_config.clone()).server(server_config.clone()).bind(localhost()).unwrap()
    };
    let pair = Pair { client: endpoint(), server: endpoint() };
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(pair.connect().await);
    }
    for (client, server) in &connections {
        exchange(client, server).await;
    }
    pair.server.rotate_connection_ids();
    for (client, server) in &connections {
        exchange(client, server).await;
    }
}

#[tokio::test]
async fn a_server_needs_connection_ids() {
    let pair = Pair::with(TransportConfig::default());
    let (client_config, server_config) = configs(TransportConfig::default());
    for len in 0..4 {
        let config = EndpointConfig::builder().connection_ids(RandomConnectionIds::new(len)).build().unwrap();
        let builder = Endpoint::builder().config(config).client(client_config.clone());
        let error = builder.clone().server(server_config.clone()).bind(localhost()).unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ConfigError>());
        assert_eq!(inner.unwrap().setting, "connection_ids");
        let endpoint = builder.bind(localhost()).unwrap();
        assert_eq!(endpoint.set_server_config(server_config.clone()).unwrap_err().setting, "connection_ids");
        endpoint.set_server_config(None).unwrap();
    }
    let (client, server) = pair.connect().await;
    exchange(&client, &server).await;
    assert_eq!(server.remote_address(), pair.client.local_addr().unwrap());
}
