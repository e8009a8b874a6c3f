//! A page source for tests: counts what it is asked for, and refuses what it is told to.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::{alloc_zeroed, dealloc};
use std::collections::BTreeSet;
use std::sync::Mutex;

use super::PageSource;
use crate::config::{ARENA_BYTES, HUGE_PAGE_BYTES, POOL_BYTES};

const ARENA_LAYOUT: Layout = match Layout::from_size_align(ARENA_BYTES, ARENA_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("an arena has a layout"),
};

const HUGE_LAYOUT: Layout = match Layout::from_size_align(HUGE_PAGE_BYTES, HUGE_PAGE_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("a huge page has a layout"),
};

/// No more aligned than a table must be, so that the system's zeroed memory will do as it is.
const TABLE_LAYOUT: Layout = match Layout::from_size_align(ARENA_BYTES, align_of::<usize>()) {
    Ok(layout) => layout,
    Err(_) => panic!("a table has a layout"),
};

/// Arenas from the test program's own allocator. The counters are sequentially consistent, since
/// tests read them from threads that did not write them.
#[derive(Default)]
pub(crate) struct TestPages {
    pub(crate) mapped: AtomicUsize,
    pub(crate) released: AtomicUsize,
    pub(crate) purges: AtomicUsize,
    pub(crate) purged_bytes: AtomicUsize,
    /// A test's clock stands still until the test moves it.
    pub(crate) milliseconds: AtomicUsize,
    /// That of a pool where it is zero.
    pub(crate) page_bytes: AtomicUsize,
    /// Once so many are mapped at a time, there are no more; zero for no limit.
    pub(crate) most: AtomicUsize,
    pub(crate) refuses_release: AtomicBool,
    /// Releases that were refused.
    pub(crate) refused: AtomicUsize,
    pub(crate) refuses_purge: AtomicBool,
    pub(crate) refuses_tables: AtomicBool,
    pub(crate) has_huge: AtomicBool,
    pub(crate) can_populate: AtomicBool,
    pub(crate) populated: AtomicUsize,
    /// What another thread does while the next purge is under way.
    pub(crate) during_purge: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// The same for the next arena, while it is mapped and nobody's.
    pub(crate) during_map: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    huge: Mutex<Vec<Huge>>,
    /// Tables that were mapped and not released; they go with this value.
    tables: Mutex<Vec<Table>>,
}

/// Arenas that were mapped together, which the test program's allocator takes back together.
struct Huge {
    start: NonNull<u8>,
    /// Offsets of those that were released.
    released: BTreeSet<usize>,
}

// SAFETY: it is only ever compared, and freed by whoever releases the last of its arenas.
unsafe impl Send for Huge {}

struct Table(NonNull<u8>);

// SAFETY: it is only ever compared, and freed by the last owner of all tables.
unsafe impl Send for Table {}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the heap over these pages is no more, or never saw it.
        unsafe { dealloc(self.0.as_ptr(), TABLE_LAYOUT) };
    }
}

impl TestPages {
    /// Arenas that are mapped now.
    pub(crate) fn live(&self) -> usize {
        self.mapped.load(Ordering::SeqCst) - self.released.load(Ordering::SeqCst)
    }

    /// Tables that are mapped now.
    pub(crate) fn tables(&self) -> usize {
        self.tables.lock().expect("no panic before").len()
    }
}

impl PageSource for &TestPages {
    fn map(&self) -> Option<NonNull<u8>> {
        let most = self.most.load(Ordering::SeqCst);
        if most != 0 && self.live() >= most {
            return None;
        }
        // SAFETY: the layout has a size other than zero.
        let arena = NonNull::new(unsafe { alloc_zeroed(ARENA_LAYOUT) })?;
        self.mapped.fetch_add(1, Ordering::SeqCst);
        let meanwhile = self.during_map.lock().expect("no panic before").take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        Some(arena)
    }

    fn map_huge(&self) -> Option<NonNull<u8>> {
        if !self.has_huge.load(Ordering::SeqCst) {
            return None;
        }
        // SAFETY: the layout has a size other than zero.
        let mapped = NonNull::new(unsafe { alloc_zeroed(HUGE_LAYOUT) })?;
        self.mapped.fetch_add(HUGE_PAGE_BYTES / ARENA_BYTES, Ordering::SeqCst);
        self.huge
            .lock()
            .expect("no panic before")
            .push(Huge { start: mapped, released: BTreeSet::new() });
        Some(mapped)
    }

    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        self.populated.fetch_add(1, Ordering::SeqCst);
        self.can_populate.load(Ordering::SeqCst)
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        if self.refuses_release.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        self.released.fetch_add(1, Ordering::SeqCst);
        let address = arena.as_ptr().addr();
        let mut huge = self.huge.lock().expect("no panic before");
        let is_part =
            |huge: &&mut Huge| address.wrapping_sub(huge.start.as_ptr().addr()) < HUGE_PAGE_BYTES;
        if let Some(whole) = huge.iter_mut().find(is_part) {
            let offset = address - whole.start.as_ptr().addr();
            assert!(whole.released.insert(offset), "released twice");
            if whole.released.len() == HUGE_PAGE_BYTES / ARENA_BYTES {
                // SAFETY: `map_huge` gave it, and the caller owes that each part of it is unused.
                unsafe { dealloc(whole.start.as_ptr(), HUGE_LAYOUT) };
                huge.retain(|huge| huge.released.len() < HUGE_PAGE_BYTES / ARENA_BYTES);
            }
            return true;
        }
        // SAFETY: the caller owes that `map` gave the arena, and that it is unused.
        unsafe { dealloc(arena.as_ptr(), ARENA_LAYOUT) };
        true
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if self.refuses_purge.load(Ordering::SeqCst) {
            return false;
        }
        self.purged_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.purges.fetch_add(1, Ordering::SeqCst);
        let meanwhile = self.during_purge.lock().expect("no panic before").take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        // SAFETY: the caller owes that these pages are mapped and unused.
        unsafe { start.write_bytes(0, bytes) };
        true
    }

    fn page_bytes(&self) -> usize {
        self.page_bytes.load(Ordering::SeqCst).max(POOL_BYTES)
    }

    fn milliseconds(&self) -> usize {
        self.milliseconds.load(Ordering::SeqCst)
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        if self.refuses_tables.load(Ordering::SeqCst) {
            return None;
        }
        // SAFETY: the layout has a size other than zero.
        let table = NonNull::new(unsafe { alloc_zeroed(TABLE_LAYOUT) })?;
        self.tables.lock().expect("no panic before").push(Table(table));
        Some(table)
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        self.tables.lock().expect("no panic before").retain(|known| known.0 != table);
    }
}
