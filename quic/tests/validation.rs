//! Address validation: Retry, and tokens for the next connection.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::{
    ClientConfig, EndpointConfig, MemoryTokenStore, RetryPolicy, ServerConfig, TokenIssuer, TokenStore,
    TransportConfig, Version,
};
use gannet::{Connection, Endpoint};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

/// A store that tells when something was put in, and perhaps takes all servers for one.
#[derive(Debug)]
struct Store {
    tokens: MemoryTokenStore,
    put: Semaphore,
    joint: bool,
}

impl Store {
    fn new(joint: bool) -> Arc<Self> {
        Arc::new(Self { tokens: MemoryTokenStore::default(), put: Semaphore::new(0), joint })
    }

    fn key(&self, issuer: &TokenIssuer) -> TokenIssuer {
        let mut key = issuer.clone();
        if self.joint {
            key.address = localhost();
        }
        key
    }

    async fn wait_for(&self, tokens: u32) {
        in_time(self.put.acquire_many(tokens)).await.unwrap().forget();
    }
}

impl TokenStore for Store {
    fn put(&self, issuer: &TokenIssuer, token: Bytes) {
        self.tokens.put(&self.key(issuer), token);
        self.put.add_permits(1);
    }

    fn take(&self, issuer: &TokenIssuer) -> Option<Bytes> {
        self.tokens.take(&self.key(issuer))
    }
}

fn server(config: &ServerConfig, key: [u8; 32]) -> Endpoint {
    let endpoint = EndpointConfig::builder().token_key(key).build().unwrap();
    Endpoint::builder().config(endpoint).server(config.clone()).bind(localhost()).unwrap()
}

/// How the server saw the client that connects now.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Stranger,
    FollowedRetry,
    ShowedToken,
}

async fn connect(client: &Endpoint, server: &Endpoint) -> (Seen, Connection, Connection) {
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async {
        let incoming = server.accept().await.unwrap();
        let seen = match (incoming.is_validated(), incoming.may_retry()) {
            (true, true) => Seen::ShowedToken,
            (true, false) => Seen::FollowedRetry,
            (false, _) => Seen::Stranger,
        };
        // A token is of the version that the first connection ended up with, and the second begins with that.
        assert!(seen != Seen::ShowedToken || incoming.version() == Version::V2.as_u32());
        (seen, incoming.accept().await.unwrap())
    };
    let (connection, (seen, other)) = in_time(async { tokio::join!(connecting, accepting) }).await;
    (seen, connection.unwrap(), other)
}

fn client(config: ClientConfig) -> Endpoint {
    Endpoint::builder().client(config).bind(localhost()).unwrap()
}

// covers: R9000-8.1.3-06 R9000-8.1.3-09 R9000-8.1.3-12
#[tokio::test]
async fn a_token_spares_the_retry_once() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let store = Store::new(false);
    let without = client(client_config.clone().token_store(None));
    let client = client(client_config.token_store(Some(store.clone())));
    let server = server(&server_config.use_retry(RetryPolicy::Always).new_tokens(1), [1; 32]);
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::FollowedRetry);
    for _ in 0..2 {
        store.wait_for(1).await;
        let (seen, _a, _b) = connect(&client, &server).await;
        assert_eq!(seen, Seen::ShowedToken);
    }
    store.wait_for(1).await;
    store.tokens.clear();
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::FollowedRetry);

    for _ in 0..2 {
        let (seen, _a, _b) = connect(&without, &server).await;
        assert_eq!(seen, Seen::FollowedRetry);
    }
}

// covers: R9000-8.1.3-07 R9000-8.1.3-11
#[tokio::test]
async fn tokens_are_good_where_their_key_is_and_shown_where_they_belong() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let [one, twin] = [1, 1].map(|key| server(&server_config, [key; 32]));
    let other = server(&server_config, [2; 32]);

    let store = Store::new(false);
    let careful = client(client_config.clone().token_store(Some(store.clone())));
    let (seen, _a, _b) = connect(&careful, &one).await;
    assert_eq!(seen, Seen::Stranger);
    store.wait_for(2).await;
    let (seen, _a, _b) = connect(&careful, &twin).await;
    assert_eq!(seen, Seen::Stranger, "a token of another server is not shown");
    let (seen, _a, _b) = connect(&careful, &one).await;
    assert_eq!(seen, Seen::ShowedToken);

    let store = Store::new(true);
    let knowing = client(client_config.token_store(Some(store.clone())));
    let (_seen, _a, _b) = connect(&knowing, &one).await;
    store.wait_for(2).await;
    let (seen, _a, _b) = connect(&knowing, &twin).await;
    assert_eq!(seen, Seen::ShowedToken, "servers with one key are one");
    store.wait_for(2).await;
    let (seen, _a, _b) = connect(&knowing, &other).await;
    assert_eq!(seen, Seen::Stranger, "and others are not");
}

#[tokio::test]
async fn under_load_strangers_are_asked_to_come_again() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let policy = RetryPolicy::UnderLoad { handshakes: 0 };
    let server = server(&server_config.use_retry(policy), [1; 32]);
    let client = client(client_config.token_store(None));
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::Stranger);

    // One that waits for a decision.
    let addr = server.local_addr().unwrap();
    let first = client.connect(addr, "localhost").unwrap();
    let waiting = in_time(server.accept()).await.unwrap();
    assert!(!waiting.is_validated());
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::FollowedRetry);
    let (first, second) = in_time(async { tokio::join!(first, waiting.accept()) }).await;
    let _handles = (first.unwrap(), second.unwrap());

    // One that begins a handshake and says no more.
    let relay = UdpSocket::bind(localhost()).await.unwrap();
    let silent = client.connect(relay.local_addr().unwrap(), "localhost").unwrap();
    let mut initial = [0; 1500];
    let len = in_time(relay.recv(&mut initial)).await.unwrap();
    drop(silent);
    relay.send_to(&initial[..len], addr).await.unwrap();
    let stuck = in_time(server.accept()).await.unwrap();
    assert!(!stuck.is_validated(), "nothing else was under way");
    let stuck = stuck.accept();
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::FollowedRetry);
    drop(stuck);
    in_time(async {
        while server.connections() > 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (seen, _a, _b) = connect(&client, &server).await;
    assert_eq!(seen, Seen::Stranger);
    assert_eq!(server.stats().turned_away, 2, "each was asked to come again");
}

#[tokio::test]
async fn clients_keep_tokens_unless_they_are_told_not_to() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = in_time(async {
        // Until the first token has come.
        loop {
            let (seen, client, server) = connect(&pair.client, &pair.server).await;
            if seen == Seen::ShowedToken {
                return (client, server);
            }
        }
    })
    .await;
    let mut send = client.open_uni().await.unwrap();
    in_time(send.write_all(&pattern(100_000))).await.unwrap();
    drop(send.finish());
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert!(in_time(recv.read_to_end(100_000)).await.unwrap() == pattern(100_000));
    let (_client, server) = pair.connect().await;
    assert_eq!(server.remote_address().ip(), pair.addr().ip());
}
