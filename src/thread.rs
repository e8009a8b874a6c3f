//! Each thread's caches, the heaps behind all of them, and the ends of threads and starts of processes
//! that both must survive; the only statics of the crate that are state.
//!
//! In a Rust program (`plain`) the thread-local is `const` and has no `Drop`, so that it is usable before
//! `main`, in destructors of other thread-locals, and after them. A thread's first slow path has the
//! operating system call the flush when the thread ends, as late as it can. What comes later still
//! finds the caches working; they then keep no blocks. `of_process` is for the library to preload, which
//! the C library itself calls. The process's first slow path settles what is chosen for all of it.

mod caches;
mod forks;
mod lifetime;
mod memory;
#[cfg(feature = "preload")]
mod of_process;
#[cfg(not(feature = "preload"))]
mod plain;
mod survey;
mod uses;

use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::alloc::System;

use crate::bin_index::BinIndex;
use crate::cache::ThreadCache;
use crate::config::{Config, LARGE_ALIGNMENT, REQUEST_WORTH_A_TRIM_MAX, SystemTuning};
use crate::heap::Heap;
use crate::large::LargeHeap;
use crate::large_class::LargeClass;
use crate::os::{self, SystemPages, ThreadExit, keeping_errno};
use crate::pool_map::Place;
use crate::size_class::SizeClass;
use crate::sync::Lock;
use crate::trim::TrimRequests;
use caches::Caches;
pub(crate) use lifetime::config;
use lifetime::{flush_at_exit, prepare};
pub(crate) use memory::{count_passed, trim};
use memory::{follow_news, or_after_hook, tune_once_in_use};
#[cfg(feature = "preload")]
pub(crate) use memory::{release, report_passed};
pub(crate) use survey::{stats, survey};
pub(crate) use uses::{begin_use, end_use, is_in_use, replace_inside};

#[cfg(feature = "preload")]
use of_process as own;
#[cfg(feature = "preload")]
pub(crate) use of_process::{
    class_at, dealloc_anywhere, may_use_caches, pop_small, trim_upstream, upstream_usable_size,
};
use own::{trim_system_allocator, with_caches};
#[cfg(not(feature = "preload"))]
use plain as own;

static HEAP: Heap<SystemPages> = Heap::new(SystemPages::new());
static LARGE_HEAP: LargeHeap<System> = LargeHeap::new(System);
static CONFIG: Lock<Option<Config>> = Lock::new(None);
static EXIT: ThreadExit = ThreadExit::new(flush_at_exit);
static CORES: AtomicUsize = AtomicUsize::new(0);
static FORK_IS_HANDLED: AtomicBool = AtomicBool::new(false);
/// The requests to all threads of this process to give back the small blocks that they hold.
static SMALL_TRIM_REQUESTS: TrimRequests = TrimRequests::new();
/// The same for large blocks.
static LARGE_TRIM_REQUESTS: TrimRequests = TrimRequests::new();

impl Caches {
    /// Leaves what it holds to the next thread or gives it back, for the thread is about to end.
    fn flush_for_good(&self) {
        let known = || self.small_trim_follower.hand_over(&SMALL_TRIM_REQUESTS);
        self.small.flush_for_good(&HEAP, known);
        self.large.flush_for_good(&LARGE_HEAP);
    }
}

#[inline(always)]
fn with_cache<R>(use_cache: impl FnOnce(&ThreadCache) -> R) -> R {
    with_caches(|caches| use_cache(&caches.small))
}

/// A block of the class of a bin, if the thread has one at hand; else the slow path of its class may have one.
#[inline(always)]
pub(crate) fn pop(index: BinIndex) -> Option<NonNull<u8>> {
    with_caches(|caches| caches.pop(index))
}

/// Frees a block; on `false` there is no room for it at hand, and the slow path of its class must follow.
///
/// # Safety
///
/// - `block` came from one of the functions here that give one, with the class of this bin, in any thread, and the
///   caller gives it up if the answer is `true`.
#[inline(always)]
pub(crate) unsafe fn push(block: NonNull<u8>, index: BinIndex) -> bool {
    os::expect_in_use(block);
    // SAFETY: the caller owes the block.
    with_caches(|caches| unsafe { caches.push(block, index) })
}

/// A small block of `class`, or null. The configuration, here and below, is in force if no other is yet.
#[inline(always)]
pub(crate) fn alloc_small(class: SizeClass, chosen: &Config) -> *mut u8 {
    match pop(BinIndex::of_small(class)) {
        Some(block) => block.as_ptr(),
        None => alloc_small_slow(class, chosen),
    }
}

