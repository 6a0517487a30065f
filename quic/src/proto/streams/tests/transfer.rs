//! Two ends, a channel that loses, reorders and duplicates, and two applications that do anything at any time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::range_set::RangeSet;

/// What one application knows of a stream's sending part.
#[derive(Debug, Default)]
struct Sending {
    written: u64,
    acked: u64,
    finished: bool,
    reset: bool,
    /// What a reset promised to deliver all the same.
    reliable: u64,
    /// The peer has confirmed the end.
    done: bool,
}

/// What one application knows of a stream's receiving part.
#[derive(Debug, Default)]
struct Receiving {
    read: u64,
    consumed: u64,
    stopped: bool,
    finished: bool,
    reset: bool,
    /// Which bytes were read, where that goes without order.
    pieces: RangeSet,
}

#[derive(Debug)]
struct End {
    side: Side,
    streams: Streams,
    opened: [u64; 2],
    sending: BTreeMap<StreamId, Sending>,
    receiving: BTreeMap<StreamId, Receiving>,
}

/// Every third stream is read without order.
fn is_unordered(id: StreamId) -> bool {
    id.index() % 3 == 1
}

fn read_next(streams: &mut Streams, id: StreamId, part: &Receiving) -> Option<(u64, RecvChunk)> {
    if is_unordered(id) {
        streams.read_unordered(id)
    } else {
        streams.read(id).map(|chunk| (part.read, chunk))
    }
}

fn content(id: StreamId, side: Side, range: std::ops::Range<u64>) -> Bytes {
    let salt = id.as_u64().wrapping_mul(31).wrapping_add(side as u64 * 7);
    range.map(|i| (i ^ (i >> 8) ^ salt) as u8).collect()
}

impl End {
    fn new(side: Side) -> Self {
        let limits = StreamLimits { max_concurrent_bidi: 4, max_concurrent_uni: 3, ..limits() };
        let mut streams = Streams::new(side, limits);
        streams.set_peer_limits(as_peer_limits(limits));
        Self { side, streams, opened: [0; 2], sending: BTreeMap::new(), receiving: BTreeMap::new() }
    }

    /// Opens a stream and uses it, if that is permitted; the first use may come later.
    fn open(&mut self, dir: Dir) {
        let next = &mut self.opened[dir.index()];
        if *next < self.streams.local_limit(dir) {
            let id = StreamId::new(self.side, dir, *next);
            *next += 1;
            self.sending.insert(id, Sending::default());
            if dir == Dir::Bi {
                self.receiving.insert(id, Receiving::default());
            }
        } else {
            self.streams.report_open_blocked(dir);
        }
    }

    fn write(&mut self, pick: usize, len: u64) {
        let open = self.sending.iter_mut().filter(|(_, part)| !part.finished && !part.reset);
        if let Some((id, part)) = nth(open, pick) {
            self.streams.write(*id, content(*id, self.side, part.written..part.written + len));
            part.written += len;
        }
    }

    fn finish(&mut self, pick: usize) {
        if let Some((id, part)) = nth(self.sending.iter_mut(), pick) {
            part.finished |= !part.reset;
            self.streams.finish(*id);
        }
    }

    fn reset(&mut self, pick: usize) {
        if let Some((id, part)) = nth(self.sending.iter_mut().filter(|(_, part)| !part.done), pick) {
            (part.reset, part.reliable) = (true, 0);
            self.streams.reset(*id, code(1));
        }
    }

    fn reset_at(&mut self, pick: usize, size: u64) {
        if let Some((id, part)) = nth(self.sending.iter_mut().filter(|(_, part)| !part.done), pick) {
            let promised = if part.reset { part.reliable } else { part.written };
            (part.reset, part.reliable) = (true, promised.min(size));
            assert!(self.streams.reset_at(*id, code(1), size));
        }
    }

