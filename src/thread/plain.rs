//! The thread's caches where this allocator is a Rust program's.

use super::Caches;
use crate::config::Pressure;
use crate::os;

thread_local! {
    static CACHES: Caches = const { Caches::new() };
}

#[inline(always)]
pub(super) fn with_caches<R>(use_caches: impl FnOnce(&Caches) -> R) -> R {
    match CACHES.try_with(use_caches) {
        Ok(result) => result,
        Err(_) => os::abort_corrupt("thread cache without destructor is gone", 0),
    }
}

/// As [`with_caches`], but where a thread has no caches yet it gets none.
pub(super) fn with_caches_if_any<R>(use_caches: impl FnOnce(&Caches) -> R) -> Option<R> {
    Some(with_caches(use_caches))
}

/// The thread's end has flushed its caches, which still work.
pub(super) fn caches_are_flushed() {}

/// Nothing, here and below: the C library's streams allocate from the C library.
pub(super) fn lock_streams() {}

/// Nothing, as above.
pub(super) fn unlock_streams_in_parent() {}

/// Nothing, as above.
pub(super) fn unlock_streams_in_child() {}

/// Why a variable has no meaning here that it has elsewhere: none is like that.
pub(super) fn refusal(_name: &[u8]) -> Option<&'static str> {
    None
}

/// Ends the process where a panic would unwind through the allocator.
struct AbortOnUnwinding;

impl Drop for AbortOnUnwinding {
    fn drop(&mut self) {
        os::abort_corrupt("pressure hook panicked", 0);
    }
}

/// Calls a program's hook, which must not unwind.
pub(super) fn run_hook(hook: fn(Pressure), pressure: Pressure) {
    let no_unwinding = AbortOnUnwinding;
    hook(pressure);
    core::mem::forget(no_unwinding);
}

pub(super) use os::{spawn as start_thread, trim_system_allocator};
