//! A block of raw memory, of which only the ends are written: the allocator is timed, not the filling.

use std::hint::black_box;
use std::mem::MaybeUninit;

pub type Block = Box<[MaybeUninit<u8>]>;

/// A new block of `size` bytes, at least one. Never inlined: whether the compiler did so would depend on
/// how much of an allocator it holds, and tip the balance for a reason that is none of theirs.
#[inline(never)]
pub fn new_block(size: usize) -> Block {
    let mut block = Box::new_uninit_slice(size);
    block[0].write(1);
    block[size - 1].write(1);
    block
}

/// An empty vector with room for `count` blocks, all of it resident: what is read before the blocks are
/// made and once they are there then differs by the blocks alone.
pub fn resident_slots(count: usize) -> Vec<Block> {
    let mut slots = Vec::new();
    slots.resize_with(count, Block::default);
    black_box(&mut slots).clear();
    slots
}
