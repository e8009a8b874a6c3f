//! The use map: which blocks are in use, so that debug builds notice what is freed twice.
//!
//! A radix tree whose leaves have a bit for each address where a block may start. It is set when the
//! block is given out and cleared when it is freed. An arena is covered as it is mapped, so that each of its
//! blocks can be noted. Release builds have a tree without a root, of no size, which covers nothing.
//!
//! Any thread may call it at any time, without a lock. A block's bit is its owner's, and is ordered as the
//! block is by whatever hands that on. Two threads that both take themselves for the owner meet at the
//! bit itself, which the second finds as the first left it. So bits are relaxed.

use core::sync::atomic::{AtomicUsize, Ordering};

use static_assertions::const_assert;

use crate::config::{ALIGNMENT, ARENA_BYTES};
use crate::os::PageSource;
use crate::radix::{Leaf, Radix, root_entries};

const WORDS: usize = ARENA_BYTES / size_of::<usize>();

/// The bits of addresses that follow each other.
struct Bits([AtomicUsize; WORDS]);

// SAFETY: zeroed memory is as many zeros; a table has room for so many words.
unsafe impl Leaf for Bits {
    const BITS: u32 = ALIGNMENT.ilog2() + usize::BITS.ilog2() + WORDS.ilog2();
}

const_assert!(size_of::<Bits>() <= ARENA_BYTES && WORDS.is_power_of_two());
// An arena lies under one leaf.
const_assert!((1_u64 << Bits::BITS).is_multiple_of(ARENA_BYTES as u64));

const ROOT_ENTRIES: usize = if cfg!(debug_assertions) { root_entries(Bits::BITS) } else { 0 };

const_assert!(cfg!(debug_assertions) || size_of::<UseMap>() == 0);

/// Which blocks of one heap are in use.
pub(crate) struct UseMap {
    bits: Radix<Bits, ROOT_ENTRIES>,
}

impl UseMap {
    /// A map in which no block is in use.
    pub(crate) const fn new() -> Self {
        Self { bits: Radix::new() }
    }

    /// Sees to it that the blocks of the arena at this address can be noted; `false` if they cannot.
    pub(crate) fn cover(&self, arena: usize, pages: &impl PageSource) -> bool {
        self.bits.cover(arena, pages).is_some()
    }

    /// Notes that the block at this address, of an arena that is covered, is in use, and says if it was before.
    pub(crate) fn set(&self, block: usize) -> bool {
        self.bits.leaf(block).is_some_and(|leaf| {
            let (word, bit) = place_in(leaf, block);
            word.fetch_or(bit, Ordering::Relaxed) & bit != 0
        })
    }

    /// Notes that the block at this address is not in use, and says if it was before.
    pub(crate) fn clear(&self, block: usize) -> bool {
        self.bits.leaf(block).is_some_and(|leaf| {
            let (word, bit) = place_in(leaf, block);
            word.fetch_and(!bit, Ordering::Relaxed) & bit != 0
        })
    }

    /// Whether the block at this address is in use.
    pub(crate) fn is_set(&self, block: usize) -> bool {
        self.bits.leaf(block).is_some_and(|leaf| {
            let (word, bit) = place_in(leaf, block);
            word.load(Ordering::Relaxed) & bit != 0
        })
    }
}

/// The word of a leaf that has the bit of a block, and the bit.
fn place_in(Bits(words): &Bits, block: usize) -> (&AtomicUsize, usize) {
    let number = block / ALIGNMENT;
    let word = number / usize::BITS as usize % WORDS;
    (&words[word], 1 << (number % usize::BITS as usize))
}

#[cfg(all(test, debug_assertions))]
mod tests;
