//! Looks at what is idle: what goes, what is told of it, and when the next one comes.

use super::*;
use crate::config::{BLOCK_POOLS_PER_ARENA, EMPTY_ARENAS_LEAST};

#[test]
fn a_look_is_told_of_once() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    assert!(!arenas.news().take_look());
    pass(&arenas, LOOK_MILLISECONDS);
    assert!(arenas.news().take_look());
    assert!(!arenas.news().take_look());
    pass(&arenas, LOOK_MILLISECONDS - 1);
    assert!(!arenas.news().take_look(), "no look is due");
}

/// What a program that takes pools and gives them back in bursts has between used ones at the end of some.
fn idle_after_bursts(pools: usize, pause: usize) -> usize {
    const ARENAS: usize = 400;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let all = take(&arenas, 63 * ARENAS);
    // Every other one.
    give(&arenas, all.iter().copied().step_by(2));
    for _ in 0..50 {
        pages.milliseconds.fetch_add(pause, Ordering::SeqCst);
        let looks = (0..20).filter(|_| arenas.tick()).count();
        assert_eq!(looks, 1);
        for _ in 0..pools / 50 {
            give(&arenas, take(&arenas, 50));
        }
        let burst = take(&arenas, pools);
        give(&arenas, burst);
    }
    let idle = idle(&arenas);
    give(&arenas, all.into_iter().skip(1).step_by(2));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    idle
}

/// A look comes with the first request of a burst, and what came before it is not the drop of a structure.
#[test]
fn what_is_of_no_use_goes_in_a_program_that_works_in_bursts() {
    const RESERVE: usize = EMPTY_ARENAS_FIRST * BLOCK_POOLS_PER_ARENA;
    for (pools, pause) in [(900, 1000), (1100, 1000), (1100, 100), (2200, 150)] {
        let idle = idle_after_bursts(pools, pause);
        assert!(idle < pools + RESERVE, "{idle} of {pools} pools each {pause} ms");
    }
}

/// Whether a look had to leave something to the next one.
fn looks_at_once(arenas: &Arenas<&TestPages>) -> bool {
    let looked_at = arenas.looked_at.load(Ordering::SeqCst);
    arenas.pages.milliseconds().wrapping_sub(looked_at) >= LOOK_MILLISECONDS
}

/// What follows upon a look.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// The program is taken to have shrunk.
    Shrink,
    /// Another look, at once.
    Look,
}

/// What two looks do to so many idle pools between used ones and so many empty arenas: pools purged, arenas
/// released, and what is next.
fn after_two_looks(between: usize, empty: usize, is_refused: bool) -> (usize, usize, Next) {
    let pages = TestPages::default();
    // What is too much between used ones would go at once, before any look.
    pages.refuses_purge.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let emptied = take(&arenas, 63 * empty);
    // Of each of these arenas all pools but one at the most are given.
    let pools = take(&arenas, 63 * between.div_ceil(62));
    let (mut kept, mut given) = (Vec::new(), Vec::new());
    for (number, pool) in pools.into_iter().enumerate() {
        let is_given = number % 63 != 0 && given.len() < between;
        if is_given { given.push(pool) } else { kept.push(pool) }
    }
    give(&arenas, emptied);
    give(&arenas, given);
    assert_eq!(idle(&arenas), 63 * empty + between);
    pages.refuses_purge.store(is_refused, Ordering::SeqCst);
    pass(&arenas, LOOK_MILLISECONDS);
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    assert!(arenas.tick());
    let purged = arenas.lists.lock().stats().pools_purged_ever;
    let released = arenas.lists.lock().stats().released;
    let next = match (arenas.news().take_shrink(), looks_at_once(&arenas)) {
        (true, false) => Next::Shrink,
        (false, true) => Next::Look,
        (has_shrunk, goes_on) => {
            assert!(!has_shrunk && !goes_on, "a look that is the last and is not");
            Next::Nothing
        }
    };
    pages.refuses_purge.store(false, Ordering::SeqCst);
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    (purged, released, next)
}

