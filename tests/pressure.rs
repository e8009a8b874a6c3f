//! A bound on what is mapped, and a hook that learns of it: requests beyond the bound get null, those
//! within it are served, and what the hook frees serves the request that called it.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::{Obmalloc, Pressure};

const LIMIT: usize = 32 << 20;
const SOFT_LIMIT: usize = 16 << 20;

#[global_allocator]
static GLOBAL: Obmalloc =
    Obmalloc::new().with_limit(LIMIT).with_pressure_hook(SOFT_LIMIT, on_pressure);

static RISES: AtomicUsize = AtomicUsize::new(0);
static EXHAUSTIONS: AtomicUsize = AtomicUsize::new(0);

/// What the hook gives up, if there is anything.
static SPARED: Mutex<Option<Chain>> = Mutex::new(None);

fn on_pressure(pressure: Pressure) {
    // It may allocate, also what is not at hand.
    let mut chain = Chain::new(504);
    (0..100).for_each(|_| {
        chain.push();
    });
    match pressure {
        Pressure::Rising { mapped_bytes } => {
            assert!((SOFT_LIMIT..=LIMIT).contains(&mapped_bytes));
            RISES.fetch_add(1, Ordering::SeqCst);
        }
        Pressure::Exhausted { mapped_bytes } => {
            assert!(mapped_bytes <= LIMIT);
            EXHAUSTIONS.fetch_add(1, Ordering::SeqCst);
            drop(SPARED.lock().expect("no panic before").take());
        }
        other => panic!("{other:?}"),
    }
}

/// As many blocks as there are, and how many.
fn exhaust(size: usize) -> (Chain, usize) {
    let mut chain = Chain::new(size);
    let mut count = 0;
    while chain.push() {
        count += 1;
    }
    (chain, count)
}

#[test]
fn nearly_all_that_may_be_mapped_is_handed_out_and_no_more() {
    child::passes("nearly_all_that_may_be_mapped_is_handed_out_and_no_more", || {
        for size in [8, 48, 512] {
            let (mut chain, count) = exhaust(size);
            let stats = GLOBAL.stats();
            assert!(stats.arena_bytes() <= LIMIT);
            assert!(count * size > LIMIT * 9 / 10, "{} bytes of {size}", count * size);
            // What was freed can be had again, also in another size.
            (0..count / 2).for_each(|_| assert!(chain.free_first()));
            let (other, count) = exhaust(size);
            assert!(count * size > LIMIT * 4 / 10, "{} bytes of {size} again", count * size);
            drop((chain, other));
            GLOBAL.trim();
        }
        let config = GLOBAL.config();
        assert_eq!((config.limit(), config.soft_limit()), (Some(LIMIT), Some(SOFT_LIMIT)));
    });
}

#[test]
fn the_bound_holds_while_many_threads_reach_for_it() {
    child::passes("the_bound_holds_while_many_threads_reach_for_it", || {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                thread::spawn(move || (0..20).for_each(|_| drop(exhaust(64 + 64 * number))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(GLOBAL.stats().arenas.high_water * 256 * 1024 <= LIMIT);
    });
}

#[test]
fn the_hook_learns_of_each_rise_once() {
    child::passes("the_hook_learns_of_each_rise_once", || {
        let fill = || {
            let mut chain = Chain::new(256);
            (0..(SOFT_LIMIT + SOFT_LIMIT / 4) / 256).for_each(|_| assert!(chain.push()));
            chain
        };
        for rises in 1..=3 {
            let chain = fill();
            assert_eq!(RISES.load(Ordering::SeqCst), rises);
            drop(chain);
            GLOBAL.trim();
        }
        assert_eq!(EXHAUSTIONS.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn what_the_hook_frees_serves_the_request() {
    child::passes("what_the_hook_frees_serves_the_request", || {
        let mut spared = Chain::new(128);
        (0..10_000).for_each(|_| assert!(spared.push()));
        *SPARED.lock().expect("no panic before") = Some(spared);
        let (chain, count) = exhaust(512);
        assert!(SPARED.lock().expect("no panic before").is_none());
        assert!(count * 512 > LIMIT * 9 / 10, "{count} blocks");
        // Once for what was spared, and once for the null at the end.
        assert_eq!(EXHAUSTIONS.load(Ordering::SeqCst), 2);
        drop(chain);
    });
}
