//! All arenas, behind one lock: those with free pools in lists by how full they are.

use super::by_fullness::{ByFullness, Linked};
use super::header::Arena;
use super::news::Told;
use super::retention::Retention;
use super::runs::Runs;
use super::transit::Transit;
use crate::census::ArenaStats;
use crate::config::{
    ARENA_BYTES, ARENAS_PER_GROWN_ARENA, ARENAS_PER_GROWTH_MIN, ArenaBounds, BLOCK_POOLS_PER_ARENA,
    HUGE_PAGE_BYTES, POOLS_PER_ARENA, POPULATED_FROM_ARENAS,
};
use crate::os::abort_corrupt;
use crate::pool::{Pool, Shard};

/// The arenas that have free pools, by their number of free pools, and all that are mapped.
///
/// Invariants: `empty` is the number of empty arenas in `by_fullness`, and `staying` of those that stay; `idle` is the
/// number of free pools whose memory is resident, but for those of arenas that stay; what a thread has claimed is not free, and not among the `used_pools`, which those that were taken are until they
/// come back; `hand` is a mapped arena.
pub(super) struct ArenaLists {
    /// The arena that was mapped last.
    pub(super) newest: Option<Arena>,
    /// The one whose turn it is next to be purged, or the newest.
    pub(super) hand: Option<Arena>,
    pub(super) mapped: usize,
    pub(super) empty: usize,
    staying: usize,
    pub(super) idle: usize,
    /// Pools that classes have.
    used_pools: usize,
    pub(super) runs: Runs,
    pub(super) retention: Retention,
    /// So many were mapped when the heap last said that it has grown, or fewer since.
    grown_to: usize,
    /// What has happened since the first arena.
    pub(super) counts: ArenaStats,
    pub(super) bounds: ArenaBounds,
    pub(super) transit: Transit,
    /// Whether it was told that the soft bound is reached, since it last was not.
    is_pressed: bool,
    /// Whether a thread watches over what is idle, or will in a moment.
    pub(super) is_watched: bool,
    /// Whether something has become idle that is not in the arenas, since that thread last asked.
    pub(super) watch_goes_on: bool,
    told: Told,
    pub(super) by_fullness: ByFullness,
}

impl ArenaLists {
    pub(super) const EMPTY: Self = Self {
        newest: None,
        hand: None,
        mapped: 0,
        empty: 0,
        staying: 0,
        idle: 0,
        used_pools: 0,
        runs: Runs::NONE,
        retention: Retention::FIRST,
        grown_to: 0,
        counts: ArenaStats::NONE,
        bounds: ArenaBounds::NONE,
        transit: Transit::NONE,
        is_pressed: false,
        is_watched: false,
        watch_goes_on: false,
        told: Told::NOTHING,
        by_fullness: ByFullness::EMPTY,
    };

    fn used(&self) -> usize {
        self.mapped - self.empty
    }

    /// Arenas that are mapped, or about to be.
    fn mapped_or_in_transit(&self) -> usize {
        self.mapped + self.transit.arenas()
    }

    /// Reserves the right to map arenas, as many as returned: one, or those of a huge page. Says also
    /// whether a single one is to be populated.
    pub(super) fn begin_mapping(&mut self) -> Option<(usize, bool)> {
        let mapped = self.mapped_or_in_transit();
        let left = self.bounds.most.map_or(usize::MAX, |most| most.saturating_sub(mapped));
        let is_huge = self.bounds.huge_from.is_some_and(|from| mapped >= from);
        let wanted = if is_huge { HUGE_PAGE_BYTES / ARENA_BYTES } else { 1 };
        let count = if wanted <= left { wanted } else { 1 };
        if left == 0 || self.transit.is_halted() {
            return None;
        }
        self.transit.begin_mapping(count);
        Some((count, mapped >= POPULATED_FROM_ARENAS))
    }

    /// Whether no more may be mapped.
    pub(super) fn is_at_bound(&self) -> bool {
        self.bounds.most.is_some_and(|most| self.mapped_or_in_transit() >= most)
    }

    /// In a forked child, nobody watches.
    pub(super) fn forget_other_threads(&mut self) {
        self.is_watched = false;
        self.watch_goes_on = false;
    }

    /// Links a new arena, and tells if the heap has grown with it since it last did so, or since it was
    /// smaller: by a fraction, so that growth without end is told of ever more seldom.
    pub(super) fn insert_new(&mut self, arena: Arena) {
        self.insert_mapped(arena);
        let counts = &mut self.counts;
        counts.mapped_ever += 1;
        counts.high_water = counts.high_water.max(self.mapped);
        counts.remapped += usize::from(counts.remapped < counts.released);
        let step = ARENAS_PER_GROWTH_MIN.max(self.grown_to / ARENAS_PER_GROWN_ARENA);
        if self.mapped >= self.grown_to + step {
            self.told.has_grown = true;
            self.grown_to = self.mapped;
        }
        let reaches = |soft| self.mapped >= soft;
        if !self.is_pressed && self.bounds.soft.is_some_and(reaches) {
            self.told.is_pressed = true;
            self.is_pressed = true;
        }
    }

