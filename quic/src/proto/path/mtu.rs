//! The largest datagram that a path carries: DPLPMTUD (RFC 9000 §14, RFC 8899).
//!
//! Owned by the [`Path`](super::Path). Sizes are bytes of UDP payload. Larger ones are tried with probes, datagrams
//! that hold nothing that must not get lost; what the kernel or routers claim is not asked, as anybody can forge it. A
//! search begins when the handshake is confirmed, and again some time after the last one ended. No timer wakes an idle
//! connection for that.

use std::time::{Duration, Instant};

use crate::config::TransportConfig;
use crate::packet::{FourTuple, MIN_DATAGRAM_SIZE, PacketNumber};

/// The least that a path must carry (RFC 9000 §14): BASE_PLPMTU and MIN_PLPMTU.
pub const BASE: u16 = MIN_DATAGRAM_SIZE as u16;

/// So many lost probes of one size, and the path does not carry it (RFC 8899 §5.1.2).
pub(super) const MAX_PROBES: u8 = 3;

/// A search that ended below the ceiling is repeated after this time: PMTU_RAISE_TIMER.
pub(super) const RAISE: Duration = Duration::from_secs(600);

/// After a black hole the next search comes sooner; this time doubles with each, up to [`RAISE`].
const BLACK_HOLE_PAUSE: Duration = Duration::from_secs(10);

/// What fits Ethernet, with the IPv6 header: the most likely size between what is known and what failed.
const ETHERNET: u16 = 1452;

/// So many losses in a row of what is larger than [`BASE`] are a black hole.
const BLACK_HOLE: usize = 3;

/// Finds out how large datagrams may be on one path.
#[derive(Debug, Clone)]
pub struct MtuDiscovery {
    /// The size in use: PLPMTU.
    current: u16,
    /// Nothing larger is tried: MAX_PLPMTU.
    ceiling: u16,
    /// This size failed, or is above the ceiling.
    too_large: u16,
    /// Probes may be sent at all.
    enabled: bool,
    search: Search,
    /// The one probe under way.
    probe: Option<Probe>,
    /// Probes of the size under trial that were lost in a row: PROBE_COUNT.
    lost_probes: u8,
    suspicion: Suspicion,
    /// The size before the last black hole, until a search finds another.
    before_black_hole: Option<u16>,
    black_hole_pause: Duration,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Search {
    Active,
    /// Until then, or for good.
    Paused(Option<Instant>),
}

#[derive(Debug, Copy, Clone)]
struct Probe {
    pn: PacketNumber,
    size: u16,
    sent: Instant,
}

/// What the fates of packets say about sizes, gathered while an ACK frame or a timer is dealt with.
#[derive(Debug, Default, Copy, Clone)]
pub struct SizeReport {
    /// The largest packet that arrived, probes aside; 0 if none did.
    pub largest_acked: u16,
    /// The largest of those that had been declared lost before.
    pub largest_late: u16,
    /// The smallest of those lost that are larger than [`BASE`], probes aside.
    pub smallest_lost: Option<u16>,
    /// The probe that arrived.
    pub probe_acked: Option<PacketNumber>,
    /// The probe that was lost.
    pub probe_lost: Option<PacketNumber>,
}

impl SizeReport {
    /// A packet arrived; `late` if it had been declared lost.
    pub fn on_acked(&mut self, pn: PacketNumber, size: u16, is_probe: bool, late: bool) {
        if !is_probe {
            self.largest_acked = self.largest_acked.max(size);
            if late {
                self.largest_late = self.largest_late.max(size);
            }
        } else if !late {
            self.probe_acked = self.probe_acked.max(Some(pn));
        }
    }

    /// A packet was declared lost.
    pub fn on_lost(&mut self, pn: PacketNumber, size: u16, is_probe: bool) {
        if is_probe {
            self.probe_lost = self.probe_lost.max(Some(pn));
        } else if size > BASE {
            self.smallest_lost = Some(self.smallest_lost.map_or(size, |least| least.min(size)));
        }
    }
}

/// What a report led to.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum SizeNews {
    /// Nothing.
    None,
    /// The path carries larger datagrams than before.
    Larger,
    /// A probe is lost.
    ProbeLost,
    /// The path swallows what it used to carry: back to [`BASE`].
    BlackHole,
}

