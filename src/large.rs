//! Large blocks: the side of the system allocator, with a depot of magazines for each class and each shard
//! in front of it.
//!
//! A block of a class is taken from the system allocator with the layout of the class, not of the
//! request, and goes back with that, so that any request of the class may have it next. It can go back
//! at any moment: nothing here is carved or cut. What is too large or too much aligned for a class is
//! none of this floor's.
//!
//! Shards keep threads apart, as in the heap of small blocks: what a thread leaves it finds again, near its core, and
//! seldom meets another at a lock. But no block knows where it came from: it is left in the shard of the thread that
//! frees it, and a thread whose own shard has none of a class takes what another has before it asks the system.
//!
//! The depots are bounded together, in bytes: by what the program has shown that it asks for again, or by a fraction of
//! what it has of the system allocator, so that they cost a large heap little and a small one not much. A magazine that
//! does not fit makes others leave, of one class after the other, so that what a program has ceased to use makes place.
//!
//! Protocol. Any thread may call any function. A magazine belongs to the depot that it lies in or to
//! the one thread that holds it; no function holds two locks, but for a `fork`, or one while it calls
//! the system allocator.

mod bound;
mod demand;
mod swings;

use core::alloc::GlobalAlloc;
use core::ops::DerefMut;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::block::{Magazine, address_of};
use crate::config::{
    LARGE_CLASS_COUNT, LARGE_DEPOT_MAGAZINES, LARGE_MAGAZINES_PER_LOOK_MAX,
    LARGE_TAKEN_PER_DEPOT_BYTE, SHARD_COUNT,
};
use crate::depot::{Depot, DepotBase, EVICTIONS_MAX, Shelves, Stock, shelves_above_base};
use crate::large_class::LargeClass;
use crate::os::{abort_corrupt, debug_check};
use crate::pool::Shard;
use crate::sync::Lock;
use bound::DepotBound;
use demand::{Demand, not_below_zero};
pub(crate) use swings::Swings;

/// What all threads share of large blocks, over the allocator `S` that the blocks come from.
pub(crate) struct LargeHeap<S> {
    shards: [LargeShard; SHARD_COUNT],
    /// So many shards, the first ones, have ever been left a magazine.
    shards_used: AtomicUsize,
    /// Magazines of each class, in all shards. Relaxed, and never below what the depots hold: as their bytes in
    /// [`Stock`]. Who finds none need not ask one shard after the other.
    magazines: [AtomicU32; LARGE_CLASS_COUNT],
    stock: Stock,
    bound: DepotBound,
    /// Bytes of blocks of all classes that the system allocator has given and not got back, as far as
    /// threads have told.
    taken_bytes: AtomicUsize,
    /// The same, and those that are too large for a class.
    demand: Demand,
    system: S,
}

/// What the threads of one shard have left.
struct LargeShard {
    bases: [Lock<DepotBase>; LARGE_CLASS_COUNT],
    shelves: LargeShelves,
}

impl LargeShard {
    const fn new() -> Self {
        Self {
            bases: [const { Lock::new(DepotBase::EMPTY) }; LARGE_CLASS_COUNT],
            shelves: LargeShelves::new(),
        }
    }

    fn base(&self, class: LargeClass) -> &Lock<DepotBase> {
        // The index is in range, so the remainder changes nothing but the proof.
        &self.bases[class.index() % LARGE_CLASS_COUNT]
    }

    fn lock(&self, class: LargeClass) -> LargeDepot<'_, impl DerefMut<Target = DepotBase>> {
        // SAFETY: the base of this class's depot, behind its lock; no other function opens a depot.
        unsafe { self.shelves.depot(class.index(), self.base(class).lock()) }
    }
}

/// What the depots of a shard keep their magazines on.
type LargeShelves = Shelves<LARGE_CLASS_COUNT, LARGE_DEPOT_SHELVES>;

/// The largest blocks whose magazines are sorted, in bytes: of these at least four lie in a page. It takes as long for
/// larger ones, of which programs have fewer and walk through fewer at a time.
const SORTED_BLOCK_MAX: usize = 1024;