    /// Arenas that have come and gone: a number that changes with each.
    pub(super) fn mapped_and_released(&self) -> usize {
        self.counts.mapped_ever.wrapping_add(self.counts.released)
    }

    /// What has happened since the first arena, and how many are mapped.
    pub(super) fn stats(&self) -> ArenaStats {
        ArenaStats { mapped: self.mapped, ..self.counts.clone() }
    }

    /// What is to be acted upon since the last call.
    pub(super) fn take_told(&mut self) -> Told {
        core::mem::take(&mut self.told)
    }

    /// Asks for a thread that watches over what is idle, if anything is, one should, and none does.
    pub(super) fn want_watch(&mut self, is_idle: bool) {
        if is_idle && self.bounds.is_watched && !self.is_watched {
            self.is_watched = true;
            self.told.wants_watch = true;
        }
    }

    /// Links an arena that is mapped and empty.
    pub(super) fn insert_mapped(&mut self, arena: Arena) {
        self.mapped += 1;
        self.idle += Self::counted_idle(arena);
        arena.header().older.set(self.newest);
        arena.header().newer.set(None);
        if let Some(newest) = self.newest {
            newest.header().newer.set(Some(arena));
        }
        self.newest = Some(arena);
        self.insert(arena, arena.free_pools());
    }

    /// Links an arena that was unlinked and stays mapped.
    pub(super) fn take_back(&mut self, arena: Arena) {
        self.transit.end_leaving();
        self.insert_mapped(arena);
    }

    /// Links an arena that was unlinked, where a `fork` waits for it; says if so.
    pub(super) fn takes_back_for_fork(&mut self, arena: Arena) -> bool {
        let is_halted = self.transit.is_halted();
        if is_halted {
            self.take_back(arena);
        }
        is_halted
    }

    /// An arena that was unlinked is mapped no more.
    pub(super) fn note_released(&mut self) {
        self.transit.end_leaving();
        self.counts.released += 1;
        let mapped = self.mapped_or_in_transit();
        self.grown_to = self.grown_to.min(mapped);
        // Only an eighth below the bound it counts as not reached, so that no step to and fro is told.
        let is_below = |soft: usize| mapped < soft - soft / 8;
        self.is_pressed &= !self.bounds.soft.is_some_and(is_below);
    }

    /// Unlinks an empty arena, which is then to be released.
    fn remove_mapped(&mut self, arena: Arena) {
        self.transit.begin_leaving();
        self.remove(arena, BLOCK_POOLS_PER_ARENA);
        self.mapped -= 1;
        self.idle -= Self::counted_idle(arena);
        let (older, newer) = (arena.header().older.get(), arena.header().newer.get());
        if self.hand == Some(arena) {
            self.hand = older;
        }
        match newer {
            Some(newer) => newer.header().older.set(older),
            None => self.newest = older,
        }
        if let Some(older) = older {
            older.header().newer.set(newer);
        }
    }

    /// The idle pools of an arena as long as it does not stay: what lies in the page of headers of one that does cannot go.
    fn counted_idle(arena: Arena) -> usize {
        if arena.stays() { 0 } else { arena.idle_pools() }
    }

    fn count_empty(&mut self, arena: Arena, count: impl Fn(usize) -> usize) {
        if arena.is_empty() {
            self.empty = count(self.empty);
        }
        if arena.stays() {
            self.staying = count(self.staying);
        }
    }

    /// Links an arena that has so many free pools, at least one.
    fn insert(&mut self, arena: Arena, free_pools: usize) {
        self.count_empty(arena, |count| count + 1);
        self.by_fullness.insert(arena, free_pools);
    }

    /// Unlinks an arena that has so many free pools, at least one; they, and which of them are resident, are still
    /// those that it was linked with.
    fn remove(&mut self, arena: Arena, free_pools: usize) {
        self.count_empty(arena, |count| count - 1);
        self.by_fullness.remove(arena, free_pools);
    }

    /// Changes an arena's free pools, and its list with them.
    pub(super) fn set_free(&mut self, arena: Arena, free: u64) {
        self.relink(arena, arena.free_pools(), free, free.count_ones() as usize);
    }

    /// Puts an arena into the list for what is then free of it; there were `before` free pools, and are `after`.
    fn relink(&mut self, arena: Arena, before: usize, free: u64, after: usize) {
        if before > 0 {
            self.remove(arena, before);
        }
        arena.header().free.set(free);
        if after > 0 {
            self.insert(arena, after);
        }
    }

