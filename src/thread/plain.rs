//! The thread's cache where this allocator is a Rust program's.

use crate::cache::ThreadCache;
use crate::os;

thread_local! {
    static CACHE: ThreadCache = const { ThreadCache::new() };
}

#[inline(always)]
pub(super) fn with_cache<R>(use_cache: impl FnOnce(&ThreadCache) -> R) -> R {
    match CACHE.try_with(use_cache) {
        Ok(result) => result,
        Err(_) => os::abort_corrupt("thread cache without destructor is gone", 0),
    }
}

/// As [`with_cache`], but where a thread has no cache yet it gets none.
pub(super) fn with_cache_if_any<R>(use_cache: impl FnOnce(&ThreadCache) -> R) -> Option<R> {
    Some(with_cache(use_cache))
}

/// The thread's end has flushed its cache, which still works.
pub(super) fn cache_is_flushed() {}

/// Calls what may change `errno`, which nobody looks at.
pub(super) fn keeping_errno<R>(call: impl FnOnce() -> R) -> R {
    call()
}
