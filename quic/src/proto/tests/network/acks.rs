//! Fewer acknowledgments do not cost speed.

use super::scenario::{Report, Scenario, ms};
use crate::config::AckFrequency;
use crate::net::sim::Node;

fn download(asks: AckFrequency, seed: u64, nodes: &[Node]) -> Report {
    let mut scenario = Scenario::download(seed, 8_000_000, nodes);
    scenario.hosts[1].config.ack_frequency = asks;
    scenario.run()
}

/// The client only acknowledges: its packets are ACK frames.
#[test]
fn a_fast_sender_hears_less_often_and_is_as_fast() {
    for rtt in [10, 60] {
        let nodes = [Node::megabits(50, 300), Node::Delay(ms(rtt / 2))];
        let unasked = download(AckFrequency::Unasked, 1, &nodes);
        let adaptive = download(AckFrequency::Adaptive, 1, &nodes);
        let (before, after) = (unasked.client.packets_sent, adaptive.client.packets_sent);
        assert!(after * 3 < before, "{after} instead of {before}");
        assert!(adaptive.time < unasked.time.mul_f64(1.05), "{:?}, not {:?}", adaptive.time, unasked.time);
        assert!(adaptive.server.packets_lost <= unasked.server.packets_lost * 11 / 10);
    }
}
