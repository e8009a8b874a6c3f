//! `trim` gives back all that is free: whole arenas, the pages of free pools between used ones, and what
//! the threads have cached.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;
#[path = "common/noted.rs"]
mod noted;
#[path = "common/random.rs"]
mod random;
#[path = "common/rss.rs"]
mod rss;

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::mpsc;
use std::time::Duration;
use std::{array, ptr, thread};

use noted::noted_bytes;
use obmalloc::Obmalloc;
use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SPIKE: usize = 400_000_000;
const PAGE: usize = 4096;

/// A block in use, with its first and last byte written.
struct Block {
    start: *mut u8,
    size: u16,
}

impl Block {
    fn new(size: usize) -> Self {
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout(size)) };
        assert!(!start.is_null());
        // SAFETY: both bytes lie in the block, which is this thread's.
        unsafe { start.write(1) };
        // SAFETY: as above.
        let last = unsafe { start.add(size - 1) };
        // SAFETY: as above.
        unsafe { last.write(1) };
        Self { start, size: u16::try_from(size).expect("a small block") }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and dropped once.
        unsafe { dealloc(self.start, layout(self.size.into())) }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 1).expect("a possible layout")
}

/// Blocks of 8 to 512 bytes in a random order, and what was resident before they were allocated. The
/// vector that holds them is resident before and after.
fn spike() -> (Vec<Block>, usize) {
    let mut random = Random::new(1);
    let mut blocks: Vec<Block> = Vec::with_capacity(SPIKE / 250);
    let places = blocks.spare_capacity_mut();
    for place in places.chunks_mut(PAGE / size_of::<Block>()) {
        place[0].write(Block { start: std::ptr::null_mut(), size: 1 });
    }
    let before = rss::resident_bytes();
    let mut bytes = 0;
    while bytes < SPIKE {
        let size = 8 + random.below(505);
        blocks.push(Block::new(size));
        bytes += size;
    }
    for index in (1..blocks.len()).rev() {
        blocks.swap(index, random.below(index + 1));
    }
    (blocks, before)
}

#[test]
fn a_spike_goes_back_to_the_last_page() {
    let said = child::passes("a_spike_goes_back_to_the_last_page", || {
        let (mut blocks, before) = spike();
        blocks.clear();
        let returned = GLOBAL.trim();
        let (stats, again) = (GLOBAL.stats(), GLOBAL.trim());
        let held = rss::resident_bytes().saturating_sub(before);
        println!("{returned} bytes returned, {held} held");
        assert!(held < SPIKE / 50 + noted_bytes(SPIKE), "{held} bytes held");
        assert_eq!(stats.arenas.unused_pools, stats.arenas.unused_pools_purged, "{stats}");
        assert_eq!(again, 0, "trimmed twice");
    });
    print!("{said}");
}

/// The pages of the blocks that are kept and the headers of their arenas are all that must stay, and what a
/// debug build has noted.
#[test]
fn of_one_block_in_a_thousand_little_more_than_its_page_stays() {
    let said = child::passes("of_one_block_in_a_thousand_little_more_than_its_page_stays", || {
        let (mut blocks, before) = spike();
        blocks.truncate(blocks.len() / 1000);
        GLOBAL.trim();
        let held = rss::resident_bytes().saturating_sub(before);
        let multiples_of = |unit: usize| {
            let numbers = blocks.iter().map(|block| block.start.addr() / unit);
            numbers.collect::<BTreeSet<_>>().len()
        };
        let pages = multiples_of(PAGE);
        let least = (pages + multiples_of(256 * 1024)) * PAGE + noted_bytes(SPIKE);
        println!("{held} bytes held: {:.2} of the least", held as f64 / least as f64);
        assert!(held < least * 13 / 10, "{held} bytes held for {pages} pages");
    });
    print!("{said}");
}

