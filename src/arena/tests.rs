mod any_order;
mod bounds;
mod homes;
mod lists;
mod looks;
mod staying;
mod transit;

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::*;
use crate::config::{
    CLAIM_IDLE_POOLS_MIN, EMPTY_ARENAS_FIRST, EMPTY_ARENAS_LEAST, EMPTY_ARENAS_MAX,
    IDLE_BETWEEN_ARENAS_MAX, IDLE_PER_USED_AMID_DROP, POOLS_PER_LOOK_MAX, YOUNG_MILLISECONDS,
};
use crate::os::testing::TestPages;
use crate::pool::Shard;
use crate::size_class::SizeClass;

fn take(arenas: &Arenas<&TestPages>, count: usize) -> Vec<Pool> {
    (0..count).map(|_| take_pool(arenas).expect("a pool").0).collect()
}

fn take_pool(arenas: &Arenas<&TestPages>) -> Option<(Pool, bool)> {
    arenas.take_pool(Shard::FIRST).or_else(|| arenas.map_and_take_pool(Shard::FIRST))
}

fn give(arenas: &Arenas<&TestPages>, pools: impl IntoIterator<Item = Pool>) {
    let mut list = PoolList::EMPTY;
    pools.into_iter().for_each(|pool| list.push(pool));
    arenas.give_pools(list);
    assert!(arenas.lists.lock().is_valid());
}

/// What may go at a look that comes when it is due: as much as at one that is late.
const POOLS_AT_LOOK: usize = POOLS_PER_LOOK_MAX;

fn counts(arenas: &Arenas<&TestPages>) -> (usize, usize) {
    let lists = arenas.lists.lock();
    (lists.mapped, lists.empty)
}

#[test]
fn an_arena_has_63_pools_each_given_once() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63);
    assert_eq!(counts(&arenas), (1, 0));
    let mut indices: Vec<usize> = pools.iter().map(|pool| pool.index()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (1..64).collect::<Vec<_>>());
    let next = take(&arenas, 1);
    assert_eq!(counts(&arenas), (2, 0));
    give(&arenas, pools.into_iter().chain(next));
    assert_eq!(counts(&arenas), (2, 2));
    assert_eq!(arenas.release_free(), 2 * ARENA_BYTES);
    assert_eq!((counts(&arenas), pages.live()), ((0, 0), 0));
}

#[test]
fn pools_come_from_the_fullest_arena() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, 3 * 63);
    // One, two and three free pools; the arenas' order by fullness is that of this loop.
    let (third, second, first) = (pools.split_off(126), pools.split_off(63), pools);
    give(&arenas, third[..1].iter().copied());
    give(&arenas, second[..2].iter().copied());
    give(&arenas, first[..3].iter().copied());
    let from: Vec<NonNull<u8>> = take(&arenas, 6).into_iter().map(Pool::arena).collect();
    let expected = [&third, &second, &second, &first, &first, &first].map(|of| of[0].arena());
    assert_eq!(from, expected);
    assert_eq!(counts(&arenas), (3, 0));
    give(&arenas, first.into_iter().chain(second).chain(third));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_pool_reads_as_zero_until_it_was_given_once() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let (pool, zeroed) = take_pool(&arenas).expect("a pool");
    assert!(zeroed);
    give(&arenas, [pool]);
    let (again, zeroed) = take_pool(&arenas).expect("a pool");
    assert!(again == pool && !zeroed, "a resident pool is taken before a virgin one");
    assert!(take_pool(&arenas).expect("a pool").1);
    // The test ends with pools taken; their arena is given back by hand.
    // SAFETY: the arena is this test's own.
    assert!(unsafe { (&pages).release(pool.arena()) });
}

/// Moves the clock, and has the arenas see it.
fn pass(arenas: &Arenas<&TestPages>, milliseconds: usize) {
    arenas.pages.milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    arenas.tick();
    assert!(arenas.lists.lock().is_valid());
}

fn idle(arenas: &Arenas<&TestPages>) -> usize {
    arenas.lists.lock().idle
}

/// Gives all pools but one in `of`, and returns those that were kept.
fn give_most(arenas: &Arenas<&TestPages>, pools: Vec<Pool>, of: usize) -> Vec<Pool> {
    let (kept, given): (Vec<_>, Vec<_>) =
        pools.into_iter().enumerate().partition(|(number, _)| number % of == 0);
    give(arenas, given.into_iter().map(|(_, pool)| pool));
    kept.into_iter().map(|(_, pool)| pool).collect()
}

