//! What a program may ask of the heap, and ask it to do.
#![forbid(unsafe_code)]

use core::alloc::GlobalAlloc;

use super::Obmalloc;
use crate::census::Stats;
use crate::thread;
use crate::wrong_use::alone;

impl<L: GlobalAlloc + 'static> Obmalloc<L> {
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
    /// the allocator's own headers and for what a pool's blocks leave free of it, before and behind them. What
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

    /// The numbers of the heap at one moment: what each size class has, what has become of the arenas, what
    /// is cached. All of them count since the start of the process, for all threads and all allocators of
    /// this type; [`Stats`] says what of it is the calling thread's.
    ///
    /// Release builds have them, too: they are read from the headers of the pools. The time is about 2 ms
    /// for each GiB of heap, in which threads that exchange blocks with the heap wait; what their caches
    /// serve goes on. Nothing is allocated. Any thread may call it at any time, not in signal handlers.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let boxes: Vec<Box<[u64; 5]>> = (0..1000).map(|_| Box::default()).collect();
    /// let stats = GLOBAL.stats();
    /// # if cfg!(target_os = "linux") {
    /// assert!(stats.classes[4].used_blocks >= 1000);
    /// # }
    /// println!("{stats}");
    /// # drop(boxes);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        alone(thread::stats)
    }

    /// Gives back all memory that is free, and returns the bytes: what this thread has cached, the
    /// depots, the empty arenas, and the pages of free pools in all others, to the system; large blocks
    /// that were kept, to the system allocator, which is then asked to give back what it holds for
    /// nothing (glibc's `malloc_trim`, which does not tell how much that is).
    ///
    /// What other threads have cached stays until each of them next exchanges blocks with the heap: it
    /// then gives back all it has.
    ///
    /// Any thread may call it at any time, not in signal handlers. The time is that of the system
    /// calls, about a microsecond for each free page of 4 KiB; other threads go on meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let boxes: Vec<Box<[u64; 8]>> = (0..100_000).map(|_| Box::default()).collect();
    /// drop(boxes);
    /// let bytes = GLOBAL.trim();
    /// # if cfg!(target_os = "linux") {
    /// assert!(bytes > 1 << 20);
    /// # }
    /// ```
    pub fn trim(&self) -> usize {
        alone(thread::trim).bytes
    }
}
