//! The heap: what all threads share. It has shards, and each of them for each class a depot of
//! magazines and the used pools, behind one lock; the arenas are behind another.
//!
//! Shards keep threads apart: each thread refills from the one that it joined, and a block goes back
//! to the one that its pool belongs to, whoever frees it. So threads that free what they allocated
//! seldom meet at a lock or in a cache line, and what a consumer frees finds its producer. Before an
//! arena is mapped, a refill takes what another shard has, so that their number costs little memory.
//!
//! Protocol. No function holds two locks at once, so there is no order to keep and no deadlock: a
//! pool on its way between a class and an arena belongs to the thread that moves it. Whatever a
//! thread takes from the heap is its own until it gives it back. Only `fork` and `survey` take all locks,
//! in the same order.
//!
//! Invariant: each carved block is in use, in a thread cache, in what waits for a thread, in one magazine of a
//! depot, or in the free chain of its pool.

mod class;
mod depots;
mod parked;
mod standstill;
mod swing;

use core::num::NonZero;
use core::ops::DerefMut;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::arena::Arenas;
use crate::block::{Block, Magazine};
use crate::config::{CLASS_COUNT, GIVE_RUNS_MAX, SHARD_COUNT};
use crate::depot::Stock;
use crate::os::{PageSource, debug_check};
use crate::pool::{FreshRange, Pool, PoolList, Shard, pop_run};
use crate::pool_map::PoolMap;
use crate::size_class::SizeClass;
use crate::sync::Lock;
use class::{CHECKED_POOLS, ClassHeap, HeapShelves, OpenClass};
use parked::Parked;
pub(crate) use parked::{Held, PARKED_BYTES_MAX};

/// What a refill brings.
pub(crate) enum Supply {
    /// Blocks that were in use before.
    Magazine(Magazine),
    /// Virgin blocks.
    Fresh(FreshRange),
}

impl Supply {
    fn blocks(&self) -> u32 {
        match self {
            Self::Magazine(magazine) => magazine.len(),
            Self::Fresh(range) => range.len() as u32,
        }
    }
}

/// Where the blocks of a class are going.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Some are asked for, some come back.
    BothWays,
    /// So many have come back since one was asked for that nothing should be kept. The magazine that just came
    /// went to its pools, in so many runs.
    OneWay { runs: u32 },
}

impl Direction {
    /// Runs that what just came went to its pools in, if it did.
    pub(crate) fn runs(self) -> u32 {
        match self {
            Self::BothWays => 0,
            Self::OneWay { runs } => runs,
        }
    }
}

/// The shared heap, over a source of pages. A value, so that there could be several.
///
/// What each process touches when it starts lies together, for each page costs time and memory.
#[repr(C)]
pub(crate) struct Heap<P> {
    arenas: Arenas<P>,
    /// Threads that have joined each shard and not left.
    threads: [AtomicU32; SHARD_COUNT],
    /// So many shards, the first ones, have ever been joined.
    shards_joined: AtomicUsize,
    /// Whether a thread has ever left what it held.
    has_parked: AtomicBool,
    shards: [[Lock<ClassHeap>; CLASS_COUNT]; SHARD_COUNT],
    /// Whether anything has ever gone to the pools in a drop.
    has_dropped: AtomicBool,
    /// Bytes that the depots may keep of drops.
    allowed_bytes: AtomicUsize,
    /// Looks at that.
    pile_looks: AtomicUsize,
    /// The class, of all shards in turn, whose pile shrinks next.
    next_to_shrink: AtomicUsize,
    /// What the depots of each shard hold.
    stocks: [CachePadded<Stock>; SHARD_COUNT],
    /// What the depots of each shard keep their magazines on.
    shelves: [HeapShelves; SHARD_COUNT],
    /// What the last thread of each shard that ended has left for the next one.
    parked: [Lock<Parked>; SHARD_COUNT],
}

/// The shard that a block's pool belongs to.
///
/// # Safety
///
/// - The block came from a heap, and the caller owns it.
pub(crate) unsafe fn shard_of(block: NonNull<Block>) -> Shard {
    // SAFETY: the caller owes the block, so it lies in a mapped arena, in a pool with a live block.
    unsafe { Pool::of(block) }.shard()
}

fn bytes_of(class: SizeClass, magazine: &Magazine) -> usize {
    magazine.len() as usize * class.bytes()
}

impl<P: PageSource> Heap<P> {
    /// A heap without memory.
    pub(crate) const fn new(pages: P) -> Self {
        Self {
            arenas: Arenas::new(pages),
            threads: [const { AtomicU32::new(0) }; SHARD_COUNT],
            shards_joined: AtomicUsize::new(0),
            has_parked: AtomicBool::new(false),
            shards: [const { [const { Lock::new(ClassHeap::EMPTY) }; CLASS_COUNT] }; SHARD_COUNT],
            has_dropped: AtomicBool::new(false),
            allowed_bytes: AtomicUsize::new(0),
            pile_looks: AtomicUsize::new(0),
            next_to_shrink: AtomicUsize::new(0),
            stocks: [const { CachePadded::new(Stock::new()) }; SHARD_COUNT],
            shelves: [const { HeapShelves::new() }; SHARD_COUNT],
            parked: [const { Lock::new(Parked::NOTHING) }; SHARD_COUNT],
        }
    }

