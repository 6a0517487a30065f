//! Buffers for packets to send: lent for a turn, so that an idle connection holds none.

use super::lock;
use crate::driver::sync::Mutex;
use crate::packet::TxBatch;

/// So many free batches are kept.
const MAX_FREE: usize = 32;

/// The free batches of an endpoint, the one used last on top.
#[derive(Debug, Default)]
pub struct TxPool {
    free: Mutex<Vec<TxBatch>>,
}

impl TxPool {
    /// An empty batch of at most `segments` datagrams.
    pub fn take(&self, segments: usize) -> TxBatch {
        let free = lock(&self.free).pop();
        match free {
            Some(mut batch) => {
                batch.set_max_segments(segments);
                batch
            }
            None => TxBatch::new(segments),
        }
    }

    /// Gives a batch back.
    pub fn give(&self, mut batch: TxBatch) {
        batch.clear();
        let mut free = lock(&self.free);
        if free.len() < MAX_FREE {
            free.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_used_again() {
        let pool = TxPool::default();
        pool.give(pool.take(64));
        assert_eq!(lock(&pool.free).len(), 1);
        let _batch = pool.take(1);
        assert!(lock(&pool.free).is_empty());
        (0..2 * MAX_FREE).for_each(|_| pool.give(TxBatch::new(1)));
        assert_eq!(lock(&pool.free).len(), MAX_FREE);
    }
}
