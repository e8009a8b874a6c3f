//! A process that has all the mappings that the system gives one (`vm.max_map_count` of Linux): no arena between two
//! others can be unmapped then. What is free goes back all the same, and what is asked for is served from it.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;
#[path = "common/mappings.rs"]
mod mappings;
#[path = "common/rss.rs"]
mod rss;

use std::fs;
use std::ptr;
use std::thread;
use std::time::Duration;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BLOCK_BYTES: usize = 512;
/// Those of two arenas, so that one at least has no others.
const BLOCKS: usize = 2 * 63 * 8;
const GROUPS: usize = 400;

const PAGE_BYTES: usize = 4096;
/// Mappings that are left for this test.
const LEFT: usize = 40;
/// More than that are not used up.
const MAPPINGS_MAX: usize = 300_000;

type Block = Box<[u8; BLOCK_BYTES]>;

fn new_blocks(count: usize) -> Vec<Block> {
    (0..count).map(|number| Box::new([number as u8; BLOCK_BYTES])).collect()
}

/// Splits pages off one mapping until but a few more can be; `false` where the system has too many.
fn use_up_mappings() -> bool {
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
    let most: usize = most.trim().parse().expect("a number");
    if most > MAPPINGS_MAX {
        println!("skipped: a process may have {most} mappings");
        return false;
    }
    // SAFETY: a new mapping, which replaces none.
    let start = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(ptr::null_mut(), most * PAGE_BYTES, libc::PROT_NONE, flags, -1, 0)
    };
    assert_ne!(start, libc::MAP_FAILED);
    // Each page that is split off is one more, and so is what is left behind it.
    let pages = (most - mappings::count() - LEFT) / 2;
    for page in 0..pages {
        // SAFETY: the page lies in the mapping.
        let page_start = unsafe { start.byte_add(2 * page * PAGE_BYTES) };
        // SAFETY: nobody uses it.
        let refused = unsafe { libc::mprotect(page_start, PAGE_BYTES, libc::PROT_READ) };
        assert_eq!(refused, 0, "page {page} of {pages}");
    }
    true
}

/// Light activity for a while.
fn let_time_pass() {
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(10));
        drop(new_blocks(500));
    }
}

fn without_mappings() {
    let mut groups: Vec<_> = (0..GROUPS).map(|_| new_blocks(BLOCKS)).collect();
    if !use_up_mappings() {
        return;
    }
    for _ in 0..3 {
        let peak = rss::resident_bytes();
        for blocks in groups.iter_mut().step_by(2) {
            blocks.clear();
            blocks.shrink_to_fit();
        }
        let_time_pass();
        let (held, stats) = (rss::resident_bytes(), GLOBAL.stats().arenas);
        println!("{held} of {peak} bytes held; {stats:?}");
        assert!(held < peak * 7 / 10, "{held} of {peak} bytes held");
        // A little less than before, for what is free lies elsewhere now, and nothing else can be mapped.
        for blocks in groups.iter_mut().step_by(2) {
            blocks.extend(new_blocks(BLOCKS * 9 / 10));
        }
        for (number, block) in groups.iter().flat_map(|blocks| blocks.iter().enumerate()) {
            assert!(block.iter().all(|byte| *byte == number as u8));
        }
    }
    drop(groups);
    let_time_pass();
    GLOBAL.trim();
    let (held, stats) = (rss::resident_bytes(), GLOBAL.stats().arenas);
    println!("at the end {held} bytes, {stats:?}");
    assert!(held < 40 << 20, "{held} bytes held");
}

#[test]
fn without_mappings_memory_comes_and_goes() {
    print!("{}", child::passes("without_mappings_memory_comes_and_goes", without_mappings));
}
