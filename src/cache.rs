//! The thread cache: what one thread holds of each class, reached without a lock.
//!
//! ```text
//!   pop   loaded magazine -> (empty) refill: fresh range -> spare magazine -> heap
//!   push  loaded magazine -> (full)  make room: loaded becomes the spare, a full spare goes to the heap, or loaded
//! ```
//!
//! With two magazines, a thread that allocates and frees around any boundary exchanges with the heap
//! at most once in a magazine's length (Bonwick and Adams, 2001). A thread that only frees blocks of a class, which
//! others have allocated, has no use for a spare one of it.
//!
//! Only the thread that owns a cache may call it, and always with the same heap: a process has one, and each test its own.
//! So what a cache holds of a class came from that class of the heap that it is given. A cache of all zeros is ready for use, so that a
//! thread's costs no initialisation, and the fast paths test for nothing but an empty or a full
//! magazine.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use crate::block::Magazine;
use crate::cache_bin::{self, Bin};
use crate::config::{
    CLASS_COUNT, CacheLimits, FRESH_BATCH_BLOCKS, MAGAZINE_BLOCKS_FIRST, ORDERED_BLOCKS_PER_RUN,
    UNORDERED_BLOCKS_LEAST, UNORDERED_SHRINK_BLOCKS,
};
use crate::heap::{self, Direction, Heap, Held, PARKED_BYTES_MAX, Supply};
use crate::os::{self, PageSource, debug_check};
use crate::pool::{FreshRange, Shard};
use crate::size_class::SizeClass;

/// What else the cache has of one class; touched by slow paths alone.
struct Reserve {
    spare: Cell<Magazine>,
    fresh: Cell<FreshRange>,
}

/// Whether blocks may stay in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Not yet: nothing would flush them when the thread ends.
    NotYet,
    /// Yes: the thread's end will flush them.
    UntilExit,
    /// Not any more: the thread's end has flushed the cache.
    NoMore,
}

/// One thread's free blocks.
///
/// The bins lie at its end, for those of the large blocks to go on behind them.
#[repr(C)]
pub(crate) struct ThreadCache {
    reserves: [Reserve; CLASS_COUNT],
    /// The capacity that each bin had when another thread held it, from when this one took it over until it comes by
    /// here for the class; zero else. Until then the bin has no more room than what is taken from it makes, so that
    /// the first block is seen here which is freed before one is taken.
    taken_over: [Cell<u16>; CLASS_COUNT],
    keeping: Cell<Keeping>,
    /// The shard of the heap that refills it.
    shard: Cell<Shard>,
    limits: Cell<CacheLimits>,
    /// Whether so many blocks have come back since one was asked for that a depot was emptied.
    was_one_way: Cell<bool>,
    /// A bit for each class that was ever refilled or taken over: the others this thread only frees blocks of.
    asked_for: Cell<u64>,
    bins: [Bin; CLASS_COUNT],
}

impl ThreadCache {
    /// Bytes between its start and the bins, which end where it ends.
    pub(crate) const BYTES_BEFORE_BINS: usize = {
        let bytes = offset_of!(Self, bins);
        assert!(bytes + CLASS_COUNT * size_of::<Bin>() == size_of::<Self>());
        bytes
    };

    /// A cache without blocks.
    pub(crate) const fn new() -> Self {
        Self {
            reserves: [const {
                Reserve { spare: Cell::new(Magazine::EMPTY), fresh: Cell::new(FreshRange::EMPTY) }
            }; CLASS_COUNT],
            taken_over: [const { Cell::new(0) }; CLASS_COUNT],
            keeping: Cell::new(Keeping::NotYet),
            shard: Cell::new(Shard::FIRST),
            limits: Cell::new(CacheLimits::NONE),
            was_one_way: Cell::new(false),
            asked_for: Cell::new(0),
            bins: [const { Bin::new() }; CLASS_COUNT],
        }
    }

    fn bin(&self, class: SizeClass) -> &Bin {
        // A class's index is below CLASS_COUNT, so the remainder changes nothing but the proof.
        &self.bins[class.index() % CLASS_COUNT]
    }

