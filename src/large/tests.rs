use core::sync::atomic::Ordering;

use super::testing::TestSystem;
use super::*;
use crate::block::{SORTED_RANGE_BYTES, SORTED_STEP_BYTES};
use crate::config::{LARGE_DEPOT_BYTES_MIN, LARGE_DEPOT_LOOKS};

type TestHeap<'a> = LargeHeap<&'a TestSystem>;

fn class_of(bytes: usize) -> LargeClass {
    LargeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

fn take(heap: &TestHeap, class: LargeClass, blocks: usize) -> Magazine {
    let mut magazine = Magazine::EMPTY;
    for _ in 0..blocks {
        let block = heap.take(class).expect("memory");
        heap.report_taken(class.bytes() as isize);
        // SAFETY: a block that was just taken.
        unsafe { magazine.push(block.cast()) };
    }
    magazine
}

fn flush(heap: &TestHeap, class: LargeClass, magazine: Magazine) {
    // SAFETY: tests flush what this heap gave them for this class.
    unsafe { heap.flush(Shard::FIRST, class, magazine) }
}

fn assert_all_is_back(heap: &TestHeap, system: &TestSystem) {
    heap.empty_depots();
    assert_eq!(system.live_bytes(), 0);
    assert_eq!((heap.stock.bytes(), heap.cached()), (0, (0, 0)));
    assert!(heap.magazines.iter().all(|count| count.load(Ordering::SeqCst) == 0));
    assert_eq!(heap.taken_bytes.load(Ordering::SeqCst), 0);
}

#[test]
fn a_magazine_that_one_thread_left_is_the_next_ones() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let class = class_of(1024);
    assert!(heap.refill(Shard::FIRST, class).is_none());
    flush(&heap, class, take(&heap, class, 3));
    assert!(heap.refill(Shard::FIRST, class_of(1152)).is_none());
    let magazine = heap.refill(Shard::FIRST, class).expect("what was flushed");
    assert_eq!((magazine.len(), magazine.is_valid()), (3, true));
    assert_eq!(system.taken.load(Ordering::SeqCst), 3);
    flush(&heap, class, magazine);
    assert_all_is_back(&heap, &system);
}

#[test]
fn a_thread_finds_what_its_shard_was_left_and_else_what_another_was() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    // Of these magazines are not sorted.
    let class = class_of(2048);
    let shards = [Shard::at(3), Shard::at(0), Shard::at(1)];
    let leave_all = || {
        shards.map(|shard| {
            let magazine = take(&heap, class, 2);
            let first = magazine.first();
            // SAFETY: the heap gave it for this class.
            unsafe { heap.flush(shard, class, magazine) };
            first
        })
    };
    let firsts = leave_all();
    assert_eq!(heap.cached(), (6, 6 * 2048));
    for (shard, first) in shards.into_iter().zip(firsts) {
        let found = heap.refill(shard, class).expect("what this shard was left");
        assert_eq!(found.first(), first);
        flush(&heap, class, found);
        let found = heap.refill(Shard::FIRST, class).expect("what was flushed");
        // SAFETY: the heap gave it for this class.
        unsafe { heap.give_back(class, found) };
    }
    leave_all();
    for _ in shards {
        // Of a shard that was never left anything, behind all that were.
        let found = heap.refill(Shard::at(7), class).expect("what another shard was left");
        // SAFETY: as above.
        unsafe { heap.give_back(class, found) };
    }
    assert!(heap.refill(Shard::at(7), class).is_none());
    leave_all();
    assert_all_is_back(&heap, &system);
}

#[test]
fn the_depots_of_all_shards_are_bounded_together() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let class = class_of(8192);
    let blocks = 8;
    for number in 0..4 * LARGE_DEPOT_BYTES_MIN / (blocks * class.bytes()) {
        let magazine = take(&heap, class, blocks);
        // SAFETY: the heap gave it for this class.
        unsafe { heap.flush(Shard::at(number), class, magazine) };
        assert!(heap.stock.bytes() <= heap.depot_bytes_max());
    }
    for shard in Shard::all() {
        let len = heap.shard(shard).lock(class).len();
        assert!(len > 0 && len < 3 * LARGE_DEPOT_MAGAZINES / SHARD_COUNT, "{shard:?}: {len}");
    }
    assert_all_is_back(&heap, &system);
}

#[test]
fn blocks_that_came_back_in_no_order_are_handed_out_by_where_they_lie_in_a_range() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let class = class_of(1024);
    let mut blocks = core::iter::from_fn(|| heap.take(class)).take(32).collect::<Vec<_>>();
    heap.report_taken(32 * 1024);
    blocks.sort_unstable();
    let mut magazine = Magazine::EMPTY;
    for index in 0..blocks.len() {
        // SAFETY: a block that was taken above; each one comes once, for 11 and 32 have no common factor.
        unsafe { magazine.push(blocks[index * 11 % blocks.len()].cast()) };
    }
    flush(&heap, class, magazine);
    let mut magazine = heap.refill(Shard::FIRST, class).expect("what was flushed");
    let popped: Vec<_> = core::iter::from_fn(|| magazine.pop()).collect();
    // No two of these blocks are as near to each other as such a step is long.
    let steps = |block| address_of(block) % SORTED_RANGE_BYTES / SORTED_STEP_BYTES;
    assert_eq!(popped.len(), blocks.len());
    assert!(popped.iter().copied().is_sorted_by_key(steps));
    for block in blocks {
        // SAFETY: the magazine gave it.
        unsafe { heap.give(class, block) };
    }
    heap.report_taken(-32 * 1024);
    assert_all_is_back(&heap, &system);
}

