//! The numbers of the heap: each byte of the arenas is of one kind, at any moment and under load, and
//! what a program does shows in them.
#![cfg(all(unix, not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::{Obmalloc, Stats};

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

fn assert_is_balanced(stats: &Stats) {
    let blocks = stats.used_bytes() + stats.cached_bytes() + stats.free_bytes();
    let rest = stats.unused_pool_bytes() + stats.header_bytes() + stats.quantization_bytes();
    assert_eq!(stats.arena_bytes(), blocks + rest, "{stats}");
    let pools: usize = stats.classes.iter().map(|class| class.pools).sum();
    assert_eq!(pools + stats.arenas.unused_pools, 63 * stats.arenas.mapped, "{stats}");
    assert!(stats.arenas.unused_pools_purged <= stats.arenas.unused_pools);
    assert_eq!(stats.arenas.mapped_ever - stats.arenas.released, stats.arenas.mapped);
}

#[test]
fn each_byte_of_the_arenas_is_of_one_kind_under_load() {
    child::passes("each_byte_of_the_arenas_is_of_one_kind_under_load", || {
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        let busy: Vec<_> = (0..3)
            .map(|number| {
                thread::spawn(move || {
                    let mut round = number;
                    while !IS_OVER.load(Ordering::Relaxed) {
                        let mut chain = Chain::new(8 + round * 40 % 505);
                        (0..3000).for_each(|_| assert!(chain.push()));
                        // Some of them are another's to free.
                        let freed_elsewhere = thread::spawn(|| drop(chain));
                        freed_elsewhere.join().expect("no panic");
                        round += 1;
                    }
                })
            })
            .collect();
        for round in 0..2000 {
            let stats = GLOBAL.stats();
            // The moment of the numbers is over: releases go on, of which two numbers differ.
            let blocks = stats.used_bytes() + stats.cached_bytes() + stats.free_bytes();
            let rest =
                stats.unused_pool_bytes() + stats.header_bytes() + stats.quantization_bytes();
            assert_eq!(stats.arena_bytes(), blocks + rest, "{stats}");
            if round % 100 == 0 {
                GLOBAL.trim();
            }
        }
        IS_OVER.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_is_balanced(&GLOBAL.stats());
    });
}

#[test]
fn what_a_program_does_shows() {
    child::passes("what_a_program_does_shows", || {
        let class = |stats: &Stats| stats.classes[200 / 8 - 1].clone();
        GLOBAL.trim();
        let before = class(&GLOBAL.stats());
        let mut chain = Chain::new(200);
        (0..10_000).for_each(|_| assert!(chain.push()));
        let stats = GLOBAL.stats();
        let full = class(&stats);
        assert_is_balanced(&stats);
        assert_eq!(full.block_bytes, 200);
        assert_eq!(full.used_blocks, before.used_blocks + 10_000);
        // 20 blocks a pool.
        assert!((500..=502).contains(&full.pools), "{full:?}");
        assert_eq!(full.pools * 20, full.used_blocks + full.free_blocks + full.cached_blocks);
        (0..5_000).for_each(|_| assert!(chain.free_first()));
        let stats = GLOBAL.stats();
        let half = class(&stats);
        assert_is_balanced(&stats);
        assert_eq!(half.used_blocks, before.used_blocks + 5_000);
        assert!(half.cached_blocks > 0 && stats.thread.cached_blocks > 0, "{stats}");
        drop(chain);
        let released = GLOBAL.stats().arenas.released;
        assert!(GLOBAL.trim() > 1 << 20);
        let stats = GLOBAL.stats();
        assert_is_balanced(&stats);
        assert_eq!(class(&stats).used_blocks, before.used_blocks);
        assert_eq!((stats.thread.cached_blocks, stats.thread.large_cached_blocks), (0, 0));
        assert!(stats.arenas.released > released);
    });
}

#[test]
fn large_blocks_that_are_kept_show() {
    child::passes("large_blocks_that_are_kept_show", || {
        GLOBAL.trim();
        let before = GLOBAL.stats();
        drop((0..100).map(|_| Box::new([0_u8; 3000])).collect::<Vec<_>>());
        let after = GLOBAL.stats();
        assert!(after.large.cached_blocks > before.large.cached_blocks, "{after}");
        assert!(after.large.cached_bytes >= after.large.cached_blocks * 513);
        assert!(after.thread.large_cached_bytes <= after.large.cached_bytes);
    });
}

#[test]
fn they_are_printed_at_exit_if_the_user_wants_them() {
    let test = "they_are_printed_at_exit_if_the_user_wants_them";
    let body = || drop(vec![Box::new(1)]);
    for (value, is_printed) in [("1", true), ("0", false)] {
        let ended = child::run_with(test, &[("OBMALLOC_STATS", value)], body);
        assert!(ended.status.success());
        assert_eq!(ended.stderr.contains("Small block threshold"), is_printed, "{}", ended.stderr);
    }
}
