//! The large cache: what one thread holds of each class of large blocks, reached without a lock.
//!
//! ```text
//!   pop   loaded magazine -> spare magazine -> depot -> system allocator, one block
//!   push  loaded magazine -> (full)  loaded becomes the spare, a full spare goes to the depot
//! ```
//!
//! A thread that only frees blocks of a class, which others have allocated, keeps no spare magazine of it.
//!
//! What a thread may hold is bounded over all classes, by the room of their loaded magazines and not by what
//! is in them, so that the fast paths count nothing more, and by what is in the spare ones: a thread that allocates what
//! others free has none. A class is granted room as it exchanges blocks with the depots; where nothing is left to grant, a
//! class without room takes all of another's, each in its turn, and a class with a full magazine keeps none to spare.
//!
//! Only the thread that owns a cache may call it. A cache of all zeros is ready for use: it holds
//! nothing and passes every block on.

use core::alloc::GlobalAlloc;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use crate::block::Magazine;
use crate::cache_bin::{self, Bin};
use crate::config::{
    LARGE_CLASS_COUNT, LARGE_MAGAZINE_BLOCKS_MAX, LARGE_MAGAZINE_BLOCKS_MIN, LARGE_MAGAZINE_BYTES,
    LARGE_TAKEN_UNREPORTED_MAX,
};
use crate::large::{LargeHeap, bytes_of};
use crate::large_class::LargeClass;
use crate::os::{self, debug_check};
use crate::pool::Shard;

/// A class is first granted one block for each so many of a full-grown magazine.
const BLOCKS_PER_FIRST: i32 = 8;

/// One thread's free large blocks.
///
/// Invariant: what the loaded magazines of all classes have room for and the spare ones hold is `granted_bytes`, at most
/// `bytes_max`.
///
/// The bins lie at its start, behind those of the small blocks.
#[repr(C)]
pub(crate) struct LargeCache {
    bins: [Bin; LARGE_CLASS_COUNT],
    spares: [Cell<Magazine>; LARGE_CLASS_COUNT],
    /// Zero until something will flush the cache when the thread ends, and from that moment on.
    bytes_max: Cell<usize>,
    /// The shard of the heap that it leaves magazines in.
    shard: Cell<Shard>,
    granted_bytes: Cell<usize>,
    /// Index of the class whose turn it is to lose its room.
    next_to_lose: Cell<usize>,
    /// What this thread has taken from the system allocator, less what it gave, since the heap last
    /// heard of it.
    taken_unreported: Cell<isize>,
    /// A bit for each class of which a block was asked for when the loaded magazine had none. Of the others the
    /// thread only frees what others have allocated, and has no use for a spare magazine.
    asked_for: Cell<u64>,
}

impl LargeCache {
    /// Bytes between its start and the bins.
    pub(crate) const BYTES_BEFORE_BINS: usize = offset_of!(Self, bins);

    /// A cache without blocks.
    pub(crate) const fn new() -> Self {
        Self {
            bins: [const { Bin::new() }; LARGE_CLASS_COUNT],
            spares: [const { Cell::new(Magazine::EMPTY) }; LARGE_CLASS_COUNT],
            bytes_max: Cell::new(0),
            shard: Cell::new(Shard::FIRST),
            granted_bytes: Cell::new(0),
            next_to_lose: Cell::new(0),
            taken_unreported: Cell::new(0),
            asked_for: Cell::new(0),
        }
    }

    fn bin(&self, class: LargeClass) -> &Bin {
        // The index is in range, so the remainder changes nothing but the proof.
        &self.bins[class.index() % LARGE_CLASS_COUNT]
    }

    fn spare(&self, class: LargeClass) -> &Cell<Magazine> {
        // The index is in range, so the remainder changes nothing but the proof.
        &self.spares[class.index() % LARGE_CLASS_COUNT]
    }

    /// Takes a block from the loaded magazine.
    pub(crate) fn pop(&self, class: LargeClass) -> Option<NonNull<u8>> {
        let block = self.bin(class).pop()?;
        os::unpoison(block, class.bytes());
        Some(block)
    }

    /// Puts a block on the loaded magazine; on `false` there is no room, and
    /// [`LargeCache::push_full`] must follow.
    ///
    /// # Safety
    ///
    /// - `block` is of `class`, free, and the caller gives it up if the answer is `true`.
    pub(crate) unsafe fn push(&self, block: NonNull<u8>, class: LargeClass) -> bool {
        os::poison(block, class.bytes());
        // SAFETY: the caller owes the same.
        unsafe { self.bin(class).push(block) }
    }

    /// The cache may hold so many bytes: the thread, which has joined `shard`, will call
    /// [`LargeCache::flush_for_good`] at its end.
    pub(crate) fn keep_until_exit(&self, bytes_max: usize, shard: Shard) {
        self.bytes_max.set(bytes_max);
        self.shard.set(shard);
    }

    /// Loads an empty bin with the spare magazine, and takes a block.
    pub(crate) fn pop_spare(&self, class: LargeClass) -> Option<NonNull<u8>> {
        self.asked_for.set(self.asked_for.get() | class.bit());
        self.bin(class).load(self.take_spare(class));
        self.pop(class)
    }

