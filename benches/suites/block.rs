//! Blocks, as the suites ask for them: never of no size, never null, and never elided.

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

const PAGE_BYTES: usize = 4096;

/// What is asked for: a layout of some size.
#[derive(Clone, Copy)]
pub struct Request(Layout);

impl Request {
    /// A block of `size` bytes, aligned as most are.
    ///
    /// # Panics
    ///
    /// If the size is zero.
    #[inline]
    #[must_use]
    pub const fn of(size: usize) -> Self {
        Self::aligned(size, align_of::<usize>())
    }

    /// A block of `size` bytes at an address that is a multiple of `alignment`.
    ///
    /// # Panics
    ///
    /// If the size is zero, or the alignment not a power of two.
    #[inline]
    #[must_use]
    pub const fn aligned(size: usize, alignment: usize) -> Self {
        assert!(size > 0, "a block has some size");
        match Layout::from_size_align(size, alignment) {
            Ok(layout) => Self(layout),
            Err(_) => panic!("no block has this size and alignment"),
        }
    }

    /// How many bytes are asked for.
    #[inline]
    #[must_use]
    pub const fn size(self) -> usize {
        self.0.size()
    }
}

/// A block that the compiler believes to be used: it may drop an allocation that nobody looks at.
///
/// What is returned is the block itself and not what comes back from the black box, through which a value
/// passes by way of the stack: that would be a part of each time.
#[inline]
fn used(block: *mut u8, request: Request) -> NonNull<u8> {
    let Some(block) = NonNull::new(block) else { handle_alloc_error(request.0) };
    black_box(block);
    block
}

/// A block of the allocator.
#[inline]
pub fn allocate(allocator: &impl GlobalAlloc, request: Request) -> NonNull<u8> {
    // SAFETY: a request has some size.
    used(unsafe { allocator.alloc(request.0) }, request)
}

/// A block of the allocator, all of whose bytes are zero.
#[inline]
pub fn allocate_zeroed(allocator: &impl GlobalAlloc, request: Request) -> NonNull<u8> {
    // SAFETY: a request has some size.
    used(unsafe { allocator.alloc_zeroed(request.0) }, request)
}

/// The block with another size, perhaps elsewhere.
///
/// # Safety
///
/// `block` must come from the same allocator and request, and must not be used again. The alignments of
/// both requests must be the same.
#[inline]
pub unsafe fn grow(
    allocator: &impl GlobalAlloc,
    block: NonNull<u8>,
    request: Request,
    new_request: Request,
) -> NonNull<u8> {
    // SAFETY: the caller promises it; a request has some size.
    let moved = unsafe { allocator.realloc(block.as_ptr(), request.0, new_request.size()) };
    used(moved, new_request)
}

/// Gives a block back.
///
/// # Safety
///
/// `block` must come from the same allocator and request, and must not be used again.
#[inline]
pub unsafe fn release(allocator: &impl GlobalAlloc, block: NonNull<u8>, request: Request) {
    // SAFETY: the caller promises it.
    unsafe { allocator.dealloc(block.as_ptr(), request.0) }
}

/// Writes the first byte: a program that asks for a block uses it, and so its cache line must come.
///
/// # Safety
///
/// `block` must be a live block of some size, which nobody else looks at.
#[inline]
pub unsafe fn write_start(block: NonNull<u8>) {
    // SAFETY: the caller promises it.
    unsafe { block.write(1) }
    black_box(block);
}

/// Writes a byte of each page from the byte `from` on, so that there is memory behind all of them.
///
/// # Safety
///
/// `block` must be a live block of the request's size, which nobody else looks at.
#[inline]
pub unsafe fn write_pages(block: NonNull<u8>, request: Request, from: usize) {
    let bytes: NonNull<MaybeUninit<u8>> = block.cast();
    // SAFETY: the caller promises it; bytes that may be uninitialised ask nothing of their contents.
    let bytes = unsafe { slice::from_raw_parts_mut(bytes.as_ptr(), request.size()) };
    for byte in bytes[from..].iter_mut().step_by(PAGE_BYTES) {
        byte.write(1);
    }
    black_box(block);
}
