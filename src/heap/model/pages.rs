//! The source of pages of the models.

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::config::ARENA_BYTES;
use crate::os::PageSource;
use crate::os::testing::TestPages;
use crate::sync::testing;

/// Pages of tests, which tell the model checker when memory changes hands.
#[derive(Clone, Default)]
pub(crate) struct ModelPages(pub(super) Arc<CheckedPages>);

impl ModelPages {
    /// Arenas that are mapped.
    pub(crate) fn live(&self) -> usize {
        self.0.test.live()
    }
}

#[derive(Default)]
pub(super) struct CheckedPages {
    pub(super) test: TestPages,
    /// What is mapped, since the child of a fork cannot give back what it does not know of.
    mapped: Mutex<BTreeMap<usize, Arena>>,
}

struct Arena(NonNull<u8>);

// SAFETY: it is looked at by none but the last owner of all arenas.
unsafe impl Send for Arena {}

impl Drop for CheckedPages {
    fn drop(&mut self) {
        let mapped = core::mem::take(self.mapped.get_mut().expect("no panic before"));
        self.test.refuses_release.store(false, Ordering::SeqCst);
        for arena in mapped.into_values() {
            // SAFETY: it is mapped, and the heap over these pages is no more.
            unsafe { (&self.test).release(arena.0) };
        }
    }
}

fn addresses_of(arena: NonNull<u8>) -> Range<usize> {
    let start = arena.as_ptr().addr();
    start..start + ARENA_BYTES
}

impl PageSource for ModelPages {
    fn map(&self) -> Option<NonNull<u8>> {
        let arena = (&self.0.test).map()?;
        testing::forget_accesses(addresses_of(arena));
        let mut mapped = self.0.mapped.lock().expect("no panic before");
        mapped.insert(arena.as_ptr().addr(), Arena(arena));
        Some(arena)
    }

    fn map_huge(&self) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        testing::write_all(addresses_of(arena));
        let mut mapped = self.0.mapped.lock().expect("no panic before");
        // SAFETY: the caller owes the same.
        let released = unsafe { (&self.0.test).release(arena) };
        assert!(!released || mapped.remove(&arena.as_ptr().addr()).is_some(), "released twice");
        released
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let address = start.as_ptr().addr();
        testing::write_all(address..address + bytes);
        // SAFETY: the caller owes the same.
        unsafe { (&self.0.test).purge(start, bytes) }
    }

    fn page_bytes(&self) -> usize {
        (&self.0.test).page_bytes()
    }

    fn milliseconds(&self) -> usize {
        (&self.0.test).milliseconds()
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        (&self.0.test).map_table()
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        // SAFETY: the caller owes the same.
        unsafe { (&self.0.test).release_table(table) }
    }
}