/// A small block of `class` whose first `bytes` bytes are zero, or null.
#[inline(always)]
pub(crate) fn alloc_small_zeroed(class: SizeClass, bytes: usize, chosen: &Config) -> *mut u8 {
    match pop(BinIndex::of_small(class)) {
        Some(block) => {
            // SAFETY: the block is this thread's, and has `class.bytes()` >= `bytes` bytes.
            unsafe { block.write_bytes(0, bytes) };
            block.as_ptr()
        }
        None => alloc_small_zeroed_slow(class, chosen),
    }
}

/// As [`alloc_small`], where the thread has no block at hand.
#[cold]
#[inline(never)]
pub(crate) fn alloc_small_slow(class: SizeClass, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve(class)) {
        Some(block) => block.as_ptr(),
        None if takes_over(chosen) => alloc_small(class, chosen),
        None => {
            let block = refill_slow(class, chosen, false);
            or_after_hook(block, chosen, || alloc_small(class, chosen))
        }
    }
}

#[cold]
#[inline(never)]
fn alloc_small_zeroed_slow(class: SizeClass, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve_zeroed(class)) {
        Some(block) => block.as_ptr(),
        None if takes_over(chosen) => alloc_small_zeroed(class, class.bytes(), chosen),
        None => {
            let block = refill_slow(class, chosen, true);
            or_after_hook(block, chosen, || alloc_small_zeroed(class, class.bytes(), chosen))
        }
    }
}

/// Has the thread prepared, and says if it now has what one before it held. Then time has passed, and the thread may do
/// without an exchange from now on: so it acts upon what has happened. Called with no cache in use.
fn takes_over(chosen: &Config) -> bool {
    let has_taken_over = with_caches(|caches| prepare(caches, chosen));
    if has_taken_over {
        keeping_errno(|| follow_news(chosen));
    }
    has_taken_over
}

/// Refills the thread's reserve from the heap, and takes a block of it, which `reads_as_zero` if it is to.
#[cold]
#[inline(never)]
fn refill_slow(class: SizeClass, chosen: &Config, reads_as_zero: bool) -> *mut u8 {
    keeping_errno(|| {
        let block = with_caches(|caches| refill(caches, class, chosen, reads_as_zero));
        follow_news(chosen);
        block
    })
}

