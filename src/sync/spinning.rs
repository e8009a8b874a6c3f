//! The lock of every build but the model's.

use core::cell::UnsafeCell;
use core::hint;
use core::ops::DerefMut;

use crossbeam_utils::CachePadded;
use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::os;

/// How often a thread looks at a closed lock before it yields. A lock is held for less time than that takes,
/// unless whoever holds it was interrupted; and where other processes want the processor, a yield gives it to
/// them for milliseconds. `--cfg obmalloc_yield_at_once` makes each wait a yield, for others to count.
const LOOKS_BEFORE_YIELD: u32 = if cfg!(obmalloc_yield_at_once) { 0 } else { 256 };

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
        match self.0.try_lock() {
            Some(guard) => guard,
            None => self.lock_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> SpinMutexGuard<'_, T, Yield> {
        for _ in 0..LOOKS_BEFORE_YIELD {
            if !self.0.is_locked() {
                break;
            }
            hint::spin_loop();
        }
        self.0.lock()
    }

    /// Waits for the lock, has `look` see the value, and leaves it closed, until [`Lock::force_unlock`]
    /// opens it. Out of line, for many locks are closed one after the other, and seldom.
    #[inline(never)]
    pub(crate) fn lock_and_leave_closed(&self, look: impl FnOnce(&T)) {
        let guard = self.lock();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_waits_for_as_long_as_a_lock_is_closed() {
        let lock = Lock::new("closed");
        let (arrival, arrived) = mpsc::channel();
        thread::scope(|scope| {
            let mut guard = lock.lock();
            let waiter = scope.spawn(|| {
                arrival.send(()).expect("this test receives it");
                *lock.lock()
            });
            arrived.recv().expect("the waiter sends it");
            // Far longer than a thread looks before it yields.
            thread::sleep(Duration::from_millis(20));
            *guard = "opened";
            drop(guard);
            assert_eq!(waiter.join().expect("the waiter ends well"), "opened");
        });
    }

    #[test]
    fn no_two_threads_are_inside_at_once() {
        const THREADS: usize = 4;
        const ROUNDS: usize = if cfg!(miri) { 100 } else { 20_000 };
        let lock = Lock::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..ROUNDS).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), THREADS * ROUNDS);
    }
}
