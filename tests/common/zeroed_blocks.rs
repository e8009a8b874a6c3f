//! Blocks that are asked for zeroed.

use std::alloc::{GlobalAlloc, Layout};
use std::slice;

use crate::blocks::Block;

/// A block from `allocator` that was zero until it was stamped.
pub fn allocate_zeroed(allocator: &impl GlobalAlloc, layout: Layout, owner: usize) -> Block {
    assert_ne!(layout.size(), 0, "a request of no bytes is not the allocator's");
    // SAFETY: the size is not zero.
    let start = unsafe { allocator.alloc_zeroed(layout) };
    assert!(!start.is_null(), "no memory for {layout:?}");
    // SAFETY: the block has as many bytes, and a zeroed block is initialised.
    let bytes = unsafe { slice::from_raw_parts(start, layout.size()) };
    assert!(bytes.iter().all(|byte| *byte == 0), "{layout:?} is not zero");
    // SAFETY: the block was allocated with this layout, and nothing else refers to it.
    unsafe { Block::from_raw(start, layout, owner) }
}
