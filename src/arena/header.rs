//! What is known of one arena.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::config::POOLS_PER_ARENA;
use crate::pool::{HEADERS_OFFSET, Pool, Shard};

/// Every pool but that of the headers.
pub(super) const ALL_POOLS: u64 = !1;

/// The pool of the headers, which is never free: in `resident`, its bit says that the arena is empty and stays mapped.
const STAYS: u64 = 1;

/// What is known of an arena, at its start: one cache line.
#[repr(C, align(64))]
pub(super) struct Header {
    /// A bit for each free pool.
    pub(super) free: Cell<u64>,
    /// A bit for each pool that has been given to a class since it was mapped or purged; the others
    /// read as zero.
    pub(super) dirty: Cell<u64>,
    /// A bit for each pool whose memory is resident: those that are dirty, and what was populated; and [`STAYS`].
    pub(super) resident: Cell<u64>,
    pub(super) next: Cell<Option<Arena>>,
    pub(super) previous: Cell<Option<Arena>>,
    /// The arena that was mapped before this one, and after it, of those that are mapped.
    pub(super) older: Cell<Option<Arena>>,
    pub(super) newer: Cell<Option<Arena>>,
    /// When its first pool was taken, in milliseconds, of which this is the rest by 2³².
    used_since: Cell<u32>,
    /// The shard that took it.
    home: Cell<Shard>,
}

const _: () = assert!(size_of::<Header>() <= 64 && size_of::<Header>() <= HEADERS_OFFSET);

/// An arena, by its start. Valid as long as it is mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Arena(NonNull<Header>);

// SAFETY: the header behind the pointer is reached only through `ArenaLists` under its lock, or by
// the one thread that holds an arena while it is in no list.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena whose memory is all zeros, and resident if it was populated.
    ///
    /// # Safety
    ///
    /// - `start` is that of a mapped arena, valid for all of it, that nobody else refers to.
    pub(super) unsafe fn new(start: NonNull<u8>, is_populated: bool) -> Self {
        let arena = Self(start.cast());
        arena.header().free.set(ALL_POOLS);
        arena.header().resident.set(if is_populated { ALL_POOLS } else { 0 });
        arena
    }

    /// Notes that the memory of an empty arena reads as zero, but for that of its first `kept` pools, of
    /// which one has the headers, and that the arena stays. Returns how many pools were resident and are no more.
    pub(super) fn note_purged(self, kept: usize) -> usize {
        let kept_bits = u64::MAX >> (POOLS_PER_ARENA - kept.clamp(1, POOLS_PER_ARENA));
        let header = self.header();
        header.dirty.set(header.dirty.get() & kept_bits);
        let resident = header.resident.get();
        header.resident.set(resident & kept_bits | STAYS);
        (resident & !kept_bits).count_ones() as usize
    }

    /// Whether it is empty, and has been purged since the system did not take it, or should not.
    pub(super) fn stays(self) -> bool {
        self.header().resident.get() & STAYS != 0
    }

    /// That of a pool.
    pub(super) fn of(pool: Pool) -> Self {
        Self(pool.arena().cast())
    }

    pub(super) fn start(self) -> NonNull<u8> {
        self.0.cast()
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the arena is mapped, and zeroed memory is a valid header.
        unsafe { self.0.as_ref() }
    }

    /// The first pool of an empty arena, which is in no list, is about to be taken.
    pub(super) fn begin_use(self, shard: Shard, now: usize) {
        self.header().used_since.set(now as u32);
        self.header().home.set(shard);
    }

    /// The shard that takes its pools first.
    pub(super) fn home(self) -> Shard {
        self.header().home.get()
    }

    /// Milliseconds since the first pool was taken, if that is not weeks ago.
    pub(super) fn used_for(self, now: usize) -> usize {
        (now as u32).wrapping_sub(self.header().used_since.get()) as usize
    }

    pub(super) fn free_pools(self) -> usize {
        self.header().free.get().count_ones() as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.header().free.get() == ALL_POOLS
    }

    /// Free pools whose memory is resident.
    pub(super) fn idle_pools(self) -> usize {
        (self.header().free.get() & self.header().resident.get()).count_ones() as usize
    }

    /// The arena behind this one in a chain of those that are in no list.
    pub(super) fn next(self) -> Option<Self> {
        self.header().next.get()
    }

    /// All of its pools, and whether each is free and whether its memory is resident.
    pub(super) fn pools(self) -> impl Iterator<Item = (Pool, bool, bool)> {
        let (free, resident) = (self.header().free.get(), self.header().resident.get());
        (1..POOLS_PER_ARENA).map(move |index| {
            // SAFETY: the arena is mapped, and the index in range.
            let pool = unsafe { Pool::at(self.0.cast(), index) };
            (pool, free >> index & 1 == 1, resident >> index & 1 == 1)
        })
    }

    /// Takes a free pool, rather one whose memory is resident, and says if it is, and if it reads as zero.
    pub(super) fn take_pool(self) -> Option<(Pool, bool, bool)> {
        let header = self.header();
        let resident = header.free.get() & header.resident.get();
        let from = if resident == 0 { header.free.get() } else { resident };
        if from == 0 {
            return None;
        }
        let bit = from & from.wrapping_neg();
        let zeroed = header.dirty.get() & bit == 0;
        header.free.set(header.free.get() & !bit);
        header.dirty.set(header.dirty.get() | bit);
        header.resident.set(header.resident.get() & !STAYS | bit);
        // SAFETY: the arena is mapped, and only bits from 1 to 63 are ever set.
        let pool = unsafe { Pool::at(self.0.cast(), bit.trailing_zeros() as usize) };
        Some((pool, resident != 0, zeroed))
    }

    /// Whether its bits can be: the pool of headers is never free, and what was given to a class and has
    /// not been purged since is resident.
    pub(super) fn is_valid(self) -> bool {
        let header = self.header();
        header.free.get() & !ALL_POOLS == 0
            && header.dirty.get() & !header.resident.get() == 0
            && (self.is_empty() || !self.stays())
    }

    /// The free pools of this arena that lie in pages all of whose pools are free; a page has
    /// `page_pools` of them, a power of two.
    pub(super) fn free_pages(self, page_pools: usize) -> u64 {
        let free = self.header().free.get();
        if page_pools <= 1 {
            return free;
        }
        let page = u64::MAX >> (POOLS_PER_ARENA - page_pools.min(POOLS_PER_ARENA));
        let pages = (0..POOLS_PER_ARENA).step_by(page_pools).map(|first| page << first);
        pages.filter(|page| free & page == *page).sum()
    }
}
