//! Large blocks: above 512 bytes, or of an alignment that no class serves. The system allocator's.
//!
//! When that has none left, the heap's empty arenas may be what it lacks: they are released, and it
//! is asked once more.
//!
//! The functions are not inlined: what surrounds them is the fast path of small blocks, which a call
//! at its end leaves without a stack frame.

use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;

/// Releases what the heap can do without, and says if that was anything.
pub(crate) type Trim = fn() -> bool;

/// A large block, or null.
///
/// # Safety
///
/// - As for [`GlobalAlloc::alloc`].
#[inline(never)]
pub(crate) unsafe fn alloc(layout: Layout, trim: Trim) -> *mut u8 {
    // SAFETY: the caller owes a layout of a size other than zero.
    let block = unsafe { System.alloc(layout) };
    if block.is_null() && trim() {
        // SAFETY: as above.
        return unsafe { System.alloc(layout) };
    }
    block
}

/// A large block that reads as zero, or null.
///
/// # Safety
///
/// - As for [`GlobalAlloc::alloc_zeroed`].
#[inline(never)]
pub(crate) unsafe fn alloc_zeroed(layout: Layout, trim: Trim) -> *mut u8 {
    // SAFETY: the caller owes a layout of a size other than zero.
    let block = unsafe { System.alloc_zeroed(layout) };
    if block.is_null() && trim() {
        // SAFETY: as above.
        return unsafe { System.alloc_zeroed(layout) };
    }
    block
}

/// Frees a large block.
///
/// # Safety
///
/// - As for [`GlobalAlloc::dealloc`], for a block that came from this file.
#[inline(never)]
pub(crate) unsafe fn dealloc(block: *mut u8, layout: Layout) {
    // SAFETY: the caller owes that the block is the system allocator's, with this layout.
    unsafe { System.dealloc(block, layout) }
}

/// Resizes a large block to a large size; null, and the block as it was, if there is no memory.
///
/// # Safety
///
/// - As for [`GlobalAlloc::realloc`], for a block that came from this file.
#[inline(never)]
pub(crate) unsafe fn realloc(
    block: *mut u8,
    layout: Layout,
    new_size: usize,
    trim: Trim,
) -> *mut u8 {
    // SAFETY: the caller owes that the block is the system allocator's, with this layout.
    let moved = unsafe { System.realloc(block, layout, new_size) };
    if moved.is_null() && trim() {
        // SAFETY: as above; a null left the block as it was.
        return unsafe { System.realloc(block, layout, new_size) };
    }
    moved
}
