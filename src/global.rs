//! The allocator that a program names: routes each request to a size class or to the large side.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::os;
use crate::size_class::SizeClass;
use crate::{large, thread};

/// The global allocator.
///
/// All values are the same allocator: they share one heap for the process. Making one costs nothing.
///
/// # Shape
///
/// A request of at most 512 bytes (after rounding its size up to a multiple of its alignment) is
/// served from a size class, 8 bytes apart; any other by [`std::alloc::System`]. A block of 40 bytes
/// takes 40 bytes: there are no headers, and no rounding beyond the next multiple of 8.
///
/// # Errors
///
/// A request that cannot be served, since the system gives no more memory or the size is beyond
/// what an address space holds, returns null. There are no panics on any path. A corrupted heap (a
/// block freed twice, or with the layout of another size) aborts with one line on stderr where it
/// is noticed.
///
/// # Threads
///
/// Any block may be freed by any thread, also when the one that allocated it has ended. It may be
/// used before `main`, in destructors of thread-locals, in `atexit` handlers and after `fork`, not in
/// signal handlers. A handler that a program registers with `pthread_atfork` before its first
/// allocation must not allocate.
///
/// A shared library that carries this allocator has copies of its own of all that is shared, and stays
/// loaded when it is closed: on Linux with glibc it sees to that itself when it is loaded. On BSDs it must
/// not be closed.
///
/// # Source
///
/// CPython's obmalloc (pools and arenas, as of 3.6) behind per-thread magazines and depots (Bonwick
/// and Adams, "Magazines and Vmem", 2001).
///
/// # Examples
///
/// ```
/// use obmalloc::Obmalloc;
///
/// #[global_allocator]
/// static GLOBAL: Obmalloc = Obmalloc::new();
///
/// let squares: Vec<u64> = (0..100).map(|n| n * n).collect();
/// assert_eq!(squares[9], 81);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Obmalloc {
    _private: (),
}

impl Obmalloc {
    /// The allocator, for a static.
    #[must_use]
    pub const fn new() -> Self {
        Self { _private: () }
    }

    /// The size in bytes of the small block whose place starts at `ptr`, or `None`.
    ///
    /// It is that of the block's size class: the requested size, rounded up to a multiple of 8, or of
    /// a larger alignment; all of it may be used by the block's owner. `None` for all that is no start
    /// of a small block: null, an address inside a block, a large block, any other memory, any
    /// address without memory.
    ///
    /// The answer speaks of a place, not of its use: places of free blocks, too, have a size, also of
    /// those that no request has got yet, until the memory around them serves another size or goes
    /// back to the system. It is exact as long as the caller owns what is at `ptr`; if nobody does, other
    /// threads may change it at any moment.
    ///
    /// Any thread may ask at any time, also in signal handlers: nothing at `ptr` is read, and there is
    /// no lock. Where there are no arenas the answer is always `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let boxed = Box::new([0_u8; 37]);
    /// let start = boxed.as_ptr();
    /// # if cfg!(target_os = "linux") {
    /// assert_eq!(GLOBAL.usable_size(start), Some(40));
    /// # }
    /// assert_eq!(GLOBAL.usable_size(start.wrapping_add(1)), None);
    /// ```
    #[must_use]
    pub fn usable_size(&self, ptr: *const u8) -> Option<usize> {
        let place = thread::place_at(ptr.addr())?;
        (place.offset == 0).then_some(place.class.bytes())
    }

    /// Whether `ptr` points into the place of a small block, at its start or inside.
    ///
    /// `false` for large blocks, for all other memory, and for any address without memory; also for
    /// the allocator's own headers and for the rest of a pool behind its last block. What
    /// [`Obmalloc::usable_size`] says of free blocks, owners and threads holds here, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let (boxed, local) = (Box::new([1_u32; 4]), [1_u32; 4]);
    /// # if cfg!(target_os = "linux") {
    /// assert!(GLOBAL.owns((&raw const boxed[3]).cast()));
    /// # }
    /// assert!(!GLOBAL.owns((&raw const local).cast()));
    /// ```
    #[must_use]
    pub fn owns(&self, ptr: *const u8) -> bool {
        thread::place_at(ptr.addr()).is_some()
    }
}

/// The class that serves a request; `None` sends it to the large side.
#[inline(always)]
const fn small_class(layout: Layout) -> Option<SizeClass> {
    if os::HAS_ARENAS { SizeClass::of(layout) } else { None }
}

// SAFETY: a block is given out by exactly one of two sides, which the same pure function of the
// layout finds again when it is freed or resized; each side gives blocks of at least the layout's
// size and alignment that overlap no other; nothing below unwinds.
unsafe impl GlobalAlloc for Obmalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match small_class(layout) {
            Some(class) => thread::alloc(class),
            // SAFETY: the caller owes the conditions of this very function.
            None => unsafe { large::alloc(layout, thread::trim) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match small_class(layout) {
            Some(class) => thread::alloc_zeroed(class, layout.size()),
            // SAFETY: the caller owes the conditions of this very function.
            None => unsafe { large::alloc_zeroed(layout, thread::trim) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match small_class(layout) {
            Some(class) => {
                // SAFETY: the caller owes a block of this allocator, which is never null.
                let block = unsafe { NonNull::new_unchecked(block) };
                // SAFETY: the caller owes that the layout is the block's, so the class is, too.
                unsafe { thread::dealloc(block, class) }
            }
            // SAFETY: the caller owes the conditions of this very function.
            None => unsafe { large::dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller owes that the new size, rounded up, does not exceed `isize::MAX`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (small_class(layout), small_class(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: the caller owes the conditions of this very function.
            (None, None) => unsafe { large::realloc(block, layout, new_size, thread::trim) },
            // SAFETY: as above.
            _ => unsafe { move_block(block, layout, new_layout) },
        }
    }
}

/// Resizes a block by moving it: `dealloc` finds a block's side and class by its layout alone, so a
/// block that changes either must change its place.
///
/// # Safety
///
/// - `block` came from this allocator with `layout`; both layouts have a size other than zero.
#[inline(never)]
unsafe fn move_block(block: *mut u8, layout: Layout, new_layout: Layout) -> *mut u8 {
    // SAFETY: the caller owes a size other than zero.
    let moved = unsafe { Obmalloc::new().alloc(new_layout) };
    if !moved.is_null() {
        let kept = layout.size().min(new_layout.size());
        // SAFETY: both blocks have `kept` bytes, and a new block overlaps no other.
        unsafe { ptr::copy_nonoverlapping(block, moved, kept) };
        // SAFETY: the caller owes the block and its layout.
        unsafe { Obmalloc::new().dealloc(block, layout) };
    }
    moved
}