    /// The spare magazine, which the class then does not have.
    fn take_spare(&self, class: LargeClass) -> Magazine {
        let spare = self.spare(class).replace(Magazine::EMPTY);
        self.granted_bytes.set(self.granted_bytes.get() - bytes_of(class, &spare));
        spare
    }

    /// Keeps a magazine in place of the spare one, which has been taken, or hands it back if there is no room.
    fn put_spare(&self, class: LargeClass, magazine: Magazine) -> Option<Magazine> {
        let granted = self.granted_bytes.get() + bytes_of(class, &magazine);
        if granted > self.bytes_max.get() {
            return Some(magazine);
        }
        self.granted_bytes.set(granted);
        let before = self.spare(class).replace(magazine);
        debug_check!(before.is_empty(), "large cache in disorder", class.index());
        None
    }

    /// Loads an empty bin with a magazine of the depot, and takes a block.
    pub(crate) fn refill<S: GlobalAlloc>(
        &self,
        heap: &LargeHeap<S>,
        class: LargeClass,
    ) -> Option<NonNull<u8>> {
        if self.blocks_max(class) == 0 {
            return None;
        }
        let magazine = heap.refill(self.shard.get(), class)?;
        let len = magazine.len() as i32;
        if len > self.bin(class).capacity() {
            self.grant(heap, class, len);
        } else {
            self.grow(heap, class);
        }
        self.bin(class).load(magazine);
        self.pop(class)
    }

    /// A new block from the system allocator.
    pub(crate) fn take<S: GlobalAlloc>(
        &self,
        heap: &LargeHeap<S>,
        class: LargeClass,
    ) -> Option<NonNull<u8>> {
        let block = heap.take(class)?;
        self.count_taken(heap, class.bytes() as isize);
        Some(block)
    }

    /// As [`LargeCache::take`], for a block that reads as zero.
    pub(crate) fn take_zeroed<S: GlobalAlloc>(
        &self,
        heap: &LargeHeap<S>,
        class: LargeClass,
    ) -> Option<NonNull<u8>> {
        let block = heap.take_zeroed(class)?;
        self.count_taken(heap, class.bytes() as isize);
        Some(block)
    }

    /// Undoes what a push without room has counted.
    pub(crate) fn refuse_push(&self, class: LargeClass) {
        self.bin(class).refuse_push();
    }

    /// Takes a block for which a push found no room.
    ///
    /// # Safety
    ///
    /// - `block` is of `class`, from `heap`, free, and the caller gives it up.
    pub(crate) unsafe fn push_full<S: GlobalAlloc>(
        &self,
        heap: &LargeHeap<S>,
        block: NonNull<u8>,
        class: LargeClass,
    ) {
        self.bin(class).refuse_push();
        self.make_room(heap, class);
        // SAFETY: the caller owes the block.
        if !unsafe { self.push(block, class) } {
            self.bin(class).refuse_push();
            // SAFETY: the caller owes the block, which was not taken.
            unsafe { heap.give(class, block) };
            self.count_taken(heap, -(class.bytes() as isize));
        }
        debug_check!(self.is_valid(), "large cache in disorder", class.index());
    }

    /// Makes a full loaded magazine an empty one, if the class may have one at all.
    fn make_room<S: GlobalAlloc>(&self, heap: &LargeHeap<S>, class: LargeClass) {
        let full = self.bin(class).unload();
        if full.is_empty() {
            return self.grant(heap, class, self.blocks_grown(class));
        }
        let older = self.take_spare(class);
        let has_asked = self.asked_for.get() & class.bit() != 0;
        let refused = if has_asked { self.put_spare(class, full) } else { Some(full) };
        let leaving = [Some(older).filter(|older| !older.is_empty()), refused];
        if leaving.iter().any(Option::is_some) {
            for magazine in leaving.into_iter().flatten() {
                // SAFETY: what the cache holds of a class came from that class of its heap.
                unsafe { heap.flush(self.shard.get(), class, magazine) };
            }
            self.grow(heap, class);
        }
    }

    /// Blocks that a full-grown magazine of `class` holds.
    fn blocks_max(&self, class: LargeClass) -> i32 {
        let useful = (LARGE_MAGAZINE_BYTES / class.bytes()) as i32;
        let most = useful.clamp(LARGE_MAGAZINE_BLOCKS_MIN, LARGE_MAGAZINE_BLOCKS_MAX);
        // Two magazines of any class fit, whatever the others give up.
        let possible = self.bytes_max.get() / (2 * class.bytes());
        possible.min(most as usize) as i32
    }

    /// The next capacity of a bin that grows.
    fn blocks_grown(&self, class: LargeClass) -> i32 {
        let most = self.blocks_max(class);
        let first = (most / BLOCKS_PER_FIRST).max(1).min(most);
        (2 * self.bin(class).capacity()).clamp(first, most)
    }

    /// Bytes of a magazine of so many blocks.
    fn bytes_granted(class: LargeClass, capacity: i32) -> usize {
        capacity as usize * class.bytes()
    }

