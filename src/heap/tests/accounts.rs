//! What a heap counts, in which order it goes through its shards, and what its own checks see.

use super::*;
use crate::census::Stats;

/// A used pool of `class` in the first shard, with so many blocks out.
fn pool_with(heap: &TestHeap, class: SizeClass, blocks: u32) -> Pool {
    let (pool, zeroed) = heap.arenas.map_and_take_pool(Shard::FIRST).expect("memory");
    pool.init(Shard::FIRST, class, zeroed);
    let _ = pool.carve(class, blocks).carve_chain(class, blocks);
    pool
}

fn is_valid(heap: &TestHeap, shard: Shard, class: SizeClass) -> bool {
    heap.lock(Shard::FIRST, class).is_valid(shard, class, usize::MAX)
}

#[test]
fn a_class_is_valid_with_pools_of_its_own_that_are_neither_full_nor_empty() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let per_pool = class.blocks_per_pool();
    let second = Shard::all().nth(1).expect("a second shard");
    for (blocks, is_lawful) in [(3, true), (0, false), (per_pool, false)] {
        let pool = pool_with(&heap, class, blocks);
        heap.lock(Shard::FIRST, class).used.push(pool);
        assert_eq!(is_valid(&heap, Shard::FIRST, class), is_lawful, "{blocks} blocks in use");
        assert!(!is_valid(&heap, second, class), "of another shard");
        heap.lock(Shard::FIRST, class).used.remove(pool);
    }
    let pool = pool_with(&heap, class, 3);
    let foreign = class_of(504);
    heap.lock(Shard::FIRST, foreign).used.push(pool);
    assert!(!is_valid(&heap, Shard::FIRST, foreign), "of another class");
}

#[test]
fn a_class_with_a_pool_in_disorder_is_not_valid() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    // The pool stays in use by these.
    let _ = refill(&heap, class, 3).expect("memory");
    let back = refill(&heap, class, 3).expect("memory");
    let first = back.first().expect("three blocks");
    give_back(&heap, class, back);
    assert!(is_valid(&heap, Shard::FIRST, class));
    // SAFETY: a free block, with which nothing more is done but to look at it.
    unsafe { crate::block::link(first, Some(first)) };
    assert!(!is_valid(&heap, Shard::FIRST, class));
}

#[test]
fn a_shards_stock_is_the_bytes_in_its_own_depots() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (one, other) = (heap.join(2), heap.join(2));
    let stocks = || [one, other].map(|shard| heap.stock(shard).bytes());
    let class = class_of(64);
    let Some(Supply::Fresh(mut range)) = heap.refill(other, class, 10) else { panic!("no pool") };
    let chain = range.carve_chain(class, 10).expect("ten blocks");
    flush(&heap, class, chain.into_magazine());
    assert_eq!(stocks(), [0, 10 * 64]);
    let magazine = refill(&heap, class_of(8), 7).expect("memory");
    flush(&heap, class_of(8), magazine);
    assert_eq!(stocks(), [7 * 8, 10 * 64]);
    assert_all_is_back(&heap, &pages);
    assert_eq!(stocks(), [0, 0]);
}

#[test]
fn the_shards_behind_a_threads_own_come_first_and_its_own_last() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let joined: Vec<Shard> = (0..4).map(|_| heap.join(4)).collect();
    let order = |shard| heap.joined_from(shard).map(Shard::index).collect::<Vec<usize>>();
    assert_eq!(order(joined[0]), [1, 2, 3, 0]);
    assert_eq!(order(joined[1]), [2, 3, 0, 1]);
    assert_eq!(order(joined[3]), [0, 1, 2, 3]);
}

#[test]
fn what_a_depot_has_for_nothing_goes_when_threads_give_back_without_it() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    for magazine in fill(&heap, class, 10, 8) {
        flush(&heap, class, magazine);
    }
    for _ in 0..3 * DEPOT_LOOK_FLUSHES {
        heap.give_back_unused(Shard::FIRST, class);
    }
    assert_eq!(heap.lock(Shard::FIRST, class).depot().len(), 0);
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_survey_sees_the_depots_and_the_arenas() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(128);
    let held = refill(&heap, class, 5).expect("memory");
    let cached = refill(&heap, class, 4).expect("memory");
    flush(&heap, class, cached);
    let mut stats = Stats::new();
    heap.survey(SHARD_COUNT, &mut stats);
    stats.settle();
    let seen = &stats.classes[class.index()];
    assert_eq!((seen.cached_blocks, seen.used_blocks, seen.pools), (4, 5, 1));
    assert_eq!(stats.arenas.mapped, 1);
    // Another pool was in use, and is resident; the others never were.
    let other = refill(&heap, class_of(64), 1).expect("memory");
    give_back(&heap, class_of(64), other);
    let mut stats = Stats::new();
    heap.survey(SHARD_COUNT, &mut stats);
    stats.settle();
    assert_eq!((stats.arenas.unused_pools, stats.arenas.unused_pools_purged), (62, 61));
    give_back(&heap, class, held);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_fork_closes_the_locks_of_classes_too() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(64);
    let magazine = refill(&heap, class, 4).expect("memory");
    flush(&heap, class, magazine);
    heap.lock_for_fork(SHARD_COUNT);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let heap = &heap;
        scope.spawn(move || {
            // The depot's: no lock of the arenas is between.
            let magazine = refill(heap, class, 4).expect("a magazine");
            sender.send(()).expect("the test waits");
            give_back(heap, class, magazine);
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        // SAFETY: locked above, by this thread.
        unsafe { heap.unlock_after_fork(SHARD_COUNT) };
        receiver.recv().expect("the thread gets its blocks");
    });
    assert_all_is_back(&heap, &pages);
}
