//! The bound of the depots of large blocks: how many bytes of free blocks they hold together for the program to ask
//! for again.
//!
//! It is small at first and learns from regret, as the reserve of the arenas does: each block that is taken of the
//! system allocator soon after one of its class went back for want of room raises it by its bytes, up to a maximum. So
//! a program that builds up and tears down as much time after time pays for one round. What the depots held at every
//! moment of some looks was of no use: the bound falls by that, but never below what it was at first.
//!
//! All orders are relaxed: the numbers say what to hold, and guard nothing. Any thread may call any function; where two
//! do so at once, a block may be missed or a look counted once.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::config::{
    LARGE_CLASS_COUNT, LARGE_DEPOT_BYTES_MAX, LARGE_DEPOT_BYTES_MIN, LARGE_DEPOT_LOOKS,
};
use crate::large_class::LargeClass;

/// How much the depots may hold, and what that was learnt from. All zeros at first, so that the static which it lies in
/// costs no memory until it is in use.
pub(super) struct DepotBound {
    /// Bytes that it is above the first.
    beyond_first: AtomicUsize,
    /// Of each class the blocks that went not long ago for want of room, less those that were taken since.
    unregretted: [AtomicU32; LARGE_CLASS_COUNT],
    /// The fewest bytes in the depots since the bound could last fall.
    least: AtomicUsize,
    /// Looks since then.
    looks: AtomicUsize,
}

impl DepotBound {
    /// The bound at first.
    pub(super) const fn new() -> Self {
        Self {
            beyond_first: AtomicUsize::new(0),
            unregretted: [const { AtomicU32::new(0) }; LARGE_CLASS_COUNT],
            least: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        }
    }

    /// Bytes that the depots may hold.
    pub(super) fn bytes(&self) -> usize {
        LARGE_DEPOT_BYTES_MIN + self.beyond_first.load(Ordering::Relaxed)
    }

    fn unregretted(&self, class: LargeClass) -> &AtomicU32 {
        // The index is in range, so the remainder changes nothing but the proof.
        &self.unregretted[class.index() % LARGE_CLASS_COUNT]
    }

    /// So many blocks of `class` went for want of room.
    pub(super) fn blocks_went(&self, class: LargeClass, count: u32) {
        self.unregretted(class).fetch_add(count, Ordering::Relaxed);
    }

    /// A block of `class` was taken of the system allocator.
    #[inline]
    pub(super) fn block_taken(&self, class: LargeClass) {
        if self.unregretted(class).load(Ordering::Relaxed) > 0 {
            self.regret_slow(class);
        }
    }

    #[cold]
    #[inline(never)]
    fn regret_slow(&self, class: LargeClass) {
        let fewer = |count: u32| count.checked_sub(1);
        let (set, read) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.unregretted(class).fetch_update(set, read, fewer).is_ok()
            && self.bytes() + class.bytes() <= LARGE_DEPOT_BYTES_MAX
        {
            self.beyond_first.fetch_add(class.bytes(), Ordering::Relaxed);
        }
    }

    /// The depots hold so many bytes.
    #[inline]
    pub(super) fn holding_is(&self, bytes: usize) {
        if bytes < self.least.load(Ordering::Relaxed) {
            self.least.fetch_min(bytes, Ordering::Relaxed);
        }
    }

    /// The depots hold so many bytes at a look; one in so many of these makes the bound fall.
    pub(super) fn look(&self, bytes: usize) {
        if self.looks.fetch_add(1, Ordering::Relaxed) + 1 < LARGE_DEPOT_LOOKS {
            return;
        }
        self.looks.store(0, Ordering::Relaxed);
        let unneeded = self.least.swap(bytes, Ordering::Relaxed).min(bytes);
        let beyond_first = self.beyond_first.load(Ordering::Relaxed);
        self.beyond_first.store(beyond_first.saturating_sub(unneeded), Ordering::Relaxed);
        // What went longer ago is not missed.
        self.forget_what_went();
    }

    fn forget_what_went(&self) {
        self.unregretted.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Is what it was at first, and misses nothing that has gone.
    pub(super) fn forget(&self) {
        self.beyond_first.store(0, Ordering::Relaxed);
        self.forget_what_went();
    }
}

#[cfg(test)]
mod tests;
