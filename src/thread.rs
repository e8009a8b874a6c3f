//! Each thread's caches, the heaps behind all of them, and the ends of threads and starts of processes
//! that both must survive; the only statics of the crate that are state.
//!
//! In a Rust program (`plain`) the thread-local is `const` and has no `Drop`, so that it is usable before
//! `main`, in destructors of other thread-locals, and after them. A thread's first slow path has the
//! operating system call the flush when the thread ends, as late as it can. What comes later still
//! finds the caches working; they then keep no blocks. `of_process` is for the library to preload, which
//! the C library itself calls. The process's first slow path settles what is chosen for all of it.

#[cfg(feature = "preload")]
mod of_process;
#[cfg(not(feature = "preload"))]
mod plain;

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::System;

use crate::cache::{Keeping, ThreadCache};
use crate::config::{Config, LARGE_ALIGNMENT, REQUEST_WORTH_A_TRIM_MAX, VARIABLE_PREFIX};
use crate::heap::Heap;
use crate::large::LargeHeap;
use crate::large_cache::LargeCache;
use crate::large_class::LargeClass;
use crate::os::{self, SystemPages, ThreadExit};
use crate::pool_map::Place;
use crate::size_class::SizeClass;
use crate::sync::Lock;

#[cfg(feature = "preload")]
use of_process as own;
#[cfg(feature = "preload")]
pub(crate) use of_process::{
    class_at, dealloc_anywhere, may_use_caches, pop, trim_upstream, upstream_usable_size,
};
use own::{
    caches_are_flushed, keeping_errno, trim_system_allocator, with_caches, with_caches_if_any,
};
#[cfg(not(feature = "preload"))]
use plain as own;

static HEAP: Heap<SystemPages> = Heap::new(SystemPages::new());
static LARGE_HEAP: LargeHeap<System> = LargeHeap::new(System);
static CONFIG: Lock<Option<Config>> = Lock::new(None);
static EXIT: ThreadExit = ThreadExit::new(flush_at_exit);
static CORES: AtomicUsize = AtomicUsize::new(0);
static FORK_IS_HANDLED: AtomicBool = AtomicBool::new(false);

/// What one thread holds.
struct Caches {
    small: ThreadCache,
    large: LargeCache,
}

impl Caches {
    const fn new() -> Self {
        Self { small: ThreadCache::new(), large: LargeCache::new() }
    }

    /// Gives everything back, for the thread is about to end.
    fn flush_for_good(&self) {
        self.small.flush_for_good(&HEAP);
        self.large.flush_for_good(&LARGE_HEAP);
    }
}

const _: () = assert!(!core::mem::needs_drop::<Caches>());

#[inline(always)]
fn with_cache<R>(use_cache: impl FnOnce(&ThreadCache) -> R) -> R {
    with_caches(|caches| use_cache(&caches.small))
}

/// A block of `class`, or null. The configuration, here and below, is in force if no other is yet.
#[inline(always)]
pub(crate) fn alloc(class: SizeClass, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop(class)) {
        Some(block) => block.as_ptr(),
        None => alloc_slow(class, chosen),
    }
}

/// A block of `class` whose first `bytes` bytes are zero, or null.
#[inline(always)]
pub(crate) fn alloc_zeroed(class: SizeClass, bytes: usize, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop(class)) {
        Some(block) => {
            // SAFETY: the block is this thread's, and has `class.bytes()` >= `bytes` bytes.
            unsafe { block.write_bytes(0, bytes) };
            block.as_ptr()
        }
        None => alloc_zeroed_slow(class, chosen),
    }
}

/// Frees a block.
///
/// # Safety
///
/// - `block` came from [`alloc`] or [`alloc_zeroed`] with this class, in any thread, and the caller
///   gives it up.
#[inline(always)]
pub(crate) unsafe fn dealloc(block: NonNull<u8>, class: SizeClass, chosen: &Config) {
    // SAFETY: the caller owes the block.
    if !with_cache(|cache| unsafe { cache.push(block, class) }) {
        // SAFETY: the caller owes the block, which was not taken.
        unsafe { dealloc_slow(block, class, chosen) }
    }
}

#[cold]
#[inline(never)]
fn alloc_slow(class: SizeClass, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve(class)) {
        Some(block) => block.as_ptr(),
        None => refill_slow(class, chosen, ThreadCache::pop_reserve),
    }
}

