//! The pool map: from any address to the size class of the pool that it lies in.
//!
//! A radix tree whose leaves have a byte for each pool; those of the first arena lie apart. A byte is zero where no
//! pool of blocks is, else the number of the pool's class. It is set when a class takes the pool, before any block of
//! it is out, and cleared when the pool goes back to its arena, before another class may have it. That of the pool which
//! has an arena's headers says whether the arena is mapped.
//!
//! Any thread may look up any address at any time, without a lock. The answer is exact for whoever
//! owns what is there. A live block came to its owner from the thread that set the byte by way of a
//! lock of the heap, or of whatever handed it on, so the byte is ordered before the look-up, and stays
//! until the owner gives the block up. Where foreign memory is, an arena may have been: its bytes were
//! cleared before it was unmapped, which the system ordered before it mapped anything else there. For
//! an address that nobody owns the answer may be late, and nothing depends on it. So bytes are relaxed.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use static_assertions::const_assert;

use crate::config::{ARENA_BYTES, CLASS_COUNT, POOL_BYTES, POOLS_PER_ARENA};
use crate::os::{PageSource, debug_check};
use crate::radix::{ADDRESS_BITS, Leaf, Radix, least, root_entries};
use crate::size_class::SizeClass;

/// Bits of an address inside a pool.
const POOL_BITS: u32 = POOL_BYTES.ilog2();

/// Bits that index a leaf's bytes: it fills a table, if there are so many pools.
const INDEX_BITS: u32 = least(ARENA_BYTES.ilog2(), ADDRESS_BITS - POOL_BITS);

const PLACES: usize = 1 << INDEX_BITS;

/// The classes of pools that lie side by side.
struct Classes([AtomicU8; PLACES]);

// SAFETY: zeroed memory is as many zeros; a table has room for a byte each, as INDEX_BITS says.
unsafe impl Leaf for Classes {
    const BITS: u32 = POOL_BITS + INDEX_BITS;
}

/// What the byte of an arena's first pool is while the arena is mapped. No class has this bit in its number.
const MAPPED: u8 = 1 << 7;

const_assert!(CLASS_COUNT < MAPPED as usize);
const_assert!(size_of::<Classes>() <= ARENA_BYTES);
// An arena lies under one leaf.
const_assert!((1_u64 << Classes::BITS).is_multiple_of(ARENA_BYTES as u64));
// The root lies in the map itself.
const_assert!(root_entries(Classes::BITS) <= 8);

/// A place in a pool that a block may have: in use, free or virgin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) class: SizeClass,
    /// Bytes from the start of the place to the address that was asked for.
    pub(crate) offset: usize,
}

/// Whether the classes of one arena's pools lie in the map itself: most processes that hardly allocate have but one, many
/// of them run for a moment, and so they touch no tables. Not where each free asks for the class of an address: there
/// the question which arena it is would cost more.
const FIRST_LIES_IN_MAP: bool = cfg!(not(feature = "preload"));

/// The classes of the pools of the arena that was covered first.
struct FirstArena {
    /// Its address, for good: an arena that is mapped there once more is this one again. Zero, where none is, before
    /// there is one.
    start: AtomicUsize,
    classes: [AtomicU8; POOLS_PER_ARENA],
}

impl FirstArena {
    /// That of a map which covers nothing yet.
    const fn none() -> Self {
        Self { start: AtomicUsize::new(0), classes: [const { AtomicU8::new(0) }; POOLS_PER_ARENA] }
    }

    /// Whether the arena at this address is the first, as it is from now on if there was none.
    fn is_or_becomes(&self, arena: usize) -> bool {
        // Relaxed, as the bytes are: whoever owns what lies there has it by way of the thread that covered the arena.
        let before = self.start.compare_exchange(0, arena, Ordering::Relaxed, Ordering::Relaxed);
        before.is_ok() || before == Err(arena)
    }

    #[inline(always)]
    fn byte_of(&self, address: usize) -> Option<&AtomicU8> {
        // Relaxed: see `is_or_becomes`; for an address that nobody owns the answer may be late.
        let offset = address.wrapping_sub(self.start.load(Ordering::Relaxed));
        self.classes.get(offset / POOL_BYTES)
    }
}

/// The map of one heap. Its tables live as long as their source.
pub(crate) struct PoolMap {
    first: FirstArena,
    classes: Radix<Classes, { root_entries(Classes::BITS) }>,
}

impl PoolMap {
    /// A map without pools.
    pub(crate) const fn new() -> Self {
        Self { first: FirstArena::none(), classes: Radix::new() }
    }

    /// The class of the pool that `address` lies in, if it lies in a pool of blocks.
    #[inline(always)]
    pub(crate) fn class_at(&self, address: usize) -> Option<SizeClass> {
        // Relaxed: the head of this file says why.
        SizeClass::numbered(self.byte_of(address)?.load(Ordering::Relaxed) & !MAPPED)
    }

    /// The place that `address` lies in; none before a pool's first place, and behind its last.
    pub(crate) fn place_at(&self, address: usize) -> Option<Place> {
        let class = self.class_at(address)?;
        let in_pool = address % POOL_BYTES;
        let in_places = in_pool.checked_sub(class.first_block(address - in_pool))?;
        let number = class.blocks_in(in_places);
        let offset = in_places - number as usize * class.bytes();
        (number < class.blocks_per_pool()).then_some(Place { class, offset })
    }

    /// Sees to it that the pools of the arena at this address can be set; `false` if they cannot.
    pub(crate) fn cover(&self, arena: usize, pages: &impl PageSource) -> bool {
        let is_first = FIRST_LIES_IN_MAP && self.first.is_or_becomes(arena);
        is_first || self.classes.cover(arena, pages).is_some()
    }

    /// Notes that the pool at this address is one of `class`. Its arena is covered, and the pool the
    /// caller's.
    pub(crate) fn set(&self, pool: usize, class: SizeClass) {
        self.store(pool, class.number());
    }

    /// Notes that the arena at this address is mapped. It is covered, and the caller has the lock of those that are.
    pub(crate) fn set_mapped(&self, arena: usize) {
        self.store(arena, MAPPED);
    }

    /// Whether an arena is mapped at this address. The caller has the lock.
    pub(crate) fn is_mapped(&self, arena: usize) -> bool {
        // Relaxed: the lock orders it behind whatever set and cleared the byte.
        self.byte_of(arena).is_some_and(|byte| byte.load(Ordering::Relaxed) == MAPPED)
    }

    /// Notes that the pool at this address has no blocks, or the arena is not mapped. The pool is the caller's.
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
        let in_first = if FIRST_LIES_IN_MAP { self.first.byte_of(address) } else { None };
        in_first.or_else(|| {
            let Classes(bytes) = self.classes.leaf(address)?;
            Some(&bytes[address >> POOL_BITS & (PLACES - 1)])
        })
    }
}

#[cfg(test)]
mod tests;
