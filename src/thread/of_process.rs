//! The thread's caches where this allocator is the process's `malloc`, and what else only that needs.
//!
//! The C library itself then calls this library, also from inside of what this library calls: the value
//! of a pthread key beyond the first 32 needs memory, and so may a handler of `fork`. And a
//! thread-local of a shared library is reached by a call, `__tls_get_addr`, which may need memory, too.
//! This must come to an end.
//!
//! So a thread's caches are a block of the C library's, from the thread's first request until its end. It
//! is found through a slot of the thread's own, which needs no call, and which says when there is none
//! to be used: inside of such a call, and after the thread's end has flushed it. C's functions then
//! allocate from the C library, and all else passes through a cache that is gone with the call.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use static_assertions::const_assert;

use super::{Caches, HEAP, prepare};
use crate::bin_index::BinIndex;
use crate::cache::Keeping;
use crate::config::{Config, Pressure};
use crate::os::{self, upstream};
use crate::size_class::SizeClass;

/// The slot of a thread that must do without a cache. Null is that of one that has made no request yet;
/// any other pointer is the cache.
const WITHOUT: *mut u8 = ptr::without_provenance_mut(1);

const_assert!(align_of::<Caches>() > 1);

static USABLE_SIZE: upstream::Hidden = upstream::Hidden::new(c"malloc_usable_size");
static TRIM: upstream::Hidden = upstream::Hidden::new(c"malloc_trim");
/// What glibc does with the lock of its list of streams around a `fork`: before, in the parent and in the child.
static STREAMS: [upstream::Hidden; 3] = [
    upstream::Hidden::new(c"_IO_list_lock"),
    upstream::Hidden::new(c"_IO_list_unlock"),
    upstream::Hidden::new(c"_IO_list_resetlock"),
];
/// Whether a thread that forks has taken that lock; changed by that thread alone.
static STREAMS_ARE_LOCKED: AtomicBool = AtomicBool::new(false);
/// Whether the C library has told this one that it is loaded.
static IS_LOADED: AtomicBool = AtomicBool::new(false);

/// Looks for them when the library is loaded, by the thread that holds the loader's lock: whoever needs
/// them first may be one that this thread waits for.
#[used]
// SAFETY: the loader calls what the pointers in this section point to, and this is such a function.
#[unsafe(link_section = ".init_array")]
static BEGIN_WHEN_LOADED: extern "C" fn() = begin;

extern "C" fn begin() {
    // Elsewhere no stream has anything of this library's, and the program's own handlers may come later.
    let own = (&raw const BEGIN_WHEN_LOADED).cast();
    let streams = if upstream::is_malloc_of_process(own) { &STREAMS[..] } else { &[] };
    [&USABLE_SIZE, &TRIM].into_iter().chain(streams).for_each(|hidden| {
        hidden.address();
    });
    // Relaxed: a thread that does not see it yet sees the environment.
    IS_LOADED.store(true, Ordering::Relaxed);
}

#[inline(always)]
fn caches_of_thread() -> Option<NonNull<Caches>> {
    let slot = upstream::thread_slot();
    if slot <= WITHOUT { None } else { NonNull::new(slot.cast()) }
}

#[inline(always)]
pub(super) fn with_caches<R>(use_caches: impl FnOnce(&Caches) -> R) -> R {
    match caches_of_thread() {
        // SAFETY: the cache in the slot is this thread's, and stays until the thread's end.
        Some(cache) => use_caches(unsafe { cache.as_ref() }),
        None => with_caches_slow(use_caches),
    }
}

#[cold]
#[inline(never)]
fn with_caches_slow<R>(use_caches: impl FnOnce(&Caches) -> R) -> R {
    if may_use_caches()
        && let Some(cache) = caches_of_thread()
    {
        // SAFETY: as above.
        return use_caches(unsafe { cache.as_ref() });
    }
    // One that keeps nothing, so that it may go again.
    let caches = Caches::new();
    caches.flush_for_good();
    use_caches(&caches)
}

/// As [`with_caches`], if the thread has a cache.
pub(super) fn with_caches_if_any<R>(use_caches: impl FnOnce(&Caches) -> R) -> Option<R> {
    // SAFETY: as in `with_caches`.
    caches_of_thread().map(|cache| use_caches(unsafe { cache.as_ref() }))
}

/// The thread's end has flushed its cache.
pub(super) fn caches_are_flushed() {
    if let Some(cache) = caches_of_thread() {
        upstream::set_thread_slot(WITHOUT);
        // SAFETY: the cache is a block of the C library's, and the slot no longer refers to it.
        unsafe { upstream::free(cache.as_ptr().cast()) };
    }
}

/// Why a variable has no meaning here that it has elsewhere.
pub(super) fn refusal(name: &[u8]) -> Option<&'static str> {
    (name == b"BACKGROUND_PURGE").then_some("is for Rust programs alone")
}

/// Never starts: the C library itself calls `free` while it holds locks that a new thread needs.
pub(super) fn start_thread(_run: extern "C" fn(*mut c_void) -> *mut c_void) -> bool {
    false
}

/// Nothing: a program that knows nothing of this allocator has no hook.
pub(super) fn run_hook(_hook: fn(Pressure), _pressure: Pressure) {}