#[test]
fn a_look_releases_what_is_empty_and_purges_what_is_worth_it() {
    const RESERVE: usize = EMPTY_ARENAS_FIRST * BLOCK_POOLS_PER_ARENA;
    assert_eq!(after_two_looks(RESERVE, 0, false), (0, 0, Next::Nothing));
    // Not for a few pools more than an arena has, and then whole arenas' free ones.
    assert_eq!(after_two_looks(RESERVE + 63, 0, false), (0, 0, Next::Nothing));
    assert_eq!(after_two_looks(RESERVE + 64, 0, false), (2 * 62, 0, Next::Shrink));
    assert_eq!(after_two_looks(RESERVE + 64, 0, true), (0, 0, Next::Nothing));
    // What empty arenas had is not looked for a second time.
    let released = POOLS_AT_LOOK / BLOCK_POOLS_PER_ARENA;
    assert_eq!(after_two_looks(500, 200, false), (0, released, Next::Look));
    // No look takes long: another follows at once, unless nothing went.
    let (purged, released, next) = after_two_looks(RESERVE + 2 * POOLS_AT_LOOK, 0, false);
    assert!(purged >= POOLS_AT_LOOK && released == 0, "{purged} and {released}");
    assert_eq!(next, Next::Look);
    assert_eq!(after_two_looks(RESERVE + 2 * POOLS_AT_LOOK, 0, true), (0, 0, Next::Nothing));
}

/// A program that has dropped a large structure, but for a pool of each arena, and then does so little that a thread
/// comes by but thrice in two seconds.
#[test]
fn what_is_of_no_use_goes_in_a_program_that_does_little() {
    const ARENAS: usize = 140;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * ARENAS);
    pass(&arenas, LOOK_MILLISECONDS);
    let kept = give_most(&arenas, pools, 63);
    let reserve = EMPTY_ARENAS_FIRST * BLOCK_POOLS_PER_ARENA;
    assert!(idle(&arenas) > reserve + POOLS_AT_LOOK, "more than goes at one look");
    for pause in [100, 700, 900] {
        pages.milliseconds.fetch_add(pause, Ordering::SeqCst);
        assert!(arenas.tick());
    }
    assert!(idle(&arenas) <= reserve + BLOCK_POOLS_PER_ARENA, "{} pools", idle(&arenas));
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// The least and the most pools that were idle in what a program did.
struct Spike {
    least: usize,
    most: usize,
    shrinks: usize,
}

/// What is told of a spike of so many arenas, of which one pool in so many stays in use, once the reserve is small and
/// fades no more.
fn late_spike(arena_count: usize, pools_per_kept: usize) -> Spike {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * EMPTY_ARENAS_FIRST));
    (0..100).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
    arenas.news().take_shrink();
    assert_eq!(idle(&arenas), EMPTY_ARENAS_LEAST * BLOCK_POOLS_PER_ARENA);
    let pools = take(&arenas, 63 * arena_count);
    let kept = give_most(&arenas, pools, pools_per_kept);
    let most = idle(&arenas);
    let look = || {
        pass(&arenas, LOOK_MILLISECONDS);
        arenas.news().take_shrink()
    };
    let shrinks = (0..50).filter(|_| look()).count();
    let least = idle(&arenas);
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
    Spike { least, most, shrinks }
}

#[test]
fn a_shrink_is_told_of_whatever_its_size_and_however_many_looks_it_takes() {
    for arena_count in 6..60 {
        for pools_per_kept in [3, 63] {
            let Spike { least, most, shrinks } = late_spike(arena_count, pools_per_kept);
            assert_eq!(shrinks > 0, most - least >= BLOCK_POOLS_PER_ARENA, "{most} to {least}");
        }
    }
}

#[test]
fn looks_that_follow_each_other_at_once_are_one_to_all_others() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 63 * EMPTY_ARENAS_MAX));
    (0..2).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
    assert!(arenas.news().take_look() && looks_at_once(&arenas));
    let before = idle(&arenas);
    let looks = (0..100).filter(|_| arenas.tick()).count();
    assert_eq!(
        before - idle(&arenas),
        63 * (EMPTY_ARENAS_MAX - EMPTY_ARENAS_FIRST - POOLS_AT_LOOK / 63)
    );
    assert_eq!((looks, arenas.news().take_look(), looks_at_once(&arenas)), (0, false, false));
    assert!(arenas.news().take_shrink());
    pages.milliseconds.fetch_add(LOOK_MILLISECONDS, Ordering::SeqCst);
    assert!(arenas.tick() && arenas.news().take_look());
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn where_the_system_takes_nothing_no_shrink_is_told_of() {
    // Of the second more than may go at a look, which then has no other follow it.
    for arena_count in [20, 200] {
        let pages = TestPages::default();
        let arenas = Arenas::new(&pages);
        give(&arenas, take(&arenas, 63 * arena_count));
        pages.refuses_release.store(true, Ordering::SeqCst);
        pages.refuses_purge.store(true, Ordering::SeqCst);
        for _ in 0..20 {
            pass(&arenas, LOOK_MILLISECONDS);
            assert!(!arenas.news().take_shrink() && !looks_at_once(&arenas));
        }
        assert_eq!(idle(&arenas), 63 * arena_count);
        // What can be purged and not released has gone, too.
        pages.refuses_purge.store(false, Ordering::SeqCst);
        (0..20).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
        assert!(arenas.news().take_shrink());
        pages.refuses_release.store(false, Ordering::SeqCst);
        arenas.release_free();
        assert_eq!(pages.live(), 0);
    }
}

