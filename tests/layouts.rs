//! Every layout gets a block of its own: aligned, as large as asked for, and apart from all others.
//! The class of a request follows from its size and its alignment together, so all sizes around the
//! small ones meet all alignments, with blocks of all of them alive at the same time. Layouts that
//! no address space holds get null, and nothing else happens.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

use obmalloc::Obmalloc;

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/random.rs"]
mod random;

use blocks::Block;
use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SIZES: std::ops::RangeInclusive<usize> = 1..=1024;
const ALIGNS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a possible layout")
}

fn assert_disjoint(blocks: &[Block]) {
    let mut ranges: Vec<(usize, usize)> = blocks
        .iter()
        .map(|block| (block.start.addr().get(), block.start.addr().get() + block.layout.size()))
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "blocks overlap: {:#x?} and {:#x?}", pair[0], pair[1]);
    }
}

fn check_all(blocks: &[Block]) {
    assert_disjoint(blocks);
    for block in blocks {
        block.check();
    }
}

fn free_in_random_order(mut blocks: Vec<Block>, random: &mut Random) {
    while !blocks.is_empty() {
        let index = random.below(blocks.len());
        blocks.swap_remove(index).free(&GLOBAL);
    }
}

#[test]
fn blocks_of_every_layout_live_side_by_side() {
    const OF_EACH: usize = 3;
    let mut random = Random::new(1);
    let mut blocks = Vec::new();
    for owner in 0..OF_EACH {
        for align in ALIGNS {
            blocks.extend(SIZES.map(|size| Block::allocate(&GLOBAL, layout(size, align), owner)));
        }
    }
    check_all(&blocks);
    free_in_random_order(blocks, &mut random);
}

#[test]
fn many_blocks_of_one_layout_live_side_by_side() {
    // More than a 4 KiB pool holds of any class, and of most classes more than a magazine.
    const OF_EACH: usize = 600;
    const SAMPLE: [usize; 19] =
        [1, 7, 8, 9, 16, 24, 40, 64, 100, 128, 200, 256, 336, 400, 496, 504, 505, 512, 513];
    let mut random = Random::new(2);
    for align in [1, 8, 16, 32, 64, 128, 256, 512, 1024] {
        for size in SAMPLE {
            let one_more = |owner| Block::allocate(&GLOBAL, layout(size, align), owner);
            let mut blocks: Vec<Block> = (0..OF_EACH).map(one_more).collect();
            check_all(&blocks);
            let kept = blocks.split_off(OF_EACH / 2);
            free_in_random_order(blocks, &mut random);
            // Blocks that were in use before, next to some that still are.
            let mut blocks = kept;
            blocks.extend((0..OF_EACH).map(one_more));
            check_all(&blocks);
            free_in_random_order(blocks, &mut random);
        }
    }
}

/// Sizes that no address space holds, for an alignment.
fn impossible_sizes(align: usize) -> [usize; 4] {
    let largest = isize::MAX as usize - (align - 1);
    [largest, largest - 4096, isize::MAX as usize / 2, isize::MAX as usize / 4]
}

#[test]
fn a_block_that_no_address_space_holds_is_null() {
    for align in ALIGNS {
        for size in impossible_sizes(align) {
            // `black_box`: a compiler may believe that memory which nobody uses was to be had.
            // SAFETY: the size is not zero.
            let block = black_box(unsafe { GLOBAL.alloc(layout(size, align)) });
            assert!(block.is_null(), "{size} bytes at a multiple of {align}");
            // SAFETY: the size is not zero.
            let block = black_box(unsafe { GLOBAL.alloc_zeroed(layout(size, align)) });
            assert!(block.is_null(), "{size} zeroed bytes at a multiple of {align}");
        }
    }
}

#[test]
fn a_block_that_cannot_grow_is_left_as_it_was() {
    for align in ALIGNS {
        for old_size in [1, 40, 512, 513, 1000, 100_000] {
            let mut block = Block::allocate(&GLOBAL, layout(old_size, align), old_size);
            let address = block.start;
            for new_size in impossible_sizes(align) {
                let refused = block.resize(&GLOBAL, new_size);
                block = refused.expect_err("there is no memory for a block of this size");
                assert_eq!(block.start, address);
            }
            // It is still the allocator's, to resize and to free.
            block = block.resize(&GLOBAL, 2 * old_size).expect("memory for a larger block");
            block.free(&GLOBAL);
        }
    }
}
