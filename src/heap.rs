//! The heap: what all threads share. For each class a depot of magazines and the used pools, behind
//! one lock; and the arenas behind another.
//!
//! Protocol. No function holds two locks at once, so there is no order to keep and no deadlock: a
//! pool on its way between a class and an arena belongs to the thread that moves it. Whatever a
//! thread takes from the heap is its own until it gives it back. Only `fork` takes all locks.
//!
//! Invariant: each carved block is in use, in a thread cache, in one magazine of a depot, or in the
//! free chain of its pool.

use crate::arena::Arenas;
use crate::block::{Chain, Magazine};
use crate::config::{
    CLASS_COUNT, DEPOT_LOOK_FLUSHES, DEPOT_MAGAZINES, ONE_WAY_FLUSHES, REFILL_POOLS_MAX,
};
use crate::os::{PageSource, debug_check};
use crate::pool::{FreshRange, Pool, PoolList, pop_run};
use crate::size_class::SizeClass;
use crate::sync::Lock;

/// What a refill brings.
pub(crate) enum Supply {
    /// Blocks that were in use before.
    Magazine(Magazine),
    /// Virgin blocks.
    Fresh(FreshRange),
}

/// Where the blocks of a class are going.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Some are asked for, some come back.
    BothWays,
    /// So many have come back since one was asked for that nothing should be kept.
    OneWay,
}

/// A stack of magazines that finds out how much of it is of use (the working set of Bonwick and Adams,
/// 2001): as many magazines as it never went below for a while lay at its bottom for nothing.
struct Depot {
    magazines: [Magazine; DEPOT_MAGAZINES],
    count: usize,
    /// The fewest magazines since the last look.
    least: usize,
    /// Flushes since the last look.
    flushes: u32,
    /// What that look found to be of no use, less what has been taken since.
    unused: usize,
}

impl Depot {
    const EMPTY: Self = Self {
        magazines: [const { Magazine::EMPTY }; DEPOT_MAGAZINES],
        count: 0,
        least: 0,
        flushes: 0,
        unused: 0,
    };

    /// Keeps a magazine, or hands it back if the depot is full.
    fn push(&mut self, magazine: Magazine) -> Option<Magazine> {
        match self.magazines.get_mut(self.count) {
            Some(place) => {
                *place = magazine;
                self.count += 1;
                None
            }
            None => Some(magazine),
        }
    }

    fn pop(&mut self) -> Option<Magazine> {
        self.count = self.count.checked_sub(1)?;
        self.least = self.least.min(self.count);
        let place = self.magazines.get_mut(self.count)?;
        Some(core::mem::replace(place, Magazine::EMPTY))
    }

    /// Takes the magazine at the bottom if it is of no use; to be called with
    /// each flush.
    fn pop_unused(&mut self) -> Option<Magazine> {
        self.flushes += 1;
        if self.flushes >= DEPOT_LOOK_FLUSHES {
            self.flushes = 0;
            self.unused = core::mem::replace(&mut self.least, self.count);
        }
        self.unused = self.unused.checked_sub(1)?;
        // The top moves to the bottom: one in so many flushes, that costs less than moving all.
        let top = self.pop()?;
        match self.magazines.first_mut().filter(|_| self.count > 0) {
            Some(bottom) => Some(core::mem::replace(bottom, top)),
            None => Some(top),
        }
    }
}

/// The shared part of one class.
struct ClassHeap {
    depot: Depot,
    used: PoolList,
    flushes_since_refill: u32,
}

// SAFETY: the chains and pools behind its pointers belong to the heap, and are reached through the
// lock around this value alone.
unsafe impl Send for ClassHeap {}

impl ClassHeap {
    const EMPTY: Self =
        Self { depot: Depot::EMPTY, used: PoolList::EMPTY, flushes_since_refill: 0 };

    /// Free blocks of the first used pools, at most `most`; if the first has none, virgin ones.
    fn gather(&mut self, class: SizeClass, most: u32) -> Option<Supply> {
        let mut gathered: Option<Chain> = None;
        for _ in 0..REFILL_POOLS_MAX {
            let missing = most - gathered.as_ref().map_or(0, |chain| chain.len());
            let Some(pool) = self.used.first().filter(|_| missing > 0) else { break };
            let Some(taken) = pool.take(missing) else { break };
            gathered = Some(taken.behind(gathered));
            if pool.is_full() {
                self.used.remove(pool);
            }
        }
        if let Some(chain) = gathered {
            return Some(Supply::Magazine(chain.into_magazine()));
        }
        let pool = self.used.first()?;
        let range = pool.carve(class, most);
        if pool.is_full() {
            self.used.remove(pool);
        }
        Some(Supply::Fresh(range))
    }

    /// Gives blocks back to their pools. Those that become empty are unlinked and put on `empty`.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    unsafe fn give(&mut self, class: SizeClass, mut magazine: Magazine, empty: &mut PoolList) {
        debug_check!(magazine.is_valid(), "magazine of wrong length", magazine.len() as usize);
        while let Some(run) = pop_run(&mut magazine) {
            // SAFETY: the caller owes that the blocks are the heap's, so they lie in a mapped arena.
            let pool = unsafe { Pool::of(run.first()) };
            let was_full = pool.is_full();
            // SAFETY: the run lies in this pool, and came out of the magazine that owned it.
            unsafe { pool.give(class, run) };
            self.relink(pool, was_full, empty);
        }
    }

    /// Puts a pool that got blocks back where its state belongs.
    fn relink(&mut self, pool: Pool, was_full: bool, empty: &mut PoolList) {
        let changed = was_full || pool.is_empty();
        debug_check!(!changed || pool.is_valid(), "pool in disorder", pool.index());
        match (was_full, pool.is_empty()) {
            (true, true) => empty.push(pool),
            (true, false) => self.used.push(pool),
            (false, true) => {
                self.used.remove(pool);
                empty.push(pool);
            }
            (false, false) => {}
        }
    }
}

