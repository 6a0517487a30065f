//! Packets that arrived before the keys that open them.

use std::time::Instant;

use crate::packet::{Ecn, Level};

/// How many packets wait; those beyond are dropped, and the peer sends them again.
const MAX_PARKED: usize = 12;

/// How many bytes of packets wait: large ones are fewer. One of any size may.
const MAX_BYTES: usize = 64 << 10;

/// A packet, or the run of packets at the end of a datagram, that waits for keys.
#[derive(Debug)]
pub struct ParkedPacket {
    pub level: Level,
    pub received: Instant,
    pub ecn: Option<Ecn>,
    pub bytes: Vec<u8>,
}

/// The packets that wait, and whether it is worth looking at them again.
#[derive(Debug, Default)]
pub struct Parked {
    packets: Vec<ParkedPacket>,
    retry: bool,
}

impl Parked {
    /// Keeps a packet; returns false if too many are kept already.
    pub(super) fn push(&mut self, packet: ParkedPacket) -> bool {
        let room = self.packets.len() < MAX_PARKED && self.bytes() < MAX_BYTES;
        if room {
            self.packets.push(packet);
        }
        room
    }

    /// How many bytes wait.
    pub(in crate::proto) fn bytes(&self) -> usize {
        self.packets.iter().map(|packet| packet.bytes.len()).sum()
    }

    /// New keys exist, or old ones may be used now.
    pub(in crate::proto) fn keys_changed(&mut self) {
        self.retry = true;
    }

    /// The packets to look at again, if keys changed since they were parked.
    pub(super) fn take(&mut self) -> Option<Vec<ParkedPacket>> {
        let again = std::mem::take(&mut self.retry) && !self.packets.is_empty();
        again.then(|| std::mem::take(&mut self.packets))
    }
}
