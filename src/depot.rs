//! Depots: small stacks of full magazines, shared by threads (Bonwick and Adams, "Magazines and Vmem",
//! 2001).
//!
//! A depot is called with the lock around it held; a [`Stock`] by any thread.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::block::Magazine;
use crate::config::{CLASS_COUNT, DEPOT_LOOK_FLUSHES};
use crate::os::debug_check;

/// Magazines that leave for one that comes, at most, to bound the time of a flush.
const EVICTIONS_MAX: usize = 4;

/// Depots that are looked at for that, at most.
const EVICTION_LOOKS_MAX: usize = CLASS_COUNT;

/// What the depots of all classes hold together, which is bounded, and whose turn it is when it is too
/// much: one after the other lets a magazine leave, so that what is no longer used makes place.
///
/// Relaxed: the numbers bound the depots, and guard nothing. A magazine is counted before it is in its
/// depot and until it has left it, so that the count is never below what the depots hold.
pub(crate) struct Stock {
    bytes: AtomicUsize,
    next_to_leave: AtomicUsize,
}

impl Stock {
    /// The stock of depots without magazines.
    pub(crate) const fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), next_to_leave: AtomicUsize::new(0) }
    }

    /// Counts a magazine that is about to come.
    pub(crate) fn comes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a magazine that has left.
    pub(crate) fn leaves(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_check!(before >= bytes, "depots give more than they hold", bytes);
    }

    /// Bytes that the depots hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Has depots let magazines leave, by `evict`, until no more than `bytes_max` are left or a bounded
    /// number has gone. `evict` takes an index, of which any class is the remainder, and says if that
    /// class's depot had one.
    pub(crate) fn evict_beyond(&self, bytes_max: usize, evict: impl Fn(usize) -> bool) {
        let mut evictions = 0;
        for _ in 0..EVICTION_LOOKS_MAX {
            if evictions == EVICTIONS_MAX || self.bytes() <= bytes_max {
                return;
            }
            evictions += usize::from(evict(self.next_to_leave.fetch_add(1, Ordering::Relaxed)));
        }
    }
}

/// A stack of magazines that finds out how much of it is of use (the working set of Bonwick and Adams,
/// 2001): as many magazines as it never went below for a while lay at its bottom for nothing.
pub(crate) struct Depot<const MAGAZINES: usize> {
    magazines: [Magazine; MAGAZINES],
    count: usize,
    /// The fewest magazines since the last look.
    least: usize,
    /// Flushes since the last look.
    flushes: u32,
    /// What that look found to be of no use, less what has been taken since.
    unused: usize,
}

impl<const MAGAZINES: usize> Depot<MAGAZINES> {
    /// A depot without magazines.
    pub(crate) const EMPTY: Self = Self {
        magazines: [const { Magazine::EMPTY }; MAGAZINES],
        count: 0,
        least: 0,
        flushes: 0,
        unused: 0,
    };

    /// Magazines that it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Blocks that it holds.
    pub(crate) fn blocks(&self) -> usize {
        self.magazines.iter().take(self.count).map(|magazine| magazine.len() as usize).sum()
    }

    /// Keeps a magazine, or hands it back if the depot is full.
    pub(crate) fn push(&mut self, magazine: Magazine) -> Option<Magazine> {
        match self.magazines.get_mut(self.count) {
            Some(place) => {
                *place = magazine;
                self.count += 1;
                None
            }
            None => Some(magazine),
        }
    }

    /// The magazine that came last.
    pub(crate) fn pop(&mut self) -> Option<Magazine> {
        self.count = self.count.checked_sub(1)?;
        self.least = self.least.min(self.count);
        let place = self.magazines.get_mut(self.count)?;
        Some(core::mem::replace(place, Magazine::EMPTY))
    }

    /// Takes the magazine at the bottom if it is of no use; to be called with
    /// each flush.
    pub(crate) fn pop_unused(&mut self) -> Option<Magazine> {
        self.flushes += 1;
        if self.flushes >= DEPOT_LOOK_FLUSHES {
            self.flushes = 0;
            self.unused = core::mem::replace(&mut self.least, self.count);
        }
        self.unused = self.unused.checked_sub(1)?;
        // The top moves to the bottom: one in so many flushes, that costs less than moving all.
        let top = self.pop()?;
        match self.magazines.first_mut().filter(|_| self.count > 0) {
            Some(bottom) => Some(core::mem::replace(bottom, top)),
            None => Some(top),
        }
    }
}

#[cfg(test)]
impl<const MAGAZINES: usize> Depot<MAGAZINES> {
    /// Whether each magazine is in its place, and as long as it says.
    pub(crate) fn is_valid(&self) -> bool {
        let mut magazines = self.magazines.iter().enumerate();
        magazines.all(|(place, magazine)| {
            magazine.is_valid() && magazine.is_empty() == (place >= self.count)
        })
    }

    /// As if the look before the last flush had found `unused` magazines never needed.
    pub(crate) fn pretend_unused(&mut self, unused: usize) {
        self.flushes = DEPOT_LOOK_FLUSHES - 2;
        self.least = unused;
    }
}

#[cfg(test)]
mod tests;