    /// Doubles the capacity of an empty bin, as far as that is useful and nothing need be taken from
    /// others for it.
    fn grow<S: GlobalAlloc>(&self, heap: &LargeHeap<S>, class: LargeClass) {
        let capacity = self.blocks_grown(class);
        let before = Self::bytes_granted(class, self.bin(class).capacity());
        let after = Self::bytes_granted(class, capacity);
        if self.granted_bytes.get() - before + after <= self.bytes_max.get() {
            self.grant(heap, class, capacity);
        }
    }

    /// Lets an empty bin hold `capacity` blocks, at most those of a full-grown one, which other
    /// classes may have to give up room for.
    fn grant<S: GlobalAlloc>(&self, heap: &LargeHeap<S>, class: LargeClass, capacity: i32) {
        let before = Self::bytes_granted(class, self.bin(class).capacity());
        let more = Self::bytes_granted(class, capacity).saturating_sub(before);
        for _ in 0..LARGE_CLASS_COUNT {
            if self.granted_bytes.get() + more <= self.bytes_max.get() {
                break;
            }
            let loser = LargeClass::at(self.next_to_lose.get());
            self.next_to_lose.set(loser.index() + 1);
            if loser != class {
                self.revoke(heap, loser);
            }
        }
        self.granted_bytes.set(self.granted_bytes.get() + more);
        self.bin(class).resize(capacity.max(self.bin(class).capacity()));
    }

    /// Takes a class's room, and hands what it holds to the depot.
    fn revoke<S: GlobalAlloc>(&self, heap: &LargeHeap<S>, class: LargeClass) {
        for magazine in self.take_all(class) {
            // SAFETY: what the cache holds of a class came from that class of its heap.
            unsafe { heap.flush(self.shard.get(), class, magazine) };
        }
    }

    /// Takes a class's room and what it holds.
    fn take_all(&self, class: LargeClass) -> [Magazine; 2] {
        let bin = self.bin(class);
        let granted = Self::bytes_granted(class, bin.capacity());
        self.granted_bytes.set(self.granted_bytes.get() - granted);
        let loaded = bin.unload();
        bin.resize(0);
        [loaded, self.take_spare(class)]
    }

    /// Counts bytes taken from the system allocator, or given to it where negative.
    pub(crate) fn count_taken<S: GlobalAlloc>(&self, heap: &LargeHeap<S>, bytes: isize) {
        let taken = self.taken_unreported.get() + bytes;
        self.taken_unreported.set(taken);
        // What comes after the thread's last flush would else never be told.
        if taken.abs() > LARGE_TAKEN_UNREPORTED_MAX || self.bytes_max.get() == 0 {
            heap.report_taken(self.taken_unreported.take());
        }
    }

    /// Bytes that were taken from the system allocator, or given to it where negative, and not counted
    /// by the heap yet.
    pub(crate) fn taken_unreported(&self) -> isize {
        self.taken_unreported.get()
    }

    /// Gives everything back to the system allocator, and returns the bytes.
    pub(crate) fn flush<S: GlobalAlloc>(&self, heap: &LargeHeap<S>) -> usize {
        let mut bytes = 0;
        for class in LargeClass::all() {
            // Most classes are never used by most threads.
            if self.bin(class).capacity() == 0 {
                continue;
            }
            for magazine in self.take_all(class).into_iter().filter(|magazine| !magazine.is_empty())
            {
                // SAFETY: what the cache holds of a class came from that class of its heap.
                bytes += unsafe { heap.give_back(class, magazine) };
            }
        }
        heap.report_taken(self.taken_unreported.take());
        bytes
    }

    /// Gives everything back to the system allocator, for the thread is about to end. The cache still
    /// serves, and keeps nothing.
    pub(crate) fn flush_for_good<S: GlobalAlloc>(&self, heap: &LargeHeap<S>) {
        self.bytes_max.set(0);
        self.flush(heap);
    }

    /// Free blocks that the thread holds, and bytes of them.
    pub(crate) fn cached(&self) -> (usize, usize) {
        LargeClass::all().fold((0, 0), |(all_blocks, bytes), class| {
            let blocks = self.bin(class).len() as usize + cache_bin::len_in(self.spare(class));
            (all_blocks + blocks, bytes + blocks * class.bytes())
        })
    }

    /// Whether the invariants hold. Walks the chains.
    fn is_valid(&self) -> bool {
        let granted = LargeClass::all()
            .map(|class| {
                let spare = cache_bin::len_in(self.spare(class)) * class.bytes();
                Self::bytes_granted(class, self.bin(class).capacity()) + spare
            })
            .sum::<usize>();
        let are_short = |class: LargeClass| {
            cache_bin::len_in(self.spare(class)) as i32 <= self.bin(class).capacity()
        };
        granted == self.granted_bytes.get()
            && granted <= self.bytes_max.get()
            && LargeClass::all().all(|class| {
                are_short(class)
                    && cache_bin::is_valid_in(self.spare(class))
                    && self.bin(class).is_valid()
            })
    }
}

#[cfg(test)]
mod tests;
