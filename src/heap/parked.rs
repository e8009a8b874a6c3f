//! What a thread held when it ended, as it was, for the next thread that joins its shard: where threads come and go,
//! neither is flushed what the next one refills. One place a shard; any thread may call any function.
//!
//! Bounded, so that it pins little, and given back where no thread comes for it.

use core::sync::atomic::Ordering;

use super::Heap;
use crate::block::Magazine;
use crate::config::{CLASS_COUNT, SHARD_COUNT};
use crate::os::PageSource;
use crate::pool::{FreshRange, Shard};
use crate::size_class::SizeClass;
use crate::sync::Lock;

/// Bytes of blocks that may wait for a thread: more than a short-lived one comes to hold.
pub(crate) const PARKED_BYTES_MAX: usize = 64 * 1024;

/// What a thread held of one class.
pub(crate) struct Held {
    pub(crate) loaded: Magazine,
    /// Blocks that the loaded magazine had room for.
    pub(crate) capacity: i32,
    pub(crate) spare: Magazine,
    pub(crate) fresh: FreshRange,
}

impl Held {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        loaded: Magazine::EMPTY,
        capacity: 0,
        spare: Magazine::EMPTY,
        fresh: FreshRange::EMPTY,
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.loaded.is_empty() && self.spare.is_empty() && self.fresh.pool().is_none()
    }

    fn blocks(&self) -> usize {
        (self.loaded.len() + self.spare.len()) as usize + self.fresh.len()
    }
}

/// A place for what one thread held.
pub(super) struct Parked {
    held: [Held; CLASS_COUNT],
    /// The classes of which something is here, a bit each.
    classes: u64,
    /// What the thread that held it knew of requests for a trim.
    known: usize,
    /// Whether it was here at the last look.
    is_old: bool,
}

const _: () = assert!(CLASS_COUNT <= u64::BITS as usize);

impl Parked {
    pub(super) const NOTHING: Self =
        Self { held: [const { Held::NONE }; CLASS_COUNT], classes: 0, known: 0, is_old: false };

    fn put(&mut self, class: SizeClass, held: Held) {
        self.held[class.index() % CLASS_COUNT] = held;
        self.classes |= 1 << class.index();
    }

    /// What is here of one class, the smallest.
    fn take(&mut self) -> Option<(SizeClass, Held)> {
        let class = SizeClass::all().nth(self.classes.trailing_zeros() as usize)?;
        self.classes &= self.classes - 1;
        let held = &mut self.held[class.index() % CLASS_COUNT];
        Some((class, core::mem::replace(held, Held::NONE)))
    }

    /// How many blocks of each class are here.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (SizeClass, usize)> {
        SizeClass::all().zip(self.held.iter().map(Held::blocks))
    }
}

impl<P: PageSource> Heap<P> {
    pub(super) fn parked(&self, shard: Shard) -> &Lock<Parked> {
        // The index is in range, so the remainder changes nothing but the proof.
        &self.parked[shard.index() % SHARD_COUNT]
    }

    /// Takes all that a thread of `shard` held, by asking `hold` for each class, if nothing else is there; says if
    /// so. With the place locked, the thread says what it is `known` of requests for a trim, or that it is asked.
    pub(crate) fn park(
        &self,
        shard: Shard,
        known: impl FnOnce() -> Option<usize>,
        hold: impl Fn(SizeClass) -> Held,
    ) -> bool {
        let mut parked = self.parked(shard).lock();
        if parked.classes != 0 {
            return false;
        }
        let Some(known) = known() else { return false };
        parked.known = known;
        parked.is_old = false;
        for class in SizeClass::all() {
            let held = hold(class);
            if !held.is_empty() {
                parked.put(class, held);
            }
        }
        let waits = parked.classes != 0;
        if waits {
            // Relaxed: see `unpark`.
            self.has_parked.store(true, Ordering::Relaxed);
        }
        drop(parked);
        if waits {
            self.arenas.want_watch();
        }
        true
    }

    /// Gives all that waits in `shard` to a thread that has just joined it, and says, if that was anything, what
    /// the one before it knew of requests for a trim.
    pub(crate) fn unpark(&self, shard: Shard, give: impl Fn(SizeClass, Held)) -> Option<usize> {
        // Relaxed: it only saves a process that has lost no thread yet the page that the places lie in. A thread that
        // comes this moment takes nothing over, as one that comes a little earlier.
        if !self.has_parked.load(Ordering::Relaxed) {
            return None;
        }
        let mut parked = self.parked(shard).lock();
        let known = (parked.classes != 0).then_some(parked.known);
        while let Some((class, held)) = parked.take() {
            give(class, held);
        }
        known
    }

    /// Gives back what waits in `shard`, one class at a time so that nobody waits long.
    pub(super) fn empty_parked(&self, shard: Shard) {
        loop {
            let taken = self.parked(shard).lock().take();
            let Some((class, held)) = taken else { return };
            for magazine in [held.loaded, held.spare] {
                // SAFETY: what a thread held of a class came from that class of this heap.
                unsafe { self.give_back(class, magazine) };
            }
            // SAFETY: as above.
            unsafe { self.give_back_fresh(class, held.fresh) };
        }
    }

    /// Gives back what has waited in `shard` since before the last look.
    pub(super) fn age_parked(&self, shard: Shard) {
        let was_old = {
            let mut parked = self.parked(shard).lock();
            core::mem::replace(&mut parked.is_old, true)
        };
        if was_old {
            self.empty_parked(shard);
        }
    }
}
