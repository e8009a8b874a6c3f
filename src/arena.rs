//! Arenas: 256 KiB from the operating system, given to the classes as pools.
//!
//! A pool is taken from the fullest arena that has one free, so that sparse arenas drain and can go
//! back (CPython 2.5; the constant-time order is 3.8's). Arenas with free pools are in 63 lists, one
//! for each number of free pools, and a word has a bit for each list that is not empty: the fullest
//! arena is one `trailing_zeros` away. Arenas without a free pool are linked nowhere.
//!
//! Any thread may call it; the lists have a lock of their own, and the operating system is called
//! outside of it.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::config::{
    ARENA_BYTES, ARENAS_PER_GROWN_ARENA, ARENAS_PER_GROWTH_MIN, BLOCK_POOLS_PER_ARENA,
    EMPTY_ARENAS_FIRST, EMPTY_ARENAS_MAX, HEADER_BYTES, POOLS_PER_ARENA, USED_ARENAS_PER_EMPTY,
};
use crate::os::{PageSource, abort_corrupt, debug_check};
use crate::pool::{Pool, PoolList};
use crate::pool_map::PoolMap;
use crate::sync::Lock;

/// Debug builds check all lists after a change, unless that would make a large heap crawl.
const CHECKED_ARENAS_MAX: usize = 64;

/// Every pool but that of the headers.
const ALL_POOLS: u64 = !1;

/// What is known of an arena; the first of its 64 headers.
#[repr(C, align(64))]
struct Header {
    /// A bit for each free pool.
    free: Cell<u64>,
    /// A bit for each pool that has been given to a class since the arena was mapped or purged;
    /// the others read as zero.
    dirty: Cell<u64>,
    next: Cell<Option<Arena>>,
    previous: Cell<Option<Arena>>,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// An arena, by its start. Valid as long as it is mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Arena(NonNull<Header>);

// SAFETY: the header behind the pointer is reached only through `ArenaLists` under its lock, or by
// the one thread that holds an arena while it is in no list.
unsafe impl Send for Arena {}

impl Arena {
    fn header(&self) -> &Header {
        // SAFETY: the arena is mapped, and zeroed memory is a valid header.
        unsafe { self.0.as_ref() }
    }

    fn free_pools(self) -> usize {
        self.header().free.get().count_ones() as usize
    }

    fn is_empty(self) -> bool {
        self.header().free.get() == ALL_POOLS
    }

    /// Takes a free pool, rather one whose memory is resident, and says if it reads as zero.
    fn take_pool(self) -> Option<(Pool, bool)> {
        let header = self.header();
        let resident = header.free.get() & header.dirty.get();
        let from = if resident == 0 { header.free.get() } else { resident };
        if from == 0 {
            return None;
        }
        let bit = from & from.wrapping_neg();
        let zeroed = header.dirty.get() & bit == 0;
        header.free.set(header.free.get() & !bit);
        header.dirty.set(header.dirty.get() | bit);
        // SAFETY: the arena is mapped, and only bits from 1 to 63 are ever set.
        Some((unsafe { Pool::at(self.0.cast(), bit.trailing_zeros() as usize) }, zeroed))
    }
}

/// How many empty arenas stay mapped: the policy of what goes back to the system.
///
/// Eager at first, it learns from regret: each arena that is mapped after another was released has
/// one more kept from then on, up to a bound. A program that frees everything once gives it back; one
/// whose heap swings by less than the bound pays for its first swing.
struct Retention {
    /// Arenas that are kept beyond those of the start; so that a new heap is all zeros, and takes no
    /// place in a program's file.
    kept_more: usize,
    released_unregretted: usize,
}

impl Retention {
    const FIRST: Self = Self { kept_more: 0, released_unregretted: 0 };

    fn arenas_released(&mut self, count: usize) {
        self.released_unregretted += count;
    }

    fn arena_mapped(&mut self) {
        if let Some(fewer) = self.released_unregretted.checked_sub(1) {
            self.released_unregretted = fewer;
            self.kept_more = (EMPTY_ARENAS_MAX - EMPTY_ARENAS_FIRST).min(self.kept_more + 1);
        }
    }

    fn empty_arenas_kept(&self, arenas_used: usize) -> usize {
        (EMPTY_ARENAS_FIRST + self.kept_more).max(arenas_used / USED_ARENAS_PER_EMPTY)
    }
}

/// The arenas that have free pools, by their number of free pools.
///
/// Invariants: `lists[n]` holds the arenas with `n` free pools; bit `n` of `nonempty` is set if and
/// only if `lists[n]` has one; `empty` is the length of the last list.
struct ArenaLists {
    lists: [Option<Arena>; POOLS_PER_ARENA],
    nonempty: u64,
    mapped: usize,
    empty: usize,
    retention: Retention,
    /// So many were mapped when the heap last said that it has grown, or fewer since.
    grown_to: usize,
}

impl ArenaLists {
    const EMPTY: Self = Self {
        lists: [None; POOLS_PER_ARENA],
        nonempty: 0,
        mapped: 0,
        empty: 0,
        retention: Retention::FIRST,
        grown_to: 0,
    };

