mod accounts;
mod swings;

use core::sync::atomic::Ordering;
use std::collections::HashSet;
use std::sync::mpsc;

use super::*;
use crate::block::Block;
use crate::block::Chain;
use crate::config::DEPOT_MAGAZINES;
use crate::config::{DEPOT_LOOK_FLUSHES, LOOK_MILLISECONDS, ONE_WAY_FLUSHES};
use crate::os::testing::TestPages;

type TestHeap<'a> = Heap<&'a TestPages>;

fn class_of(bytes: usize) -> SizeClass {
    SizeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

/// At most `most` blocks, virgin or not, as a magazine.
fn refill(heap: &TestHeap, class: SizeClass, most: u32) -> Option<Magazine> {
    match heap.refill(Shard::FIRST, class, most)? {
        Supply::Magazine(magazine) => Some(magazine),
        Supply::Fresh(mut range) => range.carve_chain(class, most).map(Chain::into_magazine),
    }
}

fn fill(heap: &TestHeap, class: SizeClass, magazines: usize, most: u32) -> Vec<Magazine> {
    (0..magazines).map(|_| refill(heap, class, most).expect("memory")).collect()
}

fn flush(heap: &TestHeap, class: SizeClass, magazine: Magazine) -> Direction {
    // SAFETY: tests flush what this heap gave them for this class.
    unsafe { heap.flush(class, magazine) }
}

fn give_back(heap: &TestHeap, class: SizeClass, magazine: Magazine) -> u32 {
    // SAFETY: tests give back what this heap gave them for this class.
    unsafe { heap.give_back(class, magazine) }
}

/// Gives everything back to the system, and checks that this is all there was.
fn assert_all_is_back(heap: &TestHeap, pages: &TestPages) {
    heap.empty_depots();
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

fn addresses(magazine: &mut Magazine) -> Vec<usize> {
    let mut found = Vec::new();
    while let Some(block) = magazine.pop() {
        found.push(block.as_ptr().addr());
    }
    found
}

#[test]
fn every_block_is_given_to_one_owner() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    for class in SizeClass::all() {
        let mut seen = HashSet::new();
        let mut total = 0;
        while total < 3 * class.blocks_per_pool() {
            let mut magazine = refill(&heap, class, 7).expect("memory");
            total += magazine.len();
            for address in addresses(&mut magazine) {
                assert!(seen.insert(address) && address.is_multiple_of(8));
            }
        }
        // Blocks of a class lie side by side: the next is at least a block away.
        let mut sorted: Vec<usize> = seen.into_iter().collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= class.bytes()));
    }
    // The test keeps all blocks, so that its arenas stay.
    assert!(pages.live() > 0);
}

