//! From a layout to a size class: the one pure function that `alloc`, `dealloc` and `realloc` share.
//!
//! Class `n` (1 to 64) has blocks of `8 * n` bytes. Pools start at a multiple of 4096, so the blocks
//! of a class whose size is a multiple of an alignment all have that alignment: an over-aligned
//! request takes the class of its size rounded up to the alignment.
#![forbid(unsafe_code)]

use core::alloc::Layout;

use crate::config::{ALIGNMENT, CLASS_COUNT, POOL_BYTES, SMALL_MAX};

/// A size class, by its number from 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeClass(usize);

impl SizeClass {
    /// The class that serves `layout`, or `None` if it is a large block's (or of size zero).
    ///
    /// Compiles to constants where the layout is one.
    #[inline(always)]
    pub(crate) const fn of(layout: Layout) -> Option<Self> {
        let align = if layout.align() > ALIGNMENT { layout.align() } else { ALIGNMENT };
        // A layout's size, rounded up to its alignment, fits into an `isize`; rounded up to 8 it
        // fits into a `usize`.
        let bytes = layout.size().wrapping_add(align - 1) & align.wrapping_neg();
        // Zero wraps around to a number that is no class's.
        if (bytes / ALIGNMENT).wrapping_sub(1) < CLASS_COUNT {
            Some(Self(bytes / ALIGNMENT))
        } else {
            None
        }
    }

    /// All classes, from the smallest to the largest.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=CLASS_COUNT).map(Self)
    }

    /// Its place in an array with an entry for each class: 0 to 63.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.0 - 1
    }

    /// Bytes of each of its blocks.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        self.0 * ALIGNMENT
    }

    /// Blocks that a pool of this class holds.
    pub(crate) const fn blocks_per_pool(self) -> u32 {
        (POOL_BYTES / self.bytes()) as u32
    }
}

const _: () = {
    let largest = SizeClass(CLASS_COUNT);
    assert!(largest.bytes() == SMALL_MAX && largest.index() == CLASS_COUNT - 1);
};

#[cfg(test)]
mod tests;
