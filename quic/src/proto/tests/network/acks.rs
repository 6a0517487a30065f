//! Fewer acknowledgments do not cost speed, and late ones are no flood.

use super::scenario::{Report, Scenario, ms};
use crate::config::{AckFrequency, TransportConfig};
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
        assert!(after * 5 < before * 2, "{after} instead of {before}");
        assert!(adaptive.time < unasked.time.mul_f64(1.05), "{:?}, not {:?}", adaptive.time, unasked.time);
        assert!(adaptive.server.packets_lost <= unasked.server.packets_lost * 11 / 10);
    }
}

/// Each packet may overtake up to a hundred others: each is acknowledged at once, and hardly an acknowledgment is news when
/// it arrives. No peer is taken for a flood on that account, however little besides is allowed.
#[test]
fn acknowledgments_that_others_have_overtaken_are_no_flood() {
    let shuffled = [5, 10, 20, 40].map(|late| Node::Reorder { share: 0.5, by: ms(late) });
    for seed in 0..5 {
        let mut scenario =
            Scenario::download(seed, 4_000_000, &[Node::megabits(20, 300), Node::Delay(ms(10))]);
        scenario.links.iter_mut().for_each(|link| link.extend(shuffled.clone()));
        for host in &mut scenario.hosts {
            host.config = TransportConfig::builder()
                .ack_frequency(AckFrequency::Unasked)
                .max_idle_frames_per_second(5)
                .build()
                .unwrap();
        }
        let report = scenario.run();
        let late = report.server.idle_frames_received;
        assert!(late * 3 > report.client.packets_sent * 2, "{late} of {}", report.client.packets_sent);
    }
}