const _: () = assert!(LARGE_MAGAZINES_PER_LOOK_MAX.is_multiple_of(EVICTIONS_MAX));

const LARGE_DEPOT_SHELVES: usize = shelves_above_base(LARGE_DEPOT_MAGAZINES);

/// The depot of one class, until it is dropped this thread's alone.
type LargeDepot<'a, B> = Depot<'a, B, LARGE_CLASS_COUNT, LARGE_DEPOT_SHELVES>;

impl<S: GlobalAlloc> LargeHeap<S> {
    /// Depots without blocks.
    pub(crate) const fn new(system: S) -> Self {
        Self {
            shards: [const { LargeShard::new() }; SHARD_COUNT],
            shards_used: AtomicUsize::new(0),
            magazines: [const { AtomicU32::new(0) }; LARGE_CLASS_COUNT],
            stock: Stock::new(),
            bound: DepotBound::new(),
            taken_bytes: AtomicUsize::new(0),
            demand: Demand::new(),
            system,
        }
    }

    fn shard(&self, shard: Shard) -> &LargeShard {
        // In range, as the class in `magazines`.
        &self.shards[shard.index() % SHARD_COUNT]
    }

    fn magazines(&self, class: LargeClass) -> &AtomicU32 {
        &self.magazines[class.index() % LARGE_CLASS_COUNT]
    }

    /// The shards that have been left magazines so far, `first` in front if it is one of them.
    fn used_from(&self, first: Shard) -> impl Iterator<Item = &LargeShard> {
        // Relaxed: what a shard is left this moment is no loss.
        let used = self.shards_used.load(Ordering::Relaxed);
        (0..used).map(move |step| self.shard(Shard::at((first.index() + step) % used)))
    }

    /// Takes a magazine of `class`, of `shard` if that has one; it is still counted.
    fn pop(&self, shard: Shard, class: LargeClass) -> Option<Magazine> {
        // Relaxed: no lock, and no shard after the other, where there is none; one that comes this moment is no loss.
        if self.magazines(class).load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.used_from(shard).find_map(|shard| shard.lock(class).pop())
    }