/// The shared heap, over a source of pages. A value, so that there could be several.
pub(crate) struct Heap<P> {
    classes: [Lock<ClassHeap>; CLASS_COUNT],
    arenas: Arenas<P>,
}

impl<P: PageSource> Heap<P> {
    /// A heap without memory.
    pub(crate) const fn new(pages: P) -> Self {
        Self {
            classes: [const { Lock::new(ClassHeap::EMPTY) }; CLASS_COUNT],
            arenas: Arenas::new(pages),
        }
    }

    fn class(&self, class: SizeClass) -> &Lock<ClassHeap> {
        // A class's index is below CLASS_COUNT, so the remainder changes nothing but the proof.
        &self.classes[class.index() % CLASS_COUNT]
    }

    /// Blocks of a class: the depot's top magazine, else at most `most` from the pools; `None` if
    /// there is no more memory.
    pub(crate) fn refill(&self, class: SizeClass, most: u32) -> Option<Supply> {
        let mut heap = self.class(class).lock();
        heap.flushes_since_refill = 0;
        if let Some(magazine) = heap.depot.pop() {
            return Some(Supply::Magazine(magazine));
        }
        if let Some(supply) = heap.gather(class, most) {
            return Some(supply);
        }
        drop(heap);
        self.refill_from_arena(class, most)
    }

    /// At most `most` virgin blocks of a pool that no class has.
    fn refill_from_arena(&self, class: SizeClass, most: u32) -> Option<Supply> {
        let (pool, zeroed) = self.arenas.take_pool()?;
        pool.init(class, zeroed);
        // The pool is this thread's until it is linked, and none of its blocks is out before.
        let range = pool.carve(class, most);
        if !pool.is_full() {
            self.class(class).lock().used.push(pool);
        }
        Some(Supply::Fresh(range))
    }

    /// Takes a full magazine: for the depot, or for the pools where that is full or not worth it.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    pub(crate) unsafe fn flush(&self, class: SizeClass, magazine: Magazine) -> Direction {
        let mut heap = self.class(class).lock();
        heap.flushes_since_refill = heap.flushes_since_refill.saturating_add(1);
        let one_way = heap.flushes_since_refill > ONE_WAY_FLUSHES;
        let unwanted = if one_way {
            Some(magazine)
        } else {
            heap.depot.push(magazine).or_else(|| heap.depot.pop_unused())
        };
        drop(heap);
        if let Some(magazine) = unwanted {
            // SAFETY: the caller owes where the blocks came from.
            unsafe { self.give_back(class, magazine) };
        }
        if one_way {
            self.empty_depot(class);
            return Direction::OneWay;
        }
        Direction::BothWays
    }

    /// Gives blocks back to their pools, and those of a magazine that the depot has for nothing.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    pub(crate) unsafe fn give_back(&self, class: SizeClass, magazine: Magazine) {
        if magazine.is_empty() {
            return;
        }
        let mut empty = PoolList::EMPTY;
        let mut heap = self.class(class).lock();
        // SAFETY: the caller owes where the blocks came from.
        unsafe { heap.give(class, magazine, &mut empty) };
        if let Some(unused) = heap.depot.pop_unused() {
            // SAFETY: what the depot holds came through `flush`.
            unsafe { heap.give(class, unused, &mut empty) };
        }
        drop(heap);
        self.arenas.give_pools(empty);
    }

    /// Gives back what is left of a range of virgin blocks.
    ///
    /// # Safety
    ///
    /// - The range came from this class of this heap.
    pub(crate) unsafe fn give_back_fresh(&self, class: SizeClass, range: FreshRange) {
        let Some(pool) = range.pool() else { return };
        let mut empty = PoolList::EMPTY;
        let mut heap = self.class(class).lock();
        let was_full = pool.is_full();
        // SAFETY: the range lies in this pool, and the caller gives it up.
        unsafe { pool.uncarve(class, range) };
        heap.relink(pool, was_full, &mut empty);
        drop(heap);
        self.arenas.give_pools(empty);
    }

    /// Empties all depots, so that pools which only they kept from being empty can serve any class.
    pub(crate) fn empty_depots(&self) {
        SizeClass::all().for_each(|class| self.empty_depot(class));
    }

    /// Empties a depot, one magazine at a time so that nobody waits long.
    fn empty_depot(&self, class: SizeClass) {
        let pop = || self.class(class).lock().depot.pop();
        while let Some(magazine) = pop() {
            // SAFETY: what the depot holds came through `flush`.
            unsafe { self.give_back(class, magazine) };
        }
    }

    /// Releases all empty arenas, and returns the bytes.
    pub(crate) fn release_empty_arenas(&self) -> usize {
        self.arenas.release_empty()
    }

    /// Closes all locks, so that a `fork` finds no protected value half changed.
    pub(crate) fn lock_for_fork(&self) {
        for class in &self.classes {
            class.lock_and_leave_closed();
        }
        self.arenas.lock_for_fork();
    }

    /// Opens all locks after a `fork`, in the parent or in the child.
    ///
    /// # Safety
    ///
    /// - [`Heap::lock_for_fork`] was called before, by this thread or its image in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller owes the call before.
        unsafe { self.arenas.unlock_after_fork() };
        for class in &self.classes {
            // SAFETY: the caller owes the call before.
            unsafe { class.force_unlock() };
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