/// The first word of a pool, which the test owns.
fn word_of(pool: Pool) -> *mut u64 {
    // SAFETY: the pool lies this far behind its arena's start.
    unsafe { pool.arena().add(pool.index() * POOL_BYTES) }.cast().as_ptr()
}

#[test]
fn of_arenas_that_were_in_use_for_long_few_stay_when_they_are_empty() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 100);
    pass(&arenas, YOUNG_MILLISECONDS);
    give(&arenas, pools);
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    assert_eq!(pages.released.load(Ordering::SeqCst), 100 - EMPTY_ARENAS_FIRST);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn young_arenas_stay_within_a_bound_until_they_are_of_no_use() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 400);
    give(&arenas, pools);
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_MAX, EMPTY_ARENAS_MAX));
    // The first look learns that they are idle, the second that they were all the time.
    pass(&arenas, LOOK_MILLISECONDS);
    pass(&arenas, LOOK_MILLISECONDS - 1);
    assert_eq!(counts(&arenas).1, EMPTY_ARENAS_MAX);
    pass(&arenas, 1);
    assert_eq!(counts(&arenas).1, EMPTY_ARENAS_MAX - POOLS_AT_LOOK / 63);
    (0..20).for_each(|_| pass(&arenas, 0));
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn each_look_that_gives_memory_back_is_told_of_as_a_shrink() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * EMPTY_ARENAS_FIRST));
    pass(&arenas, LOOK_MILLISECONDS);
    pass(&arenas, LOOK_MILLISECONDS);
    assert!(!arenas.news().take_shrink(), "no more is idle than the reserve");
    // The reserve itself goes in part, where it is of no use: an arena now and then, since what fades at a look is
    // less than one has.
    let mut shrinks = 0;
    for look in 0..100 {
        let before = idle(&arenas);
        pass(&arenas, LOOK_MILLISECONDS);
        let has_shrunk = arenas.news().take_shrink();
        assert_eq!(has_shrunk, idle(&arenas) < before, "look {look}");
        assert!(!arenas.news().take_shrink());
        shrinks += usize::from(has_shrunk);
    }
    assert_eq!(shrinks, EMPTY_ARENAS_FIRST - EMPTY_ARENAS_LEAST);
    assert_eq!(idle(&arenas), EMPTY_ARENAS_LEAST * 63);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_clock_may_start_anywhere() {
    for start in [1, usize::MAX / 2 + 2, usize::MAX - LOOK_MILLISECONDS] {
        let pages = TestPages::default();
        pages.milliseconds.store(start, Ordering::SeqCst);
        let arenas = Arenas::new(&pages);
        give(&arenas, take(&arenas, 63 * 40));
        (0..4).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
        (0..4).for_each(|_| pass(&arenas, 0));
        assert!(counts(&arenas).1 <= EMPTY_ARENAS_FIRST + 1, "from {start}");
        arenas.release_free();
    }
}