/// Takes the lock of the list of the C library's streams, if these have blocks of this library, as its `fork` does once
/// the handlers have run: later than the heap's locks, for which a thread may wait that holds a stream, for which one may
/// wait that holds this lock.
pub(super) fn lock_streams() {
    if let Some([lock, ..]) = functions_for_streams() {
        lock();
        // Relaxed, here and below: the lock is held.
        STREAMS_ARE_LOCKED.store(true, Ordering::Relaxed);
    }
}

/// Gives it back in the parent, if it was taken.
pub(super) fn unlock_streams_in_parent() {
    if STREAMS_ARE_LOCKED.load(Ordering::Relaxed)
        && let Some([_, unlock, _]) = functions_for_streams()
    {
        STREAMS_ARE_LOCKED.store(false, Ordering::Relaxed);
        unlock();
    }
}

/// Makes it an open one in the child, as the C library does where it has taken it itself.
pub(super) fn unlock_streams_in_child() {
    if STREAMS_ARE_LOCKED.load(Ordering::Relaxed)
        && let Some([.., reset]) = functions_for_streams()
    {
        STREAMS_ARE_LOCKED.store(false, Ordering::Relaxed);
        reset();
    }
}

/// What is done with the lock of the streams, if all of that has been found.
fn functions_for_streams() -> Option<[extern "C" fn(); 3]> {
    let addresses = STREAMS.each_ref().map(upstream::Hidden::known);
    if addresses.iter().any(|address| address.is_null()) {
        return None;
    }
    // SAFETY: glibc's functions of these names have this type.
    Some(
        addresses.map(|address| unsafe {
            core::mem::transmute::<*mut c_void, extern "C" fn()>(address)
        }),
    )
}

/// Whether the thread has a cache to be used now; it gets one if it is the first time.
pub(crate) fn may_use_caches() -> bool {
    caches_of_thread().is_some() || (upstream::thread_slot().is_null() && make_caches())
}

/// Makes the thread's cache, unless there is no memory or the thread's end would not flush it.
#[cold]
#[inline(never)]
fn make_caches() -> bool {
    // Where the program's first functions run before those of its libraries, the C library has no environment yet, in
    // which the configuration is; nor will it ever, perhaps, once it has told that all is loaded.
    if !os::has_variables() && !IS_LOADED.load(Ordering::Relaxed) {
        return false;
    }
    upstream::set_thread_slot(WITHOUT);
    let made = os::keeping_errno(make_flushed_at_exit);
    upstream::set_thread_slot(made.map_or(ptr::null_mut(), |cache| cache.as_ptr().cast()));
    made.is_some()
}

fn make_flushed_at_exit() -> Option<NonNull<Caches>> {
    const_assert!(align_of::<Caches>() <= align_of::<u128>());
    let made: NonNull<Caches> = NonNull::new(upstream::malloc(size_of::<Caches>()))?.cast();
    // SAFETY: a block of this size, aligned for any object.
    unsafe { made.write(Caches::new()) };
    // SAFETY: written just now.
    let cache = unsafe { made.as_ref() };
    prepare(cache, &Config::PRELOADED);
    if cache.small.keeping() == Keeping::UntilExit {
        return Some(made);
    }
    // SAFETY: the block from above, to which nothing refers any more.
    unsafe { upstream::free(made.as_ptr().cast()) };
    None
}

/// A block of `class` that the thread has at hand.
#[inline(always)]
pub(crate) fn pop_small(class: SizeClass) -> Option<NonNull<u8>> {
    // SAFETY: as in `with_caches`.
    unsafe { caches_of_thread()?.as_ref() }.pop(BinIndex::of_small(class))
}

/// Frees a small block, of a thread that has a cache or has not.
///
/// # Safety
///
/// - As for [`super::push`], and the caller gives the block up.
#[inline(always)]
pub(crate) unsafe fn dealloc_anywhere(block: NonNull<u8>, class: SizeClass) {
    // SAFETY: the caller owes the same; a cache that is only then made for it has not been asked to take it.
    let pushed =
        caches_of_thread().is_some() && unsafe { super::push(block, BinIndex::of_small(class)) };
    if !pushed {
        // SAFETY: the caller owes the block, which was not taken.
        unsafe { super::dealloc_small_slow(block, class, &Config::PRELOADED) }
    }
}

/// The class of the small block that starts at `address`; `None` if what is there is none. The caller
/// owns what is there.
#[inline(always)]
pub(crate) fn class_at(address: usize) -> Option<SizeClass> {
    HEAP.pool_map().class_at(address)
}

/// Where glibc's own `malloc_usable_size` is, or null. To be found it `may_allocate`, or else must have been before.
pub(crate) fn upstream_usable_size(may_allocate: bool) -> *mut c_void {
    if may_allocate { USABLE_SIZE.address() } else { USABLE_SIZE.known() }
}

/// Has glibc give back to the kernel what it holds for nothing, and says if that was anything.
pub(super) fn trim_system_allocator() -> bool {
    // Not to be looked for here, in the midst of a request or a free.
    !TRIM.known().is_null() && trim_upstream(0)
}

/// glibc's own `malloc_trim`, which leaves so many bytes at the top of its heap.
pub(crate) fn trim_upstream(kept_bytes: usize) -> bool {
    type Trim = unsafe extern "C" fn(usize) -> c_int;

    let function = TRIM.address();
    if function.is_null() {
        return false;
    }
    // SAFETY: glibc's function of this name has this type.
    let function = unsafe { core::mem::transmute::<*mut c_void, Trim>(function) };
    // SAFETY: it has no conditions.
    unsafe { function(kept_bytes) != 0 }
}
