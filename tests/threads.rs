//! Threads in numbers, and threads with little stack.
//!
//! A thread that ends gives its cached blocks back, so that ten thousand that come and go leave
//! nothing behind; a thousand at once share the heap; and the allocator's paths, in a debug build,
//! too, fit into the smallest stack that the system gives.
#![cfg(target_os = "linux")]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[cfg(not(obmalloc_no_arenas))]
#[path = "common/rss.rs"]
mod rss;

#[cfg(not(obmalloc_no_arenas))]
use std::array;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Barrier;
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// The smallest stack that a thread can ask for: `PTHREAD_STACK_MIN`.
const SMALLEST_STACK: usize = 16 * 1024;

/// Of each size class, more blocks than a full magazine and its spare hold, so that allocating them
/// refills from the heap and freeing them flushes to it.
const BLOCKS: usize = 300;

/// Sizes of all classes.
fn all_sizes() -> impl Iterator<Item = usize> {
    (8..=512).step_by(8)
}

fn filled(size: usize, blocks: usize) -> Chain {
    let mut chain = Chain::new(size);
    for _ in 0..blocks {
        assert!(chain.push());
    }
    chain
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn threads_that_come_and_go_leave_a_quarter_kib_at_most() {
    const AT_ONCE: usize = 50;
    const WARM_UP: usize = 1_000;
    const MEASURED: usize = 9_000;

    // All are there at once, so that the warm-up has seen as many stacks as will ever be used.
    static ALL_HOLD: Barrier = Barrier::new(AT_ONCE);

    fn come_and_go(number: usize) {
        // Other sizes in each thread, of each about a pool; all together less than what the heap keeps
        // mapped in any case, since what it does with more is another matter.
        let sizes = all_sizes().skip(number % 10).step_by(10);
        let chains: Vec<Chain> =
            sizes.map(|size| filled(size, (4096 / size).clamp(10, 70))).collect();
        ALL_HOLD.wait();
        drop(chains);
    }

    fn start_and_join(threads: usize) {
        for _ in 0..threads / AT_ONCE {
            let threads: [_; AT_ONCE] =
                array::from_fn(|number| thread::spawn(move || come_and_go(number)));
            // A join, other than the end of a scope, waits for all of the thread's end.
            for thread in threads {
                thread.join().expect("the thread does not panic");
            }
        }
    }

    let said = child::passes("threads_that_come_and_go_leave_a_quarter_kib_at_most", || {
        start_and_join(WARM_UP);
        let before = rss::resident_bytes();
        start_and_join(MEASURED);
        let left = rss::resident_bytes().saturating_sub(before);
        println!("{left} bytes left behind by {MEASURED} threads");
        assert!(left <= MEASURED * 256, "{} bytes a thread", left / MEASURED);
    });
    print!("{said}");
}

#[test]
fn a_thousand_threads_at_once_hold_blocks_of_their_own() {
    const THREADS: usize = 1_000;
    child::passes("a_thousand_threads_at_once_hold_blocks_of_their_own", || {
        let all_hold = Barrier::new(THREADS);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let all_hold = &all_hold;
                scope.spawn(move || {
                    let sizes = all_sizes().skip(number % 8).step_by(8);
                    let chains: Vec<Chain> = sizes.map(|size| filled(size, 20)).collect();
                    let numbers = vec![number; 32];
                    all_hold.wait();
                    assert!(numbers.iter().all(|found| *found == number));
                    // Checks the stamps of the blocks, too.
                    drop(chains);
                });
            }
        });
    });
}

extern "C" fn allocate_in_all_classes(done: *mut c_void) -> *mut c_void {
    for size in all_sizes() {
        drop(filled(size, BLOCKS));
    }
    // More of one class than its thread cache and its depot hold.
    drop(filled(64, 100 * BLOCKS));
    drop(Box::new([1_u8; 600]));
    // SAFETY: the starter's flag, which outlives this thread and is read after its end.
    unsafe { done.cast::<bool>().write(true) };
    ptr::null_mut()
}

/// Runs [`allocate_in_all_classes`] in a thread with the smallest stack; `false` if the system
/// makes no such thread.
fn ran_with_smallest_stack() -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the attributes are valid for writes.
    assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
    // SAFETY: they were initialised above.
    let set = unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), SMALLEST_STACK) };
    assert_eq!(set, 0, "the smallest stack is not this system's");
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    let mut done = false;
    // SAFETY: the attributes are initialised, and `done` outlives the thread, which is joined below.
    let created = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            attributes.as_ptr(),
            allocate_in_all_classes,
            (&raw mut done).cast(),
        )
    };
    if created == libc::EINVAL {
        return false;
    }
    assert_eq!(created, 0);
    // SAFETY: written by `pthread_create`, which succeeded.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: the thread is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
    assert!(done);
    true
}

#[test]
fn the_smallest_stack_of_a_pthread_is_enough() {
    let said = child::passes("the_smallest_stack_of_a_pthread_is_enough", || {
        for _ in 0..10 {
            if !ran_with_smallest_stack() {
                println!(
                    "skipped: with this program's thread-locals, {SMALLEST_STACK} bytes of \
                          stack are too few for the system to make a thread"
                );
                return;
            }
        }
        println!("ran");
    });
    print!("{said}");
}

#[test]
fn the_smallest_stack_of_a_std_thread_is_enough() {
    child::passes("the_smallest_stack_of_a_std_thread_is_enough", || {
        for _ in 0..10 {
            let mut done = false;
            thread::scope(|scope| {
                let builder = thread::Builder::new().stack_size(SMALLEST_STACK);
                let done: &mut bool = &mut done;
                let started = builder.spawn_scoped(scope, move || {
                    allocate_in_all_classes(ptr::from_mut(done).cast());
                });
                started.expect("the thread can be started");
            });
            assert!(done);
        }
    });
}