#[test]
fn what_is_used_between_two_looks_stays() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    for _ in 0..20 {
        let pools = take(&arenas, 63 * 100);
        give(&arenas, pools);
        pass(&arenas, LOOK_MILLISECONDS);
    }
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 100);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn the_idle_pools_of_sparse_arenas_are_purged_in_runs() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 30);
    for pool in &pools {
        // SAFETY: the pool is this test's own.
        unsafe { word_of(*pool).write(u64::MAX) };
    }
    let kept = give_most(&arenas, pools, 63);
    assert_eq!((counts(&arenas), idle(&arenas)), ((30, 0), 30 * 62));
    // What is of no use goes, but for the reserve.
    pass(&arenas, LOOK_MILLISECONDS);
    pass(&arenas, LOOK_MILLISECONDS);
    let purged = pages.purged_bytes.load(Ordering::SeqCst) / POOL_BYTES;
    assert_eq!(idle(&arenas), 30 * 62 - purged);
    assert!(idle(&arenas) <= EMPTY_ARENAS_FIRST * 63);
    // All goes by request; one arena has its pools in one run.
    assert_eq!(arenas.release_free(), (30 * 62 - purged) * POOL_BYTES);
    assert_eq!((counts(&arenas), idle(&arenas)), ((30, 0), 0));
    assert_eq!(pages.purges.load(Ordering::SeqCst), 30);
    assert_eq!(arenas.release_free(), 0);
    // They serve again, and are known to be zero.
    let again: Vec<Pool> = (0..30 * 62)
        .map(|_| {
            let (pool, zeroed) = arenas.take_pool(Shard::FIRST).expect("a pool");
            // SAFETY: the pool is this test's own.
            assert!(zeroed && unsafe { word_of(pool).read() } == 0);
            pool
        })
        .collect();
    for pool in &kept {
        // SAFETY: the pool is this test's own.
        assert_eq!(unsafe { word_of(*pool).read() }, u64::MAX, "a pool in use was purged");
    }
    give(&arenas, again.into_iter().chain(kept));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn no_more_is_idle_than_may_be_between_used_pools_either() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 400);
    let most = IDLE_BETWEEN_ARENAS_MAX * 63;
    // Young empty arenas are bounded by themselves, and left alone.
    const EMPTY: usize = 20;
    let (empty, pools) = (pools[..63 * EMPTY].to_vec(), pools[63 * EMPTY..].to_vec());
    give(&arenas, empty);
    let mut kept = Vec::new();
    // As they come back in a program: a few at a time, while others are taken.
    for some in pools.chunks(63) {
        kept.push(some[0]);
        give(&arenas, some[1..].iter().copied());
        give(&arenas, take(&arenas, 5));
        assert!(idle(&arenas) < 63 * EMPTY + most + EMPTY_ARENAS_FIRST * 63);
    }
    assert!(idle(&arenas) >= 63 * EMPTY + most - 63);
    assert_eq!(counts(&arenas), (400, EMPTY));
    let idle_in_empty = |lists: &ArenaLists| {
        lists.all().filter(|arena| arena.is_empty()).map(Arena::idle_pools).sum::<usize>()
    };
    assert_eq!(idle_in_empty(&arenas.lists.lock()), 63 * EMPTY, "an empty arena was purged");
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// In no order, from all arenas alike, until one pool of each is left.
#[test]
fn where_pools_only_come_back_more_is_idle_as_long_as_more_is_used() {
    const ARENAS: usize = 400;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * ARENAS);
    let most = IDLE_BETWEEN_ARENAS_MAX * 63;
    let mut used = pools.len();
    let mut most_idle = 0;
    // A few of each arena wait until there are more, and so does an excess once before and once after some of it went.
    let few = ARENAS * CLAIM_IDLE_POOLS_MIN + 2 * EMPTY_ARENAS_FIRST * 63;
    for number in 1..63 {
        for some in pools.chunks(63 * 20) {
            give(&arenas, some.iter().skip(number).step_by(63).copied());
            used -= 20;
            assert!(idle(&arenas) <= most.max(IDLE_PER_USED_AMID_DROP * used) + few);
            most_idle = most_idle.max(idle(&arenas));
        }
    }
    assert!(most_idle > 2 * most, "no more than at other times");
    assert_eq!(counts(&arenas), (ARENAS, 0));
    give(&arenas, pools.into_iter().step_by(63));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_young_arena_goes_when_it_is_empty_if_most_of_it_is_purged() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let kept = give_most(&arenas, take(&arenas, 63 * 100), 63);
    arenas.release_free();
    assert_eq!((counts(&arenas), idle(&arenas)), ((100, 0), 0));
    give(&arenas, kept);
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn idle_pools_are_taken_before_purged_ones_of_fuller_arenas() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    // One arena's free pools are purged; two that are sparser come to have idle ones.
    let mut pools = take(&arenas, 63 * 3);
    let sparse = pools.split_off(63);
    give(&arenas, pools.drain(..30));
    arenas.release_free();
    let kept = give_most(&arenas, sparse, 63);
    assert_eq!(idle(&arenas), 2 * 62);
    let mut again = take(&arenas, 2 * 62);
    assert_eq!(idle(&arenas), 0);
    // Only then is a page missed that went.
    let kept_before = arenas.lists.lock().retention.empty_arenas_kept();
    again.extend(take(&arenas, 30));
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 3);
    assert_eq!(arenas.lists.lock().retention.empty_arenas_kept(), kept_before + 1);
    give(&arenas, pools.into_iter().chain(kept).chain(again));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn only_pages_all_of_whose_pools_are_free_are_purged() {
    let pages = TestPages::default();
    pages.page_bytes.store(4 * POOL_BYTES, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    // The first page has the headers; every other of the rest has a pool in use.
    let pools = take(&arenas, 63);
    let (kept, given): (Vec<Pool>, Vec<Pool>) =
        pools.into_iter().partition(|pool| pool.index() % 8 == 4);
    give(&arenas, given);
    assert_eq!(arenas.release_free(), 7 * 4 * POOL_BYTES);
    assert_eq!(pages.purges.load(Ordering::SeqCst), 7);
    pages.page_bytes.store(2 * ARENA_BYTES, Ordering::SeqCst);
    assert_eq!(arenas.release_free(), 0);
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn pools_that_the_system_does_not_purge_serve_as_they_are() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 40);
    let kept = give_most(&arenas, pools, 63);
    pages.refuses_purge.store(true, Ordering::SeqCst);
    assert_eq!(arenas.release_free(), 0, "what did not go is said to have gone");
    assert_eq!((counts(&arenas), idle(&arenas)), ((40, 0), 40 * 62));
    let again = take(&arenas, 40 * 62);
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 40);
    give(&arenas, again.into_iter().chain(kept));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_freed_and_taken_at_the_boundary_is_not_mapped_anew() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let held = take(&arenas, 63 * 40);
    for _ in 0..1000 {
        let pool = take(&arenas, 1);
        give(&arenas, pool);
    }
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 41);
    give(&arenas, held);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_that_cannot_be_released_is_purged_and_stays() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 20);
    for pool in &pools {
        // SAFETY: the pool is this test's own.
        unsafe { word_of(*pool).write(u64::MAX) };
    }
    pass(&arenas, YOUNG_MILLISECONDS);
    pages.refuses_release.store(true, Ordering::SeqCst);
    give(&arenas, pools);
    assert_eq!(counts(&arenas), (20, 20));
    assert_eq!(pages.purges.load(Ordering::SeqCst), 4);
    let mut zeroed_pools = 0;
    let again: Vec<Pool> = (0..63 * 20)
        .map(|_| {
            let (pool, zeroed) = take_pool(&arenas).expect("a pool");
            // SAFETY: the pool is this test's own.
            assert!(!zeroed || unsafe { word_of(pool).read() } == 0);
            zeroed_pools += usize::from(zeroed);
            pool
        })
        .collect();
    assert_eq!(zeroed_pools, 4 * 63);
    pages.refuses_release.store(false, Ordering::SeqCst);
    give(&arenas, again);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn without_memory_there_is_no_pool_and_nothing_breaks() {
    let pages = TestPages::default();
    pages.most.store(2, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, 126);
    assert!(take_pool(&arenas).is_none());
    give(&arenas, pools.pop());
    pools.extend(take(&arenas, 1));
    assert!(take_pool(&arenas).is_none());
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn is_valid_sees_a_wrong_bit_and_a_wrong_count() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pool = take(&arenas, 1);
    assert!(arenas.lists.lock().is_valid());
    arenas.lists.lock().by_fullness.flip_mark(17);
    assert!(!arenas.lists.lock().is_valid());
    arenas.lists.lock().by_fullness.flip_mark(17);
    arenas.lists.lock().empty += 1;
    assert!(!arenas.lists.lock().is_valid());
    arenas.lists.lock().empty -= 1;
    give(&arenas, pool);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_that_the_map_cannot_cover_is_released() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    pages.refuses_tables.store(true, Ordering::SeqCst);
    let covered: Vec<Pool> =
        core::iter::from_fn(|| take_pool(&arenas).map(|(pool, _)| pool)).collect();
    // The first needs no tables, but for those of the blocks in use in debug builds.
    let arenas_covered = usize::from(!cfg!(debug_assertions));
    assert_eq!(covered.len(), arenas_covered * BLOCK_POOLS_PER_ARENA);
    assert_eq!((counts(&arenas), pages.live()), ((arenas_covered, 0), arenas_covered));
    pages.refuses_tables.store(false, Ordering::SeqCst);
    let pool = take(&arenas, 1);
    assert_eq!(pages.live(), arenas_covered + 1);
    give(&arenas, covered);
    give(&arenas, pool);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_pool_has_a_class_until_it_is_given_back() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 64);
    let classes: Vec<SizeClass> = SizeClass::all().collect();
    assert_eq!(arenas.map().class_at(pools[0].address()), None);
    for (pool, class) in pools.iter().zip(&classes) {
        pool.init(Shard::FIRST, *class, true);
        arenas.map().set(pool.address(), *class);
    }
    for (pool, class) in pools.iter().zip(&classes) {
        assert_eq!(arenas.map().class_at(pool.address()), Some(*class));
        assert_eq!(arenas.map().class_at(pool.address() + 4095), Some(*class));
        let headers = pool.arena().as_ptr().addr();
        assert_eq!(
            (headers..headers + 4096).find_map(|address| arenas.map().class_at(address)),
            None
        );
    }
    let addresses: Vec<usize> = pools.iter().map(|pool| pool.address()).collect();
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    assert_eq!(addresses.into_iter().find_map(|address| arenas.map().class_at(address)), None);
}
