use super::*;

const FIRST: usize = RESERVE_FIRST;

/// Two looks with so many idle pools at every moment between them.
fn rest(retention: &mut Retention, now: &mut usize, idle: usize) -> usize {
    retention.idle_is(idle);
    *now = now.wrapping_add(LOOK_MILLISECONDS);
    retention.look(*now, idle);
    *now = now.wrapping_add(LOOK_MILLISECONDS);
    retention.look(*now, idle).surplus
}

#[test]
fn what_exceeds_the_reserve_at_every_moment_goes() {
    // The clock may wrap.
    let (mut retention, mut now) = (Retention::FIRST, usize::MAX - LOOK_MILLISECONDS / 2);
    assert_eq!(rest(&mut retention, &mut now, FIRST / 2), 0);
    assert_eq!(rest(&mut retention, &mut now, FIRST / 2), 0);
    retention.idle_is(FIRST + 9);
    retention.look(now, FIRST + 9);
    assert_eq!(retention.look(now, FIRST + 9).surplus, 9);
    retention.idle_is(FIRST + 3);
    assert_eq!(retention.look(now.wrapping_add(LOOK_MILLISECONDS), FIRST + 500).surplus, 3);
}

#[test]
fn what_is_soon_missed_stays_the_next_time_up_to_a_bound() {
    let (mut retention, mut now) = (Retention::FIRST, 0);
    rest(&mut retention, &mut now, 0);
    retention.pools_went(1000);
    (0..2000).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), FIRST + 1000, "no more is regretted than went");
    retention.pools_went(1_000_000);
    (0..1_000_000).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), RESERVE_MOST);
    (0..1_000_000).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), RESERVE_MOST, "all is regretted");
}

#[test]
fn what_is_missed_late_is_not_regretted() {
    let (mut retention, mut now) = (Retention::FIRST, 0);
    rest(&mut retention, &mut now, 0);
    retention.pools_went(1000);
    now += 20 * LOOK_MILLISECONDS;
    retention.look(now, 0);
    (0..1000).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), FIRST);
}

/// Not one look for each tenth of a second since the clock's zero.
#[test]
fn what_is_missed_before_the_first_look_is_regretted() {
    let (mut retention, now) = (Retention::FIRST, 1_000_000);
    retention.begin(now);
    retention.pools_went(1000);
    retention.look(now + LOOK_MILLISECONDS, 0);
    (0..1000).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), FIRST + 500);
}

#[test]
fn the_reserve_fades_where_little_of_it_is_needed_and_stays_where_more_is() {
    let (mut retention, mut now) = (Retention::FIRST, 0);
    rest(&mut retention, &mut now, 0);
    retention.pools_went(1000);
    (0..1000).for_each(|_| retention.virgin_pool_taken());
    let full = FIRST + 1000;
    let little = full / RESERVE_PER_LITTLE_NEED;
    let mut look = |retention: &mut Retention, missing: usize| {
        retention.idle_is(full - missing);
        now += LOOK_MILLISECONDS;
        retention.look(now, full).surplus
    };
    (0..100).for_each(|_| assert_eq!(look(&mut retention, little + 1), 0));
    assert_eq!(retention.reserve(), full);
    assert_eq!(look(&mut retention, little), 0);
    assert!(retention.reserve() < full);
    (0..100).for_each(|_| {
        look(&mut retention, 0);
    });
    assert_eq!(retention.reserve(), RESERVE_LEAST);
}

#[test]
fn the_reserve_fades_where_what_is_idle_never_moves_and_stays_where_it_does() {
    let learnt = |most: usize| {
        let mut retention = Retention::FIRST;
        retention.pools_went(most);
        (0..most).for_each(|_| retention.virgin_pool_taken());
        retention.look(0, 0);
        retention
    };
    let full = FIRST + 100_000;
    let fades = |least: usize, most: usize| {
        let mut retention = learnt(100_000);
        let mut now = 0;
        retention.look(now, least);
        for _ in 0..10 {
            retention.idle_is(most);
            retention.idle_is(least);
            now += LOOK_MILLISECONDS;
            retention.look(now, least);
        }
        retention.reserve() < full
    };
    let little = full / RESERVE_PER_LITTLE_NEED;
    assert!(fades(full / 2, full / 2), "a program that keeps the rest in use now");
    assert!(fades(full / 10, full / 10 + little / 2));
    assert!(!fades(full / 10, full / 10 + 2 * little), "what comes and goes is of use");
    assert!(!fades(0, 0), "all is in use");
    assert!(!fades(full / 20, full / 20), "so little may stay");
}

#[test]
fn a_reserve_that_has_faded_learns_anew() {
    let (mut retention, mut now) = (Retention::FIRST, 0);
    (0..100).for_each(|_| {
        rest(&mut retention, &mut now, FIRST);
    });
    assert_eq!(retention.reserve(), RESERVE_LEAST);
    assert_eq!(retention.empty_arenas_kept(), EMPTY_ARENAS_LEAST);
    retention.pools_went(FIRST);
    (0..FIRST).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.reserve(), RESERVE_LEAST + FIRST);
}

