//! The first thing that a thread asks for, of each kind and each size: a block, a zeroed one, another size
//! for another thread's block, or that such a block be freed.
//!
//! The threads are the system's own, since one of the standard library's has allocated before its function
//! is called. Each has one request, and ends; what it got is freed by itself or by the thread that started it.
#![cfg(target_os = "linux")]

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/child.rs"]
mod child;

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use blocks::Block;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// Sizes of large blocks, kept ones and others.
const LARGE_SIZES: [usize; 9] = [513, 600, 640, 1_024, 4_096, 32_768, 32_769, 200_000, 1 << 20];

/// Alignments with and without a class; above 512 none has one.
const ALIGNMENTS: [usize; 5] = [8, 16, 64, 512, 4_096];

#[derive(Clone, Copy)]
enum Operation {
    Alloc,
    AllocZeroed,
    /// Resizes a block of another thread, by these two factors.
    Realloc(usize, usize),
    Dealloc,
}

const OPERATIONS: [Operation; 5] = [
    Operation::Alloc,
    Operation::AllocZeroed,
    Operation::Realloc(2, 1),
    Operation::Realloc(1, 2),
    Operation::Dealloc,
];

struct Job {
    operation: Operation,
    layout: Layout,
    /// The thread frees what it got itself.
    frees: bool,
    /// A block of the starter's before, and what the thread got after, if that is to be freed.
    block: Option<Block>,
}

/// A panic here ends the process.
extern "C" fn run_job(job: *mut c_void) -> *mut c_void {
    // SAFETY: the starter's job, which it does not look at until this thread has ended.
    let job: &mut Job = unsafe { &mut *job.cast() };
    let got = match (job.operation, job.block.take()) {
        (Operation::Alloc, _) => Some(Block::allocate(&GLOBAL, job.layout, 1)),
        (Operation::AllocZeroed, _) => {
            // SAFETY: the size is not zero.
            let start = unsafe { GLOBAL.alloc_zeroed(job.layout) };
            let bytes = ptr::slice_from_raw_parts(start, job.layout.size());
            // SAFETY: a block of this size, all of whose bytes are zero and so initialised.
            let is_zero = !start.is_null() && unsafe { &*bytes }.iter().all(|byte| *byte == 0);
            assert!(is_zero, "{:?} is not zero", job.layout);
            // SAFETY: just allocated with this layout.
            Some(unsafe { Block::from_raw(start, job.layout, 1) })
        }
        (Operation::Realloc(times, parts), Some(block)) => {
            let new_size = (job.layout.size() * times / parts).max(1);
            Some(block.resize(&GLOBAL, new_size).expect("memory"))
        }
        (Operation::Dealloc, Some(block)) => {
            block.free(&GLOBAL);
            None
        }
        _ => unreachable!("the starter gives a block for these"),
    };
    match got {
        Some(block) if job.frees => block.free(&GLOBAL),
        got => job.block = got,
    }
    ptr::null_mut()
}

/// Runs a job in a thread of its own, and looks at what it has left.
fn run(mut job: Job) {
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    let place: *mut Job = &mut job;
    // SAFETY: the thread is written by the call; the job outlives the thread, which is joined below.
    let created =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run_job, place.cast()) };
    assert_eq!(created, 0, "a thread can be started");
    // SAFETY: written by `pthread_create`, which succeeded.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: the thread is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
    if let Some(block) = job.block {
        block.free(&GLOBAL);
    }
}

#[test]
fn the_first_operation_of_a_thread_may_be_any() {
    let said = child::passes("the_first_operation_of_a_thread_may_be_any", || {
        let mut threads = 0;
        for align in ALIGNMENTS {
            for size in (1..=512).chain(LARGE_SIZES) {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                for operation in OPERATIONS {
                    let needs_block =
                        matches!(operation, Operation::Realloc(..) | Operation::Dealloc);
                    let block = needs_block.then(|| Block::allocate(&GLOBAL, layout, 0));
                    run(Job { operation, layout, frees: threads % 2 == 0, block });
                    threads += 1;
                }
            }
        }
        println!("{threads} threads");
        #[cfg(not(obmalloc_no_arenas))]
        {
            let stats = GLOBAL.stats();
            let used = stats.used_bytes();
            println!("{used} bytes of small blocks in use at the end");
            assert!(used < 64 << 10, "{used} bytes are in use");
        }
    });
    print!("{said}");
}
