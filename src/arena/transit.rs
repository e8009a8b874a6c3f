//! Transit: what threads have taken out of the lists to purge or to release it, or are about to map, while they are
//! without the lock. It is over after a few calls to the system, and until then
//!
//! - arenas that are about to be mapped, and those that are not released yet, count as mapped, so that a bound holds;
//! - a thread that finds no pool, and may map none or gets none of the system, waits: of what comes back there may
//!   be one for it;
//! - a `fork` waits, and halts all others until it has the lock: in the child there is nobody who would bring back what is
//!   on its way. What a look would have given back meanwhile stays for the next one; who gives back all waits.
//!
//! [`Transit`] lies behind the lock of the lists.
#![forbid(unsafe_code)]

use super::Arenas;
use super::claims::ClaimOrder;
use crate::config::POOL_BYTES;
use crate::os::{PageSource, debug_check};
use crate::sync::Backoff;

/// What is on its way.
pub(super) struct Transit {
    /// Arenas that threads are about to map.
    mapping: usize,
    /// Arenas that were unlinked, and are to be released or linked again.
    leaving: usize,
    /// Claims that are not settled.
    claims: usize,
    /// Whether nothing more may begin, for a `fork` that waits.
    is_halted: bool,
    /// How often that was so.
    halts: usize,
}

impl Transit {
    pub(super) const NONE: Self =
        Self { mapping: 0, leaving: 0, claims: 0, is_halted: false, halts: 0 };

    /// Arenas that count as mapped though they are in no list.
    pub(super) fn arenas(&self) -> usize {
        self.mapping + self.leaving
    }

    /// Whether it is worth while to wait: something comes back, or is mapped, or may be begun then.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_halted() || !self.is_over()
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
        self.halts += 1;
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
    /// Waits until nothing is in transit, and has nothing begin until [`Arenas::lock_for_fork`].
    pub(crate) fn halt(&self) {
        self.lists.lock().transit.halt();
        let mut backoff = Backoff::new();
        while !self.lists.lock().transit.is_over() {
            backoff.wait();
        }
    }

    /// Waits while a `fork` waits, and says how many have.
    pub(super) fn outlast_halt(&self) -> usize {
        let mut backoff = Backoff::new();
        loop {
            let lists = self.lists.lock();
            if !lists.transit.is_halted() {
                return lists.transit.halts;
            }
            drop(lists);
            backoff.wait();
        }
    }
}

impl<P: PageSource> Arenas<P> {
    /// Gives back all that is free: releases the empty arenas and purges the free pools of the others.
    /// Returns the bytes.
    pub(crate) fn release_free(&self) -> usize {
        let mut bytes = 0;
        let mut halts = self.outlast_halt();
        loop {
            bytes += self.release_empty();
            bytes += self.purge_idle(usize::MAX, ClaimOrder::SparsestFirst) * POOL_BYTES;
            // A fork that came in between has had something left.
            let halts_before = core::mem::replace(&mut halts, self.outlast_halt());
            if halts == halts_before {
                return bytes;
            }
        }
    }
}

#[cfg(test)]
impl<P> Arenas<P> {
    /// Whether no thread has anything in transit.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lists.lock().transit.is_over()
    }
}
