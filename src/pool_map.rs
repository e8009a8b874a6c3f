//! The pool map: from any address to the size class of the pool that it lies in, in the manner of the
//! radix tree of CPython 3.10.
//!
//! ```text
//!   address:  | root | mid | leaf | inside the pool |        root -> mid -> leaf -> one byte a pool
//! ```
//!
//! A byte is zero where no pool of blocks is, else the number of the pool's class. It is set when a
//! class takes the pool, before any block of it is out, and cleared when the pool goes back to its
//! arena, before another class may have it. A leaf exists before an arena that it covers is used, and
//! tables are never given back, so that a look-up reads nothing but tables: it has an answer for every
//! number, mapped or not.
//!
//! Any thread may look up any address at any time, without a lock. The answer is exact for whoever
//! owns what is there. A live block came to its owner from the thread that set the byte by way of a
//! lock of the heap, or of whatever handed it on, so the byte is ordered before the look-up, and stays
//! until the owner gives the block up. Where foreign memory is, an arena may have been: its bytes were
//! cleared before it was unmapped, which the system ordered before it mapped anything else there. For
//! an address that nobody owns the answer may be late, and nothing depends on it. So bytes are relaxed.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use static_assertions::const_assert;

use crate::config::{ARENA_BYTES, CLASS_COUNT, POOL_BYTES};
use crate::os::{PageSource, debug_check};
use crate::size_class::SizeClass;

/// Bits of an address that the map tells apart. Systems place nothing above them unless asked to; an
/// arena there would be refused.
const ADDRESS_BITS: u32 = least(usize::BITS, 48);

/// Bits of an address inside a pool.
const POOL_BITS: u32 = POOL_BYTES.ilog2();

/// Bits that index a leaf: it fills a table, with a byte a pool.
const LEAF_BITS: u32 = least(ARENA_BYTES.ilog2(), ADDRESS_BITS - POOL_BITS);

/// Bits that index a mid: it fills a table, with a pointer to each leaf, if there are so many.
const MID_BITS: u32 =
    least((ARENA_BYTES / size_of::<usize>()).ilog2(), ADDRESS_BITS - POOL_BITS - LEAF_BITS);

/// Bits that are left for the root.
const ROOT_BITS: u32 = ADDRESS_BITS - POOL_BITS - LEAF_BITS - MID_BITS;

const LEAF_SHIFT: u32 = POOL_BITS;
const MID_SHIFT: u32 = LEAF_SHIFT + LEAF_BITS;
const ROOT_SHIFT: u32 = MID_SHIFT + MID_BITS;

const ROOT_ENTRIES: usize = 1 << ROOT_BITS;
const MID_ENTRIES: usize = 1 << MID_BITS;
const LEAF_ENTRIES: usize = 1 << LEAF_BITS;

type Leaf = [AtomicU8; LEAF_ENTRIES];
type Mid = [AtomicPtr<Leaf>; MID_ENTRIES];

const_assert!(CLASS_COUNT < u8::MAX as usize);
// What `PageSource::map_table` gives has room for either, and zeroed memory is a table without entries.
const_assert!(size_of::<Leaf>() <= ARENA_BYTES && size_of::<Mid>() <= ARENA_BYTES);
// An arena lies under one leaf.
const_assert!((1_u64 << MID_SHIFT).is_multiple_of(ARENA_BYTES as u64));
// The root lies in the map itself.
const_assert!(ROOT_BITS <= 3);
const_assert!(ROOT_SHIFT + ROOT_BITS == ADDRESS_BITS);

const fn least(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
}

/// A place in a pool that a block may have: in use, free or virgin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) class: SizeClass,
    /// Bytes from the start of the place to the address that was asked for.
    pub(crate) offset: usize,
}

/// The map of one heap. Its tables live as long as their source.
pub(crate) struct PoolMap {
    root: [AtomicPtr<Mid>; ROOT_ENTRIES],
}

