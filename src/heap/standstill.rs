//! The heap at a standstill: all of its locks closed, for a `fork` or for whoever shows it as it is.

use super::Heap;
use super::class::ClassHeap;
use crate::census::Surveyor;
use crate::os::PageSource;
use crate::size_class::SizeClass;

impl<P: PageSource> Heap<P> {
    /// Closes the locks of the first `shards` shards, those that threads may join, and of the arenas, so
    /// that a `fork` finds no protected value half changed. The others' are never used: to close them
    /// would cost a process pages.
    pub(crate) fn lock_for_fork(&self, shards: usize) {
        self.lock_classes(shards, |_, _| {});
        self.arenas.lock_for_fork();
    }

    fn lock_classes(&self, shards: usize, mut look: impl FnMut(SizeClass, &ClassHeap)) {
        for shard in self.shards.iter().take(shards) {
            for (heap, class) in shard.iter().zip(SizeClass::all()) {
                heap.lock_and_leave_closed(|heap| look(class, heap));
            }
        }
    }

    /// Shows the first `shards` shards, those that threads may join, and all arenas, as they are at one
    /// moment. Threads that exchange blocks with the heap wait meanwhile, as for a `fork`.
    pub(crate) fn survey(&self, shards: usize, surveyor: &mut impl Surveyor) {
        self.lock_classes(shards, |class, heap| surveyor.see_depot(class, heap.depot.blocks()));
        self.arenas.survey(surveyor);
        // SAFETY: closed above, by this thread.
        unsafe { self.unlock_classes(shards) };
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
        unsafe { self.unlock_classes(shards) };
    }

    /// Opens the locks of all classes of the first `shards` shards.
    ///
    /// # Safety
    ///
    /// - [`Heap::lock_classes`] was called before with as many shards, by this thread or its image in the
    ///   parent.
    unsafe fn unlock_classes(&self, shards: usize) {
        for class in self.shards.iter().take(shards).flatten() {
            // SAFETY: the caller owes the call before.
            unsafe { class.force_unlock() };
        }
    }
}