#[test]
fn other_threads_give_back_what_they_hold_when_they_next_need_the_heap() {
    let test = "other_threads_give_back_what_they_hold_when_they_next_need_the_heap";
    child::passes(test, || {
        let (tell, told) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let other = thread::spawn(move || {
            for size in (8..=512).step_by(8) {
                drop((0..64).map(|_| Block::new(size)).collect::<Vec<_>>());
            }
            drop(vec![1_u8; 5000]);
            let before = GLOBAL.stats().thread;
            answer.send(()).expect("someone listens");
            told.recv().expect("the trim is done");
            // Far more of one size than a thread keeps.
            drop((0..2000).map(|_| Block::new(200)).collect::<Vec<_>>());
            (before, GLOBAL.stats().thread)
        });
        answered.recv().expect("the other thread lives");
        GLOBAL.trim();
        tell.send(()).expect("the other thread lives");
        let (before, after) = other.join().expect("no panic");
        assert!(before.cached_bytes > 64 * 1024 && before.large_cached_blocks > 0, "{before:?}");
        assert!(after.cached_bytes < before.cached_bytes / 4, "{before:?} {after:?}");
    });
}

#[test]
fn a_thread_that_needs_zeroed_large_blocks_alone_gives_back_what_it_holds_of_others() {
    let test = "a_thread_that_needs_zeroed_large_blocks_alone_gives_back_what_it_holds_of_others";
    child::passes(test, || {
        let (tell, told) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let other = thread::spawn(move || {
            drop(vec![1_u8; 5000]);
            let before = GLOBAL.stats().thread.large_cached_bytes;
            answer.send(()).expect("someone listens");
            told.recv().expect("the trim is done");
            drop(vec![0_u8; 20_000]);
            (before, GLOBAL.stats().thread.large_cached_bytes)
        });
        answered.recv().expect("the other thread lives");
        GLOBAL.trim();
        tell.send(()).expect("the other thread lives");
        let (before, after) = other.join().expect("no panic");
        assert!(before >= 5000, "{before}");
        assert!((20_000..24_000).contains(&after), "{before} {after}");
    });
}

/// What the calling thread has cached, once it has had a block.
extern "C" fn cached_after_a_first_block(_: *mut c_void) -> *mut c_void {
    drop(Block::new(64));
    ptr::without_provenance_mut(GLOBAL.stats().thread.cached_bytes)
}

/// The same, once it has had some of several sizes.
extern "C" fn cached_after_many_blocks(_: *mut c_void) -> *mut c_void {
    for size in (64..=512).step_by(64) {
        let blocks: [Block; 20] = array::from_fn(|_| Block::new(size));
        drop(blocks);
    }
    ptr::without_provenance_mut(GLOBAL.stats().thread.cached_bytes)
}

/// What `run` returns in a thread that does nothing else: one of the standard library's frees what the one that
/// started it has made.
fn in_bare_thread(run: extern "C" fn(*mut c_void) -> *mut c_void) -> usize {
    let mut thread = 0;
    // SAFETY: the function takes no argument.
    assert_eq!(0, unsafe { libc::pthread_create(&mut thread, ptr::null(), run, ptr::null_mut()) });
    let mut returned = ptr::null_mut();
    // SAFETY: started above, and joined once.
    assert_eq!(0, unsafe { libc::pthread_join(thread, &mut returned) });
    returned.addr()
}

/// The second of these threads needs nothing of the heap but what the first one has left. When time has come for
/// a look, it has that, and acts upon what it finds; unless another look has come between, and all that was to go is
/// gone.
#[test]
fn a_thread_that_lives_on_what_another_left_acts_upon_a_shrink() {
    const ROUNDS: usize = 5;

    let said = child::passes("a_thread_that_lives_on_what_another_left_acts_upon_a_shrink", || {
        let acts_upon_it = || {
            // Less than goes at one look, beyond what stays.
            drop((0..7_000_000 / 512).map(|_| Block::new(512)).collect::<Vec<_>>());
            thread::sleep(Duration::from_millis(200));
            let left = in_bare_thread(cached_after_many_blocks);
            thread::sleep(Duration::from_millis(200));
            let taken_over = in_bare_thread(cached_after_a_first_block);
            println!("{left} bytes left, {taken_over} held by the next");
            assert!(left > 20 * 512, "{left}");
            taken_over < left / 2
        };
        assert!((0..ROUNDS).any(|_| acts_upon_it()));
    });
    print!("{said}");
}