impl MtuDiscovery {
    /// For a path that nothing was sent on yet.
    #[must_use]
    pub fn new(config: &TransportConfig, path: &FourTuple) -> Self {
        let current = config.initial_mtu.max(BASE);
        let bound = match config.mtu_upper_bound {
            Some(_) if path.remote.ip().is_loopback() => config.loopback_mtu_upper_bound,
            bound => bound.unwrap_or(0),
        };
        let mut discovery = Self {
            current,
            ceiling: current.max(bound),
            too_large: u16::MAX,
            enabled: bound > 0,
            search: Search::Active,
            probe: None,
            lost_probes: 0,
            suspicion: Suspicion::default(),
            before_black_hole: None,
            black_hole_pause: BLACK_HOLE_PAUSE,
        };
        discovery.restart();
        discovery
    }

    /// The size of the largest datagrams that may be sent, probes aside.
    #[must_use]
    pub fn current(&self) -> u16 {
        self.current
    }

    /// The peer takes no larger datagrams than this.
    pub fn limit(&mut self, largest: u64) {
        let largest = u16::try_from(largest).unwrap_or(u16::MAX).max(BASE);
        self.ceiling = self.ceiling.min(largest);
        self.current = self.current.min(largest);
        self.too_large = self.too_large.min(self.ceiling.saturating_add(1));
    }

    /// No probes are sent from now on.
    pub fn forbid_probes(&mut self) {
        self.enabled = false;
    }

    /// Nothing more will be heard of the probe under way: the path was left.
    pub fn forget_probe(&mut self) {
        self.probe = None;
    }

    /// The size of the probe to send now, if one is wanted, of at most `most` bytes.
    pub fn next_probe(&mut self, now: Instant, most: u64) -> Option<u16> {
        if !self.enabled || self.probe.is_some() {
            return None;
        }
        match self.search {
            Search::Active => {}
            Search::Paused(until) if until.is_some_and(|until| now >= until) => {
                self.search = Search::Active;
                self.restart();
            }
            Search::Paused(_) => return None,
        }
        let wanted = self.candidate()?;
        let size = wanted.min(u16::try_from(most).unwrap_or(u16::MAX));
        (size == wanted || self.is_worth_it(size)).then_some(size)
    }

    /// A probe was sent.
    pub fn on_probe_sent(&mut self, now: Instant, pn: PacketNumber, size: u16) {
        debug_assert!(self.probe.is_none());
        self.probe = Some(Probe { pn, size, sent: now });
    }

    /// Packets met their fates.
    pub fn on_report(&mut self, now: Instant, report: &SizeReport) -> SizeNews {
        self.suspicion.on_acked(report.largest_acked);
        // What is larger than the size in use was sent before that, and nothing as large is sent that could take it back.
        if let Some(size) = report.smallest_lost.filter(|size| *size <= self.current) {
            self.suspicion.on_lost(size);
        }
        let mut news = SizeNews::None;
        if self.take_back(report.largest_late) {
            news = SizeNews::Larger;
        }
        if let Some(probe) = self.take_probe(report.probe_acked) {
            self.lost_probes = 0;
            if probe.size > self.current {
                self.current = probe.size;
                self.before_black_hole = None;
                news = SizeNews::Larger;
            }
            self.end_search(probe.sent);
        }
        if let Some(probe) = self.take_probe(report.probe_lost) {
            self.on_probe_lost(&probe);
            news = SizeNews::ProbeLost;
        }
        if self.suspicion.is_certain() && self.current > BASE {
            let before = self.current;
            self.fall_back();
            self.before_black_hole = Some(before);
            self.search = Search::Paused(Some(now + self.black_hole_pause));
            self.black_hole_pause = (self.black_hole_pause * 2).min(RAISE);
            news = SizeNews::BlackHole;
        }
        news
    }

