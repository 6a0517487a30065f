//! Client and server over the virtual network: handshake, streams both ways, an orderly end.

mod acks;
mod app;
mod host;
mod interop;
mod referee;
mod scenario;
pub(super) mod tls;
mod topology;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::scenario::{Scenario, ms};
use self::topology::Topology;
use crate::net::sim::Node;

/// Two hundred networks of each kind.
macro_rules! seeds {
    ($($name:ident: $topology:ident, $range:expr;)*) => {
        $(#[test]
        fn $name() {
            for seed in $range {
                Topology::$topology.scenario(seed).run();
            }
        })*
    };
}

seeds! {
    seeds_from_0: Any, 0..100;
    seeds_from_100: Any, 100..200;
    short_and_fat: ShortFat, 0..200;
    long_and_thin: LongThin, 0..200;
    wireless: Wireless, 0..200;
    mobile: Mobile, 0..200;
    asymmetric: Asymmetric, 0..200;
    shared_from_0: Shared, 0..100;
    shared_from_100: Shared, 100..200;
}

/// Clients of that kind do end up elsewhere, and connections of the other kind do get into each other's way.
#[test]
fn topologies_are_what_they_say() {
    let home = SocketAddr::from(([10, 0, 0, 1], 443));
    let moved = (0..40).filter(|seed| Topology::Mobile.scenario(*seed).run().seen != home).count();
    assert!(moved >= 15, "{moved} of 40 have moved");
    let time = |pairs| {
        let mut scenario = Scenario::download(1, 500_000, &[Node::Delay(ms(10))]);
        scenario.shared[1] = vec![Node::megabits(10, 50)];
        Scenario { pairs, ..scenario }.run().time
    };
    assert!(time(4) > time(1) * 3, "{:?} and {:?}", time(4), time(1));
}

#[test]
fn a_seed_replays() {
    // But for changed headers: what they are taken for depends on the ciphertext behind them, which no seed rules.
    let scenario = |seed| {
        Topology::Any
            .scenario(seed)
            .without(|node| matches!(node, Node::Corrupt(_) | Node::CorruptInRuns { .. }))
    };
    for seed in [3, 4, 5] {
        assert_eq!(scenario(seed).run(), scenario(seed).run());
    }
}

#[test]
fn without_faults_nothing_is_lost_and_no_timer_helps() {
    let report = Scenario::plain(1, &[Node::Delay(ms(20))]).run();
    assert_eq!((report.client.packets_lost, report.server.packets_lost), (0, 0));
    assert_eq!((report.client.probe_timeouts, report.server.probe_timeouts), (0, 0));
    assert!(report.time < ms(400), "{:?}", report.time);
}

#[test]
fn the_handshake_survives_the_loss_of_any_early_datagrams() {
    for lost in 1..64 {
        let drops = |shift: u64| (0..3).filter(|index| lost >> (shift + index) & 1 == 1).collect();
        let mut scenario = Scenario::plain(lost, &[Node::Delay(ms(20))]);
        scenario.links[0].insert(0, Node::Drop(drops(0)));
        scenario.links[1].insert(0, Node::Drop(drops(3)));
        scenario.plan.longest = 3000;
        let report = scenario.run();
        assert!(report.time < Duration::from_secs(20), "{lost:#b}: {:?}", report.time);
    }
}

/// A client's data fill the window. Its Finished, without which the server cannot read them, is lost again and again; then a
/// mere acknowledgment of its gets through, the server's answer shows what was lost, and that waits behind the data.
#[test]
fn a_finished_that_waits_behind_data_is_sent_all_the_same() {
    Topology::Shared.scenario(26358).run();
}

#[test]
fn a_bottleneck_with_a_short_queue_is_used_well() {
    for (megabits, delay, queue) in [(10, ms(15), 25), (100, ms(2), 100), (1, ms(50), 25)] {
        let bytes = megabits * 125_000 * 4;
        let nodes = [Node::megabits(megabits, queue), Node::Delay(delay)];
        let report = Scenario::download(1, bytes, &nodes).run();
        // Four seconds if nothing were lost, with no headers and no slow start; headers alone take 7 %.
        assert!(report.time < ms(4900), "{megabits} Mbit/s: {:?}", report.time);
    }
}

/// The upload ends a few milliseconds after a loss in it, and the download is far from its end: it needs acknowledgments.
#[test]
fn a_fast_upload_with_a_loss_does_not_end_acknowledgments() {
    let mut scenario = Scenario::download(1, 8_000_000, &[Node::Delay(Duration::from_micros(50))]);
    (scenario.plan.streams, scenario.plan.send_budget) = ([[0, 1]; 2], 2 << 20);
    scenario.links[0].extend([Node::megabits(10_000, 2000), Node::Drop(vec![1000])]);
    scenario.links[1].push(Node::megabits(1_000, 30));
    let report = scenario.run();
    assert!(report.time < ms(1000), "{report:?}");
}

