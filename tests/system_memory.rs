//! What the system allocator holds for nothing goes back to the kernel, some time after a program has freed
//! much of what it had in large blocks: also below a block that is still in use, and at the top of the
//! arenas that the C library has for threads, where it stays by itself.
#![cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
#[expect(dead_code, reason = "every process here has an environment of its own")]
mod child;
#[path = "common/idle.rs"]
mod idle;
#[path = "common/rss.rs"]
mod rss;

use std::hint::black_box;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 200;

/// What a spike has left, once the program has done a little for some seconds: at most as long as it takes.
fn left_after_a_spike() -> usize {
    // The heap is there, and its tables.
    drop(black_box(vec![1_u8; BLOCK]));
    let before = rss::resident_bytes();
    let spike: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1_u8; BLOCK]).collect();
    assert!(rss::resident_bytes() - before >= BLOCKS * BLOCK * 9 / 10);
    let above = black_box(Box::new([1_u8; 60_000]));
    drop(spike);
    let left = idle::left_after_a_while(before, BLOCKS * BLOCK / 20);
    drop(above);
    left
}

#[test]
fn what_lies_below_a_block_in_use_comes_back() {
    let test = "what_lies_below_a_block_in_use_comes_back";
    let ended = child::run_with(test, &[], || {
        let left = left_after_a_spike();
        assert!(left < BLOCKS * BLOCK / 20, "{left} bytes are left");
    });
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
}

/// Whoever wants glibc to hold on to what it has is not disturbed.
#[test]
fn with_full_tuning_it_stays() {
    let test = "with_full_tuning_it_stays";
    let ended = child::run_with(test, &[("OBMALLOC_SYSTEM_TUNING", "full")], || {
        let left = left_after_a_spike();
        assert!(left > BLOCKS * BLOCK / 2, "{left} bytes are left");
    });
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
}
