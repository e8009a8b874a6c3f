//! A block that is freed twice, or with the layout of another size, ends the process where the
//! allocator notices: by an abort, with one line on stderr that says so, and never by a hang.
//!
//! A thread's cache takes what it is given, since the fast path tests for nothing. The pools notice,
//! when a cache is flushed to them: when it overflows, by a trim, or when its thread has ended and no other
//! comes for what it left. A pool counts its blocks, so that a block freed twice is noticed for certain when
//! the pool's others are freed, too.
//! Debug builds notice all of it at once; see `wrong_use.rs`.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;

use std::alloc::{GlobalAlloc, Layout};
use std::os::unix::process::ExitStatusExt;
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// A layout of a size that nothing else in these processes asks for, and that eight blocks of fill a
/// pool.
const RARE: Layout = Layout::new::<[u64; 61]>();
/// Another.
const RARE_TOO: Layout = Layout::new::<[u64; 59]>();

/// Blocks of a pool of either.
const POOL: usize = 8;
const POOL_BYTES: usize = 4096;

/// More blocks than a thread's cache and the depot hold together.
const MANY: usize = 4096;

/// What is said of a block that is freed with the layout of another size: debug builds notice it at once.
const OTHER_LAYOUT: &str = if cfg!(debug_assertions) {
    "freed with a layout of 472 bytes"
} else {
    "block freed with the layout of another class"
};

/// A block that more than one may free.
#[derive(Clone, Copy)]
struct Block(*mut u8);

// SAFETY: only the address is passed on, to be freed.
unsafe impl Send for Block {}

impl Block {
    fn new(layout: Layout) -> Self {
        // SAFETY: the layouts of this file have sizes other than zero.
        let block = unsafe { GLOBAL.alloc(layout) };
        assert!(!block.is_null());
        Self(block)
    }

    /// Frees the block, rightly or wrongly: a process that does so is to find out what comes of it.
    fn free(self, layout: Layout) {
        // SAFETY: breaks the rule where the test wants it broken. The block's memory, to which
        // nobody else has a claim, stays the allocator's.
        unsafe { GLOBAL.dealloc(self.0, layout) };
    }
}

/// All blocks of one pool.
fn whole_pool() -> [Block; POOL] {
    let blocks = [(); POOL].map(|()| Block::new(RARE));
    let pool = blocks[0].0.addr() / POOL_BYTES;
    assert!(blocks.iter().all(|block| block.0.addr() / POOL_BYTES == pool));
    blocks
}

fn free_all(blocks: impl IntoIterator<Item = Block>) {
    for block in blocks {
        block.free(RARE);
    }
}

/// Runs `wrong` in a thread that then ends, and has what it leaves to the next one given back to the pools.
fn in_thread_that_ends(wrong: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(wrong);
        thread.join().expect("the thread does not panic");
    });
    let _ = GLOBAL.trim();
}

/// Runs `body` in a process of its own, which has to abort with one line of the allocator's.
fn aborts(test: &str, body: fn()) -> String {
    let ended = child::run(test, body);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{test}: {}\n{lines:?}", ended.status);
    assert_eq!(lines.len(), 1, "{test}: {lines:?}");
    assert!(lines[0].starts_with("obmalloc: "), "{test}: {lines:?}");
    lines[0].to_owned()
}

#[test]
fn blocks_freed_once_with_their_layouts_are_no_corruption() {
    child::passes("blocks_freed_once_with_their_layouts_are_no_corruption", || {
        in_thread_that_ends(|| {
            free_all(whole_pool());
            let blocks: Vec<Block> = (0..MANY).map(|_| Block::new(RARE)).collect();
            free_all(blocks);
            Block::new(RARE_TOO).free(RARE_TOO);
        });
    });
}

#[test]
fn a_block_written_after_its_free_aborts_when_its_pool_follows_the_link() {
    let line =
        aborts("a_block_written_after_its_free_aborts_when_its_pool_follows_the_link", || {
            // More of a pool than a thread asks for at first, and every other one stays in use.
            let layout = Layout::new::<[u64; 9]>();
            let mut written = Vec::new();
            in_thread_that_ends(|| {
                let blocks: Vec<Block> =
                    (0..4 * POOL_BYTES / layout.size()).map(|_| Block::new(layout)).collect();
                written.extend(blocks.into_iter().step_by(2));
                written.iter().for_each(|block| block.free(layout));
            });
            for block in written {
                // SAFETY: none: the block is free. Its pool has others in use, so that it is mapped.
                unsafe { block.0.cast::<usize>().write(0x4141_4140) };
            }
            in_thread_that_ends(|| {
                let _ = [(); 64].map(|()| Block::new(layout));
            });
        });
    // Debug builds look at all of the class before.
    let expected =
        if cfg!(debug_assertions) { "class in disorder" } else { "block written after its free" };
    assert!(line.contains(expected), "{line}");
}

