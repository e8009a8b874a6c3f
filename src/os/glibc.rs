//! The GNU C library's allocator, which serves large blocks: its thresholds, and how it gives back
//! what it holds.

use core::ptr::NonNull;

#[cfg(feature = "preload")]
use super::upstream::{free, malloc};

/// Top of the heap that stays when blocks there are freed. It is 128 KiB at first, so that a program which
/// fills and empties a buffer pays for its pages each time.
const TRIM_THRESHOLD_BYTES: i32 = 64 << 20;

/// Blocks from this size on are mappings of their own; the most that the library accepts on 64 bits.
const MMAP_THRESHOLD_BYTES: i32 = (4 << 20) * size_of::<usize>() as i32;

/// The block whose free raises the first threshold to its size and the second to twice that, as long as
/// nobody has set them.
const EARLY_BYTES: usize = if usize::BITS == 64 { 2 << 20 } else { 256 << 10 };

/// What a user sets to have these thresholds as they like, and is then left alone.
const USERS_VARIABLES: [&[u8]; 4] =
    [b"MALLOC_TRIM_THRESHOLD_", b"MALLOC_MMAP_THRESHOLD_", b"MALLOC_TOP_PAD_", b"GLIBC_TUNABLES"];

#[cfg(not(feature = "preload"))]
fn malloc(size: usize) -> *mut u8 {
    // SAFETY: `malloc` has no conditions.
    unsafe { libc::malloc(size) }.cast()
}

/// # Safety
///
/// - `block` is null, or came from [`malloc`] and the caller gives it up.
#[cfg(not(feature = "preload"))]
unsafe fn free(block: *mut u8) {
    // SAFETY: the caller owes the block.
    unsafe { libc::free(block.cast()) }
}

/// Has the library adapt the thresholds above which memory goes back to the kernel from where the free of a
/// block of `EARLY_BYTES` leaves them, and not from 128 KiB; where the user has set them, it does nothing. It
/// goes on adapting, as it would not once it is told a threshold.
pub(crate) fn tune_early() {
    // Not left out, as the compiler might with a block that nobody uses.
    let block = core::hint::black_box(malloc(EARLY_BYTES));
    // SAFETY: just allocated, or null.
    unsafe { free(block) };
}

/// Raises these thresholds as far as they go, unless the user has set them.
pub(crate) fn tune_fully() {
    let mut is_users = false;
    super::for_each_variable(b"", |name, value| {
        let is_malloc = name != b"GLIBC_TUNABLES" || value.windows(6).any(|at| at == b"malloc");
        is_users |= is_malloc && USERS_VARIABLES.contains(&name);
    });
    if is_users {
        return;
    }
    // Setting either stops the library from adapting both, so it is both or none.
    // SAFETY: `mallopt` has no conditions.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) } == 0 {
        return;
    }
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) };
}

/// Gives the kernel what the library holds for nothing, and says if that was anything. Where this crate
/// has that name itself, it finds the library's own function elsewhere.
#[cfg(not(feature = "preload"))]
pub(crate) fn trim_system_allocator() -> bool {
    // SAFETY: `malloc_trim` has no conditions.
    unsafe { libc::malloc_trim(0) != 0 }
}

/// Bytes of a block that its owner may use.
///
/// # Safety
///
/// - `block` is the library's, and in use.
pub(crate) unsafe fn usable_bytes(block: NonNull<u8>) -> Option<usize> {
    // SAFETY: the caller owes the block.
    Some(unsafe { libc::malloc_usable_size(block.as_ptr().cast()) })
}
