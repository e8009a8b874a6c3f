//! Trim requests: how one thread has all others give back what they hold, though none may touch another's
//! cache.
//!
//! Protocol. A request is counted, and nothing is waited for. A thread compares the count with the one that it
//! knows of where it comes by on a slow path, and gives back what it holds if they differ. So every block that
//! a thread held when a request was made has left it once the thread has come by after that; one request, or
//! several since it last came by, cost it one flush; and a thread that never comes by keeps what it holds.
//!
//! Any thread may ask; a [`Follower`] is one thread's own.
#![cfg_attr(not(test), forbid(unsafe_code))]

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The requests to all threads of a process.
///
/// Relaxed: a request carries nothing but itself, and what a thread gives back then changes hands under
/// locks. A thread that sees a request late follows it late.
pub(crate) struct TrimRequests(AtomicUsize);

impl TrimRequests {
    /// Nobody has asked yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Asks all threads but the one that asks, which is to give back what it holds now.
    pub(crate) fn ask(&self, asking: &Follower) {
        let earlier = self.0.fetch_add(1, Ordering::Relaxed);
        asking.known.set(earlier.wrapping_add(1));
    }
}

/// What one thread knows of the requests.
pub(crate) struct Follower {
    known: Cell<usize>,
}

impl Follower {
    /// One that knows of no request.
    pub(crate) const fn new() -> Self {
        Self { known: Cell::new(0) }
    }

    /// Begins to follow, before its thread holds anything of its own: older requests are none of its concern.
    pub(crate) fn begin(&self, requests: &TrimRequests) {
        self.known.set(requests.0.load(Ordering::Relaxed));
    }

    /// Whether there was a request since this was last asked; then the thread is to give back what it holds.
    #[inline]
    pub(crate) fn is_asked(&self, requests: &TrimRequests) -> bool {
        let count = requests.0.load(Ordering::Relaxed);
        self.known.replace(count) != count
    }

    /// What its thread knows of the requests, for whoever takes over what that holds; `None` if that is to be
    /// given back.
    pub(crate) fn hand_over(&self, requests: &TrimRequests) -> Option<usize> {
        (!self.is_asked(requests)).then(|| self.known.get())
    }

    /// Follows on from where another one has handed over.
    pub(crate) fn take_over(&self, known: usize) {
        self.known.set(known);
    }
}

#[cfg(test)]
mod model;
