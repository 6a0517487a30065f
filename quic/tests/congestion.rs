//! The congestion controller of a connection, over loopback: each of ours, and one that the application brings.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::{Pair, configs, in_time, pattern};
use gannet::Connection;
use gannet::config::{
    Acked, CongestionControl, CongestionEvent, Controller, ControllerFactory, LostPacket, TransportConfig,
};

const LEN: usize = 3_000_000;

/// Sends from one end to the other, checks what arrives.
async fn transfer(from: &Connection, to: &Connection) {
    let data = pattern(LEN);
    let sending = async {
        let mut send = from.open_uni().await.unwrap();
        send.write_all(&data).await.unwrap();
        send.finish().await.unwrap();
    };
    let receiving = async { to.accept_uni().await.unwrap().read_to_end(LEN).await.unwrap() };
    let ((), received) = in_time(async { tokio::join!(sending, receiving) }).await;
    assert!(received == data);
}

fn with(control: CongestionControl) -> TransportConfig {
    TransportConfig::builder().congestion_control(control).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_ours_carries_data_both_ways() {
    for control in [CongestionControl::NewReno, CongestionControl::Cubic, CongestionControl::Bbr] {
        let pair = Pair::with(with(control));
        let (client, server) = pair.connect().await;
        transfer(&client, &server).await;
        transfer(&server, &client).await;
    }
}

/// What a controller was told, all of one factory together.
#[derive(Debug, Default)]
struct Told {
    made: AtomicU64,
    sent: AtomicU64,
    acked: AtomicU64,
    app_limited: AtomicU64,
    lost: Mutex<Vec<LostPacket>>,
}

/// A window that never changes.
#[derive(Debug)]
struct Constant(Arc<Told>);

#[derive(Debug)]
struct Factory(Arc<Told>);

impl ControllerFactory for Factory {
    fn new_controller(&self, _now: Instant, max_datagram_size: u16) -> Box<dyn Controller> {
        assert!(max_datagram_size >= 1200);
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Box::new(Constant(self.0.clone()))
    }
}

impl Controller for Constant {
    fn on_sent(&mut self, _now: Instant, bytes: u64, in_flight: u64) {
        assert!(bytes <= in_flight);
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn on_app_limited(&mut self, _now: Instant, in_flight: u64) {
        assert!(in_flight < self.window());
        self.0.app_limited.fetch_add(1, Ordering::Relaxed);
    }

    fn on_ack(&mut self, acked: &Acked) {
        assert!(acked.bytes + acked.lost_bytes <= acked.in_flight);
        self.0.acked.fetch_add(acked.bytes, Ordering::Relaxed);
    }

    fn on_lost(&mut self, packet: &LostPacket) {
        self.0.lost.lock().unwrap().push(*packet);
    }

    fn on_congestion_event(&mut self, _event: &CongestionEvent) {}

    fn on_persistent_congestion(&mut self, _now: Instant) {}

    fn on_max_datagram_size(&mut self, _max_datagram_size: u16) {}

    fn window(&self) -> u64 {
        300_000
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_may_have_its_own_at_either_end() {
    let told = Arc::new(Told::default());
    let pair = Pair::with(TransportConfig::default());
    let (client_config, server_config) = configs(TransportConfig::default());
    pair.server.set_server_config(Some(server_config.clone())).unwrap();
    let client_config = client_config.transport(with(CongestionControl::Bbr));
    let server_config =
        server_config.transport(with(CongestionControl::Custom(Arc::new(Factory(told.clone())))));
    let connecting = pair.client.connect_with(&client_config, pair.addr(), "localhost").unwrap();
    let accepting = async { pair.server.accept().await.unwrap().accept_with(server_config).await.unwrap() };
    let (client, server) = in_time(async { tokio::join!(connecting, accepting) }).await;
    let client = client.unwrap();
    transfer(&server, &client).await;
    transfer(&client, &server).await;
    assert_eq!(server.stats().congestion_window, 300_000);
    assert_ne!(client.stats().congestion_window, 300_000);
    let [made, sent, acked, app_limited] =
        [&told.made, &told.sent, &told.acked, &told.app_limited].map(|count| count.load(Ordering::Relaxed));
    assert!(made >= 1 && app_limited > 0);
    assert!(sent >= LEN as u64 && acked >= LEN as u64, "{told:?}");
}
