//! An application that opens streams, sends what the seed says, and checks each byte that arrives.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::packet::{Dir, Side, StreamId};
use crate::proto::streams::{RecvChunk, StreamEvent, Streams};
use crate::wire::VarInt;

/// What both ends are going to do. Each knows what the other sends, so that it can check it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Streams that the client opens, by direction; then those of the server.
    pub(super) streams: [[u64; 2]; 2],
    /// No stream is longer, bytes.
    pub(super) longest: u64,
    /// All streams are that long.
    pub(super) all_longest: bool,
    /// Bytes of a stream that are written and not acknowledged.
    pub(super) send_budget: u64,
    /// Some streams are reset by the sender or stopped by the receiver.
    pub(super) abandon: bool,
    /// Reads one piece at a time and waits so long in between.
    pub(super) read_pause: Option<Duration>,
}

impl Plan {
    /// What one end sends on a stream, bytes. Some streams are empty.
    fn len(&self, id: StreamId, sender: Side) -> u64 {
        let hash = scatter(self.seed ^ id.as_u64() << 8 ^ (sender as u64) << 7);
        match hash % 8 {
            _ if self.all_longest => self.longest,
            0 => hash >> 8 & 1,
            1..=3 => (hash >> 8) % 2000.min(self.longest + 1),
            4..=6 => (hash >> 8) % (self.longest / 4 + 1),
            _ => self.longest - (hash >> 8) % (self.longest / 4 + 1),
        }
    }

    /// How one end's sending on a stream is meant to end.
    fn ending(&self, id: StreamId, sender: Side) -> Ending {
        let hash = scatter(!self.seed ^ id.as_u64() << 8 ^ (sender as u64) << 7);
        let at = (hash >> 8) % (self.len(id, sender) + 1);
        match hash % 8 {
            0 if self.abandon => Ending::Reset(at),
            1 if self.abandon => Ending::Stop(at),
            _ => Ending::Finish,
        }
    }

    fn streams(&self, side: Side, dir: Dir) -> u64 {
        self.streams[side as usize][dir.index()]
    }

    /// All bytes that both ends send.
    pub(super) fn bytes(&self) -> u64 {
        let mut sum = 0;
        for opener in [Side::Client, Side::Server] {
            for dir in Dir::ALL {
                for index in 0..self.streams(opener, dir) {
                    let id = StreamId::new(opener, dir, index);
                    sum += self.len(id, opener);
                    sum += if dir == Dir::Bi { self.len(id, opener.peer()) } else { 0 };
                }
            }
        }
        sum
    }
}

