//! The allocator as the global one of whatever program links this crate, which it need not name: `extern
//! crate obmalloc_global as _;` is enough. When the process exits, one line on stderr says how many
//! requests it served.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use obmalloc::Obmalloc;

/// The allocator, and what it was asked for.
struct Counting {
    allocator: Obmalloc,
    allocations: AtomicU64,
    resizes: AtomicU64,
    will_print: AtomicBool,
}

#[global_allocator]
static GLOBAL: Counting = Counting {
    allocator: Obmalloc::new(),
    allocations: AtomicU64::new(0),
    resizes: AtomicU64::new(0),
    will_print: AtomicBool::new(false),
};

impl Counting {
    fn count_allocation(&self) {
        // Relaxed, here and below: plain numbers, which publish nothing.
        self.allocations.fetch_add(1, Ordering::Relaxed);
        if !self.will_print.load(Ordering::Relaxed)
            && !self.will_print.swap(true, Ordering::Relaxed)
        {
            // SAFETY: the handler is a function of this program.
            unsafe { libc::atexit(print_counts) };
        }
    }
}

extern "C" fn print_counts() {
    let allocations = GLOBAL.allocations.load(Ordering::Relaxed);
    let resizes = GLOBAL.resizes.load(Ordering::Relaxed);
    eprintln!("obmalloc-global: {allocations} allocations, {resizes} resizes");
}

// SAFETY: all is passed on, and counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count_allocation();
        // SAFETY: the caller owes the same.
        unsafe { self.allocator.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count_allocation();
        // SAFETY: the caller owes the same.
        unsafe { self.allocator.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        unsafe { self.allocator.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.resizes.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller owes the same.
        unsafe { self.allocator.realloc(block, layout, new_size) }
    }
}
