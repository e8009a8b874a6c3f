//! What a program chooses among, and is told.
#![forbid(unsafe_code)]

/// What a program is told about the memory that this allocator has mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pressure {
    /// It has reached the soft limit, now or after it was an eighth below.
    Rising {
        /// Bytes of arenas that are mapped.
        mapped_bytes: usize,
    },
    /// A request finds no memory within the limit, or in the system, and is about to get null.
    Exhausted {
        /// Bytes of arenas that are mapped.
        mapped_bytes: usize,
    },
}

/// How far glibc's allocator, which large blocks come from, holds on to memory instead of giving it back to
/// the kernel. Other system allocators are left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemTuning {
    /// As the library comes: at first blocks of 128 KiB or more go back when they are freed, and so does what
    /// is free at the top of its heap. Each such block that is freed raises the former to its size, and the
    /// latter to twice that, up to 32 and 64 MiB.
    Off,
    /// As after the free of a block of 2 MiB (256 KiB where pointers have 32 bits), from when the program takes its
    /// first block of more than 32 KiB, or a thread has more than 64 KiB in smaller large ones; from the start where
    /// this crate does not see that, over another allocator and in the library to preload. A program
    /// that fills and empties a table, a text or a buffer again and again does not fault in its pages each
    /// time. At the top of each of the library's arenas up to 4 MiB may stay, and below that what lies under a
    /// block in use, until a quarter of what a program had in use of the library, and at least 4 MiB, has
    /// been free for half a second: then the thread that comes by has the library give back all that is
    /// free (`malloc_trim`). As long as there is only one arena, more stays until then: all that the program
    /// has been seen to take and free time after time. Threads share one arena for each four processors, where
    /// `MALLOC_ARENA_MAX` does not say otherwise; by itself the library has up to eight for each. Only an
    /// allocator over [`std::alloc::System`] has few arenas and holds more; over another it does not trim, either, and
    /// the library to preload trims what is free of blocks of 128 KiB and more, which it counts.
    Early,
    /// At 32 and 64 MiB from the start, and for good; over [`std::alloc::System`] with as few arenas.
    Full,
}

/// Whom to tell about it, and from how many bytes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PressureHook {
    pub(crate) soft_limit: usize,
    pub(crate) call: fn(Pressure),
}

impl PartialEq for PressureHook {
    fn eq(&self, other: &Self) -> bool {
        self.soft_limit == other.soft_limit && core::ptr::fn_addr_eq(self.call, other.call)
    }
}

impl Eq for PressureHook {}
