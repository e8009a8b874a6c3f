//! Transit: what threads have taken out of the lists to purge or to release it, or are about to map, while they are
//! without the lock. It is over after a few calls to the system, and until then
//!
//! - arenas that are about to be mapped, and those that are not released yet, count as mapped, so that a bound holds;
//! - a thread that finds no pool, and may map none or gets none of the system, waits: of what comes back there may
//!   be one for it;
//! - a `fork` waits, and halts all others: in the child there is nobody who would bring back what is on its way. What
//!   others would have given back meanwhile stays for the next look, or trim.
//!
//! [`Transit`] lies behind the lock of the lists.
#![forbid(unsafe_code)]

use super::Arenas;
use crate::os::debug_check;
use crate::sync::Backoff;

/// What is on its way.
pub(super) struct Transit {
    /// Arenas that threads are about to map.
    mapping: usize,
    /// Arenas that were unlinked, and are to be released or linked again.
    leaving: usize,
    /// Claims that are not settled.
    claims: usize,
    /// Whether nothing more may begin, for a `fork`.
    is_halted: bool,
}

impl Transit {
    pub(super) const NONE: Self = Self { mapping: 0, leaving: 0, claims: 0, is_halted: false };

    /// Arenas that count as mapped though they are in no list.
    pub(super) fn arenas(&self) -> usize {
        self.mapping + self.leaving
    }

    /// Whether it is worth while to wait: something comes back, or is mapped, or may be begun then.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_halted || !self.is_over()
    }

    /// Whether something comes back that was mapped before, to the lists or to the system.
    pub(super) fn comes_back(&self) -> bool {
        self.leaving + self.claims > 0
    }

    /// Whether nothing is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.arenas() + self.claims == 0
    }

    /// Whether nothing more may begin.
    pub(super) fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// Nothing more may begin.
    pub(super) fn halt(&mut self) {
        self.is_halted = true;
    }

    /// Ends a halt.
    pub(super) fn resume(&mut self) {
        self.is_halted = false;
    }

    /// So many arenas are about to be mapped.
    pub(super) fn begin_mapping(&mut self, arenas: usize) {
        self.mapping += arenas;
    }

    /// They are, or cannot be.
    pub(super) fn end_mapping(&mut self, arenas: usize) {
        debug_check!(self.mapping >= arenas, "arenas mapped that nobody reserved", arenas);
        self.mapping -= arenas;
    }

    /// An arena was unlinked.
    pub(super) fn begin_leaving(&mut self) {
        self.leaving += 1;
    }

    /// It is released, or linked again.
    pub(super) fn end_leaving(&mut self) {
        debug_check!(self.leaving > 0, "arena came back that had not left", self.leaving);
        self.leaving -= 1;
    }

    /// Pools of an arena are claimed.
    pub(super) fn begin_claim(&mut self) {
        self.claims += 1;
    }

    /// They are settled.
    pub(super) fn end_claim(&mut self) {
        debug_check!(self.claims > 0, "claim settled twice", self.claims);
        self.claims -= 1;
    }
}

impl<P> Arenas<P> {
    /// Waits until nothing is in transit, and has nothing begin until [`Arenas::resume`], for a `fork`.
    pub(crate) fn halt(&self) {
        self.lists.lock().transit.halt();
        let mut backoff = Backoff::new();
        while !self.lists.lock().transit.is_over() {
            backoff.wait();
        }
    }

    /// Ends a halt.
    pub(crate) fn resume(&self) {
        self.lists.lock().transit.resume();
    }

    /// Whether no thread has anything in transit.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lists.lock().transit.is_over()
    }
}
