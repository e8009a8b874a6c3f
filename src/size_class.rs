//! From a layout to a size class: the one pure function that `alloc`, `dealloc` and `realloc` share.
//!
//! Class `n` (1 to 64) has blocks of `8 * n` bytes. Pools start at a multiple of 4096, so the blocks
//! of a class whose size is a multiple of an alignment all have that alignment: an over-aligned
//! request takes the class of its size rounded up to the alignment.
#![forbid(unsafe_code)]

use core::alloc::Layout;

use crate::config::{ALIGNMENT, CLASS_COUNT, POOL_BYTES, SMALL_MAX};

/// A size class, by the bytes of its blocks: a multiple of 8 from 8 to 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeClass(usize);

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
        // Zero wraps around to a number that is no class's.
        if bytes.wrapping_sub(1) < SMALL_MAX { Some(Self(bytes)) } else { None }
    }

    /// All classes, from the smallest to the largest.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=CLASS_COUNT).map(|number| Self(number * ALIGNMENT))
    }

    /// Its place in an array with an entry for each class: 0 to 63.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.0 / ALIGNMENT - 1
    }

    /// Bytes of each of its blocks.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }

    /// Blocks that a pool of this class holds.
    pub(crate) const fn blocks_per_pool(self) -> u32 {
        (POOL_BYTES / self.bytes()) as u32
    }
}

const _: () = {
    assert!(SizeClass(ALIGNMENT).index() == 0 && SizeClass(SMALL_MAX).index() == CLASS_COUNT - 1);
};

#[cfg(test)]
mod tests;
