//! The library to preload: C's allocation functions, for programs that know nothing of it.
//!
//! A request of at most 512 bytes is served from a size class, any other by glibc itself, under the
//! names that remain its own. C says nothing of the size when it frees, so that a block goes back by
//! its address: the pool map knows which are this library's. So it does not matter who served a
//! request, and a small one goes to glibc where there is no other way.
//!
//! C asks for blocks in which any object of their size fits, so that all classes but the smallest are
//! multiples of 16.
//!
//! Each exported function has the name that C, POSIX or glibc gives it, and no other function of the
//! library has that name, which is what `no_mangle` asks for. The functions that C++ and C23 have beside
//! those are in `preload/forwards.rs`.

mod aligned;
mod forwards;

use core::alloc::Layout;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use crate::config::{ALIGNMENT, Config, REQUEST_WORTH_A_TRIM_MAX, SMALL_MAX};
use crate::os::{self, upstream};
use crate::size_class::SizeClass;
use crate::thread;

/// Alignment, in bytes, of each block that may hold an object with it: `alignof(max_align_t)`.
const ALIGNMENT_MAX: usize = 16;

/// Blocks of glibc's are counted from this size on, as those which it gives back to the kernel one by one until its
/// thresholds are raised: so that what it then holds for nothing goes back in time.
const COUNTED_BYTES_MIN: usize = 128 * 1024;

/// The class for a request of C's; `None` sends it to glibc.
#[inline(always)]
fn class_of(size: usize) -> Option<SizeClass> {
    if size > SMALL_MAX {
        return None;
    }
    class_of_aligned(size, if size <= ALIGNMENT { ALIGNMENT } else { ALIGNMENT_MAX })
}

/// The class for a request with an alignment, a power of two; `None` sends it to glibc.
#[inline(always)]
fn class_of_aligned(size: usize, alignment: usize) -> Option<SizeClass> {
    // Zero bytes are a block, too, of an address of its own.
    let layout = Layout::from_size_align(size.max(1), alignment).ok()?;
    if os::HAS_ARENAS { SizeClass::of(layout) } else { None }
}

/// A block of C's, or null and `errno`.
#[inline(always)]
fn allocate(size: usize) -> *mut u8 {
    match class_of(size).and_then(thread::pop_small) {
        Some(block) => block.as_ptr(),
        None => allocate_slow(size),
    }
}

#[inline(never)]
fn allocate_slow(size: usize) -> *mut u8 {
    let block = class_of(size).map_or(ptr::null_mut(), allocate_small);
    if block.is_null() { ask_upstream(size, || upstream::malloc(size)) } else { block }
}

/// A block of `class`, or null.
fn allocate_small(class: SizeClass) -> *mut u8 {
    if thread::may_use_caches() {
        thread::alloc_small(class, &Config::PRELOADED)
    } else {
        ptr::null_mut()
    }
}

/// A block of glibc's, of at least so many bytes. When that has none left, empty arenas may be what it lacks: they
/// are released, and it is asked once more. Null, and `errno` says why, if that does not help.
fn ask_upstream(bytes: usize, ask: impl Fn() -> *mut u8) -> *mut u8 {
    let block = resize_upstream(bytes, 0, ask);
    if block.is_null() { no_memory() } else { block }
}

/// As [`ask_upstream`], for a block that has so many bytes `before`.
fn resize_upstream(bytes: usize, before: usize, ask: impl Fn() -> *mut u8) -> *mut u8 {
    let block = os::keeping_errno(|| {
        let block = ask();
        let may_help = block.is_null() && bytes <= REQUEST_WORTH_A_TRIM_MAX;
        let asks_again = may_help && thread::may_use_caches() && thread::trim().is_of_use();
        if asks_again { ask() } else { block }
    });
    // What rounding adds is less than half.
    if before.max(bytes) >= COUNTED_BYTES_MIN / 2 && !block.is_null() {
        // SAFETY: glibc gave it.
        let after = unsafe { upstream_bytes(block, false) };
        // Where that is not known yet, in what runs before the library, about what its free will count.
        count_passed(before, if after == 0 { bytes } else { after });
    }
    block
}

/// Counts what has become of a block of glibc's.
fn count_passed(before: usize, after: usize) {
    let counted = |bytes| if bytes < COUNTED_BYTES_MIN { 0 } else { bytes as isize };
    let change = counted(after) - counted(before);
    if change == 0 {
        return;
    }
    if thread::may_use_caches() {
        os::keeping_errno(|| thread::count_passed(change, &Config::PRELOADED));
    } else {
        thread::report_passed(change);
    }
}

/// Bytes of a block of glibc's that its owner may use; zero for null, and where that is not known. Where the library
/// is not loaded yet, and glibc's function not found, that takes a look which `may_allocate`, and free.
///
/// # Safety
///
/// - `block` is null, or a block of glibc's, in use.
unsafe fn upstream_bytes(block: *mut u8, may_allocate: bool) -> usize {
    type UsableSize = unsafe extern "C" fn(*mut u8) -> usize;

    let function = thread::upstream_usable_size(may_allocate);
    if block.is_null() || function.is_null() {
        return 0;
    }
    // SAFETY: glibc's function of this name has this type.
    let function = unsafe { core::mem::transmute::<*mut c_void, UsableSize>(function) };
    // SAFETY: the caller owes a block of glibc's.
    unsafe { function(block) }
}

/// Null, and `errno` says why.
#[cold]
fn no_memory() -> *mut u8 {
    os::set_errno(libc::ENOMEM);
    ptr::null_mut()
}

