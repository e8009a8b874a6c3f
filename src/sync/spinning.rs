//! The lock of every build but the model's.

use core::cell::UnsafeCell;
use core::ops::DerefMut;

use crossbeam_utils::CachePadded;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::Backoff;

/// A value that one thread at a time may see, alone on its cache lines.
pub(crate) struct Lock<T>(CachePadded<SpinMutex<T>>);

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
    fn lock_slow(&self) -> SpinMutexGuard<'_, T> {
        let mut backoff = Backoff::new();
        loop {
            // Reading leaves the lock's cache line where it is, which trying would not.
            if !self.0.is_locked()
                && let Some(guard) = self.0.try_lock()
            {
                return guard;
            }
            backoff.wait();
        }
    }

    /// Waits for the lock, has `look` see the value, and leaves it closed, until [`Lock::force_unlock`]
    /// opens it. Out of line, for many locks are closed one after the other, and seldom.
    #[inline(never)]
    pub(crate) fn lock_and_leave_closed(&self, look: impl FnOnce(&mut T)) {
        let mut guard = self.lock();
        look(&mut guard);
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
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::os;

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

    /// How often a thread has begun to wait, which a yield is not; where Linux says so.
    fn waits_of(thread: &Path) -> Option<u64> {
        let status = fs::read_to_string(Path::new("/proc").join(thread).join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count?.trim().parse().ok()
    }

    /// Else one with a real-time priority would keep the one that it waits for from their core.
    #[test]
    fn a_thread_that_waits_for_long_sleeps() {
        // Where nothing is known of the system, nobody sleeps.
        if !os::HAS_ARENAS {
            return;
        }
        let lock = Lock::new(());
        let (arrival, arrived) = mpsc::channel();
        thread::scope(|scope| {
            let guard = lock.lock();
            scope.spawn(|| {
                arrival.send(fs::read_link("/proc/thread-self")).expect("this test receives it");
                drop(lock.lock());
            });
            let Ok(waiter) = arrived.recv().expect("the waiter sends it") else { return };
            let Some(before) = waits_of(&waiter) else { return };
            // Sending may be one, sleeping for as long as the lock is closed is many.
            let has_slept = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                waits_of(&waiter) > Some(before + 2)
            });
            drop(guard);
            assert!(has_slept);
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
