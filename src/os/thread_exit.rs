//! The ends of threads, by a pthread key.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A pthread key whose destructor runs when a thread that armed it ends.
///
/// The C library calls destructors in rounds, at least four (POSIX), as long as they set keys again.
/// This one lets the first round pass, in which destructors of other keys and, on some systems, those
/// of Rust's thread-locals may still allocate.
pub(crate) struct ThreadExit {
    /// The key plus one; zero before the key is made.
    key_plus_one: AtomicUsize,
    destructor: unsafe extern "C" fn(*mut c_void),
}

/// The key's value in the first round, and in the second. Zero would not have the destructor run.
const FIRST_ROUND: usize = 1;
const SECOND_ROUND: usize = 2;

impl ThreadExit {
    /// A key whose destructor is to ask [`ThreadExit::is_due`] each time.
    pub(crate) const fn new(destructor: unsafe extern "C" fn(*mut c_void)) -> Self {
        Self { key_plus_one: AtomicUsize::new(0), destructor }
    }

    /// Has the destructor called when this thread ends. On `false` it will not be.
    pub(crate) fn arm(&self) -> bool {
        self.set(FIRST_ROUND)
    }

    /// Whether this call of the destructor, with this argument, is the thread's last.
    pub(crate) fn is_due(&self, value: *mut c_void) -> bool {
        value.addr() == SECOND_ROUND || !self.set(SECOND_ROUND)
    }

    fn set(&self, value: usize) -> bool {
        match self.key() {
            // SAFETY: the key was made by `pthread_key_create` and is never deleted.
            Some(key) => unsafe {
                libc::pthread_setspecific(key, ptr::without_provenance(value)) == 0
            },
            None => false,
        }
    }

    fn key(&self) -> Option<libc::pthread_key_t> {
        // Acquire: pairs with the release below, which publishes the C library's record of the key.
        let known = self.key_plus_one.load(Ordering::Acquire);
        if known != 0 {
            return Some((known - 1) as libc::pthread_key_t);
        }
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: `key` is valid for the write; the destructor is a function of this program.
        if unsafe { libc::pthread_key_create(&mut key, Some(self.destructor)) } != 0 {
            return None;
        }
        let made = key as usize + 1;
        // Release on success: pairs with the acquires of other threads, here and above.
        match self.key_plus_one.compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(key),
            Err(winner) => {
                // SAFETY: this key was made above, and no thread ever set it.
                unsafe { libc::pthread_key_delete(key) };
                Some((winner - 1) as libc::pthread_key_t)
            }
        }
    }
}
