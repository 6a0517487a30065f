//! The links by themselves, and the loop with hosts that only count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Datagram, End, LinkStats, Network, Node, Peer, run};
use crate::packet::{Ecn, FourTuple, SocketId, TxBatch, TxMeta, epoch};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 443))
}

fn datagram(number: u32, len: usize) -> Datagram {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(len, 0);
    Datagram { from: address(1), to: address(2), ecn: None, payload }
}

fn network(seed: u64, nodes: Vec<Node>) -> Network {
    let mut network = Network::new(seed, epoch());
    network.link(address(1), address(2), nodes);
    network
}

/// Sends datagrams of 972 bytes (1000 on the link) at this interval; what arrives and when, in milliseconds.
fn arrivals(network: &mut Network, count: u32, interval: Duration) -> Vec<(u32, u64)> {
    let mut arrived = Vec::new();
    let start = network.now();
    let collect = |network: &mut Network, until: Instant, arrived: &mut Vec<(u32, u64)>| {
        while let Some(datagram) = network.advance(until) {
            let number = u32::from_be_bytes(*datagram.payload.first_chunk().unwrap());
            arrived.push((number, network.elapsed().as_millis() as u64));
        }
    };
    for number in 0..count {
        collect(network, start + interval * number, &mut arrived);
        network.send(datagram(number, 972));
    }
    collect(network, start + Duration::from_secs(1000), &mut arrived);
    arrived
}

fn stats(network: &Network) -> LinkStats {
    network.stats(address(1), address(2)).unwrap()
}

#[test]
fn a_delay_delays() {
    let mut network = network(1, vec![Node::Delay(ms(20)), Node::Delay(ms(5))]);
    assert_eq!(arrivals(&mut network, 3, ms(1)), [(0, 25), (1, 26), (2, 27)]);
}

#[test]
fn a_bottleneck_spaces_out_and_its_queue_overflows() {
    // 1 Mbit/s: 8 ms for each; one on the wire and three that wait.
    let mut network = network(1, vec![Node::megabits(1, 3), Node::Delay(ms(20))]);
    assert_eq!(arrivals(&mut network, 10, ms(0)), [(0, 28), (1, 36), (2, 44), (3, 52)]);
    assert_eq!((stats(&network).overflowed, stats(&network).delivered), (6, 4));
    // Slower than the bottleneck, nothing waits.
    let mut network = self::network(1, vec![Node::megabits(1, 0)]);
    assert_eq!(arrivals(&mut network, 3, ms(10)), [(0, 8), (1, 18), (2, 28)]);
}

#[test]
fn chance_keeps_to_its_share_and_repeats_with_its_seed() {
    let nodes = vec![Node::Loss(0.1), Node::Delay(ms(10))];
    let run = |seed| arrivals(&mut network(seed, nodes.clone()), 2000, ms(1));
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
    for arrived in [&first, &other] {
        assert!((1740..1860).contains(&arrived.len()), "{}", arrived.len());
    }
}

#[test]
fn fates_do_not_depend_on_content_nor_on_other_links() {
    let fates = |len: usize, other_link: bool| {
        let mut network = network(3, vec![Node::Loss(0.5)]);
        network.link(address(2), address(1), vec![Node::Loss(0.5)]);
        let mut arrived = Vec::new();
        for number in 0..100 {
            network.send(datagram(number, len));
            if other_link {
                network.send(Datagram { from: address(2), to: address(1), ecn: None, payload: vec![1] });
            }
            while let Some(datagram) = network.advance(network.now()) {
                if datagram.to == address(2) {
                    arrived.push(number);
                }
            }
        }
        arrived
    };
    assert_eq!(fates(100, false), fates(1200, true));
}

#[test]
fn others_overtake_what_is_held_back() {
    let mut network = network(5, vec![Node::Reorder { share: 0.2, by: ms(7) }, Node::Delay(ms(10))]);
    let arrived = arrivals(&mut network, 200, ms(2));
    assert_eq!(arrived.len(), 200);
    let inversions = arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!(inversions > 10);
    assert!((20..60).contains(&stats(&network).reordered));
    for (number, at) in arrived {
        let taken = at - u64::from(number) * 2;
        assert!(taken == 10 || taken == 17);
    }
}

#[test]
fn copies_follow_and_have_their_own_fate() {
    let copies = Node::Duplicate { share: 1.0, after: ms(3) };
    let mut network = network(5, vec![copies.clone(), Node::Delay(ms(10))]);
    assert_eq!(arrivals(&mut network, 2, ms(1)), [(0, 10), (1, 11), (0, 13), (1, 14)]);
    let mut network = self::network(5, vec![copies, Node::Loss(0.5)]);
    let arrived = arrivals(&mut network, 200, ms(10));
    let one_of_two =
        (0..200).filter(|number| arrived.iter().filter(|(n, _)| n == number).count() == 1).count();
    assert!((60..140).contains(&one_of_two), "{one_of_two}");
}

