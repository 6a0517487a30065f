//! The packet number spaces of a connection.

use std::time::Duration;

use super::Space;
use crate::packet::SpaceId;

/// The three packet number spaces. Those of the handshake go with their keys: a connection that lives on has no room for
/// them.
#[derive(Debug)]
pub struct Spaces {
    handshake: [Option<Box<Space>>; 2],
    /// Application data.
    pub data: Space,
}

impl Spaces {
    /// Three spaces that nothing was sent or received in. `max_ack_delay` is what we promise the peer.
    #[must_use]
    pub fn new(max_ack_delay: Duration) -> Self {
        Self {
            handshake: [SpaceId::Initial, SpaceId::Handshake]
                .map(|id| Some(Box::new(Space::new(id, max_ack_delay)))),
            data: Space::new(SpaceId::Data, max_ack_delay),
        }
    }

    /// A space, if it was not discarded.
    #[must_use]
    pub fn get(&self, id: SpaceId) -> Option<&Space> {
        match id {
            SpaceId::Initial => self.handshake[0].as_deref(),
            SpaceId::Handshake => self.handshake[1].as_deref(),
            SpaceId::Data => Some(&self.data),
        }
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: SpaceId) -> Option<&mut Space> {
        match id {
            SpaceId::Initial => self.handshake[0].as_deref_mut(),
            SpaceId::Handshake => self.handshake[1].as_deref_mut(),
            SpaceId::Data => Some(&mut self.data),
        }
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (SpaceId, &Space)> {
        SpaceId::ALL.into_iter().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// Takes out a space whose keys are gone (RFC 9001 §4.9). That of application data stays.
    pub fn discard(&mut self, id: SpaceId) -> Option<Box<Space>> {
        self.handshake.get_mut(id.index())?.take()
    }
}

#[cfg(test)]
impl std::ops::Index<usize> for Spaces {
    type Output = Space;

    fn index(&self, index: usize) -> &Space {
        self.get(SpaceId::ALL[index]).expect("not discarded yet")
    }
}

#[cfg(test)]
impl std::ops::IndexMut<usize> for Spaces {
    fn index_mut(&mut self, index: usize) -> &mut Space {
        self.get_mut(SpaceId::ALL[index]).expect("not discarded yet")
    }
}
