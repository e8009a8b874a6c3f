//! Miri: arenas are blocks of the system allocator, which Miri models, so that it knows of every byte
//! whether it was written, and of each arena when it has gone. There are no mappings to be cut, no
//! advice to a kernel, no `fork` and no environment.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr::NonNull;
use core::time::Duration;
use std::alloc::System;

use super::PageSource;
use crate::config::{ARENA_BYTES, HUGE_PAGE_BYTES, POOL_BYTES};
pub(crate) use thread_exit::ThreadExit;

#[path = "thread_exit.rs"]
mod thread_exit;

/// Whether this system gives pages, so that small blocks come from arenas.
pub(crate) const HAS_ARENAS: bool = true;

/// As many as shards are used, whatever the machine has: more than one, so that threads meet other
/// threads' shards.
const CORES: usize = 2;

const ARENA_LAYOUT: Layout = match Layout::from_size_align(ARENA_BYTES, ARENA_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("an arena has a layout"),
};

const TABLE_LAYOUT: Layout = match Layout::from_size_align(ARENA_BYTES, align_of::<usize>()) {
    Ok(layout) => layout,
    Err(_) => panic!("a table has a layout"),
};

/// Blocks of the system allocator.
pub(crate) struct SystemPages;

impl SystemPages {
    pub(crate) const fn new() -> Self {
        Self
    }
}

impl PageSource for SystemPages {
    fn map(&self) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a size other than zero.
        NonNull::new(unsafe { System.alloc_zeroed(ARENA_LAYOUT) })
    }

    /// None: each arena of them would have to go alone.
    fn map_huge(&self) -> Option<NonNull<u8>> {
        const { assert!(HUGE_PAGE_BYTES > ARENA_BYTES) };
        None
    }

    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        // SAFETY: the caller owes that the arena came from `map`, with this layout, and is unused.
        unsafe { System.dealloc(arena.as_ptr(), ARENA_LAYOUT) };
        true
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller owes that these pages are of an arena, and unused.
        unsafe { start.write_bytes(0, bytes) };
        true
    }

    fn page_bytes(&self) -> usize {
        POOL_BYTES
    }

    fn milliseconds(&self) -> usize {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for the write.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        (time.tv_sec as usize).wrapping_mul(1000).wrapping_add(time.tv_nsec as usize / 1_000_000)
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a size other than zero.
        NonNull::new(unsafe { System.alloc_zeroed(TABLE_LAYOUT) })
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        // SAFETY: the caller owes that the table came from `map_table`, with this layout, and is unused.
        unsafe { System.dealloc(table.as_ptr(), TABLE_LAYOUT) };
    }
}

/// There is no `fork`, so that nothing need be called at one.
pub(crate) fn at_fork(
    _prepare: unsafe extern "C" fn(),
    _in_parent: unsafe extern "C" fn(),
    _in_child: unsafe extern "C" fn(),
) -> bool {
    true
}

/// Never registers: Miri has no `atexit`.
pub(crate) fn at_exit(_call: extern "C-unwind" fn()) -> bool {
    false
}

/// Never starts: a thread that nobody waits for would still run when the program ends.
#[cfg(not(feature = "preload"))]
pub(crate) fn spawn(_run: extern "C" fn(*mut c_void) -> *mut c_void) -> bool {
    false
}

/// Sleeps for about so long.
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn cores() -> usize {
    CORES
}

/// Has Miri go on with another thread.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// None: what a program does under Miri depends on nothing around it.
pub(crate) fn for_each_variable(_prefix: &[u8], _look: impl FnMut(&[u8], &[u8])) {}

/// Writes the parts to stderr, one after the other.
pub(crate) fn write_error(parts: &[&[u8]]) {
    parts.iter().for_each(|part| write_error_bytes(part));
}

/// Writes to stderr.
pub(crate) fn write_error_bytes(bytes: &[u8]) {
    // SAFETY: all of `bytes` is valid for reads.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

pub(super) fn abort() -> ! {
    std::process::abort()
}
