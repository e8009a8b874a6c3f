//! What depots pile up of drops that a program has been seen to take back, and when they let go of it.

use super::super::swing::Swing;
use super::*;
use crate::config::{
    SHRUNK_PER_ARENA, SWING_BYTES_MAX, SWING_FLUSHES, SWING_LOOKS, SWING_SLACK,
    UNUSED_BYTES_PER_LOOK_MAX,
};

/// Blocks of a magazine, in what follows: a pool of 512 bytes, so that each magazine given back is a pool emptied.
const BLOCKS: u32 = 8;

/// Magazines of a drop that the depot has no place for.
const DROP: usize = 3 * DEPOT_MAGAZINES;

fn piled(heap: &TestHeap, class: SizeClass) -> u32 {
    heap.lock(Shard::FIRST, class).depot.piled()
}

fn drop_all(heap: &TestHeap, class: SizeClass, magazines: Vec<Magazine>) {
    for magazine in magazines {
        flush(heap, class, magazine);
    }
}

/// What was dropped of `class` and taken back once.
fn swung(heap: &TestHeap, class: SizeClass) -> Vec<Magazine> {
    let held = fill(heap, class, DROP, BLOCKS);
    drop_all(heap, class, held);
    assert_eq!(piled(heap, class), 0, "what is known of the first drop");
    fill(heap, class, DROP, BLOCKS)
}

/// Time passes for one look, and an exchange of another class has it looked at.
fn look(heap: &TestHeap, pages: &TestPages) {
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    let other = refill(heap, class_of(8), 1).expect("memory");
    give_back(heap, class_of(8), other);
}