    /// Counts a magazine that is about to come to a depot.
    fn count(&self, class: LargeClass, magazine: &Magazine) {
        self.stock.comes(bytes_of(class, magazine));
        self.magazines(class).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a magazine no more, which has just left its depot, or found no place there.
    fn uncount(&self, class: LargeClass, magazine: &Magazine) {
        self.magazines(class).fetch_sub(1, Ordering::Relaxed);
        self.stock.leaves(bytes_of(class, magazine));
    }

    /// A new block of `class`, of which the caller is to tell [`LargeHeap::report_taken`].
    pub(crate) fn take(&self, class: LargeClass) -> Option<NonNull<u8>> {
        self.bound.block_taken(class);
        // SAFETY: a class has a size other than zero.
        NonNull::new(unsafe { self.system.alloc(class.layout()) })
    }

    /// As [`LargeHeap::take`], for a block that reads as zero.
    pub(crate) fn take_zeroed(&self, class: LargeClass) -> Option<NonNull<u8>> {
        self.bound.block_taken(class);
        // SAFETY: a class has a size other than zero.
        NonNull::new(unsafe { self.system.alloc_zeroed(class.layout()) })
    }

    /// Gives one block back, of which the caller is to tell [`LargeHeap::report_taken`].
    ///
    /// # Safety
    ///
    /// - `block` is of `class`, from this heap, free, and the caller gives it up.
    pub(crate) unsafe fn give(&self, class: LargeClass, block: NonNull<u8>) {
        // SAFETY: the caller owes the block, which was taken with this layout.
        unsafe { self.system.dealloc(block.as_ptr(), class.layout()) }
    }

    /// Makes a block of `class` one of the system allocator's, of another size and for it to free;
    /// null, and the block as it was, if there is no memory. The caller is to tell
    /// [`LargeHeap::report_taken`] of the block that the class no longer has.
    ///
    /// # Safety
    ///
    /// - `block` is of `class`, from this heap, and the caller's.
    /// - `new_size` is not zero, and does not exceed `isize::MAX` when rounded up to the alignment of
    ///   a class.
    pub(crate) unsafe fn resize(
        &self,
        class: LargeClass,
        block: NonNull<u8>,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: the caller owes the block, which was taken with this layout, and the size.
        unsafe { self.system.realloc(block.as_ptr(), class.layout(), new_size) }
    }

    /// Counts bytes that were taken from the system allocator, or given to it where negative.
    pub(crate) fn report_taken(&self, bytes: isize) {
        // Relaxed, here and below: the number bounds the depots, and guards nothing. A thread may tell
        // of what it gave before another tells that it took it, so that the sum wraps for a moment.
        self.taken_bytes.fetch_add(bytes as usize, Ordering::Relaxed);
        self.demand.changes(bytes);
    }

    /// Counts bytes that the system allocator has given in blocks too large for a class, or got back where
    /// negative.
    pub(crate) fn report_passed(&self, bytes: isize) {
        self.demand.changes(bytes);
    }

    /// Whether the program has begun to use the system allocator, as far as threads have told; for the first that asks.
    #[inline]
    pub(crate) fn take_beginning(&self) -> bool {
        self.demand.take_beginning()
    }

    /// Whether the system allocator should give back what it holds for nothing. To be called with each look.
    pub(crate) fn has_surplus(&self) -> bool {
        self.demand.has_surplus()
    }

    /// How what is in use of the system allocator falls and rises.
    #[inline]
    pub(crate) fn swings(&self) -> &Swings {
        self.demand.swings()
    }

    /// Bytes that the depots may hold.
    fn depot_bytes_max(&self) -> usize {
        self.bound.bytes().max(self.taken_bytes() / LARGE_TAKEN_PER_DEPOT_BYTE)
    }

    /// A magazine of free blocks that threads have left, of `shard` if that has one.
    pub(crate) fn refill(&self, shard: Shard, class: LargeClass) -> Option<Magazine> {
        let magazine = self.pop(shard, class)?;
        self.uncount(class, &magazine);
        self.bound.holding_is(self.stock.bytes());
        Some(magazine)
    }

    /// Takes a magazine for the depot of its class in `shard`, which may make others leave.
    ///
    /// # Safety
    ///
    /// - The blocks are of `class`, from this heap.
    pub(crate) unsafe fn flush(&self, shard: Shard, class: LargeClass, magazine: Magazine) {
        if magazine.is_empty() {
            return;
        }
        debug_check!(magazine.is_valid(), "magazine of wrong length", magazine.len() as usize);
        // Else each round of a program would find its blocks in a little less order than the one before.
        let is_sorted = class.bytes() <= SORTED_BLOCK_MAX;
        let magazine = if is_sorted { magazine.sorted() } else { magazine };
        self.count(class, &magazine);
        let used = shard.index() + 1;
        // Relaxed: as in `used_from`. Not written to each time, for all read it.
        if self.shards_used.load(Ordering::Relaxed) < used {
            self.shards_used.fetch_max(used, Ordering::Relaxed);
        }
        let mut depot = self.shard(shard).lock(class);
        let overflow = depot.push(magazine);
        let unused = depot.pop_unused();
        drop(depot);
        for magazine in [overflow, unused].into_iter().flatten() {
            // SAFETY: what a depot holds came through this function.
            unsafe { self.leave(class, magazine) };
        }
        self.evict_for_room();
    }

    /// Has some magazines leave if the depots hold more than they may.
    fn evict_for_room(&self) {
        self.stock.evict_beyond(self.depot_bytes_max(), |index| {
            let (class, shard) = (LargeClass::at(index), Shard::at(index / LARGE_CLASS_COUNT));
            let bytes = self.evict(shard, class);
            self.bound.blocks_went(class, (bytes / class.bytes()) as u32);
            bytes > 0
        });
    }

    /// Has magazines leave that were of no use. To be called with each look.
    pub(crate) fn look_at_depots(&self) {
        self.bound.look(self.stock.bytes());
        for _ in 0..LARGE_MAGAZINES_PER_LOOK_MAX / EVICTIONS_MAX {
            self.evict_for_room();
        }
    }

    /// Has a depot of `class` let a magazine leave, that of `shard` if it has one, and returns its bytes.
    fn evict(&self, shard: Shard, class: LargeClass) -> usize {
        self.pop(shard, class).map_or(0, |magazine| {
            // SAFETY: what a depot holds came through `flush`.
            unsafe { self.leave(class, magazine) }
        })
    }

    /// Gives back a magazine that has just left its depot, or found no place there, and returns its
    /// bytes.
    ///
    /// # Safety
    ///
    /// - The blocks are of `class`, from this heap.
    unsafe fn leave(&self, class: LargeClass, magazine: Magazine) -> usize {
        self.uncount(class, &magazine);
        // SAFETY: the caller owes the blocks.
        unsafe { self.give_back(class, magazine) }
    }

    /// Gives all blocks of a magazine back to the system allocator, and returns their bytes.
    ///
    /// # Safety
    ///
    /// - The blocks are of `class`, from this heap.
    pub(crate) unsafe fn give_back(&self, class: LargeClass, mut magazine: Magazine) -> usize {
        let bytes = bytes_of(class, &magazine);
        // A block that was freed twice makes the chain a ring, whose blocks would go back again and again.
        if !magazine.is_valid() {
            let first = magazine.first().map_or(0, address_of);
            abort_corrupt("block freed twice or written after its free", first);
        }
        while let Some(block) = magazine.pop() {
            // SAFETY: the caller owes the block.
            unsafe { self.give(class, block.cast()) };
        }
        self.report_taken(-(bytes as isize));
        bytes
    }

    /// Empties all depots, one magazine at a time so that nobody waits long, and returns the bytes.
    pub(crate) fn empty_depots(&self) -> usize {
        self.bound.forget();
        let mut bytes = 0;
        for class in LargeClass::all() {
            loop {
                let evicted = self.evict(Shard::FIRST, class);
                bytes += evicted;
                if evicted == 0 {
                    break;
                }
            }
        }
        bytes
    }

    /// Blocks in the depots, and bytes of them.
    pub(crate) fn cached(&self) -> (usize, usize) {
        LargeClass::all().fold((0, 0), |(all_blocks, bytes), class| {
            let blocks_in = |shard: &LargeShard| shard.base(class).lock().blocks();
            let blocks = self.used_from(Shard::FIRST).map(blocks_in).sum::<usize>();
            (all_blocks + blocks, bytes + blocks * class.bytes())
        })
    }

    /// Bytes of blocks that the system allocator has given and not got back, as far as threads have told.
    pub(crate) fn taken_bytes(&self) -> usize {
        not_below_zero(self.taken_bytes.load(Ordering::Relaxed))
    }

    /// Closes the locks of the first `shards` shards, those that threads may join, so that a `fork` finds no depot half
    /// changed.
    pub(crate) fn lock_for_fork(&self, shards: usize) {
        for base in self.shards.iter().take(shards).flat_map(|shard| &shard.bases) {
            base.lock_and_leave_closed(|_| {});
        }
    }

    /// Opens all locks after a `fork`, in the parent or in the child.
    ///
    /// # Safety
    ///
    /// - [`LargeHeap::lock_for_fork`] was called before with as many shards, by this thread or its image in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self, shards: usize) {
        for base in self.shards.iter().take(shards).flat_map(|shard| &shard.bases) {
            // SAFETY: the caller owes the call before.
            unsafe { base.force_unlock() };
        }
    }
}

/// Bytes of the blocks of a magazine.
pub(crate) fn bytes_of(class: LargeClass, magazine: &Magazine) -> usize {
    magazine.len() as usize * class.bytes()
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
