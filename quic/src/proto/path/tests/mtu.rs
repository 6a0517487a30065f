use std::time::{Duration, Instant};

use crate::config::{TransportConfig, TransportConfigBuilder};
use crate::packet::{FourTuple, SocketId, epoch};
use crate::proto::path::mtu::{BASE, MAX_PROBES, RAISE};
use crate::proto::path::{MtuDiscovery, SizeNews, SizeReport};

const SECOND: Duration = Duration::from_secs(1);

/// A path whose links carry datagrams up to some size, and the discovery of that.
struct Link {
    now: Instant,
    carries: u16,
    mtu: MtuDiscovery,
    next_pn: u64,
    /// Sizes of the probes, in order.
    probes: Vec<u16>,
}

fn discovery(remote: [u8; 4], config: TransportConfigBuilder) -> MtuDiscovery {
    let path = FourTuple { socket: SocketId(0), local_ip: None, remote: (remote, 1).into() };
    MtuDiscovery::new(&config.build().unwrap(), &path)
}

impl Link {
    fn new(carries: u16, config: TransportConfigBuilder) -> Self {
        let mtu = discovery([10, 0, 0, 1], config);
        Self { now: epoch(), carries, mtu, next_pn: 0, probes: Vec::new() }
    }

    /// Sends a probe and learns its fate; `None` if none is wanted.
    fn probe(&mut self) -> Option<SizeNews> {
        let (pn, size) = self.send()?;
        let arrives = size <= self.carries;
        self.now += SECOND / 10;
        Some(self.fate(pn, arrives))
    }

    fn send(&mut self) -> Option<(u64, u16)> {
        let size = self.mtu.next_probe(self.now, u64::MAX)?;
        assert!(size > self.mtu.current());
        let pn = self.next_pn;
        self.next_pn += 1;
        self.mtu.on_probe_sent(self.now, pn, size);
        assert_eq!(self.mtu.next_probe(self.now, u64::MAX), None, "one at a time");
        self.probes.push(size);
        Some((pn, size))
    }

    fn fate(&mut self, pn: u64, arrives: bool) -> SizeNews {
        let mut report = SizeReport::default();
        if arrives {
            report.on_acked(pn, 0, true, false);
        } else {
            report.on_lost(pn, 0, true);
        }
        self.mtu.on_report(self.now, &report)
    }

    fn search(&mut self) -> u16 {
        while self.probe().is_some() {}
        self.mtu.current()
    }

    fn acked(&mut self, size: u16) -> SizeNews {
        let mut report = SizeReport::default();
        report.on_acked(self.next_pn, size, false, false);
        self.mtu.on_report(self.now, &report)
    }

    fn late(&mut self, size: u16) -> SizeNews {
        let mut report = SizeReport::default();
        report.on_acked(self.next_pn, size, false, true);
        self.mtu.on_report(self.now, &report)
    }

    /// A small packet arrived, and these did not.
    fn lost(&mut self, sizes: &[u16]) -> SizeNews {
        let mut report = SizeReport::default();
        report.on_acked(self.next_pn, 30, false, false);
        self.mtu.on_report(self.now, &report);
        self.given_up(sizes)
    }

    /// A timer gave these up.
    fn given_up(&mut self, sizes: &[u16]) -> SizeNews {
        let mut report = SizeReport::default();
        sizes.iter().for_each(|size| report.on_lost(self.next_pn, *size, false));
        self.mtu.on_report(self.now, &report)
    }
}

fn config() -> TransportConfigBuilder {
    TransportConfig::builder()
}

// covers: R9000-14.3-01
#[test]
fn the_ceiling_is_tried_first_and_one_probe_is_enough() {
    let mut link = Link::new(1500, config());
    assert_eq!((link.mtu.current(), BASE), (1200, 1200));
    assert_eq!(link.search(), 1452);
    assert_eq!(link.probes, [1452]);
    link.now += RAISE * 10;
    assert_eq!(link.probe(), None, "there is nothing larger to find");
}

// covers: R9000-14.2-01
#[test]
fn what_the_path_carries_is_found_but_for_a_few_bytes() {
    for ceiling in [1452, 8952, 65_507] {
        for carries in (1200..1500).step_by(7).chain([2000, 8952, 65_000]) {
            let mut link = Link::new(carries, config().mtu_upper_bound(Some(ceiling)));
            let found = link.search();
            assert!(found <= carries.min(ceiling));
            assert!(
                u32::from(carries.min(ceiling)) <= u32::from(found) * 65 / 64 + 2,
                "{found} of {carries}"
            );
            let sizes = link.probes.chunk_by(|a, b| a == b).count();
            assert!(sizes <= if ceiling == 1452 { 7 } else { 16 }, "{:?}", link.probes);
        }
    }
}

