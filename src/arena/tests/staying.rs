//! Empty arenas that stay mapped: the system does not take them, or that would leave it with too many mappings.

use super::*;
use crate::config::{ARENA_RUNS_MAX, HUGE_PAGE_BYTES};

const PER_HUGE_PAGE: usize = HUGE_PAGE_BYTES / ARENA_BYTES;

#[test]
fn an_arena_that_the_system_does_not_take_is_offered_once() {
    // Beyond what may stay empty without a reason.
    const COUNT: usize = EMPTY_ARENAS_MAX + 200;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * COUNT);
    pass(&arenas, YOUNG_MILLISECONDS);
    pages.refuses_release.store(true, Ordering::SeqCst);
    pools.chunks(63).for_each(|of_one| give(&arenas, of_one.iter().copied()));
    assert_eq!(counts(&arenas), (COUNT, COUNT));
    assert_eq!(pages.refused.load(Ordering::SeqCst), COUNT - EMPTY_ARENAS_FIRST);
    // The reserve is none of those that stay.
    assert_eq!(idle(&arenas), 63 * EMPTY_ARENAS_FIRST);
    // Each look offers some again, lest they stay for ever.
    pass(&arenas, LOOK_MILLISECONDS);
    let offered = COUNT - EMPTY_ARENAS_FIRST + STAYING_PER_LOOK_MAX;
    assert_eq!(pages.refused.load(Ordering::SeqCst), offered);
    // They serve like others.
    let again = take(&arenas, 63 * COUNT);
    assert_eq!(pages.mapped.load(Ordering::SeqCst), COUNT);
    give(&arenas, again);
    pages.refuses_release.store(false, Ordering::SeqCst);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn all_arenas_that_were_not_taken_are_offered_in_turn() {
    const COUNT: usize = 3 * STAYING_PER_LOOK_MAX;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * COUNT));
    pages.refuses_release.store(true, Ordering::SeqCst);
    arenas.release_free();
    let staying = || -> Vec<NonNull<u8>> {
        let mut lists = arenas.lists.lock();
        let mut leaving = lists.unlink_staying(STAYING_PER_LOOK_MAX);
        let mut starts = Vec::new();
        while let Some(arena) = leaving {
            leaving = arena.next();
            starts.push(arena.start());
            lists.take_back(arena);
        }
        assert!(lists.is_valid());
        starts
    };
    let mut offered: Vec<NonNull<u8>> = (0..3).flat_map(|_| staying()).collect();
    offered.sort_unstable();
    offered.dedup();
    assert_eq!(offered.len(), COUNT);
    let pools = take(&arenas, 63 * COUNT);
    give(&arenas, pools);
    pages.refuses_release.store(false, Ordering::SeqCst);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn arenas_that_were_not_taken_go_at_later_looks() {
    const COUNT: usize = 20;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * COUNT));
    pages.refuses_release.store(true, Ordering::SeqCst);
    arenas.release_free();
    assert_eq!((counts(&arenas), idle(&arenas)), ((COUNT, COUNT), 0));
    pages.refuses_release.store(false, Ordering::SeqCst);
    pass(&arenas, LOOK_MILLISECONDS);
    assert_eq!((counts(&arenas), pages.live()), ((0, 0), 0));
}

/// The pools of the arenas that were mapped as one huge page, by arena, in the order of their addresses.
fn pools_in_a_row(arenas: &Arenas<&TestPages>) -> Vec<Vec<Pool>> {
    arenas.keep_to(ArenaBounds { huge_from: Some(0), ..ArenaBounds::NONE });
    let mut pools = take(arenas, 63 * PER_HUGE_PAGE);
    pools.sort_unstable_by_key(|pool| pool.address());
    pools.chunks(63).map(<[Pool]>::to_vec).collect()
}

#[test]
fn an_arena_between_others_stays_where_there_are_many_runs() {
    let pages = TestPages::default();
    pages.has_huge.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let mut pools = pools_in_a_row(&arenas);
    assert_eq!(counts(&arenas), (PER_HUGE_PAGE, 0));
    arenas.lists.lock().runs.fewer = ARENA_RUNS_MAX - 2;
    for number in [1, 3, 5] {
        give(&arenas, pools[number].drain(..));
    }
    arenas.release_free();
    assert_eq!(counts(&arenas), (PER_HUGE_PAGE - 1, 2), "one gap");
    assert_eq!(idle(&arenas), 0);
    assert_eq!(pages.purges.load(Ordering::SeqCst), 2);
    // Nothing is tried again, nor purged.
    arenas.release_free();
    pass(&arenas, LOOK_MILLISECONDS);
    assert_eq!(counts(&arenas), (PER_HUGE_PAGE - 1, 2));
    assert_eq!(pages.purges.load(Ordering::SeqCst), 2);
    // Those that stay serve before any is mapped, and their pools read as zero.
    let (pool, zeroed) = take_pool(&arenas).expect("a pool");
    assert!(zeroed && pages.mapped.load(Ordering::SeqCst) == PER_HUGE_PAGE);
    give(&arenas, [pool]);
    // Where some more would not make them many, they go with time.
    arenas.lists.lock().runs.fewer = ARENA_RUNS_MAX - 4;
    pass(&arenas, LOOK_MILLISECONDS);
    arenas.release_free();
    assert_eq!(counts(&arenas), (PER_HUGE_PAGE - 3, 0));
    give(&arenas, pools.into_iter().flatten());
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_cannot_be_purged_goes_although_there_are_many_runs() {
    let pages = TestPages::default();
    pages.has_huge.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let mut pools = pools_in_a_row(&arenas);
    arenas.lists.lock().runs.fewer = ARENA_RUNS_MAX - 1;
    pages.refuses_purge.store(true, Ordering::SeqCst);
    give(&arenas, pools[3].drain(..));
    assert_eq!(arenas.release_free(), ARENA_BYTES);
    assert_eq!(counts(&arenas), (PER_HUGE_PAGE - 1, 0));
    give(&arenas, pools.into_iter().flatten());
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_lies_in_the_page_of_headers_of_an_arena_that_stays_is_not_idle() {
    let pages = TestPages::default();
    pages.page_bytes.store(4 * POOL_BYTES, Ordering::SeqCst);
    pages.refuses_release.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63);
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(idle(&arenas), 0);
    let pool = take(&arenas, 1);
    assert_eq!(idle(&arenas), 2, "it is again once the arena is in use");
    give(&arenas, pool);
    pages.refuses_release.store(false, Ordering::SeqCst);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}
