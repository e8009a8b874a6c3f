//! What do blocks cost that are too large for size classes?
//!
//! Pairs, replacements, growth and zeroes as in the suites of small blocks, from 1 KiB to 1 MiB. The first
//! byte of each page is written: a buffer that nobody writes to has no memory behind it, and the price of
//! large blocks is that memory.
//!
//! Its weakness: between two rounds of a pair nothing else asks for memory, so that an allocator which never
//! gives any back looks best. This allocator's large blocks come from the system's heap, where the two
//! share what the turns before have left there, and the threshold above which glibc asks the
//! kernel for each block: it rises with the first such block that is freed, whoever frees it.

use std::alloc::GlobalAlloc;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use suites::{
    Case, Replacement, Request, Suite, allocate, allocate_zeroed, grow, release, short_rounds,
    write_pages,
};

const KIBIBYTE: usize = 1 << 10;

/// A block, zeroed or not, which is freed before the next one is allocated.
struct Pair {
    kibibytes: usize,
    is_zeroed: bool,
}

impl Case for Pair {
    type Held = ();

    fn name(&self) -> String {
        let kind = if self.is_zeroed { "zeroed pair" } else { "pair" };
        format!("{kind} of {} KiB", self.kibibytes)
    }

    fn prepare(&self, _: &impl GlobalAlloc) {}

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, (): &mut ()) {
        let request = Request::of(self.kibibytes * KIBIBYTE);
        let block = if self.is_zeroed {
            allocate_zeroed(allocator, request)
        } else {
            allocate(allocator, request)
        };
        // SAFETY: the block was just allocated.
        unsafe { write_pages(block, request, 0) }
        // SAFETY: as above.
        unsafe { release(allocator, block, request) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, (): ()) {}
}

/// A buffer that doubles until it is large. Times are those of the whole growth.
struct Growth {
    first_kibibytes: usize,
    last_kibibytes: usize,
}

impl Case for Growth {
    type Held = ();

    fn name(&self) -> String {
        format!("growth from {} to {} KiB", self.first_kibibytes, self.last_kibibytes)
    }

    fn prepare(&self, _: &impl GlobalAlloc) {}

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, (): &mut ()) {
        let mut request = Request::of(self.first_kibibytes * KIBIBYTE);
        let mut block = allocate(allocator, request);
        // SAFETY: the block was just allocated.
        unsafe { write_pages(block, request, 0) }
        while request.size() < black_box(self.last_kibibytes * KIBIBYTE) {
            let doubled = Request::of(request.size() * 2);
            // SAFETY: the block is live and of this request; both are aligned alike.
            block = unsafe { grow(allocator, block, request, doubled) };
            // SAFETY: the block was just allocated.
            unsafe { write_pages(block, doubled, request.size()) }
            request = doubled;
        }
        // SAFETY: the block is live and of the last request.
        unsafe { release(allocator, block, request) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, (): ()) {}
}

/// Slots of blocks between half a size and all of it.
fn replacement(slots: usize, kibibytes: usize) -> Replacement {
    let most = kibibytes * KIBIBYTE;
    Replacement { slots, sizes: most / 2..=most }
}

fn large(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion, "large");
    for kibibytes in [1, 4, 16, 64, 1024] {
        suite.measure(&Pair { kibibytes, is_zeroed: false });
    }
    for kibibytes in [4, 64, 1024] {
        suite.measure(&Pair { kibibytes, is_zeroed: true });
    }
    // Of each size 8 MiB and more, which no thread's cache holds.
    suite
        .measure(&replacement(16_000, 1))
        .measure(&replacement(4_000, 4))
        .measure(&replacement(1_000, 16))
        .measure(&replacement(400, 64))
        .measure(&replacement(50, 1024))
        .measure(&Growth { first_kibibytes: 1, last_kibibytes: 1024 });
}

criterion_group! {
    name = suite;
    // 224 measurements in about two minutes.
    config = short_rounds(0.3, 20);
    targets = large
}
criterion_main!(suite);
