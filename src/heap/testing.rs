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
        let mut classes =
            Shard::all().flat_map(|shard| SizeClass::all().map(move |class| (shard, class)));
        stats.is_balanced()
            && self.arenas.is_valid()
            && classes.all(|(shard, class)| {
                let heap = self.class(shard, class).lock();
                heap.depot.is_valid() && heap.is_valid(shard, class, usize::MAX)
            })
    }
}
