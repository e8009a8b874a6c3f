//! No sanitizer watches: what is free is not marked as such, at no cost.

use core::ptr::NonNull;

/// Marks memory as free, so that its use is an error.
#[inline(always)]
pub(crate) fn poison(_start: NonNull<u8>, _bytes: usize) {}

/// Marks memory as usable.
#[inline(always)]
pub(crate) fn unpoison(_start: NonNull<u8>, _bytes: usize) {}

/// Has it reported if a block that is about to be freed is free.
#[inline(always)]
pub(crate) fn expect_in_use(_block: NonNull<u8>) {}
