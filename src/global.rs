//! The allocator that a program names: routes each request to a size class or to the large side.

mod options;
mod queries;

use core::alloc::{GlobalAlloc, Layout};
use core::any::TypeId;
use core::ptr::{self, NonNull};
use std::alloc::System;

use crate::bin_index::{BinClass, BinIndex, LOOKED_UP_MAX};
use crate::config::{ALIGNMENT, Config, SMALL_MAX};
use crate::large_class::LargeClass;
use crate::os;
use crate::size_class::SizeClass;
use crate::thread;
use crate::wrong_use::{self, alone};

/// The global allocator.
///
/// All values with the same `L` are the same allocator: they share the heaps of the process. Making one
/// costs nothing.
///
/// # Shape
///
/// A request of at most 512 bytes (after rounding its size up to a multiple of its alignment) is
/// served from a size class, 8 bytes apart; any other by `L`, which is [`std::alloc::System`] unless a
/// program says otherwise ([`Obmalloc::with_large`]). A block of 40 bytes takes 40 bytes: there are no
/// headers, and no rounding beyond the next multiple of 8. The system allocator's blocks of at most
/// 32 KiB are rounded up to one of eight sizes between two powers of two, and kept for the next
/// request when they are freed.
///
/// # Errors
///
/// A request that cannot be served, since the system gives no more memory or the size is beyond
/// what an address space holds, returns null. There are no panics on any path.
///
/// Neither a free nor a request that is served changes `errno`, whatever the system refuses meanwhile.
///
/// Debug builds (those with `debug_assertions` for this crate) notice wrong use at once, in any thread: a
/// small block freed twice, or freed or resized with the layout of another size class, or as a large one; what
/// is no block, or the middle of a small one, freed as a small one; a request of no bytes; a signal handler
/// that allocates while its thread is inside of this allocator. They abort, with one line on stderr that says what
/// the block is and what the layout was. Of large blocks they notice what glibc's size for them belies.
/// Release builds look at nothing of this on their fast paths, where it would cost; a corrupt heap aborts
/// with such a line where a pool notices it.
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
#[derive(Clone, Copy, Debug)]
pub struct Obmalloc<L = System> {
    large: L,
    config: Config,
}

impl Obmalloc {
    /// The allocator over [`std::alloc::System`], for a static.
    #[must_use]
    pub const fn new() -> Self {
        Self { large: System, config: Config::OVER_SYSTEM }
    }
}

impl Default for Obmalloc {
    fn default() -> Self {
        Self::new()
    }
}

impl<L> Obmalloc<L> {
    /// The allocator over another one, which serves all large blocks: any `GlobalAlloc`, such as the
    /// binding of an allocator written in C, or one of the program's own.
    ///
    /// Small blocks are those of every other `Obmalloc` in the process. Large blocks go to `large` and
    /// back to it, one by one: only those of [`std::alloc::System`] are kept in magazines, so that
    /// allocators with a different `L` never exchange blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::alloc::{GlobalAlloc, Layout, System};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use obmalloc::Obmalloc;
    ///
    /// /// Counts what is left to it.
    /// struct Counting;
    ///
    /// static LARGE_BLOCKS: AtomicUsize = AtomicUsize::new(0);
    ///
    /// // SAFETY: all is passed on.
    /// unsafe impl GlobalAlloc for Counting {
    ///     unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
    ///         LARGE_BLOCKS.fetch_add(1, Ordering::Relaxed);
    ///         // SAFETY: the caller owes the same.
    ///         unsafe { System.alloc(layout) }
    ///     }
    ///
    ///     unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
    ///         // SAFETY: the caller owes the same.
    ///         unsafe { System.dealloc(block, layout) }
    ///     }
    /// }
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc<Counting> = Obmalloc::with_large(Counting);
    ///
    /// let before = LARGE_BLOCKS.load(Ordering::Relaxed);
    /// let buffer = vec![1_u8; 100_000];
    /// assert!(LARGE_BLOCKS.load(Ordering::Relaxed) > before);
    /// # drop(buffer);
    /// ```
    #[must_use]
    pub const fn with_large(large: L) -> Self {
        Self { large, config: Config::DEFAULT }
    }
}

