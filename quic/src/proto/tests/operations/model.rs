//! What two applications know of their streams, and what must hold.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::packet::{Dir, Side, StreamId};
use crate::proto::streams::{RecvChunk, StreamEvent};
use crate::wire::VarInt;

/// One end's application.
#[derive(Debug)]
pub(super) struct App {
    pub(super) side: Side,
    opened: [u64; 2],
    pub(super) sending: BTreeMap<StreamId, Sending>,
    pub(super) receiving: BTreeMap<StreamId, Receiving>,
}

#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) written: u64,
    acked: u64,
    pub(super) finished: bool,
    /// The code of the first reset, and how much is delivered all the same.
    reset: Option<(VarInt, u64)>,
    /// The receiver wants no more.
    stopped: Option<VarInt>,
    done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Receiving {
    read: u64,
    /// Read, and not told to be consumed.
    pub(super) owed: u64,
    pub(super) readable: bool,
    pub(super) stopped: bool,
    ended: bool,
}

/// The byte at this position of a stream.
fn byte(id: StreamId, sender: Side, offset: u64) -> u8 {
    (offset ^ offset >> 8) as u8 ^ (id.as_u64() as u8).wrapping_mul(29) ^ (sender as u8) << 7
}

pub(super) fn piece(id: StreamId, sender: Side, offset: u64, len: u64) -> Bytes {
    (offset..offset + len).map(|at| byte(id, sender, at)).collect()
}

impl Sending {
    /// Nothing can be added any more.
    pub(super) fn has_ended(&self) -> bool {
        self.finished || self.reset.is_some() || self.stopped.is_some()
    }

    /// A reset with this code, after which so much is delivered. The first code counts, and the smallest size.
    pub(super) fn reset(&mut self, code: VarInt, keep: u64) {
        if self.done || self.stopped.is_some() {
            return;
        }
        let (code, before) = self.reset.unwrap_or((code, u64::MAX));
        self.reset = Some((code, before.min(keep).min(self.written)));
    }
}

impl App {
    pub(super) fn new(side: Side) -> Self {
        Self { side, opened: [0; 2], sending: BTreeMap::new(), receiving: BTreeMap::new() }
    }

    /// The next stream of this kind, if there may be one.
    pub(super) fn open(&mut self, dir: Dir, limit: u64) {
        let next = &mut self.opened[dir.index()];
        if *next < limit {
            let id = StreamId::new(self.side, dir, *next);
            *next += 1;
            self.sending.insert(id, Sending::default());
            if dir == Dir::Bi {
                self.receiving.insert(id, Receiving::default());
            }
        }
    }

    /// What the connection tells.
    pub(super) fn on_event(&mut self, event: &StreamEvent) {
        match *event {
            StreamEvent::Opened(id) => {
                assert_eq!(id.initiator(), self.side.peer());
                self.receiving.entry(id).or_default();
                if id.dir() == Dir::Bi {
                    self.sending.entry(id).or_default();
                }
            }
            StreamEvent::Readable(id) => {
                self.receiving.get_mut(&id).expect("a stream that nobody opened").readable = true;
            }
            StreamEvent::Acked { id, bytes } => {
                let sending = self.sending.get_mut(&id).expect("acknowledged what was not sent");
                sending.acked += bytes;
                assert!(sending.acked <= sending.written, "{id:?}");
            }
            StreamEvent::Finished(id) => {
                let sending = self.sending.get_mut(&id).expect("finished what was not sent");
                assert!(sending.finished && !std::mem::replace(&mut sending.done, true), "{id:?}");
                assert_eq!(sending.acked, sending.written, "{id:?}");
            }
            StreamEvent::ResetAcked(id) => {
                let sending = self.sending.get_mut(&id).expect("reset what was not sent");
                assert!(sending.reset.is_some() || sending.stopped.is_some(), "{id:?}");
                assert!(!std::mem::replace(&mut sending.done, true), "{id:?} ended twice");
            }
            StreamEvent::Stopped { id, code } => {
                let sending = self.sending.get_mut(&id).expect("stopped what was not sent");
                assert!(!sending.done && sending.stopped.is_none(), "{id:?}");
                sending.stopped = Some(code);
            }
            StreamEvent::Limit { .. } => {}
        }
    }

    /// Holds a piece that was read against what the sender knows. True if it was the last.
    pub(super) fn on_chunk(&mut self, id: StreamId, chunk: &RecvChunk, sender: &Self) -> bool {
        let receiving = self.receiving.get_mut(&id).expect("a stream that nobody opened");
        let sending = &sender.sending[&id];
        assert!(!receiving.ended && !receiving.stopped, "{id:?} goes on after its end: {chunk:?}");
        match chunk {
            RecvChunk::Data(data) => {
                let len = data.len() as u64;
                assert!(*data == piece(id, sender.side, receiving.read, len), "{id:?} at {}", receiving.read);
                receiving.read += len;
                assert!(len > 0 && receiving.read <= sending.written, "{id:?}");
                return false;
            }
            RecvChunk::Finished => {
                assert!(sending.finished && receiving.read == sending.written, "{id:?}: {sending:?}");
            }
            RecvChunk::Reset(code) => {
                assert!(sending.reset.is_some_and(|(with, _)| with == *code), "{id:?}: {code:?} {sending:?}");
            }
            RecvChunk::ResetAt(code) => {
                let (with, keep) = sending.reset.expect("nobody reset it");
                assert!(with == *code && receiving.read >= keep, "{id:?}: {receiving:?} {sending:?}");
            }
        }
        receiving.ended = true;
        true
    }

    /// Everything has come to its end, and nothing was lost that nobody abandoned.
    pub(super) fn check_end(&self, peer: &Self) {
        for (id, sending) in &self.sending {
            assert!(sending.done, "{id:?}: {sending:?}");
            let receiving = peer.receiving.get(id);
            let whole =
                receiving.is_some_and(|receiving| receiving.ended && receiving.read == sending.written);
            let given_up = sending.reset.is_some() || receiving.is_some_and(|receiving| receiving.stopped);
            assert!(whole || given_up, "{id:?}: {sending:?} {receiving:?}");
        }
        for (id, receiving) in &self.receiving {
            assert!(receiving.ended || receiving.stopped, "{id:?}: {receiving:?}");
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.sending.values().all(|sending| sending.done)
            && self.receiving.values().all(|receiving| receiving.ended || receiving.stopped)
    }
}
