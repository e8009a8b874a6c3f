//! What a thread that ends leaves to the next one.

use super::*;
use crate::census::Stats;
use crate::config::{ArenaBounds, LOOK_MILLISECONDS, POOL_BYTES};

/// What a cache holds of each class.
fn held(owner: &Owner<'_>) -> Vec<usize> {
    SizeClass::all().map(|class| owner.cache.blocks(class)).collect()
}

/// Holds a loaded magazine, a spare one and virgin blocks of one class, and some of another.
fn hold_some(owner: &Owner<'_>) {
    let class = class_of(16);
    // The last of them are the first of a pool of their own, of which half are linked at once.
    let blocks = owner.alloc_many(class, POOL_BYTES / class.bytes() + 4);
    blocks.into_iter().for_each(|block| owner.free(class, block));
    owner.free(class_of(512), owner.alloc(class_of(512)).expect("memory"));
    let reserve = owner.cache.reserve(class);
    assert!(cache_bin::len_in(&reserve.spare) > 0 && owner.loaded(class) > 0);
    assert!(
        owner.cache.blocks(class)
            > cache_bin::len_in(&reserve.spare) + owner.loaded(class) as usize
    );
}

fn end(owner: &Owner<'_>) {
    owner.cache.flush_for_good(owner.heap, || Some(0));
}

/// Time passes, and somebody comes by.
fn pass(heap: &Heap<&TestPages>, pages: &TestPages) {
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    heap.tick();
}

fn cached(heap: &Heap<&TestPages>) -> usize {
    let mut stats = Stats::new();
    heap.survey(SHARD_COUNT, &mut stats);
    stats.settle();
    assert!(stats.is_balanced());
    stats.classes.iter().map(|class| class.cached_blocks).sum()
}

#[test]
fn the_next_thread_of_a_shard_has_what_the_one_before_held() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let first = Owner::new(&heap);
    for class in [class_of(8), class_of(48), class_of(512)] {
        let blocks = first.alloc_many(class, 30);
        blocks.into_iter().for_each(|block| first.free(class, block));
    }
    let held_before = held(&first);
    let capacity = first.cache.bin(class_of(48)).capacity();
    end(&first);
    assert_eq!(held(&first).iter().sum::<usize>(), 0);
    let all: usize = held_before.iter().sum();
    assert_eq!(cached(&heap), all, "what waits is seen");
    let next = Owner::new(&heap);
    assert_eq!(held(&next), held_before);
    assert!(next.is_valid());
    assert_eq!(cached(&heap), 0);
    // Each of them once.
    let mut blocks: Vec<_> = next.alloc_many(class_of(48), held_before[5]);
    assert_eq!(next.cache.blocks(class_of(48)), 0);
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), held_before[5]);
    blocks.into_iter().for_each(|block| next.free(class_of(48), block));
    assert_eq!(next.cache.bin(class_of(48)).capacity(), capacity);
    assert_eq!(held(&Owner::new(&heap)).iter().sum::<usize>(), 0, "but one after the other");
    next.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn the_next_thread_knows_of_the_requests_that_the_one_before_knew_of() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let begin = || {
        let cache = ThreadCache::new();
        let known = cache.keep_until_exit(&heap, 1, Config::DEFAULT.cache_limits());
        (Owner { cache, heap: &heap }, known)
    };
    let (owner, known) = begin();
    assert_eq!(known, None);
    hold_some(&owner);
    owner.cache.flush_for_good(&heap, || Some(7));
    let (owner, known) = begin();
    assert_eq!(known, Some(7));
    owner.cache.flush(&heap);
    end(&owner);
    assert_eq!(begin().1, None, "what holds nothing leaves nothing");
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_waits_goes_where_another_asks_for_all_that_is_free() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    hold_some(&owner);
    let all = held(&owner).iter().sum::<usize>();
    end(&owner);
    assert_eq!(cached(&heap), all);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn one_thread_waits_for_the_next_and_not_two() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (first, second) = (Owner::new(&heap), Owner::new(&heap));
    hold_some(&first);
    hold_some(&second);
    let first_held = held(&first);
    end(&first);
    end(&second);
    assert_eq!(held(&Owner::new(&heap)), first_held);
}

