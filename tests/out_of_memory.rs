//! A process that is given no more memory: what it has goes to whoever asks, in whatever class; what
//! is left over is null, and nothing else happens.
//!
//! The limit is that of the address space. Under it, numbers are gathered; it is lifted before they
//! are checked, so that a check that fails can say so.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/limit.rs"]
mod limit;
#[path = "common/percent.rs"]
mod percent;
#[path = "common/rss.rs"]
mod rss;

use std::alloc::{GlobalAlloc, Layout};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;
use percent::assert_percent;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// What the processes may map in addition to what they start with.
const ALLOWANCE: usize = 128 << 20;

/// Allocates until null, at the end of `chain`; returns the number of blocks.
fn fill(chain: &mut Chain) -> usize {
    let mut blocks = 0;
    while chain.push() {
        blocks += 1;
    }
    blocks
}

/// Allocates blocks of `size` bytes until null, frees them all, and returns their bytes.
fn fill_and_free(size: usize) -> usize {
    fill(&mut Chain::new(size)) * size
}

/// A stream of coins.
struct Coins(u64);

impl Coins {
    fn toss(&mut self) -> bool {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 1 == 1
    }
}

#[test]
fn one_class_gets_nearly_all_there_is() {
    let said = child::passes("one_class_gets_nearly_all_there_is", || {
        limit::allow(ALLOWANCE);
        let had = fill_and_free(64);
        limit::lift();
        assert_percent("blocks of 64 bytes", had, ALLOWANCE, 90);
    });
    print!("{said}");
}

#[test]
fn half_of_the_blocks_freed_at_random_can_be_had_again() {
    let said = child::passes("half_of_the_blocks_freed_at_random_can_be_had_again", || {
        for size in [48, 512] {
            let mut coins = Coins(0x9e37_79b9_7f4a_7c15);
            let (mut kept, mut freed) = (Chain::new(size), Chain::new(size));
            let (mut blocks, mut blocks_freed, mut had_again) = (0, 0, 0);
            limit::allow(ALLOWANCE);
            loop {
                let heads = coins.toss();
                if !(if heads { kept.push() } else { freed.push() }) {
                    break;
                }
                blocks += 1;
                blocks_freed += usize::from(!heads);
            }
            while freed.free_first() {}
            while had_again < blocks_freed && freed.push() {
                had_again += 1;
            }
            limit::lift();
            assert!(blocks_freed > blocks / 3);
            assert_percent(&format!("blocks of {size} bytes"), had_again, blocks_freed, 95);
        }
    });
    print!("{said}");
}

#[test]
fn what_one_class_has_freed_serves_another() {
    let said = child::passes("what_one_class_has_freed_serves_another", || {
        limit::allow(ALLOWANCE);
        let had = [64, 48, 512, 16, 336, 64].map(|size| (size, fill_and_free(size)));
        limit::lift();
        for (size, bytes) in had {
            assert_percent(&format!("blocks of {size} bytes"), bytes, ALLOWANCE, 90);
        }
    });
    print!("{said}");
}

/// What was freed stays for a while in the thread's cache and in what all threads share; but not
/// when another class lacks it.
#[test]
fn what_is_cached_of_all_classes_serves_one() {
    const LITTLE: usize = ALLOWANCE / 8;
    const OF_EACH_CLASS: usize = LITTLE / 128;
    // A debug build notes which blocks are in use, in tables of which so few bytes may lie under two.
    const TABLES: usize = if cfg!(debug_assertions) { 3 * (256 << 10) } else { 0 };
    let said = child::passes("what_is_cached_of_all_classes_serves_one", || {
        limit::allow(LITTLE + TABLES);
        let mut all_had = true;
        for size in (8..=512).step_by(8) {
            let mut chain = Chain::new(size);
            (0..OF_EACH_CLASS / size).for_each(|_| all_had &= chain.push());
        }
        let had = fill_and_free(72);
        limit::lift();
        assert!(all_had);
        assert_percent("blocks of 72 bytes", had, LITTLE, 95);
    });
    print!("{said}");
}

#[test]
fn memory_can_be_had_again_when_the_limit_is_lifted() {
    child::passes("memory_can_be_had_again_when_the_limit_is_lifted", || {
        let mut chain = Chain::new(64);
        let mut vec: Vec<u64> = Vec::new();
        limit::allow(ALLOWANCE);
        fill(&mut chain);
        let refused = [chain.push(), vec.try_reserve_exact(8).is_ok()];
        limit::lift();
        assert_eq!(refused, [false, false]);
        assert!(vec.try_reserve_exact(8).is_ok());
        for _ in 0..1_000_000 {
            assert!(chain.push());
        }
    });
}

