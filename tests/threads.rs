//! Threads in numbers, and threads with little stack.
//!
//! A thread that ends gives its cached blocks back, so that ten thousand that come and go leave nothing
//! behind, nor do those that end with blocks in use leave more than these; a thousand at once share the
//! heap; and the allocator's paths, in a debug build, too, fit into the smallest stack that the system
//! gives.
#![cfg(target_os = "linux")]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[cfg(not(obmalloc_no_arenas))]
#[path = "common/mappings.rs"]
mod mappings;
#[cfg(not(obmalloc_no_arenas))]
#[path = "common/rss.rs"]
mod rss;

#[cfg(not(obmalloc_no_arenas))]
use std::array;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Barrier;
#[cfg(not(obmalloc_no_arenas))]
use std::sync::Mutex;
#[cfg(not(obmalloc_no_arenas))]
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Threads that are there at once, in the tests of what threads leave behind. All of them are, so that the
/// warm-up has seen as many stacks as will ever be used.
#[cfg(not(obmalloc_no_arenas))]
const AT_ONCE: usize = 50;

/// Mappings that a process may have after any number of threads.
#[cfg(not(obmalloc_no_arenas))]
const MAPPINGS_MAX: usize = 250;

/// Starts so many threads, a few at once, each of which calls `live` with its number among these.
#[cfg(not(obmalloc_no_arenas))]
fn start_and_join(threads: usize, live: fn(usize)) {
    for _ in 0..threads / AT_ONCE {
        let threads: [_; AT_ONCE] = array::from_fn(|number| thread::spawn(move || live(number)));
        // A join, other than the end of a scope, waits for all of the thread's end.
        for thread in threads {
            thread.join().expect("the thread does not panic");
        }
    }
}

/// Allocates other sizes in each thread, of each about a pool; all together less than what the heap keeps
/// mapped in any case, since what it does with more is another matter.
#[cfg(not(obmalloc_no_arenas))]
fn fill_and_free(number: usize) {
    static ALL_HOLD: Barrier = Barrier::new(AT_ONCE);
    let sizes = all_sizes().skip(number % 10).step_by(10);
    let chains: Vec<Chain> = sizes.map(|size| filled(size, (4096 / size).clamp(10, 70))).collect();
    ALL_HOLD.wait();
    drop(chains);
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn threads_that_come_and_go_leave_a_tenth_of_a_kib_at_most() {
    const WARM_UP: usize = 1_000;
    const MEASURED: usize = 3_000;

    let said = child::passes("threads_that_come_and_go_leave_a_tenth_of_a_kib_at_most", || {
        start_and_join(WARM_UP, fill_and_free);
        for _ in 0..3 {
            let before = rss::resident_bytes();
            start_and_join(MEASURED, fill_and_free);
            let left = rss::resident_bytes().saturating_sub(before);
            println!("{left} bytes left behind by {MEASURED} threads");
            assert!(left <= MEASURED * 102, "{} bytes a thread", left / MEASURED);
        }
        let mappings = mappings::count();
        println!("{mappings} mappings");
        assert!(mappings <= MAPPINGS_MAX, "{mappings} mappings");
    });
    print!("{said}");
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn threads_that_end_with_blocks_in_use_leave_a_quarter_kib_beside_them_at_most() {
    const WARM_UP: usize = 1_500;
    const MEASURED: usize = 1_500;
    const ROUNDS: usize = 3;

    /// Blocks in use, by their class.
    static LEFT: Mutex<Vec<Chain>> = Mutex::new(Vec::new());
    static LEFT_BYTES: AtomicUsize = AtomicUsize::new(0);
    static ALL_LEAVE: Barrier = Barrier::new(AT_ONCE);

    fn leave_some(number: usize) {
        let sizes = || all_sizes().skip(number % 16).step_by(16);
        let freed: Vec<Chain> = sizes().map(|size| filled(size, 4)).collect();
        for size in sizes() {
            assert!(LEFT.lock().expect("no thread has panicked")[size / 8 - 1].push());
            LEFT_BYTES.fetch_add(size, Ordering::Relaxed);
        }
        // All are there with what they will free, so that the warm-up has seen as much as will ever be used.
        ALL_LEAVE.wait();
        drop(freed);
    }

    let test = "threads_that_end_with_blocks_in_use_leave_a_quarter_kib_beside_them_at_most";
    let said = child::passes(test, || {
        *LEFT.lock().expect("no thread has panicked") = all_sizes().map(Chain::new).collect();
        start_and_join(WARM_UP, leave_some);
        // What is idle is no place for what they leave.
        GLOBAL.trim();
        let (before, bytes_before) = (rss::resident_bytes(), LEFT_BYTES.load(Ordering::Relaxed));
        // What one round leaves depends on which threads come first; that evens out over some.
        for round in 1..=ROUNDS {
            start_and_join(MEASURED, leave_some);
            GLOBAL.trim();
            let growth = rss::resident_bytes().saturating_sub(before);
            let in_use = LEFT_BYTES.load(Ordering::Relaxed) - bytes_before;
            let threads = round * MEASURED;
            println!("{growth} bytes of growth with {in_use} in use, of {threads} threads");
            let beside = growth.saturating_sub(in_use);
            assert!(
                round < ROUNDS || beside <= threads * 256,
                "{} bytes a thread",
                beside / threads
            );
        }
        // Checks the stamps of the blocks, too.
        LEFT.lock().expect("no thread has panicked").clear();
    });
    print!("{said}");
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn one_thread_after_another_leaves_nothing_that_adds_up() {
    /// In a debug build fewer, which are as many as it runs in the same time.
    const THREADS: usize = if cfg!(debug_assertions) { 20_000 } else { 70_000 };
    const WARM_UP: usize = 1_000;

    fn one_after_another(threads: usize) {
        for number in 0..threads {
            let one = thread::spawn(move || {
                let sizes = all_sizes().skip(number % 16).step_by(16);
                drop(sizes.map(|size| filled(size, 10)).collect::<Vec<Chain>>());
                drop(Box::new([1_u8; 600]));
            });
            one.join().expect("the thread does not panic");
        }
    }

    let said = child::passes("one_thread_after_another_leaves_nothing_that_adds_up", || {
        one_after_another(WARM_UP);
        let before = rss::resident_bytes();
        one_after_another(THREADS - WARM_UP);
        let growth = rss::resident_bytes().saturating_sub(before);
        let mappings = mappings::count();
        println!("{growth} bytes of growth and {mappings} mappings after {THREADS} threads");
        assert!(growth <= 4 << 20, "{growth} bytes of growth");
        assert!(mappings <= MAPPINGS_MAX, "{mappings} mappings");
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