    /// Counts an arena that was mapped, and says if the heap has grown with it since it last said so, or
    /// since it was smaller: by a fraction, so that growth without end is told of ever more seldom.
    fn count_mapped(&mut self) -> bool {
        self.mapped += 1;
        self.retention.arena_mapped();
        let step = ARENAS_PER_GROWTH_MIN.max(self.grown_to / ARENAS_PER_GROWN_ARENA);
        let has_grown = self.mapped >= self.grown_to + step;
        if has_grown {
            self.grown_to = self.mapped;
        }
        has_grown
    }

    fn fullest(&self) -> Option<Arena> {
        *self.lists.get(self.nonempty.trailing_zeros() as usize)?
    }

    /// The list of arenas with `free_pools` free pools, from 1 to 63, and its bit.
    fn list(&mut self, free_pools: usize) -> (&mut Option<Arena>, &mut u64, u64) {
        let index = free_pools % POOLS_PER_ARENA;
        (&mut self.lists[index], &mut self.nonempty, 1 << index)
    }

    /// Links an arena that has free pools.
    fn insert(&mut self, arena: Arena) {
        self.empty += usize::from(arena.is_empty());
        let (first, nonempty, bit) = self.list(arena.free_pools());
        arena.header().previous.set(None);
        arena.header().next.set(*first);
        if let Some(second) = *first {
            second.header().previous.set(Some(arena));
        }
        *first = Some(arena);
        *nonempty |= bit;
    }

    /// Unlinks an arena that has free pools; its free pools are still those it was linked with.
    fn remove(&mut self, arena: Arena) {
        self.empty -= usize::from(arena.is_empty());
        let (first, nonempty, bit) = self.list(arena.free_pools());
        let (next, previous) = (arena.header().next.get(), arena.header().previous.get());
        match previous {
            Some(before) => before.header().next.set(next),
            None => {
                *first = next;
                if next.is_none() {
                    *nonempty &= !bit;
                }
            }
        }
        if let Some(after) = next {
            after.header().previous.set(previous);
        }
    }

    fn take_pool(&mut self) -> Option<(Pool, bool)> {
        let arena = self.fullest()?;
        self.remove(arena);
        let taken = arena.take_pool();
        if arena.free_pools() > 0 {
            self.insert(arena);
        }
        taken
    }

    /// Takes back an empty pool.
    fn give_pool(&mut self, pool: Pool) {
        let arena = Arena(pool.arena().cast());
        let bit = 1_u64 << (pool.index() % POOLS_PER_ARENA);
        let free = arena.header().free.get();
        if free & bit != 0 {
            abort_corrupt("pool given to its arena twice", arena.0.as_ptr().addr());
        }
        if free != 0 {
            self.remove(arena);
        }
        arena.header().free.set(free | bit);
        self.insert(arena);
    }

    /// Unlinks empty arenas until only `kept` are left, and returns them as a chain.
    fn unlink_empty(&mut self, kept: usize) -> Option<Arena> {
        let mut leaving = None;
        while self.empty > kept
            && let Some(arena) = self.lists[BLOCK_POOLS_PER_ARENA]
        {
            self.remove(arena);
            self.mapped -= 1;
            arena.header().next.set(leaving);
            leaving = Some(arena);
        }
        leaving
    }

    /// Unlinks the empty arenas that are not worth keeping.
    fn unlink_surplus(&mut self) -> Option<Arena> {
        let mapped_before = self.mapped;
        let kept = self.retention.empty_arenas_kept(self.mapped - self.empty);
        let leaving = self.unlink_empty(kept);
        self.retention.arenas_released(mapped_before - self.mapped);
        self.grown_to = self.grown_to.min(self.mapped);
        leaving
    }