#[test]
fn three_lost_probes_in_a_row_settle_a_size_and_fewer_do_not() {
    let mut link = Link::new(1452, config());
    for _ in 1..MAX_PROBES {
        let (pn, size) = link.send().unwrap();
        assert_eq!((link.fate(pn, false), size), (SizeNews::ProbeLost, 1452));
    }
    assert_eq!(link.probe(), Some(SizeNews::Larger));
    assert_eq!(link.mtu.current(), 1452);

    let mut link = Link::new(1399, config());
    link.search();
    assert_eq!(link.probes[..4], [1452, 1452, 1452, 1326]);
}

#[test]
fn a_search_that_ended_below_the_ceiling_is_repeated() {
    let mut link = Link::new(1300, config());
    let found = link.search();
    let probes = link.probes.len();
    link.carries = 1500;
    link.now += RAISE - SECOND * 10;
    assert_eq!(link.probe(), None);
    link.now += SECOND * 10;
    assert_eq!(link.search(), 1452);
    assert_eq!(link.probes[probes..], [1452], "{found}");
}

#[test]
fn nothing_larger_than_the_peer_takes_is_tried() {
    let mut link = Link::new(65_535, config().mtu_upper_bound(Some(9000)).initial_mtu(1400));
    link.mtu.limit(1300);
    assert_eq!(link.search(), 1300);
    assert_eq!(link.probes, [0_u16; 0]);
    let mut link = Link::new(65_535, config().mtu_upper_bound(Some(9000)));
    link.mtu.limit(1472);
    link.mtu.limit(u64::MAX);
    assert_eq!(link.search(), 1472);
    link.mtu.limit(10);
    assert_eq!(link.mtu.current(), 1200, "the least that every peer takes");
}

#[test]
fn room_in_the_window_bounds_a_probe() {
    let mut link = Link::new(65_535, config().mtu_upper_bound(Some(60_000)));
    assert_eq!(link.mtu.next_probe(link.now, 1200), None);
    assert_eq!(link.mtu.next_probe(link.now, 6000), Some(6000));
    let (pn, _) = link.send().unwrap();
    link.fate(pn, true);
    assert_eq!(link.mtu.current(), 60_000);
}

#[test]
fn on_loopback_the_bound_is_another() {
    let loopback = [127, 0, 0, 1];
    assert_eq!(discovery(loopback, config()).next_probe(epoch(), u64::MAX), Some(65_488));
    let bounded = config().loopback_mtu_upper_bound(9000);
    assert_eq!(discovery(loopback, bounded).next_probe(epoch(), u64::MAX), Some(9000));
    let off = config().mtu_upper_bound(None);
    assert_eq!(discovery(loopback, off).next_probe(epoch(), u64::MAX), None);
}

#[test]
fn the_fate_of_an_older_probe_means_nothing() {
    let mut link = Link::new(1500, config());
    link.next_pn = 7;
    let (pn, _) = link.send().unwrap();
    assert_eq!(link.fate(pn - 1, true), SizeNews::None);
    assert_eq!(link.fate(pn - 1, false), SizeNews::None);
    assert_eq!(link.mtu.current(), 1200);
    let mut report = SizeReport::default();
    report.on_acked(pn, 1452, true, true);
    assert_eq!(link.mtu.on_report(link.now, &report), SizeNews::None, "it had been declared lost");
}

#[test]
fn a_path_that_swallows_what_it_carried_is_noticed() {
    let mut link = Link::new(1500, config());
    link.search();
    for _ in 0..2 {
        assert_eq!(link.lost(&[1452, 1452, 600]), SizeNews::None);
        assert_eq!(link.acked(1200), SizeNews::None);
    }
    assert_eq!(link.lost(&[1452]), SizeNews::BlackHole);
    assert_eq!(link.mtu.current(), BASE);
    // Not at once, or a path that changes its mind would be probed all the time.
    assert_eq!(link.probe(), None);
    link.carries = 1300;
    link.now += SECOND * 10;
    assert!((1270..=1300).contains(&link.search()));
    // It may happen again, and then it takes longer.
    link.carries = 1250;
    (0..2).for_each(|_| assert_eq!(link.lost(&[link.mtu.current()]), SizeNews::None));
    assert_eq!(link.lost(&[link.mtu.current()]), SizeNews::BlackHole);
    link.now += SECOND * 19;
    assert_eq!(link.probe(), None);
    link.now += SECOND;
    assert!((1225..=1250).contains(&link.search()));
}

