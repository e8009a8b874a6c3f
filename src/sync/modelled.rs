//! The lock as loom sees it, with what the protocol forbids made an error: a thread that waits for a
//! lock while it holds one.
//!
//! Loom runs the threads of a model in turn, on one thread of the system, and changes between them
//! nowhere but where one waits for a lock. So nothing in here is ever called by two threads at once.
//!
//! The lock is loom's own mutex: threads that spin are more than it can bound. So the models take it
//! for granted that the real lock excludes and publishes; that is the `spin` crate's promise.

use core::cell::{Cell, OnceCell, UnsafeCell};
use core::ops::{Deref, DerefMut};

use loom::sync::{Mutex, MutexGuard};

use super::testing;

/// A value that one thread at a time may see, if the protocol is right.
pub(crate) struct Lock<T> {
    /// Made by the first use, since loom's objects exist inside a model alone. Leaked, so that a
    /// guard can be kept in `left_closed`: some bytes for each execution of a model.
    mutex: OnceCell<&'static Mutex<()>>,
    left_closed: Cell<Option<MutexGuard<'static, ()>>>,
    value: UnsafeCell<T>,
}

// SAFETY: the threads of a model take turns on one thread, as the head of this file says.
unsafe impl<T: Send> Sync for Lock<T> {}

// SAFETY: as above, and the value may be sent.
unsafe impl<T: Send> Send for Lock<T> {}

impl<T> Lock<T> {
    /// An open lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self { mutex: OnceCell::new(), left_closed: Cell::new(None), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock and holds it until the guard is dropped.
    pub(crate) fn lock(&self) -> impl DerefMut<Target = T> {
        testing::assert_locks_held(0);
        Guard { closed: Some(self.close()), lock: self }
    }

    /// Waits for the lock, has `look` see the value, and leaves it closed, until [`Lock::force_unlock`]
    /// opens it.
    pub(crate) fn lock_and_leave_closed(&self, look: impl FnOnce(&mut T)) {
        let closed = self.close();
        self.touch();
        // SAFETY: the mutex is closed, and stays so.
        look(unsafe { &mut *self.value.get() });
        self.left_closed.set(Some(closed));
    }

    /// Opens the lock that this thread, or in a forked child its image, left closed.
    ///
    /// # Safety
    ///
    /// - [`Lock::lock_and_leave_closed`] was called, and this is the only call since.
    /// - No guard of this lock exists.
    pub(crate) unsafe fn force_unlock(&self) {
        let closed = self.left_closed.take();
        assert!(closed.is_some(), "an open lock is opened");
        testing::lock_opens();
        drop(closed);
    }

    fn close(&self) -> MutexGuard<'static, ()> {
        let mutex = self.mutex.get_or_init(|| Box::leak(Box::new(Mutex::new(()))));
        let closed = mutex.lock().expect("no thread panics with a lock");
        if testing::has_vanished() {
            // The process that this thread waited in is the parent; this is the child.
            drop(closed);
            testing::vanish();
        }
        testing::lock_closed();
        closed
    }

    /// Tells loom that the value may change here, so that it finds two threads that are in there
    /// without one's end coming before the other's begin.
    fn touch(&self) {
        testing::write_at(self.value.get().addr());
    }
}

/// A value that lies apart from the lock that guards it.
pub(crate) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: the threads of a model take turns on one thread, as the head of this file says.
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
    pub(crate) unsafe fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        testing::write_at(self.0.get().addr());
        // SAFETY: the caller owes that no other thread and no caller of this function is in here.
        change(unsafe { &mut *self.0.get() })
    }
}

struct Guard<'a, T> {
    /// `Some` until the guard is dropped.
    closed: Option<MutexGuard<'static, ()>>,
    lock: &'a Lock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.lock.touch();
        // SAFETY: the mutex is closed by this guard, and opens when that is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.lock.touch();
        // SAFETY: the mutex is closed by this guard, which is borrowed as long as the value is.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.lock.touch();
        }
        testing::lock_opens();
        drop(self.closed.take());
    }
}
