//! What one shard of the heap has of one class: called with the lock held that it lies behind.

use core::ops::{Deref, DerefMut};

use super::Supply;
use super::swing::Swing;
use crate::block::{COVER_BYTES, Chain, Magazine};
use crate::config::{
    CLASS_COUNT, DEPOT_BYTES_MAX, DEPOT_MAGAZINES, ONE_WAY_FLUSHES, REFILL_POOLS_MAX, SWING_FLUSHES,
};
use crate::depot::{Depot, DepotBase, Shelves, Stock, shelves_above_base};
use crate::os::debug_check;
use crate::pool::{Change, Pool, PoolList, Shard};
use crate::size_class::SizeClass;

/// Used pools of a class that debug builds look at whenever it changes.
pub(super) const CHECKED_POOLS: usize = 4;

/// What the depots of one shard keep their magazines on.
pub(super) type HeapShelves = Shelves<CLASS_COUNT, DEPOT_SHELVES>;

const DEPOT_SHELVES: usize = shelves_above_base(DEPOT_MAGAZINES);

/// So many flushes stand for a drop that is larger than those before: nothing of it is piled up any more.
const LARGER_DROP: u32 = u32::MAX;

/// What one shard has of one class.
pub(super) struct ClassHeap {
    pub(super) depot: DepotBase,
    pub(super) used: PoolList,
    /// Or [`LARGER_DROP`].
    pub(super) flushes_since_refill: u32,
    pub(super) swing: Swing,
}

/// What has become of a magazine that came.
pub(super) enum Put {
    InPlace,
    OnPile,
    /// It is to go to its pools.
    Refused(Magazine),
}

/// A magazine that leaves its depot; it is still counted.
pub(super) struct Leaving {
    pub(super) magazine: Magazine,
    pub(super) was_piled: bool,
}

// SAFETY: the chains and pools behind its pointers belong to the heap, and are changed by whoever has
// the lock around this value alone.
unsafe impl Send for ClassHeap {}

impl ClassHeap {
    pub(super) const EMPTY: Self = Self {
        depot: DepotBase::EMPTY,
        used: PoolList::EMPTY,
        flushes_since_refill: 0,
        swing: Swing::NONE,
    };

    /// Whether the first `most` used pools have some blocks in use and some not, and are those of this
    /// class. Walks their free chains.
    pub(super) fn is_valid(&self, shard: Shard, class: SizeClass, most: usize) -> bool {
        self.used.is_valid(most, |pool| {
            let (is_between, is_own) =
                (!pool.is_full() && !pool.is_empty(), pool.class() == Some(class));
            is_between && is_own && pool.shard() == shard && pool.is_valid()
        })
    }

    /// Free blocks of the first used pools, at most `most`; if the first has none, virgin ones.
    #[inline]
    pub(super) fn gather(&mut self, class: SizeClass, most: u32) -> Option<Supply> {
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

    /// Gives a run of blocks back to their pool. If that becomes empty, it is unlinked and put on
    /// `empty`.
    ///
    /// # Safety
    ///
    /// - The run lies in that pool, which is one of this shard and class.
    /// - The pointers to its blocks may be used for all of their arena.
    #[inline]
    pub(super) unsafe fn give(
        &mut self,
        class: SizeClass,
        pool: Pool,
        run: Chain,
        empty: &mut PoolList,
    ) {
        // SAFETY: the caller owes that the run lies in this pool.
        let change = unsafe { pool.give(class, run) };
        self.relink(pool, change, empty);
    }

    /// Puts a pool that got blocks back where its state belongs.
    #[inline]
    pub(super) fn relink(&mut self, pool: Pool, change: Change, empty: &mut PoolList) {
        let Change { was_full, is_empty } = change;
        debug_check!(!(was_full || is_empty) || pool.is_valid(), "pool in disorder", pool.index());
        match (was_full, is_empty) {
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

/// What one shard has of one class while its lock is held, with the depot's magazines.
pub(super) struct OpenClass<'a, G> {
    heap: G,
    shelves: &'a HeapShelves,
    index: usize,
}

impl<'a, G: DerefMut<Target = ClassHeap>> OpenClass<'a, G> {
    /// The class `index` of the shard that has the shelves.
    ///
    /// # Safety
    ///
    /// - `heap` is the guard of that class's lock, and always of that lock for these shelves and this index.
    #[inline]
    pub(super) unsafe fn new(heap: G, shelves: &'a HeapShelves, index: usize) -> Self {
        Self { heap, shelves, index }
    }

    /// The depot.
    #[inline]
    pub(super) fn depot(&mut self) -> Depot<'_, &mut DepotBase, CLASS_COUNT, DEPOT_SHELVES> {
        // SAFETY: whoever made this owes that the base is this depot's, and behind the lock held.
        unsafe { self.shelves.depot(self.index, &mut self.heap.depot) }
    }

    /// Whether nothing has been asked for since so many flushes that nothing is to be kept, but what swings are known to
    /// take back.
    pub(super) fn is_one_way(&self) -> bool {
        self.heap.flushes_since_refill > ONE_WAY_FLUSHES
    }

    /// Takes a magazine of `class`, this one, which `stock` has counted: in a place if there is one for it, else on the
    /// pile if it is known to be asked for again.
    pub(super) fn put(&mut self, class: SizeClass, mut magazine: Magazine, stock: &Stock) -> Put {
        let heap = &mut *self.heap;
        heap.flushes_since_refill = heap.flushes_since_refill.saturating_add(1);
        if !self.is_one_way() && stock.finds_place(DEPOT_BYTES_MAX) {
            match self.depot().push(magazine) {
                None => return Put::InPlace,
                Some(refused) => magazine = refused,
            }
        }
        let (len, piled) = (magazine.len(), self.heap.depot.piled());
        let bytes = len as usize * class.bytes();
        let is_large = self.heap.flushes_since_refill == LARGER_DROP;
        if !is_large && self.heap.swing.permits(piled, len) && class.bytes() >= COVER_BYTES {
            stock.comes_to_pile(bytes);
            // SAFETY: as large as that, as just seen.
            match unsafe { self.depot().pile(magazine) } {
                None => {
                    stock.leaves(bytes);
                    return Put::OnPile;
                }
                Some(refused) => magazine = refused,
            }
            stock.leaves_pile(bytes);
        }
        if self.heap.flushes_since_refill >= SWING_FLUSHES {
            self.heap.swing.go(class, len);
        }
        if self.is_one_way() {
            self.heap.flushes_since_refill = LARGER_DROP;
        }
        Put::Refused(magazine)
    }

    /// The magazine that came last.
    pub(super) fn pop(&mut self) -> Option<Leaving> {
        let was_piled = self.heap.depot.piled() > 0;
        let magazine = self.depot().pop()?;
        if was_piled {
            let piled = self.heap.depot.piled();
            self.heap.swing.pile_falls_to(piled);
        }
        Some(Leaving { magazine, was_piled })
    }
}

impl<G: Deref<Target = ClassHeap>> Deref for OpenClass<'_, G> {
    type Target = ClassHeap;

    fn deref(&self) -> &ClassHeap {
        &self.heap
    }
}

impl<G: DerefMut<Target = ClassHeap>> DerefMut for OpenClass<'_, G> {
    fn deref_mut(&mut self) -> &mut ClassHeap {
        &mut self.heap
    }
}