    /// The system refused a datagram of this size, as if its interface did not carry it. True if that changes the size in
    /// use. It never left: a probe is lost, and the next one may go at once.
    pub fn on_refused(&mut self, size: u16) -> bool {
        if let Some(probe) = self.probe.take_if(|probe| probe.size == size) {
            self.on_probe_lost(&probe);
            return false;
        }
        if size <= BASE || size > self.current {
            return false;
        }
        self.fall_back();
        self.search = Search::Active;
        self.too_large = size;
        true
    }

    /// A packet of that size was late, not lost: if losses of such packets were taken for a black hole, there was none.
    fn take_back(&mut self, late: u16) -> bool {
        let is_sound = |before: &mut u16| late > BASE && late <= *before;
        if late > self.ceiling || self.before_black_hole.take_if(is_sound).is_none() {
            return false;
        }
        self.current = late;
        self.restart();
        self.search = if late < self.ceiling { Search::Active } else { Search::Paused(None) };
        self.black_hole_pause = (self.black_hole_pause / 2).max(BLACK_HOLE_PAUSE);
        true
    }

    fn take_probe(&mut self, pn: Option<PacketNumber>) -> Option<Probe> {
        let pn = pn?;
        self.probe.take_if(|probe| probe.pn == pn)
    }

    /// A new search: all sizes up to the ceiling are open again.
    fn restart(&mut self) {
        self.too_large = self.ceiling.saturating_add(1);
        self.lost_probes = 0;
    }

    /// The size to try next: the ceiling, what is most common, then the middle of what is open.
    fn candidate(&self) -> Option<u16> {
        if self.current >= self.ceiling {
            None
        } else if self.too_large > self.ceiling {
            Some(self.ceiling)
        } else if self.is_worth_it(ETHERNET) && ETHERNET < self.too_large {
            Some(ETHERNET)
        } else {
            Some(self.current.midpoint(self.too_large)).filter(|size| self.is_worth_it(*size))
        }
    }

    /// A gain of less than a percent is not worth a probe.
    fn is_worth_it(&self, size: u16) -> bool {
        size > self.current.saturating_add(self.current / 128)
    }

    fn on_probe_lost(&mut self, probe: &Probe) {
        self.lost_probes += 1;
        if self.lost_probes < MAX_PROBES {
            return;
        }
        self.lost_probes = 0;
        self.too_large = self.too_large.min(probe.size).max(self.current.saturating_add(1));
        self.end_search(probe.sent);
    }

    /// Ends the search if nothing is left to try.
    fn end_search(&mut self, now: Instant) {
        if self.candidate().is_none() {
            self.search = Search::Paused((self.current < self.ceiling).then_some(now + RAISE));
        }
    }

    fn fall_back(&mut self) {
        self.current = BASE;
        self.before_black_hole = None;
        self.probe = None;
        self.suspicion = Suspicion::default();
        self.restart();
    }
}

/// Losses since which nothing as large was acknowledged.
///
/// What is lost together counts once: a queue that overflows drops many. So does what timers give up before anything else
/// arrives. While losses are due to the size, the probes of
/// timers, which are small, are all that arrives.
#[derive(Debug, Default, Copy, Clone)]
struct Suspicion {
    /// The smallest packet of each loss.
    losses: [u16; BLACK_HOLE],
    count: usize,
    /// Something was acknowledged since the last of them: the path is not just silent, or late.
    heard: bool,
}

impl Suspicion {
    fn on_acked(&mut self, size: u16) {
        self.heard |= size > 0;
        if self.count > 0 && size > BASE {
            let kept = self.losses.iter().take(self.count).copied().filter(|lost| *lost > size);
            let mut losses = [0; BLACK_HOLE];
            self.count = kept.zip(&mut losses).map(|(lost, slot)| *slot = lost).count();
            self.losses = losses;
        }
    }

    fn on_lost(&mut self, size: u16) {
        if !std::mem::take(&mut self.heard)
            && let Some(last) = self.losses.iter_mut().take(self.count).last()
        {
            *last = size.min(*last);
        } else if let Some(slot) = self.losses.get_mut(self.count) {
            *slot = size;
            self.count += 1;
        }
    }

    fn is_certain(&self) -> bool {
        self.count == BLACK_HOLE
    }
}
