//! What the lists count, and what they decide by it.

use super::*;
use crate::config::{
    ARENAS_PER_GROWN_ARENA, ARENAS_PER_GROWTH_MIN, BLOCK_POOLS_PER_ARENA, CLAIMS_MAX,
};

/// Some arenas, each of which has one pool in use and all others idle.
fn sparse(arenas: &Arenas<&TestPages>, count: usize) -> Vec<Pool> {
    let pools = take(arenas, 63 * count);
    give_most(arenas, pools, 63)
}

/// Whether so many arenas may have idle pools between used ones, beside others that are full and others that
/// are empty and young.
fn may_be_idle(count: usize, full: usize, empty: usize) -> bool {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, 63 * (full + empty));
    let emptied = pools.split_off(63 * full);
    let mut given = take(&arenas, 63 * count);
    let kept: Vec<Pool> = given.iter().step_by(63).copied().collect();
    given.retain(|pool| !kept.iter().any(|of_kept| of_kept == pool));
    give(&arenas, emptied);
    give(&arenas, given);
    let stay = idle(&arenas) == 63 * empty + 62 * count;
    give(&arenas, pools.into_iter().chain(kept));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    stay
}

#[test]
fn a_large_heap_may_have_more_that_is_idle_and_empty_arenas_do_not_make_it_large() {
    // Beyond the bound, as many as make an excess worth while.
    const COUNT: usize = IDLE_BETWEEN_ARENAS_MAX + EMPTY_ARENAS_FIRST + 5;
    assert!(!may_be_idle(COUNT, 0, 0));
    assert!(may_be_idle(COUNT, 600, 0));
    assert!(!may_be_idle(COUNT, 300, 200));
}

#[test]
fn arenas_that_are_being_mapped_count_against_the_bound() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { most: Some(3), ..ArenaBounds::NONE });
    let pool = take(&arenas, 1);
    let mut lists = arenas.lists.lock();
    assert!(!lists.is_mapping() && !lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), Some((1, false)));
    assert!(lists.is_mapping() && !lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), Some((1, false)));
    assert!(lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), None);
    lists.end_mapping(1);
    assert!(lists.is_mapping() && !lists.is_at_bound());
    lists.end_mapping(1);
    assert!(!lists.is_mapping());
    drop(lists);
    give(&arenas, pool);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_forked_child_maps_what_no_other_thread_will() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { most: Some(1), ..ArenaBounds::NONE });
    assert!(arenas.lists.lock().begin_mapping().is_some());
    arenas.forget_other_threads();
    assert!(!arenas.lists.lock().is_mapping());
    give(&arenas, take(&arenas, 1));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_was_mapped_and_released_is_counted() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * 3));
    arenas.release_free();
    let stats = arenas.lists.lock().stats();
    assert_eq!((stats.mapped, stats.high_water, stats.mapped_ever), (0, 3, 3));
    assert_eq!((stats.released, stats.remapped), (3, 0));
    let pools = take(&arenas, 63 * 5);
    let stats = arenas.lists.lock().stats();
    assert_eq!((stats.mapped, stats.high_water, stats.mapped_ever), (5, 5, 8));
    assert_eq!((stats.released, stats.remapped), (3, 3), "as many as had better stayed");
    give(&arenas, pools);
    arenas.release_free();
}

#[test]
fn growth_is_told_of_ever_more_seldom() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut grown_at = Vec::new();
    let mut pools = Vec::new();
    for mapped in 1..=1000 {
        pools.extend(take(&arenas, 63));
        if arenas.news().take_growth() {
            grown_at.push(mapped);
        }
    }
    let mut expected = vec![ARENAS_PER_GROWTH_MIN];
    while let Some(last) = expected.last()
        && let next = last + ARENAS_PER_GROWTH_MIN.max(last / ARENAS_PER_GROWN_ARENA)
        && next <= 1000
    {
        expected.push(next);
    }
    assert_eq!(grown_at, expected);
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn no_watch_is_wanted_while_nothing_is_idle() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut lists = arenas.lists.lock();
    lists.bounds.is_watched = true;
    lists.want_watch();
    assert!(!lists.take_told().wants_watch);
    lists.idle = 1;
    lists.want_watch();
    assert!(lists.take_told().wants_watch);
    lists.want_watch();
    assert!(!lists.take_told().wants_watch, "one is enough");
}