    fn reserve(&self, class: SizeClass) -> &Reserve {
        // A class's index is below CLASS_COUNT, so the remainder changes nothing but the proof.
        &self.reserves[class.index() % CLASS_COUNT]
    }

    /// Takes a block from the loaded magazine.
    pub(crate) fn pop(&self, class: SizeClass) -> Option<NonNull<u8>> {
        let block = self.bin(class).pop()?;
        os::unpoison(block, class.bytes());
        Some(block)
    }

    /// Puts a block on the loaded magazine; on `false` that is full, and [`ThreadCache::push_full`]
    /// must follow.
    ///
    /// # Safety
    ///
    /// - `block` is of `class`, free, and the caller gives it up if the answer is `true`.
    pub(crate) unsafe fn push(&self, block: NonNull<u8>, class: SizeClass) -> bool {
        os::poison(block, class.bytes());
        // SAFETY: the caller owes the same.
        unsafe { self.bin(class).push(block) }
    }

    /// Whether blocks may stay in the cache.
    pub(crate) fn keeping(&self) -> Keeping {
        self.keeping.get()
    }

    /// The shard that the thread has joined and not left.
    pub(crate) fn joined(&self) -> Option<Shard> {
        (self.keeping.get() == Keeping::UntilExit).then(|| self.shard.get())
    }

    /// The thread's end has been made to call [`ThreadCache::flush_for_good`]. If the thread now has what one
    /// before it held, says what that knew of requests for a trim.
    pub(crate) fn keep_until_exit<P: PageSource>(
        &self,
        heap: &Heap<P>,
        cores: usize,
        limits: CacheLimits,
    ) -> Option<usize> {
        self.keeping.set(Keeping::UntilExit);
        self.limits.set(limits);
        self.shard.set(heap.join(cores));
        heap.unpark(self.shard.get(), |class, held| self.take_over(class, held))
    }

    /// Has what another thread held of a class, of which this one has nothing.
    fn take_over(&self, class: SizeClass, held: Held) {
        let reserve = self.reserve(class);
        self.bin(class).load(held.loaded);
        self.taken_over(class).set(held.capacity as u16);
        reserve.spare.set(held.spare);
        reserve.fresh.set(held.fresh);
        // It serves requests from now on, for which no refill is needed.
        self.note_asked(class);
    }

    fn note_asked(&self, class: SizeClass) {
        self.asked_for.set(self.asked_for.get() | class.bit());
    }

    /// Whether a spare magazine of a class is of use. It is not to a thread that only frees what others allocate; but
    /// where so many come back that none are to be kept, it goes with the loaded one, two at once.
    fn keeps_spare(&self, class: SizeClass) -> bool {
        self.was_one_way.get() || self.asked_for.get() & class.bit() != 0
    }

    fn taken_over(&self, class: SizeClass) -> &Cell<u16> {
        // A class's index is below CLASS_COUNT, so the remainder changes nothing but the proof.
        &self.taken_over[class.index() % CLASS_COUNT]
    }

    /// Comes by for a class, and says if that is the first time since the thread took it over.
    fn come_by(&self, class: SizeClass) -> bool {
        let has_taken_over = self.taken_over(class).get() > 0;
        if has_taken_over {
            self.bin(class).raise(i32::from(self.taken_over(class).take()));
        }
        has_taken_over
    }

    /// What the thread holds of a class, which it then does not.
    fn hand_over(&self, class: SizeClass) -> Held {
        self.come_by(class);
        let (bin, reserve) = (self.bin(class), self.reserve(class));
        let capacity = bin.capacity();
        let loaded = bin.unload();
        bin.resize(0);
        let spare = reserve.spare.replace(Magazine::EMPTY);
        let fresh = reserve.fresh.replace(FreshRange::EMPTY);
        Held { loaded, capacity, spare, fresh }
    }

    /// Loads an empty bin with what the thread holds in reserve, and takes a block.
    pub(crate) fn pop_reserve(&self, class: SizeClass) -> Option<NonNull<u8>> {
        self.come_by(class);
        let reserve = self.reserve(class);
        let mut fresh = reserve.fresh.replace(FreshRange::EMPTY);
        let magazine = match fresh.carve_chain(class, FRESH_BATCH_BLOCKS) {
            Some(chain) => chain.into_magazine(),
            None => reserve.spare.replace(Magazine::EMPTY),
        };
        reserve.fresh.set(fresh);
        if magazine.is_empty() {
            return None;
        }
        self.bin(class).load(magazine);
        self.pop(class)
    }