/// Lets the heap swing, so that it has learned to keep empty arenas.
fn swing() {
    for _ in 0..4 {
        fill_and_free(512);
    }
}

#[test]
fn empty_arenas_make_room_for_a_large_block() {
    child::passes("empty_arenas_make_room_for_a_large_block", || {
        const LARGE: usize = ALLOWANCE / 16 * 15;
        let large = Layout::from_size_align(LARGE, 16).expect("a layout");
        let page = Layout::from_size_align(4096, 16).expect("a layout");
        limit::allow(ALLOWANCE);

        swing();
        // SAFETY: the size is not zero.
        let block = unsafe { GLOBAL.alloc(large) };
        let mut had = vec![!block.is_null()];
        // SAFETY: the block came from this allocator with this layout.
        unsafe { GLOBAL.dealloc(block, large) };

        swing();
        // SAFETY: the size is not zero.
        let block = unsafe { GLOBAL.alloc_zeroed(large) };
        had.push(!block.is_null());
        // SAFETY: the block came from this allocator with this layout.
        unsafe { GLOBAL.dealloc(block, large) };

        // SAFETY: the size is not zero.
        let small = unsafe { GLOBAL.alloc(page) };
        swing();
        // SAFETY: the block came from this allocator with this layout, and the new size is a size.
        let block = unsafe { GLOBAL.realloc(small, page, LARGE) };
        had.push(!block.is_null());
        limit::lift();
        assert_eq!(had, [true; 3]);
        // SAFETY: the block came from this allocator, and its size was changed to this layout's.
        unsafe { GLOBAL.dealloc(block, large) };
    });
}

/// The system allocator still has memory of its own, but a small block must not come from it: to be
/// freed, it goes to a pool, whatever it is.
#[test]
fn a_small_block_never_is_the_systems() {
    child::passes("a_small_block_never_is_the_systems", || {
        const OF_THE_SYSTEM: usize = 4_000;
        let (mut held, mut free) = (Chain::new(1_000), Chain::new(1_000));
        for _ in 0..OF_THE_SYSTEM {
            // Held ones in between keep the free ones from being given back.
            assert!(free.push() && held.push());
        }
        while free.free_first() {}
        let mut small = Chain::new(40);
        limit::allow(ALLOWANCE);
        fill(&mut small);
        let had_small = small.push();
        let mut had_of_the_system = 0;
        while had_of_the_system < OF_THE_SYSTEM && free.push() {
            had_of_the_system += 1;
        }
        let had_small_again = small.push();
        // Frees by layout: a block of the system's would break a pool here, or abort.
        drop(small);
        let had_at_last = fill_and_free(40);
        limit::lift();
        assert!(!had_small && !had_small_again);
        assert_percent("blocks of the system's", had_of_the_system, OF_THE_SYSTEM, 95);
        assert_percent("blocks of 40 bytes", had_at_last, ALLOWANCE, 90);
    });
}

#[test]
fn threads_that_meet_the_limit_at_once_go_on() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 3;

    let said = child::passes("threads_that_meet_the_limit_at_once_go_on", || {
        let all_there = Barrier::new(THREADS + 1);
        let all_full = Barrier::new(THREADS);
        let had = [const { AtomicUsize::new(0) }; ROUNDS];
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (all_there, all_full, had) = (&all_there, &all_full, &had);
                scope.spawn(move || {
                    all_there.wait();
                    // The limit is set here.
                    all_there.wait();
                    for (round, had) in had.iter().enumerate() {
                        // Some share a class, and each has another one in the next round.
                        let size = 64 << ((number / 2 + round) % 4);
                        let mut chain = Chain::new(size);
                        let blocks = fill(&mut chain);
                        had.fetch_add(blocks * size, Ordering::Relaxed);
                        all_full.wait();
                        for _ in 0..blocks / 2 {
                            chain.free_first();
                        }
                        fill(&mut chain);
                        drop(chain);
                        all_full.wait();
                    }
                });
            }
            all_there.wait();
            limit::allow(ALLOWANCE);
            all_there.wait();
        });
        let had_at_last = fill_and_free(64);
        limit::lift();
        for bytes in had {
            assert_percent("all threads together", bytes.into_inner(), ALLOWANCE, 90);
        }
        assert_percent("after them", had_at_last, ALLOWANCE, 90);
    });
    print!("{said}");
}

#[test]
fn a_box_that_cannot_be_made_aborts_with_the_message_of_std() {
    let ended = child::run("a_box_that_cannot_be_made_aborts_with_the_message_of_std", || {
        limit::allow(ALLOWANCE);
        loop {
            std::mem::forget(Box::new([1_u64; 9]));
        }
    });
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.status);
    assert!(ended.stderr.contains("memory allocation of 72 bytes failed"), "{}", ended.stderr);
}