    /// A free pool for `shard`, an idle one if there is any, of the fullest arena that it is to take it of, and whether it
    /// reads as zero.
    pub(super) fn take_pool(&mut self, shard: Shard, now: usize) -> Option<(Pool, bool)> {
        let (arena, free_pools) = self.by_fullness.unlink_fullest_for(shard)?;
        self.count_empty(arena, |count| count - 1);
        if arena.stays() {
            self.idle += arena.idle_pools();
        }
        if arena.is_empty() {
            arena.begin_use(shard, now);
        }
        let taken = arena.take_pool();
        if free_pools > 1 {
            self.insert(arena, free_pools - 1);
        }
        let (pool, is_resident, is_zeroed) = taken?;
        self.used_pools += 1;
        self.retention.pool_taken();
        // One that was populated with its arena is missed as well: none was idle before that.
        if is_zeroed && (is_resident || self.idle == 0) {
            self.retention.virgin_pool_taken();
        }
        if is_resident {
            self.idle_is(self.idle - 1);
        }
        Some((pool, is_zeroed))
    }

    pub(super) fn idle_is(&mut self, idle: usize) {
        self.idle = idle;
        self.retention.idle_is(idle);
    }

    /// Takes back an empty pool, and says if its arena is now one that should go.
    #[inline]
    pub(super) fn give_pool(&mut self, pool: Pool, now: usize) -> bool {
        let arena = Arena::of(pool);
        let bit = 1_u64 << (pool.index() % POOLS_PER_ARENA);
        let free = arena.header().free.get();
        if free & bit != 0 {
            abort_corrupt("pool given to its arena twice", arena.start().as_ptr().addr());
        }
        let free_pools = arena.free_pools();
        self.relink(arena, free_pools, free | bit, free_pools + 1);
        self.idle += 1;
        self.used_pools -= 1;
        self.retention.pool_given();
        Self::should_go(arena, now)
    }

    /// Whether an arena is empty, and was in use for long or has little memory that is worth keeping.
    pub(super) fn should_go(arena: Arena, now: usize) -> bool {
        let is_young = Retention::is_young(arena.used_for(now));
        arena.is_empty() && (!is_young || arena.idle_pools() < BLOCK_POOLS_PER_ARENA / 2)
    }

    /// Unlinks at most `most` empty arenas, until only `kept` are left beside those that stay mapped, and returns them as
    /// a chain.
    pub(super) fn unlink_empty(&mut self, kept: usize, most: usize) -> Option<Arena> {
        let mut leaving = None;
        let mut left = most;
        while self.empty - self.staying > kept
            && left > 0
            && !self.transit.is_halted()
            && let Some(arena) = self.by_fullness.first_empty()
        {
            self.remove_mapped(arena);
            arena.header().next.set(leaving);
            leaving = Some(arena);
            left -= 1;
        }
        leaving
    }

    /// Unlinks at most `most` of the empty arenas that stay mapped, to see whether they still must, and returns them as a
    /// chain.
    pub(super) fn unlink_staying(&mut self, most: usize) -> Option<Arena> {
        let mut leaving = None;
        let most = if self.transit.is_halted() { 0 } else { most };
        for _ in 0..self.staying.min(most) {
            let Some(arena) = self.by_fullness.first_staying() else { break };
            self.remove_mapped(arena);
            arena.header().next.set(leaving);
            leaving = Some(arena);
        }
        leaving
    }

    /// Unlinks the empty arenas that are not worth keeping, once `going` arenas have become such as should go.
    pub(super) fn unlink_surplus(&mut self, going: usize) -> Option<Arena> {
        let most = self.retention.empty_arenas_most(self.used());
        let empty = self.empty - self.staying;
        if going == 0 && empty <= most {
            return None;
        }
        let idle_before = self.idle;
        // The one that became empty last is the first to go.
        let kept = self.retention.empty_arenas_kept().max(empty.saturating_sub(going));
        let leaving = self.unlink_empty(kept.min(most), usize::MAX);
        self.retention.pools_went(idle_before - self.idle);
        leaving
    }

    /// Idle pools between used ones, beyond what there may be.
    pub(super) fn excess(&mut self) -> usize {
        // Of an empty arena some may be purged, which makes this a little less than there are.
        let idle_in_empty = (self.empty - self.staying) * BLOCK_POOLS_PER_ARENA;
        let idle_between = self.idle.saturating_sub(idle_in_empty);
        let used = self.used();
        self.retention.excess(idle_between, used, self.used_pools)
    }

    /// Unlinks empty arenas with at most about so many idle pools, since these were of no use.
    pub(super) fn unlink_idle(&mut self, pools: usize) -> Option<Arena> {
        let idle_before = self.idle;
        let leaving = self.unlink_empty(0, pools / BLOCK_POOLS_PER_ARENA);
        self.retention.pools_went(idle_before - self.idle);
        leaving
    }

    /// All arenas that are mapped, the newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = Arena> {
        core::iter::successors(self.newest, |arena| arena.header().older.get())
    }

    pub(super) fn is_valid(&self) -> bool {
        self.by_fullness.linked() == Some(Linked { empty: self.empty, staying: self.staying })
            && self.all().count() == self.mapped
            && self.all().map(Self::counted_idle).sum::<usize>() == self.idle
            && self.all().map(Arena::free_pools).sum::<usize>() + self.used_pools
                <= self.mapped * BLOCK_POOLS_PER_ARENA
            && self.hand.is_none_or(|hand| self.all().any(|arena| arena == hand))
    }
}