#[test]
fn the_depot_gives_the_magazine_it_got_last() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(64);
    let mut magazines = fill(&heap, class, 2, 10);
    let (second, first) = (magazines.pop().expect("two"), magazines.pop().expect("two"));
    let head = second.first().expect("ten blocks");
    assert!(flush(&heap, class, first) == Direction::BothWays);
    assert!(flush(&heap, class, second) == Direction::BothWays);
    let mut top = refill(&heap, class, 10).expect("the depot's top");
    assert_eq!(top.pop(), Some(head));
    give_back(&heap, class, top);
    let mut alone = Magazine::EMPTY;
    // SAFETY: the block was taken from the magazine above.
    unsafe { alone.push(head) };
    give_back(&heap, class, alone);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_a_depot_has_for_nothing_goes_back_while_it_is_in_use() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    for magazine in fill(&heap, class, 10, 8) {
        flush(&heap, class, magazine);
    }
    assert_eq!(heap.lock(Shard::FIRST, class).depot().len(), 10);
    // Two magazines go out and come back, round after round: eight are of no use.
    for _ in 0..DEPOT_LOOK_FLUSHES {
        for magazine in fill(&heap, class, 2, 8) {
            flush(&heap, class, magazine);
        }
    }
    assert_eq!(heap.lock(Shard::FIRST, class).depot().len(), 2);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_one_way_phase_empties_the_depot() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let most = ONE_WAY_FLUSHES as usize + 1;
    for (number, magazine) in fill(&heap, class, most, 16).into_iter().enumerate() {
        let direction = flush(&heap, class, magazine);
        assert_eq!(direction != Direction::BothWays, number + 1 == most);
    }
    // Without the call that empties depots: the phase itself did.
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_refill_ends_the_one_way_phase() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(256);
    for magazine in fill(&heap, class, 2 * ONE_WAY_FLUSHES as usize, 8) {
        flush(&heap, class, magazine);
    }
    let magazine = refill(&heap, class, 8).expect("memory");
    assert!(flush(&heap, class, magazine) == Direction::BothWays);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_refill_gathers_free_blocks_of_several_pools_and_no_more_than_asked_for() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    // Eight blocks a pool; of each of five pools, three blocks come back.
    let mut held = Vec::new();
    for mut magazine in fill(&heap, class, 5, 8) {
        let mut back = Magazine::EMPTY;
        for number in 0..8 {
            let block = magazine.pop().expect("eight blocks");
            let owner = if number < 3 {
                &mut back
            } else {
                held.push(Magazine::EMPTY);
                held.last_mut().expect("just pushed")
            };
            // SAFETY: the block was taken from the magazine above.
            unsafe { owner.push(block) };
        }
        give_back(&heap, class, back);
    }
    assert_eq!(held.len(), 25);
    for expected in [10, 5] {
        let gathered = refill(&heap, class, 10).expect("free blocks");
        assert!(gathered.is_valid());
        assert_eq!(gathered.len(), expected);
        held.push(gathered);
    }
    for magazine in held {
        give_back(&heap, class, magazine);
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn the_rest_of_a_fresh_range_comes_back() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    for class in SizeClass::all() {
        let Some(Supply::Fresh(mut range)) = heap.refill(Shard::FIRST, class, 8) else {
            panic!("no virgin pool")
        };
        let block: core::ptr::NonNull<Block> = range.carve(class).expect("a block").cast();
        // SAFETY: the range came from this class of this heap.
        unsafe { heap.give_back_fresh(class, range) };
        let mut alone = Magazine::EMPTY;
        // SAFETY: the block was carved above.
        unsafe { alone.push(block) };
        give_back(&heap, class, alone);
    }
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 1, "an emptied pool serves the next class");
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_depots_hold_can_serve_another_class_when_memory_is_out() {
    let pages = TestPages::default();
    pages.most.store(1, Ordering::SeqCst);
    let heap = Heap::new(&pages);
    let (one, other) = (class_of(512), class_of(8));
    let magazines: Vec<Magazine> = core::iter::from_fn(|| refill(&heap, one, 8)).collect();
    assert_eq!(magazines.len(), 63);
    assert!(refill(&heap, other, 8).is_none());
    for magazine in magazines.into_iter().take(DEPOT_MAGAZINES) {
        flush(&heap, one, magazine);
    }
    assert!(refill(&heap, other, 8).is_none(), "all sixteen are in the depot");
    heap.empty_depots();
    assert!(refill(&heap, other, 8).is_some());
}

#[test]
fn threads_join_the_shard_with_the_fewest_and_no_more_shards_than_cores() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let joined: Vec<usize> = (0..6).map(|_| heap.join(3).index()).collect();
    assert_eq!(joined, [0, 1, 2, 0, 1, 2]);
    heap.leave(Shard::all().nth(1).expect("a second shard"));
    assert_eq!(heap.join(3).index(), 1);
    assert!((0..4 * SHARD_COUNT).all(|_| heap.join(1000).index() < SHARD_COUNT));
}

