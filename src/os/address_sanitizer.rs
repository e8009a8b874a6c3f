//! The address sanitizer watches: it reports whoever uses a free block, and whoever frees one again.
//!
//! A block is poisoned as a whole while it is free. Its link, which the allocator itself reads, is
//! usable for that moment alone; whoever owns the chain does that, and nobody else.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

unsafe extern "C" {
    safe fn __asan_poison_memory_region(start: *const c_void, bytes: usize);
    safe fn __asan_unpoison_memory_region(start: *const c_void, bytes: usize);
}

/// Marks memory as free, so that its use is an error.
#[inline(always)]
pub(crate) fn poison(start: NonNull<u8>, bytes: usize) {
    __asan_poison_memory_region(start.as_ptr().cast(), bytes);
}

/// Marks memory as usable.
#[inline(always)]
pub(crate) fn unpoison(start: NonNull<u8>, bytes: usize) {
    __asan_unpoison_memory_region(start.as_ptr().cast(), bytes);
}

/// Has it reported if a block that is about to be freed is free.
#[inline(always)]
pub(crate) fn expect_in_use(block: NonNull<u8>) {
    let first: NonNull<MaybeUninit<u8>> = block.cast();
    // SAFETY: whoever frees a block owes that it is one, so its first byte is valid for reads.
    unsafe { first.read_volatile() };
}
