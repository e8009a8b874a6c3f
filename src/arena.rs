//! Arenas: 256 KiB from the operating system, given to the classes as pools.
//!
//! A pool is taken from the fullest arena that has one free, so that sparse arenas drain and can go
//! back (CPython 2.5; the constant-time order is 3.8's): of those with idle pools, whose memory is there, if there are
//! any, and of those that the same shard took pools of before. Arenas with free pools are in lists of three kinds for each
//! shard, one for each number of free pools, and a word a kind and shard has a bit for each list that is not empty: the
//! fullest arena is one `trailing_zeros` away. Arenas without a free pool are in none of these.
//!
//! Memory goes back in two ways. An empty arena is released, addresses included. The free pools of
//! a sparse arena are purged: whoever does it claims them, as if they were taken, so that nobody else
//! has them meanwhile, and then gives them back as virgin ones. `retention` says what is to go.
//!
//! Bounds on what is mapped are kept to here, and noticed here; what follows from that is for the threads
//! that come by, of which one takes each of the `news`.
//!
//! Any thread may call it; the lists have a lock of their own, and the operating system is called
//! outside of it.

mod by_fullness;
mod claims;
mod header;
mod lists;
mod news;
mod retention;
mod runs;
mod transit;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::census::{FoundPool, Surveyor};
use crate::config::{
    ARENA_BYTES, ArenaBounds, BLOCK_POOLS_PER_ARENA, CLAIM_STEPS_MAX, CLAIMS_MAX,
    LOOK_MILLISECONDS, POOL_BYTES, POOLS_AT_ONCE_MAX, STAYING_PER_LOOK_MAX,
};
use crate::os::{PageSource, debug_check};
use crate::pool::{Pool, PoolList, Shard};
use crate::pool_map::PoolMap;
use crate::sync::{Backoff, Lock};
use crate::use_map::UseMap;
use claims::ClaimOrder;
use header::Arena;
use lists::ArenaLists;
pub(crate) use news::News;
use retention::{Looked, Retention};

/// Debug builds check all lists after a change, unless that would make a large heap crawl.
const CHECKED_ARENAS_MAX: usize = 64;

/// All arenas, and where they come from.
pub(crate) struct Arenas<P> {
    lists: Lock<ArenaLists>,
    map: PoolMap,
    /// Which blocks are in use, as far as debug builds note it.
    uses: UseMap,
    /// What one thread, whichever comes first, is told; it guards nothing.
    news: News,
    /// The time as of the last tick, in milliseconds.
    now: AtomicUsize,
    /// When somebody last had a look at what of the idle memory has been of use.
    looked_at: AtomicUsize,
    pages: P,
}

impl<P: PageSource> Arenas<P> {
    pub(crate) const fn new(pages: P) -> Self {
        Self {
            lists: Lock::new(ArenaLists::EMPTY),
            map: PoolMap::new(),
            uses: UseMap::new(),
            news: News::new(),
            now: AtomicUsize::new(0),
            looked_at: AtomicUsize::new(0),
            pages,
        }
    }

    /// A free pool for `shard`, an idle one if there is any, of the fullest arena that it is to take it of: now the caller's,
    /// and whether it reads as zero.
    pub(crate) fn take_pool(&self, shard: Shard) -> Option<(Pool, bool)> {
        let now = self.now();
        self.lists.lock().take_pool(shard, now)
    }

    /// The time as of the last tick, in milliseconds: none is read under a lock, or for each pool.
    pub(crate) fn now(&self) -> usize {
        // Relaxed: a plain number, which publishes nothing.
        self.now.load(Ordering::Relaxed)
    }

    /// What the arenas are to keep to from now on, when time begins to pass: there is nothing to look at yet.
    pub(crate) fn keep_to(&self, bounds: ArenaBounds) {
        let now = self.pages.milliseconds();
        let mut lists = self.lists.lock();
        lists.bounds = bounds;
        lists.retention.begin(now);
        drop(lists);
        // Relaxed: as in `tick`.
        self.looked_at.store(now, Ordering::Relaxed);
    }

    /// As [`Arenas::take_pool`], from a new arena; `None` if there is no more memory, or none that may
    /// be mapped, and nothing that another thread is about to bring back.
    pub(crate) fn map_and_take_pool(&self, shard: Shard) -> Option<(Pool, bool)> {
        let mut backoff = Backoff::new();
        // How much others had done when the system refused: it is not asked again before they have done more, lest who
        // waits for each other's trials does so for ever.
        let mut refused_at = None;
        loop {
            let now = self.now();
            let mut lists = self.lists.lock();
            // What was in transit may be back by now.
            if let Some(taken) = lists.take_pool(shard, now) {
                return Some(taken);
            }
            let done = lists.mapped_and_released();
            let is_awaited = lists.transit.is_awaited();
            let begun = if refused_at == Some(done) { None } else { lists.begin_mapping() };
            drop(lists);
            match begun {
                Some((arenas, populate)) => {
                    let taken = self.map_reserved(arenas, populate, shard);
                    if taken.is_some() {
                        return taken;
                    }
                    // What another thread got may be what the system lacked, and comes with more pools than one.
                    refused_at = Some(done);
                }
                None if is_awaited => backoff.wait(),
                None => return None,
            }
        }
    }