#[test]
fn chosen_datagrams_are_dropped() {
    let mut network = network(1, vec![Node::Drop(vec![0, 2])]);
    let numbers: Vec<_> = arrivals(&mut network, 4, ms(1)).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(
        stats(&network),
        LinkStats {
            sent: 4,
            sent_bytes: 4 * 972,
            delivered: 2,
            delivered_bytes: 2 * 972,
            lost: 2,
            ..LinkStats::default()
        }
    );
}

#[test]
fn a_blackhole_swallows_for_a_time() {
    let mut network = network(1, vec![Node::Delay(ms(1)), Node::Blackhole(ms(3)..ms(6))]);
    let numbers: Vec<_> = arrivals(&mut network, 8, ms(1)).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [0, 1, 5, 6, 7]);
}

#[test]
fn corruption_changes_one_byte() {
    let mut network = network(1, vec![Node::Corrupt(0.5)]);
    let mut changed = 0;
    for number in 0..200 {
        let sent = datagram(number, 100);
        network.send(sent.clone());
        let arrived = network.advance(network.now()).unwrap();
        let differences = sent.payload.iter().zip(&arrived.payload).filter(|(a, b)| a != b).count();
        assert!(differences <= 1 && sent.payload.len() == arrived.payload.len());
        changed += differences as u64;
    }
    assert!((70..130).contains(&changed) && changed == stats(&network).corrupted);
}

#[test]
fn marks_are_set_and_erased() {
    let ecn = |nodes: &[Node], ecn| {
        let mut network = network(1, nodes.to_vec());
        network.send(Datagram { ecn, ..datagram(0, 10) });
        network.advance(network.now()).unwrap().ecn
    };
    let mark = Node::Mark(1.0);
    assert_eq!(ecn(&[], Some(Ecn::Ect0)), Some(Ecn::Ect0));
    assert_eq!(ecn(std::slice::from_ref(&mark), Some(Ecn::Ect0)), Some(Ecn::Ce));
    assert_eq!(ecn(std::slice::from_ref(&mark), None), None);
    assert_eq!(ecn(&[Node::Bleach, mark], Some(Ecn::Ect0)), None);
}

#[test]
fn a_batch_is_its_datagrams_and_nothing_goes_where_no_link_leads() {
    let mut network = network(1, vec![]);
    let path = FourTuple { socket: SocketId(0), local_ip: None, remote: address(2) };
    let mut batch = TxBatch::new(8);
    for len in [1000, 1000, 10] {
        batch.begin(TxMeta { path, ecn: None }).extend(std::iter::repeat_n(0, len));
        batch.finish();
    }
    network.send_batch(address(1), &batch);
    network.send_batch(address(3), &batch);
    let now = network.now();
    let lens: Vec<_> =
        std::iter::from_fn(|| network.advance(now)).map(|datagram| datagram.payload.len()).collect();
    assert_eq!(lens, [1000, 1000, 10]);
    assert_eq!(network.unroutable(), 3);
}

/// Sends `left` datagrams to the other host, one for each that it receives and one whenever a second passes without.
struct Player {
    host: u8,
    other: u8,
    left: u32,
    received: u32,
    due: Option<Instant>,
    serve: bool,
}

impl Player {
    fn pair(left: u32) -> [Box<Self>; 2] {
        let player = |host, other, serve| Self { host, other, left, received: 0, due: None, serve };
        [Box::new(player(1, 2, true)), Box::new(player(2, 1, false))]
    }
}

impl Peer for Player {
    fn has_address(&self, to: SocketAddr) -> bool {
        to == address(self.host)
    }

    fn receive(&mut self, _now: Instant, _datagram: Datagram) {
        self.received += 1;
        self.serve = true;
    }

    fn timeout(&mut self, _now: Instant) {
        self.serve = true;
    }

    fn drive(&mut self, network: &mut Network) -> Option<Instant> {
        if std::mem::take(&mut self.serve) && self.left > 0 {
            self.left -= 1;
            let payload = vec![0; 100];
            network.send(Datagram { from: address(self.host), to: address(self.other), ecn: None, payload });
            self.due = (self.left > 0).then(|| network.now() + ms(1000));
        }
        self.due
    }
}

fn play(nodes: &[Node], left: u32, limit: Duration, wanted: u32) -> End {
    let mut network = Network::new(1, epoch());
    network.link_both(address(1), address(2), nodes);
    run(&mut network, &mut Player::pair(left), limit, |players| players[0].received >= wanted)
}

