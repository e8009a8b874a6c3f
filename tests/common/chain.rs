//! Blocks of one size, in the order of their allocation, linked through their own first words: a chain
//! of any length needs no other memory.
//!
//! The last word of each block holds a stamp, made of its address, while it is in use. A block that
//! is given out twice, or that the allocator writes to, is found when it is freed.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr;

const STAMP: usize = 0x5a5a_0ff0_3cc3_a55a;
const WORD: usize = size_of::<usize>();

struct Link {
    next: *mut Link,
}

/// Blocks in use, of one size.
pub struct Chain {
    layout: Layout,
    first: *mut Link,
    last: *mut Link,
}

// SAFETY: the chain owns its blocks, which any thread may use and free.
unsafe impl Send for Chain {}

impl Chain {
    /// The chain without blocks, for blocks of `size` bytes, at least 8.
    pub const fn new(size: usize) -> Self {
        assert!(size >= WORD);
        match Layout::from_size_align(size, WORD) {
            Ok(layout) => Self { layout, first: ptr::null_mut(), last: ptr::null_mut() },
            Err(_) => panic!("a size beyond the address space"),
        }
    }

    /// Allocates a block and puts it at the end; `false` if the allocator returns null.
    pub fn push(&mut self) -> bool {
        // SAFETY: the size is not zero.
        let block: *mut Link = unsafe { alloc(self.layout) }.cast();
        if block.is_null() {
            return false;
        }
        if let Some(stamp) = self.stamp_of(block) {
            // SAFETY: the word lies in the block, which is this thread's.
            unsafe { stamp.write(block.addr() ^ STAMP) };
        }
        // SAFETY: the first word of the same block.
        unsafe { block.write(Link { next: ptr::null_mut() }) };
        if self.first.is_null() {
            self.first = block;
        } else {
            // SAFETY: the last block of the chain is in use.
            unsafe { (*self.last).next = block };
        }
        self.last = block;
        true
    }

    /// Frees the block that is in the chain for the longest time; `false` if there is none.
    ///
    /// # Panics
    ///
    /// If someone else has written to the block.
    pub fn free_first(&mut self) -> bool {
        let block = self.first;
        if block.is_null() {
            return false;
        }
        if let Some(stamp) = self.stamp_of(block) {
            // SAFETY: the word lies in the block, and was written by `push`.
            let found = unsafe { stamp.read() };
            assert!(found == block.addr() ^ STAMP, "{block:p} belongs to two owners");
        }
        // SAFETY: a block of the chain is in use.
        self.first = unsafe { (*block).next };
        // SAFETY: the block came from `alloc` with this layout, and has left the chain.
        unsafe { dealloc(block.cast(), self.layout) };
        true
    }

    /// The last word of a block, unless that is the link.
    fn stamp_of(&self, block: *mut Link) -> Option<*mut usize> {
        let last = self.layout.size() / WORD - 1;
        // SAFETY: the word lies inside the block.
        (last > 0).then(|| unsafe { block.cast::<usize>().add(last) })
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while self.free_first() {}
    }
}
