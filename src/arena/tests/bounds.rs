use super::*;
use crate::config::{ARENAS_PER_GROWTH_MIN, HUGE_PAGE_BYTES, POPULATED_FROM_ARENAS};

#[test]
fn no_more_is_mapped_than_may_be() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { most: Some(3), ..ArenaBounds::NONE });
    let mut pools = take(&arenas, 2 * 63);
    assert_eq!((arenas.mapped_bytes(), arenas.is_at_bound()), (2 * ARENA_BYTES, false));
    pools.extend(take(&arenas, 63));
    assert_eq!((arenas.mapped_bytes(), arenas.is_at_bound()), (3 * ARENA_BYTES, true));
    assert!(take_pool(&arenas).is_none());
    // What fails to be mapped is not counted as mapped.
    give(&arenas, pools.split_off(2 * 63));
    arenas.release_free();
    pages.most.store(2, Ordering::SeqCst);
    (0..5).for_each(|_| assert!(take_pool(&arenas).is_none()));
    pages.most.store(0, Ordering::SeqCst);
    pools.extend(take(&arenas, 63));
    assert!(take_pool(&arenas).is_none());
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_large_heap_is_mapped_by_huge_pages_within_its_bound() {
    const PER_PAGE: usize = HUGE_PAGE_BYTES / ARENA_BYTES;
    let pages = TestPages::default();
    pages.has_huge.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let most = Some(2 + PER_PAGE + 1);
    arenas.keep_to(ArenaBounds { huge_from: Some(2), most, ..ArenaBounds::NONE });
    let mapped_after = |pools: usize| {
        let pools = take(&arenas, pools);
        (pools, counts(&arenas).0)
    };
    let (mut pools, mapped) = mapped_after(2 * 63);
    assert_eq!(mapped, 2);
    let (more, mapped) = mapped_after(1);
    assert_eq!(mapped, 2 + PER_PAGE);
    pools.extend(more);
    let (more, mapped) = mapped_after(PER_PAGE * 63);
    assert_eq!(mapped, 2 + PER_PAGE + 1, "a single one where a whole page exceeds the bound");
    pools.extend(more);
    assert!(arenas.lists.lock().is_valid());
    let mut places: Vec<_> = pools.iter().map(|pool| pool.address()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), pools.len());
    give(&arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_huge_page_whose_arenas_cannot_be_noted_goes_back_whole() {
    let pages = TestPages::default();
    pages.has_huge.store(true, Ordering::SeqCst);
    pages.refuses_tables.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { huge_from: Some(0), ..ArenaBounds::NONE });
    assert!(take_pool(&arenas).is_none());
    let mapped = pages.mapped.load(Ordering::SeqCst);
    assert_eq!((mapped, pages.live()), (HUGE_PAGE_BYTES / ARENA_BYTES, 0));
}

#[test]
fn arenas_of_a_large_heap_are_populated_and_what_is_not_used_goes() {
    let pages = TestPages::default();
    pages.can_populate.store(true, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, POPULATED_FROM_ARENAS * 63);
    assert_eq!((pages.populated.load(Ordering::SeqCst), idle(&arenas)), (0, 0));
    let (pool, zeroed) = take_pool(&arenas).expect("a pool");
    assert!(zeroed, "what is populated reads as zero");
    assert_eq!((pages.populated.load(Ordering::SeqCst), idle(&arenas)), (1, 62));
    assert!(arenas.lists.lock().is_valid());
    assert_eq!(arenas.release_free(), 62 * POOL_BYTES);
    pages.can_populate.store(false, Ordering::SeqCst);
    pools.extend(take(&arenas, 63));
    assert_eq!((pages.populated.load(Ordering::SeqCst), idle(&arenas)), (2, 0));
    give(&arenas, pools.into_iter().chain([pool]));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn pressure_is_told_once_until_it_is_gone() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { soft: Some(16), ..ArenaBounds::NONE });
    let mut pools = take(&arenas, 15 * 63);
    assert!(!arenas.news().take_pressure());
    pools.extend(take(&arenas, 63));
    assert!(arenas.news().take_pressure());
    // A step to and fro across the bound is not told.
    give(&arenas, pools.split_off(14 * 63));
    arenas.release_free();
    pools.extend(take(&arenas, 2 * 63));
    assert!(!arenas.news().take_pressure());
    give(&arenas, pools);
    arenas.release_free();
    let pools = take(&arenas, 16 * 63);
    assert!(arenas.news().take_pressure());
    give(&arenas, pools);
    arenas.release_free();
}

#[test]
fn a_watch_is_wanted_when_something_is_idle_and_none_is_kept() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    give(&arenas, take(&arenas, 1));
    assert!(!arenas.news().take_watch(), "nobody asked for one");
    arenas.keep_to(ArenaBounds { is_watched: true, ..ArenaBounds::NONE });
    give(&arenas, take(&arenas, 1));
    assert!(arenas.news().take_watch());
    give(&arenas, take(&arenas, 1));
    assert!(!arenas.news().take_watch(), "one is kept");
    assert!(!arenas.end_watch_if_nothing_is_idle());
    arenas.release_free();
    assert!(arenas.end_watch_if_nothing_is_idle());
    give(&arenas, take(&arenas, 1));
    assert!(arenas.news().take_watch());
    // One that gives up leaves the next pool to another, whatever is idle.
    arenas.end_watch();
    give(&arenas, take(&arenas, 1));
    assert!(arenas.news().take_watch());
    arenas.release_free();
}

#[test]
fn the_news_of_the_parents_watch_is_not_the_childs() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    arenas.keep_to(ArenaBounds { is_watched: true, ..ArenaBounds::NONE });
    give(&arenas, take(&arenas, 1));
    arenas.forget_other_threads();
    assert!(!arenas.news().take_watch());
    give(&arenas, take(&arenas, 1));
    assert!(arenas.news().take_watch(), "the child has its own");
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn growth_is_said_once_for_each_step_and_again_after_a_fall() {
    let pages = TestPages::default();
    let arenas = Arenas::new(&pages);
    let mut pools = take(&arenas, (ARENAS_PER_GROWTH_MIN - 1) * BLOCK_POOLS_PER_ARENA);
    assert!(!arenas.news().take_growth());
    pools.extend(take(&arenas, BLOCK_POOLS_PER_ARENA));
    assert!(arenas.news().take_growth() && !arenas.news().take_growth());
    pools.extend(take(&arenas, (ARENAS_PER_GROWTH_MIN - 1) * BLOCK_POOLS_PER_ARENA));
    assert!(!arenas.news().take_growth());
    pools.extend(take(&arenas, BLOCK_POOLS_PER_ARENA));
    assert!(arenas.news().take_growth());
    give(&arenas, pools);
    arenas.release_free();
    let pools = take(&arenas, 2 * ARENAS_PER_GROWTH_MIN * BLOCK_POOLS_PER_ARENA);
    assert!(arenas.news().take_growth() && !arenas.news().take_growth());
    give(&arenas, pools);
    arenas.release_free();
}
