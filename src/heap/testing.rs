//! A look at all of a heap, for tests of what stands on it.

use super::*;
use crate::census::Stats;

impl<P: PageSource> Heap<P> {
    /// Whether all depots, used pools and lists of arenas are in order, and each byte of the arenas is of one
    /// kind. Other threads may be at work.
    pub(crate) fn is_valid(&self) -> bool {
        let mut stats = Stats::new();
        self.survey(SHARD_COUNT, &mut stats);
        stats.settle();
        let mut classes = self.shards.iter().flatten();
        stats.is_balanced()
            && self.arenas.is_valid()
            && classes.all(|class| class.lock().is_valid())
    }
}

impl ClassHeap {
    /// Whether the depot and each used pool are in order. Unlinks the pools, and links them as they were.
    fn is_valid(&mut self) -> bool {
        let mut unlinked = PoolList::EMPTY;
        let mut is_valid = self.depot.is_valid();
        while let Some(pool) = self.used.pop() {
            is_valid &= pool.is_valid() && !pool.is_full() && !pool.is_empty();
            unlinked.push(pool);
        }
        while let Some(pool) = unlinked.pop() {
            self.used.push(pool);
        }
        is_valid
    }
}