    /// As [`ThreadCache::pop_reserve`], for a block that reads as zero: a virgin one needs no clearing.
    pub(crate) fn pop_reserve_zeroed(&self, class: SizeClass) -> Option<NonNull<u8>> {
        let reserve = self.reserve(class);
        let mut fresh = reserve.fresh.replace(FreshRange::EMPTY);
        let zeroed = if fresh.is_zeroed() { fresh.carve(class) } else { None };
        reserve.fresh.set(fresh);
        if let Some(block) = zeroed {
            os::unpoison(block, class.bytes());
            return zeroed;
        }
        let block = self.pop_reserve(class)?;
        // SAFETY: the block is this thread's, and of this size.
        unsafe { block.write_bytes(0, class.bytes()) };
        Some(block)
    }

    /// Gets blocks for a class of which the thread has none; `false` if there is no more memory.
    pub(crate) fn refill<P: PageSource>(&self, heap: &Heap<P>, class: SizeClass) -> bool {
        self.note_asked(class);
        let most = if self.keeping.get() == Keeping::UntilExit { self.grow(class) } else { 1 };
        match heap.refill(self.shard.get(), class, most) {
            Some(Supply::Magazine(magazine)) => self.reserve(class).spare.set(magazine),
            Some(Supply::Fresh(range)) => self.reserve(class).fresh.set(range),
            None => return false,
        }
        true
    }

    /// Gives back what may not be kept, after a refill of a cache that keeps nothing.
    pub(crate) fn flush_unless_keeping<P: PageSource>(&self, heap: &Heap<P>, class: SizeClass) {
        if self.keeping.get() != Keeping::UntilExit {
            self.flush_class(heap, class);
        }
    }

    /// Takes a block for which a push found no room, or was not asked. There is some now if the
    /// thread has just taken over what another held.
    ///
    /// # Safety
    ///
    /// - `block` came from this class of `heap`, is free, and the caller gives it up.
    pub(crate) unsafe fn push_full<P: PageSource>(
        &self,
        heap: &Heap<P>,
        block: NonNull<u8>,
        class: SizeClass,
    ) {
        self.bin(class).refuse_push();
        if self.keeping.get() != Keeping::UntilExit {
            // SAFETY: the caller owes the block, and where it came from.
            return unsafe { heap.give_back_one(class, block.cast()) };
        }
        let is_first = self.come_by(class) || self.bin(class).capacity() == 0;
        if !self.bin(class).has_room() {
            self.make_room(heap, class);
        }
        // SAFETY: the caller owes the block.
        if is_first && unsafe { heap::shard_of(block.cast()) } != self.shard.get() {
            // A block that was handed over may lie in one cache line with those of the other threads that
            // were given one: the first that this thread allocates is to be another.
            // SAFETY: the caller owes the block, and where it came from.
            return unsafe { heap.give_back_one(class, block.cast()) };
        }
        // SAFETY: the caller owes the block.
        let pushed = unsafe { self.push(block, class) };
        debug_check!(pushed, "no room after a flush", block.as_ptr().addr());
        debug_check!(self.is_valid(class), "thread cache in disorder", class.index());
    }

    /// Makes the full loaded magazine an empty one.
    fn make_room<P: PageSource>(&self, heap: &Heap<P>, class: SizeClass) {
        let full = self.bin(class).unload();
        if full.is_empty() {
            self.grow(class);
            return;
        }
        let reserve = self.reserve(class);
        let spare = reserve.spare.replace(Magazine::EMPTY);
        let (leaving, staying) = if !spare.is_empty() {
            // Where the depots are full it goes to its pools, block by block: rather the one that has just been filled,
            // and lies in the processor's cache.
            if heap.has_place(self.shard.get()) { (spare, full) } else { (full, spare) }
        } else if self.keeps_spare(class) {
            return reserve.spare.set(full);
        } else {
            (full, spare)
        };
        let blocks = leaving.len() + staying.len();
        // SAFETY: what the cache holds of a class came from that class of its heap.
        match unsafe { heap.flush(class, leaving) } {
            Direction::BothWays => {
                reserve.spare.set(staying);
                self.grow(class);
            }
            Direction::OneWay { runs } => {
                self.was_one_way.set(true);
                // SAFETY: as above.
                let runs = runs + unsafe { heap.flush(class, staying) }.runs();
                // Each block that stays may be the last of its pool, where they come back in no order: the
                // longer this goes on, the fewer stay. Those that come back in order have few pools between them.
                if blocks < runs * ORDERED_BLOCKS_PER_RUN {
                    let bin = self.bin(class);
                    let least = UNORDERED_BLOCKS_LEAST.min(bin.capacity());
                    bin.resize((bin.capacity() - UNORDERED_SHRINK_BLOCKS).max(least));
                }
            }
        }
    }

