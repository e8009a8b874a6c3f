//! How much free memory stays resident: the policy of what goes back to the system, and when.
//!
//! What counts is idle pools: free ones whose memory is resident, in empty arenas or between used pools.
//! Two questions are asked.
//!
//! - When arenas become empty: one that has been in use for long is not about to be wanted again, and
//!   goes if more than the reserve are empty; a young one stays within a bound, for what was built up
//!   a moment ago may be built up again in the next. Idle pools between used ones have a lower bound:
//!   they come of blocks that are freed in no order, or of sizes that are no longer asked for. Amid a drop, while
//!   pools come back and hardly any is taken, some times what is used may be idle, if that is more, and looks leave
//!   it there: page after page costs a call to the system each, and soon they are whole arenas. The first look
//!   after it takes what did not become such.
//! - From time to time: as many idle pools as there were at every moment since the last look have been
//!   of no use; what of them exceeds the reserve goes.
//!
//! The reserve is small at first and learns from regret: each virgin pool that is asked for soon after
//! another went keeps one more, so that a heap which is emptied and filled again and again does not fault in its
//! pages each time; time with little need for the reserve makes it smaller, and smaller than it was at first. The
//! bounds on what stays when arenas become empty, and between used pools, are never below the reserve.
//!
//! Times are milliseconds of a clock that starts anywhere and may wrap.
#![forbid(unsafe_code)]

use crate::config::{
    BLOCK_POOLS_PER_ARENA, EMPTY_ARENAS_FIRST, EMPTY_ARENAS_LEAST, EMPTY_ARENAS_MAX,
    GIVEN_PER_TAKEN_AMID_DROP, HELD_BYTES_MAX, IDLE_BETWEEN_ARENAS_MAX, IDLE_PER_USED_AMID_DROP,
    LATE_MILLISECONDS_MAX, LOOK_MILLISECONDS, POOL_BYTES, POOLS_AT_ONCE_MAX, POOLS_PER_LOOK_MAX,
    POOLS_PER_MILLISECOND, RESERVE_FADES_IN_LOOKS, USED_ARENAS_PER_EMPTY, YOUNG_MILLISECONDS,
};

/// Pools of the reserve at first.
const RESERVE_FIRST: usize = EMPTY_ARENAS_FIRST * BLOCK_POOLS_PER_ARENA;

/// Pools of the reserve at least.
const RESERVE_LEAST: usize = EMPTY_ARENAS_LEAST * BLOCK_POOLS_PER_ARENA;

/// Pools of the reserve at most.
const RESERVE_MOST: usize = HELD_BYTES_MAX / POOL_BYTES;

const _: () = assert!(
    RESERVE_FIRST <= RESERVE_MOST
        && RESERVE_LEAST <= RESERVE_FIRST
        && EMPTY_ARENAS_FIRST <= EMPTY_ARENAS_MAX
);

/// There is little need for the reserve where not more than one pool of so many is missing at any moment, or comes and
/// goes,
const RESERVE_PER_LITTLE_NEED: usize = 4;

/// and in the second case one of so many at least is there for nothing, in a reserve that has grown.
const RESERVE_PER_UNMOVED: usize = 16;

/// What has been seen and learnt. All zeros at first, so that it takes no place in a program's file.
pub(super) struct Retention {
    /// Pools that the reserve has beyond those of the start, below zero where it has fewer.
    beyond_first: isize,
    /// Pools that went not long ago, less those that were asked for since.
    unregretted: usize,
    /// The fewest idle pools since the last look, and the most.
    least_idle: usize,
    most_idle: usize,
    /// When there was a look that time had brought, and when one at all.
    due_at: usize,
    looked_at: usize,
    has_looked: bool,
    /// Pools that came back since others were taken, as far as it matters.
    came: usize,
    /// Pools that came back since the last look, and that were taken.
    given_since_look: usize,
    taken_since_look: usize,
    /// Whether they only came back between the last two looks.
    was_amid_drop: bool,
    /// What was left of the excess when some of it was last to go.
    excess_left: usize,
    /// Pools that went at the last looks, each of which had to leave something.
    went: usize,
}