    /// Maps arenas, for so many of which there is a right, and takes a pool for `shard`; `None` if there is no memory.
    fn map_reserved(&self, reserved: usize, populate: bool, shard: Shard) -> Option<(Pool, bool)> {
        let mapped = self.map_arenas(reserved);
        // A huge page is populated by its first touch.
        let is_populated = mapped.is_some_and(|(start, count)| {
            // SAFETY: a mapped arena.
            populate && count == 1 && unsafe { self.pages.populate(start) }
        });
        let now = self.now();
        let mut lists = self.lists.lock();
        lists.transit.end_mapping(reserved);
        let (start, count) = mapped?;
        for number in 0..count {
            // SAFETY: so many arenas were mapped, one after the other.
            let start = unsafe { start.add(number * ARENA_BYTES) };
            // SAFETY: just mapped, and nothing else refers to it.
            lists.insert_new(unsafe { Arena::new(start, is_populated) });
            lists.runs.join(&self.map, start.as_ptr().addr());
        }
        let taken = lists.take_pool(shard, now);
        let told = lists.take_told();
        drop(lists);
        self.news.tell(told);
        taken
    }

    /// Maps as many arenas one after the other, or a single one, that the map covers.
    fn map_arenas(&self, count: usize) -> Option<(NonNull<u8>, usize)> {
        let huge = if count == 1 { None } else { self.pages.map_huge() };
        let (start, count) = match huge {
            Some(start) => (start, count),
            None => (self.pages.map()?, 1),
        };
        // Loops, and no iterators: in debug builds these take a tenth of the smallest stack.
        let mut covered = 0;
        while covered < count && self.cover(start.as_ptr().addr() + covered * ARENA_BYTES) {
            covered += 1;
        }
        if covered == count {
            return Some((start, count));
        }
        for number in 0..count {
            // SAFETY: so many arenas were mapped, one after the other.
            let start = unsafe { start.add(number * ARENA_BYTES) };
            // One that the system does not take costs addresses, and no memory: it was never touched.
            // SAFETY: just mapped, and nothing refers to it.
            unsafe { self.pages.release(start) };
        }
        None
    }

    /// Sees to it that the pools of the arena at this address can be noted, and in debug builds its blocks; `false` if
    /// they cannot.
    fn cover(&self, arena: usize) -> bool {
        let are_noted = !cfg!(debug_assertions) || self.uses.cover(arena, &self.pages);
        are_noted && self.map.cover(arena, &self.pages)
    }