/// Mappings that the process has made until the system refused another one.
struct AllMappings(Vec<(*mut libc::c_void, usize)>);

impl AllMappings {
    const PAGE: usize = 4096;

    fn map(&mut self, bytes: usize, protection: i32) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: without MAP_FIXED a new mapping replaces none.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return false;
        }
        self.0.push((start, bytes));
        true
    }

    /// Uses up all mappings of the process, of which the system gives `most`.
    fn use_up(most: usize) -> Self {
        let mut all = Self(Vec::with_capacity(16));
        let pages = most + 16;
        assert!(all.map(pages * Self::PAGE, libc::PROT_NONE));
        let start = all.0[0].0;
        // Each page between two of another protection is a mapping of its own.
        let refused = (1..pages).step_by(2).any(|number| {
            // SAFETY: the page lies in the range.
            let page = unsafe { start.byte_add(number * Self::PAGE) };
            // SAFETY: the range is this function's, and nothing refers to it.
            unsafe { libc::mprotect(page, Self::PAGE, libc::PROT_READ) != 0 }
        });
        assert!(refused, "the system gives more mappings than it says");
        // That split a mapping in three, so there may be a few left.
        while all.map(Self::PAGE, libc::PROT_READ) && all.map(Self::PAGE, libc::PROT_NONE) {}
        all
    }

    fn give_back(self) {
        for (start, bytes) in self.0 {
            // SAFETY: the range is this value's, and nothing refers to it.
            assert_eq!(unsafe { libc::munmap(start, bytes) }, 0);
        }
    }
}

/// With no mapping to spare, an arena in the midst of others cannot be unmapped, since that would
/// split a mapping in two. It is purged in place then, and stays of use.
#[test]
fn without_mappings_to_spare_blocks_are_freed_and_used_again() {
    const BLOCKS: usize = (16 << 20) / 64;

    let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
    let most: usize = most.trim().parse().expect("a number");
    if most > 300_000 {
        println!("skipped: {most} mappings are too many to use up");
        return;
    }
    let said = child::passes("without_mappings_to_spare_blocks_are_freed_and_used_again", || {
        let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
        let [mut first, mut middle, mut last] = [const { Chain::new(64) }; 3];
        for part in [&mut first, &mut middle, &mut last] {
            (0..BLOCKS).for_each(|_| assert!(part.push()));
        }
        let mappings = AllMappings::use_up(most.trim().parse().expect("a number"));
        let (in_use, mapped) = (rss::resident_bytes(), limit::mapped_bytes());
        while middle.free_first() {}
        // What was allocated a moment ago may stay until then.
        GLOBAL.trim();
        let freed = rss::resident_bytes();
        // Where another mapping happens to lie between the arenas, those next to it could go.
        let unmapped = (mapped - limit::mapped_bytes()) as usize;
        let mut again = Chain::new(48);
        let had_again = fill(&mut again) * 48;
        drop([first, again, last]);
        mappings.give_back();
        println!("{in_use} bytes resident in use, {freed} when a third was freed");
        assert!(freed < in_use - BLOCKS * 64 / 2);
        assert_percent("freed blocks", had_again, BLOCKS * 64 - unmapped, 90);
        // There is room now.
        let mut chain = Chain::new(64);
        (0..6 * BLOCKS).for_each(|_| assert!(chain.push()));
    });
    print!("{said}");
}

/// With no mapping to spare from the start, a process makes do with what it can still map, which may
/// be added to mappings that it has; that serves again and again.
#[test]
fn blocks_that_are_had_without_mappings_to_spare_can_be_had_again() {
    const BLOCKS_MAX: usize = (16 << 20) / 64;
    const ROUNDS: usize = 4;

    let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
    let most: usize = most.trim().parse().expect("a number");
    if most > 300_000 {
        println!("skipped: {most} mappings are too many to use up");
        return;
    }
    let test = "blocks_that_are_had_without_mappings_to_spare_can_be_had_again";
    let said = child::passes(test, || {
        let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
        let mappings = AllMappings::use_up(most.trim().parse().expect("a number"));
        let had = [(); ROUNDS].map(|()| {
            let mut chain = Chain::new(64);
            let blocks = (0..BLOCKS_MAX).take_while(|_| chain.push()).count();
            drop(chain);
            GLOBAL.trim();
            blocks
        });
        mappings.give_back();
        println!("{had:?} blocks of at most {BLOCKS_MAX}");
        for again in had {
            assert_percent("blocks had again", again, had[0], 95);
        }
        assert!(had[0] > 0);
        let mut chain = Chain::new(64);
        (0..4 * BLOCKS_MAX).for_each(|_| assert!(chain.push()));
    });
    print!("{said}");
}
