//! What the allocator says of an address: exact for whoever owns what is there, never a fault for
//! anybody.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use obmalloc::Obmalloc;

#[cfg(not(obmalloc_no_arenas))]
#[path = "common/child.rs"]
mod child;
#[path = "common/random.rs"]
mod random;

use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const POOL: usize = 4096;
#[cfg(not(obmalloc_no_arenas))]
const ARENA: usize = 256 * 1024;

fn small(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

/// A block of a small layout, freed at the end.
struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    fn new(layout: Layout) -> Self {
        // SAFETY: tests ask for no block without bytes.
        let start = unsafe { GLOBAL.alloc(layout) };
        assert!(!start.is_null());
        Self { start, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block came from this allocator with this layout, and is given up.
        unsafe { GLOBAL.dealloc(self.start, self.layout) };
    }
}

#[track_caller]
fn assert_foreign(address: *const u8) {
    assert_eq!(GLOBAL.usable_size(address), None, "{address:p}");
    assert!(!GLOBAL.owns(address), "{address:p}");
}

#[test]
fn what_is_not_a_small_block_is_not_known() {
    static STATIC: [u8; 64] = [0; 64];
    static mut CHANGING: [u8; 64] = [0; 64];
    let local = [0_u8; 64];
    for start in [STATIC.as_ptr(), (&raw const CHANGING).cast(), local.as_ptr()] {
        (0..64).for_each(|offset| assert_foreign(start.wrapping_add(offset)));
    }
    assert_foreign(ptr::null());
    assert_foreign(what_is_not_a_small_block_is_not_known as *const u8);
    for bit in 0..usize::BITS {
        for address in [1 << bit, (1 << bit) - 1, usize::MAX << bit, usize::MAX >> bit] {
            assert_foreign(ptr::without_provenance(address));
        }
    }
}

#[test]
fn large_blocks_and_blocks_of_the_systems_are_not_known() {
    for size in [1, 8, 40, 512, 513, 4096, 70_000, 1 << 20] {
        let layout = small(size);
        // SAFETY: the size is not zero.
        let start = unsafe { System.alloc(layout) };
        (0..size).step_by(1 + size / 500).for_each(|at| assert_foreign(start.wrapping_add(at)));
        // SAFETY: the block came from there with this layout.
        unsafe { System.dealloc(start, layout) };
    }
    for layout in [small(513), small(100_000), Layout::new::<Page>()] {
        let block = Block::new(layout);
        (0..layout.size()).for_each(|at| assert_foreign(block.start.wrapping_add(at)));
    }

    #[repr(align(4096))]
    struct Page(#[expect(dead_code, reason = "only its layout counts")] u8);
}

#[cfg(obmalloc_no_arenas)]
#[test]
fn without_arenas_nothing_is_known() {
    for size in 1..=512 {
        let block = Block::new(small(size));
        (0..size).for_each(|at| assert_foreign(block.start.wrapping_add(at)));
    }
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn every_address_of_a_block_is_known_and_only_its_start_has_a_size() {
    for size in 1..=512 {
        for align in [1, 8, 16, 64, 512] {
            let layout = Layout::from_size_align(size, align).expect("a layout");
            let bytes = size.next_multiple_of(align.max(8));
            if bytes > 512 {
                continue;
            }
            // More than a pool of them, and more than a thread keeps.
            let blocks: Vec<Block> =
                (0..400 / (size / 64 + 1)).map(|_| Block::new(layout)).collect();
            for block in &blocks {
                assert_eq!(GLOBAL.usable_size(block.start), Some(bytes));
                assert!(GLOBAL.owns(block.start));
            }
            for block in blocks.iter().step_by(50) {
                for offset in 1..bytes {
                    let inside = block.start.wrapping_add(offset);
                    assert_eq!(GLOBAL.usable_size(inside), None, "{offset} of {bytes}");
                    assert!(GLOBAL.owns(inside), "{offset} of {bytes}");
                }
            }
        }
    }
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn the_usable_size_may_be_used() {
    let mut blocks: Vec<Block> = (1..=512).map(|size| Block::new(small(size))).collect();
    for (number, block) in blocks.iter_mut().enumerate() {
        let usable = GLOBAL.usable_size(block.start).expect("a small block");
        // SAFETY: the allocator says so.
        unsafe { block.start.write_bytes(number as u8, usable) };
    }
    for (number, block) in blocks.iter().enumerate() {
        for offset in 0..block.layout.size() {
            let byte = block.start.wrapping_add(offset);
            // SAFETY: the block has so many bytes, all of them written above.
            assert_eq!(unsafe { byte.read() }, number as u8);
        }
    }
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn the_rest_of_a_pool_and_the_headers_are_nobodys() {
    for size in (8..=512).step_by(8) {
        let block = Block::new(small(size));
        let pool = block.start.map_addr(|address| address & !(POOL - 1));
        // What the blocks leave lies before them and behind them, and is less than one.
        let first = (block.start.addr() - pool.addr()) % size;
        let places = first..first + POOL / size * size;
        assert!(places.end <= POOL);
        for offset in 0..POOL {
            // Also where the pool's other blocks are free, or have never been.
            let address = pool.wrapping_add(offset);
            let expected = places.contains(&offset) && (offset - first).is_multiple_of(size);
            assert_eq!(GLOBAL.usable_size(address), expected.then_some(size), "{offset} of {size}");
            assert_eq!(GLOBAL.owns(address), places.contains(&offset), "{offset} of {size}");
        }
        let headers = block.start.map_addr(|address| address & !(ARENA - 1));
        (0..POOL).for_each(|offset| assert_foreign(headers.wrapping_add(offset)));
        assert_foreign(headers.wrapping_sub(1));
    }
}

/// Enough blocks of a size for many arenas, and their addresses.
#[cfg(not(obmalloc_no_arenas))]
fn spike(size: usize, arenas: usize) -> Vec<usize> {
    let blocks: Vec<Block> = (0..arenas * ARENA / size).map(|_| Block::new(small(size))).collect();
    let known = |block: &Block| GLOBAL.usable_size(block.start) == Some(size);
    assert!(blocks.iter().all(known));
    blocks.iter().map(|block| block.start.addr()).collect()
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn what_went_back_to_the_system_is_forgotten() {
    child::passes("what_went_back_to_the_system_is_forgotten", || {
        let addresses = spike(512, 400);
        let known = |address: &&usize| GLOBAL.owns(ptr::without_provenance(**address));
        // Some empty arenas stay, but their pools are of no class; the thread keeps a few blocks.
        let still_known = addresses.iter().filter(known).count();
        assert!(still_known < 100, "{still_known} of {}", addresses.len());
    });
}

/// Threads ask for anything, while others map, use and unmap arenas.
#[test]
fn threads_may_ask_for_dying_and_for_wild_addresses() {
    const THREADS: usize = 2;
    const ROUNDS: usize = 12;
    static LAST: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
    static OVER: AtomicBool = AtomicBool::new(false);

    let ask = |address: usize| {
        let address: *const u8 = ptr::without_provenance(address);
        let (usable, owned) = (GLOBAL.usable_size(address), GLOBAL.owns(address));
        assert!(usable.is_none_or(|bytes| bytes % 8 == 0 && (8..=512).contains(&bytes)));
        usize::from(owned)
    };
    let owned = thread::scope(|scope| {
        let asking = [0, 1].map(|seed| {
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut owned = 0;
                while !OVER.load(Ordering::Relaxed) {
                    let near = LAST[random.below(LAST.len())].load(Ordering::Relaxed);
                    owned += ask(near.wrapping_add(random.below(POOL)));
                    owned += ask(near.wrapping_add(random.below(1 << 20)).wrapping_sub(1 << 19));
                    ask(random.below(usize::MAX));
                    ask(random.below(1 << 48));
                }
                owned
            })
        });
        let using = [0; THREADS].map(|_| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let size = 512 - 8 * round;
                    let blocks: Vec<Block> = (0..20_000).map(|_| Block::new(small(size))).collect();
                    for (number, block) in blocks.iter().enumerate() {
                        LAST[number % LAST.len()].store(block.start.addr(), Ordering::Relaxed);
                        let expected = (!cfg!(obmalloc_no_arenas)).then_some(size);
                        assert_eq!(GLOBAL.usable_size(block.start), expected);
                    }
                }
            })
        });
        using.into_iter().for_each(|thread| thread.join().expect("no panic"));
        OVER.store(true, Ordering::Relaxed);
        asking.map(|thread| thread.join().expect("no panic")).into_iter().sum::<usize>()
    });
    assert_eq!(owned > 0, !cfg!(obmalloc_no_arenas));
}