#[test]
fn time_jumps_from_one_event_to_the_next() {
    assert_eq!(play(&[Node::Delay(ms(10))], 100, ms(10_000), 50), End::Done(ms(1000)));
    assert_eq!(play(&[Node::Delay(ms(10))], 100, ms(300), 50), End::TooLate);
    assert_eq!(play(&[Node::Delay(ms(10)), Node::Drop(vec![2])], 100, ms(10_000), 50), End::Done(ms(2000)));
}

#[test]
fn an_end_without_success_is_told_apart() {
    let End::Silence(at) = play(&[Node::Delay(ms(10))], 3, ms(100_000), 50) else {
        panic!("nobody has more to say")
    };
    assert!(at <= ms(4000));
    assert!(matches!(play(&[], u32::MAX, ms(10_000), u32::MAX), End::Livelock(at) if at == ms(0)));
}

#[test]
fn blackouts_come_again() {
    let mut network = network(1, vec![Node::Blackouts { on: ms(5), off: ms(2) }]);
    let arrived: Vec<u64> = arrivals(&mut network, 16, ms(1)).into_iter().map(|(_, at)| at).collect();
    assert_eq!(arrived, [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14, 15]);
}

#[test]
fn outages_come_once_in_each_period_at_different_times() {
    let mut network = network(1, vec![Node::Outages { every: ms(50), last: ms(10) }]);
    let arrived: Vec<u64> = arrivals(&mut network, 1000, ms(1)).into_iter().map(|(_, at)| at).collect();
    for period in 0..20 {
        let inside = arrived.iter().filter(|at| **at / 50 == period).count();
        assert!((39..=41).contains(&inside), "{inside} in period {period}");
    }
    let begins: Vec<u64> =
        arrived.windows(2).filter(|pair| pair[1] > pair[0] + 1).map(|pair| pair[0]).collect();
    let steps: std::collections::BTreeSet<u64> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > 5, "{begins:?}");
}

#[test]
fn runs_of_loss_are_no_longer_than_they_may_be() {
    let mut network = network(1, vec![Node::LossInRuns { share: 0.9, longest: 3 }]);
    let arrived: Vec<u32> =
        arrivals(&mut network, 2000, ms(1)).into_iter().map(|(number, _)| number).collect();
    let longest = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).max();
    assert_eq!(longest, Some(3));
    let mut network = self::network(1, vec![Node::CorruptInRuns { share: 1.0, longest: 3 }]);
    assert_eq!(arrivals(&mut network, 100, ms(1)).len(), 100);
    assert_eq!(stats(&network).corrupted, 75);
}

#[test]
fn a_narrow_link_drops_what_is_larger() {
    let mut network = network(1, vec![Node::Narrow { times: ms(2)..ms(4), mtu: 999 }]);
    let arrived: Vec<u64> = arrivals(&mut network, 6, ms(1)).into_iter().map(|(_, at)| at).collect();
    assert_eq!(arrived, [0, 1, 4, 5]);
    let mut network = self::network(1, vec![Node::mtu(1000)]);
    assert_eq!(arrivals(&mut network, 6, ms(1)).len(), 6);
    assert_eq!(stats(&network).delivered_bytes, 6 * 972);
}

#[test]
fn a_nat_shows_a_host_at_an_address_that_changes() {
    let mut network = network(1, vec![Node::Delay(ms(1))]);
    network.link(address(2), address(1), vec![Node::Delay(ms(1))]);
    let outside = [address(7), address(8)];
    network.nat(address(1), vec![(ms(0), outside[0]), (ms(10), outside[1])]);
    let from = |to| Datagram { from: address(2), to, ecn: None, payload: vec![2; 10] };
    for current in 0..2 {
        network.send(datagram(1, 10));
        let until = network.now() + ms(10);
        assert_eq!(network.advance(until).unwrap().from, outside[current]);
        outside.iter().for_each(|to| network.send(from(*to)));
        let arrived = network.advance(until).unwrap();
        assert_eq!((arrived.from, arrived.to), (address(2), address(1)));
        assert!(network.advance(until).is_none(), "the other address leads nowhere");
        assert_eq!(network.unroutable(), current as u64 + 1);
    }
}

#[test]
fn jitter_keeps_the_order() {
    let mut network = network(3, vec![Node::Jitter(ms(20)), Node::Delay(ms(10))]);
    let arrived = arrivals(&mut network, 500, ms(4));
    assert!(arrived.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    let taken: Vec<u64> = arrived.iter().map(|(number, at)| at - u64::from(*number) * 4).collect();
    assert!(taken.iter().all(|taken| (10..=30).contains(taken)));
    assert!(taken.iter().any(|taken| *taken < 14) && taken.iter().any(|taken| *taken > 26));
}

#[test]
fn losses_come_in_bursts() {
    let mut network = network(1, vec![Node::BurstLoss { begin: 0.02, end: 0.25, longest: ms(60_000) }]);
    let arrived = arrivals(&mut network, 10_000, ms(1));
    let gaps: Vec<u32> =
        arrived.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0).collect();
    let lost: u32 = gaps.iter().sum();
    // Bursts of four on average, one in fifty datagrams begins one: 2 / (2 + 25) are lost.
    assert!((600..900).contains(&lost), "{lost}");
    let mean = f64::from(lost) / gaps.len() as f64;
    assert!((3.0..5.0).contains(&mean), "{mean}");
}