    fn is_valid(&self) -> bool {
        let mut linked_empty = 0;
        for (free_pools, first) in self.lists.iter().enumerate() {
            if first.is_some() != (self.nonempty >> free_pools & 1 == 1) {
                return false;
            }
            let mut cursor = *first;
            while let Some(arena) = cursor {
                if arena.free_pools() != free_pools || arena.header().free.get() & !ALL_POOLS != 0 {
                    return false;
                }
                linked_empty += usize::from(arena.is_empty());
                cursor = arena.header().next.get();
            }
        }
        linked_empty == self.empty && self.empty <= self.mapped
    }
}

/// All arenas, and where they come from.
pub(crate) struct Arenas<P> {
    lists: Lock<ArenaLists>,
    map: PoolMap,
    has_grown: AtomicBool,
    pages: P,
}

impl<P: PageSource> Arenas<P> {
    pub(crate) const fn new(pages: P) -> Self {
        Self {
            lists: Lock::new(ArenaLists::EMPTY),
            map: PoolMap::new(),
            has_grown: AtomicBool::new(false),
            pages,
        }
    }

    /// A free pool of the fullest arena that has one, now the caller's, and whether it reads as zero.
    pub(crate) fn take_pool(&self) -> Option<(Pool, bool)> {
        self.lists.lock().take_pool()
    }

    /// As [`Arenas::take_pool`], from a new arena; `None` if there is no more memory.
    pub(crate) fn map_and_take_pool(&self) -> Option<(Pool, bool)> {
        let mapped = self.pages.map()?;
        if !self.map.cover(mapped.as_ptr().addr(), &self.pages) {
            // One that the system does not take costs addresses, and no memory: it was never touched.
            // SAFETY: just mapped, and nothing refers to it.
            unsafe { self.pages.release(mapped) };
            return None;
        }
        let arena = Arena(mapped.cast());
        arena.header().free.set(ALL_POOLS);
        let mut lists = self.lists.lock();
        let has_grown = lists.count_mapped();
        lists.insert(arena);
        let taken = lists.take_pool();
        drop(lists);
        if has_grown {
            // Relaxed: it is told to one thread, some time, and guards nothing.
            self.has_grown.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Whether there are more arenas than before, which is said once: what others in the process keep for
    /// nothing may be what they are short of.
    pub(crate) fn take_growth(&self) -> bool {
        // Relaxed: see where it is stored. The swap is needed seldom, the load often.
        self.has_grown.load(Ordering::Relaxed) && self.has_grown.swap(false, Ordering::Relaxed)
    }

    /// Which class has which pool. Whoever takes a pool notes it there before a block of it is out.
    #[inline(always)]
    pub(crate) fn map(&self) -> &PoolMap {
        &self.map
    }

    /// Takes back empty pools, which the caller owns and gives up; arenas that become empty may go.
    pub(crate) fn give_pools(&self, mut pools: PoolList) {
        if pools.first().is_none() {
            return;
        }
        let mut lists = self.lists.lock();
        while let Some(pool) = pools.pop() {
            let address = pool.address();
            debug_check!(self.map.class_at(address) == pool.class(), "pool map differs", address);
            self.map.clear(address);
            lists.give_pool(pool);
        }
        let leaving = lists.unlink_surplus();
        debug_check!(
            lists.mapped > CHECKED_ARENAS_MAX || lists.is_valid(),
            "arena lists in disorder",
            lists.mapped
        );
        drop(lists);
        self.release(leaving);
    }

    /// Releases every empty arena, and returns the bytes.
    pub(crate) fn release_empty(&self) -> usize {
        let leaving = self.lists.lock().unlink_empty(0);
        self.release(leaving)
    }

    /// Releases a chain of arenas that are in no list, and returns the bytes. One that the system
    /// does not take, since that would split a mapping too many, is purged and stays.
    fn release(&self, mut leaving: Option<Arena>) -> usize {
        let mut released = 0;
        while let Some(arena) = leaving {
            leaving = arena.header().next.get();
            debug_check!(arena.is_empty(), "arena released in use", arena.0.as_ptr().addr());
            // SAFETY: the arena came from `map`, is empty, and in no list any more.
            if unsafe { self.pages.release(arena.0.cast()) } {
                released += ARENA_BYTES;
                continue;
            }
            // SAFETY: as above, and it is still mapped. On failure the contents are as before, and
            // so is `dirty`.
            if unsafe { self.pages.purge(arena.0.cast()) } {
                arena.header().free.set(ALL_POOLS);
            }
            let mut lists = self.lists.lock();
            lists.mapped += 1;
            lists.insert(arena);
        }
        released
    }

    /// Closes the lock for a `fork`.
    pub(crate) fn lock_for_fork(&self) {
        self.lists.lock_and_leave_closed();
    }

    /// Opens the lock after a `fork`.
    ///
    /// # Safety
    ///
    /// - [`Arenas::lock_for_fork`] was called before, by this thread or its image in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller owes the call before.
        unsafe { self.lists.force_unlock() };
    }
}

#[cfg(test)]
mod tests;