    /// Doubles the capacity of an empty bin, up to what is useful for blocks of this size, and
    /// returns it.
    fn grow(&self, class: SizeClass) -> u32 {
        let bin = self.bin(class);
        let most = self.limits.get().magazine_blocks(class.bytes());
        let doubled = (2 * bin.capacity()).clamp(MAGAZINE_BLOCKS_FIRST.min(most), most);
        bin.resize(doubled.max(bin.capacity()));
        bin.capacity() as u32
    }

    fn flush_class<P: PageSource>(&self, heap: &Heap<P>, class: SizeClass) {
        let held = self.hand_over(class);
        if held.is_empty() {
            return;
        }
        for magazine in [held.spare, held.loaded] {
            // SAFETY: what the cache holds of a class came from that class of its heap.
            unsafe { heap.give_back(class, magazine) };
        }
        // SAFETY: as above.
        unsafe { heap.give_back_fresh(class, held.fresh) };
        heap.give_back_unused(self.shard.get(), class);
    }

    /// Gives everything back to the heap.
    pub(crate) fn flush<P: PageSource>(&self, heap: &Heap<P>) {
        for class in SizeClass::all() {
            self.flush_class(heap, class);
        }
    }

    /// Leaves what the thread holds to the next one, if that is not much, or else to the heap, for the thread is
    /// about to end. The cache still serves, one block at a time, and keeps none. The thread says what is `known`
    /// to it of requests for a trim, or that it is asked.
    pub(crate) fn flush_for_good<P: PageSource>(
        &self,
        heap: &Heap<P>,
        known: impl FnOnce() -> Option<usize>,
    ) {
        let joined = self.joined();
        self.keeping.set(Keeping::NoMore);
        if let Some(shard) = joined {
            if !self.leave_to_next(heap, shard, known) {
                self.flush(heap);
            }
            heap.leave(shard);
        }
    }

    fn leave_to_next<P: PageSource>(
        &self,
        heap: &Heap<P>,
        shard: Shard,
        known: impl FnOnce() -> Option<usize>,
    ) -> bool {
        // What comes back in no order may pin an arena with each block.
        if self.was_one_way.get() {
            return false;
        }
        // A class without room has never been refilled while the cache kept anything.
        let has_room = |class: &SizeClass| {
            self.bin(*class).capacity() > 0 || self.taken_over(*class).get() > 0
        };
        let classes = SizeClass::all().filter(has_room);
        let bytes: usize = classes.map(|class| self.blocks(class) * class.bytes()).sum();
        let hold = |class| if has_room(&class) { self.hand_over(class) } else { Held::NONE };
        bytes <= PARKED_BYTES_MAX && heap.park(shard, known, hold)
    }

    /// Free and virgin blocks of a class that the thread holds.
    pub(crate) fn blocks(&self, class: SizeClass) -> usize {
        let reserve = self.reserve(class);
        let spare = cache_bin::len_in(&reserve.spare);
        let fresh = reserve.fresh.replace(FreshRange::EMPTY);
        let virgin = fresh.len();
        reserve.fresh.set(fresh);
        self.bin(class).len() as usize + spare + virgin
    }

    /// Whether the invariants of what is held of `class` are true. Walks the chains.
    fn is_valid(&self, class: SizeClass) -> bool {
        cache_bin::is_valid_in(&self.reserve(class).spare) && self.bin(class).is_valid()
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