/// What a look has found.
pub(super) struct Looked {
    /// Whether time has passed since the look before.
    pub(super) is_due: bool,
    /// Idle pools that are to go,
    pub(super) surplus: usize,
    /// and how many of them at this look, at most.
    pub(super) most: usize,
    /// Whether so many pools have come back, and hardly any was taken, that what is idle between used ones may be whole
    /// arenas soon.
    pub(super) is_amid_drop: bool,
}

impl Retention {
    pub(super) const FIRST: Self = Self {
        beyond_first: 0,
        unregretted: 0,
        least_idle: 0,
        most_idle: 0,
        due_at: 0,
        looked_at: 0,
        has_looked: false,
        came: 0,
        given_since_look: 0,
        taken_since_look: 0,
        was_amid_drop: false,
        excess_left: 0,
        went: 0,
    };

    /// Time begins to pass: what comes later is measured from now on.
    pub(super) fn begin(&mut self, now: usize) {
        (self.due_at, self.looked_at) = (now, now);
        self.has_looked = true;
    }

    /// So many pools are idle.
    pub(super) fn idle_is(&mut self, idle: usize) {
        self.least_idle = self.least_idle.min(idle);
        self.most_idle = self.most_idle.max(idle);
    }

    pub(super) fn pools_went(&mut self, count: usize) {
        self.unregretted += count;
    }

    /// A pool has come back.
    pub(super) fn pool_given(&mut self) {
        self.given_since_look += 1;
        // No more than what ends soon once pools are taken again.
        self.came = (self.came + 1).min(2 * RESERVE_FIRST);
    }

    /// A pool was asked for.
    pub(super) fn pool_taken(&mut self) {
        self.taken_since_look += 1;
        self.came = self.came.saturating_sub(GIVEN_PER_TAKEN_AMID_DROP);
    }

    /// Whether pools only come back.
    pub(super) fn is_amid_drop(&self) -> bool {
        self.came >= RESERVE_FIRST
    }

    /// A pool was asked for, and none was idle.
    pub(super) fn virgin_pool_taken(&mut self) {
        if let Some(fewer) = self.unregretted.checked_sub(1) {
            self.unregretted = fewer;
            self.keep((self.reserve() + 1).min(RESERVE_MOST));
        }
    }

    /// Idle pools that stay, however long they are of no use.
    fn reserve(&self) -> usize {
        RESERVE_FIRST.wrapping_add_signed(self.beyond_first)
    }

    /// Makes the reserve one of so many pools.
    fn keep(&mut self, pools: usize) {
        self.beyond_first = pools.wrapping_sub(RESERVE_FIRST) as isize;
    }

    /// Empty arenas that stay when one becomes empty that has been in use for long.
    pub(super) fn empty_arenas_kept(&self) -> usize {
        self.reserve().div_ceil(BLOCK_POOLS_PER_ARENA)
    }

    /// Empty arenas that stay at most.
    pub(super) fn empty_arenas_most(&self, used_arenas: usize) -> usize {
        let share = used_arenas / USED_ARENAS_PER_EMPTY;
        EMPTY_ARENAS_MAX.max(share).max(self.empty_arenas_kept())
    }

    /// Of so many idle pools between used ones, those that are to go at once, since they are more than
    /// there may be; none as long as these are few.
    pub(super) fn excess(
        &mut self,
        idle_between: usize,
        used_arenas: usize,
        used_pools: usize,
    ) -> usize {
        let most = IDLE_BETWEEN_ARENAS_MAX.max(used_arenas / USED_ARENAS_PER_EMPTY);
        let most = (most * BLOCK_POOLS_PER_ARENA).max(self.reserve());
        let amid_drop = used_pools.saturating_mul(IDLE_PER_USED_AMID_DROP).min(RESERVE_MOST);
        let most = if self.is_amid_drop() { most.max(amid_drop) } else { most };
        let excess = idle_between.saturating_sub(most);
        // What has been left of it is not worth another search: looks take that.
        self.excess_left = self.excess_left.min(excess);
        if excess - self.excess_left < RESERVE_FIRST {
            return 0;
        }
        self.excess_left = excess;
        excess
    }

