//! A system allocator for tests: counts what it is asked for, and refuses when it is told to.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::System;
use std::collections::HashMap;
use std::sync::Mutex;

use crate::sync::testing;

/// Sequentially consistent, since tests read the numbers from threads that did not write them.
#[derive(Default)]
pub(crate) struct TestSystem {
    /// What is out, by address.
    live: Mutex<HashMap<usize, Layout>>,
    pub(crate) taken: AtomicUsize,
    pub(crate) refuses: AtomicBool,
}

impl TestSystem {
    /// Bytes that are out.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live.lock().expect("no panic before").values().map(Layout::size).sum()
    }

    fn count(&self, block: *mut u8, layout: Layout) -> *mut u8 {
        self.taken.fetch_add(1, Ordering::SeqCst);
        testing::forget_accesses(block.addr()..block.addr() + layout.size());
        let before = self.live.lock().expect("no panic before").insert(block.addr(), layout);
        assert!(before.is_none(), "given twice");
        block
    }

    fn forget(&self, block: *mut u8, layout: Layout) {
        testing::write_all(block.addr()..block.addr() + layout.size());
        let known = self.live.lock().expect("no panic before").remove(&block.addr());
        assert_eq!(known, Some(layout), "freed with another layout, or not given");
    }
}

// SAFETY: all is passed on, or refused.
unsafe impl GlobalAlloc for &TestSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.refuses.load(Ordering::SeqCst) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller owes the same.
        self.count(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.forget(block, layout);
        // SAFETY: the caller owes the same.
        unsafe { System.dealloc(block, layout) }
    }
}
