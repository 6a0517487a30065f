//! The paths of a connection: the one in use, and the few that are being looked at.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Path, Role};
use crate::packet::{FourTuple, SocketId};
use crate::proto::recovery::PathId;

/// Paths besides the one in use; beyond that one must go before another comes.
const MAX_OTHERS: usize = 3;

/// The paths of one connection.
#[derive(Debug)]
pub struct Paths {
    /// The path that everything but probes takes.
    pub active: Path,
    /// Being probed by either end, or left and not forgotten; oldest first.
    others: Vec<Path>,
    /// The connection has moved to the server's preferred address.
    pub has_moved: bool,
    /// The peer's address in the handshake.
    original_remote: SocketAddr,
    last_id: PathId,
}

/// Where a path is found.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The one in use.
    Active,
    /// Among the others.
    Other(usize),
}

impl Paths {
    /// Begins with the path of the handshake.
    pub fn new(active: Path) -> Self {
        let original_remote = active.tuple.remote;
        Self { active, others: Vec::new(), has_moved: false, original_remote, last_id: PathId::default() }
    }

    /// True while there is only one path, and nothing to find out about it: nearly always.
    pub fn is_quiet(&self) -> bool {
        self.others.is_empty() && self.active.validation.is_none()
    }

    /// The name of a new path's state.
    pub fn new_id(&mut self) -> PathId {
        self.last_id = PathId(self.last_id.0.wrapping_add(1));
        self.last_id
    }

    /// The paths beside the one in use.
    pub fn others(&self) -> &[Path] {
        &self.others
    }

    /// All of them, the one in use first.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// All of them, the one in use first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        std::iter::once(&mut self.active).chain(&mut self.others)
    }

    /// The path that a datagram took.
    pub fn find(&self, tuple: &FourTuple) -> Option<Slot> {
        if self.active.carries(tuple) {
            return Some(Slot::Active);
        }
        self.others.iter().position(|path| path.carries(tuple)).map(Slot::Other)
    }

    /// True for the peer's address in the handshake, and any that we send to.
    pub fn knows_remote(&self, remote: SocketAddr) -> bool {
        remote == self.original_remote || self.iter().any(|path| path.tuple.remote == remote)
    }

    /// True if one of them begins at this socket of ours.
    pub fn use_socket(&self, socket: SocketId) -> bool {
        self.iter().any(|path| path.tuple.socket == socket)
    }

    /// The path in a slot; if there is none, the one in use.
    pub fn get(&self, slot: Slot) -> &Path {
        match slot {
            Slot::Active => &self.active,
            Slot::Other(index) => self.others.get(index).unwrap_or(&self.active),
        }
    }

    /// The path in a slot; if there is none, the one in use.
    pub fn get_mut(&mut self, slot: Slot) -> &mut Path {
        match slot {
            Slot::Active => &mut self.active,
            Slot::Other(index) => self.others.get_mut(index).unwrap_or(&mut self.active),
        }
    }

    /// The first path of this role.
    pub fn position(&self, role: Role) -> Option<usize> {
        self.others.iter().position(|path| path.role == role)
    }

    /// Adds a path. Whatever has to go for it must be taken out before; see [`Paths::surplus`].
    pub fn push(&mut self, path: Path) -> Slot {
        self.others.push(path);
        Slot::Other(self.others.len() - 1)
    }

    /// Puts another path into use, and returns the one that was.
    pub fn activate(&mut self, index: usize) -> Path {
        let next = self.others.remove(index);
        std::mem::replace(&mut self.active, next)
    }

    /// The peer is somewhere else.
    pub fn forget_awaited(&mut self) {
        for path in self.others.iter_mut().filter(|path| path.role == Role::Awaited) {
            path.role = Role::Probed;
        }
    }

    /// Which path has to go before another comes: the oldest that only the peer's probes made.
    pub fn surplus(&self) -> Option<usize> {
        if self.others.len() < MAX_OTHERS {
            return None;
        }
        Some(self.position(Role::Probed).unwrap_or(0))
    }

    /// The oldest path that only the peer's probes made, and whose validation is over.
    pub fn unused_probe(&self) -> Option<usize> {
        self.others.iter().position(|path| path.role == Role::Probed && path.validation.is_none())
    }

    /// Takes a path out.
    pub fn remove(&mut self, index: usize) -> Option<Path> {
        (index < self.others.len()).then(|| self.others.remove(index))
    }

    /// Bytes are no longer in flight on the path whose state has this name, if it is still there.
    pub fn on_left_flight(&mut self, id: PathId, bytes: u64) {
        if let Some(path) = self.iter_mut().find(|path| path.cc.id == id) {
            path.cc.on_left_flight(bytes);
        }
    }

    /// When a validation wants to go on or ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.iter().filter_map(|path| path.validation.as_ref()).map(|validation| validation.deadline()).min()
    }
}
