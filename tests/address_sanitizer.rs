//! Under the address sanitizer a free block is out of bounds: whoever reads it, writes to it or frees it
//! again is reported, small block or large, whichever thread freed it. `ci/address_sanitizer.sh`
//! builds it so.
#![cfg(obmalloc_address_sanitizer)]

#[path = "common/child.rs"]
mod child;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SMALL: Layout = Layout::new::<[u64; 8]>();
const SMALLEST: Layout = Layout::new::<u64>();
const LARGE: Layout = Layout::new::<[u64; 500]>();
/// Of bytes, whose frees take another way.
const LARGE_BYTES: Layout = Layout::new::<[u8; 4000]>();

/// A block that is used after its free.
#[derive(Clone, Copy)]
struct Block(*mut u8, Layout);

// SAFETY: only the address is passed on.
unsafe impl Send for Block {}

impl Block {
    fn new(layout: Layout) -> Self {
        // SAFETY: the layouts of this file have sizes other than zero.
        let start = unsafe { GLOBAL.alloc_zeroed(layout) };
        assert!(!start.is_null());
        Self(start, layout)
    }

    fn freed(layout: Layout) -> Self {
        let block = Self::new(layout);
        block.free();
        block
    }

    /// Frees the block, rightly or wrongly.
    fn free(self) {
        // SAFETY: breaks the rule where the test wants it broken.
        unsafe { GLOBAL.dealloc(black_box(self.0), self.1) };
    }

    /// Reads a byte of it, rightly or wrongly.
    fn read(self, index: usize) -> u8 {
        // SAFETY: breaks the rule where the test wants it broken; the memory is mapped.
        unsafe { black_box(self.0).add(index).read_volatile() }
    }

    /// Writes to a byte of it, rightly or wrongly.
    fn write(self, index: usize) {
        // SAFETY: as above.
        unsafe { black_box(self.0).add(index).write_volatile(1) };
    }
}

/// Runs `body` in a process of its own, which has to end with a report of the sanitizer's.
fn is_reported(test: &str, what: &str, body: fn()) {
    ends_with(test, &format!("AddressSanitizer: {what}"), body);
}

/// Runs `body` in a process of its own, which has to end with this report.
fn ends_with(test: &str, report: &str, body: fn()) {
    let ended = child::run(test, body);
    assert!(!ended.status.success(), "{test}: nothing was reported");
    assert!(ended.stderr.contains(report), "{test}: {}\n{}", ended.status, ended.stderr);
}

#[test]
fn blocks_in_use_are_not_reported() {
    child::passes("blocks_in_use_are_not_reported", || {
        for layout in [SMALLEST, SMALL, LARGE, LARGE_BYTES] {
            let blocks = [(); 100].map(|()| Block::new(layout));
            blocks.iter().for_each(|block| block.free());
            let blocks = [(); 100].map(|()| Block::new(layout));
            for block in blocks {
                block.write(layout.size() - 1);
                assert_eq!(block.read(0), u8::from(layout.size() == 1));
                block.free();
            }
        }
    });
}

#[test]
fn the_first_byte_of_a_free_block_is_read() {
    is_reported("the_first_byte_of_a_free_block_is_read", "use-after-poison", || {
        Block::freed(SMALL).read(0);
    });
}

#[test]
fn the_last_byte_of_a_free_block_is_written_to() {
    is_reported("the_last_byte_of_a_free_block_is_written_to", "use-after-poison", || {
        Block::freed(SMALL).write(SMALL.size() - 1);
    });
}

#[test]
fn the_smallest_block_is_read_after_its_free() {
    is_reported("the_smallest_block_is_read_after_its_free", "use-after-poison", || {
        Block::freed(SMALLEST).read(0);
    });
}

#[test]
fn a_block_is_read_that_another_thread_freed_and_gave_back_at_its_end() {
    let test = "a_block_is_read_that_another_thread_freed_and_gave_back_at_its_end";
    is_reported(test, "use-after-poison", || {
        let blocks = [(); 10].map(|()| Block::new(SMALL));
        let freeing = thread::spawn(move || blocks[5].free());
        freeing.join().expect("the thread does not panic");
        blocks[5].read(40);
    });
}

#[test]
fn a_box_is_read_after_its_drop() {
    is_reported("a_box_is_read_after_its_drop", "use-after-poison", || {
        let boxed = black_box(Box::new([7_u64; 8]));
        let stale: *const u64 = &raw const boxed[3];
        drop(boxed);
        // SAFETY: breaks the rule on purpose; the memory is mapped.
        black_box(unsafe { stale.read() });
    });
}

#[test]
fn a_block_is_freed_twice() {
    // Debug builds of the allocator notice it before the sanitizer does.
    let report = if cfg!(debug_assertions) {
        "which is not in use"
    } else {
        "AddressSanitizer: use-after-poison"
    };
    ends_with("a_block_is_freed_twice", report, || {
        Block::freed(SMALL).free();
    });
}

#[test]
fn a_large_block_is_read_after_its_free() {
    is_reported("a_large_block_is_read_after_its_free", "use-after-poison", || {
        // The first is the system allocator's again at once: nothing would flush a cache before.
        let blocks = [(); 4].map(|()| Block::new(LARGE));
        blocks.iter().for_each(|block| block.free());
        blocks[3].read(100);
    });
}
