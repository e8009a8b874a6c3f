//! What a thread holds, says that it holds, and gives back.

use super::*;
use crate::config::DEPOT_LOOK_FLUSHES;

#[test]
fn loaded_spare_and_virgin_blocks_are_counted_each() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(64);
    assert_eq!(owner.cache.blocks(class), 0);
    assert!(owner.cache.refill(&heap, class));
    let virgin = MAGAZINE_BLOCKS_FIRST as usize;
    assert_eq!(owner.cache.blocks(class), virgin);
    let block = owner.cache.pop_reserve_zeroed(class).expect("a virgin block");
    assert_eq!(owner.cache.blocks(class), virgin - 1);
    owner.free(class, block);
    assert_eq!(owner.cache.blocks(class), virgin, "one loaded, the others virgin");
    let loaded = owner.cache.bin(class).unload();
    owner.cache.reserve(class).spare.set(loaded);
    assert_eq!(owner.cache.blocks(class), virgin, "one spare, the others virgin");
    owner.cache.flush(&heap);
    assert_eq!(owner.cache.blocks(class), 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn is_valid_sees_a_wrong_spare_and_a_wrong_loaded_magazine() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(64);
    let blocks = owner.alloc_many(class, 4);
    blocks.into_iter().for_each(|block| owner.free(class, block));
    assert!(owner.cache.is_valid(class));
    let (head, len) = owner.cache.bin(class).unload().into_chain();
    for wrong in [len + 1, len - 1] {
        // SAFETY: none of its blocks is taken; it is only looked at.
        owner.cache.reserve(class).spare.set(unsafe { Magazine::from_chain(head, wrong) });
        assert!(!owner.cache.is_valid(class), "spare");
        let magazine = owner.cache.reserve(class).spare.replace(Magazine::EMPTY);
        owner.cache.bin(class).load(magazine);
        assert!(!owner.cache.is_valid(class), "loaded");
        let _ = owner.cache.bin(class).unload();
    }
    // SAFETY: the chain as it was.
    owner.cache.bin(class).load(unsafe { Magazine::from_chain(head, len) });
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_thread_is_in_a_shard_from_its_first_blocks_to_its_end() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    assert_eq!(ThreadCache::new().joined(), None);
    let owner = Owner::on_cores(&heap, 2);
    let other = Owner::on_cores(&heap, 2);
    assert_eq!(owner.cache.joined(), Some(Shard::FIRST));
    assert_eq!(other.cache.joined().map(Shard::index), Some(1));
    owner.cache.flush_for_good(&heap, || Some(0));
    assert_eq!(owner.cache.joined(), None);
    // Only so is the next one in the shard that was left.
    assert_eq!(Owner::on_cores(&heap, 2).cache.joined(), Some(Shard::FIRST));
    assert_eq!(Owner::on_cores(&heap, 3).cache.joined().map(Shard::index), Some(2));
}

/// Whether flushes of a class by `owner`, who holds something of it by `hold` each time, make its depot give
/// back what it has for nothing.
fn flushes_empty_the_depot(hold: impl Fn(&Owner<'_>, SizeClass)) -> bool {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(512);
    let mut magazine = Magazine::EMPTY;
    for block in owner.alloc_many(class, 8) {
        // SAFETY: a block of this test's.
        unsafe { magazine.push(block.cast()) };
    }
    owner.cache.flush(&heap);
    // SAFETY: blocks of this class and heap.
    let _ = unsafe { heap.flush(class, magazine) };
    for _ in 0..3 * DEPOT_LOOK_FLUSHES {
        hold(&owner, class);
        owner.cache.flush_class(&heap, class);
    }
    // What the depot has is a magazine, what pools have is virgin blocks or single ones.
    let is_emptied = !heap.has_magazine(Shard::FIRST, class);
    heap.empty_depots();
    is_emptied
}

#[test]
fn whoever_gives_back_anything_of_a_class_has_its_depot_look_at_what_it_has_for_nothing() {
    let block_of_pools =
        |owner: &Owner<'_>, class| match owner.heap.carve_new_pool(Shard::FIRST, class, 1) {
            Supply::Fresh(range) => range,
            Supply::Magazine(_) => panic!("a new pool has virgin blocks"),
        };
    assert!(!flushes_empty_the_depot(|_, _| ()), "a thread that holds nothing");
    assert!(flushes_empty_the_depot(|owner, class| {
        owner.cache.reserve(class).fresh.set(block_of_pools(owner, class));
    }));
    let magazine_of = |owner: &Owner<'_>, class| {
        let mut range = block_of_pools(owner, class);
        range.carve_chain(class, 1).expect("a block").into_magazine()
    };
    assert!(flushes_empty_the_depot(|owner, class| {
        owner.cache.reserve(class).spare.set(magazine_of(owner, class));
    }));
    assert!(flushes_empty_the_depot(|owner, class| {
        owner.cache.bin(class).load(magazine_of(owner, class));
    }));
}

/// Whether the magazines shrink where blocks come back in groups of so many neighbours.
fn shrinks_with_groups_of(blocks: usize) -> bool {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(32);
    let held = owner.alloc_many(class, 128 * (40 + ONE_WAY_FLUSHES as usize));
    let capacity = owner.cache.bin(class).capacity();
    let firsts = (0..128).step_by(blocks);
    let pools = held.chunks(128);
    let groups = firsts
        .flat_map(|first| pools.clone().flat_map(move |pool| pool.iter().skip(first).take(blocks)));
    groups.for_each(|block| owner.free(class, *block));
    let shrinks = owner.cache.bin(class).capacity() < capacity;
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
    shrinks
}

#[test]
fn few_neighbours_are_no_order_and_many_are() {
    assert!(shrinks_with_groups_of(2));
    assert!(shrinks_with_groups_of(3));
    assert!(!shrinks_with_groups_of(8));
    assert!(!shrinks_with_groups_of(16));
}
