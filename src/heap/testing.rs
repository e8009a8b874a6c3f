//! A look at all of a heap, for tests of what stands on it.

use super::*;
use crate::census::Stats;

impl<P: PageSource> Heap<P> {
    /// Virgin blocks of a new pool, whatever depots and other pools have.
    pub(crate) fn carve_new_pool(&self, shard: Shard, class: SizeClass, most: u32) -> Supply {
        let taken = self.arenas.map_and_take_pool(Shard::FIRST).expect("memory");
        self.use_pool(taken, shard, class, most)
    }

    /// Whether the depot of a class holds anything.
    pub(crate) fn has_magazine(&self, shard: Shard, class: SizeClass) -> bool {
        self.lock(shard, class).depot().len() > 0
    }

    /// Whether anything waits for a thread.
    pub(crate) fn waits(&self, shard: Shard) -> bool {
        self.parked(shard).lock().blocks().any(|(_, blocks)| blocks > 0)
    }

    /// Whether all depots, used pools and lists of arenas are in order, and each byte of the arenas is of one
    /// kind. Other threads may be at work.
    pub(crate) fn is_valid(&self) -> bool {
        let mut stats = Stats::new();
        self.survey(SHARD_COUNT, &mut stats);
        stats.settle();
        let mut classes =
            Shard::all().flat_map(|shard| SizeClass::all().map(move |class| (shard, class)));
        stats.is_balanced()
            && self.arenas.is_valid()
            && classes.all(|(shard, class)| {
                let mut heap = self.lock(shard, class);
                heap.depot().is_valid() && heap.is_valid(shard, class, usize::MAX)
            })
    }
}