#[test]
fn a_burst_ends_in_time() {
    let mut network = network(1, vec![Node::BurstLoss { begin: 0.5, end: 0.0, longest: ms(20) }]);
    let arrived: Vec<u64> = arrivals(&mut network, 400, ms(1)).into_iter().map(|(_, at)| at).collect();
    let mut gaps = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0);
    assert!(gaps.clone().count() > 5 && gaps.all(|gap| gap % 20 == 0), "{arrived:?}");
}

#[test]
fn a_long_queue_marks() {
    let bottleneck = Node::Bottleneck { bytes_per_second: 125_000, queue: 6, mark_from: Some(3) };
    let mut network = network(1, vec![bottleneck]);
    for number in 0..9 {
        network.send(Datagram { ecn: (number != 5).then_some(Ecn::Ect0), ..datagram(number, 972) });
    }
    let until = network.now() + ms(100);
    let marks: Vec<_> = std::iter::from_fn(|| network.advance(until)).map(|datagram| datagram.ecn).collect();
    let [ect, ce] = [Ecn::Ect0, Ecn::Ce].map(Some);
    assert_eq!(marks, [ect, ect, ect, ce, ce, None, ce]);
    assert_eq!((stats(&network).marked, stats(&network).overflowed), (3, 2));
}

/// Two flows through one bottleneck: its queue and its rate are for both together.
#[test]
fn flows_compete_at_a_shared_node() {
    let mut network = Network::new(1, epoch());
    let shared = network.share(Node::megabits(1, 3));
    for host in [1, 3] {
        network.link(address(host), address(2), vec![shared.clone(), Node::Delay(ms(5))]);
    }
    for number in 0..3 {
        for host in [1, 3] {
            network.send(Datagram { from: address(host), ..datagram(number, 972) });
        }
    }
    let until = network.now() + ms(100);
    let mut arrived = Vec::new();
    while let Some(datagram) = network.advance(until) {
        arrived.push((datagram.from == address(1), network.elapsed()));
    }
    assert_eq!(arrived, [(true, ms(13)), (false, ms(21)), (true, ms(29)), (false, ms(37))]);
    let stats = network.shared_stats(&shared).unwrap();
    assert_eq!((stats.sent, stats.delivered, stats.overflowed), (6, 4, 2));
    let each = [1, 3].map(|host| network.stats(address(host), address(2)).unwrap().overflowed);
    assert_eq!(each, [1, 1]);
    assert_eq!(network.shared_stats(&Node::Bleach), None);
}

#[test]
fn a_link_changes_under_way() {
    let mut network = network(1, vec![Node::Delay(ms(10)), Node::Delay(ms(10))]);
    let until = |network: &Network, millis| network.now() + ms(millis);
    network.send(datagram(0, 10));
    assert!(network.advance(until(&network, 15)).is_none());
    network.link(address(1), address(2), vec![Node::Loss(1.0)]);
    network.send(datagram(1, 10));
    assert!(network.advance(until(&network, 50)).is_some(), "it set out on the link before");
    assert!(network.advance(until(&network, 50)).is_none());
    network.link(address(1), address(2), vec![]);
    network.send(datagram(2, 10));
    assert!(network.advance(until(&network, 0)).is_some());
    assert_eq!((stats(&network).sent, stats(&network).lost, stats(&network).delivered), (3, 1, 2));
}

#[test]
fn a_link_of_sockets_goes_before_one_of_hosts() {
    let hosts = [1, 2].map(|host| address(host).ip());
    let mut network = Network::new(1, epoch());
    network.link(hosts[0], hosts[1], vec![Node::Delay(ms(1))]);
    network.link(hosts[0], address(2), vec![Node::Delay(ms(2))]);
    network.link(address(1), hosts[1], vec![Node::Delay(ms(3))]);
    network.link(address(1), address(2), vec![Node::Delay(ms(4))]);
    let mut taken = |from_port, to_port| {
        let [from, to] = [(hosts[0], from_port), (hosts[1], to_port)].map(SocketAddr::from);
        network.send(Datagram { from, to, ecn: None, payload: vec![0; 9] });
        let before = network.now();
        network.advance(before + ms(9)).unwrap();
        (network.now() - before).as_millis()
    };
    assert_eq!([taken(1, 1), taken(1, 443), taken(443, 1), taken(443, 443)], [1, 2, 3, 4]);
}