    fn stop(&mut self, pick: usize) {
        let open =
            self.receiving.iter_mut().filter(|(_, part)| !part.finished && !part.reset && !part.stopped);
        if let Some((id, part)) = nth(open, pick) {
            part.stopped = true;
            self.streams.stop(*id, code(2));
            assert_eq!(read_next(&mut self.streams, *id, part), None);
        }
    }

    fn read(&mut self, pick: usize, chunks: usize) {
        if let Some((id, part)) = nth(self.receiving.iter_mut().filter(|(_, part)| !part.stopped), pick) {
            Self::read_one(&mut self.streams, self.side, *id, part, chunks);
        }
    }

    fn read_one(streams: &mut Streams, side: Side, id: StreamId, part: &mut Receiving, chunks: usize) {
        for _ in 0..chunks {
            let Some((offset, chunk)) = read_next(streams, id, part) else { return };
            match chunk {
                RecvChunk::Data(data) => {
                    assert!(!part.finished && !part.reset && !data.is_empty());
                    let range = offset..offset + data.len() as u64;
                    assert_eq!(data, content(id, side.peer(), range.clone()), "{id:?} at {range:?}");
                    assert_eq!(part.pieces.overlapping(range.clone()).count(), 0, "{id:?}: {range:?} again");
                    part.pieces.insert(range);
                    part.read += data.len() as u64;
                }
                RecvChunk::Finished => {
                    assert!(!part.finished && !part.reset);
                    part.finished = true;
                }
                RecvChunk::Reset(_) | RecvChunk::ResetAt(_) => {
                    assert!(!part.finished && !part.reset);
                    part.reset = true;
                }
            }
        }
    }

