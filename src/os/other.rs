//! Systems without arenas: Windows, wasm and whatever else the standard library runs on. The items
//! stand in for the contract and are never called, since no request reaches a pool.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::time::Duration;

use super::PageSource;

/// Whether this system gives pages, so that small blocks come from arenas.
pub(crate) const HAS_ARENAS: bool = false;

/// A source without pages.
pub(crate) struct SystemPages;

impl SystemPages {
    pub(crate) const fn new() -> Self {
        Self
    }
}

impl PageSource for SystemPages {
    fn map(&self) -> Option<NonNull<u8>> {
        None
    }

    fn map_huge(&self) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn purge(&self, _start: NonNull<u8>, _bytes: usize) -> bool {
        false
    }

    fn page_bytes(&self) -> usize {
        1
    }

    fn milliseconds(&self) -> usize {
        0
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn release_table(&self, _table: NonNull<u8>) {}
}

/// A thread's end that nothing waits for.
pub(crate) struct ThreadExit;

impl ThreadExit {
    pub(crate) const fn new(_destructor: unsafe extern "C" fn(*mut c_void)) -> Self {
        Self
    }

    /// Never arms: there is no cache to flush.
    pub(crate) fn arm(&self) -> bool {
        false
    }

    /// No destructor is ever called.
    pub(crate) fn is_due(&self, _value: *mut c_void) -> bool {
        false
    }
}

/// Never registers: there is no lock to take.
pub(crate) fn at_fork(
    _prepare: unsafe extern "C" fn(),
    _in_parent: unsafe extern "C" fn(),
    _in_child: unsafe extern "C" fn(),
) -> bool {
    false
}

/// Never registers: there is nothing to print.
pub(crate) fn at_exit(_call: extern "C-unwind" fn()) -> bool {
    false
}

/// Never starts: there is nothing to give back.
#[cfg(not(feature = "preload"))]
pub(crate) fn spawn(_run: extern "C" fn(*mut c_void) -> *mut c_void) -> bool {
    false
}

/// Nobody sleeps.
pub(crate) fn sleep(_time: Duration) {}

/// Nothing depends on it.
pub(crate) fn cores() -> usize {
    0
}

/// Tells the processor that this thread is waiting.
pub(crate) fn yield_now() {
    core::hint::spin_loop();
}

/// None: without arenas there is nothing to choose.
pub(crate) fn for_each_variable(_prefix: &[u8], _look: impl FnMut(&[u8], &[u8])) {}

/// Nothing: there is no way to write without the standard library's own buffers.
pub(crate) fn write_error(_parts: &[&[u8]]) {}

/// Nothing, as above.
pub(crate) fn write_error_bytes(_bytes: &[u8]) {}

pub(super) fn abort() -> ! {
    std::process::abort()
}
