//! What the lists count, and what they decide by it.

use super::super::header::{ALL_POOLS, Header};
use super::*;
use crate::config::{
    ARENAS_PER_GROWN_ARENA, ARENAS_PER_GROWTH_MIN, BLOCK_POOLS_PER_ARENA, CLAIM_IDLE_POOLS_MIN,
    CLAIM_STEPS_MAX, CLAIMS_MAX, GIVEN_PER_TAKEN_AMID_DROP, POPULATED_FROM_ARENAS,
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
    // A few at a time, while others are taken, and some after those.
    give(&arenas, take(&arenas, 63 * empty / GIVEN_PER_TAKEN_AMID_DROP));
    for some in given.chunks(62) {
        give(&arenas, some.iter().copied());
        give(&arenas, take(&arenas, 5));
    }
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
    assert!(!lists.transit.is_awaited() && !lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), Some((1, false)));
    assert!(lists.transit.is_awaited() && !lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), Some((1, false)));
    assert!(lists.is_at_bound());
    assert_eq!(lists.begin_mapping(), None);
    lists.transit.end_mapping(1);
    assert!(lists.transit.is_awaited() && !lists.is_at_bound());
    lists.transit.end_mapping(1);
    assert!(!lists.transit.is_awaited());
    drop(lists);
    give(&arenas, pool);
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
    lists.want_watch(false);
    assert!(!lists.take_told().wants_watch);
    lists.want_watch(true);
    assert!(lists.take_told().wants_watch);
    lists.want_watch(true);
    assert!(!lists.take_told().wants_watch, "one is enough");
    drop(lists);
    assert!(!arenas.news().take_watch());
    arenas.end_watch();
    arenas.want_watch();
    assert!(arenas.news().take_watch());
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

