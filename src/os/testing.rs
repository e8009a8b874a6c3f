//! A page source for tests: counts what it is asked for, and refuses what it is told to.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::{alloc_zeroed, dealloc};

use super::PageSource;
use crate::config::ARENA_BYTES;

const ARENA_LAYOUT: Layout = match Layout::from_size_align(ARENA_BYTES, ARENA_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("an arena has a layout"),
};

/// Arenas from the test program's own allocator. The counters are sequentially consistent, since
/// tests read them from threads that did not write them.
#[derive(Default)]
pub(crate) struct TestPages {
    pub(crate) mapped: AtomicUsize,
    pub(crate) released: AtomicUsize,
    pub(crate) purged: AtomicUsize,
    /// Once so many are mapped at a time, there are no more; zero for no limit.
    pub(crate) most: AtomicUsize,
    pub(crate) refuses_release: AtomicBool,
}

impl TestPages {
    /// Arenas that are mapped now.
    pub(crate) fn live(&self) -> usize {
        self.mapped.load(Ordering::SeqCst) - self.released.load(Ordering::SeqCst)
    }
}

impl PageSource for &TestPages {
    fn map(&self) -> Option<NonNull<u8>> {
        let most = self.most.load(Ordering::SeqCst);
        if most != 0 && self.live() >= most {
            return None;
        }
        // SAFETY: the layout has a size other than zero.
        let arena = NonNull::new(unsafe { alloc_zeroed(ARENA_LAYOUT) })?;
        self.mapped.fetch_add(1, Ordering::SeqCst);
        Some(arena)
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        if self.refuses_release.load(Ordering::SeqCst) {
            return false;
        }
        self.released.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller owes that `map` gave the arena, and that it is unused.
        unsafe { dealloc(arena.as_ptr(), ARENA_LAYOUT) };
        true
    }

    unsafe fn purge(&self, arena: NonNull<u8>) -> bool {
        self.purged.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller owes that the arena is mapped and unused.
        unsafe { arena.write_bytes(0, ARENA_BYTES) };
        true
    }
}
