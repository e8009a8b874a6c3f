//! Swings: how far what is in use of the system allocator falls and rises again. A program that fills and
//! frees as much time after time, as one that works through frames or documents does, pays for each page of
//! it anew if the library gives it back to the kernel in between; so the library is told to hold as much.
//!
//! Only as long as no thread comes that may have another heap of the library's than the main one: glibc gives back
//! the top of the main thread's heap when it is asked to, and that of another not before a thread which has it
//! frees a block there, which it may never do. With few processors all threads share one.
//!
//! A fall or a rise counts from the size on that is given back at all, so that what the library holds anyway
//! is not looked at.
//!
//! All orders are relaxed: the numbers say what to hold, and guard nothing. Any thread may tell of what is
//! in use; where two find the same turn, one of them counts it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::{HELD_BYTES_FIRST, HELD_BYTES_MAX, SWINGS_PER_FIRST_HOLD};

/// What is in use, as a line that rises and falls.
pub(crate) struct Swings {
    is_falling: AtomicBool,
    /// The top of the rise under way, or of the last one.
    high: AtomicUsize,
    /// The top of the one before.
    high_before: AtomicUsize,
    /// The bottom of the fall under way, or of the last one.
    low: AtomicUsize,
    /// The library gives back what is more than this and `HELD_BYTES_FIRST`. As all others, zero at first, so
    /// that the static which it lies in costs no memory until it is in use.
    held_beyond_first: AtomicUsize,
    /// Falls of more than that with a rise of as much after them, since it was last told to hold more.
    count: AtomicUsize,
    /// The largest of these, in bytes.
    largest: AtomicUsize,
    /// Whether all threads share one heap of the library's.
    is_shared: AtomicBool,
    /// Whether nothing is held, or looked at, any more.
    has_ended: AtomicBool,
}

impl Swings {
    /// Nothing has moved yet.
    pub(crate) const fn new() -> Self {
        Self {
            is_falling: AtomicBool::new(false),
            high: AtomicUsize::new(0),
            high_before: AtomicUsize::new(0),
            low: AtomicUsize::new(0),
            held_beyond_first: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            is_shared: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Bytes that the library should hold.
    pub(crate) fn held(&self) -> usize {
        HELD_BYTES_FIRST + self.held_beyond_first.load(Ordering::Relaxed)
    }

    /// So many bytes are in use now.
    pub(crate) fn moves_to(&self, now: usize) {
        if self.has_ended() {
            return;
        }
        if self.is_falling.load(Ordering::Relaxed) {
            let low = self.low.load(Ordering::Relaxed);
            if now < low {
                self.low.fetch_min(now, Ordering::Relaxed);
            } else if now - low >= self.held() {
                self.turn_up_slow(now);
            }
        } else {
            let high = self.high.load(Ordering::Relaxed);
            if now > high {
                self.high.fetch_max(now, Ordering::Relaxed);
            } else if high - now >= self.held() {
                self.turn_down_slow(now);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn turn_up_slow(&self, now: usize) {
        if self.is_falling.swap(false, Ordering::Relaxed) {
            self.high.store(now, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn turn_down_slow(&self, now: usize) {
        if self.is_falling.swap(true, Ordering::Relaxed) {
            return;
        }
        let (high, low) = (self.high.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed));
        let high_before = self.high_before.swap(high, Ordering::Relaxed);
        self.low.store(now, Ordering::Relaxed);
        // What fell and has risen again: neither a start from nothing nor the rest of a larger heap.
        let swing = high.min(high_before).saturating_sub(low);
        if swing >= self.held() {
            self.largest.fetch_max(swing, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes that the system allocator should hold from now on, if that is more than so far.
    #[inline]
    pub(crate) fn take_hold(&self) -> Option<usize> {
        if self.count.load(Ordering::Relaxed) < self.due() { None } else { self.hold_slow() }
    }

    /// So many swings make it hold: of a program that has been seen to swing, one that is larger is enough.
    fn due(&self) -> usize {
        let holds = self.held_beyond_first.load(Ordering::Relaxed) > 0;
        if holds { 1 } else { SWINGS_PER_FIRST_HOLD }
    }

    /// The library has one heap for all threads that come.
    pub(crate) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Whether another thread than the main one is no reason to end.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Whether nothing is to be held any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Nothing is to be held from now on.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Forgets what should be held beyond what is anyway; whether that was anything.
    pub(crate) fn end_hold(&self) -> bool {
        self.count.store(0, Ordering::Relaxed);
        self.held_beyond_first.swap(0, Ordering::Relaxed) > 0
    }

    #[cold]
    #[inline(never)]
    fn hold_slow(&self) -> Option<usize> {
        if self.count.swap(0, Ordering::Relaxed) < self.due() || self.has_ended() {
            return None;
        }
        let largest = self.largest.swap(0, Ordering::Relaxed);
        // The next one may be a little larger.
        let held = (2 * largest).min(HELD_BYTES_MAX);
        let beyond_first = held.saturating_sub(HELD_BYTES_FIRST);
        let before = self.held_beyond_first.fetch_max(beyond_first, Ordering::Relaxed);
        (before < beyond_first).then_some(held)
    }
}

#[cfg(test)]
mod tests;