#[test]
fn a_block_freed_twice_in_a_row_aborts_when_its_cache_is_flushed() {
    aborts("a_block_freed_twice_in_a_row_aborts_when_its_cache_is_flushed", || {
        in_thread_that_ends(|| {
            let blocks = whole_pool();
            blocks[0].free(RARE);
            free_all(blocks);
        });
    });
}

#[test]
fn a_block_freed_again_later_aborts_when_its_cache_is_flushed() {
    aborts("a_block_freed_again_later_aborts_when_its_cache_is_flushed", || {
        in_thread_that_ends(|| {
            let blocks = whole_pool();
            free_all(blocks);
            blocks[0].free(RARE);
        });
    });
}

#[test]
fn a_block_freed_twice_aborts_when_many_others_are_freed() {
    aborts("a_block_freed_twice_aborts_when_many_others_are_freed", || {
        let blocks: Vec<Block> = (0..MANY).map(|_| Block::new(RARE)).collect();
        blocks[0].free(RARE);
        free_all(blocks);
    });
}

#[test]
fn a_block_freed_by_two_threads_aborts_when_the_caches_are_flushed() {
    aborts("a_block_freed_by_two_threads_aborts_when_the_caches_are_flushed", || {
        let [shared, others @ ..] = whole_pool();
        in_thread_that_ends(move || shared.free(RARE));
        in_thread_that_ends(move || shared.free(RARE));
        in_thread_that_ends(move || free_all(others));
    });
}

/// Where the pool's other blocks are still in use, nothing need be noticed; but the flush of a chain
/// that leads in a circle has to end.
#[test]
fn a_block_freed_twice_among_blocks_in_use_does_not_hang() {
    let ended = child::run("a_block_freed_twice_among_blocks_in_use_does_not_hang", || {
        in_thread_that_ends(|| {
            let [first, second, ..] = whole_pool();
            first.free(RARE);
            second.free(RARE);
            first.free(RARE);
        });
    });
    let noticed = ended.status.signal() == Some(libc::SIGABRT)
        && ended.stderr.starts_with("obmalloc: ")
        && ended.stderr.lines().count() == 1;
    assert!(noticed || ended.status.success(), "{}\n{}", ended.status, ended.stderr);
}

#[test]
fn a_block_freed_with_another_layout_aborts_when_its_cache_is_flushed() {
    let line = aborts("a_block_freed_with_another_layout_aborts_when_its_cache_is_flushed", || {
        in_thread_that_ends(|| Block::new(RARE).free(RARE_TOO));
    });
    assert!(line.contains(OTHER_LAYOUT), "{line}");
}

#[test]
fn blocks_freed_with_another_layout_abort_when_many_are_freed() {
    let line = aborts("blocks_freed_with_another_layout_abort_when_many_are_freed", || {
        (0..MANY).for_each(|_| Block::new(RARE).free(RARE_TOO));
    });
    assert!(line.contains(OTHER_LAYOUT), "{line}");
}

/// Of large blocks only their chains are known: that of a magazine ends where its count says, or is a
/// ring.
#[test]
fn large_blocks_freed_twice_abort_when_their_magazine_is_given_back() {
    const LARGE: Layout = Layout::new::<[u64; 125]>();

    let test = "large_blocks_freed_twice_abort_when_their_magazine_is_given_back";
    // Debug builds say that the cache is in disorder.
    aborts(test, || {
        let [low, high] = {
            let mut blocks = [Block::new(LARGE), Block::new(LARGE)];
            blocks.sort_by_key(|block| block.0);
            blocks
        };
        // Magazines of this class are full-grown by then.
        let many: Vec<Block> = (0..MANY).map(|_| Block::new(LARGE)).collect();
        many.into_iter().for_each(|block| block.free(LARGE));
        let many: Vec<Block> = (0..MANY).map(|_| Block::new(LARGE)).collect();
        [low, high, low].into_iter().for_each(|block| block.free(LARGE));
        many.into_iter().for_each(|block| block.free(LARGE));
        let _ = GLOBAL.trim();
    });
}

/// The second free of a block that lies in the spare magazine ends that magazine's chain there, or so it did before the
/// whole went to its depot.
#[test]
fn a_large_block_freed_twice_aborts_when_its_magazine_goes_to_the_depot() {
    const LARGE: Layout = Layout::new::<[u64; 125]>();
    /// Of a magazine that is full-grown.
    const FULL: usize = 64;

    aborts("a_large_block_freed_twice_aborts_when_its_magazine_goes_to_the_depot", || {
        let take = |count: usize| (0..count).map(|_| Block::new(LARGE)).collect::<Vec<Block>>();
        take(MANY).into_iter().for_each(|block| block.free(LARGE));
        // Nothing is cached.
        let _used = take(MANY);
        let blocks = take(2 * FULL + 1);
        let (of_spare, others) = blocks.split_at(FULL);
        of_spare.iter().for_each(|block| block.free(LARGE));
        others[0].free(LARGE);
        let loaded = Block::new(LARGE);
        assert_eq!(loaded.0, others[0].0);
        of_spare[FULL / 2].free(LARGE);
        others.iter().for_each(|block| block.free(LARGE));
    });
}
