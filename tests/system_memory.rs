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

use std::ffi::CStr;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::ptr;
use std::sync::Barrier;
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 200;

/// So many that glibc would give most of them an arena each, on any number of processors.
const THREADS: usize = 12;

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

/// Arenas that glibc has made for so many threads which hold a large block each at the same time.
fn arenas_of(threads: usize) -> usize {
    let all_hold = Barrier::new(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let block = black_box(vec![1_u8; 100_000]);
                all_hold.wait();
                drop(block);
            });
        }
    });
    let (mut text, mut bytes) = (ptr::null_mut(), 0);
    // SAFETY: both places live until the stream is closed.
    let stream = unsafe { libc::open_memstream(&raw mut text, &raw mut bytes) };
    // SAFETY: a stream that was just opened.
    assert_eq!(unsafe { libc::malloc_info(0, stream) }, 0);
    // SAFETY: the stream is not used after this.
    assert_eq!(unsafe { libc::fclose(stream) }, 0);
    // SAFETY: the stream has left a string here, which lives as long as the process.
    let text = unsafe { CStr::from_ptr(text) }.to_str().expect("letters");
    text.matches("<heap nr=").count()
}

#[track_caller]
fn assert_arenas(test: &str, variables: &[(&str, &str)], expected: RangeInclusive<usize>) {
    let ended = child::run_with(test, variables, || println!("{} arenas", arenas_of(THREADS)));
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    let said = ended.stdout.lines().find_map(|line| line.strip_suffix(" arenas"));
    let arenas = said.and_then(|number| number.parse().ok()).expect("a number of arenas");
    assert!(expected.contains(&arenas), "{arenas} arenas, not {expected:?}");
}

#[test]
fn threads_share_few_arenas() {
    let most = thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1));
    assert_arenas("threads_share_few_arenas", &[], 1..=most);
}

#[test]
fn without_tuning_each_thread_may_have_an_arena() {
    let test = "without_tuning_each_thread_may_have_an_arena";
    // The main thread and the harness's have one, too.
    assert_arenas(test, &[("OBMALLOC_SYSTEM_TUNING", "off")], 4..=THREADS + 2);
}

/// The test harness's own thread makes the first one.
#[test]
fn the_user_says_how_many_arenas_there_are() {
    let test = "the_user_says_how_many_arenas_there_are";
    assert_arenas(test, &[("MALLOC_ARENA_MAX", "3")], 3..=3);
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

/// Whether glibc takes a mapping of its own for a block of 1 MiB, as it does before it is tuned: such a one ends with a
/// page.
fn maps_a_mebibyte() -> bool {
    // SAFETY: `malloc` has no conditions.
    let block = unsafe { libc::malloc(BLOCK) };
    assert!(!block.is_null());
    // SAFETY: a block in use.
    let usable = unsafe { libc::malloc_usable_size(block) };
    // SAFETY: not used after this.
    unsafe { libc::free(block) };
    usable > BLOCK + 1024
}

#[track_caller]
fn assert_mebibyte_is_mapped(test: &str, tuning: &str, body: fn(), expected: bool) {
    let ended = child::run_with(test, &[("OBMALLOC_SYSTEM_TUNING", tuning)], body);
    assert!(ended.status.success(), "{tuning}: {}\n{}", ended.status, ended.stderr);
    let said = if expected { "mapped: true" } else { "mapped: false" };
    assert!(ended.stdout.contains(said), "{tuning}: not {said}: {}", ended.stdout);
}

/// Blocks that are kept when they are freed, more than a thread takes before it tells of them.
#[test]
fn early_tuning_begins_with_many_large_blocks_too() {
    let test = "early_tuning_begins_with_many_large_blocks_too";
    let body: fn() = || {
        let blocks: Vec<Vec<u8>> =
            (0..8).map(|_| black_box(Vec::with_capacity(16 << 10))).collect();
        println!("mapped: {}", maps_a_mebibyte());
        drop(blocks);
    };
    assert_mebibyte_is_mapped(test, "off", body, true);
    assert_mebibyte_is_mapped(test, "early", body, false);
}

/// A block that grows from one that is kept to one that is not.
#[test]
fn early_tuning_begins_with_a_block_that_grows() {
    let test = "early_tuning_begins_with_a_block_that_grows";
    let body: fn() = || {
        let mut block: Vec<u8> = black_box(Vec::with_capacity(20 << 10));
        block.reserve_exact(40 << 10);
        println!("mapped: {}", maps_a_mebibyte());
        drop(black_box(block));
    };
    assert_mebibyte_is_mapped(test, "off", body, true);
    assert_mebibyte_is_mapped(test, "early", body, false);
}

/// As a program does that builds a tree of large nodes, and drops it.
fn build_and_drop() {
    let blocks = [2048, 4096, 8192, 16_384].map(|size| vec![size; SWING / 4 / size]);
    drop(blocks.iter().flatten().map(|size| black_box(vec![1_u8; *size])).collect::<Vec<_>>());
}

const SWING: usize = 16 << 20;

/// What the depots and a thread hold of large blocks for any program.
const KEPT_AT_FIRST: usize = (4 << 20) + (2 << 20);

#[test]
fn depots_keep_what_a_program_asks_for_again_and_again_until_it_does_not() {
    let test = "depots_keep_what_a_program_asks_for_again_and_again_until_it_does_not";
    let ended = child::run_with(test, &[], || {
        let cached_bytes = || GLOBAL.stats().large.cached_bytes;
        build_and_drop();
        let kept_first = cached_bytes();
        assert!(kept_first <= KEPT_AT_FIRST, "{kept_first} bytes are kept for nothing");
        build_and_drop();
        build_and_drop();
        let kept = cached_bytes();
        assert!(kept > 3 * SWING / 4, "only {kept} bytes are kept");
        idle::do_a_little_until(|| cached_bytes() <= KEPT_AT_FIRST);
        let left = cached_bytes();
        assert!(left <= KEPT_AT_FIRST, "{left} bytes are left");
    });
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
}