#[test]
fn each_shard_has_a_place_of_its_own() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owners = [(); 2].map(|()| Owner::on_cores(&heap, 2));
    owners.iter().for_each(hold_some);
    let all = owners.iter().flat_map(held).sum::<usize>();
    owners.iter().for_each(end);
    assert_eq!(cached(&heap), all, "both wait");
    let next = [(); 2].map(|()| Owner::on_cores(&heap, 2));
    for (before, after) in owners.iter().zip(&next) {
        assert_eq!(before.cache.shard.get(), after.cache.shard.get());
        assert_ne!(held(after).iter().sum::<usize>(), 0);
    }
    next.iter().for_each(|owner| owner.cache.flush(&heap));
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_others_have_asked_for_does_not_wait_and_much_does_not_either() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let asked = Owner::new(&heap);
    hold_some(&asked);
    asked.cache.flush_for_good(&heap, || None);
    let rich = Owner::new(&heap);
    assert_eq!(held(&rich).iter().sum::<usize>(), 0);
    for class in SizeClass::all() {
        let blocks = rich.alloc_many(class, 60);
        blocks.into_iter().for_each(|block| rich.free(class, block));
    }
    let bytes: usize = SizeClass::all().map(|c| rich.cache.blocks(c) * c.bytes()).sum();
    assert!(bytes > PARKED_BYTES_MAX);
    end(&rich);
    assert_eq!(held(&Owner::new(&heap)).iter().sum::<usize>(), 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_no_thread_comes_for_goes() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let staying = Owner::new(&heap);
    let ending = Owner::new(&heap);
    hold_some(&ending);
    end(&ending);
    // While another thread is in the shard, the second look finds what was there at the first.
    pass(&heap, &pages);
    assert_ne!(cached(&heap), 0);
    pass(&heap, &pages);
    assert_eq!(cached(&heap), 0);
    // What comes then is new to the next look.
    let ending = Owner::new(&heap);
    hold_some(&ending);
    end(&ending);
    pass(&heap, &pages);
    assert_ne!(cached(&heap), 0);
    // Where none is left, one look is enough.
    end(&staying);
    pass(&heap, &pages);
    assert_eq!(cached(&heap), 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_came_back_in_no_order_does_not_wait() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(512);
    let blocks = owner.alloc_many(class, 80 * ONE_WAY_FLUSHES as usize);
    // One of each pool after the other.
    for first in 0..8 {
        blocks.iter().skip(first).step_by(8).for_each(|block| owner.free(class, *block));
    }
    end(&owner);
    assert_eq!(cached(&heap), 0);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn of_blocks_of_another_shard_the_first_after_a_thread_has_taken_over_goes_home() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(8);
    let giver = Owner::on_cores(&heap, 2);
    let given = giver.alloc_many(class, 3);
    let before = Owner::on_cores(&heap, 2);
    let blocks = before.alloc_many(class, 30);
    blocks.into_iter().for_each(|block| before.free(class, block));
    let (loaded, capacity) = (before.loaded(class), before.cache.bin(class).capacity());
    assert!(0 < loaded && loaded < capacity, "{loaded} of {capacity}");
    end(&before);
    let taker = Owner::on_cores(&heap, 2);
    assert_eq!(taker.loaded(class), loaded);
    taker.free(class, given[0]);
    assert_eq!((taker.loaded(class), taker.cache.bin(class).capacity()), (loaded, capacity));
    // The next ones stay, as with a thread that has taken over nothing.
    taker.free(class, given[1]);
    let own = taker.alloc_many(class, 2);
    assert!(own[0] == given[1] && own[1] != given[0]);
    for block in [own[0], own[1], given[2]] {
        taker.free(class, block);
    }
    giver.cache.flush(&heap);
    taker.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_was_taken_over_and_never_used_is_left_to_the_next_thread_again() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let class = class_of(48);
    let first = Owner::new(&heap);
    let blocks = first.alloc_many(class, 30);
    let capacity = first.cache.bin(class).capacity();
    // A spare magazine and a virgin range, and nothing loaded.
    blocks.into_iter().for_each(|block| first.free(class, block));
    let loaded = first.cache.bin(class).unload();
    // SAFETY: the blocks are this heap's, of this class, and nobody has them.
    unsafe { heap.give_back(class, loaded) };
    let held_before = held(&first);
    assert!(held_before.iter().sum::<usize>() > 0);
    end(&first);
    for _ in 0..2 {
        let next = Owner::new(&heap);
        assert_eq!(held(&next), held_before);
        assert_eq!(next.cache.bin(class).capacity(), 0);
        end(&next);
    }
    let last = Owner::new(&heap);
    let block = last.alloc(class).expect("memory");
    assert_eq!(last.cache.bin(class).capacity(), capacity);
    last.free(class, block);
    last.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_watch_goes_on_while_something_waits() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    heap.arenas().keep_to(ArenaBounds { is_watched: true, ..ArenaBounds::NONE });
    let (idle, owner) = (Owner::new(&heap), Owner::new(&heap));
    end(&idle);
    assert!(!heap.arenas().news().take_watch(), "nothing waits");
    hold_some(&owner);
    heap.arenas().want_watch();
    assert!(heap.arenas().news().take_watch());
    // The watch has been there when the thread ends.
    heap.empty_depots();
    heap.arenas().release_free();
    end(&owner);
    assert!(cached(&heap) > 0 && !heap.arenas().news().take_watch(), "there is a watch");
    assert!(!heap.arenas().end_watch_if_nothing_is_idle());
    heap.empty_depots();
    heap.arenas().release_free();
    assert!(heap.arenas().end_watch_if_nothing_is_idle());
    assert_all_is_back(&heap, &pages);
}