#[test]
fn a_magazine_goes_to_the_shard_that_its_blocks_came_from() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(64);
    let (producer, consumer) = (heap.join(2), heap.join(2));
    assert_ne!(producer, consumer);
    let Some(Supply::Fresh(mut range)) = heap.refill(producer, class, 10) else {
        panic!("no virgin pool");
    };
    let chain = range.carve_chain(class, 10).expect("ten blocks");
    let first = chain.first();
    flush(&heap, class, chain.into_magazine());
    assert!(heap.refill_from_shard(consumer, class, 10).is_none());
    match heap.refill(producer, class, 10) {
        Some(Supply::Magazine(magazine)) if magazine.first() == Some(first) => {
            give_back(&heap, class, magazine);
        }
        _ => panic!("the magazine did not come back to its shard"),
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_a_shard_without_threads_has_is_used_before_new_memory() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let (gone, alive) = (heap.join(2), heap.join(2));
    let Some(Supply::Fresh(range)) = heap.refill(gone, class, 4) else { panic!("no virgin pool") };
    assert!(heap.refill_from_shard(alive, class, 8).is_none());
    heap.leave(gone);
    let Some(Supply::Fresh(rest)) = heap.refill(alive, class, 8) else {
        panic!("no virgin blocks")
    };
    assert!(rest.pool() == range.pool());
    for range in [range, rest] {
        // SAFETY: the range came from this class of this heap.
        unsafe { heap.give_back_fresh(class, range) };
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_the_last_thread_of_a_shard_leaves_in_its_depots_serves_those_that_come_soon() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let (gone, alive) = (heap.join(2), heap.join(2));
    for magazine in fill(&heap, class, 4, 8) {
        flush(&heap, class, magazine);
    }
    assert_eq!(heap.lock(gone, class).depot.blocks(), 4 * 8);
    heap.leave(gone);
    let depot_len = |shard| heap.lock(shard, class).depot().len();
    let Some(Supply::Magazine(found)) = heap.refill(alive, class, 8) else { panic!("a depot") };
    assert_eq!(depot_len(gone), 3);
    give_back(&heap, class, found);
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    let other = refill(&heap, class_of(8), 1).expect("memory");
    assert_eq!(depot_len(gone), 0);
    give_back(&heap, class_of(8), other);
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn while_a_thread_is_in_a_shard_time_leaves_its_depots_alone() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let joined = heap.join(1);
    for magazine in fill(&heap, class, 4, 8) {
        flush(&heap, class, magazine);
    }
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    let other = refill(&heap, class_of(8), 1).expect("memory");
    assert_eq!(heap.lock(joined, class).depot().len(), 4);
    give_back(&heap, class_of(8), other);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn before_an_arena_is_mapped_any_shard_serves() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let (one, other) = (heap.join(2), heap.join(2));
    let pools = || heap.refill(one, class, 8).expect("memory");
    let taken: Vec<Supply> = (0..63).map(|_| pools()).collect();
    let mut ranges = taken.into_iter().filter_map(|supply| match supply {
        Supply::Fresh(range) => Some(range),
        Supply::Magazine(_) => None,
    });
    let chain = ranges.next().and_then(|mut range| range.carve_chain(class, 5)).expect("blocks");
    give_back(&heap, class, chain.into_magazine());
    assert!(matches!(heap.refill(other, class, 8), Some(Supply::Magazine(_))));
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 1);
    assert!(heap.refill(other, class, 8).is_some());
    assert_eq!(pages.mapped.load(Ordering::SeqCst), 2);
}

#[test]
fn a_child_has_one_thread_in_the_shard_that_it_joined() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let joined: Vec<Shard> = (0..9).map(|_| heap.join(3)).collect();
    heap.forget_other_threads(Some(joined[1]));
    let next: Vec<usize> = (0..3).map(|_| heap.join(3).index()).collect();
    assert_eq!(next, [0, 2, 0]);
    heap.forget_other_threads(None);
    assert_eq!(heap.join(3), Shard::FIRST);
}

#[test]
fn when_memory_is_out_any_shard_serves() {
    let pages = TestPages::default();
    pages.most.store(1, Ordering::SeqCst);
    let heap = Heap::new(&pages);
    let class = class_of(512);
    let (one, other) = (heap.join(2), heap.join(2));
    let taken: Vec<Supply> = core::iter::from_fn(|| heap.refill(one, class, 7)).collect();
    assert_eq!(taken.len(), 63 + 63, "seven and one of each pool");
    assert!(heap.refill(other, class, 1).is_none());
    let Some(Supply::Fresh(mut range)) = taken.into_iter().next() else { panic!("no supply") };
    let chain = range.carve_chain(class, 7).expect("blocks");
    give_back(&heap, class, chain.into_magazine());
    assert!(heap.refill(other, class, 7).is_some());
}

#[test]
fn threads_exchange_blocks_through_the_heap_and_all_of_them_come_back() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let classes = [class_of(8), class_of(48), class_of(512)];
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let heap = &heap;
            scope.spawn(move || {
                for round in 0..400 {
                    let class = classes[(round + thread as usize) % 3];
                    let held = fill(heap, class, 1 + round % 50, 1 + thread * 9);
                    for (number, magazine) in held.into_iter().enumerate() {
                        if number % 3 == 0 {
                            give_back(heap, class, magazine);
                        } else {
                            flush(heap, class, magazine);
                        }
                    }
                }
            });
        }
    });
    assert_all_is_back(&heap, &pages);
}

#[test]
fn locks_closed_for_a_fork_keep_others_out_until_they_open() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.lock_for_fork(SHARD_COUNT);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let heap = &heap;
        scope.spawn(move || {
            let magazine = refill(heap, class_of(64), 4).expect("memory");
            sender.send(()).expect("the test waits");
            give_back(heap, class_of(64), magazine);
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        // SAFETY: locked above, by this thread.
        unsafe { heap.unlock_after_fork(SHARD_COUNT) };
        receiver.recv().expect("the thread gets its blocks");
    });
    assert_all_is_back(&heap, &pages);
}