    /// Gives back credit for a part of what was read, or for all and says that the end was seen.
    fn consume(&mut self, pick: usize, all: bool) {
        if let Some((id, part)) = nth(self.receiving.iter_mut(), pick) {
            let outstanding = part.read - part.consumed;
            let bytes = if all { outstanding } else { outstanding / 3 };
            part.consumed += bytes;
            self.streams.consumed(*id, bytes);
            if all && (part.finished || part.reset) {
                self.streams.release(*id);
            }
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.streams.poll_event() {
            match event {
                StreamEvent::Opened(id) => {
                    assert_eq!(id.initiator(), self.side.peer());
                    assert!(self.receiving.insert(id, Receiving::default()).is_none(), "told once");
                    if id.dir() == Dir::Bi {
                        self.sending.insert(id, Sending::default());
                    }
                }
                StreamEvent::Readable(id) => assert!(self.receiving.contains_key(&id)),
                StreamEvent::Acked { id, bytes } => {
                    let part = self.sending.get_mut(&id).unwrap();
                    part.acked += bytes;
                    assert!(bytes > 0 && part.acked <= part.written);
                }
                StreamEvent::Finished(id) => {
                    let part = self.sending.get_mut(&id).unwrap();
                    assert!(part.finished && !part.reset && !part.done && part.acked == part.written);
                    part.done = true;
                }
                StreamEvent::ResetAcked(id) => {
                    let part = self.sending.get_mut(&id).unwrap();
                    assert!(part.reset && !part.done);
                    part.done = true;
                }
                StreamEvent::Stopped { id, .. } => {
                    let part = self.sending.get_mut(&id).unwrap();
                    (part.reset, part.reliable) = (true, 0);
                }
                StreamEvent::Limit { dir, streams } => assert_eq!(streams, self.streams.local_limit(dir)),
            }
        }
    }
}

fn nth<T>(items: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    (!items.is_empty()).then(|| items.swap_remove(pick % items.len()))
}

#[derive(Debug, Clone)]
enum Step {
    Open {
        uni: bool,
    },
    Write {
        pick: usize,
        len: u64,
    },
    Finish {
        pick: usize,
    },
    Reset {
        pick: usize,
    },
    ResetAt {
        pick: usize,
        size: u64,
    },
    Stop {
        pick: usize,
    },
    Read {
        pick: usize,
        chunks: usize,
    },
    Consume {
        pick: usize,
        all: bool,
    },
    Priority {
        pick: usize,
        priority: Priority,
    },
    Send {
        size: usize,
    },
    /// A packet arrives; others may have left earlier.
    Arrive {
        pick: usize,
    },
    Duplicate {
        pick: usize,
    },
    /// An acknowledgment of a packet that arrived comes back.
    Ack {
        pick: usize,
    },
    /// The sender takes a packet for lost; if not `really`, it is only late.
    Lose {
        pick: usize,
        really: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        2 => any::<bool>().prop_map(|uni| Step::Open { uni }),
        6 => (pick.clone(), 0u64..700).prop_map(|(pick, len)| Step::Write { pick, len }),
        2 => pick.clone().prop_map(|pick| Step::Finish { pick }),
        1 => pick.clone().prop_map(|pick| Step::Reset { pick }),
        2 => (pick.clone(), 0u64..1000).prop_map(|(pick, size)| Step::ResetAt { pick, size }),
        1 => pick.clone().prop_map(|pick| Step::Stop { pick }),
        5 => (pick.clone(), 1usize..5).prop_map(|(pick, chunks)| Step::Read { pick, chunks }),
        4 => (pick.clone(), any::<bool>()).prop_map(|(pick, all)| Step::Consume { pick, all }),
        1 => (pick.clone(), 0u8..8, any::<bool>()).prop_map(|(pick, urgency, incremental)| Step::Priority {
            pick,
            priority: Priority::urgency(urgency, incremental),
        }),
        10 => (20usize..600).prop_map(|size| Step::Send { size }),
        9 => pick.clone().prop_map(|pick| Step::Arrive { pick }),
        1 => pick.clone().prop_map(|pick| Step::Duplicate { pick }),
        7 => pick.clone().prop_map(|pick| Step::Ack { pick }),
        3 => (pick, any::<bool>()).prop_map(|(pick, really)| Step::Lose { pick, really }),
    ]
}

struct World {
    /// Client, server.
    ends: [End; 2],
    /// Packets under way from each end.
    flying: [Vec<Packet>; 2],
    /// Packets from each end that arrived and were not acknowledged yet.
    arrived: [Vec<Packet>; 2],
}

impl World {
    fn new() -> Self {
        let ends = [End::new(Side::Client), End::new(Side::Server)];
        Self { ends, flying: Default::default(), arrived: Default::default() }
    }

    fn step(&mut self, from: usize, step: &Step) {
        let end = &mut self.ends[from];
        match *step {
            Step::Open { uni } => end.open(if uni { Dir::Uni } else { Dir::Bi }),
            Step::Write { pick, len } => end.write(pick, len),
            Step::Finish { pick } => end.finish(pick),
            Step::Reset { pick } => end.reset(pick),
            Step::ResetAt { pick, size } => end.reset_at(pick, size),
            Step::Stop { pick } => end.stop(pick),
            Step::Read { pick, chunks } => end.read(pick, chunks),
            Step::Consume { pick, all } => end.consume(pick, all),
            Step::Priority { pick, priority } => {
                if let Some((id, _)) = nth(end.sending.iter(), pick) {
                    end.streams.set_priority(*id, priority);
                }
            }
            Step::Send { size } => {
                let wanted = end.streams.wants_to_send();
                let packet = packet(&mut end.streams, size);
                assert!(wanted || packet.is_none());
                assert!(!wanted || size < 40 || packet.is_some(), "wants to send and does not");
                self.flying[from].extend(packet);
            }
            Step::Arrive { pick } => {
                if !self.flying[from].is_empty() {
                    let at = pick % self.flying[from].len();
                    let packet = self.flying[from].remove(at);
                    deliver(&packet, &mut self.ends[1 - from].streams);
                    self.arrived[from].push(packet);
                }
            }
            Step::Duplicate { pick } => {
                if let Some(packet) = nth(self.arrived[from].iter(), pick) {
                    deliver(packet, &mut self.ends[1 - from].streams);
                }
            }
            Step::Ack { pick } => {
                if !self.arrived[from].is_empty() {
                    let at = pick % self.arrived[from].len();
                    let packet = self.arrived[from].swap_remove(at);
                    acked(&mut end.streams, &packet);
                }
            }
            Step::Lose { pick, really } => {
                if !self.flying[from].is_empty() {
                    let at = pick % self.flying[from].len();
                    lost(&mut end.streams, &self.flying[from][at]);
                    if really {
                        self.flying[from].remove(at);
                    }
                }
            }
        }
        self.ends.iter_mut().for_each(End::hear);
    }

