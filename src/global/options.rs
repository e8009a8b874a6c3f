//! What a program may choose, in the static itself.
#![forbid(unsafe_code)]

use core::alloc::GlobalAlloc;
use core::time::Duration;

use super::Obmalloc;
use crate::config::{Config, Pressure, PressureHook, SystemTuning};
use crate::thread;

impl<L> Obmalloc<L> {
    /// Lets each thread keep at most so many bytes in free blocks, where the default is 6 MiB: half
    /// of them in large blocks, less than half in small ones, of which a thread also keeps at least one
    /// a magazine.
    ///
    /// The environment variable `OBMALLOC_CACHE_BYTES` has precedence: a number, or one with `K`, `M` or
    /// `G` behind it.
    #[must_use]
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.config = self.config.with_cache_bytes(bytes);
        self
    }

    /// How far glibc's allocator, which large blocks come from, holds on to memory; the default is
    /// [`SystemTuning::Early`], or `Off` where large blocks are another allocator's. With
    /// [`SystemTuning::Full`] blocks of up to 32 MiB do not fault in their pages anew each time. The price is
    /// memory that stays: at the top of each of glibc's arenas up to 64 MiB, and below that what lies under a block
    /// in use. There is one arena for each four processors; up to eight for each where large blocks are another
    /// allocator's. Where a process's user has set one of the thresholds (`MALLOC_TRIM_THRESHOLD_` and its like, or
    /// `GLIBC_TUNABLES`), `Off` is in force, and `MALLOC_ARENA_MAX` has precedence for the arenas. A program that sets
    /// them itself, by `mallopt`, should choose `Off`: else they are set again.
    ///
    /// The environment variable `OBMALLOC_SYSTEM_TUNING`, `off`, `early` or `full`, has precedence.
    #[must_use]
    pub const fn with_system_tuning(mut self, tuning: SystemTuning) -> Self {
        self.config = self.config.with_system_tuning(tuning);
        self
    }

    /// Lets small blocks have at most so many bytes of memory, mapped in arenas of 256 KiB; the default is
    /// no bound. A request that finds no memory within it has what this thread and the depots hold given
    /// back to the pools, and is tried again; if there still is none it gets null, which a Rust program
    /// that does not ask for fallible allocation takes as the end. What is served by the other allocator
    /// does not count, nor do the tables of addresses (256 KiB of addresses for each GiB).
    ///
    /// The environment variable `OBMALLOC_LIMIT`, in bytes as above, has precedence.
    #[must_use]
    pub const fn with_limit(mut self, bytes: usize) -> Self {
        self.config = self.config.with_limit(bytes);
        self
    }

    /// Has `hook` called when the memory mapped in arenas reaches `soft_limit` bytes, or does so again
    /// after it was an eighth below; and when a small request finds no memory (within the limit, or in
    /// the system), before it gets null: if the hook frees enough, the request is served.
    ///
    /// The thread that noticed calls it, from within a request of the program, with no lock of this
    /// allocator held. It may allocate and free; while it runs it is not called again in the same thread,
    /// but other threads may call it at the same time. It must not wait for a lock that the program holds
    /// while it allocates. If it panics, the process aborts.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use obmalloc::{Obmalloc, Pressure};
    ///
    /// static SHRINK: AtomicBool = AtomicBool::new(false);
    ///
    /// fn on_pressure(_: Pressure) {
    ///     SHRINK.store(true, Ordering::Relaxed);
    /// }
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new().with_pressure_hook(4 << 20, on_pressure);
    ///
    /// let boxes: Vec<Box<[u64; 8]>> = (0..100_000).map(|_| Box::default()).collect();
    /// # if cfg!(target_os = "linux") {
    /// assert!(SHRINK.load(Ordering::Relaxed));
    /// # }
    /// # drop(boxes);
    /// ```
    #[must_use]
    pub const fn with_pressure_hook(mut self, soft_limit: usize, hook: fn(Pressure)) -> Self {
        self.config = self.config.with_pressure(PressureHook { soft_limit, call: hook });
        self
    }

    /// Has a thread give back what is free once the program has exchanged no small blocks with the heap for
    /// `after`, at least 20 ms; zero for none, which is the default. A program that is not idle needs none:
    /// its own threads give back what has been of no use.
    ///
    /// The thread starts when pools become free, by the thread that freed their last blocks, and ends when
    /// nothing is left to give back; it empties the depots, those of large blocks, too, but large blocks
    /// alone do not start it. It runs none of the program's code and receives none of its signals. In a
    /// forked child it starts anew when it is needed. Where the process may have no more threads, there is
    /// none; nor is there in C programs under the library to preload.
    ///
    /// The environment variable `OBMALLOC_BACKGROUND_PURGE`, in milliseconds, has precedence.
    #[must_use]
    pub const fn with_background_purge(mut self, after: Duration) -> Self {
        self.config = self.config.with_background_purge(after);
        self
    }

    /// Maps arenas eight at a time, as 2 MiB that Linux is asked to serve in one huge page, as long as
    /// `from_bytes` or more are mapped; by default that is never done. Fewer page faults and fewer
    /// entries in the processor's table of pages make a large heap faster; the price is memory: a huge
    /// page is resident as a whole from its first touch until an arena of it goes back.
    ///
    /// The environment variable `OBMALLOC_HUGE_PAGES`, in bytes as above, has precedence.
    #[must_use]
    pub const fn with_huge_pages(mut self, from_bytes: usize) -> Self {
        self.config = self.config.with_huge_pages(from_bytes);
        self
    }

    /// Whether to print the statistics on stderr when the process exits; by default they are not.
    ///
    /// The environment variable `OBMALLOC_STATS`, 0 or 1, has precedence.
    #[must_use]
    pub const fn with_stats_at_exit(mut self, is_on: bool) -> Self {
        self.config = self.config.with_stats_at_exit(is_on);
        self
    }
}

impl<L: GlobalAlloc + 'static> Obmalloc<L> {
    /// The configuration in force in this process: what the methods of the allocator that served its
    /// first request say, with what its environment says in the place of that.
    ///
    /// A variable that starts with `OBMALLOC_` and is none of this allocator's, or has a value that it
    /// does not understand, is ignored, and reported once on stderr. A process with more rights than
    /// its user's ignores all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new().with_cache_bytes(256 << 10);
    ///
    /// assert_eq!(GLOBAL.config().cache_bytes(), 256 << 10);
    /// ```
    #[must_use]
    pub fn config(&self) -> Config {
        thread::config(&self.config)
    }
}
