//! What a call to the system leaves in `errno` is still there when the program looks, whatever it allocates
//! and frees before that: a path, a buffer or a message. So it is where the system refuses what the allocator asks for
//! at that moment; here because the program has locked some of the memory that is idle.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::thread;
use std::time::Duration;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BLOCK_BYTES: usize = 256;
const BLOCKS: usize = (64 << 20) / BLOCK_BYTES;

/// Each arena has at least one.
const BLOCKS_PER_KEPT: usize = 500;

/// What any process may lock.
const PAGES_LOCKED: usize = 12;
const PAGE_BYTES: usize = 4096;

/// No call to the system ends with this number.
const LEFT_BEHIND: i32 = 7_777;

fn set_errno(number: i32) {
    // SAFETY: the function has no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: what it returns is valid, and this thread's.
    unsafe { place.write(number) };
}

/// The result of `call`, which must leave `errno` alone.
#[track_caller]
fn keeping_errno<R>(call: impl FnOnce() -> R) -> R {
    set_errno(LEFT_BEHIND);
    let result = call();
    let found = std::io::Error::last_os_error();
    assert_eq!(found.raw_os_error(), Some(LEFT_BEHIND), "{found}");
    result
}

/// Locks the page that a block lies in, and says if the system does that.
fn lock_page_of(block: &[u8]) -> bool {
    let start = block.as_ptr().map_addr(|address| address - address % PAGE_BYTES);
    // SAFETY: the whole page is mapped, and what is locked may be used as before.
    unsafe { libc::mlock(start.cast(), PAGE_BYTES) == 0 }
}

/// Whether the system would give this page back, which it does not do where it is locked.
fn is_locked(page: *const u8) -> bool {
    // SAFETY: no page is asked to go away by this advice, which is refused for a locked one alone.
    unsafe { libc::madvise(page.cast_mut().cast(), PAGE_BYTES, libc::MADV_COLD) != 0 }
}

fn locked_memory_and_errno() {
    let new_block = || keeping_errno(|| vec![1_u8; BLOCK_BYTES].into_boxed_slice());
    let mut blocks: Vec<_> = (0..BLOCKS).map(|_| Some(new_block())).collect();
    let peak = rss::resident_bytes();

    // In the middle between two blocks that are kept, so that their pools become idle.
    let places = (0..PAGES_LOCKED).map(|number| (2 * number + 1) * BLOCKS_PER_KEPT * 5 / 2);
    let locked: Vec<*const u8> = places
        .filter_map(|place| blocks[place].as_deref())
        .filter(|block| lock_page_of(block))
        .map(|block| block.as_ptr().map_addr(|address| address - address % PAGE_BYTES))
        .collect();
    assert!(!locked.is_empty(), "not even one page may be locked");
    assert!(locked.iter().all(|page| is_locked(*page)));

    for (number, block) in blocks.iter_mut().enumerate() {
        if !number.is_multiple_of(BLOCKS_PER_KEPT) {
            keeping_errno(|| *block = None);
        }
    }
    // For a second, light activity: the memory goes now, but for what is locked.
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(10));
        let recent: Vec<_> = (0..200).map(|_| new_block()).collect();
        recent.into_iter().for_each(|block| keeping_errno(|| drop(block)));
        drop(keeping_errno(|| vec![0_u8; 20_000]));
        drop(keeping_errno(|| vec![0_u8; 200_000]));
    }
    let held = rss::resident_bytes();
    println!("{} pages locked; of {peak} bytes {held} held", locked.len());
    assert!(locked.iter().all(|page| is_locked(*page)), "a locked page was unmapped");
    assert!(held < peak / 2, "{held} of {peak} bytes held");

    // What is cleared reads as zero, in the locked pages as well, which still have what was written there.
    let cleared: Vec<_> =
        (0..BLOCKS).map(|_| keeping_errno(|| vec![0_u8; BLOCK_BYTES].into_boxed_slice())).collect();
    assert!(cleared.iter().all(|block| block.iter().all(|byte| *byte == 0)));
    let in_locked = |block: &[u8]| {
        let address = block.as_ptr().addr();
        locked.iter().any(|page| page.addr() == address - address % PAGE_BYTES)
    };
    assert!(cleared.iter().any(|block| in_locked(block)), "no locked page was used again");
    assert!(blocks.iter().flatten().all(|block| block.iter().all(|byte| *byte == 1)));
}

#[test]
fn frees_and_requests_leave_errno_alone() {
    let said = child::passes("frees_and_requests_leave_errno_alone", locked_memory_and_errno);
    print!("{said}");
}