    /// A good channel and diligent applications: everything must come to its end.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 400, "stuck: {:#?}", self.ends);
            let mut moved = false;
            for from in [0, 1] {
                let end = &mut self.ends[from];
                for (id, part) in &mut end.sending {
                    if !part.finished && !part.reset {
                        part.finished = true;
                        end.streams.finish(*id);
                    }
                }
                for (id, part) in &mut end.receiving {
                    if !part.stopped {
                        End::read_one(&mut end.streams, end.side, *id, part, usize::MAX);
                    }
                    end.streams.consumed(*id, part.read - part.consumed);
                    part.consumed = part.read;
                    end.streams.release(*id);
                }
                while let Some(packet) = packet(&mut end.streams, 1200) {
                    self.flying[from].push(packet);
                }
                for packet in std::mem::take(&mut self.flying[from]) {
                    moved = true;
                    deliver(&packet, &mut self.ends[1 - from].streams);
                    self.arrived[from].push(packet);
                }
                for packet in std::mem::take(&mut self.arrived[from]) {
                    moved = true;
                    acked(&mut self.ends[from].streams, &packet);
                }
                self.ends.iter_mut().for_each(End::hear);
            }
            if !moved {
                return;
            }
        }
    }

    fn check(&self) {
        for from in [0, 1] {
            let (end, peer) = (&self.ends[from], &self.ends[1 - from]);
            let s = &end.streams;
            assert!(s.is_empty(), "{s:#?}");
            assert!(s.events.is_empty() && s.control.is_empty() && s.blocked.is_empty());
            assert!(s.repair.is_empty() && s.fresh.is_empty() && !s.wants_to_send());
            assert_eq!(s.sent, peer.streams.received.received(), "both ends count the same bytes");
            assert_eq!(s.received.received(), s.received.consumed(), "no credit leaks");
            assert!(!s.received.is_due());
            for dir in Dir::ALL {
                assert!(!s.remote(dir).is_due());
                assert!(s.local_limit(dir) > end.opened[dir.index()], "there is always one more stream");
            }
            for (id, sending) in &end.sending {
                assert!(sending.done, "{id:?} {sending:?}");
                let receiving = &peer.receiving[id];
                if !sending.reset && !receiving.stopped {
                    assert!(receiving.finished, "{id:?} {receiving:?}");
                    assert_eq!(receiving.read, sending.written);
                }
                assert!(!receiving.finished || receiving.read == sending.written);
                if !receiving.stopped {
                    assert!(receiving.finished || receiving.reset, "{id:?} {receiving:?}");
                    assert!(receiving.read >= sending.reliable, "{id:?} {sending:?} {receiving:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // covers: R9000-2.2-01, R9000-4.4-01, R9000-4.5-01
    #[test]
    fn whatever_happens_all_bytes_arrive_once_and_all_credit_comes_back(
        steps in prop::collection::vec((0usize..2, step()), 1..400),
    ) {
        let mut world = World::new();
        for (from, step) in &steps {
            world.step(*from, step);
        }
        world.settle();
        world.check();
    }
}
