//! Connection IDs that nobody has yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lock;
use super::routes::Routes;
use crate::config::{ConnectionIdGenerator, RandomConnectionIds};
use crate::driver::sync::Mutex;
use crate::packet::{ConnectionId, Rng};

/// After so many IDs that are taken, or of the wrong length, the generator is given up on: random ones take their place.
const MAX_TRIES: usize = 16;

/// IDs that may not be routed yet: a connection's first ID is, as its task begins.
const MAX_RECENT: usize = 64;

/// The application's generator, asked again for an ID that is taken. Should two connections draw the same one at the same
/// time nevertheless, the routes tell the second.
#[derive(Debug)]
pub struct UniqueIds {
    generator: Arc<dyn ConnectionIdGenerator>,
    routes: Arc<Routes>,
    recent: Mutex<VecDeque<ConnectionId>>,
}

impl UniqueIds {
    /// The application's generator, and the IDs in use.
    pub fn new(generator: Arc<dyn ConnectionIdGenerator>, routes: Arc<Routes>) -> Self {
        Self { generator, routes, recent: Mutex::default() }
    }

    /// True once for an ID that nobody has.
    fn claim(&self, id: ConnectionId) -> bool {
        if self.routes.by_cid(&id).is_some() {
            return false;
        }
        let mut recent = lock(&self.recent);
        let free = !recent.contains(&id);
        if free {
            if recent.len() == MAX_RECENT {
                recent.pop_front();
            }
            recent.push_back(id);
        }
        free
    }
}

impl ConnectionIdGenerator for UniqueIds {
    fn len(&self) -> usize {
        self.generator.len()
    }

    fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let len = self.len();
        if len == 0 {
            return ConnectionId::EMPTY;
        }
        for _ in 0..MAX_TRIES {
            let id = self.generator.generate(rng);
            if id.len() == len && self.claim(id) {
                return id;
            }
        }
        tracing::warn!(generator = ?self.generator, "makes no connection IDs that are free and of its own length");
        RandomConnectionIds::new(len).generate(rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::inbox::Inbox;
    use crate::driver::routes::Entries;

    /// Makes IDs of this length although it promises 8 bytes, with one of two values.
    #[derive(Debug)]
    struct Bad(usize);

    impl ConnectionIdGenerator for Bad {
        fn len(&self) -> usize {
            8
        }

        fn generate(&self, rng: &mut Rng) -> ConnectionId {
            ConnectionId::try_from(&[rng.below(2) as u8; 20][..self.0]).unwrap()
        }
    }

    #[test]
    fn what_is_taken_is_not_given_again() {
        let routes = Arc::new(Routes::default());
        let ids = UniqueIds::new(Arc::new(Bad(8)), routes.clone());
        let (inbox, mut entries, mut rng) = (Arc::new(Inbox::new(0)), Entries::default(), Rng::from_u64(1));
        for n in 0..100 {
            let id = ids.generate(&mut rng);
            assert!(routes.add_cid(&inbox, &mut entries, id));
            assert_eq!(n < 2, id.as_slice()[1..] == id.as_slice()[..7], "then random ones");
        }
        for len in [0, 7, 9] {
            let ids = UniqueIds::new(Arc::new(Bad(len)), routes.clone());
            assert_eq!(ids.generate(&mut rng).len(), 8);
        }
        let empty = UniqueIds::new(Arc::new(RandomConnectionIds::new(0)), routes.clone());
        assert!(empty.generate(&mut rng).is_empty());
        // Nor what was given and is not routed yet.
        let ids = UniqueIds::new(Arc::new(Bad(8)), Arc::default());
        let given = [(); 4].map(|()| ids.generate(&mut rng));
        assert!(given.iter().all(|id| given.iter().filter(|other| *other == id).count() == 1));
        assert_eq!(lock(&ids.recent).len(), 2);
        let ids = UniqueIds::new(Arc::new(RandomConnectionIds::default()), Arc::default());
        for _ in 0..200 {
            assert_eq!(ids.generate(&mut rng).len(), 8);
        }
        assert_eq!(lock(&ids.recent).len(), MAX_RECENT);
    }
}
