//! Demand: what a program has in use of the system allocator, and when so much less of it that the rest
//! should go back to the kernel, which the C library leaves undone below any block that is still in use.
//!
//! All orders are relaxed: the numbers say when to ask for a trim, and guard nothing. Any thread may tell of
//! what it has taken or given.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::swings::Swings;
use crate::config::{SURPLUS_BYTES_MIN, SURPLUS_LOOKS, SURPLUS_PER_DEMAND};

/// Bytes in use, and the most of them.
pub(super) struct Demand {
    /// As far as threads have told. One may tell of what it gave before another tells that it took it, so
    /// that the sum wraps for a moment.
    bytes: AtomicUsize,
    /// The most since the last look.
    most_since_look: AtomicUsize,
    /// The most since the last trim, or what was in use then.
    most: AtomicUsize,
    /// Looks that have found a surplus, one after the other.
    looks: AtomicUsize,
    /// Whether somebody has been told that something is in use.
    has_begun: AtomicBool,
    swings: Swings,
}

impl Demand {
    /// Nothing is in use.
    pub(super) const fn new() -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            most_since_look: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            swings: Swings::new(),
        }
    }

    /// Counts bytes that were taken, or given back where negative.
    pub(super) fn changes(&self, bytes: isize) {
        let now =
            self.bytes.fetch_add(bytes as usize, Ordering::Relaxed).wrapping_add(bytes as usize);
        let now = not_below_zero(now);
        if bytes > 0 && now > self.most_since_look.load(Ordering::Relaxed) {
            self.most_since_look.fetch_max(now, Ordering::Relaxed);
        }
        self.swings.moves_to(now);
    }

    /// Whether something is in use, for the first that asks when there is.
    #[inline]
    pub(super) fn take_beginning(&self) -> bool {
        !self.has_begun.load(Ordering::Relaxed)
            && self.bytes.load(Ordering::Relaxed) != 0
            && !self.has_begun.swap(true, Ordering::Relaxed)
    }

    /// How it swings.
    #[inline]
    pub(super) const fn swings(&self) -> &Swings {
        &self.swings
    }

    /// Whether for some time so much less has been in use than before that the rest should go back. To be
    /// called with each look; two threads at once would count theirs as one.
    pub(super) fn has_surplus(&self) -> bool {
        let now = not_below_zero(self.bytes.load(Ordering::Relaxed));
        let recent = self.most_since_look.swap(now, Ordering::Relaxed).max(now);
        let most = self.most.load(Ordering::Relaxed).max(recent);
        let is_surplus = most - recent >= SURPLUS_BYTES_MIN.max(most / SURPLUS_PER_DEMAND);
        let looks = if is_surplus { self.looks.load(Ordering::Relaxed) + 1 } else { 0 };
        let has_lasted = looks >= SURPLUS_LOOKS;
        self.most.store(if has_lasted { recent } else { most }, Ordering::Relaxed);
        self.looks.store(if has_lasted { 0 } else { looks }, Ordering::Relaxed);
        has_lasted
    }
}

/// A sum of what threads have told, of which one that wrapped is a small number below zero.
pub(super) fn not_below_zero(sum: usize) -> usize {
    if sum > isize::MAX as usize { 0 } else { sum }
}

#[cfg(test)]
mod tests;
