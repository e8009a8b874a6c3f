//! Whose arenas a shard takes its pools of.

use super::*;

fn one() -> Shard {
    Shard::at(1)
}

fn two() -> Shard {
    Shard::at(2)
}

/// So many pools for a shard, which are not given back by themselves.
fn take_for(arenas: &Arenas<&TestPages>, shard: Shard, count: usize) -> Vec<Pool> {
    let taken = || arenas.take_pool(shard).or_else(|| arenas.map_and_take_pool(shard));
    (0..count).map(|_| taken().expect("a pool").0).collect()
}

/// The arena of the next pool for a shard, which goes back.
fn next_for(arenas: &Arenas<&TestPages>, shard: Shard) -> NonNull<u8> {
    let pool = take_for(arenas, shard, 1);
    let arena = pool[0].arena();
    give(arenas, pool);
    arena
}

fn mapped(arenas: &Arenas<&TestPages>) -> usize {
    counts(arenas).0
}

#[test]
fn a_shard_takes_idle_pools_of_its_own_arenas_first() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut of_first = take_for(&arenas, Shard::FIRST, 63);
    let mut of_one = take_for(&arenas, one(), 63);
    let (first, other) = (of_first[0].arena(), of_one[0].arena());
    give(&arenas, of_first.drain(60..));
    give(&arenas, of_one.drain(50..));
    // Fewer are free in that of the other, which is what decides among a shard's own.
    assert_eq!(next_for(&arenas, one()), other);
    assert_eq!(next_for(&arenas, Shard::FIRST), first);
    let own = take_for(&arenas, one(), 13);
    assert!(own.iter().all(|pool| pool.arena() == other));
    // Before memory that is not there yet, those of others, whoever they are.
    assert_eq!(next_for(&arenas, one()), first);
    assert_eq!(next_for(&arenas, two()), first);
    assert_eq!(mapped(&arenas), 2);
    give(&arenas, of_first.into_iter().chain(of_one).chain(own));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_empty_arena_stays_its_shards_until_another_takes_it() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let of_first = take_for(&arenas, Shard::FIRST, 63);
    let mut of_one = take_for(&arenas, one(), 63);
    let first = of_first[0].arena();
    give(&arenas, of_first);
    give(&arenas, of_one.drain(62..));
    // Rather than the pool of one whose shard will want that itself.
    let of_two = take_for(&arenas, two(), 1);
    assert_eq!(of_two[0].arena(), first);
    // From then on it is that shard's.
    assert_eq!(next_for(&arenas, two()), first);
    assert_eq!(next_for(&arenas, one()), of_one[0].arena());
    give(&arenas, of_two);
    assert_eq!(counts(&arenas), (2, 1));
    assert_eq!(next_for(&arenas, two()), first);
    give(&arenas, of_one);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn pools_without_memory_are_taken_of_any_arena_before_one_is_mapped() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut of_first = take_for(&arenas, Shard::FIRST, 63);
    let of_one = take_for(&arenas, one(), 1);
    let (first, other) = (of_first[0].arena(), of_one[0].arena());
    assert_eq!(take_for(&arenas, Shard::FIRST, 1)[0].arena(), other);
    give(&arenas, of_first.drain(3..));
    assert_eq!(arenas.purge_idle(usize::MAX, ClaimOrder::SparsestFirst), 60);
    assert_eq!(idle(&arenas), 0);
    // Now both have such.
    let own = [Shard::FIRST, one()].map(|shard| take_for(&arenas, shard, 1)[0].arena());
    assert_eq!((own, mapped(&arenas)), ([first, other], 2));
}

#[test]
fn of_arenas_that_are_mapped_together_one_is_used_after_the_other() {
    let pages = TestPages::default();
    pages.has_huge.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { huge_from: Some(0), ..ArenaBounds::NONE });
    let pools = take_for(&arenas, one(), 62);
    assert!(pools.iter().all(|pool| pool.arena() == pools[0].arena()));
    assert_eq!(take_for(&arenas, two(), 1)[0].arena(), pools[0].arena());
    assert_ne!(take_for(&arenas, two(), 1)[0].arena(), pools[0].arena());
}

#[test]
fn the_arena_that_became_empty_last_is_the_first_to_go() {
    for last in [0, 1] {
        let pages = TestPages::default();
        let arenas = Arenas::new(&pages);
        let mut of_each = [Shard::FIRST, one()].map(|shard| take_for(&arenas, shard, 63));
        let expected = of_each[last][0].arena();
        of_each.rotate_left(last + 1);
        of_each.into_iter().for_each(|pools| give(&arenas, pools));
        let leaving = arenas.lists.lock().unlink_empty(1, 1).expect("an empty arena");
        assert_eq!(leaving.start(), expected);
        arenas.lists.lock().take_back(leaving);
        arenas.release_free();
        assert_eq!(pages.live(), 0);
    }
}

#[test]
fn what_is_in_use_for_moments_is_told_when_the_clock_goes_round() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let arena = Arena::of(take_for(&arenas, one(), 1)[0]);
    let begun = u32::MAX as usize - 2;
    arena.begin_use(two(), begun);
    assert_eq!(arena.home(), two());
    for milliseconds in [0, 1, 3, 1 << 20] {
        assert_eq!(arena.used_for(begun.wrapping_add(milliseconds)), milliseconds);
    }
}