#[cold]
#[inline(never)]
fn alloc_zeroed_slow(class: SizeClass, chosen: &Config) -> *mut u8 {
    match with_cache(|cache| cache.pop_reserve_zeroed(class)) {
        Some(block) => block.as_ptr(),
        None => refill_slow(class, chosen, ThreadCache::pop_reserve_zeroed),
    }
}

/// Refills the thread's reserve from the heap, and takes a block of it with `pop`.
fn refill_slow(
    class: SizeClass,
    chosen: &Config,
    pop: impl FnOnce(&ThreadCache, SizeClass) -> Option<NonNull<u8>>,
) -> *mut u8 {
    with_caches(|caches| {
        prepare(caches, chosen);
        let cache = &caches.small;
        if !cache.refill(&HEAP, class) {
            // The system has no more: what is cached may complete a pool of another class, and what the
            // system allocator holds may be an arena.
            flush(caches);
            trim_system_allocator();
            if !cache.refill(&HEAP, class) {
                return ptr::null_mut();
            }
        }
        if HEAP.take_growth() && config(chosen).system_tuning() {
            // With its thresholds raised, the system allocator may keep what small blocks now need.
            trim_system_allocator();
        }
        let block = pop(cache, class);
        cache.flush_unless_keeping(&HEAP, class);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

#[cold]
#[inline(never)]
unsafe fn dealloc_slow(block: NonNull<u8>, class: SizeClass, chosen: &Config) {
    keeping_errno(|| {
        with_caches(|caches| {
            prepare(caches, chosen);
            // SAFETY: the caller owes the block; all blocks are of the one heap.
            unsafe { caches.small.push_full(&HEAP, block, class) }
        });
    });
}

/// A large block of `class`, or null.
#[inline]
pub(crate) fn alloc_large(class: LargeClass, chosen: &Config) -> *mut u8 {
    match with_caches(|caches| caches.large.pop(class)) {
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

/// Frees a large block.
///
/// # Safety
///
/// - `block` came from one of the functions above with this class, in any thread, and the caller gives
///   it up.
#[inline]
pub(crate) unsafe fn dealloc_large(block: NonNull<u8>, class: LargeClass, chosen: &Config) {
    // SAFETY: the caller owes the block.
    if !with_caches(|caches| unsafe { caches.large.push(block, class) }) {
        // SAFETY: the caller owes the block, which was not taken.
        unsafe { dealloc_large_slow(block, class, chosen) }
    }
}

#[cold]
#[inline(never)]
fn alloc_large_slow(class: LargeClass, chosen: &Config) -> *mut u8 {
    with_caches(|caches| {
        let cache = &caches.large;
        let block = cache.pop_spare(class).or_else(|| {
            prepare(caches, chosen);
            let take = || cache.take(&LARGE_HEAP, class);
            let refilled = cache.refill(&LARGE_HEAP, class);
            refilled.or_else(|| or_after_trim(class.bytes(), take))
        });
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

/// What the depot has is not zero, and dearer to clear than what the system allocator has: so that
/// comes first where the thread has none.
#[cold]
#[inline(never)]
fn alloc_large_zeroed_slow(class: LargeClass, chosen: &Config) -> *mut u8 {
    with_caches(|caches| {
        prepare(caches, chosen);
        let take = || caches.large.take_zeroed(&LARGE_HEAP, class);
        let block = or_after_trim(class.bytes(), take);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    })
}

#[cold]
#[inline(never)]
unsafe fn dealloc_large_slow(block: NonNull<u8>, class: LargeClass, chosen: &Config) {
    with_caches(|caches| {
        prepare(caches, chosen);
        // SAFETY: the caller owes the block; all blocks are of the one heap.
        unsafe { caches.large.push_full(&LARGE_HEAP, block, class) }
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
) -> *mut u8 {
    // The caller's alignment may be smaller than a class's, and its size so near to the limit.
    if Layout::from_size_align(new_size, LARGE_ALIGNMENT).is_err() {
        return ptr::null_mut();
    }
    // SAFETY: the caller owes the block, and the size has just been looked at.
    let resize = || NonNull::new(unsafe { LARGE_HEAP.resize(class, block, new_size) });
    let resized = or_after_trim(new_size, resize);
    if resized.is_some() {
        let given = -(class.bytes() as isize);
        with_caches(|caches| caches.large.count_taken(&LARGE_HEAP, given));
    }
    resized.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// What `request`, for so many bytes, has from the system allocator; if that is nothing, what it has
/// once it is given back what this allocator can do without.
#[inline]
pub(crate) fn or_after_trim(
    bytes: usize,
    request: impl Fn() -> Option<NonNull<u8>>,
) -> Option<NonNull<u8>> {
    request().or_else(|| {
        let may_help = os::HAS_ARENAS && bytes <= REQUEST_WORTH_A_TRIM_MAX;
        if may_help && trim() { request() } else { None }
    })
}

/// Sees to it that the thread's end flushes its caches, and that a `fork` finds the heaps in order.
fn prepare(caches: &Caches, chosen: &Config) {
    if caches.small.keeping() != Keeping::NotYet {
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
    let limits = config(chosen).cache_limits();
    if EXIT.arm() {
        caches.small.keep_until_exit(&HEAP, cores(), limits);
        caches.large.keep_until_exit(limits.large_bytes);
    }
}

/// The configuration in force: that of the process's first slow path, as its environment changes it.
pub(crate) fn config(chosen: &Config) -> Config {
    let mut in_force = CONFIG.lock();
    if let Some(config) = *in_force {
        return config;
    }
    let mut config = *chosen;
    os::for_each_variable(VARIABLE_PREFIX, |name, value| {
        config = config.with_variable(name, value).unwrap_or(config);
    });
    *in_force = Some(config);
    drop(in_force);
    // By the one thread that has settled it, and without the lock.
    os::for_each_variable(VARIABLE_PREFIX, |name, value| {
        if let Err(why) = config.with_variable(name, value) {
            os::write_error(&[
                b"obmalloc: ignored: ",
                VARIABLE_PREFIX,
                name,
                b"=",
                value,
                b" ",
                why.as_bytes(),
                b"\n",
            ]);
        }
    });
    if config.system_tuning() {
        os::tune_system_allocator();
    }
    config
}

/// Processors that the process may use, asked for once: the same number ever after.
fn cores() -> usize {
    // Relaxed, here and below: a plain number, which publishes nothing.
    let known = CORES.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let asked = os::cores().max(1);
    let settled = CORES.compare_exchange(0, asked, Ordering::Relaxed, Ordering::Relaxed);
    settled.map_or_else(|before| before, |_| asked)
}

unsafe extern "C" fn flush_at_exit(value: *mut c_void) {
    if EXIT.is_due(value) {
        with_caches(Caches::flush_for_good);
        caches_are_flushed();
    }
}

unsafe extern "C" fn lock_for_fork() {
    CONFIG.lock_and_leave_closed();
    HEAP.lock_for_fork(cores());
    LARGE_HEAP.lock_for_fork();
}

unsafe extern "C" fn unlock_in_parent() {
    // SAFETY: the handlers run in pairs, in the thread that prepared.
    unsafe { unlock_after_fork() };
}

unsafe extern "C" fn unlock_in_child() {
    let joined = with_caches_if_any(|caches| caches.small.joined());
    HEAP.forget_other_threads(joined.flatten());
    // SAFETY: the handlers run in pairs, and the child is the image of the thread that prepared.
    unsafe { unlock_after_fork() };
}

/// Opens all locks.
///
/// # Safety
///
/// - [`lock_for_fork`] was called before, by this thread or its image in the parent.
unsafe fn unlock_after_fork() {
    // SAFETY: the caller owes the call before.
    unsafe { LARGE_HEAP.unlock_after_fork() };
    // SAFETY: as above.
    unsafe { HEAP.unlock_after_fork(cores()) };
    // SAFETY: as above.
    unsafe { CONFIG.force_unlock() };
}

/// Gives what this thread and the depots hold to the pools and to the system allocator, and returns
/// how many bytes went to that.
fn flush(caches: &Caches) -> usize {
    caches.small.flush(&HEAP);
    HEAP.empty_depots();
    caches.large.flush(&LARGE_HEAP) + LARGE_HEAP.empty_depots()
}

/// The place of a block that `address` lies in, if it lies in a pool that a class has. Exact for an
/// address that the caller owns, in a block or elsewhere.
pub(crate) fn place_at(address: usize) -> Option<Place> {
    HEAP.pool_map().place_at(address)
}

/// Gives back what this thread and the heaps can do without, to the system or to its allocator, and
/// says if that was anything.
#[cold]
#[inline(never)]
pub(crate) fn release() -> bool {
    let large_bytes = with_caches(flush);
    let arena_bytes = HEAP.release_free();
    large_bytes + arena_bytes > 0
}

/// As [`release`], and has the system's allocator give back what it holds for nothing, too.
#[cold]
#[inline(never)]
pub(crate) fn trim() -> bool {
    let has_released = release();
    trim_system_allocator() || has_released
}