#[test]
fn congestion_is_not_taken_for_a_black_hole() {
    let mut link = Link::new(1500, config());
    link.search();
    for _ in 0..100 {
        link.lost(&[1452; 40]);
        link.acked(1452);
        assert_eq!(link.lost(&[1452]), SizeNews::None);
        assert_eq!(link.lost(&[1452]), SizeNews::None);
        link.acked(1452);
    }
    // Small packets get lost everywhere; and smaller ones that arrive tell nothing about larger ones.
    (0..10).for_each(|_| assert_eq!(link.lost(&[1200, 30]), SizeNews::None));
    link.lost(&[1452]);
    link.lost(&[1300]);
    link.acked(1350);
    link.lost(&[1452]);
    assert_eq!(link.mtu.current(), 1452);
    assert_eq!(link.lost(&[1400]), SizeNews::BlackHole, "1452, 1452 and 1400, and only 1350 arrived");
}

/// What overtook them was smaller, or nothing did and timers gave them up.
#[test]
fn packets_that_are_late_take_a_black_hole_back() {
    let mut link = Link::new(1500, config());
    link.search();
    for _ in 0..3 {
        (0..2).for_each(|_| assert_eq!(link.lost(&[1452]), SizeNews::None));
        assert_eq!(link.lost(&[1452]), SizeNews::BlackHole);
        assert_eq!(link.acked(1452), SizeNews::None, "it may have been sent before");
        assert_eq!(link.late(1200), SizeNews::None);
        assert_eq!((link.late(1452), link.mtu.current()), (SizeNews::Larger, 1452));
        assert_eq!(link.probe(), None);
    }
    // Unless the system refused them.
    let news = [1452; 3].map(|size| link.lost(&[size]));
    assert_eq!(news[2], SizeNews::BlackHole);
    link.now += SECOND * 10;
    link.carries = 1300;
    let found = link.search();
    assert!(link.mtu.on_refused(found));
    assert_eq!((link.late(1300), link.mtu.current()), (SizeNews::None, BASE));
}

#[test]
fn silence_is_not_taken_for_a_black_hole() {
    let mut link = Link::new(1500, config());
    link.search();
    (0..10).for_each(|_| assert_eq!(link.given_up(&[1452]), SizeNews::None));
    assert_eq!(link.lost(&[1452]), SizeNews::None);
    assert_eq!(link.lost(&[1452]), SizeNews::BlackHole);
}

/// They were under way when the black hole was found, and are given up one by one.
#[test]
fn what_was_sent_before_a_black_hole_is_no_sign_of_another() {
    let mut link = Link::new(1500, config());
    link.search();
    let news = [1452; 3].map(|size| link.lost(&[size]));
    assert_eq!(news[2], SizeNews::BlackHole);
    (0..3).for_each(|_| assert_eq!(link.lost(&[1452]), SizeNews::None));
    link.now += SECOND * 10;
    assert_eq!((link.search(), link.mtu.current()), (1452, 1452));
}

#[test]
fn a_black_hole_is_left_even_if_nothing_is_ever_probed() {
    let mut link = Link::new(1500, config().mtu_upper_bound(None).initial_mtu(1452));
    assert_eq!(link.probe(), None);
    (0..2).for_each(|_| assert_eq!(link.lost(&[1452]), SizeNews::None));
    assert_eq!(link.lost(&[1452]), SizeNews::BlackHole);
    assert_eq!(link.mtu.current(), BASE);
    link.now += RAISE * 10;
    assert_eq!(link.probe(), None);
}

#[test]
fn what_the_system_refuses_is_as_good_as_lost() {
    let mut link = Link::new(1500, config());
    let mut pn = 0;
    for _ in 0..MAX_PROBES {
        let (probe, size) = link.send().unwrap();
        assert!(!link.mtu.on_refused(size), "the size in use is as it was");
        pn = probe;
    }
    assert_eq!(link.mtu.next_probe(link.now, u64::MAX), Some(1326), "it never left: the next may go at once");
    assert_eq!(link.fate(pn, false), SizeNews::None);
    link.carries = 1400;
    link.search();
    let found = link.mtu.current();
    link.carries = 1300;
    assert!(link.mtu.on_refused(found));
    assert_eq!(link.mtu.current(), BASE);
    assert!((1270..=1300).contains(&link.search()), "the search begins at once");
    let found = link.mtu.current();
    assert!(!link.mtu.on_refused(1452) && !link.mtu.on_refused(1200));
    assert_eq!(link.mtu.current(), found);
}

#[test]
fn a_path_that_is_used_again_is_searched_again() {
    let mut link = Link::new(1500, config());
    let (pn, _) = link.send().unwrap();
    link.mtu.forget_probe();
    assert_eq!(link.fate(pn, true), SizeNews::None);
    assert_eq!(link.search(), 1452);
}
