//! The depots of the heap: what comes to them and leaves them, and what they keep of the program's swings. Any thread may
//! call any function, with no lock held.

use core::sync::atomic::Ordering;

use super::class::{ClassHeap, Leaving, Put};
use super::{Direction, Heap, bytes_of, shard_of};
use crate::block::Magazine;
use crate::config::{
    CLASS_COUNT, DEPOT_BYTES_MAX, DEPOT_MAGAZINES, MAGAZINE_BYTES_MAX, MAPPED_PER_PILED,
    SHRUNK_PER_ARENA, SWING_BYTES_MAX, SWING_LOOKS, UNUSED_BYTES_PER_LOOK_MAX,
};
use crate::depot::EVICTIONS_MAX;
use crate::os::PageSource;
use crate::pool::Shard;
use crate::size_class::SizeClass;

impl<P: PageSource> Heap<P> {
    /// Whether the depots of `shard` have place for a magazine.
    pub(crate) fn has_place(&self, shard: Shard) -> bool {
        self.stock(shard).bytes() + MAGAZINE_BYTES_MAX <= DEPOT_BYTES_MAX
    }

    /// Takes a full magazine: for the depot of the shard that its first block came from, where it
    /// will be asked for, or for the pools where that depot is full or not worth it.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    pub(crate) unsafe fn flush(&self, class: SizeClass, magazine: Magazine) -> Direction {
        self.tick();
        let Some(first) = magazine.first() else { return Direction::BothWays };
        // SAFETY: the caller owes where the block came from.
        let home = unsafe { shard_of(first) };
        // SAFETY: the caller owes where the blocks came from.
        unsafe { self.put_in_depot(home, class, magazine) }
    }

    /// Has some magazines leave if the depots of `shard` hold more than they may.
    fn evict_for_place(&self, shard: Shard) {
        self.stock(shard).evict_beyond(DEPOT_BYTES_MAX, |index| {
            let class = SizeClass::all().nth(index % CLASS_COUNT);
            class.is_some_and(|class| self.evict_from_place(shard, class))
        });
    }

    /// Takes a full magazine for the depot of `home`, or gives it back to the pools, with what the depot holds where
    /// that is not worth it.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    unsafe fn put_in_depot(&self, home: Shard, class: SizeClass, magazine: Magazine) -> Direction {
        let (stock, len) = (self.stock(home), magazine.len());
        stock.comes(bytes_of(class, &magazine));
        let mut heap = self.lock(home, class);
        let put = heap.put(class, magazine, stock);
        let unused = heap.depot().pop_unused();
        let is_one_way = heap.is_one_way();
        let (blocks, piled) = (heap.depot.blocks(), heap.depot.piled());
        drop(heap);
        if let Some(magazine) = unused {
            // SAFETY: what the depot holds came through here.
            unsafe { self.leave_place(home, class, magazine) };
        }
        let refused = match put {
            Put::InPlace => {
                self.evict_for_place(home);
                return Direction::BothWays;
            }
            Put::OnPile => {
                if piled == len {
                    self.arenas.want_watch();
                }
                return Direction::BothWays;
            }
            Put::Refused(magazine) => magazine,
        };
        // SAFETY: the caller owes where the blocks came from.
        let runs = unsafe { self.leave_place(home, class, refused) };
        self.note_drop();
        if !is_one_way {
            return Direction::BothWays;
        }
        if blocks > 0 {
            self.leave_with_drop(home, class);
        }
        Direction::OneWay { runs }
    }

    /// Has what a depot holds leave with a drop of which nothing is to be kept: all of it, but of a pile, which may be long,
    /// a few magazines at a time.
    fn leave_with_drop(&self, shard: Shard, class: SizeClass) {
        for evictions in 0..DEPOT_MAGAZINES {
            let mut heap = self.lock(shard, class);
            let piled = heap.depot.piled();
            if piled > 0 && (evictions >= EVICTIONS_MAX || !heap.swing.is_beyond(piled)) {
                return;
            }
            let Some(leaving) = heap.pop() else { return };
            drop(heap);
            let magazine = self.uncount(shard, class, leaving);
            // SAFETY: what the depot holds came through `flush`.
            unsafe { self.give_back(class, magazine) };
        }
    }

    /// Counts a magazine of the depots of `shard` no more.
    pub(super) fn uncount(&self, shard: Shard, class: SizeClass, leaving: Leaving) -> Magazine {
        let bytes = bytes_of(class, &leaving.magazine);
        if leaving.was_piled {
            self.stock(shard).leaves_pile(bytes);
        } else {
            self.stock(shard).leaves(bytes);
        }
        leaving.magazine
    }

    /// Has a depot let a magazine leave, and says if it had one.
    fn evict(&self, shard: Shard, class: SizeClass) -> bool {
        let leaving = self.lock(shard, class).pop();
        let Some(leaving) = leaving else { return false };
        let magazine = self.uncount(shard, class, leaving);
        // SAFETY: what the depot holds came through `flush`.
        unsafe { self.give_back(class, magazine) };
        true
    }

    /// As [`Heap::evict`], but for what lies below a pile.
    fn evict_from_place(&self, shard: Shard, class: SizeClass) -> bool {
        let mut heap = self.lock(shard, class);
        let evicted = if heap.depot.piled() > 0 { None } else { heap.depot().pop() };
        drop(heap);
        let Some(magazine) = evicted else { return false };
        // SAFETY: what the depot holds came through `flush`.
        unsafe { self.leave_place(shard, class, magazine) };
        true
    }

    /// Gives back a magazine that has just left its place in a depot of `shard`, or found none there, and returns the
    /// number of its runs.
    ///
    /// # Safety
    ///
    /// - The blocks came from this class of this heap.
    unsafe fn leave_place(&self, shard: Shard, class: SizeClass, magazine: Magazine) -> u32 {
        self.stock(shard).leaves(bytes_of(class, &magazine));
        // SAFETY: the caller owes where the blocks came from.
        unsafe { self.give_back(class, magazine) }
    }

    /// Gives a magazine back that the depot of `shard` has for nothing, if there is one.
    pub(crate) fn give_back_unused(&self, shard: Shard, class: SizeClass) {
        let unused = self.lock(shard, class).depot().pop_unused();
        if let Some(magazine) = unused {
            // SAFETY: what the depot holds came through `flush`.
            unsafe { self.leave_place(shard, class, magazine) };
        }
    }

    /// Empties all depots, and gives back what waits for threads, so that pools which only that kept from being
    /// empty can serve any class. Nothing is known of swings any more.
    pub(crate) fn empty_depots(&self) {
        self.joined_from(Shard::FIRST).for_each(|shard| self.empty_depots_of(shard));
    }

    pub(super) fn empty_depots_of(&self, shard: Shard) {
        self.empty_parked(shard);
        let stock = self.stock(shard);
        if stock.bytes() + stock.piled_bytes() > 0 {
            for class in SizeClass::all() {
                let allowance = self.lock(shard, class).swing.forget();
                self.disallow(class, allowance);
                // One magazine at a time so that nobody waits long.
                while self.evict(shard, class) {}
            }
        }
    }

    /// As [`Heap::empty_depots`], for who has not asked for it and should not wait long: but for piles, and what they lie
    /// on. These are looked at.
    pub(crate) fn empty_places(&self) {
        self.joined_from(Shard::FIRST).for_each(|shard| self.empty_places_of(shard));
    }

    pub(super) fn empty_places_of(&self, shard: Shard) {
        self.empty_parked(shard);
        if self.stock(shard).bytes() > 0 {
            for class in SizeClass::all() {
                while self.evict_from_place(shard, class) {}
            }
        }
    }

    /// Something has gone to the pools in a drop.
    fn note_drop(&self) {
        // Relaxed, as all that says how much to keep: nothing is guarded. Read first, for a line that none writes stays
        // in the caches of all.
        if !self.has_dropped.load(Ordering::Relaxed) {
            self.has_dropped.store(true, Ordering::Relaxed);
        }
    }

    /// So many blocks were taken from the pools of `heap`: of what went there in a drop, the depot keeps as much the next
    /// time.
    pub(super) fn learn_swing(&self, class: SizeClass, heap: &mut ClassHeap, blocks: u32) {
        let regretted = heap.swing.take(blocks);
        let bytes = regretted as usize * class.bytes();
        if regretted == 0 || self.allowed_bytes.load(Ordering::Relaxed) + bytes > SWING_BYTES_MAX {
            return;
        }
        self.allowed_bytes.fetch_add(bytes, Ordering::Relaxed);
        heap.swing.allow(regretted);
    }

    /// Depots may keep so many blocks of drops less.
    fn disallow(&self, class: SizeClass, blocks: u32) {
        if blocks > 0 {
            self.allowed_bytes.fetch_sub(blocks as usize * class.bytes(), Ordering::Relaxed);
        }
    }

    /// Has some of what lies in piles for nothing leave, and now and then looks what that is: all that is in a shard without
    /// threads. To be called with each look.
    pub(super) fn age_piles(&self) {
        if !self.has_dropped.load(Ordering::Relaxed) {
            return;
        }
        let looks = self.pile_looks.fetch_add(1, Ordering::Relaxed);
        let mut left = UNUSED_BYTES_PER_LOOK_MAX;
        for shard in self.joined_from(Shard::FIRST) {
            let is_left = self.is_left(shard);
            for class in SizeClass::all() {
                let mut heap = self.lock(shard, class);
                let piled = heap.depot.piled();
                if heap.swing.is_idle() && piled == 0 {
                    continue;
                }
                if looks.is_multiple_of(SWING_LOOKS) {
                    heap.swing.look(piled);
                }
                let unused = if is_left { piled } else { heap.swing.unused() };
                drop(heap);
                let most = (unused as usize * class.bytes()).min(left);
                left = left.saturating_sub(self.shrink_pile(shard, class, most));
            }
        }
    }

    /// Has about so many bytes leave a pile, which may not have them again, and returns how many did.
    pub(super) fn shrink_pile(&self, shard: Shard, class: SizeClass, most: usize) -> usize {
        let mut bytes = 0;
        while bytes < most {
            let mut heap = self.lock(shard, class);
            if heap.depot.piled() == 0 {
                break;
            }
            let Some(leaving) = heap.pop() else { break };
            let lost = heap.swing.disallow(leaving.magazine.len());
            drop(heap);
            self.disallow(class, lost);
            bytes += bytes_of(class, &leaving.magazine);
            let magazine = self.uncount(shard, class, leaving);
            // SAFETY: what the depot holds came through `flush`.
            unsafe { self.give_back(class, magazine) };
        }
        bytes
    }

    /// An arena is about to be mapped: if that is for what lies in piles of other classes, these shrink.
    pub(super) fn shrink_piles_for_arena(&self) {
        let piled: usize = self.stocks.iter().map(|stock| stock.piled_bytes()).sum();
        if piled * MAPPED_PER_PILED <= self.arenas.mapped_bytes() {
            return;
        }
        let mut left = SHRUNK_PER_ARENA;
        for _ in 0..CLASS_COUNT {
            let turn = self.next_to_shrink.fetch_add(1, Ordering::Relaxed);
            let Some(class) = SizeClass::all().nth(turn % CLASS_COUNT) else { return };
            for shard in self.joined_from(Shard::FIRST) {
                left = left.saturating_sub(self.shrink_pile(shard, class, left));
            }
            if left == 0 {
                return;
            }
        }
    }
}
