//! Each entry of the allocator, compiled into one object file as a user's crate would have it.

use std::alloc::{GlobalAlloc, Layout};

use obmalloc::Obmalloc;

static ALLOCATOR: Obmalloc = Obmalloc::new();

/// # Safety
///
/// - As for [`GlobalAlloc::alloc`].
#[inline(never)]
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the caller owes the same.
    unsafe { ALLOCATOR.alloc(layout) }
}

/// # Safety
///
/// - As for [`GlobalAlloc::alloc_zeroed`].
#[inline(never)]
pub unsafe fn alloc_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: the caller owes the same.
    unsafe { ALLOCATOR.alloc_zeroed(layout) }
}

/// # Safety
///
/// - As for [`GlobalAlloc::dealloc`].
#[inline(never)]
pub unsafe fn dealloc(block: *mut u8, layout: Layout) {
    // SAFETY: the caller owes the same.
    unsafe { ALLOCATOR.dealloc(block, layout) }
}

/// # Safety
///
/// - As for [`GlobalAlloc::realloc`].
#[inline(never)]
pub unsafe fn realloc(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller owes the same.
    unsafe { ALLOCATOR.realloc(block, layout, new_size) }
}

#[inline(never)]
#[must_use]
pub fn trim() -> usize {
    ALLOCATOR.trim()
}

#[inline(never)]
#[must_use]
pub fn stats() -> obmalloc::Stats {
    ALLOCATOR.stats()
}
