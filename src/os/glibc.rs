//! The GNU C library's allocator, which serves large blocks: its thresholds, and how it gives back
//! what it holds.

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

#[cfg(feature = "preload")]
use super::upstream::{free, malloc};
use crate::config::HELD_BYTES_FIRST;

/// Top of the heap that stays when blocks there are freed. It is 128 KiB at first, so that a program which
/// fills and empties a buffer pays for its pages each time.
const TRIM_THRESHOLD_BYTES: i32 = 64 << 20;

/// Blocks from this size on are mappings of their own; the most that the library accepts on 64 bits.
const MMAP_THRESHOLD_BYTES: i32 = (4 << 20) * size_of::<usize>() as i32;

/// The block whose free raises the second threshold to its size and the first to twice that, as long as
/// nobody has set them.
const EARLY_BYTES: usize = HELD_BYTES_FIRST / 2;

/// What a user sets, behind `MALLOC_`, to have these thresholds as they like.
const USERS_VARIABLES: [&[u8]; 3] = [b"TRIM_THRESHOLD_", b"MMAP_THRESHOLD_", b"TOP_PAD_"];

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

/// Whether the user has set a threshold, and the library is to be left alone. To be asked where the
/// environment may be read, and before the others.
pub(crate) fn has_users_thresholds() -> bool {
    let mut is_users = false;
    super::for_each_variable(b"MALLOC_", |name, _| is_users |= USERS_VARIABLES.contains(&name));
    super::for_each_variable(b"GLIBC_TUNABLES", |rest, value| {
        is_users |= rest.is_empty() && value.windows(6).any(|at| at == b"malloc");
    });
    is_users
}

/// Has the library spread threads over so many heaps at most, unless the user has said how many, and says if it
/// will. To be asked where the environment may be read, before there are threads.
pub(crate) fn limit_arenas(count: usize) -> bool {
    let mut is_users = false;
    super::for_each_variable(b"MALLOC_ARENA_", |_, _| is_users = true);
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: `mallopt` has no conditions.
    !is_users && unsafe { libc::mallopt(libc::M_ARENA_MAX, count) } != 0
}

/// Has the library adapt the thresholds above which memory goes back to the kernel from where the free of a
/// block of `EARLY_BYTES` leaves them, and not from 128 KiB. It goes on adapting, as it would not once it is
/// told a threshold.
pub(crate) fn tune_early() {
    alloc_and_free(EARLY_BYTES);
}

/// Has the library take a block and get it back, which lets it see to its thresholds.
fn alloc_and_free(bytes: usize) {
    // Not left out, as the compiler might with a block that nobody uses.
    let block = core::hint::black_box(malloc(bytes));
    // SAFETY: just allocated, or null.
    unsafe { free(block) };
}

/// Raises these thresholds as far as the library does by itself.
pub(crate) fn tune_fully() {
    set_thresholds(MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES);
}

/// Whether this thread is the first of its process, whose heap the library gives back the top of when it is
/// asked to trim.
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: the call has no conditions.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    // SAFETY: as above.
    thread == unsafe { libc::syscall(libc::SYS_getpid) }
}

/// Whether the process has no other thread than this one. From 2.32 on the library knows whether it has made one, and
/// a process that starts need not wait ten microseconds for the kernel's answer.
pub(crate) fn is_only_thread() -> bool {
    // SAFETY: null, or the place of a byte of the library's, there for good. The library alone writes to it, before the
    // first other thread starts, so that no thread reads it at the same time.
    let said = unsafe { address_of_single_threaded().as_ref() };
    // Relaxed: where it is set, no other thread is there to order anything with.
    said.map_or_else(is_only_thread_by_kernel, |said| said.load(Ordering::Relaxed) != 0)
}

/// The directory of a process's threads has two links, and one for each of them.
fn is_only_thread_by_kernel() -> bool {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path ends with a zero, and the place is valid for the answer.
    if unsafe { libc::stat(c"/proc/self/task".as_ptr(), status.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: written by `stat`, which succeeded.
    unsafe { status.assume_init() }.st_nlink == 3
}

/// Where the library has `__libc_single_threaded`; null if it is too old to.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
fn address_of_single_threaded() -> *const AtomicU8 {
    let address;
    // SAFETY: reads an entry of the global offset table, which the loader has filled in.
    unsafe {
        core::arch::asm!(
            ".weak __libc_single_threaded",
            "mov {address}, qword ptr [rip + __libc_single_threaded@GOTPCREL]",
            address = out(reg) address,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    address
}

/// As above.
#[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))]
fn address_of_single_threaded() -> *const AtomicU8 {
    let address;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            ".weak __libc_single_threaded",
            "adrp {address}, :got:__libc_single_threaded",
            "ldr {address}, [{address}, :got_lo12:__libc_single_threaded]",
            address = out(reg) address,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    address
}

/// Null: it has no name here that an older library could do without.
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    all(target_arch = "aarch64", target_pointer_width = "64"),
)))]
fn address_of_single_threaded() -> *const AtomicU8 {
    core::ptr::null()
}

/// Has the library hold so many free bytes at the top of its heaps, and take blocks of up to as many from
/// there, if it can.
pub(crate) fn hold_in_system_allocator(bytes: usize) {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    set_thresholds(bytes.min(MMAP_THRESHOLD_BYTES), bytes);
}

/// Has the library hold no more than it does early. What is at the top of one of its heaps then goes back when a
/// block there is freed, which is done at once for that of this thread: a trim only sees to the main one's.
pub(crate) fn end_hold_in_system_allocator() {
    let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    set_thresholds(bytes(EARLY_BYTES), bytes(HELD_BYTES_FIRST));
    alloc_and_free(EARLY_BYTES / 2);
}

/// Setting either stops the library from adapting both, so it is both or none.
fn set_thresholds(mmap_bytes: i32, trim_bytes: i32) {
    // SAFETY: `mallopt` has no conditions.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, mmap_bytes) } == 0 {
        return;
    }
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, trim_bytes) };
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