/// How many of 30 young arenas stay when the last of them becomes empty with so many pools resident.
fn stay_with_resident(resident: usize) -> usize {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, 63);
    // What is not to be resident is purged before the rest comes back.
    give(&arenas, pools.split_off(resident));
    arenas.release_free();
    assert_eq!(idle(&arenas), 0);
    let mut others = Vec::new();
    let mut filling = Vec::new();
    while others.len() < 63 * 29 {
        let (pool, _) = take_pool(&arenas).expect("a pool");
        if pool.arena() == pools[0].arena() { filling.push(pool) } else { others.push(pool) }
    }
    // Taken they count as resident: purged once more.
    give(&arenas, filling);
    arenas.release_free();
    give(&arenas, others);
    assert_eq!(counts(&arenas), (30, 29));
    give(&arenas, pools);
    let stay = counts(&arenas).1;
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    stay
}

#[test]
fn a_young_arena_stays_if_half_of_it_is_resident() {
    assert_eq!(stay_with_resident(BLOCK_POOLS_PER_ARENA / 2), 30);
    assert_eq!(stay_with_resident(BLOCK_POOLS_PER_ARENA / 2 - 1), 29);
}

/// Takes many more virgin pools than went, and returns how many more empty arenas are kept for that.
fn kept_more_after(arenas: &Arenas<&TestPages>, went: usize) -> usize {
    let before = arenas.lists.lock().retention.empty_arenas_kept();
    let pools = take(arenas, (counts(arenas).1 + 2 * went + 20) * 63);
    let after = arenas.lists.lock().retention.empty_arenas_kept();
    give(arenas, pools);
    arenas.release_free();
    assert_eq!(arenas.pages.live(), 0);
    after - before
}

#[test]
fn as_many_pools_are_regretted_as_went_when_arenas_became_empty() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * (EMPTY_ARENAS_FIRST + 10));
    pass(&arenas, YOUNG_MILLISECONDS);
    give(&arenas, pools);
    assert_eq!(counts(&arenas).0, EMPTY_ARENAS_FIRST);
    assert_eq!(kept_more_after(&arenas, 10), 10);
}

#[test]
fn as_many_pools_are_regretted_as_went_since_they_were_of_no_use() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * (EMPTY_ARENAS_FIRST + 10)));
    pass(&arenas, LOOK_MILLISECONDS);
    pass(&arenas, LOOK_MILLISECONDS);
    assert_eq!(counts(&arenas).0, EMPTY_ARENAS_FIRST);
    assert_eq!(kept_more_after(&arenas, 10), 10);
}

#[test]
fn no_more_is_claimed_than_asked_for() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let kept = sparse(&arenas, CLAIMS_MAX + 3);
    let claim = |most| {
        let mut claims = [const { None }; CLAIMS_MAX];
        let mut lists = arenas.lists.lock();
        let claimed = lists.claim_idle(most, 1, &mut claims);
        for claim in claims.iter().flatten() {
            lists.settle(claim, false, 0);
        }
        assert!(lists.is_valid());
        (claimed, claims.iter().flatten().count())
    };
    assert_eq!(claim(1), (62, 1), "all of an arena or none");
    assert_eq!(claim(62), (62, 1));
    assert_eq!(claim(63), (2 * 62, 2));
    assert_eq!(claim(usize::MAX), (CLAIMS_MAX * 62, CLAIMS_MAX), "as many as there are places");
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}
