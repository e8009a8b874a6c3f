//! A radix tree from any address to the table that covers it, in the manner of CPython 3.10.
//!
//! ```text
//!   address:  | root | mid | covered by a leaf |        root -> mid -> leaf
//! ```
//!
//! A leaf is mapped before an arena that it covers is used, and tables are never given back, so that a
//! look-up reads nothing but tables: it has an answer for every number, mapped or not.
//!
//! Any thread may call it at any time, without a lock.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use static_assertions::const_assert;

use crate::config::ARENA_BYTES;
use crate::os::PageSource;

/// Bits of an address that the tree tells apart. Systems place nothing above them unless asked to; what
/// is there is not covered.
pub(crate) const ADDRESS_BITS: u32 = least(usize::BITS, 48);

/// Entries of a mid: as many as its table has room for.
const MID_ENTRIES: usize = ARENA_BYTES / size_of::<usize>();

/// Bits of an address that index a mid, where there are so many.
const MID_BITS: u32 = MID_ENTRIES.ilog2();

const_assert!(MID_ENTRIES.is_power_of_two());

/// The smaller of two numbers.
pub(crate) const fn least(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
}

/// Entries of the root of a tree whose leaves cover so many bits of an address each.
pub(crate) const fn root_entries(leaf_bits: u32) -> usize {
    1 << ADDRESS_BITS.saturating_sub(leaf_bits + MID_BITS)
}

/// A table at the end of a path.
///
/// # Safety
///
/// - Zeroed memory is a value of the type.
/// - It has at most `ARENA_BYTES`, and needs no more alignment than a pointer.
pub(crate) unsafe trait Leaf: Sync {
    /// Bits of an address that it tells apart by itself: those of the lowest value.
    const BITS: u32;
}

type Mid<L> = [AtomicPtr<L>; MID_ENTRIES];

/// A tree. Its tables live as long as their source; it has [`root_entries`] of its leaves' bits, or none and covers
/// nothing.
pub(crate) struct Radix<L, const ROOT_ENTRIES: usize> {
    root: [AtomicPtr<Mid<L>>; ROOT_ENTRIES],
}

impl<L: Leaf, const ROOT_ENTRIES: usize> Radix<L, ROOT_ENTRIES> {
    /// A tree that covers nothing.
    pub(crate) const fn new() -> Self {
        Self { root: [const { AtomicPtr::new(ptr::null_mut()) }; ROOT_ENTRIES] }
    }

    /// The leaf that covers `address`, if there is one.
    #[inline(always)]
    pub(crate) fn leaf(&self, address: usize) -> Option<&L> {
        let mid = table_in(self.root_entry(address)?)?;
        table_in(mid_entry(mid, address))
    }

    /// As [`Radix::leaf`], mapped if there was none; `None` if there is no more memory, or the address is
    /// beyond all that the tree tells apart.
    pub(crate) fn cover(&self, address: usize, pages: &impl PageSource) -> Option<&L> {
        const { assert!(ROOT_ENTRIES == root_entries(L::BITS) || ROOT_ENTRIES == 0) };
        self.leaf(address).or_else(|| self.cover_slow(address, pages))
    }

    #[cold]
    #[inline(never)]
    fn cover_slow(&self, address: usize, pages: &impl PageSource) -> Option<&L> {
        let mid = table_of(self.root_entry(address)?, pages)?;
        table_of(mid_entry(mid, address), pages)
    }

    #[inline(always)]
    fn root_entry(&self, address: usize) -> Option<&AtomicPtr<Mid<L>>> {
        // Where a mid has all bits that a leaf leaves, none are left for the root.
        self.root.get(address.checked_shr(L::BITS + MID_BITS).unwrap_or(0))
    }
}

#[inline(always)]
fn mid_entry<L: Leaf>(mid: &Mid<L>, address: usize) -> &AtomicPtr<L> {
    &mid[address >> L::BITS & (MID_ENTRIES - 1)]
}

/// The table that is published in `entry`.
#[inline(always)]
fn table_in<T>(entry: &AtomicPtr<T>) -> Option<&T> {
    // Acquire: pairs with the release in `table_of`, before which the table was zeroed.
    // SAFETY: what is published is a table of this type, and its source keeps it longer than any tree.
    unsafe { entry.load(Ordering::Acquire).as_ref() }
}

/// The table that is published in `entry`, mapped if there was none.
fn table_of<'a, T>(entry: &'a AtomicPtr<T>, pages: &impl PageSource) -> Option<&'a T> {
    // By an exchange of nothing for nothing: a load would fault in a page of zeros, in a table that has just been
    // mapped, before the one to be written to. So it is where processors take an exchange for a write, as x86 does.
    // Acquire on failure: pairs with the release below.
    let vacant = entry.compare_exchange(
        ptr::null_mut(),
        ptr::null_mut(),
        Ordering::Relaxed,
        Ordering::Acquire,
    );
    if vacant.is_err() {
        return table_in(entry);
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
