//! What one thread holds, of which the bins of all classes lie side by side: so that what a request or a free touches is
//! found by one number, whichever class it is of.
//!
//! Only the thread that owns them may call.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use crate::bin_index::{BIN_COUNT, BinIndex};
use crate::cache::ThreadCache;
use crate::cache_bin::Bin;
use crate::large_cache::LargeCache;
use crate::os::{self, debug_check};
use crate::trim::Follower;

/// What one thread holds. All zeros in a new one.
#[repr(C)]
pub(super) struct Caches {
    pub(super) small: ThreadCache,
    pub(super) large: LargeCache,
    /// What this thread knows of the requests to give back what it holds.
    pub(super) small_trim_follower: Follower,
    pub(super) large_trim_follower: Follower,
    /// Whether the program's pressure hook is running in this thread.
    pub(super) is_in_hook: Cell<bool>,
    /// Whether this thread is inside of the allocator, as far as debug builds note it.
    pub(super) is_inside: Cell<bool>,
}

/// Bytes between the start of [`Caches`] and the bins of all classes.
const BYTES_BEFORE_BINS: usize = {
    let large_bins = offset_of!(Caches, large) + LargeCache::BYTES_BEFORE_BINS;
    assert!(offset_of!(Caches, small) + size_of::<ThreadCache>() == large_bins);
    offset_of!(Caches, small) + ThreadCache::BYTES_BEFORE_BINS
};

const _: () = assert!(!core::mem::needs_drop::<Caches>());

impl Caches {
    pub(super) const fn new() -> Self {
        Self {
            small: ThreadCache::new(),
            large: LargeCache::new(),
            small_trim_follower: Follower::new(),
            large_trim_follower: Follower::new(),
            is_in_hook: Cell::new(false),
            is_inside: Cell::new(false),
        }
    }

    #[inline(always)]
    fn bin(&self, index: BinIndex) -> &Bin {
        debug_check!(
            index.place() < BIN_COUNT * size_of::<Bin>(),
            "bin out of range",
            index.place()
        );
        let bytes = os::in_register(index.place());
        // SAFETY: inside of the caches, as asserted above.
        let bins = unsafe { ptr::from_ref(self).byte_add(BYTES_BEFORE_BINS) };
        // SAFETY: an index is below BIN_COUNT, so this is inside of the one array of bins or of the other right behind it.
        let bin: *const Bin = unsafe { bins.byte_add(bytes) }.cast();
        // SAFETY: one of the bins, by the size of one, and aligned as they are.
        unsafe { &*bin }
    }

    /// Takes a block from a loaded magazine.
    #[inline(always)]
    pub(super) fn pop(&self, index: BinIndex) -> Option<NonNull<u8>> {
        let block = self.bin(index).pop()?;
        os::unpoison(block, index.block_bytes());
        Some(block)
    }

    /// Puts a block on a loaded magazine; on `false` that is full, and the `push_full` of the cache of its class must
    /// follow.
    ///
    /// # Safety
    ///
    /// - `block` is of the bin's class, free, and the caller gives it up if the answer is `true`.
    #[inline(always)]
    pub(super) unsafe fn push(&self, block: NonNull<u8>, index: BinIndex) -> bool {
        os::poison(block, index.block_bytes());
        // SAFETY: the caller owes the same.
        unsafe { self.bin(index).push(block) }
    }
}
