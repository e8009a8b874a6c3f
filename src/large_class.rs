//! Classes of large blocks: from a layout to the size that is asked of the system allocator, so that
//! a freed block can serve the next request of about its size.
//!
//! The classes go on where pools end, with equal steps between one power of two and the next:
//!
//! ```text
//!   513..=576 -> 576   577..=640 -> 640   ...   961..=1024 -> 1024   1025..=1152 -> 1152   ...
//! ```
#![forbid(unsafe_code)]

use core::alloc::Layout;

use static_assertions::const_assert;

use crate::config::{
    LARGE_ALIGNMENT, LARGE_CACHED_MAX, LARGE_CLASS_COUNT, LARGE_CLASSES_PER_DOUBLING, SMALL_MAX,
};

const STEPS_LOG2: u32 = LARGE_CLASSES_PER_DOUBLING.ilog2();

/// Bytes between the smallest classes, of which the larger steps are multiples.
const STEP_BYTES: usize = SMALL_MAX / LARGE_CLASSES_PER_DOUBLING;

/// The index of the class of all sizes that end in each step: to look there takes fewer instructions than a logarithm.
const CLASS_BY_STEP: [u8; LARGE_CACHED_MAX / STEP_BYTES] = {
    let mut classes = [0; LARGE_CACHED_MAX / STEP_BYTES];
    let mut step = SMALL_MAX / STEP_BYTES;
    while step < classes.len() {
        let doubling = (step * STEP_BYTES).ilog2();
        let step_of_doubling =
            ((step * STEP_BYTES) >> (doubling - STEPS_LOG2)) - LARGE_CLASSES_PER_DOUBLING;
        let doublings_before = (doubling - SMALL_MAX.ilog2()) as usize;
        classes[step] = (doublings_before * LARGE_CLASSES_PER_DOUBLING + step_of_doubling) as u8;
        step += 1;
    }
    classes
};

/// A class of large blocks, by its index: 0 to `LARGE_CLASS_COUNT - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeClass(u8);

impl LargeClass {
    /// The class of a request that pools do not serve; `None` where it is too large or too much
    /// aligned to be kept.
    #[inline(always)]
    pub(crate) const fn of(layout: Layout) -> Option<Self> {
        let (size, align) = (layout.size(), layout.align());
        if size <= SMALL_MAX || size > LARGE_CACHED_MAX || align > LARGE_ALIGNMENT {
            return None;
        }
        Some(Self(CLASS_BY_STEP[(size - 1) / STEP_BYTES]))
    }

    /// All classes, from the smallest to the largest.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..LARGE_CLASS_COUNT as u8).map(Self)
    }

    /// The class with this index, or with what is left of it behind the last one.
    pub(crate) fn at(index: usize) -> Self {
        Self((index % LARGE_CLASS_COUNT) as u8)
    }

    /// Its place in an array with an entry for each class.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its place in a word with a bit for each class.
    pub(crate) const fn bit(self) -> u64 {
        const_assert!(LARGE_CLASS_COUNT <= u64::BITS as usize);
        1 << self.0
    }

    /// Bytes of each of its blocks.
    pub(crate) const fn bytes(self) -> usize {
        let doubling = SMALL_MAX.ilog2() + self.0 as u32 / LARGE_CLASSES_PER_DOUBLING as u32;
        let step = self.index() % LARGE_CLASSES_PER_DOUBLING;
        (LARGE_CLASSES_PER_DOUBLING + step + 1) << (doubling - STEPS_LOG2)
    }

    /// What each of its blocks is to the system allocator, whatever the request.
    pub(crate) const fn layout(self) -> Layout {
        match Layout::from_size_align(self.bytes(), LARGE_ALIGNMENT) {
            Ok(layout) => layout,
            // Never: the alignment is a power of two, and no class comes near `isize::MAX`.
            Err(_) => Layout::new::<[usize; 2]>(),
        }
    }
}

#[cfg(test)]
mod tests;
