//! What debug builds notice of wrong use: a request of no bytes; what is freed or resized that is no block,
//! is none any more, or is one of another layout; a signal handler that allocates while its thread does.
//!
//! Each ends the process with one line on stderr, which says of the block what is known and of the layout
//! what it was. It is noticed at once, in whatever thread, since of each block it is known whether it is in
//! use. In release builds all of this is nothing. Of large blocks only what tells them from small ones
//! is known, and on glibc their size.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use crate::bin_index::BinClass;
use crate::os;
use crate::size_class::SizeClass;
use crate::thread;

/// A larger block than this many times what its class asks for is one of another class.
const USABLE_PER_BYTE_MAX: usize = 2;

/// Bytes that a system's allocator may round a large block up by, whatever its size: those of a large page.
const ROUNDING_MAX: usize = 64 * 1024;

/// What is done with a block.
#[derive(Clone, Copy)]
enum Deed {
    Free,
    Resize,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "freed",
            Self::Resize => "resized",
        })
    }
}

/// A layout in words.
struct Words(Layout);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a layout of {} bytes aligned to {}", self.0.size(), self.0.align())
    }
}

/// Runs an operation of the allocator's, which must not interrupt another of the same thread's.
#[inline(always)]
pub(crate) fn alone<R>(operation: impl FnOnce() -> R) -> R {
    if !cfg!(debug_assertions) {
        return operation();
    }
    enter();
    let result = operation();
    thread::replace_inside(false);
    result
}

/// Not inlined, as what ends the process below: the program's own functions would have the frames of it all.
#[inline(never)]
fn enter() {
    if thread::replace_inside(true) {
        os::abort_saying(format_args!(
            "the allocator was called while it ran in the same thread, as by a signal handler"
        ));
    }
}

/// Looks at a request.
#[inline(always)]
pub(crate) fn check_request(layout: Layout) {
    if cfg!(debug_assertions) && layout.size() == 0 {
        abort_without_bytes(layout);
    }
}

#[cold]
#[inline(never)]
fn abort_without_bytes(layout: Layout) -> ! {
    os::abort_saying(format_args!("requested {}", Words(layout)))
}

/// Notes that a block of `class` is given out, or null, and passes it on.
#[inline(always)]
pub(crate) fn noted(block: *mut u8, class: BinClass) -> *mut u8 {
    if cfg!(debug_assertions)
        && let BinClass::Small(class) = class
        && !block.is_null()
        && thread::begin_use(block.addr())
    {
        abort_in_use(block, class);
    }
    block
}

#[cold]
#[inline(never)]
fn abort_in_use(block: *mut u8, class: SizeClass) -> ! {
    os::abort_saying(format_args!(
        "block of {} bytes at {block:p} given out while it is in use: the heap is corrupt",
        class.bytes(),
    ))
}

/// Looks at what is about to be freed; a small block is then noted as free.
#[inline(always)]
pub(crate) fn check_free(block: *mut u8, layout: Layout) {
    if cfg!(debug_assertions) && check(block, layout, Deed::Free) && !thread::end_use(block.addr())
    {
        abort_unused(block, layout, Deed::Free);
    }
}

/// Looks at what is about to be resized.
#[inline(always)]
pub(crate) fn check_resize(block: *mut u8, layout: Layout, new_size: usize) {
    if !cfg!(debug_assertions) {
        return;
    }
    if check(block, layout, Deed::Resize) && !thread::is_in_use(block.addr()) {
        abort_unused(block, layout, Deed::Resize);
    }
    if new_size == 0 {
        os::abort_saying(format_args!("block at {block:p} resized to no bytes"));
    }
}

/// Looks at whether a block may have this layout, and says if it is a small one.
fn check(block: *mut u8, layout: Layout, deed: Deed) -> bool {
    let (place, words) = (thread::place_at(block.addr()), Words(layout));
    let class = if os::HAS_ARENAS { SizeClass::of(layout) } else { None };
    match (place, class) {
        (Some(place), _) if place.offset > 0 => os::abort_saying(format_args!(
            "{block:p}, which is {} bytes inside of a block of {} bytes, {deed} with {words}",
            place.offset,
            place.class.bytes(),
        )),
        (Some(place), class) if class != Some(place.class) => os::abort_saying(format_args!(
            "block of {} bytes at {block:p} {deed} with {words}",
            place.class.bytes(),
        )),
        (None, Some(_)) => os::abort_saying(format_args!(
            "{block:p}, which is no small block, {deed} with {words}"
        )),
        (Some(_), _) => true,
        (None, None) if block.is_null() || layout.size() == 0 => {
            os::abort_saying(format_args!("{block:p} {deed} with {words}"))
        }
        (None, None) => false,
    }
}

#[cold]
fn abort_unused(block: *mut u8, layout: Layout, deed: Deed) -> ! {
    os::abort_saying(format_args!(
        "block at {block:p}, which is not in use, {deed} with {}: freed twice, or never given out",
        Words(layout),
    ))
}

/// Looks at whether the system allocator's block is one of `class`, if that is a class of large blocks.
///
/// # Safety
///
/// - `block` is in use, and the system allocator's if it is large.
#[inline(always)]
pub(crate) unsafe fn check_size(block: NonNull<u8>, class: BinClass, layout: Layout) {
    let BinClass::Large(class) = class else { return };
    if !cfg!(debug_assertions) {
        return;
    }
    // SAFETY: the caller owes the block.
    let Some(usable) = (unsafe { os::usable_bytes(block) }) else { return };
    let most = USABLE_PER_BYTE_MAX * class.bytes() + ROUNDING_MAX;
    // A library that takes the place of `malloc` may leave this question to glibc, which then says zero.
    if usable > 0 && !(class.bytes()..=most).contains(&usable) {
        os::abort_saying(format_args!(
            "large block of {usable} bytes at {block:p} freed or resized with {}",
            Words(layout),
        ));
    }
}
