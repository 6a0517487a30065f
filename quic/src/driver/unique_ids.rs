//! Connection IDs that nobody has yet.

use std::sync::Arc;

use super::routes::Routes;
use crate::config::{ConnectionIdGenerator, RandomConnectionIds};
use crate::packet::{ConnectionId, Rng};

/// After so many IDs that are taken, or of the wrong length, the generator is given up on: random ones take their place.
const MAX_TRIES: usize = 16;

/// The application's generator, asked again for an ID that is taken. Two connections may still draw the same one at the same
/// time: the routes tell the second.
#[derive(Debug)]
pub struct UniqueIds {
    /// The application's.
    pub generator: Arc<dyn ConnectionIdGenerator>,
    /// The IDs in use.
    pub routes: Arc<Routes>,
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
            if id.len() == len && self.routes.by_cid(&id).is_none() {
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
        let ids = UniqueIds { generator: Arc::new(Bad(8)), routes: routes.clone() };
        let (inbox, mut entries, mut rng) = (Arc::new(Inbox::new(0)), Entries::default(), Rng::from_u64(1));
        for n in 0..100 {
            let id = ids.generate(&mut rng);
            assert!(routes.add_cid(&inbox, &mut entries, id));
            assert_eq!(n < 2, id.as_slice()[1..] == id.as_slice()[..7], "then random ones");
        }
        for len in [0, 7, 9] {
            let ids = UniqueIds { generator: Arc::new(Bad(len)), routes: routes.clone() };
            assert_eq!(ids.generate(&mut rng).len(), 8);
        }
        let empty = UniqueIds { generator: Arc::new(RandomConnectionIds::new(0)), routes };
        assert!(empty.generate(&mut rng).is_empty());
    }
}