#[test]
fn every_class_takes_and_gives_blocks_of_its_own_layout() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    for class in LargeClass::all() {
        flush(&heap, class, take(&heap, class, 2));
        let zeroed = heap.take_zeroed(class).expect("memory");
        heap.report_taken(class.bytes() as isize);
        // SAFETY: the block is the test's, and has so many bytes, which were written as zeros.
        let bytes = unsafe { core::slice::from_raw_parts(zeroed.as_ptr(), class.bytes()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        // SAFETY: the block is of this class.
        unsafe { heap.give(class, zeroed) };
        heap.report_taken(-(class.bytes() as isize));
    }
    assert_all_is_back(&heap, &system);
}

#[test]
fn the_depots_hold_no_more_than_they_may() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let most_in_a_magazine = 64 << 10;
    for _ in 0..40 {
        let taken = LargeClass::all()
            .map(|class| (class, take(&heap, class, most_in_a_magazine / class.bytes())));
        for (class, magazine) in taken.collect::<Vec<_>>() {
            flush(&heap, class, magazine);
            assert!(heap.stock.bytes() <= LARGE_DEPOT_BYTES_MIN);
        }
        // The next round comes long after this one, and misses nothing.
        (0..LARGE_DEPOT_LOOKS).for_each(|_| heap.bound.look(0));
    }
    assert_eq!(system.live_bytes(), heap.stock.bytes());
    assert!(system.live_bytes() > LARGE_DEPOT_BYTES_MIN / 2);
    assert_all_is_back(&heap, &system);
}

#[test]
fn the_depots_may_hold_a_fraction_of_what_is_taken() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    assert_eq!(heap.depot_bytes_max(), LARGE_DEPOT_BYTES_MIN);
    heap.report_taken(1 << 30);
    assert_eq!(heap.depot_bytes_max(), (1 << 30) / LARGE_TAKEN_PER_DEPOT_BYTE);
    // What one thread gave before another told that it took it.
    heap.report_taken(-(1 << 30) - 1);
    assert_eq!(heap.depot_bytes_max(), LARGE_DEPOT_BYTES_MIN);
}

/// As a thread does that asks for a depot's magazines of each class, and then frees all.
fn swing(heap: &TestHeap, classes: &[LargeClass]) {
    let magazines = |class: LargeClass| {
        let blocks = (64 << 10) / class.bytes();
        let magazine =
            move || heap.refill(Shard::FIRST, class).unwrap_or_else(|| take(heap, class, blocks));
        core::iter::repeat_with(magazine).take(LARGE_DEPOT_MAGAZINES)
    };
    let taken = classes.iter().flat_map(|class| magazines(*class).map(|taken| (*class, taken)));
    for (class, magazine) in taken.collect::<Vec<_>>() {
        flush(heap, class, magazine);
        assert!(heap.stock.bytes() <= heap.depot_bytes_max());
    }
}

#[test]
fn a_program_that_swings_pays_for_one_round() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let classes = [class_of(2048), class_of(4096), class_of(8192)];
    let round = || swing(&heap, &classes);
    round();
    let held = heap.stock.bytes();
    assert!(held > LARGE_DEPOT_BYTES_MIN / 2 && held <= LARGE_DEPOT_BYTES_MIN);
    let taken_first = system.taken.load(Ordering::SeqCst);
    round();
    let taken = system.taken.load(Ordering::SeqCst);
    assert!(taken > taken_first, "the depots held all from the start");
    // Each look finds the depots full, and none that they have been so since the one before.
    for _ in 0..3 * LARGE_DEPOT_LOOKS {
        round();
        heap.look_at_depots();
    }
    assert_eq!(system.taken.load(Ordering::SeqCst), taken);
    // The depots are drawn upon no more.
    for _ in 0..3 * LARGE_DEPOT_LOOKS {
        let before = heap.stock.bytes();
        heap.look_at_depots();
        let most = LARGE_MAGAZINES_PER_LOOK_MAX * (64 << 10);
        assert!(before - heap.stock.bytes() <= most, "one look takes long");
    }
    assert!(heap.stock.bytes() <= LARGE_DEPOT_BYTES_MIN && heap.stock.bytes() > 0);
    assert_all_is_back(&heap, &system);
}

#[test]
fn blocks_that_read_as_zero_are_missed_as_others_are_until_a_trim() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let class = class_of(8192);
    heap.bound.blocks_went(class, 1);
    let block = heap.take_zeroed(class).expect("memory");
    // SAFETY: the block is of this class.
    unsafe { heap.give(class, block) };
    assert_eq!(heap.depot_bytes_max(), LARGE_DEPOT_BYTES_MIN + class.bytes());
    assert_all_is_back(&heap, &system);
    assert_eq!(heap.depot_bytes_max(), LARGE_DEPOT_BYTES_MIN);
}

#[test]
fn what_is_no_longer_used_makes_place() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let (old, new) = (class_of(4096), class_of(8192));
    let fill = |class: LargeClass| {
        for _ in 0..2 * LARGE_DEPOT_MAGAZINES {
            flush(&heap, class, take(&heap, class, (64 << 10) / class.bytes()));
        }
    };
    fill(old);
    fill(new);
    let count = |class: LargeClass| heap.shard(Shard::FIRST).lock(class).len();
    assert!(count(old) < count(new), "{} and {}", count(old), count(new));
    assert_all_is_back(&heap, &system);
}

#[test]
fn without_memory_there_is_none() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    system.refuses.store(true, Ordering::SeqCst);
    for class in LargeClass::all() {
        assert!(heap.take(class).is_none() && heap.take_zeroed(class).is_none());
    }
}