/// Both ends update their keys as often as they may, on paths that lose, delay, repeat and change packets.
// covers: R9001-5.3-03 R9001-6.1-01 R9001-6.1-03 R9001-6.2-01 R9001-6.4-01
#[test]
fn keys_are_updated_over_bad_paths() {
    let mut updates = 0;
    for seed in 0..40 {
        let mut scenario = Topology::Any.scenario(seed);
        for host in &mut scenario.hosts {
            host.config.key_update_interval = Some(1 + seed % 8);
        }
        scenario.plan.longest = 60_000;
        let report = scenario.run();
        updates += report.client.key_updates.min(report.server.key_updates);
    }
    assert!(updates > 80, "{updates} updates");
}

/// What is late or lost is no forgery.
#[test]
fn packets_that_an_update_overtakes_are_opened() {
    for (seed, loss) in [(1, 0.0), (2, 0.02), (3, 0.1)] {
        let reorder = Node::Reorder { share: 0.1, by: ms(30) };
        let nodes = [Node::megabits(10, 100), Node::Loss(loss), reorder, Node::Delay(ms(20))];
        let mut scenario = Scenario::download(seed, 3_000_000, &nodes);
        for host in &mut scenario.hosts {
            host.config.key_update_interval = Some(1);
        }
        let report = scenario.run();
        assert!(report.server.key_updates >= 5, "{report:?}");
        let failures = [report.client.authentication_failures, report.server.authentication_failures];
        assert_eq!(failures, [0; 2], "{report:?}");
        assert_eq!(report.server.mtu, 1452, "late is not lost: {report:?}");
    }
}

/// Packets that others overtake by much are given up by timers, one after the other, before anything else arrives.
#[test]
fn reordering_is_not_taken_for_a_black_hole() {
    for (share, delay) in [(0.3, 20), (0.5, 5)] {
        let reorder = Node::Reorder { share, by: ms(30) };
        let nodes = [Node::megabits(10, 100), reorder, Node::Delay(ms(delay))];
        for seed in 0..6 {
            let report = Scenario::download(seed, 500_000, &nodes).run();
            assert!(report.server.packets_lost > 0, "what is late looks lost");
            assert_eq!(
                (report.server.mtu, report.server.mtu_black_holes),
                (1452, 0),
                "seed {seed}: {report:?}"
            );
        }
    }
}

/// [`referee`] watches every run of this module; these are chosen for what it looks at: losses, retries, tight limits, streams
/// that are abandoned.
// covers: R9000-2.2-02 R9000-2.2-03 R9000-4.6-02 R9000-5.1-02 R9000-8.1-03 R9000-10.2.3-01 R9000-12.2-03 R9000-12.3-01
// covers: R9000-12.3-02 R9000-12.4-01 R9000-13.2.6-01 R9000-13.2.6-02 R9000-13.3-01 R9000-14.1-01 R9000-14.1-02 R9000-17.2.3-04
// covers: R9000-19.7-03 R9000-19.20-01 R9001-4-01 R9001-4.9-01 R9001-4.9.1-02
// covers: R9000-5.1.1-01 R9001-4.4-02 R9001-4.9-02 R9001-6-01 R9001-8.3-01 R9001-9.3-01
#[test]
fn what_both_ends_send_obeys_the_rules() {
    for seed in 0..12 {
        let mut scenario = Scenario::plain(seed, &[Node::Loss(0.1), Node::Delay(ms(10))]);
        for host in &mut scenario.hosts {
            host.retry = seed % 2 == 0;
            host.config.stream_receive_window = 4_000;
            host.config.receive_window = 6_000;
            host.config.max_concurrent_bidi_streams = 2;
            host.config.max_concurrent_uni_streams = 1;
        }
        (scenario.plan.streams, scenario.plan.abandon) = ([[4, 4]; 2], true);
        scenario.run();
    }
}

/// `GANNET_SEEDS=1000..20000 cargo test --lib seeds_of_your_choice -- --ignored`: each seed on each kind of network, on all
/// processors. `GANNET_TOPOLOGY=Mobile` takes one kind alone.
#[test]
#[ignore = "for as many as there is time for"]
fn seeds_of_your_choice() {
    let range = std::env::var("GANNET_SEEDS").expect("GANNET_SEEDS=from..to");
    let (from, to) = range.split_once("..").expect("GANNET_SEEDS=from..to");
    let (next, to) = (AtomicU64::new(from.parse().unwrap()), to.parse().unwrap());
    let only = std::env::var("GANNET_TOPOLOGY").ok();
    let is_wanted = |topology: &Topology| only.as_ref().is_none_or(|name| *name == format!("{topology:?}"));
    let failed = Mutex::new(Vec::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= to {
            break;
        }
        for topology in Topology::ALL.into_iter().filter(is_wanted) {
            if std::panic::catch_unwind(|| topology.scenario(seed).run()).is_err() {
                failed.lock().unwrap().push((topology, seed));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}