/// Frees a small block.
///
/// # Safety
///
/// - `block` came from this library with this class, and the caller gives it up.
#[inline(always)]
unsafe fn free_small(block: *mut u8, class: SizeClass) {
    // SAFETY: the caller owes a block, which is never null.
    let block = unsafe { NonNull::new_unchecked(block) };
    // SAFETY: the caller owes the block and its class.
    unsafe { thread::dealloc_anywhere(block, class) }
}

/// C's `malloc`: a block of at least `size` bytes, or null and `ENOMEM`. Zero bytes are a block, too.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut u8 {
    allocate(size)
}

/// C's `calloc`: a block that reads as zero.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    let Some(bytes) = count.checked_mul(size) else { return no_memory() };
    if let Some(class) = class_of(bytes)
        && thread::may_use_caches()
    {
        let block = thread::alloc_small_zeroed(class, class.bytes(), &Config::PRELOADED);
        if !block.is_null() {
            return block;
        }
    }
    ask_upstream(bytes, || upstream::calloc(count, size))
}

/// C's `free`: gives a block back, whoever it came from. `errno` stays as it is.
///
/// # Safety
///
/// - `block` is null, or a block of this library's or of glibc's, which the caller gives up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut u8) {
    match thread::class_at(block.addr()) {
        // SAFETY: the caller owes a block, and in a pool of this class it can only be one of it.
        Some(class) => unsafe { free_small(block, class) },
        // SAFETY: the caller owes a block, and it is not this library's.
        None => unsafe { free_upstream(block) },
    }
}

/// Frees a block of glibc's.
///
/// # Safety
///
/// - `block` is null, or a block of glibc's, which the caller gives up.
unsafe fn free_upstream(block: *mut u8) {
    // SAFETY: the caller owes the block.
    let bytes = unsafe { upstream_bytes(block, false) };
    // SAFETY: as above.
    unsafe { upstream::free(block) };
    count_passed(bytes, 0);
}

/// C's `realloc`: resizes a block, which may move it; null, and the block as it was, if there is no
/// memory. Zero bytes free it, as glibc has it. A block of glibc's remains glibc's.
///
/// # Safety
///
/// - `block` is null, or a block of this library's or of glibc's; the caller gives it up if the answer is
///   not null, or if `size` is zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        return allocate(size);
    }
    let class = thread::class_at(block.addr());
    match class {
        _ if size == 0 => {
            // SAFETY: the caller owes the block.
            unsafe { free(block) };
            ptr::null_mut()
        }
        // SAFETY: the caller owes a block, and in a pool of this class it can only be one of it.
        Some(class) => unsafe { resize_small(block, class, size) },
        None => {
            // SAFETY: the caller owes a block, and it is not this library's.
            let before = unsafe { upstream_bytes(block, false) };
            // SAFETY: as above; a null changes nothing of it.
            let resized =
                resize_upstream(size, before, || unsafe { upstream::realloc(block, size) });
            if resized.is_null() { no_memory() } else { resized }
        }
    }
}

/// Resizes a small block to a size other than zero. It stays where it is as long as it is neither too
/// small nor too large by a quarter (CPython's `pymalloc_realloc`).
///
/// # Safety
///
/// - `block` came from this library with this class; the caller gives it up if the answer is not null.
unsafe fn resize_small(block: *mut u8, class: SizeClass, size: usize) -> *mut u8 {
    let fits = size <= class.bytes();
    if fits && 4 * size > 3 * class.bytes() {
        return block;
    }
    // Where the block serves as well as none, a lack of memory is not the caller's.
    let moved = if fits { os::keeping_errno(|| allocate(size)) } else { allocate(size) };
    if moved.is_null() {
        return if fits { block } else { moved };
    }
    // SAFETY: both blocks have so many bytes, and a new block overlaps no other.
    unsafe { ptr::copy_nonoverlapping(block, moved, size.min(class.bytes())) };
    // SAFETY: the caller owes the block and its class.
    unsafe { free_small(block, class) };
    moved
}

/// glibc's `malloc_usable_size`: bytes of a block that its owner may use; zero for null.
///
/// # Safety
///
/// - `block` is null, or a block of this library's or of glibc's, in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut u8) -> usize {
    match thread::class_at(block.addr()) {
        Some(class) => class.bytes(),
        // SAFETY: the caller owes a block, and it is not this library's.
        None => unsafe { upstream_bytes(block, true) },
    }
}

/// glibc's `malloc_trim`: gives back to the system what can be done without, here and in glibc; 1 if
/// that was anything, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(kept_bytes: usize) -> c_int {
    let has_released = thread::may_use_caches() && thread::release() > 0;
    c_int::from(thread::trim_upstream(kept_bytes) || has_released)
}

/// glibc's `reallocarray`: as the `realloc` that the process uses, for `count` times `size` bytes; null
/// and `ENOMEM` if these are more than there are numbers.
///
/// # Safety
///
/// - As for [`realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(block: *mut u8, count: usize, size: usize) -> *mut u8 {
    type Realloc = unsafe extern "C" fn(*mut u8, usize) -> *mut u8;

    let Some(bytes) = count.checked_mul(size) else { return no_memory() };
    let function = upstream::address_in_process!("realloc");
    // SAFETY: C's function of this name has this type, whoever defines it.
    let function = unsafe { core::mem::transmute::<usize, Realloc>(function) };
    // SAFETY: the caller owes what it asks for.
    unsafe { function(block, bytes) }
}