#[test]
fn what_a_look_leaves_is_found_by_the_next() {
    let (mut retention, now) = (Retention::FIRST, 0);
    retention.look(now, FIRST + 500);
    assert_eq!(retention.look(now, FIRST + 500).surplus, 500);
    // As much is idle, but no more than 60 pools of it were to go and have not gone.
    assert!(!retention.end_look(440, Some(60)), "a look is to follow");
    assert_eq!(retention.look(now, FIRST + 500).surplus, 60);
}

#[test]
fn what_went_at_looks_that_follow_each_other_is_one_shrink_if_it_is_an_arenas() {
    let mut retention = Retention::FIRST;
    assert!(!retention.end_look(BLOCK_POOLS_PER_ARENA - 1, None));
    assert!(!retention.end_look(1, None), "looks with an end between");
    assert!(!retention.end_look(BLOCK_POOLS_PER_ARENA - 1, Some(5)));
    assert!(!retention.end_look(0, Some(5)));
    assert!(retention.end_look(1, None));
    assert!(!retention.end_look(0, None), "it is told of once");
    assert!(retention.end_look(BLOCK_POOLS_PER_ARENA, None));
}

#[test]
fn the_longer_ago_the_last_look_was_the_more_may_go_at_one() {
    let (mut retention, mut now) = (Retention::FIRST, 12_345);
    retention.begin(now);
    let mut most_after = |elapsed: usize| {
        now = now.wrapping_add(elapsed);
        retention.look(now, 0).most
    };
    assert_eq!(most_after(0), POOLS_AT_ONCE_MAX);
    assert_eq!(most_after(10), POOLS_AT_ONCE_MAX + 10 * POOLS_PER_MILLISECOND);
    assert_eq!(most_after(LOOK_MILLISECONDS + 12), POOLS_PER_LOOK_MAX);
    assert_eq!(most_after(usize::MAX / 2), POOLS_PER_LOOK_MAX);
    assert_eq!(most_after(0), POOLS_AT_ONCE_MAX, "what was before is no more");
    // Late, with an older time than the one before.
    assert_eq!(most_after(5_usize.wrapping_neg()), 0, "a look that is late");
}

#[test]
fn a_look_is_due_if_time_has_passed_since_the_one_before() {
    let (mut retention, now) = (Retention::FIRST, 12_345);
    assert!(retention.look(now, 0).is_due, "the first");
    assert!(!retention.look(now, 0).is_due);
    assert!(!retention.look(now + LOOK_MILLISECONDS - 1, 0).is_due);
    assert!(retention.look(now + 2 * LOOK_MILLISECONDS - 1, 0).is_due);
    assert!(!retention.look(now, 0).is_due, "one that comes late");
}

#[test]
fn the_reserve_fades_by_a_sixteenth_a_look() {
    let (mut retention, mut now) = (Retention::FIRST, 0);
    rest(&mut retention, &mut now, 0);
    retention.pools_went(16);
    (0..16).for_each(|_| retention.virgin_pool_taken());
    let reserve = FIRST + 16;
    retention.look(now, reserve);
    assert_eq!(retention.reserve(), reserve, "it was needed until this look");
    now += LOOK_MILLISECONDS;
    retention.look(now, reserve);
    assert_eq!(retention.reserve(), reserve / 16 * 15);
    now += 2 * LOOK_MILLISECONDS;
    retention.look(now, reserve);
    assert_eq!(retention.reserve(), reserve / 16 * 15 - 2 * (reserve / 16 * 15 / 16));
}

/// In 32 bits half of what the clock has is 25 days.
#[test]
fn after_a_rest_however_long_looks_are_due() {
    for rest in [usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX - LATE_MILLISECONDS_MAX] {
        let (mut retention, mut now) = (Retention::FIRST, 1000_usize);
        retention.begin(now);
        retention.pools_went(10);
        now = now.wrapping_add(rest);
        for _ in 0..3 {
            assert!(retention.look(now, 0).is_due, "after {rest}");
            now = now.wrapping_add(LOOK_MILLISECONDS);
        }
        (0..10).for_each(|_| retention.virgin_pool_taken());
        assert_eq!(retention.reserve(), FIRST, "all is forgotten");
    }
}

#[test]
fn a_look_that_comes_late_forgets_nothing() {
    let (mut retention, mut now) = (Retention::FIRST, 1000);
    rest(&mut retention, &mut now, 0);
    retention.pools_went(1000);
    (0..1000).for_each(|_| retention.virgin_pool_taken());
    retention.look(now, FIRST + 1000);
    retention.look(now - 5, FIRST + 1000);
    assert_eq!(retention.reserve(), FIRST + 1000);
    assert_eq!(retention.looked_at, now);
}