/// Pools of a new arena that was populated are idle when they are taken, and missed all the same.
#[test]
fn a_heap_that_swings_learns_to_keep_arenas_that_are_populated() {
    const COUNT: usize = POPULATED_FROM_ARENAS + EMPTY_ARENAS_MAX + 100;
    let pages = TestPages::default();
    pages.can_populate.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let mapped_by_round = || {
        let before = arenas.lists.lock().stats().mapped_ever;
        give(&arenas, take(&arenas, 63 * COUNT));
        arenas.lists.lock().stats().mapped_ever - before
    };
    assert_eq!(mapped_by_round(), COUNT);
    assert_eq!(mapped_by_round(), COUNT - EMPTY_ARENAS_MAX);
    for _ in 0..5 {
        mapped_by_round();
    }
    assert_eq!(mapped_by_round(), 0);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn no_more_is_claimed_than_asked_for() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let kept = sparse(&arenas, CLAIMS_MAX + 3);
    let claim = |most| {
        let mut claims = [const { None }; CLAIMS_MAX];
        let mut lists = arenas.lists.lock();
        let claimed = lists.claim_idle(ClaimOrder::SparsestFirst, most, 1, &mut claims);
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

/// How many pools are claimed in turn, and of which arenas, by their place in `of`.
fn claim_in_turn(arenas: &Arenas<&TestPages>, of: &[Pool]) -> (usize, Vec<usize>) {
    let mut claims = [const { None }; CLAIMS_MAX];
    let mut lists = arenas.lists.lock();
    let idle = lists.idle;
    let claimed = lists.claim_idle(ClaimOrder::InTurn, usize::MAX, 1, &mut claims);
    assert_eq!(idle - lists.idle, claimed);
    let mut places = Vec::new();
    for claim in claims.iter().flatten() {
        let is_claimed = |pool: &Pool| claim.arena == Arena::of(*pool);
        places.push(of.iter().position(is_claimed).expect("an arena of the test"));
        lists.settle(claim, false, 0);
    }
    assert!(lists.is_valid());
    (claimed, places)
}

#[test]
fn arenas_are_claimed_in_their_turn_if_not_just_a_few_pools_are_idle() {
    const FEW: usize = CLAIM_IDLE_POOLS_MIN - 1;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    // Two thirds of the arenas have enough, a third too little; the newest come first.
    let count = CLAIMS_MAX * 3;
    let pools = take(&arenas, 63 * count);
    let firsts: Vec<Pool> = pools.chunks(63).map(|of_arena| of_arena[0]).rev().collect();
    for (number, of_arena) in pools.chunks(63).rev().enumerate() {
        let idle_pools = if number % 3 == 0 { FEW } else { FEW + 1 };
        give(&arenas, of_arena[1..=idle_pools].iter().copied());
    }
    let enough: Vec<usize> = (0..count).filter(|number| number % 3 != 0).collect();
    let (first, second) = enough.split_at(CLAIMS_MAX);
    let expected = |places: &[usize]| (places.len() * (FEW + 1), places.to_vec());
    assert_eq!(claim_in_turn(&arenas, &firsts), expected(first));
    assert_eq!(claim_in_turn(&arenas, &firsts), expected(second));
    assert_eq!(claim_in_turn(&arenas, &firsts), expected(first), "they go round");
    // The one whose turn it is goes.
    let next = second[0];
    let (start, end) = (63 * (count - 1 - next), 63 * (count - next));
    let left = pools[start..end].iter().copied();
    give(&arenas, left.clone().take(1).chain(left.skip(1 + FEW + 1)));
    let leaving = arenas.lists.lock().unlink_empty(0, 1);
    arenas.release(leaving);
    let rest_and_first: Vec<usize> = second[1..].iter().chain(&first[..1]).copied().collect();
    assert_eq!(claim_in_turn(&arenas, &firsts), expected(&rest_and_first));
    let (gone, kept): (Vec<_>, Vec<_>) =
        pools.iter().enumerate().partition(|(place, _)| (start..end).contains(place));
    assert_eq!(gone.len(), 63);
    let is_given = |place: usize| {
        let number = count - 1 - place / 63;
        let idle_pools = if number.is_multiple_of(3) { FEW } else { FEW + 1 };
        (1..=idle_pools).contains(&(place % 63))
    };
    give(&arenas, kept.into_iter().filter(|(place, _)| !is_given(*place)).map(|(_, pool)| *pool));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_search_for_arenas_that_are_worth_it_ends() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * (CLAIM_STEPS_MAX + 2));
    let firsts: Vec<Pool> = pools.chunks(63).map(|of_arena| of_arena[0]).rev().collect();
    // Only the oldest has any.
    give(&arenas, pools[1..=CLAIM_IDLE_POOLS_MIN].iter().copied());
    assert_eq!(claim_in_turn(&arenas, &firsts), (0, vec![]));
    assert_eq!(
        claim_in_turn(&arenas, &firsts),
        (CLAIM_IDLE_POOLS_MIN, vec![CLAIM_STEPS_MAX + 1]),
        "the next one goes on"
    );
    give(&arenas, pools[..1].iter().chain(&pools[1 + CLAIM_IDLE_POOLS_MIN..]).copied());
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_is_purged_is_counted() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let kept = sparse(&arenas, 3);
    arenas.release_free();
    assert_eq!(arenas.lists.lock().stats().pools_purged_ever, 3 * 62);
    let again = take(&arenas, 10);
    give(&arenas, again.into_iter().chain(kept));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// Breaks the header of the one arena, with a pool in use and all others idle or purged, by `change`, and says
/// whether the lists are then valid.
fn is_valid_with(is_purged: bool, change: impl FnOnce(&Header)) -> bool {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let kept = sparse(&arenas, 1);
    if is_purged {
        arenas.release_free();
    }
    let arena = Arena::of(kept[0]);
    let before = [&arena.header().free, &arena.header().dirty, &arena.header().resident]
        .map(|word| word.get());
    change(arena.header());
    let is_valid = arenas.lists.lock().is_valid();
    arena.header().free.set(before[0]);
    arena.header().dirty.set(before[1]);
    arena.header().resident.set(before[2]);
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    is_valid
}

#[test]
fn is_valid_sees_each_wrong_word_of_a_header() {
    let is_valid_with_idle = |change: fn(&Header)| is_valid_with(false, change);
    assert!(is_valid_with_idle(|_| ()) && is_valid_with(true, |_| ()));
    // One pool fewer is free than its list says, idle or not.
    let one_fewer = |header: &Header| header.free.set(header.free.get() & (header.free.get() - 1));
    assert!(!is_valid_with(true, one_fewer));
    assert!(!is_valid_with_idle(one_fewer));
    // None is resident: it belongs to the other list.
    assert!(!is_valid_with_idle(|header| {
        header.dirty.set(0);
        header.resident.set(0);
    }));
    // A pool was given to a class, and its memory is not there.
    assert!(!is_valid_with_idle(|header| header.dirty.set(header.dirty.get() | 1)));
    // The pool of headers is free, and another is not.
    assert!(!is_valid_with_idle(|header| header
        .free
        .set((header.free.get() & (header.free.get() - 1)) | 1)));
}

#[test]
fn an_arena_shows_which_of_its_pools_are_free_and_which_resident() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut used = take(&arenas, 9);
    give(&arenas, used.drain(6..));
    let shown: Vec<(usize, bool, bool)> = Arena::of(used[0])
        .pools()
        .map(|(pool, is_free, is_resident)| (pool.index(), is_free, is_resident))
        .collect();
    let expected: Vec<_> = (1..64).map(|index| (index, index > 6, index <= 9)).collect();
    assert_eq!(shown, expected);
    give(&arenas, used);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_purged_arena_has_the_pools_of_its_first_page_as_they_were() {
    let pages = TestPages::default();
    pages.page_bytes.store(4 * POOL_BYTES, Ordering::SeqCst);
    pages.refuses_release.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 10);
    let arena = Arena::of(pools[0]);
    give(&arenas, pools);
    assert_eq!(arenas.release_free(), 7 * POOL_BYTES);
    let header = arena.header();
    assert_eq!((header.dirty.get(), header.resident.get() & ALL_POOLS), (0b1110, 0b1110));
    assert!(arena.stays());
    assert_eq!(idle(&arenas), 0);
    pages.refuses_release.store(false, Ordering::SeqCst);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_pool_that_was_in_use_twice_is_not_taken_for_a_virgin_one() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    for is_virgin in [true, false, false, false] {
        let (pool, zeroed) = take_pool(&arenas).expect("a pool");
        assert_eq!((pool.index(), zeroed), (1, is_virgin));
        give(&arenas, [pool]);
    }
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_run_without_resident_pools_costs_no_purge() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    // Pools 1 to 10 are in use but for the third; behind them none was ever.
    let mut pools = take(&arenas, 10);
    let third = pools.remove(2);
    give(&arenas, [third]);
    assert_eq!(arenas.release_free(), POOL_BYTES);
    assert_eq!(pages.purged_bytes.load(Ordering::SeqCst), POOL_BYTES);
    assert_eq!(pages.purges.load(Ordering::SeqCst), 1);
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// Pools for another thread to give back.
struct Given(Vec<Pool>);

// SAFETY: a pool that is in no list belongs to whoever has it.
unsafe impl Send for Given {}

impl Given {
    fn give(self, arenas: &Arenas<&TestPages>) {
        give(arenas, self.0);
    }
}

#[test]
fn an_arena_that_becomes_empty_while_it_is_purged_goes_after_that() {
    let pages: &'static TestPages = Box::leak(Box::default());
    let arenas: &'static Arenas<&TestPages> = Box::leak(Box::new(Arenas::new(pages)));
    let mut pools = take(arenas, 63 * (EMPTY_ARENAS_FIRST + 1));
    pass(arenas, YOUNG_MILLISECONDS);
    let last = Given(pools.split_off(pools.len() - 1));
    give(arenas, pools);
    assert_eq!(counts(arenas), (EMPTY_ARENAS_FIRST + 1, EMPTY_ARENAS_FIRST));
    let meanwhile = move || last.give(arenas);
    *pages.during_purge.lock().expect("no panic before") = Some(Box::new(meanwhile));
    assert_eq!(arenas.purge_idle(usize::MAX, ClaimOrder::SparsestFirst), 62);
    // What was empty stays, and no more than that.
    assert_eq!(counts(arenas), (EMPTY_ARENAS_FIRST, EMPTY_ARENAS_FIRST));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}
