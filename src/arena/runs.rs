//! How many runs of arenas side by side are mapped.
//!
//! To the system each run is a mapping, of which a process may have only so many (`vm.max_map_count` of Linux, 65,530
//! unless somebody raised it), and one that has them all gets no memory, no stack for a thread and no file mapped. So an
//! arena between two others, whose release would make two runs of one, stays mapped where there are many; what a
//! program drops as it has built it up never comes to that.

use crate::config::{ARENA_BYTES, ARENA_RUNS_MAX};
use crate::pool_map::PoolMap;

/// The number of runs, as the pool map knows the arenas. Guarded by the lock of the lists, as the marks in the map are.
pub(super) struct Runs {
    count: usize,
    /// So many fewer than otherwise releases may make: for tests, and none, so that all is zero at first.
    pub(super) fewer: usize,
}

impl Runs {
    pub(super) const NONE: Self = Self { count: 0, fewer: 0 };

    fn most(&self) -> usize {
        ARENA_RUNS_MAX - self.fewer
    }

    /// Marks an arena as mapped, which the map covers.
    pub(super) fn join(&mut self, map: &PoolMap, arena: usize) {
        map.set_mapped(arena);
        self.count = self.count + 1 - neighbours(map, arena);
    }

    /// Marks it as not mapped, and says so; `false`, and it is as before, if that would split a run too many and is not to
    /// be done `at_any_price`.
    pub(super) fn leave(&mut self, map: &PoolMap, arena: usize, at_any_price: bool) -> bool {
        let neighbours = neighbours(map, arena);
        if neighbours == 2 && self.count >= self.most() && !at_any_price {
            return false;
        }
        map.clear(arena);
        self.count = self.count + neighbours - 1;
        true
    }
}

/// Arenas that are mapped right before and behind this one.
fn neighbours(map: &PoolMap, arena: usize) -> usize {
    let [before, behind] = [arena.wrapping_sub(ARENA_BYTES), arena.wrapping_add(ARENA_BYTES)];
    usize::from(map.is_mapped(before)) + usize::from(map.is_mapped(behind))
}

#[cfg(test)]
mod tests;
