//! From a layout to the bin that serves it: small and large classes in one step, without a branch that tells the two
//! apart.
//!
//! A program whose sizes lie on both sides of 512 bytes in no order has a processor guess wrong at every other one of
//! the rarer kind, once when it allocates and once when it frees, at the price of a whole free each time. Looked up, a class
//! costs the same whichever it is; larger sizes than are in the table are found by their class.
#![forbid(unsafe_code)]

use core::alloc::Layout;

use static_assertions::const_assert;

use crate::cache_bin::Bin;
use crate::config::{
    ALIGNMENT, CLASS_COUNT, LARGE_ALIGNMENT, LARGE_CACHED_MAX, LARGE_CLASS_COUNT, SMALL_MAX,
};
use crate::large_class::LargeClass;
use crate::size_class::SizeClass;

/// Bins of a thread: those of the size classes, and behind them those of the large ones.
pub(crate) const BIN_COUNT: usize = CLASS_COUNT + LARGE_CLASS_COUNT;

/// The largest request whose bin is looked up. The table has two bytes for each eight of it, and a program touches what its
/// sizes need; larger blocks are filled for much longer than it takes to find their class otherwise.
pub(crate) const LOOKED_UP_MAX: usize = 8 * 1024;

const_assert!(SMALL_MAX <= LOOKED_UP_MAX && LOOKED_UP_MAX <= LARGE_CACHED_MAX);
const_assert!(LOOKED_UP_MAX.is_multiple_of(LARGE_ALIGNMENT));
const_assert!(BIN_COUNT * size_of::<Bin>() <= u16::MAX as usize);

/// The place of the bin for all sizes that end in each eight bytes. Arithmetic that needs no branch (of two straight lines,
/// the lower) takes longer where sizes are all small; and a table of indices, an instruction more to save half of this.
/// By reference, or debug builds would copy it each time.
const PLACES: &[u16; LOOKED_UP_MAX / ALIGNMENT] = &{
    let mut places = [0; LOOKED_UP_MAX / ALIGNMENT];
    let mut step = 0;
    while step < places.len() {
        let index = match Layout::from_size_align((step + 1) * ALIGNMENT, 1) {
            Ok(layout) => match (SizeClass::of(layout), LargeClass::of(layout)) {
                (Some(class), _) => BinIndex::of_small(class),
                (None, Some(class)) => BinIndex::of_large(class),
                (None, None) => panic!("every size has a class"),
            },
            Err(_) => panic!("no size is that large"),
        };
        places[step] = index.place() as u16;
        step += 1;
    }
    places
};

/// Which of a thread's bins: 0 to `BIN_COUNT - 1`.
///
/// Kept as the bytes between the first bin and this one, which a fast path adds to an address as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BinIndex(usize);

/// What a bin has blocks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinClass {
    Small(SizeClass),
    Large(LargeClass),
}

impl BinIndex {
    /// The bin of the class that serves `layout`, if it is a small block's, or has at most `most` bytes, of at most
    /// [`LOOKED_UP_MAX`] that a bin is looked up for. `most` is a multiple of the system allocator's alignment, and no
    /// less than small blocks have.
    ///
    /// Compiles to a constant where the layout is one, and to one comparison each of the size and of the alignment where
    /// it is not.
    #[inline(always)]
    pub(crate) const fn of(layout: Layout, most: usize) -> Option<Self> {
        // The last of its bytes, counted from zero, once the size is rounded up to the alignment: no bytes at all become
        // more than there can be.
        let last = layout.size().wrapping_sub(1) | (layout.align() - 1);
        if layout.align() <= LARGE_ALIGNMENT {
            return if last < most { Self::looked_up(last) } else { None };
        }
        // What is more aligned than the system allocator's blocks can only be a small one.
        if last < SMALL_MAX { Self::looked_up(last) } else { None }
    }

    #[inline(always)]
    const fn looked_up(last: usize) -> Option<Self> {
        if last < LOOKED_UP_MAX { Some(Self(PLACES[last / ALIGNMENT] as usize)) } else { None }
    }

    /// The bin of a size class.
    #[inline(always)]
    pub(crate) const fn of_small(class: SizeClass) -> Self {
        Self(class.index() * size_of::<Bin>())
    }

    /// The bin of a class of large blocks.
    #[inline(always)]
    pub(crate) const fn of_large(class: LargeClass) -> Self {
        Self((CLASS_COUNT + class.index()) * size_of::<Bin>())
    }

    /// What the bin has blocks of.
    #[inline]
    pub(crate) fn class(self) -> BinClass {
        let index = self.0 / size_of::<Bin>();
        match SizeClass::at(index) {
            Some(class) => BinClass::Small(class),
            None => BinClass::Large(LargeClass::at(index.wrapping_sub(CLASS_COUNT))),
        }
    }

    /// Bytes of each block in the bin.
    #[inline]
    pub(crate) fn block_bytes(self) -> usize {
        match self.class() {
            BinClass::Small(class) => class.bytes(),
            BinClass::Large(class) => class.bytes(),
        }
    }

    /// Bytes between the first bin and this one.
    #[inline(always)]
    pub(crate) const fn place(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests;
