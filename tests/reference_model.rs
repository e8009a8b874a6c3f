//! Programs of requests that others have written the generator and the model for, the crate
//! `globalalloc-model`: each block must be aligned, apart from all others, zero where that was asked for, and
//! contain what was written to it when it is resized or freed.
//!
//! Its generator knows nothing of this allocator, and its model shares no line with those of the other tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::thread;

use globalalloc_model::{Config, Op, drive, op_strategy};
use obmalloc::Obmalloc;
use proptest::prelude::*;

const ALLOCATOR: Obmalloc = Obmalloc::new();

/// As the system allocator, but another type, whose blocks this allocator does not keep.
struct Passing;

// SAFETY: every request is one to the system allocator, whose answers are passed on.
unsafe impl GlobalAlloc for Passing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        unsafe { System.dealloc(block, layout) }
    }
}

const OVER_ANOTHER: Obmalloc<Passing> = Obmalloc::with_large(Passing);

/// Requests of pools and one in ten beyond, of all alignments up to a page.
const SMALL: Config = Config {
    small_max: 512,
    large_max: 4096,
    small_weight: 9,
    large_weight: 1,
    max_align: 4096,
    double_free: None,
};

/// Requests that are kept, and one in four that is passed on.
const LARGE: Config = Config {
    small_max: 32 * 1024,
    large_max: 512 * 1024,
    small_weight: 3,
    large_weight: 1,
    max_align: 64,
    double_free: None,
};

/// Threads that run a program each at once.
const THREADS: usize = 4;

fn programs_of_threads() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let program = op_strategy(Config { max_align: 64, ..Config::default() }, 0..150);
    prop::collection::vec(program, THREADS)
}

fn runs(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(runs(256))]

    #[test]
    fn small_blocks_are_as_the_model_says(program in op_strategy(SMALL, 0..600)) {
        drive(&ALLOCATOR, SMALL, &program);
    }

    #[test]
    fn blocks_of_all_sizes_are_as_the_model_says(program in op_strategy(Config::default(), 0..200)) {
        drive(&ALLOCATOR, Config::default(), &program);
    }

    #[test]
    fn blocks_over_another_allocator_are_as_the_model_says(program in op_strategy(SMALL, 0..200)) {
        drive(&OVER_ANOTHER, SMALL, &program);
    }
}

proptest! {
    #![proptest_config(runs(32))]

    #[test]
    fn large_blocks_are_as_the_model_says(program in op_strategy(LARGE, 0..100)) {
        drive(&ALLOCATOR, LARGE, &program);
    }

    #[test]
    fn blocks_of_several_threads_are_as_the_model_says(programs in programs_of_threads()) {
        thread::scope(|scope| {
            for program in &programs {
                scope.spawn(|| drive(&ALLOCATOR, Config::default(), program));
            }
        });
    }
}