#[test]
fn a_few_pools_that_go_at_each_look_are_no_shrink() {
    let pages = TestPages::default();
    pages.page_bytes.store(64 * 1024, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    // One pool of each page stays in use, so that none can be purged.
    let pools = take(&arenas, 63 * 20);
    let (kept, given): (Vec<_>, Vec<_>) =
        pools.into_iter().partition(|pool| pool.index() % 16 == 1);
    give(&arenas, given);
    (0..30).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
    assert!(!arenas.news().take_shrink());
    let (of_pages, of_headers): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|pool| pool.index() > 16);
    for pool in of_pages {
        give(&arenas, [pool]);
        pass(&arenas, LOOK_MILLISECONDS);
        assert!(!arenas.news().take_shrink());
    }
    assert!(arenas.lists.lock().stats().pools_purged_ever > 0, "some have gone");
    give(&arenas, of_headers);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn time_begins_to_pass_when_it_is_known_what_to_keep_to() {
    let pages = TestPages::default();
    let passes = |time| pages.milliseconds.fetch_add(time, Ordering::SeqCst);
    passes(1_000_000);
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds::NONE);
    assert!(!arenas.tick());
    let looked = arenas.lists.lock().retention.look(1_000_000, 0);
    assert!(!looked.is_due, "of what is retained as well");
    passes(LOOK_MILLISECONDS - 1);
    assert!(!arenas.tick());
    passes(1);
    assert!(arenas.tick());
}

/// Else what became idle a moment ago went, as if it had been idle since the look before.
#[test]
fn a_thread_that_read_an_older_time_than_the_last_look_brings_none() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    pages.milliseconds.store(10_000, Ordering::SeqCst);
    arenas.keep_to(ArenaBounds::NONE);
    arenas.tick();
    let pools = take(&arenas, 63 * 60);
    pass(&arenas, LOOK_MILLISECONDS);
    give(&arenas, pools);
    pass(&arenas, LOOK_MILLISECONDS);
    assert_eq!(idle(&arenas), 63 * 60);
    pages.milliseconds.fetch_sub(4, Ordering::SeqCst);
    assert!(!arenas.tick());
    assert_eq!(
        arenas.now(),
        pages.milliseconds.load(Ordering::SeqCst) + 4,
        "time does not go back"
    );
    assert!(
        !arenas.look_slow(arenas.now() - 4),
        "as where it is overtaken on its way to the lists"
    );
    pages.milliseconds.fetch_add(4, Ordering::SeqCst);
    (0..20).for_each(|_| assert!(!arenas.tick()));
    assert_eq!(idle(&arenas), 63 * 60);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// A thread comes by each time that one is nearly due.
#[test]
fn looks_that_go_on_do_not_put_off_those_that_time_brings() {
    const STEP: usize = LOOK_MILLISECONDS - 5;
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * 1200);
    pages.refuses_purge.store(true, Ordering::SeqCst);
    let kept = give_most(&arenas, pools, 63);
    pages.refuses_purge.store(false, Ordering::SeqCst);
    (0..2).for_each(|_| pass(&arenas, LOOK_MILLISECONDS));
    let (mut due, mut goes_on) = (0, 0);
    for _ in 0..10 {
        pages.milliseconds.fetch_add(STEP, Ordering::SeqCst);
        due += usize::from(arenas.tick());
        goes_on += usize::from(looks_at_once(&arenas));
    }
    assert!(goes_on > 5, "{goes_on}");
    assert!(due >= 5, "{due} in {} ms", 10 * STEP);
    give(&arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}