impl PoolMap {
    /// A map without pools.
    pub(crate) const fn new() -> Self {
        Self { root: [const { AtomicPtr::new(ptr::null_mut()) }; ROOT_ENTRIES] }
    }

    /// The class of the pool that `address` lies in, if it lies in a pool of blocks.
    #[inline(always)]
    pub(crate) fn class_at(&self, address: usize) -> Option<SizeClass> {
        // Relaxed: the head of this file says why.
        SizeClass::numbered(self.byte_of(address)?.load(Ordering::Relaxed))
    }

    /// The place that `address` lies in; none in the rest behind a pool's last place.
    pub(crate) fn place_at(&self, address: usize) -> Option<Place> {
        let class = self.class_at(address)?;
        let in_pool = address % POOL_BYTES;
        let number = class.blocks_in(in_pool);
        let offset = in_pool - number as usize * class.bytes();
        (number < class.blocks_per_pool()).then_some(Place { class, offset })
    }

    /// Sees to it that the pools of the arena at this address can be set; `false` if they cannot.
    pub(crate) fn cover(&self, arena: usize, pages: &impl PageSource) -> bool {
        let mid = self.root_entry(arena).and_then(|entry| table_of(entry, pages));
        mid.and_then(|mid| table_of(mid_entry(mid, arena), pages)).is_some()
    }

    /// Notes that the pool at this address is one of `class`. Its arena is covered, and the pool the
    /// caller's.
    pub(crate) fn set(&self, pool: usize, class: SizeClass) {
        self.store(pool, class.number());
    }

    /// Notes that the pool at this address has no blocks. The pool is the caller's.
    pub(crate) fn clear(&self, pool: usize) {
        self.store(pool, 0);
    }

    fn store(&self, pool: usize, number: u8) {
        let byte = self.byte_of(pool);
        debug_check!(byte.is_some(), "pool that the map does not cover", pool);
        if let Some(byte) = byte {
            // Relaxed: the head of this file says why.
            byte.store(number, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn byte_of(&self, address: usize) -> Option<&AtomicU8> {
        let mid = table_in(self.root_entry(address)?)?;
        let leaf = table_in(mid_entry(mid, address))?;
        Some(&leaf[address >> LEAF_SHIFT & (LEAF_ENTRIES - 1)])
    }

    #[inline(always)]
    fn root_entry(&self, address: usize) -> Option<&AtomicPtr<Mid>> {
        // In two steps, since all bits may be told apart.
        self.root.get(address >> (ROOT_SHIFT - 1) >> 1)
    }
}

#[inline(always)]
fn mid_entry(mid: &Mid, address: usize) -> &AtomicPtr<Leaf> {
    &mid[address >> MID_SHIFT & (MID_ENTRIES - 1)]
}

/// The table that is published in `entry`.
#[inline(always)]
fn table_in<T>(entry: &AtomicPtr<T>) -> Option<&T> {
    // Acquire: pairs with the release in `table_of`, before which the table was zeroed.
    // SAFETY: what is published is a table of this type, and its source keeps it longer than any map.
    unsafe { entry.load(Ordering::Acquire).as_ref() }
}

/// The table that is published in `entry`, mapped if there was none.
fn table_of<'a, T>(entry: &'a AtomicPtr<T>, pages: &impl PageSource) -> Option<&'a T> {
    if let Some(table) = table_in(entry) {
        return Some(table);
    }
    let made = pages.map_table()?;
    let table = made.cast().as_ptr();
    // Release on success: pairs with the acquires of other threads, here and in `table_in`.
    let published =
        entry.compare_exchange(ptr::null_mut(), table, Ordering::Release, Ordering::Acquire);
    if published.is_err() {
        // SAFETY: made above, and never published.
        unsafe { pages.release_table(made) };
    }
    table_in(entry)
}

#[cfg(test)]
mod tests;
