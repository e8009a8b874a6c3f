//! All values of `Obmalloc` are one allocator: a program may name one as its global allocator, and
//! a library that it links may hold another, and blocks pass between them.

use std::alloc::{GlobalAlloc, Layout};
use std::thread;

use obmalloc::Obmalloc;

#[path = "common/blocks.rs"]
mod blocks;

use blocks::Block;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

static OTHER: Obmalloc = Obmalloc::new();

/// Sizes of both sides, and several classes.
const SIZES: [usize; 10] = [1, 8, 9, 40, 64, 200, 511, 512, 513, 10_000];

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 1).expect("a possible layout")
}

fn pass_between(from: &Obmalloc, to: &Obmalloc) {
    // More of each size than a magazine holds, so that blocks reach the shared heap.
    const OF_EACH: usize = 300;
    for size in SIZES {
        let blocks: Vec<Block> =
            (0..OF_EACH).map(|owner| Block::allocate(from, layout(size), owner)).collect();
        for block in blocks {
            let block = block.resize(to, size + 8).expect("memory for a larger block");
            block.free(from);
        }
        let blocks: Vec<Block> =
            (0..OF_EACH).map(|owner| Block::allocate(from, layout(size), owner)).collect();
        blocks.into_iter().for_each(|block| block.free(to));
    }
}

#[test]
fn a_block_of_one_static_is_freed_and_resized_through_another() {
    pass_between(&GLOBAL, &OTHER);
    pass_between(&OTHER, &GLOBAL);
}

#[test]
fn a_block_of_a_static_is_freed_and_resized_through_a_local() {
    let local = Obmalloc::default();
    pass_between(&GLOBAL, &local);
    pass_between(&local, &OTHER);
}

#[test]
fn a_block_of_one_static_is_freed_through_another_in_another_thread() {
    thread::scope(|scope| {
        scope.spawn(|| pass_between(&GLOBAL, &OTHER));
        scope.spawn(|| pass_between(&OTHER, &GLOBAL));
        for size in SIZES {
            let block = Block::allocate(&GLOBAL, layout(size), size);
            scope.spawn(move || block.free(&OTHER));
        }
    });
}

#[test]
fn what_one_frees_the_other_hands_out_next() {
    for size in [1, 8, 40, 200, 512] {
        let block = Block::allocate(&OTHER, layout(size), 0);
        let address = block.start;
        block.free(&GLOBAL);
        let local = Obmalloc::new();
        let again = Block::allocate(&local, layout(size), 0);
        if !cfg!(obmalloc_no_arenas) {
            assert_eq!(again.start, address, "{size} bytes");
        }
        again.free(&OTHER);
    }
}

#[test]
fn a_box_is_freed_through_another() {
    for number in 0..1000_u64 {
        let boxed = Box::into_raw(Box::new([number; 5]));
        // SAFETY: the box was just made, and only this pointer refers to it.
        assert_eq!(unsafe { *boxed }, [number; 5]);
        // SAFETY: the box came from the global allocator with this layout, and is given up.
        unsafe { OTHER.dealloc(boxed.cast(), Layout::new::<[u64; 5]>()) };
    }
}
