//! The lock of every build but the model's.

use core::cell::UnsafeCell;
use core::ops::DerefMut;

use crossbeam_utils::CachePadded;
use spin::RelaxStrategy;
use spin::mutex::SpinMutex;

use crate::os;

/// Gives the rest of the time slice away while a lock is closed: whoever holds it may be waiting for
/// this very core.
struct Yield;

impl RelaxStrategy for Yield {
    #[inline]
    fn relax() {
        os::yield_now();
    }
}

/// A value that one thread at a time may see, alone on its cache lines.
pub(crate) struct Lock<T>(CachePadded<SpinMutex<T, Yield>>);

impl<T> Lock<T> {
    /// An open lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(CachePadded::new(SpinMutex::new(value)))
    }

    /// Waits for the lock and holds it until the guard is dropped.
    #[inline]
    pub(crate) fn lock(&self) -> impl DerefMut<Target = T> {
        self.0.lock()
    }

    /// Waits for the lock, has `look` see the value, and leaves it closed, until [`Lock::force_unlock`]
    /// opens it. Out of line, for many locks are closed one after the other, and seldom.
    #[inline(never)]
    pub(crate) fn lock_and_leave_closed(&self, look: impl FnOnce(&T)) {
        let guard = self.0.lock();
        look(&guard);
        core::mem::forget(guard);
    }

    /// Opens the lock that this thread, or in a forked child its image, left closed.
    ///
    /// # Safety
    ///
    /// - [`Lock::lock_and_leave_closed`] was called, and this is the only call since.
    /// - No guard of this lock exists.
    pub(crate) unsafe fn force_unlock(&self) {
        // SAFETY: the caller owes both conditions, which are those of `SpinMutex::force_unlock`.
        unsafe { self.0.force_unlock() }
    }
}

/// A value that lies apart from the lock that guards it.
pub(crate) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: `with` is the only way to the value, and its caller owes that there is one at a time.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// A value for a lock to guard.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Has `change` see the value.
    ///
    /// # Safety
    ///
    /// - The caller holds the lock that guards the value, which is always the same one.
    /// - `change` does not come here again.
    #[inline]
    pub(crate) unsafe fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the caller owes that no other thread and no caller of this function is in here.
        change(unsafe { &mut *self.0.get() })
    }
}
