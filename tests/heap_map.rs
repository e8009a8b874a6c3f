//! The picture of the heap that there is: each arena has its row, and what is purged is hatched.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

fn rows(picture: &str) -> usize {
    picture.matches("<g class=\"arena\"").count()
}

/// Uses of the hatching, not counting the legend and the totals.
fn hatched(picture: &str) -> usize {
    let first_row = picture.find("<g class=\"arena\"").unwrap_or(picture.len());
    picture[first_row..].matches("url(#").count()
}

#[test]
fn each_arena_has_a_row_and_purged_pools_are_hatched() {
    child::passes("each_arena_has_a_row_and_purged_pools_are_hatched", || {
        let mut chains = [40, 200].map(Chain::new);
        for _ in 0..20_000 {
            assert!(chains.iter_mut().all(Chain::push));
        }
        let picture = GLOBAL.heap_map();
        assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"), "{picture:.80}");
        assert!(picture.trim_end().ends_with("</svg>"));
        assert_eq!(rows(&picture), GLOBAL.stats().arenas.mapped);
        let hatched_before = hatched(&picture);
        // What the other chain has between the pools of this one stays.
        let [first, second] = chains;
        drop(first);
        GLOBAL.trim();
        let picture = GLOBAL.heap_map();
        assert!(hatched(&picture) > hatched_before, "nothing is hatched");
        drop(second);
    });
}

#[test]
fn a_large_heap_is_folded() {
    child::passes("a_large_heap_is_folded", || {
        let mut chain = Chain::new(256);
        (0..(100 << 20) / 256).for_each(|_| assert!(chain.push()));
        let picture = GLOBAL.heap_map();
        assert!(GLOBAL.stats().arenas.mapped > 128);
        assert!((64..=128).contains(&rows(&picture)), "{} rows", rows(&picture));
        assert!(picture.len() < 2 << 20);
        drop(chain);
    });
}

#[test]
fn a_heap_that_grows_meanwhile_is_drawn_whole() {
    child::passes("a_heap_that_grows_meanwhile_is_drawn_whole", || {
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        let growing = thread::spawn(|| {
            while !IS_OVER.load(Ordering::Relaxed) {
                let mut chain = Chain::new(512);
                (0..40_000).for_each(|_| assert!(chain.push()));
            }
        });
        for _ in 0..50 {
            let picture = GLOBAL.heap_map();
            assert!(picture.trim_end().ends_with("</svg>") && rows(&picture) > 0);
        }
        IS_OVER.store(true, Ordering::Relaxed);
        growing.join().expect("no panic");
    });
}
