//! A thread's first request, or free, is of a large block, it takes over what a thread before it held, and the program's
//! hook runs in it before that is done: what the hook frees of that very class must not be lost, and what it sees of the
//! thread must be so.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use chain::Chain;
use obmalloc::{Obmalloc, Pressure};

const SOFT_LIMIT: usize = 16 << 20;
const SMALL: usize = 512;
const LARGE: usize = 1024;

/// More than the soft limit.
const SMALL_BLOCKS: usize = 3 * SOFT_LIMIT / 2 / SMALL;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new().with_pressure_hook(SOFT_LIMIT, on_pressure);

/// What the hook gives up in a thread whose turn it is.
static SPARED: Mutex<Chain> = Mutex::new(Chain::new(LARGE));
static IS_LAST_THREAD: AtomicBool = AtomicBool::new(false);
static WAS_IN_MAIN: AtomicBool = AtomicBool::new(false);
static FREED_IN_LAST: AtomicUsize = AtomicUsize::new(0);
/// Large blocks that the hook saw in the last thread, which then had none.
static SEEN_IN_LAST: AtomicUsize = AtomicUsize::new(0);
/// What the last thread frees first, if it is to.
static FREED_FIRST: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// Small blocks in use, each of which begins with the one before: the hook frees them while one more is allocated.
static HELD: AtomicPtr<Link> = AtomicPtr::new(ptr::null_mut());

struct Link {
    before: *mut Link,
}

const SMALL_LAYOUT: Layout = match Layout::from_size_align(SMALL, align_of::<Link>()) {
    Ok(layout) => layout,
    Err(_) => panic!("a layout"),
};

/// Of large blocks of another class than those that the hook frees.
const OTHER_LAYOUT: Layout = match Layout::from_size_align(2 * LARGE, 8) {
    Ok(layout) => layout,
    Err(_) => panic!("a layout"),
};

fn hold_one_more() {
    // SAFETY: the size is not zero.
    let block: *mut Link = unsafe { alloc(SMALL_LAYOUT) }.cast();
    assert!(!block.is_null());
    // SAFETY: the block was just allocated, and is large enough.
    unsafe { block.write(Link { before: HELD.load(Ordering::SeqCst) }) };
    HELD.store(block, Ordering::SeqCst);
}

fn free_all_held() {
    let mut block = HELD.swap(ptr::null_mut(), Ordering::SeqCst);
    while !block.is_null() {
        // SAFETY: a block that is held begins with the one before.
        let before = unsafe { (*block).before };
        // SAFETY: allocated with this layout, and held no more.
        unsafe { dealloc(block.cast(), SMALL_LAYOUT) };
        block = before;
    }
}

fn chain_of(size: usize, blocks: usize) -> Chain {
    let mut chain = Chain::new(size);
    (0..blocks).for_each(|_| assert!(chain.push()));
    chain
}

fn on_pressure(_: Pressure) {
    if IS_LAST_THREAD.load(Ordering::SeqCst) {
        let cached = || GLOBAL.stats().thread.large_cached_blocks;
        let before = cached();
        SEEN_IN_LAST.store(before, Ordering::SeqCst);
        *SPARED.lock().expect("no panic before") = Chain::new(LARGE);
        FREED_IN_LAST.store(cached() - before, Ordering::SeqCst);
    } else if !WAS_IN_MAIN.swap(true, Ordering::SeqCst) {
        // That pressure falls and rises again is, as long as this runs, news for another thread.
        free_all_held();
        GLOBAL.trim();
        drop(chain_of(LARGE, 600));
        run_in_thread(hold_some_and_end);
        (0..SMALL_BLOCKS).for_each(|_| hold_one_more());
        run_in_thread(begin_with_a_large_block);
    }
}

/// Without what the standard library would allocate in the thread first.
fn run_in_thread(run: extern "C" fn(*mut c_void) -> *mut c_void) {
    let mut thread = 0;
    // SAFETY: the place is valid for a write, and `run` has the type of a thread's function.
    let created = unsafe { libc::pthread_create(&mut thread, ptr::null(), run, ptr::null_mut()) };
    assert_eq!(created, 0);
    // SAFETY: the thread was just created, and nobody else waits for it.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

extern "C" fn hold_some_and_end(_: *mut c_void) -> *mut c_void {
    drop(black_box(chain_of(SMALL, 2)));
    ptr::null_mut()
}

extern "C" fn begin_with_a_large_block(_: *mut c_void) -> *mut c_void {
    IS_LAST_THREAD.store(true, Ordering::SeqCst);
    let block = FREED_FIRST.load(Ordering::SeqCst);
    if block.is_null() {
        let layout = Layout::from_size_align(LARGE, 8).expect("a layout");
        // SAFETY: the size is not zero.
        let block = black_box(unsafe { alloc(layout) });
        assert!(!block.is_null());
        // SAFETY: the block was just allocated with this layout.
        unsafe { dealloc(block, layout) };
    } else {
        // SAFETY: allocated with this layout, and given up by who did.
        unsafe { dealloc(block, OTHER_LAYOUT) };
    }
    IS_LAST_THREAD.store(false, Ordering::SeqCst);
    ptr::null_mut()
}

/// Has the hook run in a thread that begins with a large block.
fn run_hook_in_new_thread() {
    *SPARED.lock().expect("no panic before") = chain_of(LARGE, 32);
    // As far as the soft limit, and no further: it is the hook that goes on.
    while !WAS_IN_MAIN.load(Ordering::SeqCst) {
        hold_one_more();
    }
    assert!(FREED_IN_LAST.load(Ordering::SeqCst) > 0, "the hook did not run in that thread");
    assert_eq!(SEEN_IN_LAST.load(Ordering::SeqCst), 0, "the thread had no large block");
    free_all_held();
    GLOBAL.trim();
    let large = GLOBAL.stats().large;
    assert_eq!((large.taken_bytes, large.cached_blocks), (0, 0), "blocks are lost");
}

#[test]
fn what_the_hook_frees_before_a_threads_first_request_is_served_is_not_lost() {
    let test = "what_the_hook_frees_before_a_threads_first_request_is_served_is_not_lost";
    child::passes(test, run_hook_in_new_thread);
}

#[test]
fn a_hook_that_runs_before_a_threads_first_free_is_done_sees_the_thread_as_it_is() {
    let test = "a_hook_that_runs_before_a_threads_first_free_is_done_sees_the_thread_as_it_is";
    child::passes(test, || {
        // SAFETY: the size is not zero.
        FREED_FIRST.store(unsafe { alloc(OTHER_LAYOUT) }, Ordering::SeqCst);
        run_hook_in_new_thread();
    });
}
