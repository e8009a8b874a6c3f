//! What the heaps are made of, as the calling thread sees it.

use core::fmt::{self, Write};

use super::lifetime::cores;
use super::own::with_caches;
use super::{HEAP, LARGE_HEAP};
use crate::census::{Both, Nobody, Stats, Surveyor};
use crate::os::{self, debug_check};
use crate::size_class::SizeClass;

/// The numbers of the heaps, and of the calling thread's caches.
pub(crate) fn stats() -> Stats {
    survey(&mut Nobody)
}

/// Shows the heap to `surveyor`, with all of its locks held, and returns the numbers of the same moment.
pub(crate) fn survey(surveyor: &mut impl Surveyor) -> Stats {
    let mut stats = Stats::new();
    HEAP.survey(cores(), &mut Both(&mut stats, surveyor));
    with_caches(|caches| {
        for class in SizeClass::all() {
            let blocks = caches.small.blocks(class);
            stats.add_cached(class, blocks);
            stats.thread.cached_blocks += blocks;
            stats.thread.cached_bytes += blocks * class.bytes();
        }
        let (blocks, bytes) = caches.large.cached();
        stats.thread.large_cached_blocks = blocks;
        stats.thread.large_cached_bytes = bytes;
        stats.large.taken_bytes =
            LARGE_HEAP.taken_bytes().saturating_add_signed(caches.large.taken_unreported());
    });
    let (blocks, bytes) = LARGE_HEAP.cached();
    stats.large.cached_blocks = blocks + stats.thread.large_cached_blocks;
    stats.large.cached_bytes = bytes + stats.thread.large_cached_bytes;
    stats.settle();
    debug_check!(stats.is_balanced(), "arenas and their parts differ", stats.arena_bytes());
    stats
}

/// Standard error, without the standard library's buffers and locks.
struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        os::write_error_bytes(text.as_bytes());
        Ok(())
    }
}

/// Prints the numbers as they are when the process exits.
pub(super) extern "C-unwind" fn print_stats() {
    // What cannot be printed is of no use to anybody.
    let _ = write!(StandardError, "{}", stats());
}
