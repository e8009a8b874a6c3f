//! Lists of pools: called with the lock held that a list lies behind, or by the one thread that has it.

use super::Pool;
use crate::os::debug_check;

/// Pools in a doubly linked list; a pool is in at most one.
pub(crate) struct PoolList {
    first: Option<Pool>,
}

impl PoolList {
    pub(crate) const EMPTY: Self = Self { first: None };

    pub(crate) fn first(&self) -> Option<Pool> {
        self.first
    }

    pub(crate) fn push(&mut self, pool: Pool) {
        pool.links().next.set(self.first);
        pool.links().previous.set(None);
        if let Some(second) = self.first {
            second.links().previous.set(Some(pool));
        }
        self.first = Some(pool);
    }

    /// Unlinks `pool`, which is in this list.
    pub(crate) fn remove(&mut self, pool: Pool) {
        let (next, previous) = (pool.links().next.get(), pool.links().previous.get());
        match previous {
            Some(before) => before.links().next.set(next),
            None => {
                debug_check!(self.first == Some(pool), "pool in another list", pool.index());
                self.first = next;
            }
        }
        if let Some(after) = next {
            after.links().previous.set(previous);
        }
    }

    /// Whether of the first `most` pools each is linked to the one before it, and `belongs`.
    pub(crate) fn is_valid(&self, most: usize, belongs: impl Fn(Pool) -> bool) -> bool {
        let mut before = None;
        let mut cursor = self.first;
        for _ in 0..most {
            let Some(pool) = cursor else { break };
            if pool.links().previous.get() != before || !belongs(pool) {
                return false;
            }
            (before, cursor) = (cursor, pool.links().next.get());
        }
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Pool> {
        let pool = self.first?;
        self.remove(pool);
        Some(pool)
    }
}
