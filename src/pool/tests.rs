use core::sync::atomic::Ordering;

use super::*;
use crate::os::PageSource;
use crate::os::testing::TestPages;

/// Runs a test on the pools of one arena.
fn with_arena(test: impl FnOnce(NonNull<u8>)) {
    let pages = TestPages::default();
    let arena = (&pages).map().expect("an arena");
    test(arena);
    // SAFETY: the arena was mapped above, and the test is over.
    assert!(unsafe { (&pages).release(arena) });
    assert_eq!(pages.released.load(Ordering::SeqCst), 1);
}

fn pool_at(arena: NonNull<u8>, index: usize) -> Pool {
    // SAFETY: tests pass a mapped arena and an index from 1 to 63.
    unsafe { Pool::at(arena, index) }
}

fn class_of(bytes: usize) -> SizeClass {
    SizeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

fn give(pool: Pool, class: SizeClass, chain: Chain) -> Change {
    // SAFETY: tests give back what they took from this pool.
    unsafe { pool.give(class, chain) }
}

/// All blocks of an empty pool.
fn carve_all_of(pool: Pool, class: SizeClass) -> Chain {
    pool.init(Shard::FIRST, class, false);
    carve_all(pool, class, u32::MAX)
}

fn carve_all(pool: Pool, class: SizeClass, most: u32) -> Chain {
    pool.carve(class, most).carve_chain(class, most).expect("virgin blocks")
}

#[test]
fn each_block_of_each_pool_finds_its_pool() {
    with_arena(|arena| {
        for index in 1..64 {
            let pool = pool_at(arena, index);
            assert_eq!((pool.index(), pool.arena()), (index, arena));
            for offset in [0, 8, 2048, POOL_BYTES - 8] {
                // SAFETY: the offset lies inside the pool, which lies inside the arena.
                let block = unsafe { arena.add(index * POOL_BYTES + offset) };
                // SAFETY: the block lies in a mapped arena.
                assert!(unsafe { Pool::of(block.cast()) } == pool);
            }
        }
    });
}

#[test]
fn a_pool_goes_from_empty_over_used_to_full_and_back() {
    with_arena(|arena| {
        for class in SizeClass::all() {
            let pool = pool_at(arena, 1 + class.index() % 63);
            pool.init(Shard::FIRST, class, true);
            assert!(pool.is_empty() && !pool.is_full() && pool.is_valid());
            let one = carve_all(pool, class, 1);
            assert!(!pool.is_empty() && !pool.is_full());
            let rest = carve_all(pool, class, u32::MAX);
            assert_eq!(rest.len() + 1, class.blocks_per_pool());
            assert!(pool.is_full() && pool.carve(class, 1).pool().is_none());
            let Change { was_full, is_empty } = give(pool, class, rest);
            assert!(was_full && !is_empty);
            assert!(!pool.is_empty() && !pool.is_full() && pool.is_valid());
            let Change { was_full, is_empty } = give(pool, class, one);
            assert!(!was_full && is_empty);
            assert!(pool.is_empty() && pool.is_valid());
            let all = carve_all_of(pool, class);
            let Change { was_full, is_empty } = give(pool, class, all);
            assert!(was_full && is_empty && pool.is_valid());
        }
    });
}

#[test]
fn blocks_are_carved_side_by_side_from_the_start_of_the_page() {
    with_arena(|arena| {
        let class = class_of(24);
        let pool = pool_at(arena, 5);
        pool.init(Shard::FIRST, class, true);
        let mut range = pool.carve(class, 7);
        for position in 0..7 {
            let block = range.carve(class).expect("a virgin block");
            let offset = block.as_ptr().addr() - arena.as_ptr().addr();
            assert_eq!(offset, 5 * POOL_BYTES + position * 24);
        }
        assert!(range.carve(class).is_none());
        assert_eq!(pool.live(), 7);
    });
}

#[test]
fn the_block_freed_last_is_taken_first() {
    with_arena(|arena| {
        let class = class_of(64);
        let pool = pool_at(arena, 2);
        pool.init(Shard::FIRST, class, false);
        let (first, second) = (carve_all(pool, class, 1), carve_all(pool, class, 1));
        let second_block = second.first();
        give(pool, class, first);
        give(pool, class, second);
        assert_eq!(pool.take(1).expect("a free block").first(), second_block);
    });
}

#[test]
fn taking_some_splits_the_chain_and_taking_all_empties_it() {
    with_arena(|arena| {
        let class = class_of(32);
        let pool = pool_at(arena, 3);
        pool.init(Shard::FIRST, class, false);
        let all = carve_all(pool, class, 100);
        give(pool, class, all);
        for (most, expected) in [(1, 1), (30, 30), (68, 68), (50, 1), (1, 0)] {
            let taken = pool.take(most).map(Chain::into_magazine);
            assert_eq!(taken.as_ref().map_or(0, Magazine::len), expected);
            assert!(taken.is_none_or(|magazine| magazine.is_valid()) && pool.is_valid());
        }
        assert_eq!(pool.live(), 100);
    });
}

#[test]
fn the_rest_of_a_range_becomes_virgin_again_unless_more_was_carved() {
    with_arena(|arena| {
        let class = class_of(128);
        let pool = pool_at(arena, 4);
        pool.init(Shard::FIRST, class, true);
        let mut first = pool.carve(class, 4);
        assert!(first.carve(class).is_some());
        // SAFETY: the range was carved from this pool.
        let Change { was_full, is_empty } = unsafe { pool.uncarve(class, first) };
        assert!(!was_full && !is_empty);
        assert_eq!((pool.live(), pool.header().carved.get()), (1, 1));

        let (middle, last) = (pool.carve(class, 4), pool.carve(class, 4));
        // SAFETY: as above.
        let Change { was_full, is_empty } = unsafe { pool.uncarve(class, middle) };
        assert!(!was_full && !is_empty);
        assert_eq!((pool.live(), pool.header().carved.get()), (5, 9));
        assert_eq!(pool.header().free_count.get(), 4);
        assert!(last.is_zeroed() && pool.is_valid());

        let whole = pool_at(arena, 5);
        whole.init(Shard::FIRST, class, true);
        let all = whole.carve(class, u32::MAX);
        // SAFETY: as above.
        let Change { was_full, is_empty } = unsafe { whole.uncarve(class, all) };
        assert!(was_full && is_empty && whole.is_valid());
    });
}

#[test]
fn a_run_ends_where_the_pool_does() {
    with_arena(|arena| {
        let class = class_of(512);
        let (one, other) = (pool_at(arena, 7), pool_at(arena, 8));
        one.init(Shard::FIRST, class, false);
        other.init(Shard::FIRST, class, false);
        let chains =
            [carve_all(one, class, 3), carve_all(other, class, 2), carve_all(one, class, 1)];
        let joined = chains.into_iter().reduce(|front, back| back.behind(Some(front)));
        let mut magazine = joined.expect("three chains").into_magazine();
        assert!(magazine.is_valid());
        let mut runs = Vec::new();
        // SAFETY: blocks of pools.
        while let Some(run) = unsafe { pop_run(&mut magazine) } {
            // SAFETY: the blocks lie in a mapped arena.
            runs.push((unsafe { Pool::of(run.first()) }.index(), run.len()));
        }
        assert_eq!(runs, [(7, 3), (8, 2), (7, 1)]);
        assert_eq!((magazine.is_empty(), magazine.len()), (true, 0));
    });
}

#[test]
fn is_valid_sees_a_wrong_count_a_foreign_block_and_a_cycle() {
    with_arena(|arena| {
        let class = class_of(64);
        let pool = pool_at(arena, 9);
        pool.init(Shard::FIRST, class, false);
        let chain = carve_all(pool, class, 10);
        let first = chain.first();
        give(pool, class, chain);
        assert!(pool.is_valid());

        pool.header().class.set(class_of(72).number());
        assert!(!pool.is_valid());
        pool.header().class.set(class.number());

        pool.header().free_count.set(9);
        assert!(!pool.is_valid());
        pool.header().free_count.set(10);

        // Fewer blocks than it says, of more that were carved.
        let _ = carve_all(pool, class, 10);
        pool.header().free_count.set(11);
        assert!(!pool.is_valid());
        pool.header().free_count.set(10);
        pool.header().carved.set(pool.header().capacity.get() + 1);
        assert!(!pool.is_valid());
        pool.header().carved.set(20);
        assert!(pool.is_valid());

        // Between two blocks.
        pool.header().free.set(offset_of(first) + 8);
        assert!(!pool.is_valid());
        pool.header().free.set(offset_of(first));

        // SAFETY: the test owns the pool, whose first free block this is.
        unsafe { crate::block::link(first, Some(first)) };
        assert!(!pool.is_valid());
    });
}

#[test]
fn a_list_links_and_unlinks_anywhere() {
    with_arena(|arena| {
        let pools: Vec<Pool> = (1..6).map(|index| pool_at(arena, index)).collect();
        let mut list = PoolList::EMPTY;
        for pool in &pools {
            list.push(*pool);
        }
        for gone in [2, 4, 0] {
            list.remove(pools[gone]);
        }
        let left: Vec<usize> = core::iter::from_fn(|| list.pop()).map(Pool::index).collect();
        assert_eq!(left, [4, 2]);
        assert!(list.first().is_none());
    });
}

#[test]
fn a_range_gives_as_many_blocks_as_are_asked_for_and_counts_the_rest() {
    with_arena(|arena| {
        let class = class_of(64);
        let pool = pool_at(arena, 10);
        pool.init(Shard::FIRST, class, true);
        let mut range = pool.carve(class, 9);
        assert_eq!(range.len(), 9);
        for (most, given, left) in [(1, 1, 8), (5, 5, 3), (100, 3, 0)] {
            let chain = range.carve_chain(class, most).expect("virgin blocks");
            assert_eq!((chain.len(), range.len()), (given, left));
        }
        assert!(range.carve_chain(class, 1).is_none());
    });
}

#[test]
fn is_valid_sees_a_pool_that_does_not_belong_and_one_that_is_linked_from_nowhere() {
    with_arena(|arena| {
        let pools: Vec<Pool> = (1..4).map(|index| pool_at(arena, index)).collect();
        let mut list = PoolList::EMPTY;
        pools.iter().for_each(|pool| list.push(*pool));
        assert!(list.is_valid(3, |_| true));
        for pool in &pools {
            assert!(!list.is_valid(3, |other| other != *pool));
        }
        // The first of the list is the one that was pushed last, and only so many are looked at.
        assert!(list.is_valid(2, |other| other != pools[0]));
        pools[1].links().previous.set(Some(pools[0]));
        assert!(!list.is_valid(3, |_| true));
        pools[1].links().previous.set(Some(pools[2]));
        assert!(list.is_valid(3, |_| true));
    });
}
