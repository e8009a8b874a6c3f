//! Each thread's cache, the heap behind all of them, and the ends of threads and starts of processes
//! that both must survive; the only statics of the crate that are state.
//!
//! In a Rust program (`plain`) the thread-local is `const` and has no `Drop`, so that it is usable before
//! `main`, in destructors of other thread-locals, and after them. A thread's first slow path has the
//! operating system call the flush when the thread ends, as late as it can. What comes later still
//! finds the cache working; it then keeps no blocks. `of_process` is for the library to preload, which
//! the C library itself calls.

#[cfg(feature = "preload")]
mod of_process;
#[cfg(not(feature = "preload"))]
mod plain;

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::cache::{Keeping, ThreadCache};
use crate::heap::Heap;
use crate::os::{self, SystemPages, ThreadExit};
use crate::pool_map::Place;
use crate::size_class::SizeClass;

#[cfg(feature = "preload")]
use of_process as own;
#[cfg(feature = "preload")]
pub(crate) use of_process::{
    class_at, dealloc_anywhere, may_use_cache, pop, upstream_trim, upstream_usable_size,
};
use own::{cache_is_flushed, keeping_errno, with_cache, with_cache_if_any};
#[cfg(not(feature = "preload"))]
use plain as own;

static HEAP: Heap<SystemPages> = Heap::new(SystemPages::new());
static EXIT: ThreadExit = ThreadExit::new(flush_at_exit);
static CORES: AtomicUsize = AtomicUsize::new(0);
static FORK_IS_HANDLED: AtomicBool = AtomicBool::new(false);

const _: () = assert!(!core::mem::needs_drop::<ThreadCache>());

/// A block of `class`, or null.
#[inline(always)]
pub(crate) fn alloc(class: SizeClass) -> *mut u8 {
    match with_cache(|cache| cache.pop(class)) {
        Some(block) => block.as_ptr(),
        None => alloc_slow(class),
    }
}

/// A block of `class` whose first `bytes` bytes are zero, or null.
#[inline(always)]
pub(crate) fn alloc_zeroed(class: SizeClass, bytes: usize) -> *mut u8 {
    match with_cache(|cache| cache.pop(class)) {
        Some(block) => {
            // SAFETY: the block is this thread's, and has `class.bytes()` >= `bytes` bytes.
            unsafe { block.write_bytes(0, bytes) };
            block.as_ptr()
        }
        None => alloc_zeroed_slow(class),
    }
}

/// Frees a block.
///
/// # Safety
///
/// - `block` came from [`alloc`] or [`alloc_zeroed`] with this class, in any thread, and the caller
///   gives it up.
#[inline(always)]
pub(crate) unsafe fn dealloc(block: NonNull<u8>, class: SizeClass) {
    // SAFETY: the caller owes the block.
    if !with_cache(|cache| unsafe { cache.push(block, class) }) {
        // SAFETY: the caller owes the block, which was not taken.
        unsafe { dealloc_slow(block, class) }
    }
}

#[cold]
#[inline(never)]
fn alloc_slow(class: SizeClass) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve(class)) {
        Some(block) => block.as_ptr(),
        None => refill_slow(class, ThreadCache::pop_reserve),
    }
}

#[cold]
#[inline(never)]
fn alloc_zeroed_slow(class: SizeClass) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve_zeroed(class)) {
        Some(block) => block.as_ptr(),
        None => refill_slow(class, ThreadCache::pop_reserve_zeroed),
    }
}

/// Refills the thread's reserve from the heap, and takes a block of it with `pop`.
fn refill_slow(
    class: SizeClass,
    pop: impl FnOnce(&ThreadCache, SizeClass) -> Option<NonNull<u8>>,
) -> *mut u8 {
    with_cache(|cache| {
        prepare(cache);
        if !cache.refill(&HEAP, class) {
            // The system has no more: what is cached may complete a pool of another class.
            cache.flush(&HEAP);
            HEAP.empty_depots();
            if !cache.refill(&HEAP, class) {
                return ptr::null_mut();
            }
        }
        let block = pop(cache, class);
        cache.flush_unless_keeping(&HEAP, class);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

#[cold]
#[inline(never)]
unsafe fn dealloc_slow(block: NonNull<u8>, class: SizeClass) {
    keeping_errno(|| {
        with_cache(|cache| {
            prepare(cache);
            // SAFETY: the caller owes the block; all blocks are of the one heap.
            unsafe { cache.push_full(&HEAP, block, class) }
        });
    });
}

/// Sees to it that the thread's end flushes its cache, and that a `fork` finds the heap in order.
fn prepare(cache: &ThreadCache) {
    if cache.keeping() != Keeping::NotYet {
        return;
    }
    // Relaxed: the flag only keeps a second registration away and publishes nothing. A `fork` by
    // another thread while the first registration is under way is not covered by it; where Rust
    // starts the process, its first allocation comes before its first thread.
    if !FORK_IS_HANDLED.swap(true, Ordering::Relaxed)
        && !os::at_fork(lock_for_fork, unlock_in_parent, unlock_in_child)
    {
        FORK_IS_HANDLED.store(false, Ordering::Relaxed);
    }
    if EXIT.arm() {
        cache.keep_until_exit(&HEAP, cores());
    }
}

/// Processors that the process may use, asked for once.
fn cores() -> usize {
    // Relaxed: a plain number, the same whoever asks.
    let known = CORES.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let asked = os::cores().max(1);
    CORES.store(asked, Ordering::Relaxed);
    asked
}

unsafe extern "C" fn flush_at_exit(value: *mut c_void) {
    if EXIT.is_due(value) {
        with_cache(|cache| cache.flush_for_good(&HEAP));
        cache_is_flushed();
    }
}

unsafe extern "C" fn lock_for_fork() {
    HEAP.lock_for_fork();
}

unsafe extern "C" fn unlock_in_parent() {
    // SAFETY: the handlers run in pairs, in the thread that prepared.
    unsafe { HEAP.unlock_after_fork() };
}

unsafe extern "C" fn unlock_in_child() {
    HEAP.forget_other_threads(with_cache_if_any(ThreadCache::joined).flatten());
    // SAFETY: the handlers run in pairs, and the child is the image of the thread that prepared.
    unsafe { HEAP.unlock_after_fork() };
}

/// The place of a block that `address` lies in, if it lies in a pool that a class has. Exact for an
/// address that the caller owns, in a block or elsewhere.
pub(crate) fn place_at(address: usize) -> Option<Place> {
    HEAP.pool_map().place_at(address)
}

/// Gives back to the system what this thread and the heap can do without, and says if that was
/// anything.
#[cold]
#[inline(never)]
pub(crate) fn trim() -> bool {
    with_cache(|cache| cache.flush(&HEAP));
    HEAP.empty_depots();
    HEAP.release_empty_arenas() > 0
}
