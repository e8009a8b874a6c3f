use core::sync::atomic::Ordering;
use std::thread;

use super::*;
use crate::os::testing::TestPages;
use crate::os::{HAS_ARENAS, SystemPages};

const LEAF_SPAN: usize = 1 << Classes::BITS;

/// An arena that lies under a leaf of its own.
const FIRST: usize = 3 * LEAF_SPAN + 7 * ARENA_BYTES;

fn class_of(bytes: usize) -> SizeClass {
    SizeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

fn place(class: SizeClass, offset: usize) -> Option<Place> {
    Some(Place { class, offset })
}

#[test]
fn an_empty_map_knows_no_address() {
    let map = PoolMap::new();
    for bit in 0..usize::BITS {
        for address in [1 << bit, (1 << bit) - 1, usize::MAX << bit, usize::MAX >> bit] {
            assert_eq!(map.class_at(address), None, "{address:#x}");
            assert_eq!(map.place_at(address), None, "{address:#x}");
        }
    }
}

#[test]
fn each_class_is_found_in_all_of_its_pool_and_nowhere_else() {
    let pages = TestPages::default();
    let map = PoolMap::new();
    // In the first arena, and in one that has tables.
    let pools = [7, 9].map(|arena| arena * ARENA_BYTES + 5 * POOL_BYTES);
    for (pool, class) in
        pools.into_iter().flat_map(|pool| SizeClass::all().map(move |class| (pool, class)))
    {
        assert!(map.cover(pool - 5 * POOL_BYTES, &&pages));
        map.set(pool, class);
        assert_eq!(map.class_at(pool - 1), None);
        assert_eq!(map.class_at(pool + POOL_BYTES), None);
        let first = class.first_block(pool);
        let blocks = first..first + class.blocks_per_pool() as usize * class.bytes();
        for in_pool in 0..POOL_BYTES {
            let expected = blocks
                .contains(&in_pool)
                .then(|| Place { class, offset: (in_pool - first) % class.bytes() });
            assert_eq!(map.class_at(pool + in_pool), Some(class));
            assert_eq!(map.place_at(pool + in_pool), expected, "{class:?}, {in_pool}");
        }
        map.clear(pool);
        assert_eq!(map.class_at(pool), None);
    }
}

#[test]
fn arenas_far_apart_do_not_know_each_other() {
    let pages = TestPages::default();
    let map = PoolMap::new();
    let (one, other) = (class_of(48), class_of(512));
    // One between, the first and the last arena of the address space, and neighbours on both sides of a leaf's and
    // of a mid's border.
    let last = usize::MAX >> (usize::BITS - ADDRESS_BITS) & !(ARENA_BYTES - 1);
    let mut arenas = vec![7 * ARENA_BYTES, ARENA_BYTES, last];
    arenas.extend([LEAF_SPAN - ARENA_BYTES, LEAF_SPAN]);
    let root_bits = root_entries(Classes::BITS).ilog2();
    if root_bits > 0 {
        let mid_span = 1 << (ADDRESS_BITS - root_bits);
        arenas.extend([mid_span - ARENA_BYTES, mid_span]);
    }
    for arena in &arenas {
        assert!(map.cover(*arena, &&pages));
        map.set(*arena + POOL_BYTES, one);
        map.set(*arena + ARENA_BYTES - POOL_BYTES, other);
    }
    for arena in &arenas {
        assert_eq!(map.place_at(*arena), None);
        let first = one.first_block(*arena + POOL_BYTES);
        assert_eq!(map.place_at(*arena + POOL_BYTES + first + 50), place(one, 2));
        assert_eq!(map.place_at(*arena + 2 * POOL_BYTES), None);
        assert_eq!(map.place_at(*arena + ARENA_BYTES - 1), place(other, 511));
    }
    for arena in &arenas {
        map.clear(*arena + POOL_BYTES);
        assert_eq!(map.class_at(*arena + POOL_BYTES), None);
        assert_eq!(map.class_at(*arena + ARENA_BYTES - POOL_BYTES), Some(other));
    }
}

/// A map that covers an arena, and has no tables.
fn map_with_first_arena(pages: &TestPages) -> PoolMap {
    let map = PoolMap::new();
    assert!(map.cover(FIRST, &pages));
    assert_eq!(pages.tables(), 0);
    map
}

#[test]
fn the_first_arena_needs_no_table_and_stays_the_first() {
    let pages = TestPages::default();
    pages.refuses_tables.store(true, Ordering::SeqCst);
    let map = map_with_first_arena(&pages);
    let (first, last) = (FIRST + POOL_BYTES, FIRST + ARENA_BYTES - POOL_BYTES);
    map.set(first, class_of(16));
    map.set(last, class_of(24));
    assert!(!map.cover(FIRST + ARENA_BYTES, &&pages) && !map.cover(FIRST - ARENA_BYTES, &&pages));
    for (address, class) in [
        (FIRST - 1, None),
        (FIRST, None),
        (first, Some(class_of(16))),
        (first + POOL_BYTES, None),
        (last, Some(class_of(24))),
        (FIRST + ARENA_BYTES - 1, Some(class_of(24))),
        (FIRST + ARENA_BYTES, None),
    ] {
        assert_eq!(map.class_at(address), class, "{address:#x}");
    }
    map.clear(first);
    map.clear(last);
    assert!(map.cover(FIRST, &&pages), "it was unmapped, and is mapped again");
    map.set(last, class_of(32));
    assert_eq!((map.class_at(first), map.class_at(last)), (None, Some(class_of(32))));
    assert_eq!(pages.tables(), 0);
}

#[test]
fn of_threads_that_each_map_a_first_arena_one_has_it_without_tables() {
    for _ in 0..50 {
        let pages = TestPages::default();
        let map = PoolMap::new();
        let arena_of = |number| number * LEAF_SPAN;
        thread::scope(|scope| {
            for number in 1..4 {
                let (pages, map) = (&pages, &map);
                scope.spawn(move || {
                    assert!(map.cover(arena_of(number), &pages));
                    map.set(arena_of(number) + POOL_BYTES, class_of(number * 64));
                });
            }
        });
        for number in 1..4 {
            let class = map.class_at(arena_of(number) + POOL_BYTES);
            assert_eq!(class, Some(class_of(number * 64)));
        }
        assert_eq!(pages.tables(), 3, "a mid, and a leaf for each of the others");
    }
}

#[test]
fn a_table_is_mapped_once_for_all_arenas_that_it_covers() {
    let pages = TestPages::default();
    let map = map_with_first_arena(&pages);
    assert!(map.cover(LEAF_SPAN, &&pages));
    assert_eq!(pages.tables(), 2);
    for arena in (LEAF_SPAN..2 * LEAF_SPAN).step_by(ARENA_BYTES) {
        assert!(map.cover(arena, &&pages));
    }
    assert_eq!(pages.tables(), 2);
    assert!(map.cover(2 * LEAF_SPAN, &&pages));
    assert_eq!(pages.tables(), 3);
}

#[test]
fn threads_that_map_a_table_at_once_share_one() {
    for _ in 0..50 {
        let pages = TestPages::default();
        let map = map_with_first_arena(&pages);
        thread::scope(|scope| {
            for number in 1..4 {
                let (pages, map) = (&pages, &map);
                scope.spawn(move || {
                    assert!(map.cover(0, &pages));
                    map.set(number * POOL_BYTES, class_of(number * 64));
                });
            }
        });
        assert_eq!(pages.tables(), 2);
        for number in 1..4 {
            assert_eq!(map.class_at(number * POOL_BYTES), Some(class_of(number * 64)));
        }
    }
}

#[test]
fn what_cannot_be_covered_is_refused() {
    let pages = TestPages::default();
    let map = map_with_first_arena(&pages);
    pages.refuses_tables.store(true, Ordering::SeqCst);
    assert!(!map.cover(0, &&pages));
    pages.refuses_tables.store(false, Ordering::SeqCst);
    assert!(map.cover(0, &&pages));
    pages.refuses_tables.store(true, Ordering::SeqCst);
    assert!(map.cover(ARENA_BYTES, &&pages));
    assert!(!map.cover(LEAF_SPAN, &&pages));
    assert_eq!(map.class_at(LEAF_SPAN), None);
}

#[test]
fn what_lies_above_all_addresses_is_refused() {
    let pages = TestPages::default();
    let map = map_with_first_arena(&pages);
    // None on systems where addresses have no more bits.
    for bit in ADDRESS_BITS..usize::BITS {
        for address in [1 << bit, usize::MAX] {
            assert!(!map.cover(address, &&pages));
            assert_eq!(map.place_at(address), None);
        }
    }
    assert_eq!(pages.tables(), 0);
}

/// What the system maps with the first arena is as many tables as the second needs.
#[test]
#[cfg_attr(miri, ignore = "what the interpreter maps has no place beside other")]
fn the_first_arena_comes_with_all_tables_of_the_second_and_none_more() {
    let (pages, map) = (SystemPages::new(), PoolMap::new());
    let mapped = pages.map();
    assert_eq!(mapped.is_some(), HAS_ARENAS, "there is memory");
    let Some(arena) = mapped.map(|arena| arena.addr().get()) else { return };
    assert!(map.cover(arena, &pages) && map.cover(arena + ARENA_BYTES, &pages));
    let next = pages.map_table().expect("there is memory").addr().get();
    let tables = 2;
    let is_with_arena = (arena..arena + (2 + tables) * ARENA_BYTES).contains(&next);
    assert!(!is_with_arena, "a table is left");
}
