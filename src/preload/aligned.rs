//! The functions that are told an alignment, and those of whole pages.

use core::ffi::c_int;

use super::{allocate, allocate_small, ask_upstream, class_of_aligned, no_memory};
use crate::config::ALIGNMENT;
use crate::os::{self, upstream};

/// A block with an alignment, a power of two.
fn allocate_aligned(alignment: usize, size: usize) -> *mut u8 {
    if alignment <= ALIGNMENT {
        return allocate(size);
    }
    if let Some(class) = class_of_aligned(size, alignment) {
        let block = allocate_small(class);
        if !block.is_null() {
            return block;
        }
    }
    // What glibc maps for it may be so large.
    ask_upstream(size.saturating_add(alignment), || upstream::memalign(alignment, size))
}

/// C's `aligned_alloc`: a block with an alignment; null and `EINVAL` if that is no power of two. The
/// size need not be a multiple of it.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut u8 {
    if !alignment.is_power_of_two() {
        os::set_errno(libc::EINVAL);
        return core::ptr::null_mut();
    }
    allocate_aligned(alignment, size)
}

/// As [`aligned_alloc`], but for the alignment zero, which asks for none.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut u8 {
    aligned_alloc(alignment.max(1), size)
}

/// POSIX's `posix_memalign`: puts a block with an alignment into `place`. Returns zero, or `EINVAL` if the
/// alignment is no power of two or less than a pointer's, or `ENOMEM`; `place` is then as it was.
///
/// # Safety
///
/// - `place` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    place: *mut *mut u8,
    alignment: usize,
    size: usize,
) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<*mut u8>() {
        return libc::EINVAL;
    }
    let block = allocate_aligned(alignment, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller owes the place.
    unsafe { place.write(block) };
    0
}

/// A block that starts at a page of the system's.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut u8 {
    allocate_aligned(upstream::page_bytes(), size)
}

/// A block of whole pages of the system's.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut u8 {
    let page = upstream::page_bytes();
    match size.checked_next_multiple_of(page) {
        Some(bytes) => allocate_aligned(page, bytes),
        None => no_memory(),
    }
}
