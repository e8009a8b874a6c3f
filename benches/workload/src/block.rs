//! A block of raw memory, of which only the ends are written: the allocator is timed, not the filling.

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
