use core::sync::atomic::Ordering;

use super::*;
use crate::os::testing::TestPages;
use crate::pool::Shard;
use crate::size_class::SizeClass;

fn take(arenas: &Arenas<&TestPages>, count: usize) -> Vec<Pool> {
    (0..count).map(|_| take_pool(arenas).expect("a pool").0).collect()
}

fn take_pool(arenas: &Arenas<&TestPages>) -> Option<(Pool, bool)> {
    arenas.take_pool().or_else(|| arenas.map_and_take_pool())
}

fn give(arenas: &Arenas<&TestPages>, pools: impl IntoIterator<Item = Pool>) {
    let mut list = PoolList::EMPTY;
    pools.into_iter().for_each(|pool| list.push(pool));
    arenas.give_pools(list);
    assert!(arenas.lists.lock().is_valid());
}

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
    assert_eq!(arenas.release_empty(), 2 * ARENA_BYTES);
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
    arenas.release_empty();
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

#[test]
fn a_few_empty_arenas_stay_and_the_rest_go() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 100);
    give(&arenas, pools);
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    assert_eq!(pages.released.load(Ordering::SeqCst), 100 - EMPTY_ARENAS_FIRST);
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_large_heap_that_drains_keeps_no_more_than_a_small_one() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, 63 * 400);
    give(&arenas, pools.split_off(63 * 160));
    assert_eq!(counts(&arenas), (160 + 160 / 8, 160 / 8));
    while !pools.is_empty() {
        give(&arenas, pools.split_off(pools.len().saturating_sub(100)));
    }
    assert_eq!(counts(&arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_was_missed_stays_the_next_time_up_to_a_bound() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    for (arenas_used, kept) in [(100, 16), (100, 100), (100, 100), (400, 100), (400, 256)] {
        let pools = take(&arenas, 63 * arenas_used);
        give(&arenas, pools);
        assert_eq!(counts(&arenas).1, kept, "after {arenas_used} arenas");
    }
    arenas.release_empty();
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
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_that_cannot_be_released_is_purged_and_stays() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 20);
    for pool in &pools {
        // SAFETY: the pool is this test's own, and lies this far behind its arena's start.
        let start = unsafe { pool.arena().add(pool.index() * 4096) };
        // SAFETY: a pool has 4096 bytes.
        unsafe { start.write_bytes(0xA5, 4096) };
    }
    pages.refuses_release.store(true, Ordering::SeqCst);
    give(&arenas, pools);
    assert_eq!(counts(&arenas), (20, 20));
    assert_eq!(pages.purged.load(Ordering::SeqCst), 4);
    let mut zeroed_pools = 0;
    let again: Vec<Pool> = (0..63 * 20)
        .map(|_| {
            let (pool, zeroed) = take_pool(&arenas).expect("a pool");
            // SAFETY: the pool is this test's own, and lies this far behind its arena's start.
            let start = unsafe { pool.arena().add(pool.index() * 4096) };
            // SAFETY: the pool is mapped.
            assert!(!zeroed || unsafe { start.read() } == 0);
            zeroed_pools += usize::from(zeroed);
            pool
        })
        .collect();
    assert_eq!(zeroed_pools, 4 * 63);
    pages.refuses_release.store(false, Ordering::SeqCst);
    give(&arenas, again);
    arenas.release_empty();
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
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
}

#[test]
fn is_valid_sees_a_wrong_bit_and_a_wrong_count() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pool = take(&arenas, 1);
    assert!(arenas.lists.lock().is_valid());
    arenas.lists.lock().nonempty ^= 1 << 17;
    assert!(!arenas.lists.lock().is_valid());
    arenas.lists.lock().nonempty ^= 1 << 17;
    arenas.lists.lock().empty += 1;
    assert!(!arenas.lists.lock().is_valid());
    arenas.lists.lock().empty -= 1;
    give(&arenas, pool);
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_that_the_map_cannot_cover_is_released() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    pages.refuses_tables.store(true, Ordering::SeqCst);
    assert!(take_pool(&arenas).is_none());
    assert_eq!((counts(&arenas), pages.live()), ((0, 0), 0));
    pages.refuses_tables.store(false, Ordering::SeqCst);
    let pool = take(&arenas, 1);
    give(&arenas, pool);
    arenas.release_empty();
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
    arenas.release_empty();
    assert_eq!(pages.live(), 0);
    assert_eq!(addresses.into_iter().find_map(|address| arenas.map().class_at(address)), None);
}

#[test]
fn growth_is_said_once_for_each_step_and_again_after_a_fall() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, (ARENAS_PER_GROWTH_MIN - 1) * BLOCK_POOLS_PER_ARENA);
    assert!(!arenas.take_growth());
    pools.extend(take(&arenas, BLOCK_POOLS_PER_ARENA));
    assert!(arenas.take_growth() && !arenas.take_growth());
    pools.extend(take(&arenas, (ARENAS_PER_GROWTH_MIN - 1) * BLOCK_POOLS_PER_ARENA));
    assert!(!arenas.take_growth());
    pools.extend(take(&arenas, BLOCK_POOLS_PER_ARENA));
    assert!(arenas.take_growth());
    give(&arenas, pools);
    arenas.release_empty();
    let pools = take(&arenas, 2 * ARENAS_PER_GROWTH_MIN * BLOCK_POOLS_PER_ARENA);
    assert!(arenas.take_growth() && !arenas.take_growth());
    give(&arenas, pools);
    arenas.release_empty();
}
