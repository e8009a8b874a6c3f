//! When the process forks: what another thread is at then is half done in the child, which has no such thread. So all
//! locks are closed before, and opened after in both.
//!
//! Not in a process that has never had another thread, as far as glibc on Linux knows: its one may be in a signal handler, and
//! was interrupted with a lock closed, so that it would wait for itself. It is itself in the child, and goes on there where
//! it was.

use core::sync::atomic::{AtomicBool, Ordering};

use super::lifetime::cores;
use super::own::{
    lock_streams, unlock_streams_in_child, unlock_streams_in_parent, with_caches_if_any,
};
use super::{CONFIG, HEAP, LARGE_HEAP};
use crate::os;

/// Whether a thread that forks has closed all locks. Only that thread changes it, while they are closed, but where
/// the process has no other; so that relaxed orders do.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Has each `fork` of the process come by here; on `false` it will not.
pub(super) fn handle() -> bool {
    os::at_fork(close, open_in_parent, open_in_child)
}

unsafe extern "C" fn close() {
    // A thread that sleeps while it waits leaves a number.
    os::keeping_errno(|| {
        if os::is_only_thread() {
            return;
        }
        lock_streams();
        CONFIG.lock_and_leave_closed(|_| {});
        HEAP.lock_for_fork(cores());
        LARGE_HEAP.lock_for_fork(cores());
        IS_CLOSED.store(true, Ordering::Relaxed);
    });
}

unsafe extern "C" fn open_in_parent() {
    if !IS_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handlers run in pairs, in the thread that closed the locks.
    unsafe { open() };
    unlock_streams_in_parent();
}

unsafe extern "C" fn open_in_child() {
    if !IS_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let joined = with_caches_if_any(|caches| caches.small.joined());
    HEAP.forget_other_threads(joined.flatten());
    // SAFETY: the handlers run in pairs, and the child is the image of the thread that closed the locks.
    unsafe { open() };
    HEAP.arenas().forget_other_threads();
    unlock_streams_in_child();
}

/// Opens all locks.
///
/// # Safety
///
/// - [`close`] has closed them, called by this thread or its image in the parent.
unsafe fn open() {
    IS_CLOSED.store(false, Ordering::Relaxed);
    // SAFETY: the caller owes that they are closed.
    unsafe { LARGE_HEAP.unlock_after_fork(cores()) };
    // SAFETY: as above.
    unsafe { HEAP.unlock_after_fork(cores()) };
    // SAFETY: as above.
    unsafe { CONFIG.force_unlock() };
}
