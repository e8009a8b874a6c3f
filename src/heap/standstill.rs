//! The heap at a standstill: all of its locks closed, for a `fork` or for whoever shows it as it is.

use super::Heap;
use crate::census::Surveyor;
use crate::os::PageSource;
use crate::size_class::SizeClass;

impl<P: PageSource> Heap<P> {
    /// Closes the locks of the first `shards` shards, those that threads may join, and of the arenas, so
    /// that a `fork` finds no protected value half changed, and nothing in transit. The others' are never used: to close
    /// them would cost a process pages.
    pub(crate) fn lock_for_fork(&self, shards: usize) {
        // With no lock held, for what others have in transit they bring back behind one.
        self.arenas.halt();
        self.lock_shards(shards, |_, _| {});
        self.arenas.lock_for_fork();
    }

    /// Closes the locks of the first `shards` shards, and shows how many blocks of a class lie there in a depot or
    /// wait for a thread.
    fn lock_shards(&self, shards: usize, mut see: impl FnMut(SizeClass, usize)) {
        for parked in self.parked.iter().take(shards) {
            parked.lock_and_leave_closed(|parked| {
                parked.blocks().for_each(|(class, blocks)| see(class, blocks));
            });
        }
        for shard in self.shards.iter().take(shards) {
            for (heap, class) in shard.iter().zip(SizeClass::all()) {
                heap.lock_and_leave_closed(|heap| see(class, heap.depot.blocks()));
            }
        }
    }

    /// Shows the first `shards` shards, those that threads may join, and all arenas, as they are at one
    /// moment. Threads that exchange blocks with the heap wait meanwhile, as for a `fork`.
    pub(crate) fn survey(&self, shards: usize, surveyor: &mut impl Surveyor) {
        self.lock_shards(shards, |class, blocks| surveyor.see_depot(class, blocks));
        self.arenas.survey(surveyor);
        // SAFETY: closed above, by this thread.
        unsafe { self.unlock_shards(shards) };
    }

    /// Opens all locks after a `fork`, in the parent or in the child.
    ///
    /// # Safety
    ///
    /// - [`Heap::lock_for_fork`] was called before with as many shards, by this thread or its image in
    ///   the parent.
    pub(crate) unsafe fn unlock_after_fork(&self, shards: usize) {
        // SAFETY: the caller owes the call before.
        unsafe { self.arenas.unlock_after_fork() };
        // SAFETY: as above.
        unsafe { self.unlock_shards(shards) };
    }

    /// Opens the locks of the first `shards` shards.
    ///
    /// # Safety
    ///
    /// - [`Heap::lock_shards`] was called before with as many shards, by this thread or its image in the
    ///   parent.
    unsafe fn unlock_shards(&self, shards: usize) {
        for class in self.shards.iter().take(shards).flatten() {
            // SAFETY: the caller owes the call before.
            unsafe { class.force_unlock() };
        }
        for parked in self.parked.iter().take(shards) {
            // SAFETY: as above.
            unsafe { parked.force_unlock() };
        }
    }
}
