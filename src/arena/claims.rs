//! Claims: free pools of one arena that a thread purges. With the lock of the lists held it takes them as if for a
//! class, so that nobody else has them while it is without the lock, and then gives them back as virgin ones.

use core::ptr::NonNull;

use super::header::Arena;
use super::lists::ArenaLists;
use crate::config::{
    BLOCK_POOLS_PER_ARENA, CLAIM_IDLE_POOLS_MIN, CLAIM_STEPS_MAX, CLAIMS_MAX, POOL_BYTES,
};
use crate::pool::Shard;

/// Free pools of one arena, held by a thread that purges them.
pub(super) struct Claim {
    pub(super) arena: Arena,
    pools: u64,
    /// Those of them whose memory is resident. A copy: the arena's header is not the claim's.
    idle: u64,
}

impl Claim {
    /// What could be claimed of an arena, in which a page has `page_pools` pools.
    fn of(arena: Arena, page_pools: usize) -> Self {
        let pools = arena.free_pages(page_pools);
        Self { arena, pools, idle: pools & arena.header().resident.get() }
    }

    /// Pools whose memory is resident.
    pub(super) fn idle_pools(&self) -> usize {
        self.idle.count_ones() as usize
    }

    /// Calls `purge` with the start and the length of each run of pools, where one of them is resident;
    /// `false` if one call has failed.
    pub(super) fn purge_runs(&self, mut purge: impl FnMut(NonNull<u8>, usize) -> bool) -> bool {
        let mut pools = self.pools;
        let mut all_went = true;
        while pools != 0 {
            let first = pools.trailing_zeros();
            let count = (pools >> first).trailing_ones();
            let run = (u64::MAX >> (u64::BITS - count)) << first;
            if self.idle & run != 0 {
                // SAFETY: pools of the arena, which are inside of it.
                let start = unsafe { self.arena.start().add(first as usize * POOL_BYTES) };
                all_went &= purge(start, count as usize * POOL_BYTES);
            }
            pools &= !run;
        }
        all_went
    }
}

/// Places for claims, as many as are made at once.
type Claims = [Option<Claim>; CLAIMS_MAX];

/// Which arenas are claimed first.
#[derive(Clone, Copy)]
pub(super) enum ClaimOrder {
    /// Those with the most free pools; where a page has several, those whose turn it is.
    SparsestFirst,
    /// Those whose turn it is, of which not just a few pools are idle: whatever is purged leaves its arena among the
    /// sparsest, where the next pool that becomes idle would go alone.
    InTurn,
}

impl ArenaLists {
    /// Claims the free pools of some arenas in use that have idle ones, until these are `most` or there is no place for
    /// more claims. Says how many are idle. Empty arenas are released, not purged.
    pub(super) fn claim_idle(
        &mut self,
        order: ClaimOrder,
        most: usize,
        page_pools: usize,
        claims: &mut Claims,
    ) -> usize {
        if self.transit.is_halted() {
            return 0;
        }
        match order {
            ClaimOrder::SparsestFirst if page_pools == 1 => self.claim_sparsest(most, claims),
            // Of arenas as sparse, many may have idle pools and no page of them.
            ClaimOrder::SparsestFirst => self.claim_in_turn(1, most, page_pools, claims),
            ClaimOrder::InTurn => {
                self.claim_in_turn(CLAIM_IDLE_POOLS_MIN, most, page_pools, claims)
            }
        }
    }

    /// Where a pool has pages of its own, so that each arena with idle ones has something to claim.
    fn claim_sparsest(&mut self, most: usize, claims: &mut Claims) -> usize {
        let mut claimed = 0;
        let mut places = claims.iter_mut();
        let with_idle = self.by_fullness.with_idle();
        let sparsest_first =
            (1..BLOCK_POOLS_PER_ARENA).rev().filter(|free| with_idle >> free & 1 == 1);
        let lists = sparsest_first.flat_map(|free| Shard::all().map(move |home| (home, free)));
        for (home, free_pools) in lists {
            let mut cursor = self.by_fullness.first_idle(home, free_pools);
            while let Some(arena) = cursor {
                cursor = arena.header().next.get();
                let Some(place) = places.next().filter(|_| claimed < most) else { return claimed };
                claimed += self.claim(arena, 1, place);
            }
        }
        claimed
    }

    /// Of arenas with at least so many idle pools that go; looks at a bounded number.
    fn claim_in_turn(
        &mut self,
        least: usize,
        most: usize,
        page_pools: usize,
        claims: &mut Claims,
    ) -> usize {
        let mut claimed = 0;
        let mut places = claims.iter_mut();
        for _ in 0..CLAIM_STEPS_MAX.min(self.mapped) {
            let Some(arena) = self.hand.or(self.newest) else { break };
            let is_worth_it = Claim::of(arena, page_pools).idle_pools() >= least;
            if is_worth_it && !arena.is_empty() {
                let Some(place) = places.next().filter(|_| claimed < most) else { break };
                claimed += self.claim(arena, page_pools, place);
            }
            self.hand = arena.header().older.get();
        }
        claimed
    }

    /// Claims the free pools of an arena, and says how many of them are idle.
    fn claim(&mut self, arena: Arena, page_pools: usize, place: &mut Option<Claim>) -> usize {
        let claim = Claim::of(arena, page_pools);
        let idle = claim.idle_pools();
        self.transit.begin_claim();
        self.set_free(arena, arena.header().free.get() & !claim.pools);
        self.idle_is(self.idle - idle);
        *place = Some(claim);
        idle
    }

    /// Takes back what was claimed: purged, or as it was. Says if its arena is now one that should go.
    pub(super) fn settle(&mut self, claim: &Claim, is_purged: bool, now: usize) -> bool {
        let header = claim.arena.header();
        let idle = claim.idle.count_ones() as usize;
        if is_purged {
            header.dirty.set(header.dirty.get() & !claim.pools);
            header.resident.set(header.resident.get() & !claim.pools);
            self.counts.pools_purged_ever += idle;
            self.retention.pools_went(idle);
        } else {
            self.idle += idle;
        }
        self.set_free(claim.arena, header.free.get() | claim.pools);
        self.transit.end_claim();
        Self::should_go(claim.arena, now)
    }
}