#[test]
fn what_was_taken_back_once_is_kept_the_next_time() {
    let pages = TestPages::default();
    let class = class_of(512);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    let heads: Vec<_> = held.iter().map(Magazine::first).collect();
    drop_all(&heap, class, held);
    let kept = heap.lock(Shard::FIRST, class).depot.blocks();
    assert_eq!(kept, DROP * BLOCKS as usize);
    assert!(heap.is_valid());
    // All of it comes back, the last first, and no pool is taken.
    let back = fill(&heap, class, DROP, BLOCKS);
    assert!(back.iter().map(Magazine::first).eq(heads.into_iter().rev()));
    assert!(back.iter().all(|magazine| magazine.len() == BLOCKS && magazine.is_valid()));
    assert_eq!(piled(&heap, class), 0);
    drop_all(&heap, class, back);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_comes_in_ones_and_twos_teaches_nothing() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.join(1);
    let class = class_of(512);
    // The depots are full, as far as can be seen, so that nothing finds a place.
    heap.stock(Shard::FIRST).comes(usize::MAX / 2);
    for _ in 0..100 {
        let held = fill(&heap, class, SWING_FLUSHES as usize - 1, BLOCKS);
        drop_all(&heap, class, held);
    }
    assert_eq!(heap.allowed_bytes.load(Ordering::Relaxed), 0);
    let held = fill(&heap, class, SWING_FLUSHES as usize, BLOCKS);
    drop_all(&heap, class, held);
    let held = fill(&heap, class, SWING_FLUSHES as usize, BLOCKS);
    assert!(heap.allowed_bytes.load(Ordering::Relaxed) > 0);
    drop_all(&heap, class, held);
    heap.stock(Shard::FIRST).leaves(usize::MAX / 2);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_drop_that_nobody_takes_back_is_not_kept_the_next_time() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.join(1);
    let class = class_of(512);
    for _ in 0..3 {
        let held = fill(&heap, class, DROP, BLOCKS);
        drop_all(&heap, class, held);
        (0..2 * SWING_LOOKS).for_each(|_| look(&heap, &pages));
        assert_eq!(piled(&heap, class), 0);
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_larger_drop_takes_the_pile_along() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.join(1);
    let class = class_of(512);
    let mut held = swung(&heap, class);
    let most = (DROP - DEPOT_MAGAZINES) as u32 * BLOCKS * (SWING_SLACK + 1) / SWING_SLACK;
    held.extend(fill(&heap, class, 7 * DROP, BLOCKS));
    let rest = held.split_off(2 * DROP);
    drop_all(&heap, class, held);
    // As many again find no place: a quarter of them goes.
    let left = piled(&heap, class);
    assert!(left < most && left > most / 2, "{left}");
    drop_all(&heap, class, rest);
    assert_eq!(piled(&heap, class), 0);
    heap.release_free();
    assert_eq!(pages.live(), 0, "as after any drop");
}

#[test]
fn what_lies_in_a_pile_without_need_goes_after_a_while() {
    let pages = TestPages::default();
    let class = class_of(512);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    let before = piled(&heap, class);
    assert!(before > 0);
    (0..SWING_LOOKS).for_each(|_| look(&heap, &pages));
    assert_eq!(piled(&heap, class), before, "not at the first look, which may follow at once");
    (0..2 * SWING_LOOKS).for_each(|_| look(&heap, &pages));
    assert_eq!(piled(&heap, class), 0);
    assert_eq!(heap.allowed_bytes.load(Ordering::Relaxed), 0, "and is not kept again");
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_is_of_use_stays_in_the_pile() {
    let pages = TestPages::default();
    let class = class_of(512);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    for _ in 0..4 * SWING_LOOKS {
        let held = fill(&heap, class, DROP, BLOCKS);
        drop_all(&heap, class, held);
        look(&heap, &pages);
    }
    assert!(piled(&heap, class) > 0);
    // A part that is not asked for goes, and the rest stays.
    for _ in 0..4 * SWING_LOOKS {
        let held = fill(&heap, class, DEPOT_MAGAZINES, BLOCKS);
        drop_all(&heap, class, held);
        look(&heap, &pages);
    }
    let rest = piled(&heap, class);
    assert!(rest > 0 && rest <= (DEPOT_MAGAZINES as u32 + 1) * BLOCKS, "{rest}");
    assert_all_is_back(&heap, &pages);
}

#[test]
fn few_leave_a_pile_at_one_look() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.join(1);
    let (class, most) = (class_of(512), UNUSED_BYTES_PER_LOOK_MAX / 512);
    let magazines = 2 * most / BLOCKS as usize;
    // The second is a little larger than what is taken back of the first.
    for magazines in [magazines, magazines + magazines / 10] {
        let held = fill(&heap, class, magazines, BLOCKS);
        drop_all(&heap, class, held);
    }
    let mut before = piled(&heap, class) as usize;
    assert!(before > most);
    for _ in 0..3 * SWING_LOOKS {
        look(&heap, &pages);
        let after = piled(&heap, class) as usize;
        assert!(before - after <= most + BLOCKS as usize);
        before = after;
    }
    assert_eq!(before, 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn piles_make_way_for_another_class_before_many_arenas_are_mapped() {
    let pages = TestPages::default();
    let class = class_of(512);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    let (before, live) = (piled(&heap, class) as usize, pages.live());
    let arenas = (before * class.bytes()).div_ceil(SHRUNK_PER_ARENA);
    let other = class_of(504);
    while pages.live() < live + arenas {
        let _ = refill(&heap, other, BLOCKS).expect("memory");
    }
    assert!(piled(&heap, class) as usize * class.bytes() * 8 <= heap.arenas.mapped_bytes());
}

#[test]
fn a_swing_above_the_bound_is_not_learnt() {
    let class = class_of(512);
    let mut swing = Swing::NONE;
    let most = (SWING_BYTES_MAX / class.bytes()) as u32;
    swing.go(class, most);
    assert_eq!(swing.take(7), 7);
    swing.go(class, 8);
    assert_eq!(swing.take(7), 0, "more than the bound has gone");
    swing.go(class, u32::MAX);
    assert_eq!(swing.take(7), 0);
    swing.look(0);
    swing.go(class, 1);
    assert_eq!((swing.take(7), swing.take(7)), (1, 0));
}

#[test]
fn a_drop_may_be_a_little_larger_than_the_one_before() {
    let mut swing = Swing::NONE;
    assert!(!swing.permits(0, 1));
    swing.allow(100);
    assert!(
        swing.permits(90, 10 + 100 / SWING_SLACK) && !swing.permits(90, 11 + 100 / SWING_SLACK)
    );
    assert_eq!((swing.disallow(30), swing.disallow(100), swing.disallow(1)), (30, 70, 0));
}

#[test]
fn depots_keep_no_more_of_all_classes_than_the_bound() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.join(1);
    let class = class_of(512);
    heap.allowed_bytes.store(SWING_BYTES_MAX, Ordering::Relaxed);
    for _ in 0..3 {
        let held = fill(&heap, class, DROP, BLOCKS);
        drop_all(&heap, class, held);
        assert_eq!(piled(&heap, class), 0);
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn who_wants_memory_back_gets_what_is_piled_up_and_it_is_not_kept_again() {
    let pages = TestPages::default();
    let class = class_of(512);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    assert!(piled(&heap, class) > 0);
    assert_all_is_back(&heap, &pages);
    assert_eq!(heap.allowed_bytes.load(Ordering::Relaxed), 0);
    let held = fill(&heap, class, DROP, BLOCKS);
    drop_all(&heap, class, held);
    assert_eq!(piled(&heap, class), 0);
}

#[test]
fn who_has_not_asked_for_memory_back_does_not_wait_for_piles() {
    let pages = TestPages::default();
    let (class, other) = (class_of(512), class_of(504));
    let heap = Heap::new(&pages);
    let joined = heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    let held = fill(&heap, other, 3, BLOCKS);
    drop_all(&heap, other, held);
    let before = piled(&heap, class);
    heap.empty_places();
    assert!(before > 0 && piled(&heap, class) == before);
    assert_eq!(heap.lock(joined, other).depot().len(), 0);
    // Nor does who comes by after the last thread of the shard has left: it goes with the looks.
    heap.leave(joined);
    look(&heap, &pages);
    assert_eq!(piled(&heap, class), 0, "few enough for one look");
    assert_all_is_back(&heap, &pages);
}

#[test]
fn blocks_of_one_word_are_not_piled_up() {
    let pages = TestPages::default();
    let class = class_of(8);
    let heap = Heap::new(&pages);
    heap.join(1);
    let held = swung(&heap, class);
    drop_all(&heap, class, held);
    assert_eq!(piled(&heap, class), 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn classes_that_have_no_place_in_the_depot_pile_up_all_the_same() {
    let pages = TestPages::default();
    let class = class_of(16);
    let heap = Heap::new(&pages);
    heap.join(1);
    heap.stock(Shard::FIRST).comes(usize::MAX / 2);
    let held = swung(&heap, class);
    let (magazines, in_order) =
        (held.len(), held.iter().map(Magazine::first).rev().collect::<Vec<_>>());
    drop_all(&heap, class, held);
    assert_eq!(piled(&heap, class) as usize / BLOCKS as usize, magazines);
    assert!(heap.lock(Shard::FIRST, class).depot().is_valid());
    let back = fill(&heap, class, magazines, BLOCKS);
    assert!(back.iter().map(Magazine::first).eq(in_order));
    drop_all(&heap, class, back);
    heap.stock(Shard::FIRST).leaves(usize::MAX / 2);
    assert_all_is_back(&heap, &pages);
}