impl<L: GlobalAlloc + 'static> Obmalloc<L> {
    /// The class of large blocks that serves a request, if its blocks are kept.
    ///
    /// Those of the system allocator alone: the type decides, so that no block of another `L` ever lies
    /// in a magazine.
    #[inline(always)]
    fn large_class(layout: Layout) -> Option<LargeClass> {
        if Self::is_over_system() { LargeClass::of(layout) } else { None }
    }

    /// The bin that serves a request, if that is found at once.
    #[inline(always)]
    fn bin(layout: Layout) -> Option<BinIndex> {
        let most = if Self::is_over_system() { LOOKED_UP_MAX } else { SMALL_MAX };
        if os::HAS_ARENAS { BinIndex::of(layout, most) } else { None }
    }

    /// The bin that a free looks at first: of bytes and characters that which serves the request, of other things that
    /// of their size class. What is aligned to a word has most often a size that the compiler knows. Where that is large, a call
    /// is all that should be in its place: with a fast path in it, std's walk through the nodes of a `BTreeMap` that is
    /// dropped is not inlined any more, and takes twice as long.
    #[inline(always)]
    fn bin_of_free(layout: Layout) -> Option<BinIndex> {
        if layout.align() < ALIGNMENT {
            Self::bin(layout)
        } else {
            small_class(layout).map(BinIndex::of_small)
        }
    }

    #[inline(always)]
    fn is_over_system() -> bool {
        os::HAS_ARENAS && TypeId::of::<L>() == TypeId::of::<System>()
    }

    /// Passes a request on to the other allocator, which may be the program's own and call this one.
    #[inline(always)]
    fn pass<R>(request: impl FnOnce() -> R) -> R {
        let request = || os::keeping_errno(request);
        if Self::is_over_system() { alone(request) } else { request() }
    }

    /// Counts bytes that the system allocator has given or, where negative, got back in a request that was
    /// passed on.
    #[inline(always)]
    fn count_passed(&self, bytes: isize) {
        if Self::is_over_system() {
            alone(|| os::keeping_errno(|| thread::count_passed(bytes, &self.config)));
        }
    }

    /// A block for which the other allocator has given so many bytes more, or null if it has not.
    fn passed(&self, bytes: isize, block: Option<NonNull<u8>>) -> *mut u8 {
        if block.is_some() {
            self.count_passed(bytes);
        }
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// A block where `alloc` found none at once, or null. Cold, although some large requests have no other way: next to
    /// what these take, it is the layout of the fast path around the call that counts.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn alloc_slow(&self, layout: Layout) -> *mut u8 {
        let Some(class) = small_class(layout) else {
            // SAFETY: the caller owes the conditions of this very function.
            return unsafe { self.alloc_large(layout) };
        };
        let block = alone(|| thread::alloc_small_slow(class, &self.config));
        wrong_use::noted(block, BinClass::Small(class))
    }

    /// Frees a block that `dealloc` could not at once.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_slow(&self, block: NonNull<u8>, layout: Layout) {
        match small_class(layout) {
            // SAFETY: the caller owes the block, which is of this class and was not taken.
            Some(class) => alone(|| unsafe {
                thread::dealloc_small_slow(block, class, &self.config);
            }),
            // SAFETY: the caller owes the conditions of this very function.
            None => unsafe { self.dealloc_large(block, layout) },
        }
    }

    /// A large block, or null.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn alloc_large(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = Self::large_class(layout) {
            return alone(|| thread::alloc_large(class, &self.config));
        }
        // SAFETY: the caller owes the same.
        unsafe { self.alloc_passed(layout) }
    }

    /// A block of the other allocator, or null. Not inlined, here and below: it would cost the way of the blocks that
    /// are kept a stack frame.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn alloc_passed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes a layout of a size other than zero.
        let alloc = || NonNull::new(unsafe { self.large.alloc(layout) });
        let request = || thread::or_after_trim(layout.size(), alloc);
        self.passed(layout.size() as isize, Self::pass(request))
    }

    /// A large block that reads as zero, or null.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc_zeroed`].
    #[inline(never)]
    unsafe fn alloc_large_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = Self::large_class(layout) {
            return alone(|| thread::alloc_large_zeroed(class, layout.size(), &self.config));
        }
        // SAFETY: the caller owes a layout of a size other than zero.
        let alloc = || NonNull::new(unsafe { self.large.alloc_zeroed(layout) });
        let request = || thread::or_after_trim(layout.size(), alloc);
        self.passed(layout.size() as isize, Self::pass(request))
    }

    /// Frees a large block that `dealloc` could not at once.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`], for a large block.
    #[inline(never)]
    unsafe fn dealloc_large(&self, block: NonNull<u8>, layout: Layout) {
        let Some(class) = Self::large_class(layout) else {
            // SAFETY: the caller owes that the block is the other allocator's, with this layout.
            return unsafe { self.dealloc_passed(block.as_ptr(), layout) };
        };
        // A bin that is found at once has just had no room.
        let is_refused = Self::bin_of_free(layout).is_some();
        // SAFETY: the caller owes that the layout is the block's, so the class is, too.
        if is_refused || !unsafe { Self::push(block, BinIndex::of_large(class), layout) } {
            // SAFETY: the caller owes the block, which was not taken.
            alone(|| unsafe { thread::dealloc_large_slow(block, class, &self.config) });
        }
    }

    /// Frees a block of the class of a bin, if there is room for it at hand.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`], for a block of the bin's class, which the caller gives up if the answer is
    ///   `true`.
    #[inline(always)]
    unsafe fn push(block: NonNull<u8>, index: BinIndex, layout: Layout) -> bool {
        // SAFETY: the caller owes a block of this class.
        unsafe { wrong_use::check_size(block, index.class(), layout) };
        // SAFETY: the caller owes the block and its class.
        alone(|| unsafe { thread::push(block, index) })
    }

    /// Frees a block of the other allocator.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`], for a block of the other allocator.
    #[inline(never)]
    unsafe fn dealloc_passed(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the block and the layout.
        Self::pass(|| unsafe { self.large.dealloc(block, layout) });
        self.count_passed(-(layout.size() as isize));
    }

    /// Resizes a large block to a large size; null, and the block as it was, if there is no memory.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`], for a large block, with the layout of the new one.
    #[inline(never)]
    unsafe fn realloc_large(&self, block: *mut u8, layout: Layout, new_layout: Layout) -> *mut u8 {
        match (Self::large_class(layout), Self::large_class(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            (Some(old), None) => {
                // SAFETY: the caller owes a block of this allocator, which is never null.
                let block = unsafe { NonNull::new_unchecked(block) };
                // SAFETY: the caller owes that the layout is the block's, which is the system allocator's.
                unsafe { wrong_use::check_size(block, BinClass::Large(old), layout) };
                // SAFETY: the caller owes that the layout is the block's, so the class is, too, and
                // that the new size is not zero.
                alone(|| unsafe {
                    thread::release_large(block, old, new_layout.size(), &self.config)
                })
            }
            (None, None) => {
                // SAFETY: the caller owes that the block is the other allocator's, with this layout.
                let resize = || unsafe { self.large.realloc(block, layout, new_layout.size()) };
                let request =
                    || thread::or_after_trim(new_layout.size(), || NonNull::new(resize()));
                let more = new_layout.size() as isize - layout.size() as isize;
                self.passed(more, Self::pass(request))
            }
            // SAFETY: the caller owes the conditions of this very function.
            _ => unsafe { self.move_block(block, layout, new_layout) },
        }
    }

    /// Resizes a block by moving it: `dealloc` finds a block's side and class by its layout alone, so
    /// a block that changes either must change its place.
    ///
    /// # Safety
    ///
    /// - `block` came from this allocator with `layout`; both layouts have a size other than zero.
    #[inline(never)]
    unsafe fn move_block(&self, block: *mut u8, layout: Layout, new_layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes a size other than zero.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            let kept = layout.size().min(new_layout.size());
            // SAFETY: both blocks have `kept` bytes, and a new block overlaps no other.
            unsafe { ptr::copy_nonoverlapping(block, moved, kept) };
            // SAFETY: the caller owes the block and its layout.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// The class that serves a request; `None` sends it to the large side.
#[inline(always)]
const fn small_class(layout: Layout) -> Option<SizeClass> {
    if os::HAS_ARENAS { SizeClass::of(layout) } else { None }
}

// SAFETY: a block is given out by exactly one of three sides (a size class, a class of large blocks, the
// other allocator), which pure functions of the layout and of the type, that agree, find again when it is
// freed or resized; each side gives blocks of at least the layout's size and alignment that overlap
// no other; nothing below unwinds.
unsafe impl<L: GlobalAlloc + 'static> GlobalAlloc for Obmalloc<L> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        wrong_use::check_request(layout);
        if let Some(index) = Self::bin(layout)
            && let Some(block) = alone(|| thread::pop(index))
        {
            return wrong_use::noted(block.as_ptr(), index.class());
        }
        // SAFETY: the caller owes the conditions of this very function.
        unsafe { self.alloc_slow(layout) }
    }

    /// Not inlined: what std allocates vectors and boxes with holds this and `alloc`, and with two fast paths inside
    /// it may itself be left out of line, which costs every request more than this call costs one that is cleared.
    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        wrong_use::check_request(layout);
        match small_class(layout) {
            Some(class) => {
                let block =
                    alone(|| thread::alloc_small_zeroed(class, layout.size(), &self.config));
                wrong_use::noted(block, BinClass::Small(class))
            }
            // SAFETY: the caller owes the conditions of this very function.
            None => unsafe { self.alloc_large_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        wrong_use::check_free(block, layout);
        // SAFETY: the caller owes a block of this allocator, which is never null.
        let block = unsafe { NonNull::new_unchecked(block) };
        if let Some(index) = Self::bin_of_free(layout)
            // SAFETY: the caller owes that the layout is the block's, so the class is, too.
            && unsafe { Self::push(block, index, layout) }
        {
            return;
        }
        // SAFETY: the caller owes the conditions of this very function.
        unsafe { self.dealloc_slow(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        wrong_use::check_resize(block, layout, new_size);
        // SAFETY: the caller owes that the new size, rounded up, does not exceed `isize::MAX`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (small_class(layout), small_class(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: the caller owes the conditions of this very function.
            (None, None) => unsafe { self.realloc_large(block, layout, new_layout) },
            // SAFETY: as above.
            _ => unsafe { self.move_block(block, layout, new_layout) },
        }
    }
}
