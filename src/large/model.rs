//! Models of the protocol at the head of `large.rs`, as those of the heap are: some threads, a few steps
//! each, on the real depots. `ci/loom.sh` runs them, with depots that hold a few blocks, so that they
//! overflow.

use core::alloc::Layout;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use super::testing::TestSystem;
use super::*;
use crate::block::Block;
use crate::sync::testing::{self, Cell, Spawned, explore, spawn};

#[derive(Clone, Default)]
struct ModelSystem(Arc<TestSystem>);

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for ModelSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        unsafe { (&*self.0).alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        unsafe { (&*self.0).dealloc(block, layout) }
    }
}

#[derive(Clone)]
struct Model {
    heap: Arc<LargeHeap<ModelSystem>>,
    system: ModelSystem,
}

/// A magazine in the hands of one thread.
struct Held(Magazine);

// SAFETY: a magazine belongs to whoever has it.
unsafe impl Send for Held {}

/// The last word of a block, which its owner writes; the checker sees two who do.
fn last_word(class: LargeClass, block: NonNull<Block>) -> NonNull<Cell<usize>> {
    block.cast().map_addr(|start| {
        let last = start.get() + class.bytes() - size_of::<usize>();
        core::num::NonZero::new(last).unwrap_or(start)
    })
}

impl Model {
    fn new() -> Self {
        let system = ModelSystem::default();
        Self { heap: Arc::new(LargeHeap::new(system.clone())), system }
    }

    /// Uses each block as its owner.
    fn own(class: LargeClass, mut magazine: Magazine) -> Magazine {
        let mut used = Magazine::EMPTY;
        while let Some(block) = magazine.pop() {
            let word = last_word(class, block);
            // SAFETY: the word lies in a block of this thread's.
            unsafe { word.as_ref() }.set(word.as_ptr().addr());
            // SAFETY: a block of this thread's.
            unsafe { used.push(block) };
        }
        used
    }

    fn take(&self, class: LargeClass, blocks: usize) -> Magazine {
        let mut magazine = Magazine::EMPTY;
        for _ in 0..blocks {
            let block = self.heap.take(class).expect("memory");
            self.heap.report_taken(class.bytes() as isize);
            // SAFETY: a block that was just taken.
            unsafe { magazine.push(block.cast()) };
        }
        Self::own(class, magazine)
    }

    fn refill(&self, shard: usize, class: LargeClass) -> Option<Magazine> {
        self.heap.refill(Shard::at(shard), class).map(|magazine| Self::own(class, magazine))
    }

    fn flush(&self, shard: usize, class: LargeClass, magazine: Magazine) {
        // SAFETY: models flush what this heap gave them for this class.
        unsafe { self.heap.flush(Shard::at(shard), class, magazine) }
    }

    fn assert_is_valid(&self, class: LargeClass) {
        let mut depots = self.heap.used_from(Shard::FIRST).map(|shard| shard.lock(class));
        assert!(depots.all(|mut depot| depot.is_valid()), "depot in disorder");
    }

    fn assert_all_is_back(&self) {
        LargeClass::all().for_each(|class| self.assert_is_valid(class));
        self.heap.empty_depots();
        assert_eq!((self.heap.stock.bytes(), self.heap.cached()), (0, (0, 0)));
        assert_eq!(self.heap.taken_bytes.load(Ordering::SeqCst), 0);
        assert_eq!(self.system.0.live_bytes(), 0);
    }
}

fn classes() -> [LargeClass; 2] {
    [LargeClass::at(0), LargeClass::at(1)]
}

fn join<T: 'static>(thread: Spawned<T>) {
    thread.join();
}

#[test]
fn a_magazine_goes_from_one_thread_to_one_other() {
    explore("large: exchange", || {
        let model = Model::new();
        let [class, _] = classes();
        let consumers = [0, 1].map(|shard| {
            let model = model.clone();
            spawn(move || {
                if let Some(magazine) = model.refill(shard, class) {
                    model.flush(shard, class, magazine);
                }
            })
        });
        model.flush(0, class, model.take(class, 2));
        if let Some(magazine) = model.refill(0, class) {
            model.flush(0, class, magazine);
        }
        consumers.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn depots_that_hold_too_much_let_magazines_leave_while_others_come() {
    explore("large: eviction", || {
        let model = Model::new();
        let threads = [0, 1].map(|shard| {
            let class = classes()[shard];
            let held = [2, 1].map(|blocks| Held(model.take(class, blocks)));
            let model = model.clone();
            spawn(move || {
                for Held(magazine) in held {
                    model.flush(shard, class, magazine);
                }
                if let Some(magazine) = model.refill(shard, class) {
                    model.flush(shard, class, magazine);
                }
            })
        });
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn depots_are_emptied_while_others_use_them() {
    explore("large: emptying", || {
        let model = Model::new();
        let [class, other] = classes();
        model.flush(0, class, model.take(class, 1));
        model.flush(0, other, model.take(other, 1));
        let emptying = {
            let model = model.clone();
            spawn(move || model.heap.empty_depots())
        };
        let forking = {
            let model = model.clone();
            spawn(move || {
                model.heap.lock_for_fork(1);
                testing::assert_locks_held(LARGE_CLASS_COUNT);
                // SAFETY: closed just now.
                unsafe { model.heap.unlock_after_fork(1) };
            })
        };
        if let Some(magazine) = model.refill(0, class) {
            model.flush(0, class, magazine);
        }
        join(emptying);
        join(forking);
        model.assert_all_is_back();
    });
}
