//! Arenas in huge pages, from a size of the heap on: blocks are as others, and all of it goes back.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::fs;

use chain::Chain;
use obmalloc::Obmalloc;

const FROM: usize = 8 << 20;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new().with_huge_pages(FROM);

/// Bytes of this process in huge pages.
fn huge_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("/proc is mounted");
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kibibytes.map_or(0, |kibibytes: usize| kibibytes * 1024)
}

/// Whether the kernel serves huge pages to those who ask.
fn are_served() -> bool {
    let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    mode.is_ok_and(|mode| !mode.contains("[never]"))
}

#[test]
fn a_large_heap_lies_in_huge_pages_and_a_small_one_does_not() {
    let said = child::passes("a_large_heap_lies_in_huge_pages_and_a_small_one_does_not", || {
        assert_eq!(GLOBAL.config().huge_pages_from(), Some(FROM));
        let before = rss::resident_bytes();
        let fill = |bytes: usize| {
            let mut chain = Chain::new(64);
            (0..bytes / 64).for_each(|_| assert!(chain.push()));
            chain
        };
        let small = fill(FROM / 2);
        assert_eq!(huge_bytes(), 0);
        let large = fill(8 * FROM);
        let huge = huge_bytes();
        println!("{huge} bytes in huge pages");
        assert!(!are_served() || huge > 4 * FROM, "{huge} bytes in huge pages");
        // Every other block goes, then all.
        drop(small);
        drop(large);
        GLOBAL.trim();
        let held = rss::resident_bytes().saturating_sub(before);
        assert!(held < FROM / 4, "{held} bytes held");
    });
    print!("{said}");
}
