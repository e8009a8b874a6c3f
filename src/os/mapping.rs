//! Where arenas and tables come from on Linux, macOS and the BSDs: anonymous private mappings.
//!
//! Any thread may call it at any time. Each mapping is handed out once, and belongs to whoever got it until it is
//! released; what the first call maps beyond its arena is handed out as tables, or to nobody.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use static_assertions::const_assert;

use crate::config::{ARENA_BYTES, HUGE_PAGE_BYTES};
use crate::os::PageSource;

/// The cheapest clock that never goes back: a few nanoseconds a call, where the finer ones cost several
/// times that.
#[cfg(target_os = "linux")]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
#[cfg(not(target_os = "linux"))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Anonymous private mappings.
pub(crate) struct SystemPages {
    /// Where the next arena would fit: the place of the one released last, else below the one
    /// mapped last, where the kernel places mappings, too; zero before the first. Only a hint: the
    /// kernel's answer is checked, so any value will do.
    hint: AtomicUsize,
    /// The next of the tables that were mapped with the first arena; in the bits of an address inside a page, how
    /// many are left.
    tables: AtomicPtr<u8>,
}

/// Tables that the second arena needs, one for each step from an address to what covers it; the first needs none.
const FIRST_TABLES: usize = 2;

/// A page has at least so many bytes.
const PAGE_BYTES_MIN: usize = 4096;

const_assert!(FIRST_TABLES < PAGE_BYTES_MIN);

impl SystemPages {
    pub(crate) const fn new() -> Self {
        Self { hint: AtomicUsize::new(0), tables: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Maps the first arena and the tables for the second at once. What is left over of the mapping costs addresses
    /// and no memory, where each call that maps or unmaps costs a process that starts some microseconds.
    fn map_first(&self) -> Option<NonNull<u8>> {
        let span = map_at(0, (2 + FIRST_TABLES) * ARENA_BYTES)?;
        let before = bytes_to_aligned(span, ARENA_BYTES);
        // SAFETY: less than an arena, of which the span has two besides the tables.
        let arena = unsafe { span.add(before) };
        // SAFETY: the tables, behind the arena, end inside the span.
        let tables = unsafe { arena.add(ARENA_BYTES) };
        let counted = tables.as_ptr().map_addr(|address| address | FIRST_TABLES);
        // Where two threads map a first arena at once, the tables of one are never asked for, as the rest.
        // Release: pairs with the acquire in `take_table`.
        self.tables.store(counted, Ordering::Release);
        self.place_below(span);
        Some(arena)
    }

    /// The next arena may lie below what was mapped here. Relaxed: the hint guards nothing, see its field.
    fn place_below(&self, mapped: NonNull<u8>) {
        let start = mapped.as_ptr().addr();
        let below = (start - start % ARENA_BYTES).wrapping_sub(ARENA_BYTES);
        self.hint.store(below, Ordering::Relaxed);
    }

    /// One of the tables that were mapped with the first arena.
    fn take_table(&self) -> Option<NonNull<u8>> {
        let left = |tables: *mut u8| tables.addr() % PAGE_BYTES_MIN;
        // One table further, and one less.
        let next =
            |tables: *mut u8| (left(tables) > 0).then(|| tables.wrapping_byte_add(ARENA_BYTES - 1));
        // Acquire: pairs with the release in `map_first`. Relaxed on success: the next who takes one reads what was
        // stored there, too, which this continues.
        let taken = self.tables.fetch_update(Ordering::Relaxed, Ordering::Acquire, next).ok()?;
        NonNull::new(taken.map_addr(|address| address - address % PAGE_BYTES_MIN))
    }
}

impl PageSource for SystemPages {
    fn map(&self) -> Option<NonNull<u8>> {
        // Relaxed: the hint guards nothing, see its field.
        let hint = self.hint.load(Ordering::Relaxed);
        if hint == 0
            && let Some(arena) = self.map_first()
        {
            return Some(arena);
        }
        let arena = map_if_aligned(hint).or_else(|| map_aligned(ARENA_BYTES))?;
        self.place_below(arena);
        Some(arena)
    }

    #[cfg(target_os = "linux")]
    fn map_huge(&self) -> Option<NonNull<u8>> {
        let mapped = map_aligned(HUGE_PAGE_BYTES)?;
        // If the system does not take the advice, these are arenas as others are.
        // SAFETY: just mapped with this length.
        unsafe { libc::madvise(mapped.as_ptr().cast(), HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE) };
        Some(mapped)
    }

    #[cfg(not(target_os = "linux"))]
    fn map_huge(&self) -> Option<NonNull<u8>> {
        None
    }

    #[cfg(target_os = "linux")]
    unsafe fn populate(&self, arena: NonNull<u8>) -> bool {
        // Linux 5.14; before, it is refused.
        // SAFETY: the caller owes that the arena is mapped, with this length; its contents stay.
        unsafe { libc::madvise(arena.as_ptr().cast(), ARENA_BYTES, libc::MADV_POPULATE_WRITE) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        // SAFETY: the caller owes that the arena is mapped, with this length, and unused.
        let released = unsafe { unmap(arena, ARENA_BYTES) };
        if released {
            // Relaxed: see the field.
            self.hint.store(arena.as_ptr().addr(), Ordering::Relaxed);
        }
        released
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // Elsewhere MADV_DONTNEED may keep the contents; a fresh mapping in place never does.
        if cfg!(target_os = "linux") {
            // SAFETY: the caller owes that these pages are mapped, and unused.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0 }
        } else {
            // SAFETY: as above; MAP_FIXED replaces exactly the caller's own pages.
            unsafe { map_with(start.as_ptr().addr(), bytes, libc::MAP_FIXED).is_some() }
        }
    }

    fn page_bytes(&self) -> usize {
        // SAFETY: `sysconf` has no conditions.
        let bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) });
        // What is not known is the whole arena, which is never purged in parts.
        bytes.ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(ARENA_BYTES)
    }

