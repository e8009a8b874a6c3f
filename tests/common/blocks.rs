//! Blocks that know what they must contain. Each is full of a pattern made of its address, its size
//! and its owner, so that a block which overlaps another, is copied short or comes from another
//! place is noticed by its contents.

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

/// Bytes of the pattern that are written and compared at once.
const STRIDE: usize = 64;

/// A block in use, stamped from its first byte to its last.
#[derive(Debug)]
pub struct Block {
    pub start: NonNull<u8>,
    pub layout: Layout,
    pub owner: usize,
}

// SAFETY: nothing but this value refers to its memory, and any thread may use and free it.
unsafe impl Send for Block {}

impl Block {
    /// A stamped block from `allocator`.
    pub fn allocate(allocator: &impl GlobalAlloc, layout: Layout, owner: usize) -> Self {
        assert_ne!(layout.size(), 0, "a request of no bytes is not the allocator's");
        // SAFETY: the size is not zero.
        let start = unsafe { allocator.alloc(layout) };
        // SAFETY: the block was allocated with this layout, and nothing else refers to it.
        unsafe { Self::from_raw(start, layout, owner) }
    }

    /// Stamps a block that was just allocated.
    ///
    /// # Safety
    ///
    /// - `start` is null or the start of a block with `layout`, which the caller gives up.
    pub unsafe fn from_raw(start: *mut u8, layout: Layout, owner: usize) -> Self {
        let start = NonNull::new(start).unwrap_or_else(|| panic!("no memory for {layout:?}"));
        let address = start.addr().get();
        assert!(address.is_multiple_of(layout.align()), "{layout:?} is not aligned: {address:#x}");
        let block = Self { start, layout, owner };
        let bytes: *mut MaybeUninit<u8> = start.as_ptr().cast();
        // SAFETY: the block has as many bytes, and the caller gave it up.
        let bytes = unsafe { slice::from_raw_parts_mut(bytes, layout.size()) };
        for (part, stamped) in bytes.chunks_mut(STRIDE).zip(pattern(block.stamp())) {
            part.write_copy_of_slice(&stamped[..part.len()]);
        }
        block
    }

    /// Asserts that the block contains what it was stamped with.
    pub fn check(&self) {
        // SAFETY: the block is this value's, and all of it was written when it was stamped.
        unsafe { assert_stamped(self.start, self.layout.size(), self) }
    }

    /// Checks the block, and gives it back.
    pub fn free(self, allocator: &impl GlobalAlloc) {
        self.check();
        // SAFETY: the block was allocated with this layout, and this value is gone afterwards.
        unsafe { allocator.dealloc(self.start.as_ptr(), self.layout) }
    }

    /// Checks the block and resizes it; the new one, checked and stamped anew, or the old one,
    /// checked again, if there is no memory.
    pub fn resize(self, allocator: &impl GlobalAlloc, new_size: usize) -> Result<Self, Self> {
        let (align, owner) = (self.layout.align(), self.owner);
        let new_layout = Layout::from_size_align(new_size, align).expect("a possible layout");
        assert_ne!(new_size, 0, "a request of no bytes is not the allocator's");
        self.check();
        // SAFETY: the block was allocated with this layout, and the new size fits a layout.
        let moved = unsafe { allocator.realloc(self.start.as_ptr(), self.layout, new_size) };
        let Some(moved) = NonNull::new(std::hint::black_box(moved)) else {
            self.check();
            return Err(self);
        };
        let kept = self.layout.size().min(new_size);
        // SAFETY: the new block has at least `kept` bytes, which realloc copied from written ones.
        unsafe { assert_stamped(moved, kept, &self) };
        // SAFETY: the block was allocated with this layout, and nothing else refers to it.
        Ok(unsafe { Self::from_raw(moved.as_ptr(), new_layout, owner) })
    }

    fn stamp(&self) -> u64 {
        let size = (self.layout.size() as u64).rotate_left(44);
        let owner = (self.owner as u64).rotate_left(56);
        let mixed =
            (self.start.addr().get() as u64 ^ size ^ owner).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }
}

/// Asserts that the first `size` bytes at `start` contain what `original` was stamped with.
///
/// # Safety
///
/// - `size` bytes at `start` have been written, and nobody writes to them meanwhile.
unsafe fn assert_stamped(start: NonNull<u8>, size: usize, original: &Block) {
    // SAFETY: the caller owes the bytes.
    let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), size) };
    for ((index, part), stamped) in bytes.chunks(STRIDE).enumerate().zip(pattern(original.stamp()))
    {
        assert!(
            *part == stamped[..part.len()],
            "{original:?} was overwritten, or not copied, at byte {} of {size}",
            index * STRIDE,
        );
    }
}

/// What a block with this stamp contains, a stride at a time; no two strides of a page are alike.
fn pattern(stamp: u64) -> impl Iterator<Item = [u8; STRIDE]> {
    let words = [0, 8, 16, 24, 32, 40, 48, 56].map(|bits| stamp.rotate_left(bits).to_le_bytes());
    let mut bytes = [0; STRIDE];
    bytes.copy_from_slice(words.as_flattened());
    let first = bytes[0];
    (0_usize..).map(move |index| {
        bytes[0] = first ^ index as u8;
        bytes
    })
}