#[test]
fn what_is_idle_between_used_pools_goes_once_it_is_much_beyond_its_bound() {
    let most = IDLE_BETWEEN_ARENAS_MAX * BLOCK_POOLS_PER_ARENA;
    let fresh = || Retention::FIRST;
    let excess_in = |used_arenas| {
        [0, most, most + FIRST - 1, most + FIRST, 2 * most + FIRST]
            .map(|idle| fresh().excess(idle, used_arenas, 0))
    };
    let small = USED_ARENAS_PER_EMPTY * IDLE_BETWEEN_ARENAS_MAX;
    assert_eq!(excess_in(0), [0, 0, 0, FIRST, most + FIRST]);
    assert_eq!(excess_in(small), excess_in(0));
    // In a large heap, a share of it.
    assert_eq!(excess_in(2 * small), [0, 0, 0, 0, FIRST]);
}

/// One after which so many pools have come back, and none was taken.
fn amid_drop(given: usize) -> Retention {
    let mut retention = Retention::FIRST;
    (0..given).for_each(|_| retention.pool_given());
    retention
}

#[test]
fn amid_a_drop_as_much_is_idle_between_used_pools_as_some_times_those() {
    let most = IDLE_BETWEEN_ARENAS_MAX * BLOCK_POOLS_PER_ARENA;
    let used = most;
    let most_amid_drop = IDLE_PER_USED_AMID_DROP * used;
    assert_eq!(amid_drop(FIRST - 1).excess(most_amid_drop, 0, used), most_amid_drop - most);
    let mut retention = amid_drop(FIRST);
    assert_eq!(retention.excess(most_amid_drop + FIRST - 1, 0, used), 0);
    assert_eq!(retention.excess(most_amid_drop + FIRST, 0, used), FIRST);
    // What was left of that is not searched for again, until there is as much more.
    assert_eq!(retention.excess(most_amid_drop + 2 * FIRST - 1, 0, used), 0);
    assert_eq!(retention.excess(most_amid_drop + 5, 0, used), 0);
    assert_eq!(retention.excess(most_amid_drop + 5 + FIRST, 0, used), FIRST + 5);
    // Few are used: the bound is that of other times.
    assert_eq!(amid_drop(FIRST).excess(most + FIRST, 0, 1), FIRST);
    // Once pools are taken again, all of it is much, however many came before.
    let mut retention = amid_drop(1_000_000);
    (0..2 * FIRST / GIVEN_PER_TAKEN_AMID_DROP).for_each(|_| retention.pool_taken());
    assert_eq!(retention.excess(most + FIRST, 0, used), FIRST);
    // No heap is so large that it may be without end.
    let huge = amid_drop(FIRST).excess(RESERVE_MOST + FIRST, 0, RESERVE_MOST);
    assert_eq!(huge, FIRST);
}

#[test]
fn a_look_amid_a_drop_says_so_as_long_as_pools_come_back() {
    let mut retention = amid_drop(FIRST - 1);
    let mut now = LOOK_MILLISECONDS;
    assert!(!retention.look(now, 0).is_amid_drop);
    let mut look_after = |retention: &mut Retention, given: usize, taken: usize, looks: usize| {
        (0..given).for_each(|_| retention.pool_given());
        (0..taken).for_each(|_| retention.pool_taken());
        now += looks * LOOK_MILLISECONDS;
        retention.look(now, 0).is_amid_drop
    };
    assert!(!look_after(&mut retention, FIRST - 1, 0, 1), "not so many since the look before");
    assert!(look_after(&mut retention, 2 * FIRST, 2 * FIRST / GIVEN_PER_TAKEN_AMID_DROP, 1));
    assert!(look_after(&mut retention, FIRST, 0, 1));
    assert!(retention.look(0, 0).is_amid_drop, "a look that goes on");
    assert!(retention.is_amid_drop());
    assert!(!look_after(&mut retention, 0, 0, 1), "it is over");
    assert!(!retention.is_amid_drop(), "and so is what may be idle for it");
    let too_many = 2 * FIRST / GIVEN_PER_TAKEN_AMID_DROP + 1;
    assert!(!look_after(&mut retention, 2 * FIRST, too_many, 1), "too many were taken");
    assert!(!look_after(&mut retention, 2 * FIRST, 0, 2), "nobody knows when they came");
    assert!(look_after(&mut retention, FIRST, 0, 1), "another one");
}

#[test]
fn the_bounds_are_never_below_what_the_reserve_has_learnt() {
    let mut retention = Retention::FIRST;
    assert_eq!(retention.empty_arenas_most(10), EMPTY_ARENAS_MAX);
    assert_eq!(retention.empty_arenas_most(USED_ARENAS_PER_EMPTY * 300), 300);
    let learnt = 500 * BLOCK_POOLS_PER_ARENA;
    retention.pools_went(learnt - FIRST);
    (0..learnt).for_each(|_| retention.virgin_pool_taken());
    assert_eq!(retention.empty_arenas_most(10), 500);
    assert_eq!(retention.empty_arenas_most(USED_ARENAS_PER_EMPTY * 600), 600);
    assert_eq!(retention.excess(learnt + FIRST - 1, 10, 0), 0);
    assert_eq!(retention.excess(learnt + FIRST, 10, 0), FIRST);
}

#[test]
fn an_arena_is_young_for_a_while() {
    assert!(Retention::is_young(YOUNG_MILLISECONDS - 1));
    assert!(!Retention::is_young(YOUNG_MILLISECONDS));
}