    /// What `shard` has of `class`, until that is dropped this thread's alone.
    fn lock(
        &self,
        shard: Shard,
        class: SizeClass,
    ) -> OpenClass<'_, impl DerefMut<Target = ClassHeap>> {
        // Both indices are in range, so the remainders change nothing but the proof.
        let (shard, index) = (shard.index() % SHARD_COUNT, class.index() % CLASS_COUNT);
        let heap = self.shards[shard][index].lock();
        // SAFETY: of one shard's class and shelves; no other function makes this of either.
        unsafe { OpenClass::new(heap, &self.shelves[shard], index) }
    }

    /// The shard with the fewest threads, which the caller's thread is now one of. No more shards
    /// are used than `cores` threads that can meet at a lock.
    pub(crate) fn join(&self, cores: usize) -> Shard {
        // Relaxed, here and below: the numbers spread the load, and guard nothing.
        let threads_of = |shard: &Shard| self.threads_in(*shard).load(Ordering::Relaxed);
        loop {
            let shard = Shard::all().take(cores).min_by_key(threads_of).unwrap_or(Shard::FIRST);
            let (threads, others) = (self.threads_in(shard), threads_of(&shard));
            // If another thread joined it meanwhile, the fewest may be elsewhere now.
            if threads
                .compare_exchange(others, others + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                self.shards_joined.fetch_max(shard.index() + 1, Ordering::Relaxed);
                return shard;
            }
        }
    }

    /// The caller's thread is no longer one of `shard`, which it joined. What it left there and in the depots stays
    /// for the threads that come next, at first.
    pub(crate) fn leave(&self, shard: Shard) {
        self.threads_in(shard).fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no thread is in `shard`.
    fn is_left(&self, shard: Shard) -> bool {
        self.threads_in(shard).load(Ordering::Relaxed) == 0
    }

    /// Time passes: to be called with each exchange, with no lock held. Now and then that is the end of what
    /// threads have left and no other has come for.
    pub(crate) fn tick(&self) {
        if !self.arenas.tick() {
            return;
        }
        for shard in self.joined_from(Shard::FIRST) {
            if self.is_left(shard) { self.empty_places_of(shard) } else { self.age_parked(shard) }
        }
        self.age_piles();
    }

    /// In a forked child, no thread but the caller's is left in any shard; `joined` is the caller's.
    pub(crate) fn forget_other_threads(&self, joined: Option<Shard>) {
        for shard in Shard::all() {
            let threads = u32::from(joined == Some(shard));
            // Relaxed: the child has one thread.
            self.threads_in(shard).store(threads, Ordering::Relaxed);
        }
    }

    /// The shards that threads have joined so far, those behind `shard` first and itself last.
    fn joined_from(&self, shard: Shard) -> impl Iterator<Item = Shard> {
        // Relaxed: what a shard joined this moment has is no loss.
        let joined = self.shards_joined.load(Ordering::Relaxed).max(shard.index() + 1);
        // Never zero, as the type says, lest the compiler leave a panic for a division by that.
        let joined = NonZero::new(joined).unwrap_or(NonZero::<usize>::MIN);
        (1..=joined.get()).map(move |step| Shard::at((shard.index() + step) % joined))
    }

    fn threads_in(&self, shard: Shard) -> &AtomicU32 {
        &self.threads[shard.index() % SHARD_COUNT]
    }

    /// Blocks of a class: the top magazine of the shard's depot, else at most `most` from its pools,
    /// else the same of a shard that no thread is left to use, else from a free pool, else of any
    /// shard, else from a new arena; `None` if there is no more memory.
    pub(crate) fn refill(&self, shard: Shard, class: SizeClass, most: u32) -> Option<Supply> {
        self.tick();
        let refill_from = |shard| self.refill_from_shard(shard, class, most);
        let left = || self.joined_from(shard).filter(|shard| self.is_left(*shard));
        refill_from(shard)
            .or_else(|| left().find_map(refill_from))
            .or_else(|| Some(self.use_pool(self.arenas.take_pool(shard)?, shard, class, most)))
            .or_else(|| self.joined_from(shard).find_map(refill_from))
            .or_else(|| {
                self.shrink_piles_for_arena();
                Some(self.use_pool(self.arenas.map_and_take_pool(shard)?, shard, class, most))
            })
    }

    fn refill_from_shard(&self, shard: Shard, class: SizeClass, most: u32) -> Option<Supply> {
        let mut heap = self.lock(shard, class);
        heap.flushes_since_refill = 0;
        debug_check!(
            heap.is_valid(shard, class, CHECKED_POOLS),
            "class in disorder",
            class.index()
        );
        let Some(leaving) = heap.pop() else {
            let supply = heap.gather(class, most)?;
            self.learn_swing(class, &mut heap, supply.blocks());
            return Some(supply);
        };
        drop(heap);
        Some(Supply::Magazine(self.uncount(shard, class, leaving)))
    }

    fn stock(&self, shard: Shard) -> &Stock {
        &self.stocks[shard.index() % SHARD_COUNT]
    }

    /// At most `most` virgin blocks of a pool that was just taken and may read as zero. With the lock
    /// held, so that whoever holds it finds the header of each pool in the map as it is.
    fn use_pool(
        &self,
        (pool, zeroed): (Pool, bool),
        shard: Shard,
        class: SizeClass,
        most: u32,
    ) -> Supply {
        let mut heap = self.lock(shard, class);
        pool.init(shard, class, zeroed);
        self.arenas.map().set(pool.address(), class);
        let range = pool.carve(class, most);
        if !pool.is_full() {
            heap.used.push(pool);
        }
        self.learn_swing(class, &mut heap, range.len() as u32);
        Supply::Fresh(range)
    }

    /// Gives blocks back to their pools, and returns the number of runs, of blocks of one pool that follow
    /// each other, that these were.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    pub(crate) unsafe fn give_back(&self, class: SizeClass, mut magazine: Magazine) -> u32 {
        debug_check!(magazine.is_valid(), "magazine of wrong length", magazine.len() as usize);
        let mut runs = 0;
        while let Some(first) = magazine.first() {
            // SAFETY: the caller owes where the block came from.
            let shard = unsafe { shard_of(first) };
            // SAFETY: as above.
            runs += unsafe { self.give_runs(shard, class, &mut magazine) };
        }
        runs
    }

    /// Gives one block back to its pool.
    ///
    /// # Safety
    ///
    /// - The block came from this class of this heap, is free, and the caller gives it up.
    pub(crate) unsafe fn give_back_one(&self, class: SizeClass, block: NonNull<Block>) {
        let mut alone = Magazine::EMPTY;
        // SAFETY: the caller owes the block.
        unsafe { alone.push(block) };
        // SAFETY: the caller owes where it came from.
        unsafe { self.give_back(class, alone) };
    }

    /// Gives the blocks in front that came from `shard` back to their pools, not more than some runs, and
    /// returns how many these were.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    unsafe fn give_runs(&self, shard: Shard, class: SizeClass, magazine: &mut Magazine) -> u32 {
        // Walking the blocks is most of the work, and needs no lock.
        let mut runs = [const { None }; GIVE_RUNS_MAX];
        // No more than there are blocks: a number that the compiler does not know, or it would repeat the code for each.
        for run in runs.iter_mut().take(magazine.len() as usize) {
            let Some(first) = magazine.first() else { break };
            // SAFETY: the caller owes where the block came from.
            let pool = unsafe { Pool::of(first) };
            if pool.shard() != shard {
                break;
            }
            // SAFETY: the caller owes that the blocks are this heap's.
            *run = unsafe { pop_run(magazine) }.map(|blocks| (pool, blocks));
        }
        // The runs are taken where they are: unoptimised, moving all would fill half of a small stack.
        let mut empty = PoolList::EMPTY;
        let mut given = 0;
        let mut heap = self.lock(shard, class);
        for run in &mut runs {
            let Some((pool, blocks)) = run.take() else { break };
            // SAFETY: that pool's run, from this shard; the caller owes the class, and pointers that came from this heap.
            unsafe { heap.give(class, pool, blocks, &mut empty) };
            given += 1;
        }
        debug_check!(
            heap.is_valid(shard, class, CHECKED_POOLS),
            "class in disorder",
            class.index()
        );
        drop(heap);
        self.arenas.give_pools(empty);
        given
    }

    /// Gives back what is left of a range of virgin blocks.
    ///
    /// # Safety
    ///
    /// - The range came from this class of this heap.
    pub(crate) unsafe fn give_back_fresh(&self, class: SizeClass, range: FreshRange) {
        let Some(pool) = range.pool() else { return };
        let mut empty = PoolList::EMPTY;
        let mut heap = self.lock(pool.shard(), class);
        // SAFETY: the range lies in this pool, and the caller gives it up.
        let change = unsafe { pool.uncarve(class, range) };
        heap.relink(pool, change, &mut empty);
        drop(heap);
        self.arenas.give_pools(empty);
    }

    /// Which class has which pool, for look-ups by address.
    #[inline(always)]
    pub(crate) fn pool_map(&self) -> &PoolMap {
        self.arenas.map()
    }

    /// Where pools come from.
    pub(crate) fn arenas(&self) -> &Arenas<P> {
        &self.arenas
    }

    /// Gives back all memory that is free in arenas, and returns the bytes.
    pub(crate) fn release_free(&self) -> usize {
        self.arenas.release_free()
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