    /// What has happened that some thread, one for each, is to act upon.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    /// Bytes of all arenas that are mapped.
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.lists.lock().mapped * ARENA_BYTES
    }

    /// Whether no more may be mapped, whatever the system has.
    pub(crate) fn is_at_bound(&self) -> bool {
        self.lists.lock().is_at_bound()
    }

    /// In a forked child: no thread watches.
    pub(crate) fn forget_other_threads(&self) {
        self.lists.lock().forget_other_threads();
        self.news.take_watch();
    }

    /// Something is idle that is not in the arenas: has a thread watch over it, if one should and none does.
    pub(crate) fn want_watch(&self) {
        let mut lists = self.lists.lock();
        // Whoever watches may have been there already, and find nothing idle in the arenas.
        lists.watch_goes_on = lists.is_watched;
        lists.want_watch(true);
        let told = lists.take_told();
        drop(lists);
        self.news.tell(told);
    }

    /// As if no thread watched the arenas any more. The next pool that is given back has one start again.
    pub(crate) fn end_watch(&self) {
        self.lists.lock().is_watched = false;
    }

    /// Ends the watch if nothing is idle, and nothing has become so elsewhere since this was last asked; and says so.
    pub(crate) fn end_watch_if_nothing_is_idle(&self) -> bool {
        let mut lists = self.lists.lock();
        lists.is_watched = core::mem::take(&mut lists.watch_goes_on) || lists.idle > 0;
        !lists.is_watched
    }

    /// Which class has which pool. Whoever takes a pool notes it there before a block of it is out.
    #[inline(always)]
    pub(crate) fn map(&self) -> &PoolMap {
        &self.map
    }

    /// Which blocks are in use, as far as debug builds note it.
    pub(crate) fn uses(&self) -> &UseMap {
        &self.uses
    }

    /// Takes back empty pools, which the caller owns and gives up; arenas that become empty may go.
    pub(crate) fn give_pools(&self, mut pools: PoolList) {
        if pools.first().is_none() {
            return;
        }
        let now = self.now();
        let mut going = 0;
        let mut lists = self.lists.lock();
        while let Some(pool) = pools.pop() {
            let address = pool.address();
            debug_check!(self.map.class_at(address) == pool.class(), "pool map differs", address);
            self.map.clear(address);
            going += usize::from(lists.give_pool(pool, now));
        }
        let leaving = lists.unlink_surplus(going);
        let excess = lists.excess();
        let is_amid_drop = lists.retention.is_amid_drop();
        let is_idle = lists.idle > 0;
        lists.want_watch(is_idle);
        let told = lists.take_told();
        debug_check!(
            lists.mapped > CHECKED_ARENAS_MAX || lists.is_valid(),
            "arena lists in disorder",
            lists.mapped
        );
        drop(lists);
        self.news.tell(told);
        if leaving.is_some() {
            self.release(leaving);
        }
        if excess > 0 {
            let order = if is_amid_drop { ClaimOrder::InTurn } else { ClaimOrder::SparsestFirst };
            self.purge_idle(excess.min(POOLS_AT_ONCE_MAX), order);
        }
    }

    /// Time passes: to be called now and then, with no lock held. Every so often that has a look at the
    /// idle memory, gives back what has been of no use, and says so.
    pub(crate) fn tick(&self) -> bool {
        let now = self.pages.milliseconds();
        // Relaxed, here and below: plain numbers, which publish nothing. Only what has changed is stored:
        // all threads come by here, and a line that none writes stays in the caches of all. Nor what is late.
        let before = self.now();
        if before != now && !Retention::is_late(now, before) {
            self.now.store(now, Ordering::Relaxed);
        }
        let last = self.looked_at.load(Ordering::Relaxed);
        let is_due = now.wrapping_sub(last) >= LOOK_MILLISECONDS && !Retention::is_late(now, last);
        let takes_turn = || {
            self.looked_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let looks = is_due && takes_turn() && self.look_slow(now);
        if looks {
            self.news.tell_of_look();
        }
        looks
    }

    /// Gives back idle memory that has been of no use since the last look, and says if time has brought this look,
    /// and not one before it that had to leave something.
    #[cold]
    #[inline(never)]
    fn look_slow(&self, now: usize) -> bool {
        let mut lists = self.lists.lock();
        let idle = lists.idle;
        let Looked { is_due, surplus, most, is_amid_drop } = lists.retention.look(now, idle);
        let most = surplus.min(most);
        let leaving = lists.unlink_idle(most);
        let unlinked = idle - lists.idle;
        drop(lists);
        let released = (self.release(leaving) / POOL_BYTES).min(unlinked);
        let rest = most.saturating_sub(unlinked);
        // A few pools more than an arena's are not worth a system call each.
        let is_worth_it = rest > BLOCK_POOLS_PER_ARENA && !is_amid_drop;
        let purge = || self.purge_idle(rest, ClaimOrder::SparsestFirst);
        let purged = if is_worth_it { purge() } else { 0 };
        if is_due {
            self.release_staying();
        }
        let went = released + purged;
        // Where nothing goes, nor would it at once.
        let goes_on = surplus > most && went > 0;
        let left = goes_on.then(|| surplus.saturating_sub(went));
        if self.lists.lock().retention.end_look(went, left) {
            self.news.tell_of_shrink();
        }
        if goes_on {
            self.looked_at.store(now.wrapping_sub(LOOK_MILLISECONDS), Ordering::Relaxed);
        }
        is_due
    }

    /// Purges about so many idle pools between used ones, and returns how many.
    fn purge_idle(&self, most: usize, order: ClaimOrder) -> usize {
        let page_pools = self.pages.page_bytes().div_ceil(POOL_BYTES);
        let now = self.now();
        let mut purged = 0;
        let mut all_go = true;
        // Where all is to go, a search that finds nothing may have ended before its time.
        let mut searches = if page_pools > 1 && most == usize::MAX {
            1 + self.lists.lock().mapped / CLAIM_STEPS_MAX
        } else {
            1
        };
        // Where the system takes one claim not, it will not take the others now.
        while purged < most && all_go {
            let mut claims = [const { None }; CLAIMS_MAX];
            let wanted = most - purged;
            if self.lists.lock().claim_idle(order, wanted, page_pools, &mut claims) == 0 {
                searches -= 1;
                if searches == 0 {
                    break;
                }
            }
            let mut going = 0;
            for claim in claims.iter().flatten() {
                let goes = claim.purge_runs(|start, bytes| {
                    // SAFETY: pools of a mapped arena, whose pages are all claimed.
                    unsafe { self.pages.purge(start, bytes) }
                });
                going += usize::from(self.lists.lock().settle(claim, goes, now));
                purged += if goes { claim.idle_pools() } else { 0 };
                all_go &= goes;
            }
            if going > 0 {
                let leaving = self.lists.lock().unlink_surplus(going);
                self.release(leaving);
            }
        }
        purged
    }

    /// Releases some of the empty arenas that stay mapped, if they need not any more.
    fn release_staying(&self) {
        let staying = self.lists.lock().unlink_staying(STAYING_PER_LOOK_MAX);
        self.release(staying);
    }

    /// Releases every empty arena, and returns the bytes.
    fn release_empty(&self) -> usize {
        let leaving = self.lists.lock().unlink_empty(0, usize::MAX);
        let released = self.release(leaving);
        // Later than those, which may have been their neighbours.
        let staying = self.lists.lock().unlink_staying(usize::MAX);
        released + self.release(staying)
    }

    /// Releases a chain of arenas that are in no list, and returns the bytes. One that the system
    /// does not take, since that would split a mapping too many, or that it should not, is purged and stays.
    fn release(&self, mut leaving: Option<Arena>) -> usize {
        let (mut released, mut purged_bytes) = (0, 0);
        while let Some(arena) = leaving {
            leaving = arena.next();
            debug_check!(arena.is_empty(), "arena released in use", arena.start().as_ptr().addr());
            // Many may be on their way, each of which takes a call to the system.
            if self.lists.lock().takes_back_for_fork(arena) {
                continue;
            }
            let stayed_before = arena.stays();
            if self.release_one(arena, false) {
                released += 1;
                continue;
            }
            purged_bytes += self.purge_empty(arena);
            // What cannot be purged, since the program has locked it, is worth a mapping more.
            let is_stuck = !stayed_before && !arena.stays();
            if is_stuck && self.release_one(arena, true) {
                released += 1;
                continue;
            }
            self.lists.lock().take_back(arena);
        }
        released * ARENA_BYTES + purged_bytes
    }

    /// Releases an empty arena that is in no list; `false` if it stays mapped, as it does where that would split a run too
    /// many and not `at_any_price`.
    fn release_one(&self, arena: Arena, at_any_price: bool) -> bool {
        let start = arena.start();
        let address = start.as_ptr().addr();
        if !self.lists.lock().runs.leave(&self.map, address, at_any_price) {
            return false;
        }
        // SAFETY: the arena came from `map` or `map_huge`, is empty, and in no list any more.
        let is_released = unsafe { self.pages.release(start) };
        let mut lists = self.lists.lock();
        if is_released {
            lists.note_released();
        } else {
            lists.runs.join(&self.map, address);
        }
        is_released
    }

    /// Shows all arenas. The locks of all classes are held by the caller, so that the header of each pool
    /// that a class has is as the map says, and nobody's to change.
    pub(crate) fn survey(&self, surveyor: &mut impl Surveyor) {
        // Not by a guard: this is the one place where a thread closes a lock that holds others.
        self.lists.lock_and_leave_closed(|lists| {
            for arena in lists.all() {
                surveyor.see_arena(arena.start().as_ptr().addr());
                for (pool, is_free, is_resident) in arena.pools() {
                    let class = if is_free { None } else { self.map.class_at(pool.address()) };
                    surveyor.see_pool(match class {
                        Some(class) => FoundPool::Used { class, live_blocks: pool.live() },
                        None => FoundPool::Unused { is_purged: !is_resident },
                    });
                }
            }
            surveyor.see_arenas(lists.stats());
        });
        // SAFETY: closed above, by this thread, and no guard exists.
        unsafe { self.lists.force_unlock() };
    }

    /// Purges an empty arena that is in no list, but for the page that has the headers, and returns the bytes that
    /// were resident. Where the system does not take it, it is as before.
    fn purge_empty(&self, arena: Arena) -> usize {
        let kept_bytes = self.pages.page_bytes().max(POOL_BYTES);
        let bytes = ARENA_BYTES.saturating_sub(kept_bytes);
        if bytes == 0 || arena.stays() {
            return 0;
        }
        // SAFETY: less than the arena has.
        let start = unsafe { arena.start().add(kept_bytes) };
        // SAFETY: whole pages of an arena that is mapped and empty, and in no list.
        if !unsafe { self.pages.purge(start, bytes) } {
            return 0;
        }
        arena.note_purged(kept_bytes / POOL_BYTES) * POOL_BYTES
    }

    /// Closes the lock for a `fork`, which is what keeps others from beginning anything from now on.
    pub(crate) fn lock_for_fork(&self) {
        self.lists.lock_and_leave_closed(|lists| lists.transit.resume());
    }

    /// Opens the lock after a `fork`.
    ///
    /// # Safety
    ///
    /// - [`Arenas::lock_for_fork`] was called before, by this thread or its image in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller owes the call before.
        unsafe { self.lists.force_unlock() };
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
