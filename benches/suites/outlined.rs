//! An allocator behind calls, as in a program without link-time optimisation.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

/// Passes each request on from a function that is never inlined.
pub struct Outlined<A>(A);

impl<A: GlobalAlloc> Outlined<A> {
    pub fn new(allocator: A) -> Self {
        // A function whose address is known elsewhere may be called from there with any layout, so that the
        // compiler cannot fold into it what its calls here have in common.
        black_box(Self::alloc as unsafe fn(&Self, Layout) -> *mut u8);
        black_box(Self::alloc_zeroed as unsafe fn(&Self, Layout) -> *mut u8);
        black_box(Self::dealloc as unsafe fn(&Self, *mut u8, Layout));
        black_box(Self::realloc as unsafe fn(&Self, *mut u8, Layout, usize) -> *mut u8);
        Self(allocator)
    }
}

// SAFETY: all calls go to an allocator that keeps the contract.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Outlined<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.realloc(block, layout, new_size) }
    }
}
