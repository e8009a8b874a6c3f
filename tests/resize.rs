//! Resizing keeps contents, alignment and neighbours, whatever border the size crosses: that of a
//! size class, that of 512 bytes between the pools and the system allocator, or none. Inside of a
//! class the block stays where it is. Across a border it has to move, since a block is freed by its
//! layout alone.

use std::alloc::Layout;

use obmalloc::Obmalloc;

#[path = "common/blocks.rs"]
mod blocks;

use blocks::Block;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// The last and the first size of each class, and sizes on both sides of the largest class.
fn sizes_around_borders() -> Vec<usize> {
    let around_classes = (1..=64).flat_map(|class| [8 * class - 1, 8 * class, 8 * class + 1]);
    let mut sizes: Vec<usize> = around_classes.chain(505..=520).collect();
    sizes.extend([1, 1024, 4096, 100_000]);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The number of the class that serves a layout, and `None` for the system allocator's.
fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().next_multiple_of(layout.align().max(8));
    (bytes <= 512 && !cfg!(obmalloc_no_arenas)).then_some(bytes / 8)
}

/// Resizes a block and says where it has to be afterwards.
fn resize(block: Block, new_size: usize) -> Block {
    let (old_start, old_layout) = (block.start, block.layout);
    let block = block.resize(&GLOBAL, new_size).expect("memory for the new size");
    match (class_of(old_layout), class_of(block.layout)) {
        (None, None) => {}
        (old, new) if old == new => {
            assert_eq!(block.start, old_start, "{old_layout:?} to {new_size} moved in its class");
        }
        _ => assert_ne!(block.start, old_start, "{old_layout:?} to {new_size} stayed in its place"),
    }
    block
}

/// Resizes between two sizes and back, with blocks of both sizes around.
fn there_and_back(old: Layout, new: Layout) {
    // Between blocks that were allocated before and after it, a block has neighbours on both sides
    // wherever it comes from virgin memory.
    let neighbours = [old, new].map(|layout| Block::allocate(&GLOBAL, layout, 1));
    let mut block = Block::allocate(&GLOBAL, old, 2);
    let more_neighbours = [old, new].map(|layout| Block::allocate(&GLOBAL, layout, 3));
    block = resize(block, new.size());
    let moved_on = Block::allocate(&GLOBAL, old, 4);
    block = resize(block, old.size());
    let moved_back = Block::allocate(&GLOBAL, new, 5);
    for neighbour in neighbours.into_iter().chain(more_neighbours) {
        neighbour.free(&GLOBAL);
    }
    block.free(&GLOBAL);
    moved_on.free(&GLOBAL);
    moved_back.free(&GLOBAL);
}

fn all_pairs_of_sizes(align: usize) {
    let sizes = sizes_around_borders();
    for (index, &larger) in sizes.iter().enumerate() {
        for &smaller in &sizes[..=index] {
            let layouts = [smaller, larger]
                .map(|size| Layout::from_size_align(size, align).expect("a possible layout"));
            there_and_back(layouts[0], layouts[1]);
        }
    }
}

#[test]
fn between_all_borders_at_align_8() {
    all_pairs_of_sizes(8);
}

#[test]
fn between_all_borders_at_align_16() {
    all_pairs_of_sizes(16);
}

#[test]
fn between_all_borders_at_align_64() {
    all_pairs_of_sizes(64);
}

#[test]
fn between_all_borders_at_align_512() {
    all_pairs_of_sizes(512);
}

#[test]
fn between_all_borders_at_align_1024() {
    all_pairs_of_sizes(1024);
}

#[test]
fn byte_by_byte_over_the_largest_class_and_back() {
    let layout = Layout::from_size_align(1, 1).expect("a possible layout");
    let mut block = Block::allocate(&GLOBAL, layout, 0);
    for size in (1..=600).chain((1..600).rev()) {
        block = resize(block, size);
    }
    block.free(&GLOBAL);
}

/// Grows a vector one element at a time, shrinks it to fit, and so on until it is empty again.
fn grow_and_shrink<T: Copy + PartialEq + std::fmt::Debug>(element: impl Fn(usize) -> T) {
    let mut elements: Vec<T> = Vec::new();
    let assert_right = |elements: &[T]| {
        for (index, found) in elements.iter().enumerate() {
            assert_eq!(*found, element(index));
        }
    };
    for length in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 2584] {
        elements.extend((elements.len()..length).map(&element));
        assert_right(&elements);
        elements.shrink_to_fit();
        assert_right(&elements);
    }
    while !elements.is_empty() {
        elements.truncate(elements.len() * 7 / 8);
        elements.shrink_to_fit();
        assert_right(&elements);
    }
}

#[test]
fn vectors_grow_and_shrink_to_fit() {
    grow_and_shrink(|index| index as u8);
    grow_and_shrink(|index| index as u16);
    grow_and_shrink(|index| [index as u8; 3]);
    grow_and_shrink(|index| index as u64);
    grow_and_shrink(|index| index as u128);
    grow_and_shrink(|index| [index; 5]);
    grow_and_shrink(|index| [index; 33]);
}