fn scatter(value: u64) -> u64 {
    let z = (value ^ value >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (z ^ z >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3
}

/// The byte at this position of a stream; it tells streams, senders and positions apart.
fn byte(id: StreamId, sender: Side, offset: u64) -> u8 {
    let mixed = offset ^ offset >> 8 ^ offset >> 16;
    (mixed as u8)
        .wrapping_mul(31)
        .wrapping_add((id.as_u64() as u8).wrapping_mul(7))
        .wrapping_add(sender as u8)
}

/// How sending on a stream ends.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Ending {
    Finish,
    /// The sender resets it when it has written so much.
    Reset(u64),
    /// The receiver stops it when it has read so much, if it comes to that before the end.
    Stop(u64),
}

/// Every other reset lets the first half of what was written be delivered.
fn delivers_half(id: StreamId) -> bool {
    id.index() % 2 == 1
}

/// The code of resets, and that of stops.
const RESET: VarInt = VarInt::from_u32(9);
const STOP: VarInt = VarInt::from_u32(5);

#[derive(Debug, Default)]
struct Sending {
    written: u64,
    acked: u64,
    /// FIN was written, or the stream reset by either end.
    ended: bool,
    /// The peer has everything, or knows that it will not get it.
    done: bool,
}

#[derive(Debug, Default)]
struct Receiving {
    read: u64,
    done: bool,
}

/// One end's application.
#[derive(Debug)]
pub(super) struct App {
    side: Side,
    plan: Plan,
    connected: bool,
    opened: [u64; 2],
    sending: BTreeMap<StreamId, Sending>,
    receiving: BTreeMap<StreamId, Receiving>,
    readable: VecDeque<StreamId>,
    next_read: Option<Instant>,
}

impl App {
    pub(super) fn new(side: Side, plan: Plan) -> Self {
        Self {
            side,
            plan,
            connected: false,
            opened: [0; 2],
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            readable: VecDeque::new(),
            next_read: None,
        }
    }

    pub(super) fn on_connected(&mut self) {
        self.connected = true;
    }

    pub(super) fn on_event(&mut self, event: &StreamEvent) {
        match *event {
            StreamEvent::Opened(id) => {
                assert_eq!(id.initiator(), self.side.peer());
                assert!(id.index() < self.plan.streams(id.initiator(), id.dir()), "{id:?} was not planned");
                if id.dir() == Dir::Bi {
                    self.sending.entry(id).or_default();
                }
            }
            StreamEvent::Readable(id) => self.readable.push_back(id),
            StreamEvent::Acked { id, bytes } => {
                let sending = self.sending.get_mut(&id).expect("acknowledged what was not sent");
                sending.acked += bytes;
                assert!(sending.acked <= sending.written);
            }
            StreamEvent::Finished(id) => {
                assert_eq!(self.sending[&id].written, self.plan.len(id, self.side));
                self.sent(id);
            }
            StreamEvent::ResetAcked(id) => {
                assert_ne!(self.plan.ending(id, self.side), Ending::Finish);
                self.sent(id);
            }
            StreamEvent::Stopped { id, code } => {
                assert!(matches!(self.plan.ending(id, self.side), Ending::Stop(_)) && code == STOP);
                self.sending.get_mut(&id).expect("stopped what was not sent").ended = true;
            }
            StreamEvent::Limit { .. } => {}
        }
    }

    fn sent(&mut self, id: StreamId) {
        let sending = self.sending.get_mut(&id).expect("told of what was not sent");
        assert!(!std::mem::replace(&mut sending.done, true), "{id:?} ended twice");
    }

    /// Does what can be done now. True if that was anything.
    pub(super) fn act(&mut self, now: Instant, streams: &mut Streams) -> bool {
        let mut acted = self.read(now, streams);
        if self.connected {
            acted |= self.open(streams);
        }
        acted | self.write(streams)
    }

    /// When it wants to act again by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_read.filter(|_| !self.readable.is_empty())
    }

    fn open(&mut self, streams: &mut Streams) -> bool {
        let mut acted = false;
        for dir in Dir::ALL {
            let opened = &mut self.opened[dir.index()];
            let planned = self.plan.streams(self.side, dir);
            while *opened < planned.min(streams.local_limit(dir)) {
                self.sending.insert(StreamId::new(self.side, dir, *opened), Sending::default());
                *opened += 1;
                acted = true;
            }
            if *opened < planned {
                streams.report_open_blocked(dir);
            }
        }
        acted
    }

    fn write(&mut self, streams: &mut Streams) -> bool {
        let mut acted = false;
        for (&id, sending) in &mut self.sending {
            if sending.ended {
                continue;
            }
            let ending = self.plan.ending(id, self.side);
            let len =
                self.plan.len(id, self.side).min(if let Ending::Reset(at) = ending { at } else { u64::MAX });
            while sending.written < len && sending.written - sending.acked < self.plan.send_budget {
                let piece = 1 + scatter(self.plan.seed ^ sending.written) % 9000;
                let end = len.min(sending.written + piece);
                let data: Bytes = (sending.written..end).map(|at| byte(id, self.side, at)).collect();
                streams.write(id, data);
                sending.written = end;
                acted = true;
            }
            if sending.written == len {
                match ending {
                    Ending::Reset(at) if delivers_half(id) => {
                        assert!(streams.reset_at(id, RESET, at / 2));
                    }
                    Ending::Reset(_) => streams.reset(id, RESET),
                    Ending::Finish | Ending::Stop(_) => streams.finish(id),
                }
                sending.ended = true;
                acted = true;
            }
        }
        acted
    }

    fn read(&mut self, now: Instant, streams: &mut Streams) -> bool {
        let mut acted = false;
        while let Some(&id) = self.readable.front() {
            if self.next_read.is_some_and(|at| at > now) {
                break;
            }
            if self.wants_to_stop(id) {
                streams.stop(id, STOP);
                self.receiving.entry(id).or_default().done = true;
                self.readable.retain(|readable| *readable != id);
                acted = true;
                continue;
            }
            let Some(chunk) = streams.read(id) else {
                self.readable.pop_front();
                continue;
            };
            acted = true;
            self.check(id, &chunk);
            match chunk {
                RecvChunk::Data(data) => streams.consumed(id, data.len() as u64),
                RecvChunk::Finished | RecvChunk::Reset(_) | RecvChunk::ResetAt(_) => streams.release(id),
            }
            self.next_read = self.plan.read_pause.map(|pause| now + pause);
        }
        acted
    }

    fn wants_to_stop(&self, id: StreamId) -> bool {
        let (read, done) =
            self.receiving.get(&id).map_or((0, false), |receiving| (receiving.read, receiving.done));
        matches!(self.plan.ending(id, self.side.peer()), Ending::Stop(at) if read >= at) && !done
    }

    fn check(&mut self, id: StreamId, chunk: &RecvChunk) {
        let sender = self.side.peer();
        let receiving = self.receiving.entry(id).or_default();
        assert!(!receiving.done, "{id:?} goes on after its end: {chunk:?}");
        match chunk {
            RecvChunk::Data(data) => {
                assert!(!data.is_empty());
                for (at, received) in (receiving.read..).zip(data) {
                    assert_eq!(*received, byte(id, sender, at), "{id:?} at {at}");
                }
                receiving.read += data.len() as u64;
            }
            RecvChunk::Finished => {
                assert_eq!(receiving.read, self.plan.len(id, sender), "{id:?} is not complete");
                receiving.done = true;
            }
            RecvChunk::Reset(code) | RecvChunk::ResetAt(code) => {
                let Ending::Reset(at) = self.plan.ending(id, sender) else { panic!("{id:?}: {code:?}") };
                assert_eq!(*code, RESET, "{id:?}");
                assert!(!delivers_half(id) || receiving.read >= at / 2, "{id:?}: {} bytes", receiving.read);
                receiving.done = true;
            }
        }
    }

    /// Whether everything planned was sent, received and acknowledged.
    pub(super) fn is_done(&self) -> bool {
        let peer = self.side.peer();
        let ours = Dir::ALL.map(|dir| self.plan.streams(self.side, dir));
        let theirs = Dir::ALL.map(|dir| self.plan.streams(peer, dir));
        let [bi, uni] = [0, 1].map(|dir| (ours[dir], theirs[dir]));
        let sent = self.sending.values().filter(|sending| sending.done).count() as u64;
        let received = self.receiving.values().filter(|receiving| receiving.done).count() as u64;
        sent == bi.0 + bi.1 + uni.0 && received == bi.0 + bi.1 + uni.1
    }
}