    /// Whether an arena that has been in use for so many milliseconds has not been for long.
    pub(super) fn is_young(used_for: usize) -> bool {
        used_for < YOUNG_MILLISECONDS
    }

    /// Whether a thread that read the time as `now` was overtaken by one that read it as `latest`, and not by a minute,
    /// as if the clock had gone round.
    pub(super) fn is_late(now: usize, latest: usize) -> bool {
        let late_by = latest.wrapping_sub(now);
        late_by > 0 && late_by < LATE_MILLISECONDS_MAX
    }

    /// Looks at what has been of no use since the look before.
    pub(super) fn look(&mut self, now: usize, idle: usize) -> Looked {
        if self.has_looked && Self::is_late(now, self.looked_at) {
            // What has become idle since the look before has not been so for long.
            let is_amid_drop = self.was_amid_drop;
            return Looked { is_due: false, surplus: 0, most: 0, is_amid_drop };
        }
        let most = Self::most_after(now.wrapping_sub(self.looked_at));
        self.looked_at = now;
        self.has_looked = true;
        let looks = now.wrapping_sub(self.due_at) / LOOK_MILLISECONDS;
        let unneeded = core::mem::replace(&mut self.least_idle, idle).min(idle);
        let moved = core::mem::replace(&mut self.most_idle, idle).max(idle) - unneeded;
        // What went longer ago than a few looks is not missed.
        self.unregretted =
            self.unregretted.checked_shr(looks.min(usize::BITS as usize) as u32).unwrap_or(0);
        let reserve = self.reserve();
        let little = reserve / RESERVE_PER_LITTLE_NEED;
        let is_unmoved =
            reserve > RESERVE_FIRST && moved <= little && unneeded >= reserve / RESERVE_PER_UNMOVED;
        if unneeded >= reserve - little || is_unmoved {
            let fading = (reserve / RESERVE_FADES_IN_LOOKS).saturating_mul(looks);
            self.keep(reserve.saturating_sub(fading).max(RESERVE_LEAST));
        }
        // A look that only goes on with the one before is none that time has brought.
        if looks > 0 {
            self.due_at = now;
            let given = core::mem::take(&mut self.given_since_look);
            let taken = core::mem::take(&mut self.taken_since_look);
            // After a longer time nobody knows when they came.
            self.was_amid_drop = looks == 1
                && given >= RESERVE_FIRST.max(taken.saturating_mul(GIVEN_PER_TAKEN_AMID_DROP));
            if !self.was_amid_drop {
                self.came = 0;
            }
        }
        let surplus = unneeded.saturating_sub(reserve);
        Looked { is_due: looks > 0, surplus, most, is_amid_drop: self.was_amid_drop }
    }

    /// Pools that may go at a look so many milliseconds after the one before.
    fn most_after(elapsed: usize) -> usize {
        let for_time = elapsed.saturating_mul(POOLS_PER_MILLISECOND);
        for_time.saturating_add(POOLS_AT_ONCE_MAX).min(POOLS_PER_LOOK_MAX)
    }

    /// So many pools have gone at a look. Where it had to leave something, the next one finds that again; else says if
    /// an arena's or more went at this one and those before it.
    pub(super) fn end_look(&mut self, went: usize, surplus_left: Option<usize>) -> bool {
        self.went += went;
        if let Some(left) = surplus_left {
            self.least_idle = self.least_idle.min(self.reserve() + left);
            return false;
        }
        core::mem::take(&mut self.went) >= BLOCK_POOLS_PER_ARENA
    }
}

#[cfg(test)]
mod tests;
