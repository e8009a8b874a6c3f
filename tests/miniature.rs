//! The life of blocks in miniature: allocated, zeroed, resized, freed in and out of order, exchanged between
//! threads that end, trimmed, asked after. So little of each that an interpreter gets through it in
//! time: `ci/miri.sh` runs it so. It looks at nothing but the allocator, which is a plain value.

use std::alloc::Layout;
use std::sync::mpsc::channel;
use std::thread;

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/random.rs"]
mod random;
#[path = "common/zeroed_blocks.rs"]
mod zeroed_blocks;

use blocks::Block;
use obmalloc::Obmalloc;
use random::Random;

const ALLOCATOR: Obmalloc = Obmalloc::new();

/// Sizes around the borders of classes, of 512 bytes, and of what large magazines keep.
const SIZES: [usize; 12] = [1, 8, 9, 40, 64, 100, 256, 511, 512, 513, 1500, 33_000];

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a possible layout")
}

fn allocate(size: usize, owner: usize) -> Block {
    Block::allocate(&ALLOCATOR, layout(size, 8), owner)
}

fn allocate_zeroed(size: usize, owner: usize) -> Block {
    zeroed_blocks::allocate_zeroed(&ALLOCATOR, layout(size, 8), owner)
}

fn free(block: Block) {
    block.free(&ALLOCATOR);
}

#[test]
fn blocks_of_all_kinds_are_apart_and_come_back() {
    for round in 0..2 {
        let mut blocks: Vec<Block> = Vec::new();
        for (owner, size) in SIZES.into_iter().enumerate() {
            blocks.push(allocate(size, owner));
            blocks.push(allocate_zeroed(size, owner));
        }
        for align in [16, 64, 512, 1024] {
            blocks.push(Block::allocate(&ALLOCATOR, layout(24, align), align));
        }
        if round == 1 {
            blocks.reverse();
        }
        blocks.into_iter().for_each(free);
    }
}

#[test]
fn more_blocks_than_a_cache_keeps_come_back_in_any_order() {
    // Magazines of this size hold eight blocks at first, a pool eight in all: these cross both.
    const BLOCKS: usize = 60;
    let mut random = Random::new(1);
    let mut blocks: Vec<Block> = (0..BLOCKS).map(|owner| allocate(500, owner)).collect();
    while !blocks.is_empty() {
        let which = random.below(blocks.len());
        free(blocks.swap_remove(which));
        if random.below(3) == 0 {
            blocks.push(allocate_zeroed(500, blocks.len()));
        }
    }
}

#[test]
fn blocks_keep_their_contents_as_they_grow_and_shrink() {
    let mut block = allocate(8, 1);
    for size in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
        block = block.resize(&ALLOCATOR, size).expect("memory for the new size");
    }
    free(block);
}

#[test]
fn blocks_pass_between_threads_that_end() {
    const THREADS: usize = 3;
    const EACH: usize = 12;
    let (give, given) = channel::<Block>();
    let threads = [(); THREADS].map(|()| {
        let give = give.clone();
        thread::spawn(move || {
            for (owner, size) in SIZES.into_iter().cycle().take(EACH).enumerate() {
                let kept = allocate(size, owner);
                give.send(allocate(size, owner)).expect("somebody takes it");
                free(kept);
            }
        })
    });
    drop(give);
    // Freed here while the others still allocate.
    given.into_iter().for_each(free);
    for thread in threads {
        thread.join().expect("the thread does not panic");
    }
    // From what the ended ones have left.
    (0..EACH).map(|owner| allocate(40, owner)).collect::<Vec<_>>().into_iter().for_each(free);
}

#[test]
fn a_trim_leaves_blocks_in_use_alone() {
    let kept: Vec<Block> = SIZES.into_iter().map(|size| allocate(size, size)).collect();
    let freed: Vec<Block> = (0..20).map(|owner| allocate(512, owner)).collect();
    freed.into_iter().for_each(free);
    let other = thread::spawn(|| {
        let block = allocate(512, 1);
        ALLOCATOR.trim();
        free(block);
    });
    ALLOCATOR.trim();
    other.join().expect("the thread does not panic");
    kept.iter().for_each(Block::check);
    free(allocate_zeroed(512, 2));
    kept.into_iter().for_each(free);
    ALLOCATOR.trim();
}

#[cfg(not(obmalloc_no_arenas))]
#[test]
fn the_allocator_knows_its_blocks() {
    let block = allocate(100, 1);
    let start = block.start.as_ptr();
    assert_eq!(ALLOCATOR.usable_size(start), Some(104));
    assert!(ALLOCATOR.owns(start.wrapping_add(50)));
    assert_eq!(ALLOCATOR.usable_size(start.wrapping_add(1)), None);
    let stats = ALLOCATOR.stats();
    assert!(stats.classes[12].used_blocks > 0);
    free(block);
    let large = allocate(2000, 1);
    assert!(!ALLOCATOR.owns(large.start.as_ptr()));
    free(large);
}
