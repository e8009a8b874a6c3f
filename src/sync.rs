//! The one lock of the crate, and a place apart for what it guards.
//!
//! A spinning lock that yields its time slice when it has waited for a while, and in the end sleeps: an allocator
//! cannot use a mutex that may itself allocate or unwind. It is held for bounded work only, never across a call to the
//! operating system, and no thread ever holds two of them, except around `fork` and while the heap is looked at as a
//! whole, which takes 2 ms for a GiB.
//!
//! In this crate's own tests under `cfg(loom)` it is `modelled` instead: loom then runs a test with
//! every order in which threads may get their locks. Only there: a program whose own models set that
//! flag for all of its dependencies needs an allocator that works outside of a model.

mod backoff;

#[cfg(not(all(test, loom)))]
#[path = "sync/spinning.rs"]
mod lock;

#[cfg(all(test, loom))]
#[path = "sync/modelled.rs"]
mod lock;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use backoff::Backoff;
pub(crate) use lock::{Guarded, Lock};