    fn milliseconds(&self) -> usize {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for the write.
        unsafe { libc::clock_gettime(CLOCK, &mut time) };
        (time.tv_sec as usize).wrapping_mul(1000).wrapping_add(time.tv_nsec as usize / 1_000_000)
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        self.take_table().or_else(|| map_at(0, ARENA_BYTES))
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        // A table that the system does not take costs addresses, and no memory: it was never touched.
        // SAFETY: the caller owes that the table is mapped, with this length, and unused.
        unsafe { unmap(table, ARENA_BYTES) };
    }
}

/// Bytes to the next multiple of `bytes`, a power of two; zero where that is here.
fn bytes_to_aligned(start: NonNull<u8>, bytes: usize) -> usize {
    start.as_ptr().addr().wrapping_neg() % bytes
}

/// Maps an arena at `hint`, or where the system would have it instead, if that is aligned.
fn map_if_aligned(hint: usize) -> Option<NonNull<u8>> {
    let mapped = map_at(hint, ARENA_BYTES)?;
    if bytes_to_aligned(mapped, ARENA_BYTES) == 0 {
        return Some(mapped);
    }
    // SAFETY: just mapped with this length, and nothing refers to it.
    unsafe { unmap(mapped, ARENA_BYTES) };
    None
}

/// Maps `bytes`, a power of two and of pages, at a multiple of that: twice as many, of which it unmaps
/// what lies before and after the aligned half.
fn map_aligned(bytes: usize) -> Option<NonNull<u8>> {
    let span_bytes = 2 * bytes;
    let span = map_at(0, span_bytes)?;
    let before = bytes_to_aligned(span, bytes);
    // SAFETY: `before` < `bytes`, so the pointer stays inside the span.
    let aligned = unsafe { span.add(before) };
    // SAFETY: the aligned half ends inside the span.
    let after = unsafe { aligned.add(bytes) };
    // A part that cannot be unmapped, since that would split a mapping too many, takes the rest with
    // it. What is unmapped may be another thread's at once, so it is never named again.
    // SAFETY: the part before is this function's own, and nothing refers to it.
    if before > 0 && !unsafe { unmap(span, before) } {
        // SAFETY: so is the whole span.
        unsafe { unmap(span, span_bytes) };
        return None;
    }
    // SAFETY: so is the part behind.
    if !unsafe { unmap(after, span_bytes - before - bytes) } {
        // SAFETY: so is all that is left of the span.
        unsafe { unmap(aligned, span_bytes - before) };
        return None;
    }
    Some(aligned)
}

fn map_at(address: usize, bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: without MAP_FIXED a new mapping replaces none.
    unsafe { map_with(address, bytes, 0) }
}

/// Maps `bytes` of zeroed memory, readable and writable.
///
/// # Safety
///
/// - With `MAP_FIXED` in `flags`, nothing refers to the `bytes` bytes at `address`, and they are
///   the caller's to replace.
unsafe fn map_with(address: usize, bytes: usize, flags: i32) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: the caller owes that a fixed mapping replaces only its own; else none is replaced.
    let mapped = unsafe {
        libc::mmap(ptr::without_provenance_mut(address), bytes, protection, flags, -1, 0)
    };
    if mapped == libc::MAP_FAILED { None } else { NonNull::new(mapped.cast()) }
}

/// Unmaps; `false` where the kernel refuses, as it does when that would split one mapping too many.
///
/// # Safety
///
/// - The range belongs to the caller, and nothing refers to it.
unsafe fn unmap(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller owes the range.
    unsafe { libc::munmap(start.as_ptr().cast(), bytes) == 0 }
}

#[cfg(test)]
#[path = "mapping/tests.rs"]
mod tests;