#[inline]
fn refill(caches: &Caches, class: SizeClass, chosen: &Config, reads_as_zero: bool) -> *mut u8 {
    caches.follow_trim();
    let cache = &caches.small;
    if !cache.refill(&HEAP, class) {
        // The system has no more: what is cached may complete a pool of another class, and what the
        // system allocator holds may be an arena.
        caches.flush();
        if !HEAP.arenas().is_at_bound() {
            trim_system_allocator();
        }
        if !cache.refill(&HEAP, class) {
            return ptr::null_mut();
        }
    }
    let is_tuned = || config(chosen).system_tuning() == SystemTuning::Full;
    if HEAP.arenas().news().take_growth() && is_tuned() {
        // With its thresholds so far up, the system allocator may keep what small blocks now need.
        trim_system_allocator();
    }
    let block =
        if reads_as_zero { cache.pop_reserve_zeroed(class) } else { cache.pop_reserve(class) };
    cache.flush_unless_keeping(&HEAP, class);
    block.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Frees a small block that [`push`] has not taken, or was not asked to.
///
/// # Safety
///
/// - As for [`push`], and the caller gives the block up.
#[cold]
#[inline(never)]
pub(crate) unsafe fn dealloc_small_slow(block: NonNull<u8>, class: SizeClass, chosen: &Config) {
    keeping_errno(|| {
        with_caches(|caches| {
            prepare(caches, chosen);
            // SAFETY: the caller owes the block; all blocks are of the one heap.
            unsafe { caches.small.push_full(&HEAP, block, class) }
            caches.follow_trim();
        });
        follow_news(chosen);
    });
}

/// A large block of `class`, or null.
#[inline]
pub(crate) fn alloc_large(class: LargeClass, chosen: &Config) -> *mut u8 {
    match pop(BinIndex::of_large(class)) {
        Some(block) => block.as_ptr(),
        None => alloc_large_slow(class, chosen),
    }
}

/// A large block of `class` whose first `bytes` bytes are zero, or null.
#[inline]
pub(crate) fn alloc_large_zeroed(class: LargeClass, bytes: usize, chosen: &Config) -> *mut u8 {
    match with_caches(|caches| caches.large.pop(class).or_else(|| caches.large.pop_spare(class))) {
        Some(block) => {
            // SAFETY: the block is this thread's, and has `class.bytes()` >= `bytes` bytes.
            unsafe { block.write_bytes(0, bytes) };
            block.as_ptr()
        }
        None => alloc_large_zeroed_slow(class, chosen),
    }
}

/// As [`alloc_large`], where the thread has no block at hand.
#[cold]
#[inline(never)]
fn alloc_large_slow(class: LargeClass, chosen: &Config) -> *mut u8 {
    if let Some(block) = with_caches(|caches| caches.large.pop_spare(class)) {
        return block.as_ptr();
    }
    // The program's hook may have run, and freed blocks of this class.
    if takes_over(chosen) {
        return alloc_large(class, chosen);
    }
    keeping_errno(|| {
        tune_once_in_use(chosen);
        let refilled = with_caches(|caches| {
            caches.follow_trim();
            caches.large.refill(&LARGE_HEAP, class)
        });
        let take = || with_caches(|caches| caches.large.take(&LARGE_HEAP, class));
        let block = refilled.or_else(|| or_after_trim(class.bytes(), take));
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

/// What the depot has is not zero, and dearer to clear than what the system allocator has: so that
/// comes first where the thread has none.
#[cold]
#[inline(never)]
fn alloc_large_zeroed_slow(class: LargeClass, chosen: &Config) -> *mut u8 {
    keeping_errno(|| {
        takes_over(chosen);
        tune_once_in_use(chosen);
        with_caches(Caches::follow_trim);
        let take = || with_caches(|caches| caches.large.take_zeroed(&LARGE_HEAP, class));
        let block = or_after_trim(class.bytes(), take);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

/// Frees a large block that [`push`] has not taken.
///
/// # Safety
///
/// - As for [`push`], and the caller gives the block up.
#[cold]
#[inline(never)]
pub(crate) unsafe fn dealloc_large_slow(block: NonNull<u8>, class: LargeClass, chosen: &Config) {
    keeping_errno(|| {
        // First, for the program's hook may run then, and see what the thread holds.
        with_caches(|caches| caches.large.refuse_push(class));
        takes_over(chosen);
        with_caches(|caches| {
            // SAFETY: the caller owes the block; all blocks are of the one heap.
            unsafe { caches.large.push_full(&LARGE_HEAP, block, class) }
            caches.follow_trim();
        });
    });
}

/// Makes a large block one of the system allocator's, with a size that no class has; null, and the
/// block as it was, if there is no memory.
///
/// # Safety
///
/// - `block` is a large block of `class`, and the caller's.
/// - `new_size` is not zero.
pub(crate) unsafe fn release_large(
    block: NonNull<u8>,
    class: LargeClass,
    new_size: usize,
    chosen: &Config,
) -> *mut u8 {
    // The caller's alignment may be smaller than a class's, and its size so near to the limit.
    if Layout::from_size_align(new_size, LARGE_ALIGNMENT).is_err() {
        return ptr::null_mut();
    }
    keeping_errno(|| {
        // SAFETY: the caller owes the block, and the size has just been looked at.
        let resize = || NonNull::new(unsafe { LARGE_HEAP.resize(class, block, new_size) });
        let resized = or_after_trim(new_size, resize);
        if resized.is_some() {
            let given = -(class.bytes() as isize);
            with_caches(|caches| caches.large.count_taken(&LARGE_HEAP, given));
            LARGE_HEAP.report_passed(new_size as isize);
            tune_once_in_use(chosen);
        }
        resized.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

/// What `request`, for so many bytes, has from the system allocator; if that is nothing, what it has
/// once it is given back what this allocator can do without. Called with no cache in use, as the program's hook may run.
#[inline]
pub(crate) fn or_after_trim(
    bytes: usize,
    request: impl Fn() -> Option<NonNull<u8>>,
) -> Option<NonNull<u8>> {
    request().or_else(|| {
        let may_help = os::HAS_ARENAS && bytes <= REQUEST_WORTH_A_TRIM_MAX;
        if may_help && trim().is_of_use() { request() } else { None }
    })
}

/// The place of a block that `address` lies in, if it lies in a pool that a class has. Exact for an
/// address that the caller owns, in a block or elsewhere.
pub(crate) fn place_at(address: usize) -> Option<Place> {
    HEAP.pool_map().place_at(address)
}

#[cfg(test)]
mod tests;
