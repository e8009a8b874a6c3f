//! From a layout to a size class: a pure function, so that what frees or resizes a block finds the class that it was
//! allocated from. What looks a bin up must agree with it.
//!
//! Class `n` (1 to 64) has blocks of `8 * n` bytes. Pools start at a multiple of 4096, and their first block a multiple
//! of the largest power of two in the class's bytes behind that, so the blocks of a class whose size is a multiple of
//! an alignment all have that alignment: an over-aligned request takes the class of its size rounded up to the alignment.
#![forbid(unsafe_code)]

use core::alloc::Layout;
use core::num::NonZero;

use static_assertions::const_assert;

use crate::config::{ALIGNMENT, CLASS_COUNT, POOL_BYTES, POOLS_PER_ARENA, SMALL_MAX};
use crate::os::debug_check;

/// A size class, by the bytes of its blocks: a multiple of 8 from 8 to 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeClass(NonZero<usize>);

/// Blocks of each class that a pool holds: looked up, for a pool is asked if it is full at each exchange, and a
/// division takes ten times as long.
const BLOCKS_PER_POOL: [u16; CLASS_COUNT] = {
    let mut blocks = [0; CLASS_COUNT];
    let mut index = 0;
    while index < CLASS_COUNT {
        blocks[index] = (POOL_BYTES / (ALIGNMENT * (index + 1))) as u16;
        index += 1;
    }
    blocks
};

/// Places that the first block of a pool of each class may have: as far apart as its blocks are aligned.
const COLOURS: [u8; CLASS_COUNT] = {
    let mut colours = [0; CLASS_COUNT];
    let mut index = 0;
    while index < CLASS_COUNT {
        let bytes = ALIGNMENT * (index + 1);
        colours[index] = (((POOL_BYTES % bytes) >> bytes.trailing_zeros()) + 1) as u8;
        index += 1;
    }
    colours
};

/// The odd number next to the golden section of an arena's pools: their numbers, multiplied by it, are spread evenly.
const GOLDEN: usize = 39;

impl SizeClass {
    /// The class that serves `layout`, or `None` if it is a large block's (or of size zero).
    ///
    /// Compiles to constants where the layout is one, and without a branch on the alignment where
    /// it is not.
    #[inline(always)]
    pub(crate) const fn of(layout: Layout) -> Option<Self> {
        // Alignments are powers of two, so this is the larger of the two, less one.
        let below = (layout.align() - 1) | (ALIGNMENT - 1);
        // A layout's size, rounded up to its alignment, fits into an `isize`; rounded up to 8 it
        // fits into a `usize`.
        let bytes = layout.size().wrapping_add(below) & !below;
        match NonZero::new(bytes) {
            Some(bytes) if bytes.get() <= SMALL_MAX => Some(Self(bytes)),
            _ => None,
        }
    }

    /// All classes, from the smallest to the largest.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=CLASS_COUNT).filter_map(|number| NonZero::new(number * ALIGNMENT)).map(Self)
    }

    /// The class with this number; `None` for zero.
    #[inline(always)]
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        debug_check!(usize::from(number) <= CLASS_COUNT, "no such class", number.into());
        NonZero::new(usize::from(number) * ALIGNMENT).map(Self)
    }

    /// The class with this index; `None` beyond the last.
    #[inline]
    pub(crate) const fn at(index: usize) -> Option<Self> {
        match NonZero::new((index + 1) * ALIGNMENT) {
            Some(bytes) if bytes.get() <= SMALL_MAX => Some(Self(bytes)),
            _ => None,
        }
    }

    /// Its number, from 1 to 64.
    pub(crate) const fn number(self) -> u8 {
        (self.0.get() / ALIGNMENT) as u8
    }

    /// Its place in an array with an entry for each class: 0 to 63.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.0.get() / ALIGNMENT - 1
    }

    /// Its place in a word with a bit for each class.
    pub(crate) const fn bit(self) -> u64 {
        const_assert!(CLASS_COUNT <= u64::BITS as usize);
        1 << (self.index() % CLASS_COUNT)
    }

    /// Bytes of each of its blocks.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        self.0.get()
    }

    /// Blocks of this class that have `bytes` bytes together, rounded down.
    pub(crate) fn blocks_in(self, bytes: usize) -> u32 {
        (bytes / self.0) as u32
    }

    /// Blocks that a pool of this class holds.
    pub(crate) const fn blocks_per_pool(self) -> u32 {
        // The index is in range, so the remainder changes nothing but the proof.
        BLOCKS_PER_POOL[self.index() % CLASS_COUNT] as u32
    }

    /// How far behind the start of the pool at this address its first block lies: what its blocks leave free is spread,
    /// from pool to pool, before and behind them. Else the eleven blocks of 368 bytes in each pool would start at the
    /// same eleven of the 64 places that a page's cache lines have in a processor's first cache (the colours of Bonwick,
    /// "The Slab Allocator", 1994).
    pub(crate) const fn first_block(self, pool: usize) -> usize {
        const_assert!(POOLS_PER_ARENA.is_power_of_two() && GOLDEN % 2 == 1);
        let colours = COLOURS[self.index() % CLASS_COUNT] as usize;
        // Neighbours are far apart, and the pools of an arena have all colours about equally often.
        let place = (pool / POOL_BYTES * GOLDEN) % POOLS_PER_ARENA;
        (place * colours / POOLS_PER_ARENA) << self.bytes().trailing_zeros()
    }
}

#[cfg(test)]
mod tests;
